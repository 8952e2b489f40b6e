"""Optical depth against the weight of the air in it."""

from itertools import pairwise
from time import process_time

import numpy as np
import pytest
from helpers_air import (
    CO2,
    MOLECULE,
    make_isothermal,
    make_levels,
    make_reference,
    read_columns,
    read_reference,
    select_night,
)

from cal_pipeline.cherenkov.errors import CorruptedInputError
from cal_pipeline.cherenkov.physics.altitude import compute_altitude
from cal_pipeline.cherenkov.physics.extinction import (
    EDGES,
    compute_optical_depth,
    make_edges,
    sample_centres,
    sample_like_peer,
)
from cal_pipeline.cherenkov.physics.moist_air import compute_water_fraction
from cal_pipeline.cherenkov.physics.rayleigh import compute_cross_section, compute_extinction_coefficient

pytestmark = pytest.mark.cherenkov

PEER_WAVELENGTHS = np.array([200.0, 300.0, 350.0, 400.0, 500.0, 600.0, 699.0])
TEMPERATURE = 250.0

PEER_ALTITUDES = np.concatenate([np.arange(46.0), np.arange(50.0, 121.0, 5.0)])


def compute_weight_depth(wavelength, low, high, temperature=TEMPERATURE, gravity=9.80665):
    """Optical depth of dry isothermal air between two altitudes [km]: cross section times ∫dP/(g m)."""
    lower, upper = make_isothermal(temperature, gravity)(1e3 * np.array([low, high]))
    column = 1e-4 * 100.0 * (lower - upper) / (gravity * MOLECULE)
    return column * compute_cross_section(wavelength, 0.5 * (lower + upper), temperature, 0.0, CO2)


def make_night(lowest=100.0, highest=26e3, temperature=TEMPERATURE, humidity=0.0, rule="log"):
    altitude = np.linspace(lowest, highest, 30)
    return make_levels(altitude, make_isothermal(temperature)(altitude), temperature, humidity, rule=rule)


def test_edges_begin_at_the_observation_level():
    assert EDGES.size == 12 + 40 + 15
    low = [2.1, 2.2, 2.3, 2.4, 2.6, 2.8, 3.1, 3.5, 4.0, 4.5, 5.0, 5.5]
    high = [50.0, 55.0, 60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0, 100.0, 105.0, 110.0, 115.0, 120.0]
    assert make_edges(2.1).tolist() == [*low, *range(6, 46), *high]
    assert make_edges(2.158)[:3].tolist() == [2.158, 2.2, 2.3]
    assert make_edges(0.0)[:2].tolist() == [0.0, 2.1]
    assert make_edges(2.2)[:2].tolist() == [2.2, 2.3]


@pytest.mark.parametrize("level", [120.0, 2158.0, np.nan, np.inf])
def test_observation_levels_above_all_edges_are_refused(level):
    with pytest.raises(CorruptedInputError, match="observation level"):
        make_edges(level)


def test_depth_of_hydrostatic_air_is_its_weight():
    edges = np.linspace(2.0, 26.0, 961)
    wavelengths = np.array([250.0, 350.0, 650.0])
    depth = compute_optical_depth(edges, wavelengths, *sample_centres(edges, make_night(), make_reference()), CO2)
    assert depth.shape == (960, 3)
    for row in (0, 400, 959):
        expected = compute_weight_depth(wavelengths, edges[0], edges[row + 1])
        # The cross section varies by 1e-4 with pressure, as air is no ideal gas.
        np.testing.assert_allclose(depth[row], expected, rtol=2e-4)


def test_depth_over_the_bins_of_products_is_low_by_the_midpoint_rule_only():
    edges = make_edges(2.1)
    depth = compute_optical_depth(edges, [350.0], *sample_centres(edges, None, make_reference()), CO2)[:, 0]
    scale = 1e-3 / -np.log(make_isothermal(TEMPERATURE)(1.0) / 1000.0)
    half = 0.5 * np.diff(edges) / scale
    weights = [compute_weight_depth(350.0, low, high) for low, high in pairwise(edges)]
    np.testing.assert_allclose(np.diff(depth, prepend=0.0), weights * half / np.sinh(half), rtol=2e-4)


def test_data_stand_where_they_cover_and_the_reference_elsewhere():
    edges = np.array([0.0, 0.5, 1.5, 2.5, 10.0, 25.5, 26.5, 40.0])
    night, reference = make_night(600.0, 25_900.0, humidity=0.3), make_reference(temperature=220.0, water=1e-5)
    pressure, temperature, humidity = sample_centres(edges, night, reference)
    centres = np.array([0.25, 1.0, 2.0, 6.25, 17.75, 26.0, 33.25])
    covered = (centres >= 0.6) & (centres <= 25.9)
    assert covered.tolist() == [False, True, True, True, True, False, False]
    np.testing.assert_allclose(temperature, np.where(covered, TEMPERATURE, 220.0), rtol=1e-13)
    expected = np.where(covered, make_isothermal(TEMPERATURE)(1e3 * centres), make_isothermal(220.0)(1e3 * centres))
    np.testing.assert_allclose(pressure, expected, rtol=1e-12)
    np.testing.assert_allclose(humidity[covered], 0.3, rtol=1e-13)
    assert (humidity[~covered] != 0.3).all()
    bare = sample_centres(edges, None, reference)
    np.testing.assert_allclose(bare[0], make_isothermal(220.0)(1e3 * centres), rtol=1e-12)


def test_air_that_nothing_covers_is_refused():
    edges = np.array([-1.0, -0.5, 2.0])
    with pytest.raises(CorruptedInputError, match=r"reaches from 0 to 120 km, cover -0\.75 km"):
        sample_centres(edges, make_night(), make_reference())


def test_peer_rule_takes_dry_reference_rows_at_upper_edges():
    edges = make_edges(2.1)
    reference = make_reference(temperature=220.0, water=1e-4, altitude=PEER_ALTITUDES)
    pressure, temperature, humidity = sample_like_peer(edges, make_night(humidity=0.3), reference)
    low = edges[1:] <= 5.5
    centres = 0.5 * (edges[1:] + edges[:-1])
    np.testing.assert_allclose(temperature[low], TEMPERATURE, rtol=1e-13)
    np.testing.assert_allclose(pressure[low], make_isothermal(TEMPERATURE)(1e3 * centres[low]), rtol=1e-12)
    np.testing.assert_allclose(humidity[low], 0.3, rtol=1e-13)
    np.testing.assert_array_equal(temperature[~low], 220.0)
    np.testing.assert_allclose(pressure[~low], make_isothermal(220.0)(1e3 * edges[1:][~low]), rtol=1e-12)
    assert not humidity[~low].any()


def test_peer_rule_names_a_missing_row_of_the_reference():
    with pytest.raises(CorruptedInputError, match="no row at 9 km"):
        sample_like_peer(make_edges(2.1), make_night(), make_reference(altitude=np.delete(PEER_ALTITUDES, 9)))


def test_peer_rule_finds_rows_despite_rounding():
    reference = make_reference(altitude=PEER_ALTITUDES * (1.0 - 1e-15))
    pressure, _, _ = sample_like_peer(make_edges(2.1), make_night(), reference)
    assert pressure[-1] == reference.pressure[-1]


def test_peer_rule_needs_data_at_its_low_bins():
    with pytest.raises(CorruptedInputError, match="begin at 3000 m"):
        sample_like_peer(make_edges(2.1), make_night(lowest=3000.0), make_reference(altitude=PEER_ALTITUDES))


def test_wavelengths_and_bins_at_once_are_those_one_by_one():
    edges, wavelengths = make_edges(2.2), np.array([200.0, 431.0, 699.0])
    air = sample_centres(edges, make_night(humidity=0.4), make_reference(water=1e-6))
    whole = compute_optical_depth(edges, wavelengths, *air, CO2)
    for i, wavelength in enumerate(wavelengths):
        steps = [
            float(compute_extinction_coefficient(wavelength, *values, CO2)) * (high - low)
            for *values, low, high in zip(*air, edges, edges[1:], strict=False)
        ]
        np.testing.assert_allclose(whole[:, i], np.cumsum(steps), rtol=1e-13)


def test_a_night_takes_much_less_than_a_second():
    edges = make_edges(2.1)
    start = process_time()
    compute_optical_depth(edges, np.arange(200.0, 700.0), *sample_centres(edges, make_night(), make_reference()), CO2)
    assert process_time() - start < 0.5


@pytest.mark.parametrize("night", ["gdas_2023-07-10", "era5_2023-07-10"])
def test_peer_rule_on_real_nights(shared, night):
    profile, reference = select_night(shared, night).profile, read_reference(shared, "summer")
    upper, lower, *expected = read_columns(shared / "expected" / f"extinction_rule_peer_{night}.ecsv")
    edges = make_edges(2.1)
    np.testing.assert_array_equal(edges, [lower[0], *upper])
    depth = compute_optical_depth(edges, PEER_WAVELENGTHS, *sample_like_peer(edges, profile, reference), CO2)
    np.testing.assert_allclose(depth, np.transpose(expected), rtol=1e-10)
    true = compute_optical_depth(edges, PEER_WAVELENGTHS, *sample_centres(edges, profile, reference), CO2)
    assert depth[-1, 2] / true[-1, 2] == pytest.approx(0.96, abs=0.01)


@pytest.mark.parametrize(
    ("night", "level", "expected"),
    [
        ("gdas_2023-07-10", 2.1, {350.0: 0.49866, 500.0: 0.11341}),
        ("gdas_2023-07-10", 2.15, {500.0: 0.11275}),
        ("era5_2023-07-10", 2.1, {350.0: 0.49843, 500.0: 0.11336}),
    ],
)
def test_centre_rule_on_real_nights(shared, night, level, expected):
    profile, reference = select_night(shared, night).profile, read_reference(shared, "summer")
    edges = make_edges(level)
    depth = compute_optical_depth(edges, list(expected), *sample_centres(edges, profile, reference), CO2)
    np.testing.assert_allclose(depth[-1], list(expected.values()), atol=5.1e-6)


@pytest.mark.parametrize("season", ["summer", "winter", "intermediate"])
def test_published_extinction_of_reference_atmospheres(shared, season):
    upper, lower, *expected = read_columns(shared / f"reference_extinction_north_{season}.ecsv")
    edges, wavelengths = np.array([lower[0], *upper]), np.arange(200.0, 1000.0, 25.0)
    assert len(expected) == wavelengths.size
    depth = compute_optical_depth(edges, wavelengths, *sample_centres(edges, None, read_reference(shared, season)), CO2)
    np.testing.assert_allclose(depth, np.transpose(expected), rtol=6e-4)
    low = upper < 40.0
    np.testing.assert_allclose(depth[low], np.transpose(expected)[low], rtol=3.2e-4)


@pytest.mark.parametrize("night", ["gdas_2023-07-10", "era5_2023-07-10"])
def test_depth_over_the_data_is_the_weight_of_their_moist_air(shared, night):
    profile = select_night(shared, night).profile
    altitude = np.linspace(profile.altitude[0], profile.altitude[-1], 20_001)
    pressure, temperature, humidity = (
        profile.interpolate(name, altitude) for name in ("pressure", "temperature", "humidity")
    )
    air = (350.0, pressure, temperature, np.maximum(humidity, 0.0), CO2)
    depth = np.trapezoid(compute_extinction_coefficient(*air), 1e-3 * altitude)
    # Gravity is the slope of geopotential height at 29 deg N, and vapour is lighter than air.
    height = np.linspace(-100.0, 60e3, 60_101)
    gravity = 9.80665 * np.interp(
        altitude, compute_altitude(height, 29.0), np.gradient(height, compute_altitude(height, 29.0))
    )
    mass = MOLECULE * (1.0 - (1.0 - 18.015 / 28.9644) * compute_water_fraction(*air[1:4]))
    weight = -np.trapezoid(1e-4 * compute_cross_section(*air) / (gravity * mass), 100.0 * pressure)
    assert depth == pytest.approx(weight, rel=1e-4)
