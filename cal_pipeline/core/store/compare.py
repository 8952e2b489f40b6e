"""Comparison of two products: their arrays, and what they recorded of how these were made."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.compare_records import USUAL, RecordDifferences, RecordFormat, compare_records
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.metadata import TEXT
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key, Product, ProductKind
from cal_pipeline.core.store.records import read_records
from cal_pipeline.core.text import format_ranges

EQUAL, DIFFER, NOT_COMPARED = 0, 1, 3
"""Exit statuses of a comparison."""


@dataclass(frozen=True)
class ArrayDifference:
    """Difference of an array in two stores.

    Parameters
    ----------
    path : str
        Path of the array in both stores.
    n_samples, n_different : int
        Values, and how many of them are not the same; NaN is the same as NaN.
    largest, rms : float
        Largest and root mean square difference; infinite where one is NaN and the other is not, and
        for text.
    units : str
        Their unit.
    scale : float
        Root mean square of the first array, to compare with.
    problem : str
        Reason why the array cannot be compared; empty if comparable.
    unreadable : bool
        Whether that is because its samples cannot be read.
    """

    path: str
    n_samples: int = 0
    n_different: int = 0
    largest: float = 0.0
    rms: float = 0.0
    units: str = ""
    scale: float = 0.0
    problem: str = ""
    unreadable: bool = False

    @property
    def relative(self) -> float:
        """Largest difference over the RMS of the first array; infinite for a problem."""
        if self.problem:
            return float("inf")
        if self.largest == 0.0:
            return 0.0
        return self.largest / self.scale if self.scale > 0.0 else float("inf")

    @property
    def identical(self) -> bool:
        """Tell whether all values are equal."""
        return not self.problem and self.n_different == 0

    def within(self, tolerance: float) -> bool:
        """Tell whether the arrays agree to a tolerance relative to their scale; 0 for equality."""
        return not self.problem and (self.n_different == 0 or self.largest <= tolerance * self.scale)


@dataclass(frozen=True)
class Comparison:
    """Comparison of two products.

    Parameters
    ----------
    first, second : str
        The stores.
    records : RecordDifferences
        Differences in what they recorded.
    arrays : list of ArrayDifference
        One for each array that either store has.
    kind : ProductKind
        Kind of the products.
    form : RecordFormat
        Records of the family.
    """

    first: str
    second: str
    records: RecordDifferences
    arrays: list[ArrayDifference]
    kind: ProductKind
    form: RecordFormat = USUAL

    def status(self, tolerance: float = 0.0) -> int:
        """Return the exit status: 0 for equal arrays, 1 for differences, 3 for an unreadable array.

        Differences between records alone do not count.
        """
        if any(item.unreadable for item in self.arrays):
            return NOT_COMPARED
        return EQUAL if all(item.within(tolerance) for item in self.arrays) else DIFFER


def compare_products(
    one: Product,
    two: Product,
    numbers: Sequence[Key] | None = None,
    leave_out: Sequence[str] = (),
    origins: bool = True,
    form: RecordFormat = USUAL,
) -> Comparison:
    """Compare two products: arrays block by block, and what was recorded of how they were made.

    Parameters
    ----------
    one, two : Product
        The products.
    numbers : sequence of int, optional
        Only these observations.
    leave_out : sequence of str
        Groups that are not compared.
    origins : bool
        Whether it is a difference that a parameter of the same value came from elsewhere.
    form : RecordFormat
        Records of the family.

    Returns
    -------
    Comparison

    Raises
    ------
    StoreError
        If there is nothing to compare.
    """
    _require_observations((one, two), numbers)
    arrays = compare_arrays((one, two), numbers, leave_out)
    if not arrays:
        raise StoreError(f"neither {one.path} nor {two.path} holds an array of the {one.kind.noun}s to compare")
    first, second = read_records(one, numbers), read_records(two, numbers)
    failures = one.failures, two.failures
    differences = compare_records(first, second, failures, numbers, origins, form)
    return Comparison(str(one.path), str(two.path), differences, arrays, one.kind, form)


def _require_observations(products: Sequence[Product], numbers: Sequence[Key] | None) -> None:
    """Refuse a comparison of nothing."""
    noun = products[0].kind.noun
    for number in numbers or ():
        if not any(number in product.numbers for product in products):
            has = "; ".join(f"{product.path} has {format_ranges(product.numbers) or 'none'}" for product in products)
            raise StoreError(f"neither store has {noun} {number}: {has}")
    if not any(product.numbers for product in products):
        raise StoreError(f"neither {products[0].path} nor {products[1].path} holds a {noun}")


def compare_arrays(
    products: Sequence[Product], numbers: Sequence[Key] | None = None, leave_out: Sequence[str] = ()
) -> list[ArrayDifference]:
    """Compare all arrays of two products, block by block.

    Parameters
    ----------
    products : pair of Product
        The products.
    numbers : sequence of int, optional
        Only these observations.
    leave_out : sequence of str
        Groups that are not compared.

    Returns
    -------
    list of ArrayDifference
        One for each array that either product has.
    """
    roots = [product.root for product in products]
    found = [_array_paths(product, numbers, set(leave_out)) for product in products]

    def compare_one(path: str) -> ArrayDifference:
        missing = [str(root) for root, paths in zip(roots, found, strict=True) if path not in paths]
        if missing:
            return ArrayDifference(path, problem=f"not in {missing[0]}")
        return _compare_array(path, *roots)

    # Arrays are compared concurrently where the answers of either store take their time.
    busiest = max(roots, key=lambda root: root.n_requests)
    return busiest.each(compare_one, sorted(found[0] | found[1]))


def _array_paths(product: Product, numbers: Sequence[Key] | None, leave_out: set[str]) -> set[str]:
    """List the paths of all arrays of the observations of a product."""
    root = product.root
    wanted = [product.kind.group_name(n) for n in product.numbers if numbers is None or n in numbers]
    walks = root.each(lambda group: [f"{group}/{key}" for key in root.child(group).walk()], wanted)
    keys = set(itertools.chain.from_iterable(walks))
    nodes = [key.removesuffix("/zarr.json") for key in keys if key.endswith("/zarr.json")]
    nodes = [node for node in nodes if not leave_out & set(node.split("/"))]
    kinds = root.each(lambda node: _node_type(root, node), nodes)
    return {node for node, kind in zip(nodes, kinds, strict=True) if kind == "array"}


def _node_type(root: StorePath, node: str) -> str:
    try:
        return str(json.loads(root.get(f"{node}/zarr.json") or b"{}").get("node_type"))
    except (ValueError, AttributeError):
        # The comparison reports unreadable arrays.
        return "array"


def _compare_array(path: str, first: StorePath, second: StorePath) -> ArrayDifference:
    """Compare an array that both stores have; what cannot be read is said in the result."""
    try:
        one, two = open_reader(first, path), open_reader(second, path)
        problem = _objection(one, two)
        return ArrayDifference(path, problem=problem) if problem else _compare_blocks(path, one, two)
    except (CalibrationError, ValueError, RuntimeError, OSError, KeyError) as error:
        return ArrayDifference(path, problem=f"cannot be read: {error}", unreadable=True)


def _objection(one: ArrayReader, two: ArrayReader) -> str:
    """Return why two arrays cannot be subtracted; empty where they can."""
    # Floats of different width can: spectra rounded to their noise have 32 bits.
    floats = all(array.dtype != TEXT and array.dtype.kind == "f" for array in (one, two))
    if one.shape != two.shape or not (floats or str(one.dtype) == str(two.dtype)):
        return f"{one.shape} {one.dtype} against {two.shape} {two.dtype}"
    units = [str(array.attributes.get("units", "")) for array in (one, two)]
    return "" if units[0] == units[1] else f"unit {units[0]!r} against {units[1]!r}"


def _compare_blocks(path: str, one: ArrayReader, two: ArrayReader) -> ArrayDifference:
    different, squares, size, largest = 0, 0.0, 0.0, 0.0
    # Along the larger chunks, so that none is decoded twice where the grids nest.
    chunks = max(one.chunks, two.chunks, key=lambda chunk: int(np.prod(chunk)))
    for block in _blocks(one.shape, chunks):
        a, b = _read(one, block), _read(two, block)
        if one.dtype == TEXT:
            changed = np.asarray(a != b)
            different += int(changed.sum())
            largest = np.inf if changed.any() else largest
            continue
        delta = _absolute_difference(a, b)
        different += int(np.count_nonzero(delta))
        largest = max(largest, float(delta.max(initial=0.0)))
        squares += float((delta**2).sum())
        finite = a[np.isfinite(a)].astype(np.float64)
        size += float((finite**2).sum())
    number = max(int(np.prod(one.shape)), 1)
    rms, scale = (float(np.sqrt(total / number)) for total in (squares, size))
    return ArrayDifference(path, number, different, largest, rms, str(one.attributes.get("units", "")), scale)


def _read(array: ArrayReader, block: tuple[slice, ...]) -> NDArray[Any]:
    try:
        return np.atleast_1d(array.read(block))
    except (ValueError, RuntimeError, OSError) as error:
        raise StoreError(f"{array.name}: {error}") from error


def _absolute_difference(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
    """Return |a - b|: 0 for equal values or two NaNs, infinite for NaN against a number."""
    same = (a == b) | ((a != a) & (b != b))
    with np.errstate(invalid="ignore", over="ignore"):
        delta = np.abs(a.astype(np.float64) - b.astype(np.float64))
    delta[same] = 0.0
    delta[np.isnan(delta)] = np.inf
    # Integers may differ by less than a float64 resolves; such a difference counts too.
    delta[~same & (delta == 0.0)] = 1.0
    return delta


def _blocks(shape: tuple[int, ...], chunks: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Yield blocks of an array along its chunks."""
    axes = [
        [slice(start, min(start + chunk, n)) for start in range(0, n, chunk)]
        for n, chunk in zip(shape, chunks, strict=True)
    ]
    yield from itertools.product(*axes)
