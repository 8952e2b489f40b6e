"""Page of a scan of a receiver: spectra, receiver, sky, flags, map, differences and parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.core.text import format_count, format_ranges, list_few
from cal_pipeline.heterodyne.compare import describe_loads
from cal_pipeline.report.page.arrays import Envelope, Raster
from cal_pipeline.report.page.blocks import (
    Axis,
    Block,
    Curve,
    Page,
    Panel,
    badge,
    columns,
    curves,
    details,
    facts,
    figure,
    image,
    note,
    section,
    table,
    tabs,
    tiles,
)
from cal_pipeline.report.receiver_band import BandArrays, list_axes
from cal_pipeline.report.receiver_map import show_map
from cal_pipeline.report.receiver_samples import ANY, ScanSamples
from cal_pipeline.report.receiver_summary import BandSummary, list_parameters, with_error, worst_verdict

Floats = NDArray[np.float64]

_SPECTRA, _AVERAGE, _OTHERS = 4.0, 40.0, 1.0
"""Weights of curves in the budget: a single average costs little and is looked at most."""


def describe_scan(title: str, page: str, bands: Sequence[tuple[BandArrays, BandSummary]]) -> Page:
    """Make the page of a scan.

    Parameters
    ----------
    title : str
        Title.
    page : str
        Address.
    bands : sequence of tuple
        Arrays and summary of each band.

    Returns
    -------
    Page
    """
    contents = {_name_band(summary): list(_describe_band(arrays, summary)) for arrays, summary in bands}
    first = bands[0][1]
    where = [first.text(name) for name in ("source", "line", "frontend", "mode")]
    when = None if first.start is None else f"{str(first.start)[:16].replace('T', ' ')} UTC"
    pixels = list(dict.fromkeys(pixel for _, summary in bands for pixel in summary.pixels))
    return Page(
        page,
        title,
        [tabs(contents)] if len(contents) > 1 else next(iter(contents.values())),
        " · ".join(part for part in [*where, when] if part),
        worst_verdict(summary.verdict for _, summary in bands),
        pixels,
    )


def _name_band(summary: BandSummary) -> str:
    frequency = "" if summary.frequency is None else f"{summary.frequency * 1e-9:.1f} GHz"
    return " · ".join(filter(None, [summary.band, frequency, summary.text("frontend")])) or "scan"


def _describe_band(arrays: BandArrays, summary: BandSummary) -> Iterator[Block]:
    """Yield the sections of a band."""
    yield _show_tiles(summary)
    yield _show_verdicts(summary)
    if arrays.frequency is None or not arrays.pixels:
        yield section("Spectra", note("Frequencies or pixels are not known; no curve can be shown.", "bad"))
    else:
        axes, remark = list_axes(arrays)
        samples = arrays.samples()
        bad = None if samples is None else samples.bad.T
        yield _show_spectra(arrays, axes, samples, remark)
        yield _show_receiver(arrays, summary, axes, bad)
        yield _show_sky(arrays, summary, axes, bad)
        yield _show_transmission(arrays, axes)
        yield _show_noise(arrays, axes, bad)
        yield _show_scale(arrays, summary, axes, bad)
        if samples is not None:
            yield _show_flags(arrays, samples, axes[0], summary)
            yield from show_map(arrays, samples, summary)
        yield from _show_differences(arrays, axes)
    yield _show_parameters(summary)
    if arrays.problems:
        rows = [[name, reason] for name, reason in arrays.problems.items()]
        yield section("Arrays that could not be read", table(["array", "reason"], rows))


def _show_tiles(summary: BandSummary) -> Block:
    """Show the figures that tell most."""
    quality = summary.record

    def rounded(name: str, unit: str, digits: int = 0) -> str | None:
        value = quality.figure(name)
        return None if value is None else f"{value:.{digits}f} {unit}".rstrip()

    def percent(name: str, digits: int = 1) -> str | None:
        value = quality.figure(name)
        return None if value is None else f"{100 * value:.{digits}f} %"

    pwv = with_error(summary.pwv, summary.pwv_total)
    seconds = None if summary.t_int is None else f"{summary.t_int:.0f} s"
    return tiles(
        {
            "PWV": (None if pwv is None else f"{pwv} mm", "total error"),
            "T_sys": (rounded("t_sys_median_K", "K"), "double sideband, median"),
            "T_rec": (rounded("t_rec_dsb_median_K", "K"), "double sideband, median"),
            "Scale error": (percent("scale_error_median"), "1 sigma, of T_A*"),
            "Noise": (rounded("noise_ratio_median", "", 2), "measured over expected"),
            "Flagged": (percent("flagged_fraction", 2), "share of samples"),
            "On source": (seconds, "integration time"),
        }
    )


def _show_verdicts(summary: BandSummary) -> Block:
    """Show the checks that were not passed, those that were, and those that could not be made."""
    warned, quality = summary.warnings, summary.record.quality
    passed = _names(quality.get("checks"))
    passed = [name for name in passed if name not in {item.name for item in warned}]
    unknown = _names(quality.get("unknown"))
    blocks: list[Block] = []
    if warned:
        rows = [
            [
                badge(item.verdict),
                item.name,
                _plain(item.value),
                _plain(item.limit),
                list_few(item.pixels, 6) or None,
                item.explanation,
            ]
            for item in warned
        ]
        blocks.append(table(["verdict", "check", "value", "limit", "pixels", "explanation"], rows))
    elif summary.verdict == "pass":
        blocks.append(note(f"All {len(passed)} checks that were made are passed.", "good"))
    else:
        blocks.append(note("No verdict is recorded.", "warning"))
    listed = {"passed": ", ".join(passed) or None, "not known": ", ".join(unknown) or "none"}
    blocks.append(details("All checks", facts(listed)))
    return section("Quality", *blocks)


def _names(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _plain(value: Any) -> Any:
    """Return a number or text for a cell."""
    if isinstance(value, (list, tuple)):
        return ", ".join(
            "not known" if item is None else f"{item:.4g}" if isinstance(item, float) else str(item) for item in value
        )
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items())
    return value


def _show_spectra(arrays: BandArrays, axes: list[Axis], samples: ScanSamples | None, remark: str) -> Block:
    """Show the calibrated spectra, averaged over dumps and ONs."""
    if samples is None:
        reason = arrays.problems.get("spectra") or arrays.problems.get("flags") or "they are not in the store"
        return section("Calibrated spectra", note(f"The spectra cannot be shown: {reason}", "bad"))
    each = Envelope.of(samples.mean.mean.T, weight=_SPECTRA)
    average = samples.average
    total, error = Envelope.of(average.mean, weight=_AVERAGE), Envelope.of(average.sigma, weight=_AVERAGE)
    known = bool(np.isfinite(average.sigma).any())
    shown = [Curve(pixel, each, k, pixel) for k, pixel in enumerate(arrays.pixels)]
    shown.append(Curve("average of all pixels", total, error=error if known else None))
    said = (
        "Good samples, weighted by 1/sigma². Each pixel over all dumps and ONs; pale: least and largest channel "
        "where several share a point. "
    )
    said += (
        "The band around the average is its error, with the noise that an OFF leaves in all its dumps."
        if known
        else "The error of the average is not known: the store does not tell which noise the samples share."
    )
    blocks = [curves([Panel("T_A* [K]", shown, zero=True)], axes, caption=said, height=430)]
    if remark:
        blocks.append(note(remark))
    return section("Calibrated spectra", *blocks)


def _pixel_curves(arrays: BandArrays, values: Floats | None, bad: Any = None, style: Any = "line") -> list[Curve]:
    """Make the curves of all pixels; none where the array is not known."""
    if values is None:
        return []
    if bad is not None and bad.shape == values.shape:
        values = np.where(bad, np.nan, values)
    envelope = Envelope.of(values, weight=_OTHERS, with_mean=style == "line")
    return [Curve(pixel, envelope, k, pixel, style) for k, pixel in enumerate(arrays.pixels)]


def _figure_of(title: str, panels: list[Panel], axes: list[Axis], caption: str, height: int) -> list[Block]:
    """Make a figure of the panels that have curves, and a note on the others."""
    drawn = [panel for panel in panels if panel.curves]
    lacking = [panel.label for panel in panels if not panel.curves]
    blocks = [curves(drawn, axes, title, caption, height)] if drawn else []
    if lacking:
        blocks.append(note(f"Not in the store, or not readable: {', '.join(lacking)}.", "warning"))
    return blocks


def _show_receiver(arrays: BandArrays, summary: BandSummary, axes: list[Axis], bad: Any) -> Block:
    """Show what the loads tell of the receiver."""
    provenance, quality = summary.record.provenance, summary.record.quality
    panels = [
        Panel("T_rec SSB [K]", _pixel_curves(arrays, arrays.rows("t_rec_ssb"), bad)),
        Panel("gamma [ct/K]", _pixel_curves(arrays, arrays.rows("gamma"), bad)),
        Panel("T_cal [K]", _pixel_curves(arrays, arrays.rows("t_cal"), bad), share=0.7),
    ]
    listed = {
        "loads of scans": describe_loads(summary.record) or None,
        "age of the loads": _with_unit(quality.get("load_age_s_median"), "s"),
        "instability of the loads": quality.get("load_instability_median"),
        "gain drift to the next loads": quality.get("gain_drift_median"),
        "gain correction": f"level {provenance.get('gain_level')}" if provenance.get("gain_level") else "none",
        "forward efficiency": _plain(provenance.get("forward_efficiency")),
        "taken without being given": _plain(provenance.get("assumed")) or "nothing",
        "telescope profile": provenance.get("telescope_profile"),
    }
    caption = (
        "From hot and cold load. Bad channels are left out. T_rec: receiver temperature; gamma: counts per kelvin."
    )
    return section("Loads and gain", *_figure_of("", panels, axes, caption, 520), facts(listed))


def _with_unit(value: Any, unit: str) -> str | None:
    return f"{value:.4g} {unit}" if isinstance(value, (int, float)) else None


def _show_sky(arrays: BandArrays, summary: BandSummary, axes: list[Axis], bad: Any) -> Block:
    """Show the sky of the OFFs, the fit and the residual."""
    observed, residual = arrays.rows("t_sky"), arrays.rows("sky_residual")
    fitted = None if observed is None or residual is None else observed - residual
    sky = [*_pixel_curves(arrays, observed, bad), *_pixel_curves(arrays, fitted, bad, "model")]
    panels = [
        Panel("T_sky [K]", sky, share=2.0),
        Panel("residual [K]", _pixel_curves(arrays, residual, bad), zero=True),
    ]
    chi2 = arrays.read("pwv_chi2")
    listed = {
        "PWV": _with_unit(summary.pwv, "mm"),
        "statistical error": _with_unit(summary.pwv_err, "mm"),
        "error from the opacity model": _with_unit(summary.pwv_err_model, "mm"),
        "total error": _with_unit(summary.pwv_total, "mm"),
        "reduced chi²": None if chi2 is None or not np.isfinite(chi2).any() else float(np.nanmedian(chi2)),
        "strategy": summary.text("cal_strategy"),
        "atmosphere table": summary.record.provenance.get("atm_file"),
    }
    caption = "Mean over the OFFs: observed (colours) and fitted (thin lines); below, observed minus fitted."
    blocks = _figure_of("", panels, axes, caption, 480)
    water = _water_by_pixel(arrays)
    return section("Sky and water vapour", *blocks, facts(listed), *([water] if water else []))


def _water_by_pixel(arrays: BandArrays) -> Block | None:
    """Show the water vapour of each pixel, of strategies that fit it for each."""
    pwv, errors = arrays.read("pwv"), arrays.read("pwv_err")
    if pwv is None or pwv.ndim < 2 or errors is None or errors.shape != pwv.shape:
        return None
    flat, of_flat = pwv.reshape(len(arrays.pixels), -1), errors.reshape(len(arrays.pixels), -1)
    names = np.repeat(np.array(arrays.pixels, dtype=object), flat.shape[1]).tolist()
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": names,
        "y": flat.ravel(),
        "marker": {"color": "@accent", "size": 6},
        "error_y": {"type": "data", "array": of_flat.ravel(), "color": "@muted", "thickness": 1},
    }
    caption = "One point for each pixel, or for each pixel and ON, with its statistical error."
    return figure([trace], {"yaxis": {"title": {"text": "PWV [mm]"}}}, "PWV of the pixels", caption, 300)


def _show_transmission(arrays: BandArrays, axes: list[Axis]) -> Block:
    """Show transmission and zenith opacity at the mean airmass of the ONs."""
    elevation = arrays.read("elevation")
    if elevation is None or not np.isfinite(elevation).any():
        return section("Transmission", note("Elevations are not known.", "warning"))
    airmass = float(np.nanmean(1.0 / np.sin(elevation)))
    lines: list[Curve] = []
    zenith: list[Curve] = []
    for name, label, style in (("tau_signal", "signal sideband", "line"), ("tau_image", "image sideband", "faint")):
        tau = arrays.read(name)
        if tau is None or not np.isfinite(tau).any():
            continue
        if tau.ndim == 4:
            tau = tau.mean(axis=-1)
        rows = tau[None] if tau.ndim == 1 else tau.reshape(len(tau), -1).T
        drawn = Envelope.of(np.exp(-airmass * rows)), Envelope.of(rows)
        for k in range(len(rows)):
            group = None if tau.ndim == 1 else arrays.pixels[k]
            lines.append(Curve(label, drawn[0], k, group, style))  # type: ignore[arg-type]
            zenith.append(Curve(label, drawn[1], k, group, style))  # type: ignore[arg-type]
    panels = [Panel("transmission", lines), Panel("zenith opacity [Np]", zenith)]
    caption = f"Transmission at airmass {airmass:.3f}, the mean over the ONs, and zenith opacity of the fitted sky."
    return section("Transmission", *_figure_of("", panels, axes, caption, 380))


def _show_noise(arrays: BandArrays, axes: list[Axis], bad: Any) -> Block:
    """Show system temperature and expected noise."""
    panels = [
        Panel("T_sys DSB [K]", _pixel_curves(arrays, arrays.mean_rows("t_sys"), bad)),
        Panel("sigma [K]", _pixel_curves(arrays, arrays.mean_rows("sigma"), bad), share=0.7),
    ]
    caption = "Means over the ONs: system temperature, double sideband; expected noise of one dump of T_A*."
    return section("System temperature", *_figure_of("", panels, axes, caption, 420))


def _show_scale(arrays: BandArrays, summary: BandSummary, axes: list[Axis], bad: Any) -> Block:
    """Show the error of the calibration scale and its parts."""
    values = arrays.rows("scale_error")
    panel = Panel("scale error [%]", _pixel_curves(arrays, None if values is None else 100.0 * values, bad))
    blocks = _figure_of("", [panel], axes, "Relative 1-sigma error of the scale of T_A*, common to all samples.", 300)
    return section("Error of the scale", columns(*blocks, *show_terms([summary])))


def show_terms(summaries: Sequence[BandSummary]) -> list[Block]:
    """Show the parts of the error of the scale, largest first; nothing where none is known.

    Parameters
    ----------
    summaries : sequence of BandSummary
        Bands, of which the medians are shown.
    """
    found: dict[str, list[float]] = {}
    for summary in summaries:
        for name, value in summary.terms.items():
            found.setdefault(name, []).append(value)
    medians = sorted(((float(np.median(values)), name) for name, values in found.items()))
    if not medians:
        return [note("The parts of the error are not in the store.", "warning")]
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": [100.0 * value for value, _ in medians],
        "y": [name.replace("_", " ") for _, name in medians],
        "marker": {"color": "@accent"},
        "hovertemplate": "%{y}: %{x:.3g} %",
        "name": "",
    }
    layout = {"xaxis": {"title": {"text": "part of the scale error [%]"}, "rangemode": "tozero"}}
    caption = "Parts by input, medians; the total is the root of the sum of their squares."
    return [figure([trace], layout, caption=caption, height=300)]


def _show_flags(arrays: BandArrays, samples: ScanSamples, axis: Axis, summary: BandSummary) -> Block:
    """Show the flags as waterfalls."""
    if not samples.in_time:
        return section("Flags", note("No sample is flagged.", "good"))
    n_bins, n_channels = samples.strength.shape[0], len(samples.bad)
    width = (axis.last - axis.first) / max(n_channels - 1, 1)
    first = axis.first + width * (samples.per_bin - 1) / 2
    x = Axis(axis.label, first, first + width * samples.per_bin * (n_bins - 1))
    scale = [[0.0, "rgba(128,140,155,0.10)"], [0.001, "#fde3b0"], [0.5, "#e5733a"], [1.0, "#8c1c3b"]]
    contents = {}
    for name, shares in samples.in_time.items():
        n_pixels = len(samples.by_pixel[name])
        last_dump = (len(shares) - 1) * samples.per_row
        views = [
            image(
                Raster(100 * shares, "max"),
                x,
                Axis("dump, in the order of time", 0, last_dump),
                "%",
                "In time",
                "Share of the pixels and channels of a point that have the flag.",
                360,
                scale,
                (0, 100),
            ),
            image(
                Raster(100 * samples.by_pixel[name], "max"),
                x,
                Axis("pixel", 0, n_pixels - 1),
                "%",
                "By pixel",
                "Share of the dumps and channels of a point that have the flag.",
                360,
                scale,
                (0, 100),
            ),
        ]
        contents[name] = [columns(*views)]
    parts = as_mapping(summary.record.quality.get("flagged_fraction_by_flag"))
    listed = {name: f"{100 * value:.3g} %" for name, value in parts.items() if isinstance(value, (int, float))}
    if len(contents) == 2:
        contents.pop(ANY)
    return section(
        "Flags",
        tabs(contents) if len(contents) > 1 else next(iter(contents.values()))[0],
        details("Share of flagged samples", facts(listed or {"flags": None})),
    )


def _show_differences(arrays: BandArrays, axes: list[Axis]) -> Iterator[Block]:
    """Show SKYDIFF and SKYCHOPDIFF, where they were made."""
    said = {
        "skydiff": "Blank skies minus those of earlier scans, seen against the hot load",
        "skychopdiff": "Blank skies, first minus other chop phases, on the scale of T_A*",
    }
    for name, meaning in said.items():
        found = arrays.differences(name)
        if found is None:
            continue
        attributes, spectra = found
        envelope = Envelope.across(spectra, weight=2.0)
        shown = [Curve(pixel, envelope, k, pixel) for k, pixel in enumerate(arrays.pixels)]
        caption = f"{meaning}: mean (lines) and extremes (pale) of {format_count(len(spectra), 'difference')}."
        figure_of = curves([Panel("difference [K]", shown, zero=True)], axes, caption=caption, height=340)
        listed = {key: _plain(value) for key, value in make_json_ready(attributes).items()}
        yield section(name.upper(), figure_of, details("What is compared", facts(listed)))


def _show_parameters(summary: BandSummary) -> Block:
    """Show the parameters with their origins, and the provenance."""
    rows = [
        [name, "not set" if value is None else _plain(value), origin]
        for name, (value, origin) in list_parameters(summary.record).items()
    ]
    skipped = ("parameters", "parameter_origins")
    provenance = {name: _plain(value) for name, value in summary.record.provenance.items() if name not in skipped}
    steps = as_mapping(summary.record.attributes.get("cal_step"))
    metadata = {
        name: _plain(value) for name, value in as_mapping(summary.record.attributes.get("scan_metadata")).items()
    }
    shown = table(["parameter", "value", "where it came from"], rows, filters=True, first=12)
    return section(
        "Parameters and provenance",
        shown if rows else note("The parameters are not recorded.", "warning"),
        details("Steps", facts({name: str(state).lower() for name, state in steps.items()})),
        details("Provenance", facts(provenance)),
        details("Metadata of the scan", facts(metadata)),
        intro="Parameters that are no defaults come first.",
    )


def list_scans(numbers: Sequence[int], most: int = 60) -> str:
    """List scans in short for a cell.

    Examples
    --------
    >>> list_scans([3, 1, 2])
    '1:3'
    """
    text = format_ranges(sorted(numbers))
    return text if len(text) <= most else f"{text[: most - 1]}…"
