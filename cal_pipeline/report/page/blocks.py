"""Blocks of a page: text, tables and figures as plain values that the browser draws.

Text in blocks is shown as it is, whatever it contains: the browser never reads it as HTML. Names
from the data need no care.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from cal_pipeline.report.page.arrays import Envelope, Exact, Raster

Block = dict[str, Any]
"""Part of a page, as the functions of this module make it."""

NoteKind = Literal["info", "good", "warning", "bad"]

UNKNOWN = "not known"
"""Text in place of a value that is not known."""


@dataclass(frozen=True)
class Page:
    """A page of a report.

    Parameters
    ----------
    id : str
        Its address in the file, such as ``"scan-25650"`` for ``report.html#scan-25650``.
    title : str
        Title, such as ``"Scan 25650"``.
    blocks : sequence of Block
        Content.
    subtitle : str
        A line below the title.
    verdict : str or None
        ``"pass"``, ``"questionable"``, ``"fail"``; None or empty where it is not known.
    groups : sequence of str
        Elements, such as pixels, whose curves a reader shows and hides, in all figures of the page
        at once.
    shown : sequence of str
        Those shown at first; by default the first four.
    groups_label : str
        What they are, in the plural.
    judged : bool
        Whether there are verdicts on such observations; no badge is shown of what nobody judges.
    """

    id: str
    title: str
    blocks: Sequence[Block]
    subtitle: str = ""
    verdict: str | None = None
    groups: Sequence[str] = ()
    shown: Sequence[str] = ()
    groups_label: str = "pixels"
    judged: bool = True


@dataclass(frozen=True)
class Axis:
    """Horizontal axis of curves, or an axis of an image.

    Parameters
    ----------
    label : str
        Quantity and unit, as in ``"Frequency [GHz]"``.
    first, last : float
        Values at the first and the last channel, between which the axis is linear.
    values : ndarray, optional
        Values of all channels instead, ascending or descending.
    """

    label: str
    first: float = 0.0
    last: float = 1.0
    values: Any = None

    def describe(self) -> Block:
        """Return the axis for a page."""
        if self.values is None:
            return {"label": self.label, "first": float(self.first), "last": float(self.last)}
        return {"label": self.label, "values": Exact(np.asarray(self.values, np.float64))}


@dataclass(frozen=True)
class Curve:
    """A curve of a figure.

    Parameters
    ----------
    name : str
        Name, for the reader.
    values : Envelope
        The curves of which it is one.
    row : int
        Its row there.
    group : str, optional
        Element with which it is shown and hidden, and that gives its colour; by default it is always
        shown.
    style : {"line", "model", "faint"}
        A line in the colour of its group; a thin line in the colour of text; a pale line.
    error : Envelope, optional
        Standard errors, in row `row` too, drawn as a band.
    """

    name: str
    values: Envelope
    row: int = 0
    group: str | None = None
    style: Literal["line", "model", "faint"] = "line"
    error: Envelope | None = None


@dataclass(frozen=True)
class Panel:
    """A panel of a figure of curves.

    Parameters
    ----------
    label : str
        Label of the vertical axis: quantity and unit.
    curves : sequence of Curve
        Curves.
    share : float
        Height relative to other panels.
    zero : bool
        Whether a line is drawn at 0.
    """

    label: str
    curves: Sequence[Curve] = field(default_factory=tuple)
    share: float = 1.0
    zero: bool = False


def text(*paragraphs: str) -> Block:
    """Make paragraphs.

    Examples
    --------
    >>> text("One.", "Two.")
    {'block': 'text', 'paragraphs': ['One.', 'Two.']}
    """
    return {"block": "text", "paragraphs": list(paragraphs)}


def note(message: str, kind: NoteKind = "info") -> Block:
    """Make a note that stands out.

    Parameters
    ----------
    message : str
        Text.
    kind : {"info", "good", "warning", "bad"}
        Its weight, which colour and mark show.

    Examples
    --------
    >>> note("no scan", "bad")["kind"]
    'bad'
    """
    return {"block": "note", "kind": kind, "text": message}


def section(title: str, *blocks: Block, intro: str = "") -> Block:
    """Make a section with a heading, which the contents of the page list.

    Parameters
    ----------
    title : str
        Heading.
    *blocks : Block
        Content.
    intro : str
        A line below the heading: what is seen.

    Examples
    --------
    >>> section("Sky", text("Clear."))["title"]
    'Sky'
    """
    return {"block": "section", "title": title, "intro": intro, "blocks": list(blocks)}


def columns(*blocks: Block) -> Block:
    """Put blocks side by side where the screen is wide enough.

    Examples
    --------
    >>> len(columns(text("left"), text("right"))["blocks"])
    2
    """
    return {"block": "columns", "blocks": list(blocks)}


def tabs(contents: Mapping[str, Sequence[Block]]) -> Block:
    """Make tabs, of which one is shown; the others are drawn when they are opened.

    Parameters
    ----------
    contents : mapping
        Blocks by the label of their tab.

    Examples
    --------
    >>> [tab["label"] for tab in tabs({"band_0": [text("a")], "band_1": [text("b")]})["tabs"]]
    ['band_0', 'band_1']
    """
    return {"block": "tabs", "tabs": [{"label": label, "blocks": list(some)} for label, some in contents.items()]}


def details(title: str, *blocks: Block, is_open: bool = False) -> Block:
    """Make a part that is folded away until it is opened.

    Examples
    --------
    >>> details("Versions", text("1.0"))["open"]
    False
    """
    return {"block": "details", "title": title, "open": is_open, "blocks": list(blocks)}


def facts(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> Block:
    """List names with their values.

    Parameters
    ----------
    pairs : mapping or iterable of tuple
        Value by name: text, number, None for an unknown value, :func:`link` or :func:`badge`.

    Examples
    --------
    >>> facts({"source": "M82", "line": None})["pairs"]
    [['source', 'M82'], ['line', None]]
    """
    items = pairs.items() if isinstance(pairs, Mapping) else pairs
    return {"block": "facts", "pairs": [[name, value] for name, value in items]}


def tiles(pairs: Mapping[str, tuple[Any, str]]) -> Block:
    """Show a few values in large type, each with a line that explains it.

    Parameters
    ----------
    pairs : mapping
        Value and explanation by name.

    Examples
    --------
    >>> tiles({"PWV": ("0.50 mm", "median of 4 scans")})["tiles"]
    [['PWV', '0.50 mm', 'median of 4 scans']]
    """
    return {"block": "tiles", "tiles": [[name, value, meaning] for name, (value, meaning) in pairs.items()]}


def table(
    titles: Sequence[str], rows: Sequence[Sequence[Any]], caption: str = "", filters: bool = False, first: int = 0
) -> Block:
    """Make a table, which a reader sorts by clicking on a title.

    Parameters
    ----------
    titles : sequence of str
        Titles of the columns.
    rows : sequence of sequence
        Cells: text, number, None for an unknown value, :func:`link` or :func:`badge`.
    caption : str
        A line above.
    filters : bool
        Whether there is a field to search in, and buttons for the verdicts in its badges.
    first : int
        Rows that are shown before the reader asks for all; 0 for all.

    Examples
    --------
    >>> table(["scan", "PWV [mm]"], [[1, 0.5], [2, None]])["rows"]
    [[1, 0.5], [2, None]]
    """
    rows = [list(row) for row in rows]
    return {
        "block": "table",
        "titles": list(titles),
        "rows": rows,
        "caption": caption,
        "filters": filters,
        "first": first,
    }


def link(label: Any, page: str) -> Block:
    """Make a link to a page of the report, for a cell or value.

    Examples
    --------
    >>> link("25650", "scan-25650")
    {'cell': 'link', 'text': '25650', 'page': 'scan-25650'}
    """
    return {"cell": "link", "text": str(label), "page": page}


def badge(verdict: str | None) -> Block:
    """Make a badge of a verdict, for a cell or value: pass, questionable, fail; anything empty is unknown.

    Examples
    --------
    >>> badge("pass")["verdict"], badge(None)["verdict"]
    ('pass', '')
    """
    return {"cell": "badge", "verdict": verdict or ""}


def figure(
    traces: Sequence[Mapping[str, Any]],
    layout: Mapping[str, Any],
    title: str = "",
    caption: str = "",
    height: int = 340,
    links: str = "",
) -> Block:
    """Make a figure from traces and layout in plotly's JSON format.

    Parameters
    ----------
    traces : sequence of mapping
        Traces; arrays of NumPy, :class:`.Exact` and, as ``z`` of a heatmap with ``x`` and ``y`` made by
        :meth:`Axis.describe`, :class:`.Raster` are packed. Colours may be names of the theme:
        ``"@pass"``, ``"@questionable"``, ``"@fail"``, ``"@unknown"``, ``"@text"``, ``"@muted"``,
        ``"@accent"``, ``"@1"`` to ``"@8"``. Text is shown as it is, unless it is :class:`.Markup`.
    layout : mapping
        Layout; size, font, colours and margins are the frame's.
    title, caption : str
        Heading, and text below that says what is seen.
    height : int
        Height [pixels].
    links : str
        Key of traces, such as ``"customdata"``, with the page to open when a point is clicked.

    Examples
    --------
    >>> figure([{"type": "scatter", "x": [1, 2], "y": [3, 4]}], {}, "PWV")["title"]
    'PWV'
    """
    return {
        "block": "figure",
        "traces": [dict(trace) for trace in traces],
        "layout": dict(layout),
        "title": title,
        "caption": caption,
        "height": height,
        "links": links,
    }


def curves(
    panels: Sequence[Panel],
    axes: Sequence[Axis],
    title: str = "",
    caption: str = "",
    height: int = 360,
) -> Block:
    """Make a figure of curves that share a horizontal axis, drawn in the detail that the zoom asks for.

    Parameters
    ----------
    panels : sequence of Panel
        Panels from top to bottom.
    axes : sequence of Axis
        Horizontal axes to choose from; the first is shown at first.
    title, caption : str
        Heading, and text below that says what is seen.
    height : int
        Height [pixels].

    Examples
    --------
    >>> curve = Curve("mean", Envelope.of([0.0, 1.0, 0.0]))
    >>> curves([Panel("T [K]", [curve])], [Axis("Frequency [GHz]", 460.0, 461.0)], "Spectrum")["height"]
    360
    """
    numbers: dict[int, int] = {}
    envelopes: list[Envelope] = []

    def number(envelope: Envelope) -> int:
        """Number an envelope, once for all curves that are rows of it."""
        if id(envelope) not in numbers:
            numbers[id(envelope)] = len(envelopes)
            envelopes.append(envelope)
        return numbers[id(envelope)]

    drawn = [
        {
            "label": panel.label,
            "share": panel.share,
            "zero": panel.zero,
            "curves": [
                {
                    "name": curve.name,
                    "values": number(curve.values),
                    "row": curve.row,
                    "group": curve.group,
                    "style": curve.style,
                    "error": None if curve.error is None else number(curve.error),
                }
                for curve in panel.curves
            ],
        }
        for panel in panels
    ]
    return {
        "block": "curves",
        "panels": drawn,
        "envelopes": envelopes,
        "axes": [axis.describe() for axis in axes],
        "title": title,
        "caption": caption,
        "height": height,
    }


def image(
    raster: Raster,
    x: Axis,
    y: Axis,
    colour_label: str,
    title: str = "",
    caption: str = "",
    height: int = 420,
    scale: str | Sequence[Sequence[Any]] = "Viridis",
    limits: tuple[float, float] | None = None,
    is_square: bool = False,
) -> Block:
    """Make a figure of an image.

    Parameters
    ----------
    raster : Raster
        The image; the first row is at ``y.first``.
    x, y : Axis
        Linear axes, with the values at the centres of the first and the last column and row.
    colour_label : str
        Quantity and unit.
    title, caption : str
        Heading, and text below that says what is seen.
    height : int
        Height [pixels].
    scale : str or sequence
        Colour scale of plotly: its name, or positions with colours.
    limits : tuple of float, optional
        Values at the ends of the colour scale; by default those of 99 % of the values.
    is_square : bool
        Whether a unit is as long on both axes.

    Examples
    --------
    >>> raster = Raster(np.eye(4))
    >>> image(raster, Axis("column", 0, 3), Axis("row", 0, 3), "rate [DN/s]")["block"]
    'figure'
    """
    if limits is None:
        finite = np.asarray(raster.values, np.float64)
        finite = finite[np.isfinite(finite)]
        limits = tuple(np.percentile(finite, [0.5, 99.5]).tolist()) if finite.size else (0.0, 1.0)
    trace = {
        "type": "heatmap",
        "z": raster,
        "x": x.describe(),
        "y": y.describe(),
        "colorscale": scale,
        "zmin": limits[0],
        "zmax": limits[1],
        "colorbar": {"title": {"text": colour_label, "side": "right"}},
    }
    layout: Block = {"xaxis": {"title": {"text": x.label}}, "yaxis": {"title": {"text": y.label}}}
    if is_square:
        layout["yaxis"] |= {"scaleanchor": "x", "constrain": "domain"}
        layout["xaxis"] |= {"constrain": "domain"}
    return figure([trace], layout, title, caption, height)
