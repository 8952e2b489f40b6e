"""Assessment of nights: scatter that errors explain or not, and the slope of the depths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.cherenkov.physics.clear_night import (
    assess_night,
    compute_fractional_variability,
    compute_vertical_depth,
    fit_angstrom_exponent,
    scale_depth,
)

pytestmark = pytest.mark.cherenkov


def test_variability_of_five_stars():
    depth = [0.9, 1.0, 1.1, 1.0, 1.0]
    assert compute_fractional_variability(depth, [0.05] * 5) == pytest.approx(0.05, rel=1e-12)
    assert compute_fractional_variability(depth, [0.2] * 5) == 0.0


def test_variability_is_that_which_was_put_in():
    rng = np.random.default_rng(8)
    error = rng.uniform(0.001, 0.003, 200_000)
    values = 0.03 * (1 + 0.1 * rng.normal(size=error.size)) + error * rng.normal(size=error.size)
    assert compute_fractional_variability(values, error) == pytest.approx(0.1, rel=0.01)


@given(st.floats(0.1, 1e3))
def test_variability_has_no_unit(scale):
    values, errors = np.array([0.03, 0.05, 0.02, 0.04]), np.array([0.004, 0.002, 0.005, 0.001])
    expected = compute_fractional_variability(values, errors)
    assert compute_fractional_variability(scale * values, scale * errors) == pytest.approx(expected, rel=1e-9)


def test_vertical_depth_is_the_same_in_all_directions():
    zenith = np.linspace(0.0, 75.0, 20)
    slant = (0.03 + 0.005) / np.sin(np.radians(90.0 - zenith))
    assert compute_vertical_depth(slant, zenith, 0.005) == pytest.approx(np.full(20, 0.03), rel=1e-12)


def test_depth_of_the_stratosphere_falls_with_the_wavelength():
    assert scale_depth(0.005, 420.0, 2.0, 420.0) == 0.005
    assert scale_depth(0.008, 400.0, 3.0, 800.0) == pytest.approx(0.001)


def test_exponent_of_a_power_law():
    wavelength = np.array([355.0, 420.0, 530.0, 640.0])
    depth = 0.02 * np.exp(-1.37 * np.log(wavelength / 500.0))
    exponent, _ = fit_angstrom_exponent(wavelength, depth, [0.001, 0.004, 0.002, 0.003])
    assert exponent == pytest.approx(1.37, rel=1e-10)


def test_error_of_the_exponent_is_its_scatter():
    rng = np.random.default_rng(9)
    wavelength, error = np.array([420.0, 530.0, 640.0]), np.array([2e-4, 1e-4, 3e-4])
    true = 0.02 * (420.0 / wavelength) ** 1.3
    fits = np.array([fit_angstrom_exponent(wavelength, true + error * rng.normal(size=3), error) for _ in range(2000)])
    pull = (fits[:, 0] - 1.3) / fits[:, 1]
    assert abs(pull.mean()) < 0.1
    assert pull.std() == pytest.approx(1.0, abs=0.06)


def test_exponent_without_errors():
    exponent, error = fit_angstrom_exponent([400.0, 600.0, 900.0], [0.9, 0.6, 0.4], [0.0, 0.1, 0.1])
    assert exponent == pytest.approx(1.0)
    assert np.isnan(error)


def test_one_wavelength_has_no_exponent():
    assert np.isnan(fit_angstrom_exponent([420.0], [0.02], [0.001])).all()


@pytest.mark.parametrize(
    ("variability", "depth", "expected"),
    [
        ([0.01, 0.0], [0.039, 0.02], "Clear Night"),
        ([0.011, 0.0], [0.039, 0.02], "Undefined"),
        ([0.01, 0.0], [0.04, 0.02], "Undefined"),
        ([0.0, np.nan], [0.02, 0.02], "Undefined"),
    ],
)
def test_all_wavelengths_must_be_clear(variability, depth, expected):
    assert assess_night(variability, depth, 0.01, 0.04) == expected
