"""Velocities of an L1 scan: from the site and the pointing that it holds."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_scans import MJD, POINTING, REST_HZ, SITE, write_scans

from cal_pipeline import open_l1
from cal_pipeline.errors import MissingInputError
from cal_pipeline.heterodyne.velocity import find_velocities, read_pointing

pytestmark = pytest.mark.slow

ORION = (83.82, -5.39)


@pytest.fixture
def make_scan(tmp_path):
    """Make scan 1 with changed attributes and arrays."""

    def make(arrays=None, **attributes):
        path = write_scans(tmp_path / "l1.zarr", {"scan_000001": attributes}, arrays={"scan_000001": arrays or {}})
        return open_l1(path)[1]

    return make


def direction_of(scan, **part):
    x, y, z = read_pointing(scan.select_part(**part), scan.attributes).direction
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arcsin(z))


def test_place_time_and_direction(make_scan):
    scan = make_scan()
    pointing = read_pointing(scan.dataset)
    assert pointing.site == (SITE["site_lon_deg"], SITE["site_lat_deg"], SITE["site_alt_m"])
    assert pointing.mjd == pytest.approx(MJD + 15.0 / 86400.0, abs=1e-8)
    np.testing.assert_allclose(direction_of(scan), ORION, atol=1e-9)


def test_the_mean_of_map_offsets(make_scan):
    # The map is centred 0.5 deg north; one dump without a position does not count.
    lat = np.full((2, 4), 0.5)
    lat[0, 0] = np.nan
    scan = make_scan({"otf_lat": lat})
    lon, found = direction_of(scan)
    assert lon == pytest.approx(ORION[0], abs=1e-9)
    assert found == pytest.approx(ORION[1] + 0.5, abs=1e-4)


def test_subscans_have_their_own_time_and_direction(make_scan):
    lon = np.zeros((2, 4))
    lon[:, 2] = 1.0
    scan = make_scan({"otf_lon": lon})
    assert direction_of(scan, subscans=2)[0] == pytest.approx(ORION[0] + 1.0, abs=0.01)
    assert read_pointing(scan.select_part(subscans=2), scan.attributes).mjd == pytest.approx(
        MJD + 20.0 / 86400.0, abs=1e-8
    )
    assert abs((scan.velocity(subscans=2) - scan.velocity(subscans=0)).value).min() > 0.1


def test_a_galactic_source(make_scan):
    galactic = {"coord_frame": "Galactic", "source_lon_deg": 209.01, "source_lat_deg": -19.38}
    scan = make_scan(scan_metadata=galactic)
    # The Orion nebula.
    np.testing.assert_allclose(direction_of(scan), (83.82, -5.39), atol=0.02)


@pytest.mark.parametrize("name", [*SITE, *POINTING])
@pytest.mark.parametrize("value", [None, "x", float("inf")])
def test_what_is_missing_is_named(make_scan, name, value):
    if name == "coord_frame" and value is not None:
        return
    value = None if value == float("inf") else value
    changes = {name: value} if name in SITE else {"scan_metadata": POINTING | {name: value}}
    scan = make_scan(**changes)
    with pytest.raises(MissingInputError, match=rf"scan 1: .* without {name}, absent from its attributes"):
        scan.velocity()
    assert scan.velocity("topocent").value[8] == pytest.approx(0.0, abs=1e-6)


def test_an_unknown_frame_of_the_source(make_scan):
    scan = make_scan(scan_metadata=POINTING | {"coord_frame": "galactc"})
    with pytest.raises(ValueError, match=r"scan 1: attribute coord_frame is 'galactc'; did you mean 'galactic'\?"):
        scan.velocity()


def test_a_rest_frequency_is_needed(make_scan):
    scan = make_scan(rest_freq_hz=None)
    with pytest.raises(MissingInputError, match=r"scan 1: .*rest_freq_hz is None, expected a positive number of Hz"):
        scan.velocity()
    import astropy.units as u

    of_line = scan.velocity("topocent", rest_frequency=REST_HZ * 1e-9 * u.GHz)
    np.testing.assert_allclose(of_line.value, scan.velocity("topocent", rest_frequency=REST_HZ).value, atol=1e-6)
    assert of_line[8].value == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frame": "lsr"}, r"frame is 'lsr'; did you mean 'lsr[kd]'\?"),
        ({"frame": "galactocentric"}, r"frame is 'galactocentric'; it has barycent, lsrd, lsrk, topocent"),
        ({"convention": "radial"}, r"convention is 'radial'; did you mean 'radio'\?"),
        ({"pixels": "P0"}, r"scan 1 has no pixel 'P0'"),
        ({"subscans": 9}, r"scan 1 has no subscan 9"),
    ],
)
def test_unknown_names(make_scan, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_scan().velocity(**arguments)


def test_names_in_capitals(make_scan):
    scan = make_scan()
    assert (scan.velocity("LSRK", "Radio") == scan.velocity()).all()


def test_one_shift_for_all_channels(make_scan):
    """Between frames frequencies are stretched: velocities differ by a constant, but for 1e-4 of themselves."""
    scan = make_scan()
    difference = (scan.velocity("lsrk") - scan.velocity("topocent")).value
    assert np.ptp(difference) < 1e-3
    bare = find_velocities(scan.dataset.signal_freqs.values, REST_HZ, frame="topocent")
    np.testing.assert_array_equal(bare, scan.velocity("topocent").value)
