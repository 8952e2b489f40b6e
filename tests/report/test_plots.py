"""The pictures of a scan, and the mean spectrum they draw."""

from __future__ import annotations

import numpy as np
import pytest
import xarray

from cal_pipeline.report.plots import mean_spectrum, plot_sky_fit, plot_spectrum

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
    cube = ("channel", "dump", "receiver", "array", "subscan")
    small = ("channel", "receiver", "array")
    sigma = np.ones((4, 2, 1, 2), np.float32)
    sigma[..., 1] = 2.0
    return xarray.Dataset(
        {
            "spectra": (cube, spectra),
            "flags": (cube, flags),
            "sigma": (("channel", "receiver", "array", "subscan"), sigma),
            "t_sky": (small, np.full((4, 2, 1), 40.0)),
            "sky_residual": (small, np.zeros((4, 2, 1), np.float32)),
        },
        coords={
            "signal_freqs": ("channel", 4.6e11 + 1e6 * np.arange(4)),
            "pixel": (("receiver", "array"), np.array([["A"], ["B"]])),
        },
        attrs={"scan_number": 7, "source": "X", "pwv_mm": 0.5, "pwv_err_mm": None},
    )


def test_mean_spectrum_weighs_by_noise_and_leaves_out_flagged_samples(scan):
    spectrum, error = mean_spectrum(scan, 0, 0)
    # Channel 0: one sample of 9 with weight 1, one of 5 and one of 9 with weight 1/4.
    assert spectrum[0] == pytest.approx((9.0 + 0.25 * 5.0 + 0.25 * 9.0) / 1.5)
    assert error[0] == pytest.approx(1.5**-0.5)
    assert spectrum[1] == pytest.approx(5.0)
    assert error[1] == pytest.approx(2.5**-0.5)
    assert np.isnan(spectrum[3])
    assert np.isnan(error[3])


def test_pictures_are_written(scan, tmp_path):
    plot_spectrum(scan, 0, 0, tmp_path / "spectrum.png", truth=np.zeros(4), smooth=2, window=(4.6e11, 4.61e11))
    plot_sky_fit(scan, tmp_path / "sky.png")
    for name in ("spectrum.png", "sky.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
