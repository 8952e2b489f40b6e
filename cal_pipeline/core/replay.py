"""Repeat the processing of an observation with the parameters that its product recorded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.parameters.origins import wrap_recorded
from cal_pipeline.core.pipeline import ObservationPipeline
from cal_pipeline.core.store.compare import Comparison
from cal_pipeline.core.store.product import Key
from cal_pipeline.core.store.records import RUN_ONLY
from cal_pipeline.core.text import format_ranges

P = TypeVar("P", bound=ObservationPipeline)


def read_provenance(pipeline_class: type[ObservationPipeline], store: str | Path, number: Key) -> dict[str, Any]:
    """Read the provenance of an observation from a product.

    Parameters
    ----------
    pipeline_class : type
        Class of the pipeline that made the product.
    store : str or Path
        The product.
    number : int
        Number of the observation.

    Raises
    ------
    StoreError
        If there is no such observation, or it has no recorded parameters.
    """
    noun = pipeline_class.product_kind.noun
    product = pipeline_class().open_product(str(store))
    if number not in product.numbers:
        raise StoreError(f"{product.path} has no {noun} {number}; it has {format_ranges(product.numbers) or 'none'}")
    provenance: Any = product.attributes(number).get("provenance")
    if not isinstance(provenance, dict) or "parameters" not in provenance:
        raise StoreError(f"{product.path}: {noun} {number} did not record its parameters")
    return provenance


def restore_pipeline(pipeline_class: type[P], store: str | Path, number: Key) -> P:
    """Make a pipeline with exactly the parameters that an observation was processed with.

    Parameters
    ----------
    pipeline_class : type
        Class of the pipeline.
    store : str or Path
        The product.
    number : int
        Number of the observation.
    """
    recorded = read_provenance(pipeline_class, store, number)
    given, origins = _to_give(recorded["parameters"]), recorded.get("parameter_origins") or {}
    pipeline: P = pipeline_class.from_config_section(wrap_recorded(given, str(store), origins))
    return pipeline


def replay_and_compare(
    pipeline_class: type[ObservationPipeline], store: str | Path, number: Key, output: str | Path
) -> Comparison:
    """Process an observation again with the parameters recorded of it, and compare.

    Parameters
    ----------
    pipeline_class : type
        Class of the pipeline.
    store : str or Path
        The product: folder, ZIP file or URL.
    number : int
        Number of the observation.
    output : str or Path
        Output store of the replay: folder or URL.

    Returns
    -------
    Comparison
        Differences of the arrays, and of what is recorded of them: of the engine, reference files
        and results. Groups that depend on other observations, which are not processed, are left
        out.

    Raises
    ------
    StoreError
        If the store, the observation or the input that was recorded is not there.
    """
    product = pipeline_class().open_product(str(store))
    pipeline = restore_pipeline(pipeline_class, store, number)
    pipeline.select_again(number, product.attributes(number))
    pipeline.output_file = str(output)
    pipeline.run(_recorded_input(read_provenance(pipeline_class, store, number)[pipeline.input_key], store))
    # Every recorded parameter was given as an argument: its origin tells nothing.
    return pipeline.compare(store, output, [number], pipeline.not_replayed)


def _recorded_input(location: Any, store: str | Path) -> str:
    """Return the location of an input as it is recorded, in which no variable is left to expand."""
    if not isinstance(location, str) or os.path.expandvars(location) != location:
        # A product from elsewhere could send the variables of this environment to a server.
        raise StoreError(f"{store}: input {location!r} was recorded; expected a path or URL without $VARIABLE")
    return location


def _to_give(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Recorded parameters as they are given to a pipeline."""
    given: dict[str, Any] = {}
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            given[name] = _to_give(value)
        elif value is not None and name not in RUN_ONLY:
            given[name] = value
    return given
