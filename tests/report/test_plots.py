"""The pictures of a scan, and the mean spectrum they draw."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from cal_pipeline.report import plots
from cal_pipeline.report.plots import compute_velocity, mean_spectrum, plot_sky_fit, plot_spectrum

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def scan():
    """Two pixels of four channels; channel 3 is bad, and one dump of channel 0 is missing."""
    shape = (4, 2, 2, 1, 2)
    spectra = np.full(shape, 5.0)
    spectra[0, 0, 0, 0, 0] = np.nan
    spectra[0, 1, 0, 0, :] = 9.0
    spectra[3] = np.nan
    flags = np.where(np.isnan(spectra), 1, 0).astype(np.uint16)
    # Samples with other flags keep their values.
    spectra[2, 1], flags[2, 1] = 100.0, 512
    cube = ("channel", "dump", "receiver", "array", "subscan")
    small = ("channel", "receiver", "array")
    sigma = np.ones((4, 2, 1, 2), np.float32)
    sigma[..., 1] = 2.0
    return xarray.Dataset(
        {
            "spectra": (cube, spectra),
            "flags": (cube, flags),
            "sigma": (("channel", "receiver", "array", "subscan"), sigma),
            "t_int": ("subscan", np.full(2, 4.0)),
            "ref_share": (("off", "receiver", "array", "subscan"), np.zeros((2, 2, 1, 2), np.float32)),
            "ref_off": (("off", "receiver", "array", "subscan"), np.full((2, 2, 1, 2), -1, np.int32)),
            "t_sky": (small, np.full((4, 2, 1), 40.0)),
            "sky_residual": (small, np.zeros((4, 2, 1), np.float32)),
        },
        coords={
            "signal_freqs": ("channel", 4.6e11 + 1e6 * np.arange(4)),
            "pixel": (("receiver", "array"), np.array([["A"], ["B"]])),
        },
        attrs={"scan_number": 7, "source": "X", "pwv_mm": 0.5, "pwv_err_mm": None},
    )


@pytest.mark.slow
def test_mean_spectrum_weighs_by_noise_and_leaves_out_flagged_samples(scan):
    spectrum, error = mean_spectrum(scan, 0, 0)
    # Channel 0: one sample of 9 with weight 1, one of 5 and one of 9 with weight 1/4.
    assert spectrum[0] == pytest.approx((9.0 + 0.25 * 5.0 + 0.25 * 9.0) / 1.5)
    assert error[0] == pytest.approx(1.5**-0.5)
    assert spectrum[2] == pytest.approx(5.0)
    assert spectrum[1] == pytest.approx(5.0)
    assert error[1] == pytest.approx(2.5**-0.5)
    assert np.isnan(spectrum[3])
    assert np.isnan(error[3])


@pytest.mark.slow
def test_noise_of_a_common_off_does_not_average_down(scan):
    scan["ref_share"][0], scan["ref_off"][0] = 0.5, 3
    spectrum, error = mean_spectrum(scan, 0, 0)
    # Weights 1, 1, 1/4, 1/4 of samples of 1 K and 2 K: half of each variance is own, half the square of a sum.
    own, common = 0.5 * 2.5, 0.5 * (1 + 1 + 0.5 + 0.5) ** 2
    assert error[1] == pytest.approx(np.sqrt(own + common) / 2.5)
    assert spectrum[1] == pytest.approx(5.0)


def test_an_older_scan_is_drawn_without_a_warning(scan, tmp_path):
    plot_spectrum(scan.drop_vars(["ref_share", "ref_off"]), 0, 0, tmp_path / "spectrum.png")
    assert (tmp_path / "spectrum.png").read_bytes().startswith(PNG)


@pytest.mark.slow
def test_pictures_are_written(scan, tmp_path):
    plot_spectrum(scan, 0, 0, tmp_path / "spectrum.png", truth=np.zeros(4), smooth=2, window=(4.6e11, 4.61e11))
    plot_sky_fit(scan, tmp_path / "sky.png")
    for name in ("spectrum.png", "sky.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_velocity_is_zero_at_the_rest_frequency_and_grows_with_recession(scan):
    scan.attrs["rest_freq_hz"] = 4.6e11
    # A channel 1 MHz above 460 GHz approaches with c/460000 = 0.651722735 km/s in the radio convention.
    assert compute_velocity(scan, "radio").values == pytest.approx([0.0, -0.651722735, -1.30344547, -1.955168204])
    # Half the rest frequency recedes with c in the optical convention, c/2 in that of radio astronomers.
    assert compute_velocity(scan, "optical", rest_freq_hz=9.2e11).values[0] == pytest.approx(299792.458)
    assert compute_velocity(scan, "radio", rest_freq_hz=9.2e11).values[0] == pytest.approx(149896.229)


@pytest.mark.parametrize("rest", [None, 0.0, float("nan")])
def test_velocity_without_a_rest_frequency_says_what_to_give(scan, rest):
    scan.attrs["rest_freq_hz"] = rest
    with pytest.raises(ValueError, match=r"scan 7: no velocity .* give rest_freq_hz"):
        compute_velocity(scan)


def test_an_unknown_convention_is_refused(scan):
    with pytest.raises(ValueError, match='choose "radio" or "optical"'):
        compute_velocity(scan, "relativistic", rest_freq_hz=4.6e11)


def drawn(monkeypatch, scan, path, **options):
    """The axes that a picture was made with."""
    figures = []
    monkeypatch.setattr(plots.Figure, "savefig", lambda figure, *args, **kwargs: figures.append(figure))
    plot_spectrum(scan, 0, 0, path, **options)
    return figures[0].axes[0]


def test_a_velocity_axis_names_convention_frame_and_rest_frequency(scan, tmp_path, monkeypatch):
    scan.attrs["rest_freq_hz"] = 4.6e11
    for convention in ("radio", "optical"):
        label = drawn(monkeypatch, scan, tmp_path / "x.png", axis=convention).get_xlabel()
        assert label == f"topocentric velocity ({convention} convention), rest frequency 460.000000 GHz [km/s]"


def wide(scan, source):
    """The scan spread over 4 GHz, so that its band covers 2600 km/s."""
    wide = scan.assign_coords(signal_freqs=("channel", 4.6e11 + np.array([-2e9, 0.0, 0.1e9, 2e9])))
    wide.attrs |= {"rest_freq_hz": 4.6e11, "velocity_source_kms": source}
    return wide


def test_a_velocity_axis_shows_the_surroundings_of_the_source(scan, tmp_path, monkeypatch):
    line = drawn(monkeypatch, wide(scan, 0.0), tmp_path / "x.png", axis="radio").lines[0]
    assert line.get_xdata() == pytest.approx([0.0, -65.1722735])


@pytest.mark.parametrize("source", [None, 9000.0])
def test_a_velocity_axis_shows_the_band_where_the_source_is_unknown_or_outside(scan, source, tmp_path, monkeypatch):
    assert len(drawn(monkeypatch, wide(scan, source), tmp_path / "x.png", axis="radio").lines[0].get_xdata()) == 4


def test_heights_follow_what_is_drawn(scan, tmp_path, monkeypatch):
    axes = drawn(monkeypatch, wide(scan, 0.0), tmp_path / "x.png", axis="radio", window=(-70.0, -60.0))
    assert axes.lines[0].get_ydata() == pytest.approx([5.0])


def test_a_window_without_channels_is_refused(scan, tmp_path):
    with pytest.raises(ValueError, match=r"holds 0 channels.*sky frequency"):
        plot_spectrum(scan, 0, 0, tmp_path / "x.png", window=(1e9, 2e9))
