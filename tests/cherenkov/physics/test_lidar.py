"""Inversion of simulated returns: layers of aerosols in air that another formula describes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cal_pipeline.cherenkov.atmosphere_tables import read_profile_table
from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.lidar import (
    MOLECULAR_RATIO,
    compute_altitude,
    compute_molecular_backscatter,
    compute_vertical_depth,
    invert_returns,
)
from cal_pipeline.cherenkov.physics.rayleigh import compute_cross_section
from cal_pipeline.cherenkov.simulate.air import AirColumn
from cal_pipeline.cherenkov.simulate.atmosphere import CLIMATES, LATITUDE, make_reference_profile
from cal_pipeline.cherenkov.simulate.lidar import HAZE, AerosolLayer, LidarScene

pytestmark = pytest.mark.cherenkov

AIR = AirColumn(CLIMATES["summer"], LATITUDE)
DISTANCE = np.arange(180.0, 12000.0, 7.5)
REFERENCE = int(np.argmin(np.abs(DISTANCE - 10000.0)))
DUST = (*HAZE, AerosolLayer(centre=6.1, thickness=0.8, extinction=0.16, edge=0.12))


def cross_section(wavelength):
    """Cross section of the molecules as the inversion has it at 4 km; elsewhere it differs by 1e-4."""
    return compute_cross_section(wavelength, 630.0, 279.0, 0.1, 420.0)


@pytest.fixture(scope="module")
def profile():
    return read_profile_table(make_reference_profile(AIR), "profile")


def invert(scene, profile, **settings):
    """Invert the returns of a scene; return the extinction of the aerosols, found and true [1/km]."""
    altitude = compute_altitude(DISTANCE, scene.zenith_angle, scene.station_altitude)
    molecular = compute_molecular_backscatter(altitude, profile, scene.wavelength, 420.0)
    settings = {"reference": REFERENCE, "lidar_ratio": scene.lidar_ratio} | settings
    found = invert_returns(DISTANCE, scene.returns(DISTANCE), molecular, **settings) * settings["lidar_ratio"] * 1e3
    return found, scene.aerosol_extinction(altitude / 1e3)


@pytest.mark.parametrize("zenith_angle", [0.0, 38.0])
@pytest.mark.parametrize("wavelength", [355.0, 532.0])
def test_returns_give_back_the_aerosols(profile, zenith_angle, wavelength):
    scene = LidarScene(AIR, DUST, 2.2, zenith_angle, wavelength, cross_section=cross_section)
    found, true = invert(scene, profile)
    assert np.abs(found - true).max() < 1e-3 * true.max()


def test_other_formula_of_the_molecules_is_seen(profile):
    """The formulas of molecules differ by 2e-3, which is all that is between the aerosols."""
    scene = LidarScene(AIR, DUST, 2.2, 20.0)
    found, true = invert(scene, profile)
    molecular = scene.lidar_ratio * scene.molecular_extinction(2.2) / MOLECULAR_RATIO
    assert np.abs(found - true).max() < 2e-3 * molecular


def test_aerosols_at_the_reference(profile):
    """A reference within a layer serves if its backscatter is known."""
    layer = AerosolLayer(centre=10.0, thickness=6.0, extinction=0.02, edge=0.8)
    scene = LidarScene(AIR, (*DUST, layer), 2.2, cross_section=cross_section)
    true = scene.aerosol_extinction(scene.altitude(DISTANCE[REFERENCE]))
    found, expected = invert(scene, profile, reference_backscatter=float(true) / 50.0 / 1e3)
    assert np.abs(found - expected).max() < 1e-3 * expected.max()
    without, _ = invert(scene, profile)
    assert np.abs(without - expected).max() > 0.01


def test_lidar_ratio_is_of_the_aerosols(profile):
    """A wrong ratio changes the extinction by its own error where little is above, near the top of a layer."""
    scene = LidarScene(AIR, HAZE, 2.2, cross_section=cross_section, lidar_ratio=40.0)
    found, true = invert(scene, profile, lidar_ratio=44.0)
    near_top = np.argmin(np.abs(scene.altitude(DISTANCE) - 4.9))
    assert found[near_top] / true[near_top] == pytest.approx(1.1, abs=0.02)


def test_scale_of_the_signal_does_not_count(profile):
    scene = LidarScene(AIR, DUST, 2.2)
    signal = scene.returns(DISTANCE)
    molecular = compute_molecular_backscatter(scene.altitude(DISTANCE) * 1e3, profile, 355.0, 420.0)
    once, scaled = (invert_returns(DISTANCE, factor * signal, molecular, REFERENCE, 50.0) for factor in (1.0, 1e9))
    assert scaled == pytest.approx(once, rel=1e-9, abs=1e-15)


def test_no_solution_beyond_a_pole():
    """A bright return behind the reference asks for more extinction than there is light."""
    distance = np.arange(100.0, 2000.0, 10.0)
    molecular = np.full(distance.size, 5e-6)
    signal = np.exp(-2 * MOLECULAR_RATIO * molecular * distance) / distance**2
    signal[(distance > 1500) & (distance < 1700)] *= 300.0
    found = invert_returns(distance, signal, molecular, 100, 50.0)
    assert np.isfinite(found[distance < 1500]).all()
    assert np.isnan(found[distance > 1700]).all()


def test_reference_without_light_is_refused():
    with pytest.raises(ValueError, match="at the reference; expected > 0"):
        invert_returns([100.0, 200.0, 300.0], [1.0, 0.5, -0.1], [1e-6] * 3, 2, 50.0)


def test_altitude_above_the_profile_is_refused(profile):
    with pytest.raises(CorruptedInputError, match="altitude 130 km is not in the profile; expected 0 to 120 km"):
        compute_molecular_backscatter([5e3, 130e3], profile, 355.0, 420.0)


def test_vertical_depth_does_not_depend_on_the_zenith_angle():
    depths = []
    for zenith_angle in (0.0, 30.0, 60.0):
        scene = replace(LidarScene(AIR, DUST, 2.2), zenith_angle=zenith_angle)
        distance = np.arange(20.0, 10000.0, 5.0) / np.cos(np.radians(zenith_angle))
        extinction = scene.aerosol_extinction(scene.altitude(distance)) / 1e3
        depths.append(compute_vertical_depth(distance, extinction, zenith_angle)[-1])
    # A layer holds its thickness times its extinction; the haze has its top 0.9 km above the station.
    assert depths == pytest.approx([depths[0]] * 3, rel=1e-5)
    assert depths[0] == pytest.approx(0.03 * 0.9 + 0.05 * 1.1 + 0.16 * 0.8, abs=3e-4)
