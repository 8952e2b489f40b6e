"""Reference files of a simulated detector, as ASDF."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asdf
import numpy as np
from numpy.typing import NDArray

from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.simulate.config import VisitConfig
from cal_pipeline.imager.simulate.detector_maps import DetectorMaps

USEAFTER = "2026-01-01T00:00:00"
"""Time from which the reference files are valid."""


def write_references(config: VisitConfig, maps: DetectorMaps, folder: Path) -> None:
    """Write a file for each type of reference, and filter where it matters.

    They hold the true properties of the detector, so the errors of darks and flats are 0.

    Parameters
    ----------
    config : VisitConfig
        The visit.
    maps : DetectorMaps
        Properties of its detector.
    folder : Path
        Folder that exists and is empty.
    """
    common = {"instrument": config.instrument, "detector": config.detector_name, "useafter": USEAFTER}
    for reftype, chosen, content in _list_contents(config, maps):
        meta = {"reftype": reftype, **common} | ({"filter": chosen} if chosen else {})
        name = f"{reftype}_{chosen}" if chosen else reftype
        asdf.AsdfFile({"meta": meta, **content}).write_to(folder / f"{name}.asdf")


def _list_contents(config: VisitConfig, maps: DetectorMaps) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield type, filter and content of every file."""
    yield "mask", "", {"dq": maps.mask}
    margin = 1.0 - config.detector.saturation_margin
    yield "saturation", "", {"data": (maps.bias + margin * maps.well).astype(np.float32)}
    yield "superbias", "", {"data": maps.bias}
    yield "linearity", "", {"coeffs": maps.coeffs}
    yield "gain", "", {"data": maps.gain}
    yield "readnoise", "", {"data": maps.read_noise}
    yield "dark", "", _with_quality(maps.dark, _flag(maps.hot, DQ.HOT))
    for one in config.filters:
        flat = np.where(maps.sensitive, maps.flats[one.name], np.float32(np.nan))
        flags = _flag(~maps.sensitive, DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE)
        yield "flat", one.name, _with_quality(flat, flags)
        names = ("zero_point", "zero_point_err", "extinction")
        yield "photom", one.name, {name: getattr(one, name) for name in names}


def _flag(where: NDArray[np.bool_], flag: DQ) -> NDArray[np.uint32]:
    return np.where(where, int(flag), 0).astype(np.uint32)


def _with_quality(data: NDArray[np.float32], dq: NDArray[np.uint32]) -> dict[str, NDArray[Any]]:
    """Return the content of a file of exact values."""
    return {"data": data, "err": np.zeros_like(data), "dq": dq}
