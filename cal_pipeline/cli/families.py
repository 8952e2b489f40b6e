"""Families of instruments: which one a store belongs to, and its functions for the commands."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from cal_pipeline.cli.commands import UsageError
from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.pipeline import ObservationPipeline
from cal_pipeline.core.store.check import CheckReport
from cal_pipeline.core.store.compare import Comparison
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key


class Family(ABC):
    """Functions of a family for its stores and files.

    Modules of the family are imported when they are used: a command starts faster.

    Attributes
    ----------
    noun : str
        Name of an observation.
    named : bool
        Whether observations may have names.
    """

    noun: str
    named: bool

    def read_key(self, text: str) -> Key | None:
        """Read the number of an observation, or its name where observations may have names; None for other text."""
        try:
            return int(text)
        except ValueError:
            return text if self.named else None

    @abstractmethod
    def describe(self, location: str) -> tuple[str, Any]:
        """Describe a store or file; return text, and data that are ready for JSON."""

    @abstractmethod
    def check(self, location: str, wanted: Sequence[Key] | None) -> CheckReport:
        """Check a store."""

    @abstractmethod
    def compare(self, first: str, second: str, wanted: Sequence[Key] | None) -> Comparison:
        """Compare two products."""

    @abstractmethod
    def write_report(self, location: str, path: Path, wanted: Sequence[Key] | None, overwrite: bool) -> None:
        """Write the report of a product as an HTML file."""

    @abstractmethod
    def find_pipeline(self, location: str) -> type[ObservationPipeline]:
        """Find the pipeline that made a product."""


class HeterodyneFamily(Family):
    """Sessions and L1 stores; what belongs to no other family is described as none of them."""

    noun, named = "scan", False

    def describe(self, location: str) -> tuple[str, Any]:
        """Describe an L0 session, an L1 store, a file of a step or a parameter file."""
        from cal_pipeline.heterodyne.overview import describe
        from cal_pipeline.steps import LoadsStep

        described = describe(location, LoadsStep().calibration_interval)
        return described.text, described.data

    def check(self, location: str, wanted: Sequence[Key] | None) -> CheckReport:
        """Check an L0 session or an L1 store."""
        from cal_pipeline.heterodyne.check import check_store

        return check_store(location, wanted)

    def compare(self, first: str, second: str, wanted: Sequence[Key] | None) -> Comparison:
        """Compare two L1 stores."""
        from cal_pipeline.heterodyne.compare import compare_l1_stores

        return compare_l1_stores(first, second, wanted)

    def write_report(self, location: str, path: Path, wanted: Sequence[Key] | None, overwrite: bool) -> None:
        """Write the report of an L1 store."""
        from cal_pipeline.report.receiver_report import write_report

        write_report(location, path, wanted, overwrite)

    def find_pipeline(self, location: str) -> type[ObservationPipeline]:
        """Return the pipeline of L1 stores."""
        from cal_pipeline.pipelines.calibration import CalibrationPipeline

        return CalibrationPipeline


class ImagerFamily(Family):
    """Stores of ramps, rates, calibrated images and mosaics, and the files of its steps."""

    noun, named = "exposure", True

    def describe(self, location: str) -> tuple[str, Any]:
        """Describe a store, a file of a step or a reference file."""
        from cal_pipeline.imager.overview import describe

        return describe(location)

    def check(self, location: str, wanted: Sequence[Key] | None) -> CheckReport:
        """Check a store."""
        from cal_pipeline.imager.check import check_store

        return check_store(location, wanted)

    def compare(self, first: str, second: str, wanted: Sequence[Key] | None) -> Comparison:
        """Compare two products of one kind."""
        from cal_pipeline.imager.compare import compare_image_stores

        return compare_image_stores(first, second, wanted)

    def write_report(self, location: str, path: Path, wanted: Sequence[Key] | None, overwrite: bool) -> None:
        """Write the report of rates, calibrated images or mosaics."""
        from cal_pipeline.report.imager_report import write_report

        write_report(location, path, wanted, overwrite)

    def find_pipeline(self, location: str) -> type[ObservationPipeline]:
        """Find the pipeline by the kind of product that it makes."""
        from cal_pipeline.core.text import add_article
        from cal_pipeline.imager.kinds import find_kind
        from cal_pipeline.registry import list_steps

        kind = find_kind(open_store(location))
        for entry in list_steps("imager"):
            if entry.is_pipeline:
                module, _, name = entry.class_name.rpartition(".")
                pipeline: type[ObservationPipeline] = getattr(import_module(module), name)
                if pipeline.product_kind == kind:
                    return pipeline
        found = "no store of an imager" if kind is None else add_article(kind.name)
        raise StoreError(f"{location} is {found}, which no pipeline makes")


HETERODYNE, IMAGER = HeterodyneFamily(), ImagerFamily()


def find_family(*locations: str) -> Family:
    """Find the family that stores or files belong to.

    Parameters
    ----------
    *locations : str
        Folders, files or URLs.

    Returns
    -------
    Family
        The imager if one of them is a store or file of it; else the heterodyne family, which says
        what else they are.

    Examples
    --------
    >>> find_family("session.zarr").noun
    'scan'
    """
    return IMAGER if any(_is_of_imager(location) for location in locations) else HETERODYNE


def _is_of_imager(location: str) -> bool:
    """Tell whether a store or file is one of the imager."""
    from cal_pipeline.imager.kinds import find_kind

    where = normalize_location(location)
    if not is_url(where) and where.endswith(".asdf"):
        from cal_pipeline.imager.overview import is_imager_file

        return is_imager_file(where)
    try:
        root: StorePath = open_store(where)
        return find_kind(root) is not None
    except (CalibrationError, OSError, ValueError):
        # The heterodyne family says what is wrong.
        return False


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add the options that select observations, each of one family."""
    selection = parser.add_mutually_exclusive_group()
    selection.add_argument("--scans", type=int, nargs="+", help="only these scans")
    selection.add_argument("--exposures", nargs="+", help="only these exposures of an imager; mosaics by name")


def read_selection(given: argparse.Namespace, family: Family) -> list[Key] | None:
    """Read the selected observations; None for all.

    Raises
    ------
    UsageError
        If they are named by the option of another family.
    """
    for option, of in (("scans", HETERODYNE), ("exposures", IMAGER)):
        wanted = getattr(given, option)
        if wanted is not None and of is not family:
            raise UsageError(f"--{option} is for stores of {option}; select {family.noun}s with --{family.noun}s")
    if given.exposures is not None:
        return [family.read_key(text) for text in given.exposures]
    found: list[Key] | None = given.scans
    return found
