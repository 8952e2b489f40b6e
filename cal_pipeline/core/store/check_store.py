"""Check of a whole store: its root, its records and every observation, held against a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.errors import ObservationError, StoreError
from cal_pipeline.core.store.check import (
    CheckReport,
    Contents,
    Look,
    check_objects,
    check_records,
    find_infinite,
    open_threads,
)
from cal_pipeline.core.store.interface import ArrayReader
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import MARKER, PRODUCT, Key, ProductKind
from cal_pipeline.core.text import format_ranges


@dataclass(frozen=True)
class StoreFormat:
    """Format that a store is held against.

    Parameters
    ----------
    name : str
        Name of the store, such as ``"L1 store"``.
    kind : ProductKind
        Names of its observations and of their groups; the kind of product if it is one.
    is_product : bool
        Whether the store is the product of a run.
    judge_values : callable
        Judge of the values of each chunk.
    check_observation : callable
        Check of an observation whose objects were checked.
    may_lack_all : callable
        Tells whether an array may be without any stored chunk.
    """

    name: str
    kind: ProductKind
    is_product: bool
    judge_values: Look
    check_observation: Callable[[Contents], None]
    may_lack_all: Callable[[ArrayReader], bool] = lambda reader: False

    @property
    def expected_groups(self) -> str:
        """Description of the groups of observations."""
        return f"groups {self.kind.group_pattern}" + ("" if self.kind.named else ", six digits")


def check_observations(root: StorePath, form: StoreFormat, wanted: Sequence[Key] | None = None) -> CheckReport:
    """Check a store: every object is read and held against a format.

    One chunk per thread is in memory at a time.

    Parameters
    ----------
    root : StorePath
        The store.
    form : StoreFormat
        Its format.
    wanted : sequence of int, optional
        Only these observations.

    Returns
    -------
    CheckReport

    Raises
    ------
    StoreError
        If it lacks an observation of `wanted`.
    """
    kind, members = form.kind, set(root.members()) - {"__MACOSX"}
    numbered = {number: name for name in members if (number := kind.key_of(name)) is not None}
    whole = Contents(root, "", None)
    _check_root(whole, form)
    records = set(kind.record_files) if form.is_product else set()
    others = set(members) - set(numbered.values()) - {"zarr.json"} - records
    for name in sorted(others):
        whole.report(name, f"a member that no {form.name} has", form.expected_groups)
    for key in root.repeated:
        whole.report(key, "an object that the ZIP file holds more than once", "each once")
    if form.is_product:
        check_records(whole, kind, sorted(numbered))
    if not numbered and not form.is_product:
        whole.report("", f"no {kind.noun}", form.expected_groups)
    findings, notes, arrays, chunks = list(whole.findings), list(whole.notes), 0, 0
    chosen = _choose(root, kind, sorted(numbered), wanted)
    with open_threads(root) as threads:
        for number in chosen:
            contents = Contents(root, numbered[number], number)
            check_objects(contents, threads, form.judge_values, form.may_lack_all)
            form.check_observation(contents)
            findings += sorted(contents.findings, key=lambda finding: (finding.path, finding.chunk))
            notes += contents.notes
            arrays, chunks = arrays + len(contents.arrays), chunks + contents.n_chunks
    return CheckReport(str(root), form.name, kind.noun, len(chosen), arrays, chunks, findings, notes)


def _choose(root: StorePath, kind: ProductKind, numbers: list[Key], wanted: Sequence[Key] | None) -> list[Key]:
    """Select the observations to check."""
    absent = [number for number in wanted or () if number not in numbers]
    if absent:
        has = format_ranges(numbers) or "none"
        raise StoreError(f"{root} has no {kind.noun} {format_ranges(absent)}; it has {has}")
    return [number for number in numbers if wanted is None or number in wanted]


def _check_root(contents: Contents, form: StoreFormat) -> None:
    """Check the metadata of the root."""
    kind = form.kind
    try:
        attributes = read_group_attributes(contents.root, "")
    except ObservationError as error:
        contents.report_error("", error, "a Zarr v3 group")
        return
    for name, value in find_infinite(attributes):
        contents.report("", f"attribute {name} = {value}", "a finite number, or null where unknown")
    if kind.product and attributes.get(PRODUCT) != kind.product:
        contents.report("", f"attribute {PRODUCT} = {attributes.get(PRODUCT)!r:.80}", repr(kind.product))
    if form.is_product:
        _check_marks(contents, kind, attributes)


def _check_marks(contents: Contents, kind: ProductKind, attributes: Mapping[str, Any]) -> None:
    """Check the attributes by which a product is known."""
    version = attributes.get(MARKER)
    if version != kind.schema_version:
        contents.report("", f"attribute {MARKER} = {version!r}", repr(kind.schema_version))
    if not isinstance(attributes.get("cal_engine_version"), str):
        contents.report("", f"attribute cal_engine_version = {attributes.get('cal_engine_version')!r}", "a version")
