import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from cal_pipeline.heterodyne.physics.opacity import airmass, interpolate_coefficients, transmission, zenith_opacity

FREQUENCY = np.array([1.0, 2.0, 4.0, 5.0]) * 1e11
PRESSURE = np.array([1.0e4, 2.0e4, 5.0e4])


def test_linear_in_frequency_is_exact():
    table = np.tile(3.0 + 2e-11 * FREQUENCY, (3, 1))
    nu = np.array([[1.0e11, 1.7e11], [3.3e11, 5.0e11]])
    np.testing.assert_allclose(
        interpolate_coefficients(FREQUENCY, PRESSURE, table, nu, 3e4), 3.0 + 2e-11 * nu, rtol=1e-14
    )


@pytest.mark.slow
@given(exponent=st.floats(-3.0, 3.0), p=st.floats(1.0e4, 5.0e4))
def test_power_law_in_pressure_is_exact(exponent, p):
    table = (PRESSURE[:, None] / 1e4) ** exponent * (1.0 + 1e-11 * FREQUENCY)
    got = interpolate_coefficients(FREQUENCY, PRESSURE, table, 2.5e11, p)
    assert got == pytest.approx((p / 1e4) ** exponent * 3.5, rel=1e-12)


def test_linear_in_ln_p_where_one_is_zero():
    table = np.array([[0.0, 0.0], [6.0, 2.0]])
    p = float(np.sqrt(2.0)) * 1e4  # half way in ln p
    got = interpolate_coefficients(np.array([1.0, 2.0]), PRESSURE[:2], table, [1.0, 1.5, 2.0], p)
    np.testing.assert_allclose(got, [3.0, 2.0, 1.0], rtol=1e-12)


def test_zero_on_both_sides_stays_zero():
    got = interpolate_coefficients(FREQUENCY, PRESSURE, np.zeros((3, 4)), FREQUENCY, 1.5e4)
    np.testing.assert_array_equal(got, 0.0)


def test_single_pressure():
    got = interpolate_coefficients(FREQUENCY, np.array([1e4]), np.array([[1.0, 2.0, 4.0, 5.0]]), 3e11, 1e4)
    assert got == pytest.approx(3.0)


@pytest.mark.parametrize("row", [0, 1, 2])
def test_table_pressure_gives_its_row(row):
    table = np.random.default_rng(1).uniform(0.1, 1.0, (3, 4)).astype(np.float32)
    got = interpolate_coefficients(FREQUENCY, PRESSURE, table, FREQUENCY[::-1], PRESSURE[row])
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, table[row, ::-1], rtol=1e-12)


def test_no_frequencies():
    assert interpolate_coefficients(FREQUENCY, PRESSURE, np.ones((3, 4)), np.empty((0, 2)), 1e4).shape == (
        0,
        2,
    )


@pytest.mark.slow
@given(p=st.floats(1.0e4, 5.0e4), nu=st.floats(1e11, 5e11))
def test_stays_between_its_neighbours(p, nu):
    table = np.random.default_rng(2).uniform(0.0, 1.0, (3, 4))
    table[1, 2] = 0.0
    got = float(interpolate_coefficients(FREQUENCY, PRESSURE, table, nu, p))
    assert table.min() - 1e-12 <= got <= table.max() + 1e-12


def test_airmass_of_plane_layers():
    np.testing.assert_allclose(airmass(np.deg2rad([90.0, 30.0])), [1.0, 2.0])


def test_opacity_and_transmission():
    tau0 = zenith_opacity([[1.0], [2.0]], 0.5, [0.0, 1.0])
    np.testing.assert_allclose(tau0, [[0.5, 1.5], [0.5, 2.5]])
    assert transmission(np.log(2.0), 3.0) == pytest.approx(0.125)
    assert transmission(0.0, 5.0) == 1.0


@pytest.mark.parametrize(("scale_km", "percent"), [(1.4, 0.16), (6.3, 0.73)], ids=["CCAT", "SOFIA"])
def test_the_airmass_of_a_sphere_is_smaller(scale_km, percent):
    # Opacity that falls as exp(-z/H), along a straight line that leaves the ground at 20°.
    radius, elevation = 6371.0, np.radians(20.0)

    def slant(z):
        return np.exp(-z / scale_km) / scale_km / np.sqrt(1.0 - (np.cos(elevation) / (1.0 + z / radius)) ** 2)

    sphere = quad(slant, 0.0, 40.0 * scale_km, epsrel=1e-10)[0]
    lower = 1.0 - sphere / float(airmass(elevation))
    assert 100.0 * lower == pytest.approx(percent, abs=0.01)
    assert lower == pytest.approx(scale_km / radius / np.tan(elevation) ** 2, rel=0.03)
