"""Exposures of a store that are combined, by the name of what they are combined to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.text import format_ranges
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.frames import FrameSet
from cal_pipeline.imager.skies import describe_stored


class Associations:
    """Sets of exposures of a store, by name.

    Parameters
    ----------
    store : ExposureStore
        The store.
    members : mapping
        Numbers of the exposures of each set.

    Attributes
    ----------
    root : StorePath
        The store.
    path : str
        Its name.
    """

    def __init__(self, store: ExposureStore, members: Mapping[str, list[int]]) -> None:
        self.store, self.members = store, members
        self.root, self.path = store.root, store.path

    def describe(self, name: str) -> Mapping[str, Any] | None:
        """Return the keys for the choice of parameter files, by the first exposure; None if unreadable."""
        return self.store.describe(self.members[name][0])

    def in_order_of_time(self, names: list[str]) -> list[str]:
        """Sort sets by their first exposures; those of unreadable ones are last."""
        first = {self.members[name][0]: name for name in names}
        return [first[number] for number in self.store.in_order_of_time(list(first))]

    def open_frames(self, name: str) -> FrameSet:
        """Open the exposures of a set.

        Raises
        ------
        CalibrationError
            If the attributes of one cannot be read.
        """
        return FrameSet.from_store(self.store, self.members[name], name)


def refuse_mixture(store: ExposureStore, numbers: list[int], with_filter: bool) -> None:
    """Refuse exposures of different detectors, subarrays or filters for one reference file.

    Parameters
    ----------
    store : ExposureStore
        Their store.
    numbers : list of int
        The exposures; those that cannot be read are left to be reported later.
    with_filter : bool
        Whether they are to be of one filter.

    Raises
    ------
    StoreError
        If they differ; names values and exposures.
    """
    setups: dict[int, dict[str, Any]] = {}
    for number in numbers:
        described = describe_stored(store, number)
        if described is not None:
            setups[number] = {name: value for name, value in described[1].items() if with_filter or name != "filter"}
    for name in next(iter(setups.values()), {}):
        values: dict[str, list[int]] = {}
        for number, setup in setups.items():
            values.setdefault(str(setup[name]), []).append(number)
        if len(values) > 1:
            found = "; ".join(f"{value} (exposures {format_ranges(of)})" for value, of in values.items())
            raise StoreError(f"{store.path}: {name} differs: {found}; expected one, select with exposures")
