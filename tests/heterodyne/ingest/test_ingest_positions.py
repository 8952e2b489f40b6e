"""Offsets of the map and of the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_rows import Grouping, group, row, table, values_of

from cal_pipeline.heterodyne.ingest.plan import plan_scans
from cal_pipeline.heterodyne.ingest.rows import ScanPlan

SCAN = Grouping(dumps="scan")
IMAGE = Grouping(reader="image")
OFFSETS = ("otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat")


def plan_one(rows: list[dict[str, Any]], profile: Grouping, lon: float = 0.0, lat: float = 0.0) -> ScanPlan:
    """Plan one scan at a source."""
    plans = plan_scans(table(rows, source_lon_deg=lon, source_lat_deg=lat), profile)
    assert plans.failures == []
    return plans.scans[1]


def axes_of(plan: ScanPlan) -> dict[str, tuple[str, ...]]:
    """Return the axes of the offsets that are there."""
    coordinates = group(plan).coordinates
    return {name: coordinates[name][0] for name in OFFSETS if name in coordinates}


def test_positions_become_offsets_from_the_source() -> None:
    """Two beams that scan along longitude at latitude 60, where a degree of it is half a degree of angle."""
    rows = [
        row("ON", time, receiver=beam, lon=30.0 + 0.02 * time + shift, lat=60.0 + up)
        for time in range(3)
        for beam, shift, up in (("0", 0.0, 0.0), ("1", 0.1, 0.2))
    ]
    plan = plan_one(rows, SCAN, lon=30.0, lat=59.0)
    assert axes_of(plan) == {
        "otf_lon": ("dump", "subscan"),
        "otf_lat": ("dump", "subscan"),
        "pixel_offset_lon": ("receiver", "array", "subscan"),
        "pixel_offset_lat": ("receiver", "array", "subscan"),
    }
    assert np.allclose(values_of(plan, "otf_lon"), [[0.0], [0.01], [0.02]])
    assert np.allclose(values_of(plan, "otf_lat"), 1.0)
    # Beam 1 is at latitude 60.2: its offset from beam 0 changes along the row, and its mean is stored.
    expected = np.mean([(0.1 + 0.02 * t) * np.cos(np.radians(60.2)) - 0.02 * t * 0.5 for t in range(3)])
    assert np.allclose(np.ravel(values_of(plan, "pixel_offset_lon")), [0.0, expected])
    assert np.allclose(np.ravel(values_of(plan, "pixel_offset_lat")), [0.0, 0.2])


@pytest.mark.parametrize(("lon0", "lon", "expected"), [(359.9, 0.1, 0.2), (0.1, 359.9, -0.2), (-179.9, 179.9, -0.2)])
def test_offsets_across_the_end_of_a_turn(lon0: float, lon: float, expected: float) -> None:
    """Longitudes count from 0 to 360 or from -180 to 180."""
    plan = plan_one([row("ON", 0.0, lon=lon, lat=0.0)], Grouping(), lon=lon0)
    assert np.allclose(values_of(plan, "otf_lon"), expected, atol=1e-12)


def test_where_the_first_pixel_lacks_a_dump_another_tells_it() -> None:
    """The position of the map is that of the other pixel less its offset; without any it is unknown."""
    rows = [
        row("ON", time, receiver=beam, lon=0.01 * time + shift, lat=0.0)
        for time in range(4)
        for beam, shift in (("0", 0.0), ("1", 0.5))
        if (time, beam) != (1, "0")
    ]
    rows += [row("ON", 9.0, recorded_number=2, lon=7.0, lat=np.nan)]
    plan = plan_one(rows, SCAN)
    unknown = [np.nan] * 4
    assert np.allclose(np.transpose(values_of(plan, "otf_lon")), [[0.0, 0.01, 0.02, 0.03], unknown], equal_nan=True)
    assert np.allclose(np.reshape(values_of(plan, "pixel_offset_lon"), (2, 2))[:, 0], [0.0, 0.5])


def test_ramps_of_images_become_a_position_per_dump() -> None:
    """base + d·ramp, that of the first pixel; dumps that no pixel holds are NaN."""
    rows = [
        row("ON", 2.0, receiver="0", n_dumps=4, otf_lon=1.0, ramp_otf_lon=0.25, otf_lat=3.0),
        row("ON", 2.0, receiver="1", n_dumps=4, otf_lon=9.0, ramp_otf_lon=9.0, otf_lat=9.0),
        row("ON", 9.0, receiver="0", n_dumps=2, otf_lon=2.0, otf_lat=4.0),
    ]
    plan = plan_one(rows, IMAGE)
    assert axes_of(plan) == {"otf_lon": ("dump", "subscan"), "otf_lat": ("dump", "subscan")}
    expected = [[1.0, 1.25, 1.5, 1.75], [2.0, 2.0, np.nan, np.nan]]
    assert np.array_equal(np.transpose(values_of(plan, "otf_lon")), expected, equal_nan=True)


def test_pointings_have_one_position_a_subscan() -> None:
    """Without a ramp and without any change; a ramp of 0 is one."""
    rows = [row("ON", 10.0 * place, n_dumps=3, otf_lon=0.5 * place, otf_lat=0.0) for place in range(2)]
    plan = plan_one(rows, IMAGE)
    assert axes_of(plan) == {"otf_lon": ("subscan",), "otf_lat": ("subscan",)}
    assert values_of(plan, "otf_lon") == [0.0, 0.5]
    moving = plan_one([*rows[:1], rows[1] | {"ramp_otf_lat": 0.0}], IMAGE)
    assert axes_of(moving)["otf_lon"] == ("dump", "subscan")


def test_recorded_offsets_of_dumps() -> None:
    """Rows of a table: an axis of dumps where the telescope moves, else none."""
    rows = [row("ON", time, otf_lon=0.1 * time, otf_lat=0.0) for time in range(3)]
    plan = plan_one(rows, SCAN)
    assert np.allclose(values_of(plan, "otf_lon"), [[0.0], [0.1], [0.2]])
    assert axes_of(plan_one(rows, Grouping())) == {"otf_lon": ("subscan",), "otf_lat": ("subscan",)}


def test_recorded_offsets_of_pixels() -> None:
    """Means over dumps, NaN for pixels that are missing; they go with positions of the map."""
    rows = [
        row("ON", time, receiver=beam, pixel_offset_lon=shift, pixel_offset_lat=0.1 * time, otf_lon=0.0)
        for time in (0, 1)
        for beam, shift in (("0", 0.0), ("1", 0.3))
    ]
    rows += [row("OFF", 5.0, receiver="0", pixel_offset_lon=0.1)]
    plan = plan_one(rows, SCAN)
    lon, lat = (np.reshape(values_of(plan, f"pixel_offset_{axis}"), (2, 2)) for axis in ("lon", "lat"))
    assert np.allclose(lon, [[0.0, 0.1], [0.3, np.nan]], equal_nan=True)
    assert np.allclose(lat, [[0.05, np.nan], [0.05, np.nan]], equal_nan=True)


def test_what_no_row_of_a_group_has_is_absent() -> None:
    """Columns of other scans make no empty arrays, and loads have no offsets."""
    rows = [row("ON", 0.0), row("HOT", 5.0, otf_lon=0.0, pixel_offset_lon=0.0), row("ON", 9.0, number=2, otf_lon=1.0)]
    plan = plan_one(rows, Grouping())
    assert axes_of(plan) == {}
    assert set(OFFSETS).isdisjoint(group(plan, "calibration").coordinates)
