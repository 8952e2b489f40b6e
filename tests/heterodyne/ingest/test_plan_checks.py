"""Rows that make no scan fail the scan that they belong to, and no other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_rows import Grouping, row, table

from cal_pipeline.heterodyne.ingest.plan import Plans, plan_scans

GOOD = [row("ON", 0.0, number=7, file="good.fits"), row("HOT", 9.0, number=7, file="good.fits")]


def refuse(
    rows: list[dict[str, Any]], problems: dict[int, str] | None = None, profile: Grouping | None = None
) -> tuple[str, str]:
    """Plan bad rows of scan 1 beside a good scan 7, and return the file and message of the failure."""
    plans: Plans = plan_scans(table([*rows, *GOOD], problems), profile or Grouping())
    assert list(plans.scans) == [7]
    (failure,) = plans.failures
    assert (failure.scan_number, failure.error_class) == (1, "IngestError")
    return failure.file, failure.message


def test_problems_of_rows() -> None:
    """The first in order of the files is told, with the number of others, whatever order they are given in."""
    rows = [row("ON", 5.0 * place, file=f"{name}.fits") for place, name in enumerate("cab")]
    told = refuse(rows, {0: "c.fits: no PRESSURE", 1: "a.fits: no EXPOSURE"})
    assert told == ("a.fits", "scan 1: a.fits: no EXPOSURE (and 1 more row)")
    assert refuse(rows, {2: "b.fits: SIG is 'F'"}) == ("b.fits", "scan 1: b.fits: SIG is 'F'")


def test_two_files_for_one_pixel_and_subscan() -> None:
    """Both are named, for source and loads alike."""
    for phase in ("ON", "HOT"):
        rows = [
            row(phase, 0.3, receiver="4", file="copy/a.fits", row=2),
            row(phase, 0.0, receiver="4", file="a.fits", row=2),
        ]
        file, message = refuse(rows)
        assert file == ""
        assert "a.fits (HDU 1, row 2) and copy/a.fits (HDU 1, row 2) are both" in message
        assert f"{phase} of receiver '4', array '0'" in message
        assert "found two rows for one pixel and subscan, expected one" in message


def test_two_rows_of_one_file_for_one_pixel() -> None:
    """As where the profile maps only one of two polarisations."""
    rows = [row("ON", 0.0, row=place, band=band) for place, band in enumerate("001")]
    file, message = refuse(rows)
    assert file == "a.fits"
    assert "band '0'" in message
    assert "[pixel]" in message


def test_a_pixel_with_far_shorter_exposures() -> None:
    """Several of its rows agree with one of another pixel."""
    rows = [row("ON", 5.0, exptime=10.0, receiver="0")]
    rows += [row("ON", 3.5 + time, receiver="1", file="b.fits") for time in range(3)]
    assert "found two rows for one pixel" in refuse(rows)[1]


def test_other_numbers_of_channels_within_a_band() -> None:
    """The files of the few are named, with what was found and expected."""
    rows = [row("ON", 5.0 * place, file=f"{place}.fits") for place in range(6)]
    rows += [row("HOT", 50.0, n_channels=8, file="bad.fits")]
    assert refuse(rows) == (
        "bad.fits",
        "scan 1: bad.fits: found 8 channels, expected 16 as in 0.fits, 1.fits, 2.fits and 3 more files",
    )


def test_bands_may_have_other_numbers_of_channels() -> None:
    """Within each they agree."""
    rows = [row("ON", 0.0, band="0"), row("ON", 0.0, band="1", n_channels=8)]
    assert plan_scans(table(rows), Grouping()).failures == []
    file, message = refuse(
        [*rows, row("ON", 5.0, band="1", n_channels=4, file="b.fits"), row("ON", 9.0, band="1", n_channels=8)]
    )
    assert file == "b.fits"
    assert "found 4 channels in band '1', expected 8" in message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"phase": "OTFX"}, "a.fits (HDU 1, row 0) has the phase 'OTFX', expected one of ON, OTF-ON"),
        ({"mjd": np.nan}, "mjd = nan, expected a time"),
        ({"exptime": -1.0}, "exptime = -1, expected an integration time"),
        ({"freq_res": 0.0}, "freq_res = 0, expected the width of a channel [Hz], which is not 0"),
        ({"n_dumps": 0}, "found 0 dumps of 16 channels"),
        ({"n_channels": 0}, "found 1 dump of 0 channels"),
    ],
)
def test_rows_that_cannot_be_placed(changes: dict[str, Any], expected: str) -> None:
    """File, extension and row are named."""
    file, message = refuse([row("ON", 0.0) | changes])
    assert file == "a.fits"
    assert expected in message


def test_times_that_no_row_has() -> None:
    """A column that is not there at all."""
    rows = table([row("ON", 0.0)])
    values = {name: column for name, column in rows.values.items() if name != "mjd"}
    plans = plan_scans(type(rows)(**{**vars(rows), "values": values}), Grouping())
    assert "mjd = nan" in plans.failures[0].message


def test_grids_far_larger_than_their_rows() -> None:
    """Keys that differ from row to row would make a pixel of each pair."""
    rows = [row("ON", float(place), receiver=str(place), array=str(place)) for place in range(4097)]
    assert "check receiver and array in [pixel]" in refuse(rows)[1]


def test_positions_without_an_origin() -> None:
    """Positions on the sky need that of the source, for ONs and OFFs only."""
    told = refuse([row("ON", 0.0, lon=10.0, lat=20.0)])[1]
    assert "found no source_lon_deg and no source_lat_deg in [scan], expected the origin of lon and lat" in told
    rows = [row("HOT", 0.0, lon=10.0, lat=20.0)]
    assert plan_scans(table(rows), Grouping()).failures == []
