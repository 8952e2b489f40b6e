"""Files of Cherenkov nights for a report: products by what they hold, with their provenance, and what is wrong."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.camera import COEFFICIENTS
from cal_pipeline.cherenkov.hdf5 import PROVENANCE as ATTRIBUTE
from cal_pipeline.cherenkov.hdf5 import has_table, list_telescopes, read_attributes, read_table
from cal_pipeline.cherenkov.muons import THROUGHPUT
from cal_pipeline.cherenkov.products import PROVENANCE, read_ecsv
from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.records import as_mapping

Floats = NDArray[np.float64]

DEPTH = 2
"""Levels of folders below that of a night in which products are looked for."""

HDF5_SUFFIXES = (".h5", ".hdf5")

TOOLS = "calibpipe-"
"""Beginning of the names of the tools."""

CLEAR = "/dl1/monitoring/aerosol_calibration"
ASYMMETRIES = ("/energy_asymmetry/events", "/image_asymmetry/events")
INTER = "/dl2/monitoring/subarray/inter_calibration"
FACTORS = "/dl2/monitoring/subarray/cross_calibration/scaling_factors"
SCALED = "/dl2/monitoring/subarray/cross_calibration/coefficients"

_ECSV_KINDS = {
    "calibpipe-create-molecular-density-profile": (("number density", "density"),),
    "calibpipe-select-reference-atmospheric-model": (
        ("atmospheric_density", "reference_profile"),
        ("altitude_max", "reference_extinction"),
    ),
    "calibpipe-create-molecular-atmospheric-model": (
        ("atmospheric_density", "profile"),
        ("altitude_max", "extinction"),
    ),
    "calibpipe-calculate-macobac": (("co2_concentration", "co2"),),
    "calibpipe-lidar-inversion": (("backscatter", "lidar"),),
}
"""Kinds of tables by the tool that makes them and a column that they have."""


@dataclass(frozen=True)
class NightFile:
    """File of a night.

    Parameters
    ----------
    path : Path
        The file.
    kinds : tuple of str
        What it holds, such as ``"profile"``; empty if it is no product.
    records : tuple of mapping
        Provenance of each tool that wrote to it.
    table : Table or None
        The table of an ECSV file.
    nodes : mapping
        Paths of the tables of an HDF5 file by kind: by telescope for cameras and muons.
    problem : str
        Why it could not be read; empty if it could.
    """

    path: Path
    kinds: tuple[str, ...] = ()
    records: tuple[Mapping[str, Any], ...] = ()
    table: Table | None = None
    nodes: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""

    def read(self, node: str) -> Table:
        """Read a table of an HDF5 file."""
        return read_table(self.path, node)


@dataclass(frozen=True)
class Night:
    """Files of a night.

    Parameters
    ----------
    name : str
        Name of its folder.
    files : tuple of NightFile
        Products, and files that could not be read.
    left_out : tuple of str
        Names of other files of the formats, such as inputs of the tools.
    """

    name: str
    files: tuple[NightFile, ...]
    left_out: tuple[str, ...] = ()

    def find(self, kind: str) -> NightFile | None:
        """Return the first file of a kind, by name; None if there is none."""
        return next((file for file in self.files if kind in file.kinds), None)

    def find_all(self, kind: str) -> list[NightFile]:
        """Return all files of a kind."""
        return [file for file in self.files if kind in file.kinds]


def is_of_cherenkov(location: str) -> bool:
    """Tell whether a path is a folder or file of such products.

    Examples
    --------
    >>> is_of_cherenkov("night/stars.ecsv"), is_of_cherenkov("session.zarr")
    (True, False)
    """
    path = Path(location)
    if path.is_dir():
        if (path / "zarr.json").exists():
            return False
        return any(_is_product(found) for found in _list_files(path))
    return path.is_file() and path.suffix in (".ecsv", *HDF5_SUFFIXES)


def read_nights(locations: Sequence[str | Path]) -> list[Night]:
    """Read the products of nights.

    Parameters
    ----------
    locations : sequence of path
        Folders, each of a night, and files, which are one night together.

    Raises
    ------
    StoreError
        If a path is not there, or a folder has no product.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import ClearNightStep
    >>> table = ClearNightStep.call("night/stars.ecsv", output_path="first")
    >>> (night,) = read_nights(["first"])
    >>> night.find("clear").path.name
    'aerosol_clear_night.h5'
    """
    nights, single = [], []
    for path in map(Path, locations):
        if path.is_dir():
            nights.append(_read_folder(path))
        elif path.is_file():
            single.append(read_file(path))
        else:
            raise StoreError(f"{path} is not there; expected a folder of a night, or files *.ecsv and *.h5")
    return nights + ([Night("files", tuple(single))] if single else [])


def _read_folder(folder: Path) -> Night:
    found = _list_files(folder)
    products = [path for path in found if _is_product(path)]
    if not products:
        raise StoreError(
            f"{folder} has no product of Cherenkov tools: no *.ecsv or *.h5 with a provenance, down to {DEPTH} levels"
        )
    others = tuple(str(path.relative_to(folder)) for path in found if path not in set(products))
    return Night(folder.resolve().name, tuple(map(read_file, products)), others)


def _list_files(folder: Path) -> list[Path]:
    """List the files of both formats in a folder and those in it, links to folders left out."""
    found = []
    for place, folders, names in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = [] if depth >= DEPTH else sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if Path(name).suffix in (".ecsv", *HDF5_SUFFIXES)]
    return sorted(found)


def _is_product(path: Path) -> bool:
    """Tell whether a file in a folder is a product, or was one: what cannot be read has an entry that says so."""
    try:
        if path.suffix in HDF5_SUFFIXES:
            return _read_records(path) != () or _find_nodes(path) != {}
        with open(path, encoding="utf-8") as file:
            header = list(takewhile(lambda line: line.startswith("#"), file))
            is_empty = not header and not path.stat().st_size
    except Exception:
        return True
    return is_empty or _is_tool("".join(header))


def _is_tool(text: str) -> bool:
    """Tell whether a name, or the header of a file, is that of a tool; inputs are made by others."""
    return TOOLS in text


def read_file(path: Path) -> NightFile:
    """Read a file; one that cannot be read has the reason.

    Parameters
    ----------
    path : Path
        The file.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import ClearNightStep
    >>> table = ClearNightStep.call("night/stars.ecsv", output_path="second")
    >>> file = read_file(Path("second/aerosol_clear_night.h5"))
    >>> file.kinds, file.records[0]["tool"]
    (('clear',), 'calibpipe-clear-night-assessment')
    >>> read_file(Path("night/truth.ecsv")).problem
    'no product of this package: it has no provenance of a tool'
    """
    try:
        file = _read_tables(path) if path.suffix in HDF5_SUFFIXES else _read_ecsv(path)
    except Exception as error:
        # Whatever is wrong with a file, the others are shown.
        return NightFile(path, problem=str(error) or repr(error))
    if not file.kinds:
        reason = "no kind of product that is known" if file.records else "it has no provenance of a tool"
        return NightFile(path, records=file.records, problem=f"no product of this package: {reason}")
    return file


def _read_ecsv(path: Path) -> NightFile:
    table = read_ecsv(path, "product")
    record = as_mapping(table.meta.get(PROVENANCE))
    columns = _ECSV_KINDS.get(str(record.get("tool")), ())
    kinds = tuple(kind for column, kind in columns if column in table.colnames)
    is_made = _is_tool(str(record.get("tool")))
    return NightFile(path, kinds, (record,) if is_made else (), table)


def _read_tables(path: Path) -> NightFile:
    nodes = _find_nodes(path)
    return NightFile(path, tuple(nodes), _read_records(path), nodes=nodes)


def _find_nodes(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {
        "cameras": list_telescopes(path, COEFFICIENTS),
        "muons": list_telescopes(path, THROUGHPUT),
        "clear": CLEAR if has_table(path, CLEAR) else "",
        "asymmetries": [node for node in ASYMMETRIES if has_table(path, node)],
        "throughputs": INTER if has_table(path, INTER) else "",
        "factors": FACTORS if has_table(path, FACTORS) else "",
        "scaled": SCALED if has_table(path, SCALED) else "",
    }
    return {kind: nodes for kind, nodes in found.items() if nodes}


def _read_records(path: Path) -> tuple[Mapping[str, Any], ...]:
    """Read the provenance of the tools that wrote to an HDF5 file; of simulations there is none."""
    records = []
    for name, text in sorted(read_attributes(path).items()):
        if name.startswith(ATTRIBUTE) and isinstance(text, str) and "_inputs_" not in name:
            try:
                record = json.loads(text)
            except ValueError:
                record = {"tool": name.removeprefix(ATTRIBUTE), "warnings": ["the provenance cannot be read"]}
            if _is_tool(str(as_mapping(record).get("tool"))):
                records.append(record)
    return tuple(records)


def take_column(table: Table, name: str, unit: str = "") -> Floats:
    """Return a column as numbers in a unit; NaN where there is none.

    Parameters
    ----------
    table : Table
        The table.
    name : str
        Name of the column.
    unit : str
        Unit; a column without one counts as in it.

    Raises
    ------
    StoreError
        If the column is missing, or holds no numbers of that kind.

    Examples
    --------
    >>> from astropy import units
    >>> take_column(Table({"altitude": [1.0, 2.0] * units.km}), "altitude", "m")
    array([1000., 2000.])
    """
    if name not in table.colnames:
        raise StoreError(f"column {name} is missing; the table has {', '.join(map(str, table.colnames[:12]))}")
    column = table[name]
    try:
        given = getattr(column, "unit", None)
        values = column.quantity.to_value(unit) if unit and given is not None else column
        return np.ma.filled(np.ma.masked_invalid(np.ma.asarray(values, dtype=np.float64)), np.nan)
    except (TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"column {name} cannot be read in {unit or 'numbers'}: {error}") from error
