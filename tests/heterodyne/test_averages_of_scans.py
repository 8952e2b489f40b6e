"""Averages over dumps, subscans, pixels and scans: on a small scan made by hand, and their pulls on simulated ones."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray
from helpers_averages import CASES, LEVELS, measure, session_config

from cal_pipeline.heterodyne.averages import average_scan
from cal_pipeline.heterodyne.session_averages import average_scans, find_shift

C, D, R, A, S = 3, 4, 2, 1, 2
AXES = ("channel", "dump", "receiver", "array", "subscan")
OF_ONS = ("channel", "receiver", "array", "subscan")


def make_scan(value=1.0, number=7, first_hz=461e9, n_channels=C, **attributes):
    """A scan of 2 pixels with 2 ONs, all of 1 K and a noise of 0.5 K, a fifth of whose square one OFF brings."""
    shape = (n_channels, D, R, A, S)
    slots = ("off", "receiver", "array", "subscan")
    off = np.full((2, R, A, S), -1, np.int32)
    off[0] = 3
    share = np.where(off >= 0, np.float32(0.2), np.float32(0.0))
    return xarray.Dataset(
        {
            "spectra": (AXES, np.full(shape, value)),
            "flags": (AXES, np.zeros(shape, np.uint16)),
            "sigma": (OF_ONS, np.full((n_channels, R, A, S), 0.5, np.float32)),
            "t_int": ("subscan", np.full(S, 8.0)),
            "ref_share": (slots, share, {"reference": "mean"}),
            "ref_off": (slots, off),
        },
        {
            "signal_freqs": ("channel", first_hz + 1e6 * np.arange(n_channels)),
            "pixel": (("receiver", "array"), np.array([["PX00"], ["PX01"]])),
        },
        {"scan_number": number, "source": "M82", **attributes},
    )


def test_the_mean_of_a_scan():
    scan = make_scan()
    found = average_scan(scan)
    np.testing.assert_allclose(found.spectrum, 1.0)
    # Own noise of 16 samples in all; the noise of the OFF, of each pixel its own, does not average down.
    np.testing.assert_allclose(found.sigma, 0.5 * np.sqrt(0.8 / 16 + 0.2 / 2), rtol=1e-6)
    assert (found.n_samples == 16).all()
    np.testing.assert_allclose(found.t_int, 2 * 16.0)
    assert (found.spectrum.units, found.sigma.units, found.weight.units) == ("K", "K", "K-2")
    assert found.attrs["pixels"] == ["PX00", "PX01"]
    np.testing.assert_array_equal(found.signal_freqs, scan.signal_freqs)


def test_dumps_that_a_pixel_lacks_do_not_lengthen_its_others():
    scan = make_scan()
    scan.spectra[:, 1:, 1] = np.nan
    scan.flags[:, 1:, 1] = 2
    # Of 4 dumps of 2 s in 2 ONs the pixel has the first alone.
    each = average_scan(scan, each_pixel=True).t_int.values
    np.testing.assert_allclose(each[:, 0, 0], 16.0)
    np.testing.assert_allclose(each[:, 1, 0], 4.0)
    np.testing.assert_allclose(average_scan(scan, pixels="PX01").t_int, 4.0)


def test_offs_of_two_ons_that_differ_average_down():
    scan = make_scan()
    scan.ref_off[0, ..., 1] = 6
    np.testing.assert_allclose(average_scan(scan).sigma, 0.5 * np.sqrt(0.8 / 16 + 0.2 / 4), rtol=1e-6)


def test_chopped_dumps_share_noise_with_the_same_dump_alone():
    scan = make_scan()
    scan.ref_share.attrs["reference"] = "dump"
    found = average_scan(scan, subscans=0)
    np.testing.assert_allclose(found.sigma, 0.5 / np.sqrt(8), rtol=1e-6)
    np.testing.assert_allclose(average_scan(scan).sigma, 0.5 * np.sqrt(0.8 / 16 + 0.2 / 8), rtol=1e-6)


def test_flagged_samples_are_left_out_or_not():
    scan = make_scan()
    scan.spectra[1, 0, 0] = 99.0
    scan.flags[1, 0, 0] = 512
    scan.spectra[2, :, 1] = np.nan
    scan.flags[2, :, 1] = 2
    good, everything = average_scan(scan), average_scan(scan, flags="all")
    np.testing.assert_allclose(good.spectrum, 1.0)
    assert good.n_samples.values.tolist() == [16, 14, 8]
    np.testing.assert_allclose(good.t_int, [32.0, 28.0, 16.0])
    assert everything.n_samples.values.tolist() == [16, 16, 8]
    assert float(everything.spectrum[1]) == pytest.approx((14 + 2 * 99) / 16)


def test_channels_without_a_sample_are_nan():
    scan = make_scan()
    scan.spectra[0] = np.nan
    scan.sigma[0] = np.nan
    found = average_scan(scan)
    assert np.isnan(found.spectrum[0])
    assert np.isnan(found.sigma[0])
    assert (int(found.n_samples[0]), float(found.t_int[0])) == (0, 0.0)
    np.testing.assert_allclose(found.spectrum[1:], 1.0)


def test_dumps_that_no_channel_has_are_no_time():
    # An ON that ended early: 4 s in 2 of the 4 dumps.
    scan = make_scan()
    scan.spectra[:, 2:, ..., 0] = np.nan
    scan.t_int[0] = 4.0
    np.testing.assert_allclose(average_scan(scan).t_int, 2 * (4.0 + 8.0))


def test_weights_favour_what_is_certain():
    scan = make_scan()
    scan.spectra[..., 1] = 3.0
    scan.sigma[..., 1] = 1.0
    scan.ref_share[:] = 0.0
    weighted, equal = average_scan(scan), average_scan(scan, weights="equal")
    np.testing.assert_allclose(weighted.spectrum, (4 * 1 + 1 * 3) / 5)
    np.testing.assert_allclose(equal.spectrum, 2.0)
    np.testing.assert_allclose(weighted.sigma, 1 / np.sqrt(8 * 4 + 8 * 1))
    np.testing.assert_allclose(equal.sigma, np.sqrt(8 * 0.25 + 8 * 1.0) / 16)
    assert equal.weight.units == ""


@pytest.mark.parametrize("pixels", ["PX01", ["PX01"], ("PX01", "PX01")])
def test_chosen_pixels(pixels):
    scan = make_scan()
    scan.spectra[:, :, 0] = 5.0
    found = average_scan(scan, pixels=pixels)
    np.testing.assert_allclose(found.spectrum, 1.0)
    assert found.attrs["pixels"] == ["PX01"]


@pytest.mark.parametrize("subscans", [1, [1], np.int64(1), slice(1, None), -1])
def test_chosen_subscans(subscans):
    scan = make_scan()
    scan.spectra[..., 0] = 5.0
    found = average_scan(scan, subscans=subscans)
    np.testing.assert_allclose(found.spectrum, 1.0)
    assert (found.n_samples == 8).all()


def test_pixels_apart():
    scan = make_scan()
    scan.spectra[:, :, 0] = 5.0
    found = average_scan(scan, each_pixel=True)
    assert found.spectrum.dims == ("channel", "receiver", "array")
    np.testing.assert_allclose(found.spectrum[:, :, 0], np.tile([5.0, 1.0], (C, 1)))
    np.testing.assert_allclose(found.t_int, 16.0)
    one = average_scan(scan, pixels="PX01", each_pixel=True)
    assert np.isnan(one.spectrum[:, 0]).all()
    np.testing.assert_array_equal(one.sigma[:, 1], found.sigma[:, 1])
    assert found.pixel.values.tolist() == [["PX00"], ["PX01"]]


def test_a_part_of_a_scan():
    scan = make_scan()
    scan.spectra[:, :, 0] = 5.0
    part = scan.isel(receiver=1, subscan=0)
    xarray.testing.assert_allclose(average_scan(part), average_scan(scan, pixels="PX01", subscans=0))
    turned = scan.transpose("array", "subscan", "receiver", "dump", "channel", "off")
    xarray.testing.assert_allclose(average_scan(turned), average_scan(scan))


def test_an_older_scan_has_a_mean_but_no_error():
    scan = make_scan().drop_vars(["ref_share", "ref_off"])
    with pytest.warns(UserWarning, match="scan 7: no array ref_share or ref_off, .* version 1.2"):
        found = average_scan(scan)
    np.testing.assert_allclose(found.spectrum, 1.0)
    assert np.isnan(found.sigma).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"pixels": "PX10"}, "scan 7 has no pixel 'PX10'; it has PX00, PX01; did you mean PX0"),
        ({"pixels": []}, "no pixel is chosen"),
        ({"subscans": 2}, "has no subscan 2; expected positions among its 2 ONs"),
        ({"subscans": []}, "no subscan is chosen"),
        ({"subscans": slice(5, 9)}, "no subscan is chosen"),
        ({"weights": "sgima"}, "weights 'sgima': choose one of sigma, equal; did you mean sigma"),
        ({"flags": "bad"}, "flags 'bad': choose one of good, all"),
    ],
)
def test_choices_that_are_not_there(given, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        average_scan(make_scan(), **given)


def test_a_scan_that_was_not_calibrated():
    with pytest.raises(ValueError, match="scan 7: no array sigma; expected an L1 scan that was calibrated"):
        average_scan(make_scan().drop_vars("sigma"))


class TestScans:
    def test_errors_are_independent(self):
        one, two = make_scan(), make_scan(value=3.0, number=8)
        two.sigma[:] = 1.0
        found = average_scans([one, two])
        np.testing.assert_allclose(found.spectrum, (4 * 1 + 3) / 5)
        parts = average_scan(one).sigma.values * 0.8, average_scan(two).sigma.values * 0.2
        np.testing.assert_allclose(found.sigma, np.hypot(*parts), rtol=1e-6)
        assert (found.n_samples == 32).all()
        np.testing.assert_allclose(found.t_int, 64.0)
        assert (found.attrs["scan_numbers"], "scan_number" in found.attrs) == ([7, 8], False)

    def test_a_scan_that_is_off_by_channels_is_moved(self):
        one, two = make_scan(n_channels=6), make_scan(3.0, 8, first_hz=461e9 + 2.3e6, n_channels=6)
        two.spectra[0] = 9.0
        found = average_scans([one, two])
        assert found.attrs["channel_shifts"] == [0, 2]
        np.testing.assert_allclose(found.spectrum, [1, 1, 5, 2, 2, 2])
        assert found.n_samples.values.tolist() == [16, 16, 32, 32, 32, 32]
        np.testing.assert_array_equal(found.signal_freqs, one.signal_freqs)
        back = average_scans([two, one])
        np.testing.assert_allclose(back.spectrum, [5, 2, 2, 2, 3, 3])
        assert back.n_samples.values.tolist() == [32, 32, 32, 32, 16, 16]

    def test_half_a_channel_is_left_alone(self):
        scans = [make_scan(), make_scan(number=8, first_hz=461e9 - 0.49e6)]
        assert average_scans(scans).attrs["channel_shifts"] == [0, 0]

    @pytest.mark.parametrize("width", [-1e6, 0.5e6, 1.2e6])
    def test_channels_of_another_width(self, width):
        other = make_scan(number=8).assign_coords(signal_freqs=("channel", 461e9 + width * np.arange(C)))
        with pytest.raises(ValueError, match=r"scan 8 has channels of .* kHz and scan 7 of 1000 kHz"):
            average_scans([make_scan(), other])

    def test_bands_that_do_not_overlap(self):
        with pytest.raises(ValueError, match=r"scan 8 covers 462.* expected overlapping bands"):
            average_scans([make_scan(), make_scan(number=8, first_hz=462e9)])

    def test_no_scan(self):
        with pytest.raises(ValueError, match="there is no scan to average"):
            average_scans([])

    @pytest.mark.parametrize("sign", [1.0, -1.0])
    def test_shifts_of_falling_frequencies(self, sign):
        axis = 461e9 + sign * 1e5 * np.arange(1000.0)
        for shift in (-999, -3, 0, 4, 999):
            assert find_shift(axis, axis + shift * sign * 1e5, "scan 1", "scan 2") == shift


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_pulls(case):
    mode, changes, steps = CASES[case]
    pulls = measure(session_config(mode, 2, 2, channels=1024, **changes), **steps)
    for level in LEVELS:
        assert pulls[level].rms("quoted")[0] == pytest.approx(1.0, abs=0.05), level
        if case == "OTF" and level != "dumps":
            assert pulls[level].rms("naive")[0] > 1.3, level
