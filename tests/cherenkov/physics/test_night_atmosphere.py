"""Profile of a night: levels between, reference outside."""

from dataclasses import fields, replace

import numpy as np
import pytest
from helpers_air import CO2, make_isothermal, make_levels, make_reference, read_columns, read_reference, select_night

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.atmosphere import GRID, ReferenceAtmosphere, compute_humidity, compute_profile
from cal_pipeline.cherenkov.physics.moist_air import compute_refractivity, compute_saturation_pressure

pytestmark = pytest.mark.cherenkov

TEMPERATURE, HUMIDITY = 230.0, 0.25


def make_night(lowest=400.0, highest=20_600.0, humidity=HUMIDITY):
    altitude = np.linspace(lowest, highest, 30)
    return make_levels(altitude, make_isothermal(TEMPERATURE)(altitude), TEMPERATURE, humidity, rule="log")


def test_grid_of_altitudes():
    assert GRID.size == 31 + 10 + 14
    assert GRID[[0, 1, 30, 31, 40, 41, 54]].tolist() == [0.0, 1.0, 30.0, 32.0, 50.0, 55.0, 120.0]


def test_columns_between_floor_and_ceiling_are_those_of_known_air():
    profile = compute_profile(make_night(), make_reference(), CO2)
    np.testing.assert_array_equal(profile.altitude, GRID)
    inside = (GRID > 0.0) & (GRID < 21.0)
    pressure = make_isothermal(TEMPERATURE)(1e3 * GRID[inside])
    np.testing.assert_allclose(profile.pressure[inside], pressure, rtol=1e-12)
    np.testing.assert_allclose(profile.temperature[inside], TEMPERATURE, rtol=1e-14)
    # Gas law: 28.9644 g a mole, pressure in 1e3 g/(cm s2), R in 1e7 erg/(mol K).
    density = 1e3 * pressure * 28.9644 / (8.314462618e7 * TEMPERATURE)
    np.testing.assert_allclose(profile.density[inside], density, rtol=1e-7)
    # The weight of the column above a cm2 is its pressure.
    weight = 1e3 * pressure / 980.665
    np.testing.assert_allclose(profile.thickness[inside], weight, rtol=1e-12)
    vapour = HUMIDITY * compute_saturation_pressure(TEMPERATURE)
    np.testing.assert_allclose(profile.water[inside] * pressure, vapour, rtol=1e-12)
    np.testing.assert_allclose(
        profile.refractivity[inside], compute_refractivity(350.0, pressure, TEMPERATURE, HUMIDITY, CO2), rtol=1e-11
    )


@pytest.mark.parametrize(
    ("lowest", "highest", "floor", "ceiling"),
    [
        (400.0, 20_600.0, 0.0, 21.0),
        (600.0, 20_400.0, 1.0, 20.0),
        (1000.0, 30_900.0, 1.0, 30.0),
        (1400.0, 31_100.0, 1.0, 32.0),
        (10.0, 48_700.0, 0.0, 48.0),
    ],
)
def test_reference_rows_stand_at_and_beyond_floor_and_ceiling(lowest, highest, floor, ceiling):
    reference = make_reference()
    profile = compute_profile(make_night(lowest, highest), reference, CO2)
    outside = (floor >= GRID) | (ceiling <= GRID)
    for field in fields(ReferenceAtmosphere):
        made, given = getattr(profile, field.name), getattr(reference, field.name)
        assert np.isfinite(made).all()
        np.testing.assert_array_equal(made[outside], given[outside], err_msg=field.name)
    taken = np.isin(profile.density, reference.density)
    np.testing.assert_array_equal(taken, outside)


def test_reference_may_have_altitudes_of_its_own():
    profile = compute_profile(make_night(), make_reference(altitude=GRID[::2]), CO2)
    np.testing.assert_array_equal(profile.altitude[profile.altitude > 21.0], GRID[::2][GRID[::2] > 21.0])
    assert (np.diff(profile.altitude) > 0.0).all()


def test_reference_is_interpolated_in_the_logarithm_of_pressure():
    reference = make_reference(temperature=260.0, water=2e-4)
    altitude = np.array([0.3, 4.5, 31.0, 99.0])
    pressure, temperature, humidity = reference.interpolate(altitude)
    np.testing.assert_allclose(pressure, make_isothermal(260.0)(1e3 * altitude), rtol=1e-12)
    np.testing.assert_allclose(temperature, 260.0, rtol=1e-14)
    np.testing.assert_allclose(humidity * compute_saturation_pressure(260.0) / pressure, 2e-4, rtol=1e-12)


def test_humidity_of_the_reference_is_never_negative():
    # A step of water makes cubic splines swing below 0.
    reference = replace(make_reference(), water=np.where(GRID < 3.0, 0.02, 0.0))
    assert reference.interpolate(np.linspace(0.0, 120.0, 500))[2].min() == 0.0


def test_nothing_is_extrapolated_from_the_reference():
    for values in make_reference().interpolate(np.array([-0.1, 120.5])):
        assert np.isnan(values).all()


def test_humidity_is_relative_to_saturation():
    assert float(compute_humidity(23.39 / 800.0, 800.0, 293.15)) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("pressure", [0.0, -1.0])
def test_a_reference_without_pressure_is_refused(pressure):
    values = make_reference().pressure.copy()
    values[-1] = pressure
    with pytest.raises(CorruptedInputError, match="at 120 km is not above 0 hPa"):
        replace(make_reference(), pressure=values).interpolate(np.array([3.0]))


def test_co2_out_of_range_is_named():
    with pytest.raises(CorruptedInputError, match="CO2 concentration 1500 ppm"):
        compute_profile(make_night(), make_reference(), 1500.0)


@pytest.mark.parametrize("night", ["gdas_2023-07-10", "era5_2023-07-10"])
def test_profiles_of_real_nights(shared, night):
    profile = compute_profile(select_night(shared, night).profile, read_reference(shared, "summer"), CO2)
    expected = read_columns(shared / "expected" / f"atmospheric_profile_{night}.ecsv")
    for field, values in zip(fields(profile), expected, strict=True):
        tolerance = 1e-9 if field.name == "refractivity" else 1e-12
        np.testing.assert_allclose(getattr(profile, field.name), values, rtol=tolerance, err_msg=field.name)
