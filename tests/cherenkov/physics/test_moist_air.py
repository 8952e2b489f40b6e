"""Refractive index of moist air against published tables."""

import numpy as np
import pytest
from helpers_air import CO2, read_reference
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.limits import RANGES
from cal_pipeline.cherenkov.physics.moist_air import (
    compute_compressibility,
    compute_refractivity,
    compute_saturation_pressure,
    compute_water_fraction,
)

pytestmark = pytest.mark.cherenkov

CIDDOR = [
    (20.0, 800.0, 0.0, 21458.0),
    (20.0, 1000.0, 0.0, 26824.4),
    (20.0, 1200.0, 0.0, 32191.6),
    (10.0, 1000.0, 0.0, 27774.7),
    (30.0, 1000.0, 0.0, 25937.2),
    (20.0, 800.0, 0.75, 21394.0),
    (20.0, 1200.0, 0.75, 32127.8),
    (40.0, 800.0, 0.75, 19896.5),
    (40.0, 1200.0, 0.75, 29941.8),
    (50.0, 800.0, 1.0, 19058.4),
    (50.0, 1200.0, 1.0, 28792.4),
]
"""Temperature [deg C], pressure [hPa], humidity and 1e8 (n - 1) at 633 nm and 450 ppm (Ciddor 1996, Tables 1 and 3)."""

AIR = {"wavelength": 350.0, "pressure": 700.0, "temperature": 280.0, "humidity": 0.5, "co2": 400.0}


@pytest.mark.parametrize(("celsius", "pressure", "humidity", "expected"), CIDDOR)
def test_refractivity_is_that_of_ciddors_tables(celsius, pressure, humidity, expected):
    refractivity = compute_refractivity(633.0, pressure, celsius + 273.15, humidity, 450.0)
    assert 1e8 * float(refractivity) == pytest.approx(expected, abs=0.051)


# Saturation pressure over liquid water [hPa] (Smithsonian Meteorological Tables, and the triple point).
@pytest.mark.parametrize(
    ("kelvin", "expected", "tolerance"),
    [
        (253.15, 1.2540, 1e-3),
        (263.15, 2.8627, 1e-3),
        (273.16, 6.1166, 1e-4),
        (293.15, 23.39, 5e-4),
        (313.15, 73.85, 5e-4),
    ],
)
def test_saturation_pressure_is_that_of_tables(kelvin, expected, tolerance):
    assert float(compute_saturation_pressure(kelvin)) == pytest.approx(expected, rel=tolerance)


def test_saturation_pressure_has_a_step_of_only_0_14_per_cent_at_the_change_of_formula():
    below, above = compute_saturation_pressure([273.15, np.nextafter(273.15, 300.0)])
    # Goff and Gratch put the freezing point at 273.16 K, which is 0.07 % of pressure.
    assert below == pytest.approx(above, rel=1.5e-3)
    assert float(compute_saturation_pressure(273.15)) * 1.000727 == pytest.approx(6.1078, abs=1e-4)


def test_compressibility_crosses_1_at_the_boyle_temperature_of_air():
    factor = compute_compressibility(101325.0, [293.15, 347.0, 373.0], 0.0)
    assert factor[0] < 0.9998
    assert factor[1] == pytest.approx(1.0, abs=2e-5)
    assert factor[2] > factor[1]


def test_compressibility_follows_second_virial_coefficients():
    # -8.6 cm3/mol of air and -1250 cm3/mol of water at 293 K (CRC Handbook, to some per cent).
    per_pascal = 1e-6 / (8.314462 * 293.15)
    assert float(compute_compressibility(1e4, 293.15, 0.0)) == pytest.approx(1.0 - 8.6 * per_pascal * 1e4, abs=2e-6)
    assert float(compute_compressibility(1e3, 293.15, 1.0)) == pytest.approx(1.0 - 1250.0 * per_pascal * 1e3, abs=5e-5)


def test_water_fraction_is_the_ratio_of_pressures_but_for_the_enhancement():
    plain = 0.6 * 23.39 / 900.0
    assert float(compute_water_fraction(900.0, 293.15, 0.6)) / plain == pytest.approx(1.004, abs=5e-4)
    assert float(compute_water_fraction(900.0, 293.15, 0.0)) == 0.0


@given(st.floats(200.0, 4000.0), st.floats(160.0, 390.0))
def test_thin_air_refracts_in_proportion_to_its_density(wavelength, temperature):
    refractivity = compute_refractivity(wavelength, np.array([0.0, 1e-4, 2e-4]), temperature, 0.0, 400.0)
    assert refractivity[0] == 0.0
    assert refractivity[2] == pytest.approx(2.0 * refractivity[1], rel=1e-9)
    hotter = compute_refractivity(wavelength, 1e-4, temperature + 10.0, 0.0, 400.0)
    assert refractivity[1] / hotter == pytest.approx((temperature + 10.0) / temperature, rel=1e-9)


def test_a_unit_of_co2_adds_more_than_the_air_it_replaces():
    ratio = compute_refractivity(500.0, 1013.25, 288.15, 0.0, 1000.0) / compute_refractivity(
        500.0, 1013.25, 288.15, 0.0, 400.0
    )
    # The refractivity of CO2 is 1.534 times that of air (Edlén 1966).
    assert float(ratio) == pytest.approx(1.0 + 600e-6 * 0.534, abs=2e-6)


def test_arguments_broadcast():
    whole = compute_refractivity(
        np.array([300.0, 500.0]), np.array([[900.0], [100.0]]), np.array([[290.0], [220.0]]), 0.2, 410.0
    )
    assert whole.shape == (2, 2)
    assert whole[1, 0] == compute_refractivity(300.0, 100.0, 220.0, 0.2, 410.0)


@pytest.mark.parametrize(
    ("argument", "quantity"),
    [
        ("wavelength", "wavelength"),
        ("pressure", "pressure"),
        ("temperature", "temperature"),
        ("co2", "CO2 concentration"),
    ],
)
def test_values_out_of_range_are_named(argument, quantity):
    low, high, unit = RANGES[quantity]
    for good in (low, high):
        assert np.isfinite(compute_refractivity(**AIR | {argument: good, "humidity": 0.0}))
    for bad in (low - 0.5, high + 0.5, np.nan):
        with pytest.raises(CorruptedInputError, match=f"{quantity} {bad:g} {unit}") as caught:
            compute_refractivity(**AIR | {argument: np.array([AIR[argument], bad])})
        assert caught.value.exit_status == 104


@pytest.mark.parametrize("season", ["summer", "winter", "intermediate"])
def test_refractivity_of_real_reference_atmospheres(shared, season):
    reference = read_reference(shared, season)
    low = reference.altitude < 30.0
    computed = compute_refractivity(350.0, reference.pressure, reference.temperature, reference.humidity, CO2)
    np.testing.assert_allclose(computed[low], reference.refractivity[low], rtol=1e-9)
