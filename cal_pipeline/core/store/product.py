"""Products: stores of observations that were calibrated, each in a group of its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.lock import read_holder
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.staging import find_put_aside
from cal_pipeline.core.text import format_count, format_ranges

FAILURES, RUN_RECORD = "failures.json", "run.json"
"""Files at the root of a product: the observations that failed, and the record of the run."""

FAILED = "failures"
"""Key of the failures in a ledger."""

RUNNING, FINISHED, INTERRUPTED = "running", "finished", "interrupted"
"""States of a run in its record."""

MARKER = "cal_schema_version"
"""Attribute of the root by which a store is known to be a product of this package."""

STORE_SUFFIX = ".zarr"

PRODUCT = "product"
"""Attribute of the root with the kind of product, where a family has several."""

Key = Any
"""Key of an observation, unique in its input: a whole number, or a name (`str`) where the kind of product is named."""

_NAME = re.compile(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]")
"""Names of named observations, without any that stands for a folder above."""


@dataclass(frozen=True)
class ProductKind:
    """Names of a family's product and of the observations in it.

    Parameters
    ----------
    noun : str
        Name of an observation, such as ``"scan"``; its groups are ``scan_NNNNNN``.
    name : str
        Name of the product, such as ``"L1 store"``.
    schema_version : str
        Version of its format.
    input_noun : str
        Name of an observation in the input, such as ``"L0 scan"``.
    product : str
        Attribute ``product`` of the root of the store; none if empty.
    prefix : str
        Beginning of the names of groups; by default the noun.
    named : bool
        Whether observations have names, which are those of their groups, and no numbers.
    selected_by : str
        Parameter of a pipeline that selects observations; by default the noun with an s.
    suffix : str
        End of the names of products: that of a store, or of a file that is a product as a whole.
    ledger : str
        File at the root that takes the place of ``failures.json`` and ``run.json``, for products whose
        observations are written as they were recorded, without steps or parameters. It tells the files
        that each observation was made from, and the failures of the last run.
    verb : str
        Verb for the making of an observation, such as ``"calibrate"``.

    Examples
    --------
    >>> kind = ProductKind("scan", "L1 store", "1.0", "L0 scan")
    >>> kind.number_key, kind.key_of("scan_025650")
    ('scan_number', 25650)
    >>> kind = ProductKind("mosaic", "mosaic store", "1.0", "exposure", named=True, selected_by="exposures")
    >>> kind.number_key, kind.key_of("M42_K"), kind.selection
    ('mosaic', 'M42_K', 'exposures')
    """

    noun: str
    name: str
    schema_version: str
    input_noun: str
    product: str = ""
    prefix: str = ""
    named: bool = False
    selected_by: str = ""
    suffix: str = STORE_SUFFIX
    ledger: str = ""
    verb: str = "calibrate"

    @property
    def record_files(self) -> tuple[str, ...]:
        """Files at the root of a product that describe its observations and failures."""
        return (self.ledger,) if self.ledger else (FAILURES, RUN_RECORD)

    @property
    def failures_file(self) -> str:
        """File at the root of a product that lists failures."""
        return self.ledger or FAILURES

    @property
    def failure_keys(self) -> tuple[str, ...]:
        """Keys of the record of a failure."""
        return (self.number_key, "file" if self.ledger else "step", "error_class", "message")

    @property
    def participle(self) -> str:
        """Past participle of the verb, such as ``"calibrated"``."""
        return f"{self.verb}d" if self.verb.endswith("e") else f"{self.verb}ed"

    @property
    def number_key(self) -> str:
        """Key of the number or name of an observation in records, such as ``"scan_number"``."""
        return self.noun if self.named else f"{self.noun}_number"

    @property
    def selection(self) -> str:
        """Parameter of a pipeline that selects observations, such as ``"scans"``."""
        return self.selected_by or self.plural

    @property
    def plural(self) -> str:
        """Plural of the name of an observation."""
        return f"{self.noun}s"

    @property
    def root_attributes(self) -> dict[str, str]:
        """Attributes of the root of a product."""
        kind = {PRODUCT: self.product} if self.product else {}
        return {MARKER: self.schema_version, "cal_engine_version": __version__, **kind}

    def marks(self, attributes: Mapping[str, Any]) -> bool:
        """Tell whether the attributes of a root are those of a product of this kind, of any version."""
        return MARKER in attributes and attributes.get(PRODUCT, "") == self.product

    @property
    def group_pattern(self) -> str:
        """Names of the groups of observations, as in messages."""
        return "named after them" if self.named else f"{self.prefix or self.noun}_NNNNNN"

    def group_name(self, key: Key) -> str:
        """Return the name of the group of an observation.

        Examples
        --------
        >>> ProductKind("scan", "L1 store", "1.0", "L0 scan").group_name(25650)
        'scan_025650'
        """
        return str(key) if self.named else f"{self.prefix or self.noun}_{key:06d}"

    def key_of(self, member: str) -> Key | None:
        """Return the key of the observation in a member of the root; None for other members."""
        if self.named:
            return None if member in ("zarr.json", *self.record_files) or not _NAME.fullmatch(member) else member
        match = re.fullmatch(rf"{self.prefix or self.noun}_([0-9]{{6}})", member)
        return int(match[1]) if match else None


class Product:
    """Store of calibrated observations.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL such as ``s3://bucket/l1.zarr``.

    Attributes
    ----------
    root : StorePath
        The store.
    path : Path or str
        Path of a folder; name of a ZIP file; URL.
    numbers : list of int, or of str
        Observations it holds, ascending; their names where they have no numbers.
    failures : list of dict
        Observations that could not be calibrated: number, ``step``, ``error_class``, ``message``.
    run : dict or None
        Record of the run that wrote the product (``run.json``): ``state``, ``host``, ``pid``,
        ``started``, ``ended``, numbers of observations, ``parameters_sha256``. None if there is none.

    Raises
    ------
    StoreError
        If there is no such store.

    Examples
    --------
    A product of a family names its kind:

    >>> class ScanProduct(Product):
    ...     kind = ProductKind("scan", "L1 store", "1.0", "L0 scan")
    >>> product = ScanProduct("l1.zarr")
    >>> product.numbers, product.failures
    ([1], [])
    """

    kind: ClassVar[ProductKind]

    def __init__(self, path: str | Path) -> None:
        self.root: StorePath = open_store(path)
        self._is_local = isinstance(self.root, LocalStorePath)
        self.path: Any = self.root.path if isinstance(self.root, LocalStorePath) else self.root.name
        marks = read_marks(self.root)
        if not self.kind.marks(marks):
            if MARKER in marks:
                self._refuse_other_kind(marks)
            self._refuse_put_aside()
            self._refuse_unmarked(path)
        found = ((self.kind.key_of(name), name) for name in self.root.members())
        self.numbers = sorted(
            number for number, name in found if number is not None and self.root.exists(f"{name}/zarr.json")
        )
        self.failures = self._read_failures()
        self.run = self._read_run()

    def _refuse_other_kind(self, marks: Mapping[str, Any]) -> None:
        """Refuse a product of another kind."""
        raise StoreError(
            f"{self.path} is no {self.kind.name}: its attribute {PRODUCT} is {marks.get(PRODUCT)!r:.80}, "
            f"expected {self.kind.product or None!r}"
        )

    def _refuse_unmarked(self, path: str | Path) -> None:
        """Refuse a store whose root does not say that it is a product."""
        raise StoreError(f"{self.path} is no {self.kind.name}: it has no attribute {MARKER}")

    def _refuse_put_aside(self) -> None:
        """Say where a product is that a run put aside and did not come to replace."""
        aside = find_put_aside(self.root.path) if isinstance(self.root, LocalStorePath) else None
        if aside is not None:
            raise StoreError(
                f"{self.path} is not there: a run that was replacing it was stopped; it is in {aside}, and the next "
                "run with this output puts it back"
            )

    def _read_failures(self) -> list[dict[str, Any]]:
        name = self.kind.failures_file
        failures = self.read_ledger()[FAILED] if self.kind.ledger else self._read_json(name, b"[]")
        if not isinstance(failures, list) or not all(isinstance(item, dict) for item in failures):
            raise StoreError(f"{self.path}/{name} holds no list of failures")
        return failures

    def read_ledger(self) -> dict[str, Any]:
        """Read the ledger of a product whose kind has one.

        Returns
        -------
        dict
            Entries by the number of the observation, as text, under the plural of the observations, and
            the list of failures under ``failures``; both empty where there is no ledger.

        Raises
        ------
        StoreError
            If it is damaged.
        """
        ledger = self._read_json(self.kind.ledger, b"{}")
        entries = ledger.get(self.kind.plural, {}) if isinstance(ledger, dict) else None
        if not isinstance(entries, dict):
            raise StoreError(f"{self.path}/{self.kind.ledger} holds no entries by {self.kind.noun}")
        return {self.kind.plural: entries, FAILED: ledger.get(FAILED, [])}

    def _read_run(self) -> dict[str, Any] | None:
        if self.kind.ledger:
            return None
        run = self._read_json(RUN_RECORD, b"null")
        if run is not None and not (isinstance(run, dict) and isinstance(run.get("state"), str)):
            raise StoreError(f"{self.path}/run.json holds no record of a run")
        return run

    def _read_json(self, key: str, absent: bytes) -> Any:
        try:
            return json.loads(self.root.get(key) or absent)
        except ValueError as error:
            raise StoreError(f"{self.path}/{key} cannot be read: {error}") from error

    @property
    def run_state(self) -> str:
        """State of the run that wrote the product: running, finished or interrupted; empty if not known.

        A run that says it is running, and has lost its lock or its process, was interrupted.
        """
        state = str((self.run or {}).get("state", ""))
        return INTERRUPTED if state == RUNNING and not self._run_lives() else state

    def _run_lives(self) -> bool:
        holder, run = read_holder(self.root), self.run or {}
        if holder is None or holder.is_gone():
            return False
        return (holder.host, holder.pid, holder.started) == (run.get("host"), run.get("pid"), run.get("started"))

    def groups(self, number: Key) -> list[str]:
        """Return the paths of the groups with the arrays of an observation: one unless it has parts.

        Parameters
        ----------
        number : int
            Number of the observation.

        Raises
        ------
        StoreError
            If there is no such observation.

        Examples
        --------
        With the `product` of the example of the class:

        >>> product.groups(1)
        ['scan_000001']
        """
        group = self.kind.group_name(number)
        if not self.root.exists(f"{group}/zarr.json"):
            has = f"{self.kind.noun}s [{format_ranges(self.numbers)}]" if self.numbers else f"no {self.kind.noun}"
            if number in self.numbers:
                raise StoreError(f"{self.path} has no {self.kind.noun} {number} any more; it is not what was opened")
            raise StoreError(f"{self.path} has no {self.kind.noun} {number}; it has {has}")
        return [group]

    def attributes(self, number: Key) -> dict[str, Any]:
        """Return the attributes of an observation, of its first part where it has several.

        Parameters
        ----------
        number : int
            Number of the observation.

        Raises
        ------
        StoreError
            If there is no such observation.

        Examples
        --------
        With the `product` of the example of the class:

        >>> product.attributes(1)["telescope"]
        'CCAT'
        """
        name, *_ = self.groups(number)
        return read_group_attributes(self.root, name)

    def __repr__(self) -> str:
        noun = format_count(len(self.numbers), self.kind.noun)
        return f"<{type(self).__name__} {self.path}: {noun}, {len(self.failures)} failed>"


def read_marks(root: StorePath) -> Mapping[str, Any]:
    """Read the attributes of a root, by which a store is known; none from damaged metadata."""
    try:
        attributes = json.loads(root.get("zarr.json") or b"{}").get("attributes", {})
    except (ValueError, AttributeError, TypeError):
        return {}
    return attributes if isinstance(attributes, Mapping) else {}
