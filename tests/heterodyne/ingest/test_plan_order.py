"""Plans do not depend on the order in which files and rows are given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_rows import Grouping, row, shuffled, table
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline.heterodyne.ingest.plan import Plans, plan_scans
from cal_pipeline.heterodyne.ingest.rows import RowTable

PHASES = ("ON", "ON", "OFF", "HOT", "COLD", "SKY")


@st.composite
def sessions(draw: st.DrawFn) -> RowTable:
    """Draw a session: scans of a few phases, seen by up to three beams, of which rows are lost."""
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    for number in range(draw(st.integers(1, 4))):
        for phase in draw(st.lists(st.sampled_from(PHASES), min_size=1, max_size=6)):
            seconds += draw(st.sampled_from((1.0, 2.0, 400.0)))
            for beam in draw(st.sets(st.sampled_from("012"), min_size=1)):
                place = {"receiver": beam, "file": f"{draw(st.sampled_from('ab'))}{beam}.fits", "row": len(rows)}
                rows.append(row(phase, seconds + 0.1 * int(beam), number=number, lon=seconds, lat=1.0, **place))
    problems = {0: "bad"} if draw(st.booleans()) else {}
    return table(rows, problems, source_lon_deg=0.0, source_lat_deg=1.0)


def describe(plans: Plans, rows: RowTable) -> Any:
    """Describe plans by what they hold: rows by their file and place, arrays by their bytes."""
    places = [*zip((rows.files[file] for file in rows.file), rows.row.tolist(), strict=True), None]
    scans = [
        (
            plan.number,
            plan.attributes,
            plan.mjd,
            plan.warnings,
            [rows.files[file] for file in plan.files],
            [
                (
                    name,
                    group.shape,
                    [places[index] for index in group.rows.ravel().tolist()],
                    {
                        key: (axes, values.tolist() if values.dtype == object else values.tobytes())
                        for key, (axes, values) in group.coordinates.items()
                    },
                )
                for band in plan.bands
                for name, group in band.groups.items()
            ],
        )
        for plan in plans.scans.values()
    ]
    return scans, plans.failures, plans.merged


@settings(max_examples=15)
@given(rows=sessions(), data=st.data(), dumps=st.sampled_from(("row", "scan")))
def test_shuffled_rows_make_the_same_plan(rows: RowTable, data: st.DataObject, dumps: str) -> None:
    """Every row of a scan that is planned is in its plan once, in whatever order rows and files come."""
    profile = Grouping(dumps=dumps)
    plans = plan_scans(rows, profile)
    other = shuffled(
        rows,
        data.draw(st.permutations(range(len(rows)))),
        data.draw(st.permutations(range(len(rows.files)))),
    )
    assert describe(plan_scans(other, profile), other) == describe(plans, rows)
    failed = {failure.scan_number for failure in plans.failures}
    expected = np.flatnonzero(~np.isin(rows.number, [number for number in failed if number is not None]))
    placed = [
        group.rows[group.rows >= 0]
        for plan in plans.scans.values()
        for band in plan.bands
        for group in band.groups.values()
    ]
    assert sorted(np.concatenate([np.empty(0, np.int64), *placed]).tolist()) == expected.tolist()


@pytest.mark.parametrize("dumps", ["row", "scan"])
def test_many_rows_are_planned_at_once(dumps: str) -> None:
    """The rows of a scan are placed as arrays: 20000 of 16 beams, which a loop would take a second for."""
    beams = 16
    few = table([row("ON" if time < 2 else "OFF", time) for time in range(4)])
    repeats = 20_000 // len(few)
    numbers = {name: np.tile(column, repeats) for name, column in few.values.items()}
    place = np.arange(len(few) * repeats)
    numbers["mjd"] = 60000.0 + (place // beams) / 86400.0
    arrays = {
        name: np.tile(getattr(few, name), repeats)
        for name in ("file", "hdu", "number", "phase", "array", "band", "n_dumps", "n_channels")
    }
    texts = np.array([str(beam) for beam in (place % beams)], dtype=object)
    phases = np.where(place // beams % 4 < 2, "ON", "OFF").astype(object)
    rows = RowTable(few.files, **arrays | {"phase": phases}, row=place, receiver=texts, pixel_id=texts, values=numbers)
    plan = plan_scans(rows, Grouping(dumps=dumps)).scans[1]
    shape = plan.bands[0].groups["source"].shape
    assert shape == ((16, 1, beams, 1, 1250) if dumps == "row" else (16, 2, beams, 1, 625))
    assert plan.warnings == ()
