"""With radiometer noise, results scatter as the quoted errors say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from helpers_physics import Setup, fit_pwv

from cal_pipeline.simulate import GaussianSource, Line, preset, read_truth

BOUNDS = (0.001, 10.0)
REALISATIONS = 300


def fits(setup, pwv, n_offs, model_error, seed, realisations=REALISATIONS):
    """PWV and its quoted error for many realisations of the noise."""
    rng = np.random.default_rng(seed)
    airmasses = np.linspace(1.1, 1.4, n_offs)
    found = []
    for _ in range(realisations):
        fit = fit_pwv([setup.views(pwv, airmasses, rng, model_error)], BOUNDS, 12)
        found.append((float(fit.pwv), float(fit.error), float(fit.chi2)))
    return np.array(found).T


@pytest.mark.parametrize("n_offs", [1, 4, 16])
@pytest.mark.parametrize("model_error", [0.0, 0.03])
@pytest.mark.slow
def test_pwv_scatters_as_its_error_says(n_offs, model_error):
    pwv, error, chi2 = fits(Setup(n_channels=64), 0.7, n_offs, model_error, seed=n_offs)
    pull = (pwv - 0.7) / error
    assert pull.std() == pytest.approx(1.0, abs=0.1)
    assert abs(pull.mean()) < 3.5 / np.sqrt(REALISATIONS)
    if model_error == 0.0 and n_offs == 1:
        # The mean of (1 - z²/36)² z² for normal z is 1 - 6/36 + 15/1296.
        assert chi2.mean() == pytest.approx(0.845, abs=0.05)


def test_many_offs_do_not_beat_the_noise_of_the_loads():
    # The loads are common to the OFFs: 16 OFFs of 1 s cannot be four times as good as one.
    setup = Setup(n_channels=64)
    one, sixteen = (fits(setup, 0.7, n, 0.0, seed=5, realisations=3)[1].mean() for n in (1, 16))
    assert 0.4 * one < sixteen < one


@pytest.mark.slow
def test_pwv_is_unbiased_in_narrow_channels():
    # 100 kHz channels, loads of 1 s, a noisy receiver: the error of one fit is the yardstick.
    setup = Setup(n_channels=256, width=1e5, t_rec=400.0, band=25.6e6)
    pwv, error, _ = fits(setup, 0.5, 2, 0.03, seed=9)
    bias, of_mean = pwv.mean() - 0.5, pwv.std() / np.sqrt(REALISATIONS)
    assert abs(bias) < 3.5 * of_mean
    assert of_mean < 0.1 * error.mean()


def test_an_error_of_the_opacities_does_to_pwv_what_is_quoted():
    setup = Setup(n_channels=64)
    shifts, quoted = [], []
    for factor in (0.999, 1.001):
        fit = fit_pwv([setup.with_opacity_scaled(factor).views(0.7, [1.2, 1.5])], BOUNDS, 12)
        shifts.append(float(fit.pwv) - 0.7)
        quoted.append(float(fit.error_model) / 30.0)
    assert shifts[1] == pytest.approx(quoted[1], rel=0.02)
    assert shifts[0] == pytest.approx(-quoted[0], rel=0.02)


@pytest.mark.parametrize("mode", ["otf", "total_power"])
def test_spectra_scatter_as_sigma_says(make_session, calibrate, mode):
    loads = {"loads": dataclasses.replace(preset("ccat_chai").loads, exptime=1000.0)}
    session = make_session(channels=400, pixels=4, mode=mode, seed=4, **loads)
    scan = calibrate(session, atmosphere={"strategy": "fixed", "pwv": 0.5}).open_scan(1).load()
    pull = (scan.spectra.values - read_truth(session, 1).t_a_star()) / scan.sigma.values[:, None]
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.05)


@pytest.mark.slow
def test_line_temperatures_scatter_as_sigma_says(make_session, calibrate):
    # One line temperature a dump and pixel, in one channel: 4 scans x 4 ONs x 8 dumps x 16 pixels, 16 channels each.
    line = Line(1.0, fwhm_hz=3e9, source=GaussianSource(fwhm_deg=0.5))
    session = make_session(channels=16, pixels=16, scans=4, lines=(line,), seed=8)
    product = calibrate(session)
    pulls = []
    for number in product.numbers:
        scan = product.open_scan(number).load()
        true = read_truth(session, number).t_a_star()
        sigma = scan.sigma.values[:, None]
        profile = true / np.where(true.max(axis=0) > 0, true.max(axis=0), 1.0)
        weight = profile**2 / sigma**2
        found = (profile * scan.spectra.values / sigma**2).sum(axis=0) / weight.sum(axis=0)
        pulls.append(((found - true.max(axis=0)) * np.sqrt(weight.sum(axis=0))).ravel())
    pull = np.concatenate(pulls)
    assert pull.size >= 200
    assert pull.std() == pytest.approx(1.0, abs=0.1)
