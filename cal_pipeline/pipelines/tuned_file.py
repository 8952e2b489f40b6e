"""Parameter file with the parameters that were given to a pipeline."""

from __future__ import annotations

from os.path import abspath
from pathlib import Path
from typing import Any

from cal_pipeline.core.files.asdf_file import write_asdf
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.resolved import GIVEN
from cal_pipeline.core.pipeline import ObservationPipeline
from cal_pipeline.core.step import ObservationStep
from cal_pipeline.core.store.records import RUN_ONLY


def write_parameter_file(pipeline: ObservationPipeline, path: Path) -> None:
    """Write the given parameters of a pipeline that have an effect on results, as an ASDF file.

    Defaults and parameters that the data choose are left to the run that reads the file. A parameter of
    an older file that an argument has left without effect is left out.

    Parameters
    ----------
    pipeline : ObservationPipeline
        The pipeline.
    path : Path
        The file.

    Raises
    ------
    ParameterError
        If the parameters contradict each other.
    OSError
        If it cannot be written.
    """
    own = pipeline.product_kind.selection
    steps = [
        {"class": _name_class(step), "name": name, "parameters": _list_given(step)}
        for name, step in pipeline._steps().items()
    ]
    tree = {
        "class": _name_class(pipeline),
        "name": type(pipeline).__name__,
        "parameters": {name: value for name, value in _list_own(pipeline).items() if name != own},
        "steps": steps,
    }
    write_asdf(path, tree)


def _name_class(step: Any) -> str:
    return f"{type(step).__module__}.{type(step).__qualname__}"


def _list_own(step: Any) -> dict[str, Any]:
    """List the given parameters of a step or pipeline with an effect on results."""
    parameters = step.parameters
    given = {name: parameters.values[name] for name in parameters.origins if name not in RUN_ONLY}
    return {name: _make_plain(name, value) for name, value in given.items()}


def _make_plain(name: str, value: Any) -> Any:
    """Return a value for the file; the path of a reference file is absolute, wherever the file is read."""
    if name.startswith("override_") and isinstance(value, str) and value != "N/A":
        return abspath(value)
    return list(value) if isinstance(value, (list, tuple)) else value


def _list_given(step: ObservationStep) -> dict[str, Any]:
    """List the given parameters of a step, without those that would be refused in one file.

    Raises
    ------
    ParameterError
        If arguments alone contradict each other.
    """
    given, origins = _list_own(step), step.parameters.origins
    while (problem := _object_to(step, given)) is not None:
        idle = [name for name in given if origins[name] != GIVEN]
        kept = next((name for name in idle if _object_to(step, _without(given, name)) is None), None)
        if kept is None:
            raise problem
        given = _without(given, kept)
    return given


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}


def _object_to(step: ObservationStep, given: dict[str, Any]) -> ParameterError | None:
    """Return the objection of a step against parameters that all come from one file; None without any."""
    defaults = type(step)().parameters
    fresh = step.with_parameters(defaults.override(given, "file"), step.parent)
    try:
        fresh.check_parameters()
    except ParameterError as error:
        return error
    return None
