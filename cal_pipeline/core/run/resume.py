"""Resumption of a product: which observations of earlier runs would come out alike and are kept."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import CalibrationError, ReadBackError, StoreError
from cal_pipeline.core.quality import SEVERITIES
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.output import OutputStore, check_complete
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import MARKER, Key, Product, ProductKind
from cal_pipeline.core.store.records import ObservationRecord, as_mapping, flatten_parameters, read_records
from cal_pipeline.core.store.verify import decode_all
from cal_pipeline.core.text import format_count, format_ranges

logger = logging.getLogger(__name__)

_HOOKS = ("pre_hooks", "post_hooks")


class Judge(Protocol):
    """Knowledge of a family about what its observations are made from."""

    verify: bool
    """Whether observations that are kept are read as a whole."""

    def find_changes(self, observation: Any, records: Sequence[ObservationRecord]) -> list[str]:
        """Name what an observation depends on besides parameters that is no longer as recorded."""


def find_reasons(
    records: Sequence[ObservationRecord], parameters: Mapping[str, Any], find_changes: Callable[[], list[str]]
) -> list[str]:
    """Find the reasons why an observation would come out differently than recorded.

    Parameters
    ----------
    records : sequence of ObservationRecord
        Records of all parts of the observation.
    parameters : mapping
        Parameters that a run would use now, ready for JSON.
    find_changes : callable
        Names what else has changed: input, loads, reference files. Not called when there is a reason
        before, since it may have to read the input.

    Returns
    -------
    list of str
        Each as in ``"parameters differ: steps.atmosphere.strategy"``; empty if it can be kept.
    """
    if not records:
        return ["no record"]
    versions = {str(record.provenance.get("engine_version")) for record in records}
    if versions != {__version__}:
        return [f"engine version {', '.join(sorted(versions))}"]
    now = dict(flatten_parameters(parameters))
    now.pop(records[0].kind.selection, None)
    recorded = [record.parameters for record in records]
    differing = dict.fromkeys(
        name
        for then in recorded
        for name in [*now, *then]
        if name not in now or name not in then or now[name] != then[name]
    )
    if differing:
        return [f"parameters differ: {', '.join(differing)}"]
    if any(map(_has_hooks, [parameters, *(as_mapping(record.provenance.get("parameters")) for record in records)])):
        return ["hooks"]
    return find_changes()


def _has_hooks(parameters: Mapping[str, Any]) -> bool:
    """Tell whether hooks are given, of which nobody knows what they do."""
    return any(parameters.get(name) for name in _HOOKS) or any(
        _has_hooks(value) for value in parameters.values() if isinstance(value, Mapping)
    )


@dataclass(frozen=True)
class Verdict:
    """Decision on the observation of an earlier run.

    Parameters
    ----------
    kept_in : str
        Name of the product whose observation is kept; empty if it is processed again.
    reasons : tuple of str
        Reasons why it is processed again.
    quality : str
        Quality verdict that was recorded, of one that is kept.
    """

    kept_in: str = ""
    reasons: tuple[str, ...] = ()
    quality: str = ""


NOT_JUDGED = Verdict()
"""Verdict on an observation without earlier results."""

KEEPS_NONE = Verdict("", ("the pipeline keeps none",))
"""Verdict of a pipeline that does not tell when inputs are known."""


def judge_earlier(
    earlier: Sequence[Product], number: Key, observation: Any, parameters: Mapping[str, Any], judge: Judge
) -> Verdict:
    """Decide whether one of some earlier results of an observation is kept.

    Parameters
    ----------
    earlier : sequence of Product
        Products that hold it, complete; the first that would come out alike is kept.
    number : int
        Number of the observation.
    observation : Observation
        The observation, after the step that chooses its inputs.
    parameters : mapping
        Parameters that a run would use now, ready for JSON.
    judge : Judge
        The family.
    """
    reasons: list[str] = []
    for product in earlier:
        try:
            records = read_records(product, [number])
            reasons = find_reasons(records, parameters, partial(judge.find_changes, observation, records))
            if judge.verify and not reasons:
                decode_all(product.root.child(product.kind.group_name(number)))
        except ReadBackError as error:
            logger.warning("%s", error)
            reasons = ["does not read back"]
        except Exception as error:  # whatever a damaged record leads to: it is a reason to make the observation anew
            reasons = [f"cannot be judged: {type(error).__name__}: {error}"]
        if not reasons:
            worst = max((SEVERITIES.index(record.verdict) for record in records if record.verdict), default=0)
            return Verdict(product.root.name, (), SEVERITIES[worst])
    return Verdict("", tuple(reasons))


OpenProduct = Callable[[str], Product]
"""Function that opens a product by its name."""


@dataclass
class Resumption:
    """Results of earlier runs that a run takes up, and what becomes of them.

    Parameters
    ----------
    output : OutputStore
        The product.
    replace : bool
        Whether observations that are not asked for are removed at the end.
    earlier : dict
        Products that hold an observation, complete, by its number: the present one last.
    present : set of int
        Complete observations of the present product.
    faults : dict
        What is wrong with an observation that the present product held, by its number.
    staying : set of int
        Observations of the present product that were not asked for, and stay.
    debris : list of str
        Names of what was removed.
    """

    output: OutputStore
    replace: bool
    earlier: dict[Key, tuple[Product, ...]] = field(default_factory=dict)
    present: set[Key] = field(default_factory=set)
    faults: dict[Key, str] = field(default_factory=dict)
    staying: set[Key] = field(default_factory=set)
    debris: list[str] = field(default_factory=list)
    kept: set[Key] = field(default_factory=set)
    """Observations that were kept; before a run, those that need no decision any more."""

    redone: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    """Reasons for the observations that were processed again, by number."""

    n_new: int = 0
    """Number of observations that no earlier run had finished."""

    @classmethod
    def begin(
        cls, output: OutputStore, numbers: Collection[Key], replace: bool, open_product: OpenProduct
    ) -> Resumption:
        """Find the results of earlier runs, and remove what is incomplete.

        Parameters
        ----------
        output : OutputStore
            The product, to be resumed.
        numbers : collection of int
            Observations asked for.
        replace : bool
            Whether others are removed at the end.
        open_product : callable
            Opens a product by its name.

        Raises
        ------
        StoreError
            If the product has another schema, and observations that would stay in it.
        """
        debris = [f"staging of run {run}" for run in output.removed_runs]
        resumption = cls(output, replace, debris=debris)
        products = [_Found.of(root, output.kind, open_product) for root in (*output.leftovers, output.root)]
        if products[-1] is not None:
            resumption._judge_present(products[-1], set(numbers))
        for found in filter(None, products):
            if found.schema == output.kind.schema_version:
                for number in found.complete & set(numbers):
                    resumption.earlier[number] = (*resumption.earlier.get(number, ()), found.product)
        return resumption

    def _judge_present(self, found: _Found, numbers: set[Key]) -> None:
        kind, key = self.output.kind, self.output.kind.number_key
        self.present = found.complete
        self.staying = set() if self.replace else found.complete - numbers
        if found.schema != kind.schema_version:
            if self.staying:
                raise StoreError(
                    f"output {self.output.root} has schema version {found.schema}, expected {kind.schema_version}, "
                    f"and {kind.noun}s that were not asked for ({format_ranges(sorted(self.staying))}); ask for them "
                    "too, or give overwrite=True without resume"
                )
            self.faults |= dict.fromkeys(found.complete, f"schema version {found.schema}")
        for number, fault in found.broken.items():
            name = kind.group_name(number)
            logger.warning("%s/%s is removed: %s", self.output.root, name, fault or "it was not finished")
            self.output.drop(name)
            if fault:
                self.faults[number] = "incomplete"
            else:
                self.debris.append(f"unfinished {name}")
        if not self.replace:
            left_out = (failure for failure in found.product.failures if failure.get(key) not in numbers)
            known = str if kind.named else int
            self.output.earlier_failures = [failure for failure in left_out if isinstance(failure.get(key), known)]

    def note(self, number: Key, reasons: tuple[str, ...], is_kept: bool) -> None:
        """Count an observation, with the reasons if an earlier result was not kept."""
        if number in self.faults:
            reasons = (self.faults[number],)
        if is_kept:
            self.kept.add(number)
        elif reasons:
            self.redone[number] = reasons
        else:
            self.n_new += 1

    def numbers_to_leave(self, done: Collection[Key]) -> set[Key]:
        """List the observations that belong in the product at the end of the run.

        Parameters
        ----------
        done : collection of int
            Observations of this run, kept ones too.
        """
        if not done:
            return self.present
        return set(done) if self.replace else set(done) | self.staying | self._replaceable

    @property
    def _replaceable(self) -> set[Key]:
        """Observations of the present product that stay unless they are replaced."""
        return (self.present & self.earlier.keys()) - self.faults.keys()

    def __str__(self) -> str:
        noun = self.output.kind.noun
        by_reason = Counter(reason for reasons in self.redone.values() for reason in reasons)
        why = "; ".join(f"{number} {reason}" for reason, number in by_reason.most_common())
        parts = [f"{format_count(len(self.kept), noun)} kept"]
        parts += [f"{len(self.redone)} redone ({why})"] if self.redone else []
        parts += [f"{self.n_new} new"] if self.n_new else []
        line = f"resume: {', '.join(parts)}"
        not_redone = self._replaceable - self.kept - self.redone.keys()
        if not_redone and not self.replace:
            line += f"; not redone, as an earlier run made them: {_name_all(noun, not_redone)}"
        line += f"; removed {', '.join(self.debris)}" if self.debris else ""
        if self.staying:
            line += f"; not asked for, left as they are: {_name_all(noun, self.staying)}"
        return line


@dataclass
class Addition(Resumption):
    """Addition of observations to a product in place, all others of which stay as they are.

    The caller has decided which ones are kept (:attr:`kept`); all that are processed are added, or take
    the place of present ones.
    """

    _written: set[Key] = field(default_factory=set)

    def note(self, number: Key, reasons: tuple[str, ...], is_kept: bool) -> None:
        """Take note of an observation that was written."""
        self._written.add(number)

    def numbers_to_leave(self, done: Collection[Key]) -> set[Key]:
        """List the observations that belong in the product at the end of the run: all."""
        return set(done) | self.present

    def __str__(self) -> str:
        noun = self.output.kind.noun
        groups = {
            "added": self._written - self.present,
            "replaced": self._written & self.present,
            "kept": self.kept,
            "untouched": self.present - self._written - self.kept,
        }
        told = [f"{_name_all(noun, numbers)} {word}" for word, numbers in groups.items() if numbers]
        return f"{self.output.root}: {'; '.join(told) or f'no {noun}'}"


def _name_all(noun: str, numbers: Collection[Key]) -> str:
    """Name observations, as in ``"scans 1, 4:6"``."""
    return f"{noun}{'s' if len(numbers) > 1 else ''} {format_ranges(sorted(numbers))}"


@dataclass(frozen=True)
class _Found:
    """Product of an earlier run.

    Parameters
    ----------
    product : Product
        The product.
    schema : str
        Version of its format.
    complete : set of int
        Complete observations.
    broken : dict
        Faults of others by number; empty for one that is not listed.
    """

    product: Product
    schema: str
    complete: set[Key]
    broken: dict[Key, str]

    @classmethod
    def of(cls, root: StorePath, kind: ProductKind, open_product: OpenProduct) -> _Found | None:
        """Look at a product; None if there is none."""
        if not root.exists("zarr.json"):
            return None
        schema = str(read_group_attributes(root, "").get(MARKER))
        numbers = sorted(number for name in root.members() if (number := kind.key_of(name)) is not None)
        faults = root.each(lambda number: _find_fault(root.child(kind.group_name(number))), numbers)
        broken = {number: fault for number, fault in zip(numbers, faults, strict=True) if fault is not None}
        return cls(open_product(root.name), schema, set(numbers) - broken.keys(), broken)


def _find_fault(group: StorePath) -> str | None:
    """Say why a group is not complete; empty if it is not listed, None if it is complete."""
    if not group.exists("zarr.json"):
        return ""
    try:
        check_complete(group)
    except (CalibrationError, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
        return str(error) or repr(error)
    return None
