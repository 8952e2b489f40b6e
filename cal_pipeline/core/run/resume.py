"""Resumption of a product: which observations of an earlier run would come out alike and are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from cal_pipeline._version import __version__
from cal_pipeline.core.quality import SEVERITIES
from cal_pipeline.core.store.product import Product
from cal_pipeline.core.store.records import ObservationRecord, as_mapping, flatten_parameters, read_records

_HOOKS = ("pre_hooks", "post_hooks")


class Judge(Protocol):
    """Knowledge of a family about what its observations are made from."""

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
    differing = dict.fromkeys(
        name
        for record in records
        for name in [*now, *record.parameters]
        if name not in now or name not in record.parameters or now[name] != record.parameters[name]
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


def judge_earlier(
    earlier: Sequence[Product], number: int, observation: Any, parameters: Mapping[str, Any], judge: Judge
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
        except Exception as error:  # whatever a damaged record leads to: it is a reason to make the observation anew
            reasons = [f"cannot be judged: {type(error).__name__}: {error}"]
        if not reasons:
            worst = max((SEVERITIES.index(record.verdict) for record in records if record.verdict), default=0)
            return Verdict(product.root.name, (), SEVERITIES[worst])
    return Verdict("", tuple(reasons))
