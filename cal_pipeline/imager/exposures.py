"""Stores of exposures: raw ramps, rates and calibrated images."""

from __future__ import annotations

import copy
import logging
import math
import threading
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import DataReadError, LayoutError, StoreError
from cal_pipeline.core.inputs import select_numbers
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import PRODUCT
from cal_pipeline.core.text import format_ranges, list_few
from cal_pipeline.imager.kinds import CAL, RAMP, RATE
from cal_pipeline.imager.layout import CUBE, IMAGE, check_image_arrays, check_ramp_arrays, read_exposure_attributes
from cal_pipeline.imager.ramp_source import RampSource, StoredRamp, read_whole, refuse_absent
from cal_pipeline.imager.schema import VARIANCES
from cal_pipeline.imager.times import parse_time
from cal_pipeline.imager.units import check_count_units, read_image_units, refuse_packed

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_MAKERS = {RATE.product: ", which detector1 makes", CAL.product: ", which image2 makes"}
"""Pipelines that make a kind of store, for messages."""


def read_product(root: StorePath, products: Sequence[str] = ()) -> str:
    """Read the kind of a store of exposures.

    Parameters
    ----------
    root : StorePath
        The store.
    products : sequence of str
        Kinds that are expected; any of an exposure if empty.

    Raises
    ------
    StoreError
        If it is no such store, or of another kind.

    Examples
    --------
    >>> read_product(open_store("visit.zarr"))
    'ramp'
    """
    try:
        found = str(read_group_attributes(root, "").get(PRODUCT, ""))
    except (LayoutError, DataReadError) as error:
        raise StoreError(f"{root} is no store of exposures: {error}") from error
    expected = tuple(products) or (RAMP, RATE.product, CAL.product)
    if found not in expected:
        what = f"its attribute {PRODUCT} is {found!r:.80}" if found else f"it has no attribute {PRODUCT}"
        maker = _MAKERS.get(expected[0], "") if len(expected) == 1 else ""
        raise StoreError(
            f"{root} is no store of exposures to use here: {what}, expected {' or '.join(expected)}{maker}"
        )
    return found


class ExposureStore:
    """Store of exposures, each in a group ``exp_NNNNNN``.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL.
    products : sequence of str
        Kinds of stores that are expected; any of an exposure if empty.

    Attributes
    ----------
    root : StorePath
        The store.
    path : str
        Name of the store.
    product : str
        Kind of the store: ``"ramp"``, ``"rate"`` or ``"cal"``.
    numbers : list of int
        Numbers of its exposures, ascending.

    Raises
    ------
    StoreError
        If there is no such store, it is of another kind, or holds no exposure.

    Examples
    --------
    >>> visit = ExposureStore("visit.zarr")
    >>> visit.product, visit.attributes(visit.numbers[0])["exp_type"]
    ('ramp', 'DARK')
    """

    def __init__(self, path: str | Path, products: Sequence[str] = ()) -> None:
        self.root: StorePath = open_store(path)
        self.path = self.root.name
        members = self.root.members()
        if not members and not self.root.exists("") and not self.root.exists("zarr.json"):
            raise StoreError(f"{self.path} is not there; expected a store of exposures")
        self.product = read_product(self.root, products)
        self._groups = {number: name for name in members if (number := RATE.key_of(name)) is not None}
        self.numbers = sorted(self._groups)
        if not self.numbers:
            raise StoreError(f"{self.path} holds no exposure; expected groups exp_NNNNNN, six digits")
        others = sorted(set(members) - set(self._groups.values()) - {"zarr.json", "failures.json", "run.json"})
        if others:
            logger.warning("%s: %s left out, expected groups exp_NNNNNN", self.path, list_few(others))
        self._lock = threading.Lock()
        self._made: dict[Hashable, Any] = {}
        self._attributes: dict[int, dict[str, Any]] = {}

    def group(self, number: int) -> str:
        """Return the name of the group of an exposure.

        Raises
        ------
        StoreError
            If there is no such exposure.
        """
        if number not in self._groups:
            raise StoreError(f"{self.path} has no exposure {number}; it has {format_ranges(self.numbers)}")
        return self._groups[number]

    def attributes(self, number: int) -> dict[str, Any]:
        """Read the attributes of an exposure, once, and check those that the format knows.

        Raises
        ------
        StoreError, LayoutError, DataReadError
            If there is no such exposure, or its attributes cannot be read or are not as the format
            says.
        """
        group = self.group(number)
        if number in self._attributes:
            return copy.deepcopy(self._attributes[number])
        attributes = read_exposure_attributes(self.root, group)
        recorded = attributes.setdefault("exposure_number", number)
        if recorded != number or isinstance(recorded, bool):
            raise LayoutError(f"{self.path}/{group}: attribute exposure_number is {recorded!r:.80}, expected {number}")
        self._attributes[number] = attributes
        return copy.deepcopy(attributes)

    def try_attributes(self, number: int) -> dict[str, Any] | None:
        """Read the attributes of an exposure; None if they cannot be read, which opening it explains."""
        try:
            return self.attributes(number)
        except MemoryError:
            raise
        except Exception:
            logger.debug("%s: exposure %d cannot be read", self.path, number, exc_info=True)
            return None

    def describe(self, number: int) -> dict[str, Any] | None:
        """Return the keys for the choice of parameter files; None if unreadable."""
        attributes = self.try_attributes(number)
        if attributes is None:
            return None
        return {name: attributes.get(name) for name in ("instrument", "detector", "exp_type")}

    def in_order_of_time(self, numbers: list[int]) -> list[int]:
        """Sort exposures by their start; unreadable ones are last."""

        def start(number: int) -> float:
            attributes = self.try_attributes(number)
            return math.inf if attributes is None else parse_time(attributes["date_obs"]).timestamp()

        times = self.root.each(start, numbers)
        return [number for _, number in sorted(zip(times, numbers, strict=True))]

    def select(self, wanted: Sequence[Any] | str | None) -> list[int]:
        """Select exposures.

        Parameters
        ----------
        wanted : sequence, str or None
            Numbers and inclusive ranges, as in ``"1,5:8"``; None for all.

        Returns
        -------
        list of int
            Ascending.

        Raises
        ------
        StoreError
            If a number is not in the store.
        """
        chosen = self.numbers if wanted is None else select_numbers(wanted, self.numbers, self.path, "exposure")
        return sorted(chosen)

    def remember(self, key: Hashable, make: Callable[[], Result]) -> Result:
        """Return what was made for a key; it is made once, and another thread waits for it."""
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            made: Result = self._made[key]
            return made

    def open_ramp(self, number: int) -> tuple[RampSource, NDArray[np.uint32] | None]:
        """Open the counts of a raw exposure, of which nothing is read yet, and read the flags of its pixels.

        Parameters
        ----------
        number : int
            Number of the exposure.

        Raises
        ------
        LayoutError
            If it is not laid out as the format says.
        DataReadError
            If chunks of the counts are not stored.
        """
        group = self.group(number)
        readers = self._open_arrays(group, ("data", "pixeldq", "groupdq"))
        shape = check_ramp_arrays(readers, f"{self.path}/{group}")
        check_count_units(readers["data"])
        source = StoredRamp(readers["data"], readers.get("groupdq"), shape)
        if "pixeldq" not in readers:
            return source, None
        refuse_absent(readers["pixeldq"], are_flags=True)
        return source, read_whole(readers["pixeldq"]).astype(np.uint32)

    def read_image(self, number: int, with_ints: bool = True) -> dict[str, Any]:
        """Read the arrays of an image.

        Parameters
        ----------
        number : int
            Number of the exposure.
        with_ints : bool
            Whether to read the integrations.

        Returns
        -------
        dict
            Arrays by name and ``units``; the same of the integrations under ``ints`` if there are
            some.

        Raises
        ------
        LayoutError
            If it is not laid out as the format says.
        DataReadError
            If an array cannot be read, or chunks of it are not stored.
        """
        group = self.group(number)
        name = f"{self.product}ints"
        image = self._read_image(group, IMAGE)
        if with_ints and name in self.root.members(group):
            image["ints"] = self._read_image(f"{group}/{name}", CUBE)
        return image

    def image_shape(self, number: int) -> tuple[int, ...]:
        """Return the shape of an image, of which nothing else is read.

        Raises
        ------
        LayoutError, DataReadError
            If its metadata cannot be read, or it is no image.
        """
        group = self.group(number)
        return check_image_arrays({"data": open_reader(self.root, f"{group}/data")}, f"{self.path}/{group}")

    def _read_image(self, group: str, axes: tuple[str, ...]) -> dict[str, Any]:
        """Read the arrays of an image, and their unit."""
        readers = self._open_arrays(group, ("data", "err", *VARIANCES, "dq"))
        check_image_arrays(readers, f"{self.path}/{group}", axes)
        for name in ("err", "dq"):
            if name not in readers:
                raise LayoutError(f"{self.path}/{group}: array {name} is missing; found {', '.join(readers)}")
        for reader in readers.values():
            refuse_packed(reader, "values")
            refuse_absent(reader)
        units = read_image_units(readers["data"], self.product == RATE.product)
        return {"units": units, **dict(zip(readers, self.root.each(read_whole, readers.values()), strict=True))}

    def _open_arrays(self, group: str, names: Sequence[str]) -> dict[str, ArrayReader]:
        """Open those arrays of a group that are there."""
        members = self.root.members(group)
        return {name: open_reader(self.root, f"{group}/{name}") for name in names if name in members}

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the lock, which cannot be pickled, and what was made, which is made again."""
        return {name: value for name, value in vars(self).items() if name not in ("_lock", "_made")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a new lock."""
        self.__dict__.update(state)
        self._lock, self._made = threading.Lock(), {}

    def __repr__(self) -> str:
        return f"<ExposureStore {self.path}: {self.product}, exposures {format_ranges(self.numbers)}>"
