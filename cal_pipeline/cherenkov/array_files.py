"""Files of array events (DL2 of ctapipe): layout of the telescopes, reconstructed energies, impact distances."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.array import Events, Layout, number_events
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import has_table, list_tables, read_table
from cal_pipeline.cherenkov.physics.energy_asymmetry import match_events
from cal_pipeline.cherenkov.quality_criteria import Criterion, parse_criteria, select_rows

LAYOUT = "/configuration/instrument/subarray/layout"
TELESCOPE_EVENTS = "/dl2/event/telescope"

KEYS = ("obs_id", "event_id")
"""Columns that name an event."""

CLASSIFICATIONS = ("particle_type", "classification")
"""Groups of the classification of particles, of present and of older files."""


@dataclass(frozen=True)
class Reconstruction:
    """Reconstructed quantities to use.

    Attributes
    ----------
    energy, gammaness, geometry : str
        Names of the reconstructors.
    """

    energy: str
    gammaness: str
    geometry: str

    @property
    def energy_column(self) -> str:
        """Name of the column of energies."""
        return f"{self.energy}_tel_energy"

    @property
    def distance_column(self) -> str:
        """Name of the column of impact distances."""
        return f"{self.geometry}_tel_impact_distance"

    def make_criteria(self, energy_min: float, gammaness_min: float) -> list[Criterion]:
        """Make the criteria of the plain cuts.

        Parameters
        ----------
        energy_min : float
            Energies above it are kept, in TeV.
        gammaness_min : float
            Events with a larger one are kept.
        """
        return [
            *parse_criteria([f"{self.energy_column} > {energy_min!r} * u.TeV"]),
            *parse_criteria([f"{self.gammaness}_tel_prediction > {gammaness_min!r}"]),
            *parse_criteria([f"{self.energy}_tel_is_valid"]),
        ]


def find_files(folder: Path, noun: str, apart_from: Path | None = None) -> list[Path]:
    """Find the HDF5 files of a folder; a file stands for itself.

    Parameters
    ----------
    folder : Path
        Folder, or one file.
    noun : str
        Name of their content, for messages.
    apart_from : Path, optional
        File to leave out.

    Raises
    ------
    MissingInputError
        If there are none.
    """
    found = [folder] if folder.is_file() else sorted([*folder.glob("*.h5"), *folder.glob("*.hdf5")])
    files = [path for path in found if apart_from is None or path.resolve() != apart_from.resolve()]
    if not files:
        raise MissingInputError(f"{folder} has no {noun}; expected files *.h5")
    return files


def read_layout(paths: Sequence[Path]) -> Layout:
    """Read the telescopes of an array, which must be those of all files.

    Parameters
    ----------
    paths : sequence of Path
        HDF5 files.

    Raises
    ------
    CorruptedInputError
        If a table lacks a column, or the files have different telescopes.
    """
    first, *others = [_read_one_layout(path) for path in paths]
    for path, layout in zip(paths[1:], others, strict=True):
        if not first.equals(layout):
            raise CorruptedInputError(f"{path} table {LAYOUT}: other telescopes than {paths[0]}; expected one array")
    return first


def _read_one_layout(path: Path) -> Layout:
    table = read_table(path, LAYOUT)
    where = f"{path} table {LAYOUT}"
    require_columns(table, ("tel_id", "type", "pos_x", "pos_y", "pos_z"), where)
    order = np.argsort(np.asarray(table["tel_id"]))
    tel_id = np.asarray(table["tel_id"], dtype=np.int64)[order]
    if len(np.unique(tel_id)) != len(tel_id):
        raise CorruptedInputError(f"{where}: a telescope is there twice; expected each once")
    types = np.array([value.decode() if isinstance(value, bytes) else str(value) for value in table["type"][order]])
    position = np.column_stack([take_values(table, f"pos_{axis}", "m", where)[order] for axis in "xyz"])
    return Layout(tel_id, types, position)


def read_events(
    paths: Iterable[Path],
    layout: Layout,
    reconstruction: Reconstruction,
    criteria: Sequence[Criterion],
    with_distance: bool,
) -> Events:
    """Read the events of all telescopes that fulfil the criteria.

    Parameters
    ----------
    paths : iterable of Path
        HDF5 files.
    layout : Layout
        Telescopes.
    reconstruction : Reconstruction
        Quantities to read.
    criteria : sequence of Criterion
        Cuts. Energies must be positive in any case.
    with_distance : bool
        Read impact distances.

    Returns
    -------
    Events

    Raises
    ------
    MissingInputError
        If a file has no energies of that reconstructor, or another table is not there.
    CorruptedInputError
        If a table lacks a column, or has an event twice.
    """
    parts: list[tuple[int, Table]] = []
    for path in paths:
        group = f"{TELESCOPE_EVENTS}/energy/{reconstruction.energy}"
        tables = list_tables(path, group)
        if not tables:
            raise MissingInputError(f"{path} has no table in {group}; expected tel_001, …")
        for index, tel_id in enumerate(layout.tel_id.tolist()):
            if f"tel_{tel_id:03d}" in tables:
                source = _TelescopeSource(path, f"tel_{tel_id:03d}", reconstruction)
                parts.append((index, source.read(criteria, with_distance)))
    joined = {name: np.concatenate([part[name] for _, part in parts]) for name in _PLAIN} if parts else _EMPTY
    telescope = np.repeat(np.array([index for index, _ in parts], np.int64), [len(part) for _, part in parts])
    event = number_events(joined["obs_id"], joined["event_id"])
    _refuse_repeated(event, telescope, "the files", layout)
    return Events(
        joined["obs_id"],
        joined["event_id"],
        event,
        telescope,
        joined["energy"],
        joined["uncertainty"],
        joined["distance"],
    )


_PLAIN = ("obs_id", "event_id", "energy", "uncertainty", "distance")
_EMPTY: dict[str, NDArray[Any]] = {name: np.zeros(0, np.int64 if name in KEYS else float) for name in _PLAIN}


@dataclass(frozen=True)
class _TelescopeSource:
    """Tables of one telescope in a file."""

    path: Path
    name: str
    reconstruction: Reconstruction

    def read(self, criteria: Sequence[Criterion], with_distance: bool) -> Table:
        """Read the events that fulfil the criteria."""
        names = self.reconstruction
        node = f"{TELESCOPE_EVENTS}/energy/{names.energy}/{self.name}"
        energies, where = read_table(self.path, node), f"{self.path} table {node}"
        require_columns(energies, (*KEYS, names.energy_column, f"{names.energy_column}_uncert"), where)
        table = energies.copy(copy_data=False)
        columns = {criterion.column for criterion in criteria}
        if any(name.startswith(f"{names.gammaness}_tel_") for name in columns - set(table.colnames)):
            self._join(table, self._find_classification())
        if with_distance or any(name.startswith(f"{names.geometry}_tel_") for name in columns):
            self._join(table, f"{TELESCOPE_EVENTS}/impact/{names.geometry}/{self.name}")
        energy = take_values(table, names.energy_column, "TeV", where)
        kept = select_rows(table, criteria, where) & np.isfinite(energy) & (energy > 0)
        distance = np.full(len(table), np.nan)
        if with_distance:
            require_columns(table, (names.distance_column,), where)
            distance = take_values(table, names.distance_column, "m", where)
        plain = {
            **{key: np.asarray(table[key]).astype(np.int64) for key in KEYS},
            "energy": energy,
            "uncertainty": take_values(table, f"{names.energy_column}_uncert", "TeV", where),
            "distance": distance,
        }
        return Table(plain)[kept]

    def _find_classification(self) -> str:
        nodes = [f"{TELESCOPE_EVENTS}/{group}/{self.reconstruction.gammaness}/{self.name}" for group in CLASSIFICATIONS]
        return next((node for node in nodes if has_table(self.path, node)), nodes[0])

    def _join(self, table: Table, node: str) -> None:
        """Add the columns of another table of the telescope; an event that lacks there gets NaN, and False."""
        other, where = read_table(self.path, node), f"{self.path} table {node}"
        require_columns(other, KEYS, where)
        keys = [np.concatenate([np.asarray(part[key]).astype(np.int64) for part in (table, other)]) for key in KEYS]
        here, there = np.split(number_events(*keys), [len(table)])
        order, own_order = np.argsort(there), np.argsort(here)
        for numbers, label in ((here[own_order], f"{self.path} {self.name}"), (there[order], where)):
            if np.any(np.diff(numbers) == 0):
                raise CorruptedInputError(f"{label}: an event is there twice; expected each once")
        rows, places = match_events(here[own_order], there[order])
        for name in set(other.colnames) - set(table.colnames):
            values = np.asarray(other[name])
            missing = np.nan if values.dtype.kind in "iuf" else values.dtype.type()
            kind = np.result_type(values.dtype, float) if values.dtype.kind in "iuf" else values.dtype
            joined = np.full((len(table), *values.shape[1:]), missing, dtype=kind)
            joined[own_order[rows]] = values[order[places]]
            table[name] = joined
            table[name].unit = other[name].unit


def require_columns(table: Table, names: Iterable[str], where: str) -> None:
    """Require columns of a table.

    Raises
    ------
    CorruptedInputError
        If one is missing; the message names those that are there.
    """
    missing = [name for name in names if name not in table.colnames]
    if missing:
        raise CorruptedInputError(f"{where}: no column {', '.join(missing)}; it has {', '.join(table.colnames)}")


def take_values(table: Table, name: str, unit: str, where: str) -> NDArray[np.float64]:
    """Take a column as numbers in a unit; a column without one is in that unit.

    Raises
    ------
    CorruptedInputError
        If the column has no numbers or another kind of unit.
    """
    column = table[name]
    try:
        values = np.asarray(column, dtype=float)
        return np.asarray(values * (u.Unit(column.unit).to(u.Unit(unit)) if column.unit else 1.0))
    except (ValueError, TypeError, u.UnitConversionError) as error:
        raise CorruptedInputError(f"{where}: column {name} is no number in {unit}; found unit {column.unit}") from error


def _refuse_repeated(event: NDArray[np.int64], telescope: NDArray[np.int64], where: str, layout: Layout) -> None:
    code = np.sort(telescope * (int(event.max(initial=0)) + 1) + event)
    repeated = np.flatnonzero(np.diff(code) == 0)
    if len(repeated):
        tel_id = layout.tel_id[code[repeated[0]] // (int(event.max(initial=0)) + 1)]
        raise CorruptedInputError(f"{where}: telescope {tel_id} has an event twice; expected each once")
