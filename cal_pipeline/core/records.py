"""Provenance record of a file written by a step."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from cal_pipeline._version import __version__
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.parameters.checked import CheckedStep


def record_step(step: CheckedStep, references: list[tuple[str, str]]) -> dict[str, Any]:
    """Record how a step made its result.

    Parameters
    ----------
    step : CheckedStep
        The step, after its run.
    references : list of (str, str)
        Type and path of the reference files that were used.

    Returns
    -------
    dict
        ``class``, ``parameters`` (all of them), ``parameter_origins``, ``engine_version``,
        ``time``, and ``reference_files`` with ``type``, ``file`` and ``sha256``.
    """
    return {
        "class": f"{type(step).__module__}.{type(step).__qualname__}",
        "engine_version": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "input": str(step.search_attr("_input_filename") or ""),
        "parameters": make_json_ready(step.get_pars()),
        "parameter_origins": dict(step.parameters.origins),
        "reference_files": [
            {"type": kind, "file": path, "sha256": digest_file(path)} for kind, path in dict.fromkeys(references)
        ],
    }


def record_product(
    tool: str, step: CheckedStep, inputs: Iterable[str | Path], warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Record how a product was made, for products of any format.

    Parameters
    ----------
    tool : str
        Command that makes such products.
    step : CheckedStep
        The step, during its run.
    inputs : iterable of path
        Files that were read.
    warnings : sequence of str
        Warnings so far.

    Returns
    -------
    dict
        Ready for JSON: ``tool``, ``version``, ``time``, ``parameters``, ``parameter_origins``,
        ``inputs`` with ``name`` and ``sha256``, and ``warnings``.
    """
    record = {
        "tool": tool,
        "version": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "parameters": step.get_pars(),
        "parameter_origins": step.parameters.flat_origins(),
        "inputs": [{"name": str(path), "sha256": digest_file(path)} for path in dict.fromkeys(map(str, inputs))],
        "warnings": list(warnings),
    }
    ready: dict[str, Any] = make_json_ready(record)
    return ready


def digest_file(path: str | Path) -> str | None:
    """Compute the SHA-256 digest of a file, once as long as it does not change; None where there is none."""
    try:
        return _digest_once(str(path), os.stat(path).st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _digest_once(path: str, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
