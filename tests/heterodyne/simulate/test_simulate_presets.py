import numpy as np
import pytest

from cal_pipeline.simulate import PRESETS, Otf, Scan, SimulationError, preset

WINDOWS_GHZ = {
    "ccat": [(455, 495), (780, 820)],
    "sofia": [(490, 635), (890, 1100), (1240, 1525), (1810, 2070), (2490, 2590), (4740, 4750)],
    "gbt": [(67, 93)],
}


@pytest.mark.parametrize("name", list(PRESETS))
def test_both_sidebands_lie_in_one_window_of_the_telescopes_table(name):
    config = preset(name)
    for receiver in config.receivers:
        for nu in receiver.frequencies():
            inside = [
                low <= nu.min() / 1e9 and nu.max() / 1e9 <= high for low, high in WINDOWS_GHZ[config.telescope.table]
            ]
            assert any(inside), (name, nu.min(), nu.max())


@pytest.mark.parametrize(
    ("name", "receivers", "arrays", "first", "last"),
    [
        ("ccat_chai", 64, 1, "CHAI_PX00", "CHAI_PX63"),
        ("sofia_hfa", 7, 1, "HFAV_PX00", "HFAV_PX06"),
        ("sofia_lfa", 7, 2, "LFAH_PX00", "LFAV_PX06"),
        ("gbt_wband", 2, 1, "WB_PX00", "WB_PX01"),
    ],
)
def test_pixels(name, receivers, arrays, first, last):
    (receiver,) = preset(name).receivers
    assert (len(receiver.pixel_offsets_deg), len(receiver.arrays)) == (receivers, arrays)
    assert (receiver.pixel_ids[0], receiver.pixel_ids[-1]) == (first, last)


def test_shortcuts_and_fields():
    config = preset("sofia_lfa", channels=64, pixels=3, scans=2, mode="otf", pwv=0.01, table="t.asdf", seed=9)
    (receiver,) = config.receivers
    assert (receiver.channels, receiver.freq_res, len(receiver.pixel_offsets_deg)) == (64, 2.5e9 / 64, 3)
    assert isinstance(config.sequence, Otf)
    assert (len(config.scans), config.atmosphere.pwv_mm, config.atmosphere.table, config.seed) == (
        2,
        0.01,
        "t.asdf",
        9,
    )
    assert preset("sofia_lfa", scans=(Scan(number=4),)).scans[0].number == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: preset("alma"), "ccat_chai, "),
        (lambda: preset("ccat_chai", mode="chopped"), "total_power, otf"),
        (lambda: preset("ccat_chai", noize=True), "no noize; it has telescope"),
        (lambda: preset("ccat_chai", scans=0), "at least one scan"),
        (lambda: preset("ccat_chai", dtype="int16"), "int32"),
        (lambda: preset("ccat_chai", pwv=-1.0), "pwv_mm"),
    ],
)
def test_unknown_things_are_named_with_the_known_ones(call, message):
    with pytest.raises(SimulationError, match=message):
        call()


def test_the_reference_channel_is_in_the_middle_and_exact_in_single_precision():
    for channels in (1, 2, 1024, 65536):
        (receiver,) = preset("ccat_chai", channels=channels).receivers
        assert np.float32(receiver.ref_channel) == receiver.ref_channel == (channels - 1) / 2
        assert receiver.frequencies()[0].mean() == pytest.approx(receiver.signal_freq, rel=1e-14)
