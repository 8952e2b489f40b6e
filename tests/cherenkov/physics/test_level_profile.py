"""Interpolation between levels, of profiles that the splines hold exactly."""

import numpy as np
import pytest
from helpers_air import make_isothermal, make_levels, select_night
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError
from cal_pipeline.cherenkov.physics.levels import LevelProfile

pytestmark = pytest.mark.cherenkov

ALTITUDE = np.array([100.0, 1.4e3, 3e3, 5.6e3, 9e3, 12e3, 16.5e3, 20e3, 26e3])
BETWEEN = np.linspace(100.0, 26e3, 57)


def cubic(x):
    """A cubic polynomial without a zero."""
    return 400.0 - 2e-2 * x + 5e-7 * x**2 - 3e-12 * x**3


@pytest.mark.parametrize("quantity", ["pressure", "density", "temperature", "humidity"])
def test_cubic_rule_holds_cubics(quantity):
    scales = {"pressure": 1.0, "density": 1e16, "temperature": 0.7, "humidity": 1e-3}
    profile = LevelProfile(ALTITUDE, *(scale * cubic(ALTITUDE) for scale in scales.values()))
    np.testing.assert_allclose(profile.interpolate(quantity, BETWEEN), scales[quantity] * cubic(BETWEEN), rtol=1e-12)


def test_log_rule_holds_isothermal_air_where_the_cubic_rule_is_off():
    pressure = make_isothermal(220.0)
    log, plain = (make_levels(ALTITUDE, pressure(ALTITUDE), 220.0, rule=rule) for rule in ("log", "cubic"))
    np.testing.assert_allclose(log.interpolate("pressure", BETWEEN), pressure(BETWEEN), rtol=1e-13)
    np.testing.assert_allclose(
        log.interpolate("density", BETWEEN) / log.density[0], pressure(BETWEEN) / pressure(100.0)
    )
    assert np.abs(plain.interpolate("pressure", BETWEEN) / pressure(BETWEEN) - 1.0).max() > 0.01


@given(st.permutations(["density", "pressure", "temperature", "humidity"]), st.sampled_from(["cubic", "log"]))
def test_levels_come_back_whatever_is_asked_first(order, rule):
    profile = make_levels(ALTITUDE, make_isothermal(250.0)(ALTITUDE), 250.0, 0.3, rule)
    for quantity in order:
        np.testing.assert_allclose(profile.interpolate(quantity, ALTITUDE), getattr(profile, quantity), rtol=1e-14)


def test_nothing_is_extrapolated():
    profile = make_levels(ALTITUDE, make_isothermal(250.0)(ALTITUDE), 250.0)
    outside = np.array([-50.0, 99.999, 26_000.001, 1e5, np.nan])
    assert np.isnan(profile.interpolate("density", outside)).all()
    assert not profile.covers(outside).any()
    assert profile.covers(ALTITUDE[[0, -1]]).all()


def test_too_few_levels_are_refused():
    with pytest.raises(CorruptedInputError, match="3 pressure levels; expected 4"):
        make_levels(ALTITUDE[:3], make_isothermal(250.0)(ALTITUDE[:3]), 250.0)


@pytest.mark.parametrize("second", [100.0, 99.0])
def test_altitudes_that_do_not_rise_are_refused(second):
    altitude = ALTITUDE.copy()
    altitude[1] = second
    with pytest.raises(CorruptedInputError, match=r"mean altitude falls from 100\.0 m at 1000 hPa"):
        make_levels(altitude, np.linspace(1000.0, 200.0, ALTITUDE.size), 250.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    pressure = np.linspace(1000.0, 200.0, ALTITUDE.size)
    humidity = np.zeros(ALTITUDE.size)
    humidity[2] = bad
    with pytest.raises(CorruptedInputError, match="mean humidity at the level of 800 hPa"):
        make_levels(ALTITUDE, pressure, 250.0, humidity)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ConfigurationError, match="'linear'; expected cubic or log"):
        make_levels(ALTITUDE, make_isothermal(250.0)(ALTITUDE), 250.0, rule="linear")


def test_rules_agree_at_15_km_of_real_nights_and_differ_in_a_gap(shared):
    profiles = {
        (night, rule): select_night(shared, night, rule).profile
        for night in ("gdas_2023-07-10", "era5_2023-07-10")
        for rule in ("cubic", "log")
    }
    altitude = np.arange(21.2e3, 26.8e3, 50.0)
    for night in ("gdas_2023-07-10", "era5_2023-07-10"):
        cubic_15, log_15 = (float(profiles[night, rule].interpolate("density", 15e3)) for rule in ("cubic", "log"))
        assert cubic_15 == pytest.approx(log_15, rel=1.1e-4)
    truth = profiles["era5_2023-07-10", "log"].interpolate("density", altitude)
    off = {
        rule: np.abs(profiles["gdas_2023-07-10", rule].interpolate("density", altitude) / truth - 1.0).max()
        for rule in ("cubic", "log")
    }
    assert off["cubic"] == pytest.approx(0.045, abs=0.002)
    assert off["log"] == pytest.approx(0.024, abs=0.002)


def test_four_levels_are_enough():
    profile = LevelProfile(ALTITUDE[:4], *(cubic(ALTITUDE[:4]) for _ in range(4)))
    np.testing.assert_allclose(profile.interpolate("density", 2e3), cubic(2e3), rtol=1e-13)
