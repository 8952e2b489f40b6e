"""How two L1 stores differ, array by array."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from cal_pipeline.errors import StoreError


@dataclass(frozen=True)
class ArrayDifference:
    """How an array of two stores differs.

    Parameters
    ----------
    path : str
        Path of the array in both stores.
    n_samples, n_different : int
        Values, and how many of them are not the same; NaN is the same as NaN.
    largest, rms : float
        Largest and root mean square difference; infinite where one is NaN and the other is not.
    units : str
        Their unit.
    scale : float
        Root mean square of the first array, to compare with.
    problem : str
        Why it cannot be compared; empty where it can.
    """

    path: str
    n_samples: int = 0
    n_different: int = 0
    largest: float = 0.0
    rms: float = 0.0
    units: str = ""
    scale: float = 0.0
    problem: str = ""

    def within(self, tolerance: float) -> bool:
        """Whether the arrays are the same to a tolerance, relative to their size; 0 for bit by bit."""
        return not self.problem and (self.n_different == 0 or self.largest <= tolerance * self.scale)


def compare_stores(
    first: str | Path, second: str | Path, scans: Sequence[int] | None = None, leave_out: Sequence[str] = ()
) -> list[ArrayDifference]:
    """Compare the arrays of two L1 stores, block by block.

    Parameters
    ----------
    first, second : str or Path
        The stores.
    scans : sequence of int, optional
        Only these scans.
    leave_out : sequence of str
        Groups that are not compared, such as ``skydiff``.

    Returns
    -------
    list of ArrayDifference
        One for each array that either store has.

    Raises
    ------
    StoreError
        If one of them is no L1 store.
    """
    stores = [Path(first), Path(second)]
    found = [_arrays(store, scans, set(leave_out)) for store in stores]
    result = []
    for path in sorted(found[0] | found[1]):
        missing = [str(store) for store, paths in zip(stores, found, strict=True) if path not in paths]
        result.append(
            ArrayDifference(path, problem=f"not in {missing[0]}")
            if missing
            else _compare(path, *(s / path for s in stores))
        )
    return result


def _arrays(store: Path, scans: Sequence[int] | None, leave_out: set[str]) -> set[str]:
    """Paths of all arrays of the scans of a store."""
    if not (store / "zarr.json").is_file():
        raise StoreError(f"{store} is no L1 store (no zarr.json in it)")
    paths = set()
    for scan in store.iterdir():
        named = re.fullmatch(r"scan_(\d{6})", scan.name)
        if named and (scans is None or int(named[1]) in scans):
            for metadata in scan.rglob("zarr.json"):
                path = metadata.parent.relative_to(store)
                is_array = json.loads(metadata.read_bytes()).get("node_type") == "array"
                if is_array and not leave_out & set(path.parts):
                    paths.add(path.as_posix())
    return paths


def _compare(path: str, first: Path, second: Path) -> ArrayDifference:
    one, two = (zarr.open_array(array, mode="r") for array in (first, second))
    if one.shape != two.shape or one.dtype != two.dtype:
        return ArrayDifference(path, problem=f"{one.shape} {one.dtype} against {two.shape} {two.dtype}")
    different, squares, size, largest = 0, 0.0, 0.0, 0.0
    for block in _blocks(one):
        a, b = np.asarray(one[block]), np.asarray(two[block])
        if a.dtype.kind not in "iufb":
            changed = np.asarray(a != b)
            different += int(changed.sum())
            largest = np.inf if changed.any() else largest
            continue
        a, b = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            delta = np.atleast_1d(np.abs(a - b))
        delta[np.atleast_1d((np.isnan(a) & np.isnan(b)) | (a == b))] = 0.0
        delta[np.isnan(delta)] = np.inf
        different += int(np.count_nonzero(delta))
        largest = max(largest, float(delta.max(initial=0.0)))
        squares += float((delta**2).sum())
        size += float(np.nansum(np.where(np.isfinite(a), a, 0.0) ** 2))
    number = max(int(np.prod(one.shape)), 1)
    return ArrayDifference(
        path,
        number,
        different,
        largest,
        float(np.sqrt(squares / number)),
        str(one.attrs.get("units", "")),
        float(np.sqrt(size / number)),
    )


def _blocks(array: zarr.Array[Any]) -> Iterator[tuple[slice, ...]]:
    """Blocks of an array along its chunks."""
    axes = [
        [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]
        for n, chunk in zip(array.shape, array.chunks, strict=True)
    ]
    yield from itertools.product(*axes)


def format_differences(differences: Sequence[ArrayDifference]) -> str:
    """A table of differences, as text."""
    rows = [("array", "largest", "rms", "unit", "different")]
    for item in differences:
        if item.problem:
            rows.append((item.path, item.problem, "", "", ""))
        else:
            share = f"{item.n_different} of {item.n_samples}"
            rows.append((item.path, f"{item.largest:.3g}", f"{item.rms:.3g}", item.units, share))
    widths = [max(len(row[k]) for row in rows) for k in range(4)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[4]]).rstrip() for row in rows
    ]
    return "\n".join(lines)
