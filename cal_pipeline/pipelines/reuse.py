"""Steps applied to a scan with different parameters, each only where its parameters or inputs differ."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from cal_pipeline.core.errors import CalibrationError, MissingInputError
from cal_pipeline.core.run.job import describe_failure
from cal_pipeline.core.step import ObservationStep
from cal_pipeline.core.store.records import RUN_ONLY
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.steps.heterodyne.base import CalibrationStep

RESULTS = tuple(each.name for each in fields(Band) if each.default is None)
"""Attributes of a band that steps set; before they are None."""

KEPT_RESULTS = 2
"""Results of a step that are kept. Combinations are run in the order of the steps, the parameters of the last one
changing fastest, so that the newest result serves nearly always; two serve those that alternate."""


class StepFailedError(CalibrationError):
    """A step could not be applied to a scan.

    Attributes
    ----------
    step, message : str
        The step, and the message for the user.
    """

    def __init__(self, step: str, message: str) -> None:
        super().__init__(message)
        self.step, self.message = step, message


class _Identical:
    """Key of a result: equal to that of the same object only, which it keeps from being replaced by another."""

    def __init__(self, result: object) -> None:
        self._result = result

    def __hash__(self) -> int:
        return id(self._result)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identical) and self._result is other._result


@dataclass
class StepResult:
    """Results that a step has set in the bands of a scan, or its failure.

    Parameters
    ----------
    bands : list of dict
        Attributes that changed, for each band.
    status : str
        Status of the step in the scan.
    seconds : float
        Time that the step took [s].
    message : str
        Message of its failure; empty after success.
    """

    bands: list[dict[str, Any]] = field(default_factory=list)
    status: str | None = None
    seconds: float = 0.0
    message: str = ""


class StepReuse:
    """Results of steps for one scan, used again for other combinations of parameters.

    A step is applied if its parameters, or the attributes that it depends on
    (:attr:`~.CalibrationStep.depends_on`), differ from those of its kept results: whole results of
    earlier steps are compared by identity, parts of them by value.

    Parameters
    ----------
    scan : Scan
        The scan as it was opened, which stays as it is.
    """

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._kept: dict[str, dict[Hashable, StepResult]] = {}

    def apply(self, steps: Mapping[str, ObservationStep]) -> tuple[Scan, float]:
        """Apply steps to a copy of the scan.

        Parameters
        ----------
        steps : mapping
            Fresh steps by name, in processing order.

        Returns
        -------
        scan : Scan
            The copy, after all steps.
        seconds : float
            Time of the steps, those whose results were used again included [s].

        Raises
        ------
        StepFailedError
            If a step fails.
        """
        scan, seconds = self._scan.fork(), 0.0
        for name, step in steps.items():
            result = self._find(name, step, scan)
            seconds += result.seconds
            if result.message:
                raise StepFailedError(name, result.message)
            for band, attributes in zip(scan.bands, result.bands, strict=True):
                for attribute, value in attributes.items():
                    setattr(band, attribute, value)
            if result.status is not None:
                setattr(scan.meta.cal_step, name, result.status)
        return scan, seconds

    def _find(self, name: str, step: ObservationStep, scan: Scan) -> StepResult:
        """Return the result of a step for a scan, a kept one if there is one."""
        kept = self._kept.setdefault(name, {})
        asked = step.list_asked_steps() if isinstance(step, CalibrationStep) else ()
        parameters = tuple(list_effective(each) for each in (step, *asked))
        key = (parameters, tuple(_key_of_inputs(step, band) for band in scan.bands))
        result = kept.pop(key, None)
        if result is None:
            result = _run(name, step, scan)
        # The newest stands last.
        kept[key] = result
        while len(kept) > KEPT_RESULTS:
            kept.pop(next(iter(kept)))
        return result


def list_effective(step: ObservationStep) -> tuple[tuple[str, str], ...]:
    """List the parameters of a step with an effect on results, for comparisons."""
    values = step.parameters.values
    return tuple((name, repr(values[name])) for name in sorted(values) if name not in RUN_ONLY)


def _run(name: str, step: ObservationStep, scan: Scan) -> StepResult:
    """Run a step on a copy of a scan."""
    copy = scan.fork()
    before = [_results_of(band) for band in copy.bands]
    began = time.perf_counter()
    try:
        after: Scan = step.run(copy)
    except Exception as error:
        kind, store = step.product_kind, scan.bands[0].store
        message = describe_failure(kind, scan.number, name, error, store).message
        return StepResult(seconds=time.perf_counter() - began, message=message)
    seconds = time.perf_counter() - began
    changed = [
        {attribute: value for attribute, value in _results_of(band).items() if value is not old[attribute]}
        for band, old in zip(after.bands, before, strict=True)
    ]
    return StepResult(changed, getattr(after.meta.cal_step, name, None), seconds)


def _results_of(band: Band) -> dict[str, Any]:
    return {name: getattr(band, name) for name in RESULTS}


def _key_of_inputs(step: ObservationStep, band: Band) -> Hashable:
    """Return a key of all that the result of a step for a band depends on, besides parameters and counts."""
    names: Sequence[str] | None = step.depends_on if isinstance(step, CalibrationStep) else None
    return tuple(_key_of(_look_up(band, name)) for name in (RESULTS if names is None else names))


def _look_up(band: Band, name: str) -> Any:
    """Look up an attribute of a band, or a part of one; None where a result is missing."""
    value: Any = band
    for part in name.split("."):
        try:
            value = None if value is None else getattr(value, part)
        except MissingInputError:
            return None
    return value


def _key_of(value: Any) -> Hashable:
    """Return a key of a value: its content, or the identity of a whole result."""
    if isinstance(value, np.ndarray):
        content = hashlib.blake2b(value.tobytes("A"), digest_size=16).digest()
        return value.dtype.str, value.shape, value.flags.f_contiguous, content
    return value if value is None or isinstance(value, (bool, int, float, str)) else _Identical(value)
