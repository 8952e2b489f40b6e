"""Motion of the telescope: against astropy, against a sum by hand, and in limits."""

from __future__ import annotations

import math
import warnings

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import EarthLocation, SkyCoord, SpectralCoord
from astropy.coordinates.spectral_coordinate import NoVelocityWarning
from astropy.time import Time
from astropy.utils import iers
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline.heterodyne.physics.velocity import (
    C_KMS,
    FRAMES,
    VELOCITY_CONVENTIONS,
    convert_to_icrs,
    convert_to_velocity,
    find_direction,
    find_frequency_ratio,
    find_site_velocity,
)

SITES = {"CCAT": (-67.740278, -22.985917, 5612.0), "GBT": (-79.839835, 38.433129, 807.43)}
SOURCES = {"Orion": (83.82, -5.39), "M82": (148.97, 69.68), "Sgr A*": (266.42, -29.01), "W3": (36.77, 61.87)}
TIMES = {"2017-02-04": 57788.21, "2021-07-19": 59414.6, "2024-01-01": 60310.25, "2024-09-30": 60583.9}
REST_HZ = 461.040768e9


def frequency_ratio(mjd, site, source, frame):
    return float(find_frequency_ratio(find_site_velocity(mjd, *site), find_direction(*source), frame))


def velocity_of_astropy(mjd, site, source, frame):
    """Velocity of the rest frequency at the telescope, as astropy has it [km/s]."""
    with iers.conf.set_temp("auto_download", False), warnings.catch_warnings():
        warnings.simplefilter("ignore", NoVelocityWarning)
        place = EarthLocation.from_geodetic(site[0] * u.deg, site[1] * u.deg, site[2] * u.m)
        at_telescope = SpectralCoord(
            REST_HZ * u.Hz,
            observer=place.get_itrs(Time(mjd, format="mjd", scale="utc")),
            # Far away: a near target would be seen in another direction from the Sun.
            target=SkyCoord(source[0] * u.deg, source[1] * u.deg, distance=1e6 * u.pc),
            doppler_rest=REST_HZ * u.Hz,
            doppler_convention="radio",
        )
        name = {"lsrk": "lsrk", "lsrd": "lsrd", "barycent": "icrs"}[frame]
        return at_telescope.with_observer_stationary_relative_to(name).to_value(u.km / u.s)


class TestAgainstAstropy:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("frame", "time", "site", "source"),
        [
            ("lsrk", "2017-02-04", "GBT", "M82"),
            ("lsrk", "2021-07-19", "CCAT", "Sgr A*"),
            ("lsrk", "2024-01-01", "CCAT", "Orion"),
            ("lsrk", "2024-09-30", "GBT", "W3"),
            ("lsrd", "2024-01-01", "CCAT", "Sgr A*"),
            ("barycent", "2024-09-30", "CCAT", "Orion"),
        ],
    )
    def test_spectral_coord(self, frame, time, site, source):
        ratio = frequency_ratio(TIMES[time], SITES[site], SOURCES[source], frame)
        found = convert_to_velocity(np.array([REST_HZ * ratio]), REST_HZ)[0]
        expected = velocity_of_astropy(TIMES[time], SITES[site], SOURCES[source], frame)
        assert found == pytest.approx(expected, abs=0.005)

    @pytest.mark.parametrize("frame", ["galactic", "fk4", "fk5", "icrs"])
    def test_directions_in_other_frames(self, frame):
        lon, lat = 209.01, -19.38
        expected = SkyCoord(lon, lat, unit=u.deg, frame=frame).icrs.cartesian.xyz.value
        found = convert_to_icrs(find_direction(lon, lat), frame)
        # 1 arcsec changes the velocity by 0.15 m/s.
        np.testing.assert_allclose(found, expected, atol=5e-6)


def sum_by_hand(mjd, site, source):
    """Velocity in the LSR of a source at rest at the telescope [km/s], from textbook motions.

    Sun: 20 km/s towards 18h 03m 50.24s, +30° 00' 16.8" (J2000). Earth: a Kepler orbit with the elements of Simon et al.
    1994 on the axes of J2000. Telescope: 0.4651 km/s eastwards at the equator of a sphere. The Sun's own
    motion about the barycentre of the solar system, up to 0.016 km/s, is left out.
    """
    ra, dec = map(math.radians, source)
    n = np.array([math.cos(dec) * math.cos(ra), math.cos(dec) * math.sin(ra), math.sin(dec)])
    apex_ra, apex_dec = math.radians(15 * (18 + 3 / 60 + 50.24 / 3600)), math.radians(30 + 16.8 / 3600)
    apex = np.array(
        [math.cos(apex_dec) * math.cos(apex_ra), math.cos(apex_dec) * math.sin(apex_ra), math.sin(apex_dec)]
    )
    days = mjd - 51544.5
    anomaly = math.radians(357.529 + 0.98560028 * days)
    excentricity = 0.016709
    longitude = (
        math.radians(280.46646 + 0.98560912 * days)
        + 2 * excentricity * math.sin(anomaly)
        + 1.25 * excentricity**2 * math.sin(2 * anomaly)
        + math.pi
    )
    perihelion = math.radians(102.937)
    speed = 29.7847 / math.sqrt(1 - excentricity**2)
    tilt = math.radians(23.4393)
    x = -speed * (math.sin(longitude) + excentricity * math.sin(perihelion))
    y = speed * (math.cos(longitude) + excentricity * math.cos(perihelion))
    earth = np.array([x, y * math.cos(tilt), y * math.sin(tilt)])
    sidereal = math.radians(280.46062 + 360.98561229 * days + site[0])
    spin = 0.465101 * math.cos(math.radians(site[1])) * (1 + site[2] / 6.378e6)
    rotation = spin * np.array([-math.sin(sidereal), math.cos(sidereal), 0.0])
    return -float(n @ (20.0 * apex + earth + rotation))


@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("source", SOURCES)
def test_a_sum_by_hand(time, site, source):
    """The three motions, each by hand: to the 0.02 km/s by which planets and Moon move Sun and Earth."""
    mjd = TIMES[time]
    ratio = frequency_ratio(mjd, SITES[site], SOURCES[source], "lsrk")
    # A line at rest at the telescope has the velocity -v of an approach at v.
    assert C_KMS * (1.0 - ratio) == pytest.approx(-sum_by_hand(mjd, SITES[site], SOURCES[source]), abs=0.03)


def test_the_sun_moves_towards_its_apex():
    towards = find_direction(15 * (18 + 3 / 60 + 50.24 / 3600), 30.0047)
    still = np.zeros(3)
    assert C_KMS * (1.0 - find_frequency_ratio(still, towards, "lsrk")) == pytest.approx(20.0, abs=0.005)
    assert C_KMS * (1.0 - find_frequency_ratio(still, -towards, "lsrk")) == pytest.approx(-20.0, abs=0.005)
    galactic = convert_to_icrs(find_direction(53.13, 25.02), "galactic")
    assert C_KMS * (1.0 - find_frequency_ratio(still, galactic, "lsrd")) == pytest.approx(16.55, abs=0.01)


def test_a_turn_of_the_earth():
    """Within a sidereal day the speed towards a source in the equator changes by twice that of the site."""
    hours = np.arange(0.0, 24.0, 0.5) / 24.0
    toward = find_site_velocity(60310.0 + hours, 0.0, 0.0, 0.0) @ find_direction(90.0, 0.0)
    orbit = np.polyval(np.polyfit(hours[[0, -1]], toward[[0, -1]], 1), hours)
    assert np.ptp(toward - orbit) == pytest.approx(2 * 0.4651, abs=0.06)
    pole = find_site_velocity(60310.0 + hours, 0.0, 90.0, 0.0) @ find_direction(90.0, 0.0)
    assert np.ptp(pole - np.polyval(np.polyfit(hours, pole, 2), hours)) < 0.002


def test_the_speed_of_light_bounds_second_order():
    """The ratio is that of the relativistic Doppler effect: for an approach sqrt((1 - beta)/(1 + beta))."""
    towards = find_direction(10.0, 20.0)
    beta = 0.1
    ratio = find_frequency_ratio(beta * C_KMS * towards, towards, "barycent")
    assert float(ratio) == pytest.approx(math.sqrt(0.9 / 1.1), rel=1e-12)


def test_arrays_of_times_and_directions():
    times, offsets = 60310.0 + np.arange(3.0), np.array([0.0, 0.1])
    velocity = find_site_velocity(times, *SITES["CCAT"])
    directions = find_direction(*SOURCES["Orion"], offsets, 0.0)
    ratios = find_frequency_ratio(velocity[:, None], directions, "lsrk")
    assert velocity.shape == (3, 3)
    assert ratios.shape == (3, 2)
    for k, time in enumerate(times):
        alone = find_frequency_ratio(find_site_velocity(time, *SITES["CCAT"]), directions[1], "lsrk")
        assert float(ratios[k, 1]) == pytest.approx(float(alone), rel=1e-15)
    assert find_frequency_ratio(velocity[:, None], directions, "topocent").tolist() == np.ones((3, 2)).tolist()


@given(
    st.floats(0.0, 360.0),
    st.floats(-89.0, 89.0),
    st.floats(-1.0, 1.0).filter(lambda x: abs(x) > 1e-3),
    st.floats(-1.0, 1.0).filter(lambda x: abs(x) > 1e-3),
)
@settings(max_examples=15)
def test_offsets_are_true_angles(lon, lat, east, north):
    """Offsets of arc minutes at any latitude: the separation is theirs, as astropy measures it."""
    centre = SkyCoord(lon * u.deg, lat * u.deg)
    x, y, z = find_direction(lon, lat, east / 60.0, north / 60.0)
    moved = SkyCoord(x=x, y=y, z=z, representation_type="cartesian")
    moved = SkyCoord(moved.spherical.lon, moved.spherical.lat)
    d_east, d_north = centre.spherical_offsets_to(moved)
    assert d_east.to_value(u.arcmin) == pytest.approx(east, rel=1e-4, abs=1e-5)
    assert d_north.to_value(u.arcmin) == pytest.approx(north, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("mjd", [15019.0, 88069.0, math.nan])
def test_times_without_an_orbit(mjd):
    with pytest.raises(ValueError, match=r"time is MJD .*, expected 15020 to 88068"):
        find_site_velocity(np.array([60310.0, mjd]), 0.0, 0.0, 0.0)


def test_dates_beyond_all_tables():
    """Neither a warning (all are errors here) nor a download: no table of the Earth's rotation is asked for."""
    assert np.linalg.norm(find_site_velocity(80000.0, *SITES["GBT"])) == pytest.approx(29.8, abs=1.1)


@pytest.mark.parametrize("convention", VELOCITY_CONVENTIONS)
def test_conventions_of_astropy(convention):
    frequencies = REST_HZ * np.array([0.9, 0.999, 1.0, 1.01])
    equivalency = getattr(u, f"doppler_{convention}")(REST_HZ * u.Hz)
    expected = (frequencies * u.Hz).to_value(u.km / u.s, equivalencies=equivalency)
    np.testing.assert_allclose(convert_to_velocity(frequencies, REST_HZ, convention), expected, rtol=1e-9, atol=1e-9)


def test_all_frames_have_a_meaning():
    assert set(FRAMES) == {"lsrk", "lsrd", "barycent", "topocent"}
