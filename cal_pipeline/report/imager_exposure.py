"""Pages of an exposure and of a mosaic: image, errors, flags, ramps, reference files, parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.store.records import ObservationRecord, as_mapping
from cal_pipeline.core.text import format_count, make_printable
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.ramp_source import read_whole
from cal_pipeline.report.imager_images import (
    READ_ERRORS,
    ImageArrays,
    draw_flags,
    draw_histogram,
    draw_image,
    draw_profiles,
)
from cal_pipeline.report.page.blocks import (
    Block,
    Page,
    badge,
    columns,
    details,
    facts,
    figure,
    note,
    section,
    table,
    tiles,
)
from cal_pipeline.report.runs import describe_parameters, list_numbers, list_reference_files, read_verdicts, show_value

UNITS = {"electron / s": "e/s", "uJy": "µJy"}
"""Units as they stand at axes."""

_SHOWN = ("members",)
"""Attributes that have a place of their own on a page."""


def describe_exposure(arrays: ImageArrays, title: str, page: str) -> Page:
    """Make the page of an exposure.

    Parameters
    ----------
    arrays : ImageArrays
        Its arrays.
    title, page : str
        Title and address of the page.

    Returns
    -------
    Page

    Raises
    ------
    CalibrationError
        If none of its arrays can be read.
    """
    record = arrays.record
    data, err, dq = (arrays.read(name) for name in ("data", "err", "dq"))
    _refuse_nothing(arrays, data, err, dq)
    unit = name_unit(arrays.units)
    quantity = "flux" if arrays.units and "electron" not in arrays.units else "rate"
    label = f"{quantity} [{unit}]"
    blocks = [
        _show_tiles(record, data, err, dq, unit),
        _show_checks(record),
        section(
            "Image",
            columns(
                draw_image(data, label, quantity.capitalize(), f"The {quantity} of each pixel.", weight=3.0),
                draw_image(err, f"error [{unit}]", "Error", "One standard deviation.", stretched=False),
            ),
            columns(draw_histogram(data, dq, label)),
            draw_profiles(data, dq, label),
            intro="Choose a part of an image to enlarge it; a double click brings back the whole.",
        ),
        section("Data quality", *draw_flags(dq)),
        _show_ramps(record),
        *_show_integrations(arrays, label),
        _show_variances(arrays, data, err, dq),
        section("Reference files", list_reference_files([record])),
        describe_parameters(record, _SHOWN),
        *_show_problems(arrays),
    ]
    return Page(page, title, blocks, _subtitle(record), record.verdict)


def describe_mosaic(arrays: ImageArrays, title: str, page: str) -> Page:
    """Make the page of a mosaic.

    Parameters
    ----------
    arrays : ImageArrays
        Its arrays.
    title, page : str
        Title and address of the page.

    Returns
    -------
    Page

    Raises
    ------
    CalibrationError
        If none of its arrays can be read.
    """
    record = arrays.record
    data, err, weight, dq = (arrays.read(name) for name in ("data", "err", "weight", "dq"))
    _refuse_nothing(arrays, data, err, weight)
    unit = name_unit(arrays.units)
    label = f"flux per pixel [{unit}]"
    weights = "Exposure time times the area that exposures cover, summed: the coverage."
    blocks = [
        _show_mosaic_tiles(record, data, err, weight, unit),
        section(
            "Mosaic",
            draw_image(data, label, "Image", "The weighted mean of the exposures.", weight=3.0),
            columns(
                draw_image(err, f"error [{unit}]", "Error", "One standard deviation of a pixel.", stretched=False),
                draw_image(weight, "weight [s]", "Coverage", weights, stretched=False),
            ),
            columns(draw_histogram(data, dq, label)),
            intro="Choose a part of an image to enlarge it; a double click brings back the whole.",
        ),
        section("Data quality", *draw_flags(dq)),
        _show_members(record),
        section("Reference files", list_reference_files([record])),
        describe_parameters(record, _SHOWN),
        *_show_problems(arrays),
    ]
    return Page(page, title, blocks, _subtitle(record), judged=False)


def name_unit(unit: str) -> str:
    """Return a unit as it stands at an axis.

    Examples
    --------
    >>> name_unit("uJy"), name_unit("")
    ('µJy', 'unit not known')
    """
    return UNITS.get(unit, unit) or "unit not known"


def read_members(record: ObservationRecord) -> list[Any]:
    """Return the exposures that a mosaic was made from; empty where they are not recorded."""
    members = record.attributes.get("members")
    return list(members) if isinstance(members, list) else []


def _refuse_nothing(arrays: ImageArrays, *read: Any) -> None:
    """Refuse an image of which nothing can be read.

    Raises
    ------
    CalibrationError
        With the reasons.
    """
    if all(values is None for values in read):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in arrays.problems.items())
        raise CalibrationError(f"no array of it can be read ({reasons})")


def _subtitle(record: ObservationRecord) -> str:
    named = [record.attributes.get(name) for name in ("exp_type", "target", "filter", "detector", "date_obs")]
    return ", ".join(make_printable(value) for value in named if value is not None)


def _show_tiles(record: ObservationRecord, data: Any, err: Any, dq: Any, unit: str) -> Block:
    chi2 = record.figure("ramp_chi2")
    middle, scatter = _measure(data, dq)
    error, _ = _measure(err, dq)
    time = record.figure("exposure_time")
    return tiles(
        {
            "chi² of the ramps": (None if chi2 is None else f"{chi2:.3f}", "per degree of freedom; 1 is expected"),
            "Level": (_with_unit(middle, unit), f"median; scatter {_number(scatter)}"),
            "Error": (_with_unit(error, unit), "median of a pixel"),
            "Jumps": (_percent(record.figure("jump_fraction")), "pixels with jumps"),
            "Saturated": (_percent(record.figure("saturated_fraction")), "pixels with saturated groups"),
            "Without value": (_percent(record.figure("bad_fraction")), "pixels without a rate"),
            "Exposure time": (_with_unit(time, "s"), _say_integrations(record)),
        }
    )


def _show_mosaic_tiles(record: ObservationRecord, data: Any, err: Any, weight: Any, unit: str) -> Block:
    shape = next((values.shape for values in (data, err, weight) if values is not None), None)
    covered = None if weight is None else float(np.mean(np.nan_to_num(weight) > 0))
    deepest = None if weight is None or not np.isfinite(weight).any() else float(np.nanmax(weight))
    members = read_members(record)
    error, _ = _measure(err, None)
    size = None if shape is None else f"{shape[1]} x {shape[0]}"
    return tiles(
        {
            "Size": (size, "columns and rows"),
            "Exposures": (str(len(members)) if members else None, list_numbers(members) if members else "not recorded"),
            "Exposure time": (_with_unit(record.figure("exposure_time"), "s"), "of all exposures"),
            "Covered": (_percent(covered), "of the pixels"),
            "Largest weight": (_with_unit(deepest, "s"), "exposure time at the deepest place"),
            "Error": (_with_unit(error, unit), "median of a pixel"),
        }
    )


def _measure(values: NDArray[Any] | None, dq: NDArray[Any] | None) -> tuple[float | None, float | None]:
    """Measure median and scatter (1.4826 MAD) of the pixels that may be used."""
    if values is None:
        return None, None
    known = np.isfinite(values)
    if dq is not None and dq.shape == values.shape:
        known &= (dq & np.uint32(DQ.DO_NOT_USE)) == 0
    finite = values[known].astype(np.float64)
    if not finite.size:
        return None, None
    middle = float(np.median(finite))
    return middle, 1.4826 * float(np.median(np.abs(finite - middle)))


def _number(value: float | None) -> str:
    return "not known" if value is None else f"{value:.4g}"


def _with_unit(value: float | None, unit: str) -> str | None:
    return None if value is None or not math.isfinite(value) else f"{value:.4g} {unit}"


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{100.0 * value:.2f} %"


def _say_integrations(record: ObservationRecord) -> str:
    airmass = record.figure("airmass")
    return "airmass not known" if airmass is None else f"airmass {airmass:.2f}"


def _show_checks(record: ObservationRecord) -> Block:
    """Show the checks that were not passed, those that were, and those that could not be made."""
    verdicts, quality = read_verdicts(record), record.quality
    names = {name: quality.get(name) for name in ("checks", "unknown")}
    made, unknown = ([str(item) for item in value] if isinstance(value, list) else [] for value in names.values())
    blocks: list[Block] = []
    if verdicts:
        keys = ("name", "value", "limit", "explanation")
        rows = [[badge(item.get("verdict")), *(_cell(item.get(key)) for key in keys)] for item in verdicts]
        blocks.append(table(["verdict", "check", "value", "limit", "explanation"], rows))
    elif record.verdict == "pass":
        blocks.append(note(f"All {len(made)} checks that were made are passed.", "good"))
    else:
        blocks.append(note("No verdict is recorded.", "warning"))
    failed = {str(item.get("name")) for item in verdicts}
    passed = [name for name in made if name not in failed]
    limits = as_mapping(quality.get("thresholds"))
    listed = {
        "passed": ", ".join(passed) or None,
        "not known": ", ".join(unknown) or "none",
        "file of the limits": limits.get("file"),
        "its SHA-256": limits.get("sha256"),
    }
    return section("Quality", *blocks, details("All checks", facts(listed)))


def _cell(value: Any) -> Any:
    return None if value is None else show_value(value)


def _show_ramps(record: ObservationRecord) -> Block:
    """Show the figures of the ramps, and how they were read."""
    attributes = record.attributes
    listed = {
        "chi² of the ramps per degree of freedom": record.figure("ramp_chi2"),
        "pixels with jumps": _percent(record.figure("jump_fraction")),
        "pixels with saturated groups": _percent(record.figure("saturated_fraction")),
        "pixels without a rate": _percent(record.figure("bad_fraction")),
        "time from read to read": _with_unit(record.figure("frame_time"), "s"),
        "reads in a group, reads dropped after it": list_numbers_of(attributes, ("nframes", "groupgap")),
        "gain, if no file suits": _with_unit(record.figure("gain"), "e/adu"),
        "read noise, if no file suits": _with_unit(record.figure("read_noise"), "e"),
    }
    intro = "chi² counts the pixels whose ramps neither jump nor saturate; it is 1 where gain and read noise are true."
    return section("Ramps", facts(listed), intro=intro)


def list_numbers_of(attributes: Any, names: tuple[str, ...]) -> str | None:
    """Join attributes for a cell; None where none is known.

    Examples
    --------
    >>> list_numbers_of({"nframes": 4}, ("nframes", "groupgap"))
    '4, not known'
    """
    values = [attributes.get(name) for name in names]
    if all(value is None for value in values):
        return None
    return ", ".join("not known" if value is None else str(show_value(value)) for value in values)


def _show_integrations(arrays: ImageArrays, label: str) -> list[Block]:
    """Show the medians of the integrations, which are read one by one."""
    group = f"{arrays.record.kind.product}ints"
    if not arrays.has(f"{group}/data"):
        return []
    reader = arrays.open(f"{group}/data")
    if reader is None or reader.ndim != 3:
        return [section("Integrations", note("The integrations cannot be read.", "warning"))]
    levels, scatters = [], []
    try:
        for k in range(reader.shape[0]):
            values = read_whole(reader, (slice(k, k + 1), slice(0, reader.shape[1]), slice(0, reader.shape[2])))
            level, scatter = _measure(values, None)
            levels.append(math.nan if level is None else level)
            scatters.append(math.nan if scatter is None else scatter)
    except READ_ERRORS as error:
        arrays.problems[f"{group}/data"] = str(error)
        return [section("Integrations", note("The integrations cannot be read.", "warning"))]
    drawn = []
    count = format_count(len(levels), "integration")
    for title, measured, meaning in (("Level", levels, "Median"), ("Scatter", scatters, "Scatter (1.4826 MAD)")):
        trace = {
            "type": "scatter",
            "mode": "lines+markers",
            "y": np.array(measured),
            "line": {"color": "@1", "width": 1.4},
        }
        layout = {"xaxis": {"title": {"text": "integration, from 0"}}, "yaxis": {"title": {"text": label}}}
        caption = f"{meaning} of all pixels of each of {count}."
        drawn.append(figure([trace], layout, f"{title} of the integrations", caption, 280))
    return [section("Integrations", columns(*drawn))]


def _show_variances(arrays: ImageArrays, data: Any, err: Any, dq: Any) -> Block:
    """Show what the error is made of: medians over the pixels that may be used."""
    names = {"var_poisson": "photon noise", "var_rnoise": "read noise", "var_flat": "flat field"}
    total, _ = _measure(None if err is None else np.square(err, dtype=np.float64), dq)
    rows, known = [], 0.0
    for name, meaning in names.items():
        if not arrays.has(name):
            continue
        middle, _ = _measure(arrays.read(name), dq)
        share = None if middle is None or not total else float(f"{100.0 * middle / total:.3g}")
        rows.append([meaning, name, None if middle is None else float(f"{math.sqrt(max(middle, 0.0)):.4g}"), share])
        known += middle or 0.0
    if total and rows and known < total:
        rest = total - known
        rows.append(["dark, background", "rest", float(f"{math.sqrt(rest):.4g}"), float(f"{100.0 * rest / total:.3g}")])
    titles = ["part", "array", f"error [{name_unit(arrays.units)}]", "share of the variance [%]"]
    caption = "Roots of the medians over pixels that may be used; the squares of the parts add up to that of the error."
    return section(
        "Error by part", table(titles, rows, caption) if rows else note("Variances are not known.", "warning")
    )


def _show_members(record: ObservationRecord) -> Block:
    """List the exposures of a mosaic, and its projection."""
    members, wcs = read_members(record), as_mapping(record.attributes.get("wcs"))
    provenance = record.provenance
    listed = {
        "exposures": ", ".join(map(str, members)) or None,
        "calibrated store": provenance.get("input"),
        "exposure time of all": _with_unit(record.figure("exposure_time"), "s"),
        "grid": ", ".join(f"{name} {value}" for name, value in wcs.items()) or None,
    }
    return section("Members", facts(listed))


def _show_problems(arrays: ImageArrays) -> list[Block]:
    """List the arrays that could not be read."""
    if not arrays.problems:
        return []
    rows = [[name, reason] for name, reason in arrays.problems.items()]
    return [section("Arrays that cannot be read", table(["array", "reason"], rows))]
