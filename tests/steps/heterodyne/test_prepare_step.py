"""Step ``prepare``: which subscans are compared."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from helpers_l0 import FILL, MJD, SECOND, loads_counts, write_scan

from cal_pipeline.errors import LayoutError, NoReferenceError
from cal_pipeline.steps import PrepareStep

GAIN = np.ones((4, 2, 1))
CHOPPED = ["OTFSWA-OFF", "OTFSWA-ON", "OTFSWB-ON", "OTFSWB-OFF"]
MAP = ["OTF-OFF", "OTF-ON", "OTF-ON", "OTF-OFF"]


def prepare(store, mode="auto"):
    return PrepareStep(mode=mode).run(str(store)).bands[0].pairing


@pytest.fixture
def store(tmp_path):
    return tmp_path / "s.zarr"


def test_offs_are_averaged_and_paired(store):
    write_scan(store, 1, gain=GAIN, source={"temperatures": [10.0, 0.0, 0.0, 40.0]})
    pairing = prepare(store)
    assert pairing.mode == "total_power"
    assert pairing.on.tolist() == [1, 2]
    assert pairing.off.tolist() == [0, 3]
    assert pairing.off_mean[0, 0, 0].tolist() == [100.0, 130.0]
    assert (pairing.off_dumps == 2).all()
    np.testing.assert_allclose(pairing.weights[0, 0], [[2 / 3, 1 / 3], [1 / 3, 2 / 3]], atol=1e-6)


def test_order_in_the_store_does_not_matter(store, tmp_path):
    phases, temperatures = ["OFF", "ON", "ON", "OFF"], [10.0, 1.0, 2.0, 40.0]
    times = MJD + 10.0 * SECOND * np.arange(4)
    write_scan(store, 1, gain=GAIN, source={"temperatures": temperatures, "mjd": times})
    order = [3, 2, 0, 1]
    shuffled = {
        "phases": [phases[k] for k in order],
        "temperatures": [temperatures[k] for k in order],
        "mjd": times[order],
    }
    write_scan(tmp_path / "shuffled.zarr", 1, gain=GAIN, source=shuffled)
    one, other = prepare(store), prepare(tmp_path / "shuffled.zarr")
    assert other.on.tolist() == [3, 1]
    assert other.off.tolist() == [2, 0]
    np.testing.assert_array_equal(one.off_mean, other.off_mean)
    np.testing.assert_array_equal(one.weights, other.weights)


def test_an_off_that_is_missing_in_a_pixel_is_passed_over_there(store):
    counts = loads_counts(GAIN, 0.0, [10.0, 0.0, 0.0, 40.0])
    counts[:, :, 1, 0, 0] = FILL
    counts[:, 0, 0, 0, 3] = FILL
    write_scan(store, 1, gain=GAIN, source={"counts": counts})
    pairing = prepare(store)
    assert pairing.weights[1, 0].tolist() == [[0.0, 1.0], [0.0, 1.0]]
    assert (pairing.weights[0, 0] > 0).all()
    assert pairing.off_dumps[0, :, 0].tolist() == [[2, 1], [0, 2]]
    assert pairing.off_mean[0, 0, 0].tolist() == [10.0, 40.0]
    assert np.isnan(pairing.off_mean[0, 1, 0, 0])


def test_no_off_has_data(store):
    write_scan(store, 1, gain=GAIN, source={"counts": np.full((4, 2, 2, 1, 4), FILL, np.int32)})
    with pytest.raises(NoReferenceError, match="none of its 2 OFFs has a valid dump"):
        prepare(store)


@pytest.mark.parametrize(
    ("phases", "words"),
    [(["ON"] * 4, "4 ON and 0 OFF"), (["OFF"] * 4, "0 ON and 4 OFF"), (["SKY"] * 4, "0 ON and 0 OFF")],
)
def test_on_and_off_are_both_needed(store, phases, words):
    write_scan(store, 1, source={"phases": phases})
    with pytest.raises(NoReferenceError, match=words):
        prepare(store)


def test_subscans_that_are_left_out_are_warned_of(store, caplog):
    write_scan(store, 1, source={"phases": ["OFF", "ON", "TRANSITION", "OFF"]})
    assert prepare(store).on.tolist() == [1]
    assert "1 subscan of phase TRANSITION is left out" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("phases", "dropped"), [(["OFF", "ON", "ON", "OFF"], 0), (["OFF", "ON", "SKY", "OFF"], 1)])
def test_subscans_that_are_left_out_make_a_scan_questionable(store, calibrate, phases, dropped):
    write_scan(store, 1, source={"phases": phases})
    qa = calibrate(store, atmosphere={"strategy": "fixed", "pwv": 1.0}).attributes(1)["qa"]
    assert qa["dropped_subscans"] == dropped
    assert {pixel["dropped_subscans"] for pixel in qa["pixels"].values()} == {dropped}
    verdicts = [item["verdict"] for item in qa["verdicts"] if item["name"] == "dropped_subscans"]
    assert verdicts == ["questionable"] * dropped


@pytest.mark.slow
@pytest.mark.parametrize(
    ("phases", "mode", "left", "words"),
    [
        (["OFF", "ON", "MOON", "OFF"], "total_power", 1, "1 subscan of phase MOON is left out"),
        (["OFF", "ON", "ON", "OFF", "KNOCKOFF"], "total_power", 1, "1 subscan of phase KNOCKOFF is left out"),
        (["OFF", "ON", "", "OFF"], "total_power", 1, "1 subscan of phase '' is left out"),
        (["OFF", "ON", "OTF-MOON", "OFF"], "total_power", 1, "1 subscan of phase OTF-MOON is left out"),
        (["OFF", "ON", "HOT", "COL", "OFF"], "total_power", 2, "2 subscans of phase COL, HOT are left out"),
        ([*MAP, "SWA-ON", "SWA-OFF"], "otf_chopped", 4, "4 subscans of phase OTF-OFF, OTF-ON are left out"),
        (["OFF", "ON", "OTF-ON", "OFF"], "otf", 0, ""),
    ],
)
def test_no_subscan_vanishes_without_a_word(store, calibrate, caplog, phases, mode, left, words):
    temperatures = [100.0 + 10.0 * ("ON" in phase) for phase in phases]
    write_scan(store, 1, source={"phases": phases, "temperatures": temperatures})
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        attributes = calibrate(store, atmosphere={"strategy": "fixed", "pwv": 1.0}).attributes(1)
    assert attributes["mode"] == mode
    assert words in caplog.text
    assert attributes["qa"]["dropped_subscans"] == left


@pytest.mark.slow
def test_an_off_without_a_dump_does_not_vanish_without_a_word(store, calibrate, caplog):
    phases = ["OFF", "ON", "OFF", "ON", "OFF"]
    counts = loads_counts(np.full((4, 2, 1), 1.0e5), 90.0, [100.0, 110.0, 100.0, 110.0, 100.0])
    counts[..., 2] = FILL
    write_scan(store, 1, source={"phases": phases, "counts": counts})
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        qa = calibrate(store, atmosphere={"strategy": "fixed", "pwv": 1.0}).attributes(1)["qa"]
    assert "scan 1: OFFs without a valid dump in any pixel are left out: subscans [2]" in caplog.text
    assert qa["dropped_subscans"] == 1


@pytest.mark.slow
def test_a_subscan_of_the_loads_that_is_left_out_makes_a_scan_questionable(store, calibrate):
    gain = np.full((4, 2, 1), 1.0e5)
    times = MJD - SECOND * np.array([60.0, 50.0, 40.0])
    counts = loads_counts(gain, 90.0, [293.0, 77.0, 293.0])
    write_scan(store, 1, calibration={"counts": counts, "phases": ["HOT", "COL", "HTO"], "mjd": times})
    qa = calibrate(store, atmosphere={"strategy": "fixed", "pwv": 1.0}).attributes(1)["qa"]
    assert qa["dropped_subscans"] == 1
    assert "dropped_subscans" in [item["name"] for item in qa["verdicts"]]


def test_other_phases_do_not_take_part(store):
    write_scan(store, 1, source={"phases": ["OFF", "ON", "SKY", "OFF"], "elevation": np.array([1, 1, np.nan, 1])})
    pairing = prepare(store)
    assert pairing.on.tolist() == [1]
    assert pairing.off.tolist() == [0, 3]


class TestMode:
    @pytest.mark.parametrize(("mode", "found"), [("auto", "otf"), ("otf", "otf"), ("total_power", "total_power")])
    def test_asked_for(self, store, mode, found):
        write_scan(store, 1, source={"phases": MAP})
        assert prepare(store, mode).mode == found

    def test_a_map_without_positions_is_warned_of(self, store, caplog):
        write_scan(store, 1, source={"phases": MAP})
        with caplog.at_level(logging.WARNING, "cal_pipeline"):
            prepare(store)
        assert "otf_lon or otf_lat was not recorded" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("elevation", 0.0),
        ("elevation", -0.1),
        ("elevation", np.nan),
        ("elevation", 4.0),
        ("exptime", 0.0),
        ("exptime", np.nan),
        ("pamb", 0.0),
        ("pamb", -999.0),
        ("mjd", np.nan),
        ("mjd", np.inf),
    ],
)
def test_what_makes_no_sense_is_refused(store, name, value):
    values = {"elevation": 0.9, "exptime": 2.0, "pamb": 386.0, "mjd": MJD}[name] * np.ones(4)
    values[2] = value
    write_scan(store, 1, source={name: values})
    with pytest.raises(LayoutError, match=rf"{name} of subscans \[2\] is"):
        prepare(store)


@pytest.mark.parametrize(("step", "warned"), [(0.4e6, False), (0.6e6, True)])
def test_a_frequency_axis_that_moves_is_warned_of(store, step, warned, caplog):
    write_scan(store, 1, source={"freq_off": np.array([0.0, 0.0, step, 9e9])})
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        prepare(store)
    assert ("channels off that of the first ON" in caplog.text) == warned


class TestChopped:
    PHASES = ("OTFSWA-ON", "OTFSWA-OFF", "SWB-ON", "SWB-OFF")

    def test_each_on_has_the_off_of_its_beam(self, store):
        write_scan(store, 1, source={"phases": list(self.PHASES)})
        pairing = prepare(store)
        assert pairing.mode == "otf_chopped"
        assert pairing.on.tolist() == [0, 2]
        assert pairing.off.tolist() == [1, 3]
        assert pairing.beam.tolist() == ["A", "B"]
        assert pairing.time_weights.tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert pairing.weights[1, 0].tolist() == [[1.0, 0.0], [0.0, 1.0]]
        assert pairing.pair[0, 0].tolist() == [0, 1]

    def test_an_off_may_serve_several_ons_and_the_earlier_wins_a_tie(self, store):
        phases = ["SWA-OFF", "SWA-ON", "SWA-OFF", "SWA-ON"]
        write_scan(store, 1, source={"phases": phases})
        pairing = prepare(store)
        assert pairing.off[pairing.pair[0, 0]].tolist() == [0, 2]

    def test_subscans_without_a_beam_are_left_out(self, store):
        write_scan(store, 1, source={"phases": ["OFF", "SWA-ON", "SWA-OFF", "ON"]})
        pairing = prepare(store)
        assert (pairing.on.tolist(), pairing.off.tolist()) == ([1], [2])

    def test_a_beam_without_off(self, store):
        write_scan(store, 1, source={"phases": ["SWA-ON", "SWA-OFF", "SWB-ON", "SWA-ON"]})
        with pytest.raises(NoReferenceError, match="no OFF of beam B"):
            prepare(store)
