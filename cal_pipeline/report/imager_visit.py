"""Overview of a store of the imager: what ran, what came out, and what to look at first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.core.text import make_printable
from cal_pipeline.imager.product import ImageProduct
from cal_pipeline.report.imager_exposure import read_members
from cal_pipeline.report.page.blocks import Block, badge, columns, figure, link, note, section, table, tiles
from cal_pipeline.report.runs import (
    FIRST,
    Mark,
    count_verdicts,
    describe_run,
    describe_state,
    draw_marks,
    list_checks,
    list_failures,
    list_numbers,
    list_reference_files,
)

_FIGURES = {
    "ramp_chi2": ("chi² of the ramps", "per degree of freedom; 1 where gain and read noise are true", 1.0),
    "jump_fraction": ("Pixels with jumps [%]", "cosmic rays hit more of them in longer exposures", 100.0),
    "saturated_fraction": ("Pixels with saturated groups [%]", "cores of bright stars, or all of a bright sky", 100.0),
    "bad_fraction": ("Pixels without a rate [%]", "alike in all exposures of a detector", 100.0),
}
"""Title, meaning and factor of the figures that are drawn in time."""


def describe_visit(
    product: ImageProduct,
    records: Sequence[ObservationRecord],
    unreadable: Mapping[Any, tuple[str, str]],
    pages: Mapping[Any, str],
) -> list[Block]:
    """Make the overview.

    Parameters
    ----------
    product : ImageProduct
        The store.
    records : sequence of ObservationRecord
        Records of the images that could be read.
    unreadable : mapping
        Page and reason for each image that could not be read.
    pages : mapping
        Pages by number or name.

    Returns
    -------
    list of Block
    """
    blocks = [
        _show_tiles(product, records, pages),
        *list_failures(product, unreadable, list(pages)),
        *describe_state(product),
    ]
    if product.kind.named:
        blocks.append(_list_mosaics(records, unreadable, pages))
    else:
        blocks += [
            _show_timeline(records, pages),
            list_checks(records, pages),
            _list_exposures(records, unreadable, pages),
            _show_figures(records, pages),
        ]
    files = list_reference_files(records) if records else note("No reference file is recorded.")
    return [*blocks, section("Reference files", files), describe_run(product, records)]


def _show_tiles(product: ImageProduct, records: Sequence[ObservationRecord], pages: Mapping[Any, str]) -> Block:
    times = [time for record in records if (time := record.figure("exposure_time")) is not None]
    kind = product.kind
    failed = len([failure for failure in product.failures if failure.get(kind.number_key) not in pages])
    # A mosaic has no verdict of its own.
    meaning = f"{failed} failed" if kind.named else count_verdicts([record.verdict for record in records])
    shown: dict[str, tuple[Any, str]] = {
        kind.plural.capitalize(): (
            str(len(pages)),
            f"{failed} failed; {meaning}" if failed and not kind.named else meaning,
        ),
        "Exposure time": (f"{sum(times) / 60.0:.1f} min" if times else None, "of all that could be read"),
        "Targets": (_count_different(records, "target"), _name_different(records, "target")),
        "Filters": (_count_different(records, "filter"), _name_different(records, "filter")),
    }
    if not kind.named:
        chi2 = _median([record.figure("ramp_chi2") for record in records])
        jumps = _median([record.figure("jump_fraction") for record in records])
        shown["chi² of the ramps"] = (None if chi2 is None else f"{chi2:.3f}", "median of the exposures")
        shown["Jumps"] = (None if jumps is None else f"{100 * jumps:.2f} %", "median share of the pixels")
    return tiles(shown)


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.median(known)) if known else None


def _different(records: Sequence[ObservationRecord], name: str) -> list[str]:
    values = [record.attributes.get(name) for record in records]
    return sorted({make_printable(value) for value in values if value is not None})


def _count_different(records: Sequence[ObservationRecord], name: str) -> str | None:
    return str(len(_different(records, name))) if _different(records, name) else None


def _name_different(records: Sequence[ObservationRecord], name: str) -> str:
    return list_numbers(_different(records, name), 40) or "not recorded"


def _time_of(record: ObservationRecord) -> str | None:
    """Return the start of an exposure; None where there is none that a calendar knows."""
    text = record.attributes.get("date_obs")
    try:
        return None if not isinstance(text, str) else str(np.datetime64(text, "ms"))
    except ValueError:
        return None


def _label(record: ObservationRecord) -> str:
    named = [record.attributes.get(name) for name in ("exp_type", "target", "filter")]
    return ", ".join([record.label, *(make_printable(value) for value in named if value is not None)])


def _show_timeline(records: Sequence[ObservationRecord], pages: Mapping[Any, str]) -> Block:
    """Show when each exposure was taken, its type and its verdict."""
    marks = [
        Mark(pages[one.number], _label(one), one.verdict, time, str(one.attributes.get("exp_type") or "not known"))
        for one in records
        if (time := _time_of(one)) is not None
    ]
    if not marks:
        return section("Timeline", note("The times of the exposures are not known.", "warning"))
    layout = {
        "xaxis": {"type": "date", "title": {"text": "start, UTC"}}, "yaxis": {"type": "category"}, "showlegend": True,
        "legend": {"y": 1.02, "yanchor": "bottom"}, "margin": {"t": 36},
    }  # fmt: skip
    height = 170 + 34 * len({mark.y for mark in marks})
    caption = "Each mark is an exposure, by its type; choose one to open its page. Failed exposures have no mark."
    drawn = figure(draw_marks(marks), layout, caption=caption, height=height, links="customdata")
    return section("Timeline", drawn)


def _show_figures(records: Sequence[ObservationRecord], pages: Mapping[Any, str]) -> Block:
    """Show the quality figures in time."""
    drawn = []
    for name, (title, meaning, factor) in _FIGURES.items():
        marks = [
            Mark(pages[one.number], _label(one), one.verdict, time, round(factor * value, 5))
            for one in records
            if (time := _time_of(one)) is not None and (value := one.figure(name)) is not None
        ]
        if not marks:
            drawn.append(note(f"{title}: not known.", "warning"))
            continue
        start = {} if name == "ramp_chi2" else {"rangemode": "tozero"}
        layout = {"xaxis": {"type": "date", "title": {"text": "start, UTC"}}, "yaxis": start}
        caption = f"{meaning.capitalize()}."
        drawn.append(figure(draw_marks(marks), layout, title, caption, 260, links="customdata"))
    return section("Ramps in time", columns(*drawn[:2]), columns(*drawn[2:]))


def _list_exposures(
    records: Sequence[ObservationRecord], unreadable: Mapping[Any, tuple[str, str]], pages: Mapping[Any, str]
) -> Block:
    """List all exposures with links to their pages."""
    rows: list[list[Any]] = []
    for one in records:
        chi2, time = one.figure("ramp_chi2"), _time_of(one)
        shares = [one.figure(name) for name in ("saturated_fraction", "jump_fraction", "bad_fraction")]
        rows.append(
            [
                link(one.number, pages[one.number]), badge(one.verdict),
                *(_text(one.attributes.get(name)) for name in ("exp_type", "target", "filter")),
                None if time is None else time[:19].replace("T", " "), one.figure("exposure_time"),
                None if chi2 is None else round(chi2, 3),
                *(None if share is None else round(100.0 * share, 2) for share in shares),
                " ".join(one.checks) or ("none" if one.verdict else None),
            ]
        )  # fmt: skip
    rows += [
        [link(key, page), badge("")] + [None] * 9 + ["cannot be read"] for key, (page, _) in unreadable.items()
    ]  # fmt: skip
    titles = ["exposure", "verdict", "type", "target", "filter", "start (UTC)", "time [s]", "chi²", "saturated [%]",
              "jumps [%]", "bad [%]", "checks not passed"]  # fmt: skip
    return section("Exposures", table(titles, rows, filters=True, first=FIRST))


def _list_mosaics(
    records: Sequence[ObservationRecord], unreadable: Mapping[Any, tuple[str, str]], pages: Mapping[Any, str]
) -> Block:
    """List all mosaics with links to their pages."""
    rows: list[list[Any]] = [
        [
            link(one.number, pages[one.number]), *(_text(one.attributes.get(name)) for name in ("target", "filter")),
            one.figure("exposure_time"), len(read_members(one)) or None, list_numbers(read_members(one)) or None,
        ]
        for one in records
    ]  # fmt: skip
    rows += [[link(key, page)] + [None] * 4 + ["cannot be read"] for key, (page, _) in unreadable.items()]
    titles = ["mosaic", "target", "filter", "time [s]", "number of exposures", "exposures"]
    return section("Mosaics", table(titles, rows, filters=True, first=FIRST))


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
