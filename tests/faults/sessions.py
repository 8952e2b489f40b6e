"""Small sessions, what is to come out of them, and how a product is compared with that."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from helpers_atm import under_one_layer, write_test_atm_table

from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.locations import normalize_location
from cal_pipeline.simulate import preset, simulate

from .children import run_child

CHANNEL_WIDTH = 2e6
"""Width of the channels of the simulated sessions [Hz]."""

PRESSURES = (48000.0, 51500.0, 55000.0)
"""Pressures of the atmosphere table: about those of the site, as a table for a telescope has [Pa]."""

_VARYING = ("provenance", "qa")
"""Attributes of a scan that hold times, places and what earlier scans have to do with its quality."""


@dataclass(frozen=True)
class Bench:
    """A session, the atmosphere table for it, and its reference product.

    Parameters
    ----------
    folder : Path
        Where they are.
    scans : tuple of int
        The scans of the session.
    """

    folder: Path
    scans: tuple[int, ...]

    @property
    def session(self) -> Path:
        """The session."""
        return self.folder / "session.zarr"

    @property
    def reference(self) -> Path:
        """Its product after a run without any fault."""
        return self.folder / "reference.zarr"

    @property
    def table(self) -> Path:
        """The atmosphere table."""
        return self.folder / "atm.asdf"

    def options(self, session: Path | None, output: Path, *others: str) -> list[str]:
        """Return the arguments of ``calibrate`` for a run."""
        source = [str(session or self.session), "-o", str(output), "--atm-table", str(self.table)]
        return [*source, "--foeff", "0.95", "--threads", "1", "-q", *others]

    def calibrate(self, session: Path | None, output: Path, *others: str) -> int:
        """Calibrate in this process; returns the exit status."""
        return main(self.options(session, output, *others))


def make_bench(folder: Path, channels: int, pixels: int, scans: int) -> Bench:
    """Simulate a session and calibrate it, both in children; then once here, to be warm."""
    bench = Bench(folder, tuple(range(1, scans + 1)))
    write_test_atm_table(bench.table, pressures=PRESSURES)

    def prepare() -> int:
        config = preset("ccat_chai", channels=channels, pixels=pixels, mode="otf", table=str(bench.table), scans=scans)
        # Narrow channels resolve the line, which is then well above the noise.
        receiver = replace(config.receivers[0], bandwidth=CHANNEL_WIDTH * channels)
        simulate(replace(under_one_layer(config), receivers=(receiver,)), bench.session)
        return 0

    ended = run_child(prepare, timeout=900.0)
    assert ended.status == 0, ended.output
    ended = run_child(bench.calibrate, None, bench.reference, timeout=900.0)
    assert ended.status == 0, ended.output
    return bench


def read_state(output: Path) -> str:
    """Read the state in the run record; empty if there is no record, ``"?"`` if it cannot be read."""
    try:
        return str(json.loads((output / "run.json").read_text())["state"])
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, KeyError, TypeError):
        return "?"


def read_failures(output: Path) -> list[dict[str, Any]]:
    """Read the failures of a product; none if there is no such file."""
    try:
        found = json.loads((output / "failures.json").read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []


def listed_scans(output: Path) -> list[int]:
    """List the scans that a reader of the product would find."""
    names = os.listdir(output) if output.is_dir() else []
    return sorted(
        int(name[5:])
        for name in names
        if name.startswith("scan_") and name[5:].isdecimal() and (output / name / "zarr.json").exists()
    )


def _files(folder: Path) -> Iterator[str]:
    for root, _, files in os.walk(folder):
        inner = os.path.relpath(root, folder)
        yield from (os.path.normpath(os.path.join(inner, file)) for file in files)


def differing_arrays(output: Path, reference: Path, number: int) -> list[str]:
    """List arrays of a scan, and files beside them, whose bytes differ from those of the reference."""
    name = f"scan_{number:06d}"
    found, expected = output / name, reference / name
    differing = set()
    for key in {*_files(found), *_files(expected)}:
        array = key.rpartition("/")[0]
        try:
            same = (found / key).read_bytes() == (expected / key).read_bytes()
        except OSError:
            same = False
        if not same and not (key == "zarr.json" and _same_attributes(found / key, expected / key)):
            differing.add(array or key)
    return sorted(differing)


def _same_attributes(first: Path, second: Path) -> bool:
    documents = []
    for path in (first, second):
        try:
            document = json.loads(path.read_text())
            attributes = document["attributes"]
        except (OSError, ValueError, KeyError):
            return False
        document["attributes"] = {key: value for key, value in attributes.items() if key not in _VARYING}
        documents.append(document)
    return documents[0] == documents[1]


OF_LATER_LOADS = frozenset({"scale_error", "scale_error_terms", "zarr.json"})
"""What differs where the loads after a scan cannot be read: the error of its scale, in arrays and attributes."""


def wrong_scans(
    output: Path, reference: Path, numbers: Iterable[int], leave_out: frozenset[str] = frozenset()
) -> list[int]:
    """List the scans that are not, bit by bit, those of the reference, but for some arrays."""
    return [number for number in numbers if set(differing_arrays(output, reference, number)) - leave_out]


def read_array(store: Path, path: str) -> np.ndarray[Any, Any]:
    """Read an array of a product."""
    return open_reader(LocalStorePath(Path(normalize_location(store))), path).read()


def read_attributes(output: Path, number: int) -> dict[str, Any]:
    """Read the attributes of a scan of a product."""
    text = (output / f"scan_{number:06d}" / "zarr.json").read_text()
    attributes: dict[str, Any] = json.loads(text)["attributes"]
    return attributes
