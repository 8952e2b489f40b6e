"""Altitude against the integral of normal gravity, density against the gas law."""

import numpy as np
import pytest
from helpers_air import BOLTZMANN
from scipy.integrate import cumulative_trapezoid

from cal_pipeline.cherenkov.physics.altitude import compute_altitude, compute_number_density, convert_geopotential

pytestmark = pytest.mark.cherenkov


def normal_gravity(altitude, latitude):
    """Gravity [m/s2] of the ellipsoid WGS 84: Somigliana's formula, to second order in altitude."""
    s2 = np.sin(np.deg2rad(latitude)) ** 2
    surface = 9.7803253359 * (1.0 + 0.00193185265241 * s2) / np.sqrt(1.0 - 0.00669437999014 * s2)
    a, flattening, m = 6378137.0, 0.00335281066475, 0.00344978650684
    slope = 1.0 + flattening + m - 2.0 * flattening * s2
    return surface * (1.0 - 2.0 * slope * altitude / a + 3.0 * altitude**2 / a**2)


@pytest.mark.parametrize("latitude", [-24.6, 0.0, 28.76, 45.0, 60.0])
def test_altitude_inverts_the_integral_of_normal_gravity(latitude):
    altitude = np.linspace(0.0, 50e3, 5001)
    geopotential = cumulative_trapezoid(normal_gravity(altitude, latitude), altitude, initial=0.0)
    computed = compute_altitude(convert_geopotential(geopotential), latitude)
    np.testing.assert_allclose(computed, altitude, atol=1.7)
    np.testing.assert_allclose(computed[altitude <= 20e3], altitude[altitude <= 20e3], atol=0.25)


def test_altitude_is_symmetric_about_the_equator():
    np.testing.assert_array_equal(compute_altitude(1.5e4, [30.0, 60.0]), compute_altitude(1.5e4, [-30.0, -60.0]))


def test_number_density_follows_the_gas_law():
    pressure, temperature = np.meshgrid([1.0, 50.0, 1013.25], [180.0, 240.0, 310.0])
    expected = 1e-6 * 100.0 * pressure / (BOLTZMANN * temperature)
    # The standard density predates the present value of Boltzmann's constant.
    np.testing.assert_allclose(compute_number_density(pressure, temperature), expected, rtol=1e-5)
