"""Rayleigh scattering against the fits of other authors, and in its limits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.altitude import compute_number_density
from cal_pipeline.cherenkov.physics.rayleigh import (
    compute_cross_section,
    compute_extinction_coefficient,
    compute_king_factor,
)

pytestmark = pytest.mark.cherenkov


def bodhaine(micrometres):
    """Cross section [cm2] of dry air of 360 ppm at 288.15 K, 1013.25 hPa (Bodhaine et al. 1999, eq. 29)."""
    square = micrometres**2
    upper = 1.0455996 - 341.29061 / square - 0.90230850 * square
    return 1e-28 * upper / (1.0 + 0.0027059889 / square - 85.968563 * square)


def test_cross_section_is_that_of_an_independent_fit():
    micrometres = np.linspace(0.25, 0.85, 61)
    computed = compute_cross_section(1e3 * micrometres, 1013.25, 288.15, 0.0, 360.0)
    np.testing.assert_allclose(computed, bodhaine(micrometres), rtol=2e-4)


# Factors of dry air (Bates 1984, Table 1).
@pytest.mark.parametrize(("wavelength", "factor"), [(250.0, 1.063), (350.0, 1.053), (500.0, 1.049), (1000.0, 1.047)])
def test_king_factor_of_dry_air(wavelength, factor):
    assert float(compute_king_factor(wavelength, 330.0, 0.0)) == pytest.approx(factor, abs=6e-4)


def test_king_factor_tends_to_that_of_a_single_gas():
    assert float(compute_king_factor(500.0, 0.0, 1e9)) == pytest.approx(1.001, rel=1e-8)
    assert float(compute_king_factor(500.0, 1e15, 0.0)) == pytest.approx(1.15, rel=1e-8)


def test_known_values_of_moist_air():
    air = (500.0, 1013.25, 288.0, 0.5, 400.0)
    assert float(compute_cross_section(*air)) == pytest.approx(6.6440490e-27, rel=1e-8)
    assert float(compute_extinction_coefficient(*air)) == pytest.approx(0.0169305, abs=5e-8)
    vapour = 0.5 * 17.0 / 1013.25
    assert float(compute_king_factor(500.0, 400.0, vapour)) == pytest.approx(1.04895, abs=5e-6)


@given(st.floats(200.0, 700.0), st.floats(160.0, 320.0))
def test_cross_section_of_thin_dry_air_is_that_of_the_molecule(wavelength, temperature):
    thin = compute_cross_section(wavelength, np.array([0.0, 1e-6, 1e-2]), temperature, 0.0, 400.0)
    np.testing.assert_allclose(thin, thin[0], rtol=1e-6)
    dense = compute_cross_section(wavelength, 1013.25, 288.15, 0.0, 400.0)
    assert thin[0] == pytest.approx(float(dense), rel=2e-3)


def test_a_vacuum_does_not_scatter():
    assert float(compute_extinction_coefficient(350.0, 0.0, 250.0, 0.0, 400.0)) == 0.0


def test_coefficient_is_density_times_cross_section_in_inverse_kilometres():
    air = (np.array([300.0, 600.0]), 500.0, 260.0, 0.1, 420.0)
    expected = compute_cross_section(*air) * 1e-4 * compute_number_density(500.0, 260.0) * 1e6 * 1e3
    np.testing.assert_allclose(compute_extinction_coefficient(*air), expected, rtol=1e-14)


def test_scattering_falls_with_the_fourth_power_of_the_wavelength_and_dispersion():
    section = compute_cross_section([400.0, 800.0], 1013.25, 288.15, 0.0, 400.0)
    assert 16.0 < section[0] / section[1] < 17.5


def test_values_out_of_range_are_refused():
    with pytest.raises(CorruptedInputError, match="wavelength 150 nm"):
        compute_extinction_coefficient([150.0, 400.0], 800.0, 280.0, 0.0, 400.0)
