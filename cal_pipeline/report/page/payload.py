"""Payload of a page: its content as one deflated text in a script element, arrays within a budget."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.text import elide_middle, escape_lines
from cal_pipeline.report.page.arrays import Column, Envelope, Exact, Points, Raster

_SMALL = 64
"""Length up to which a numeric array is written as text."""

_VALUES_IN_BUDGET = 2.5
"""Number of values for each character of a budget above which the arrays surely exceed it."""

_LONGEST = 4000
"""Longest text of a page [characters]; longer ones are cut in the middle."""


class Markup(str):
    """Text of ours for figures, in which plotly's tags such as ``<sub>`` count.

    All other text in a figure is shown as it is, tags included.

    Examples
    --------
    >>> Markup("T<sub>sys</sub>")
    'T<sub>sys</sub>'
    """


@dataclass(frozen=True)
class Packed:
    """Payload of a page.

    Parameters
    ----------
    text : str
        Base64, for a script element.
    n_halvings : int
        How often arrays were halved to meet the budget.
    """

    text: str
    n_halvings: int = 0


def pack(content: Mapping[str, Any], budget: float = math.inf) -> Packed:
    """Pack the content of a page.

    Parameters
    ----------
    content : mapping
        JSON values, with arrays (:class:`.Envelope`, :class:`.Raster`, :class:`.Exact`, ndarray)
        anywhere in it. Text from the data needs no care: control characters are escaped here, tags
        in figures too.
    budget : float
        Largest number of characters. Envelopes and rasters are halved until it is met, those first
        that take most for their weight; or until none can be reduced further.

    Returns
    -------
    Packed

    Examples
    --------
    >>> packed = pack({"title": "Orion", "curve": Envelope.of(np.random.default_rng(1).normal(size=8192))}, 2000)
    >>> len(packed.text) <= 2000, packed.n_halvings > 0
    (True, True)
    """
    arrays: list[Any] = []
    document = json.dumps(_prepare(content, arrays), separators=(",", ":"), allow_nan=False)
    n_halvings, text = _reduce_roughly(arrays, budget), 0
    # Deflating leaves the interpreter to other threads.
    encoded = map_in_threads(
        lambda item: item.encode(), arrays, sum(item.n_values for item in arrays if item.can_shrink)
    )
    base = len(zlib.compress(document.encode(), 9)) + 64 * len(arrays)
    while True:
        sizes = [sum(map(len, streams)) for _, streams in encoded]
        text = math.ceil((base + sum(sizes)) / 3) * 4
        able = [k for k, item in enumerate(arrays) if item.can_shrink]
        if text <= budget or not able:
            break
        worst = max(able, key=lambda k: sizes[k] / arrays[k].weight)
        arrays[worst] = arrays[worst].halved()
        encoded[worst] = arrays[worst].encode()
        n_halvings += 1
    return Packed(_join(document, encoded), n_halvings)


def _reduce_roughly(arrays: list[Any], budget: float) -> int:
    """Halve arrays until their number of values is near the budget; return how often.

    Arrays are deflated to tell their size, which takes long for those that will be halved many times.
    """
    n_halvings = 0
    while True:
        able = [k for k, item in enumerate(arrays) if item.can_shrink]
        if not able or sum(arrays[k].n_values for k in able) <= _VALUES_IN_BUDGET * budget:
            return n_halvings
        worst = max(able, key=lambda k: arrays[k].n_values / arrays[k].weight)
        arrays[worst] = arrays[worst].halved()
        n_halvings += 1


def _join(document: str, encoded: list[tuple[dict[str, Any], list[bytes]]]) -> str:
    """Lay the deflated document and the streams one after the other, and write them as base64."""
    position = 0
    for described, streams in encoded:
        for item, stream in zip(described["arrays"], streams, strict=True):
            item["at"], item["size"] = position, len(stream)
            position += len(stream)
    table = json.dumps([described for described, _ in encoded], separators=(",", ":"), allow_nan=False)
    header = zlib.compress(f'{{"content":{document},"arrays":{table}}}'.encode(), 9)
    streams = [stream for _, some in encoded for stream in some]
    return base64.b64encode(b"".join([struct.pack("<I", len(header)), header, *streams])).decode("ascii")


def _prepare(value: Any, arrays: list[Any], in_figure: bool = False) -> Any:
    """Convert to JSON values; arrays are collected and referred to by number."""
    if isinstance(value, Mapping):
        return {
            str(key): _prepare(item, arrays, in_figure or key in ("traces", "layout")) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_prepare(item, arrays, in_figure) for item in value]
    if isinstance(value, Column):
        return {**_refer_to(value.points, arrays), "column": value.index}
    if isinstance(value, (Envelope, Raster, Points, Exact)):
        return _refer_to(value, arrays)
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fuib" or value.size <= _SMALL:
            return _prepare(value.tolist(), arrays, in_figure)
        return _prepare(Exact(value), arrays)
    return _prepare_scalar(value, in_figure)


def _refer_to(value: Any, arrays: list[Any]) -> dict[str, int]:
    """Refer to an array by its number; one that occurs several times is packed once."""
    for number, other in enumerate(arrays):
        if other is value:
            return {"$array": number}
    arrays.append(value)
    return {"$array": len(arrays) - 1}


def _prepare_scalar(value: Any, in_figure: bool) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, Markup)):
        return value
    text = elide_middle(escape_lines(str(value)), _LONGEST)
    return escape(text, quote=False) if in_figure else text
