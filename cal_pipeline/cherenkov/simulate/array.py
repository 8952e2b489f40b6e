"""Simulated events of an array of Cherenkov telescopes with known throughputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.array import Events, Layout, number_events

Floats = NDArray[np.float64]

REGRESSOR, CLASSIFIER, GEOMETRY = "RandomForestRegressor", "RandomForestClassifier", "HillasReconstructor"
"""Names of the reconstructors."""


@dataclass(frozen=True)
class TelescopeKind:
    """Telescopes of one type.

    Attributes
    ----------
    radius : float
        Radius in metres of the ring on which they stand.
    reach : float
        Largest impact distance in metres at which they see a shower.
    scale : float
        Energy that they reconstruct over the true one, for a throughput of 1.
    resolution : float
        Standard deviation of the logarithm of the energy of one telescope.
    throughputs : tuple of float
        Throughput of each telescope.
    """

    radius: float
    reach: float
    scale: float
    resolution: float
    throughputs: tuple[float, ...]


@dataclass(frozen=True)
class ArrayConfig:
    """Array and showers.

    Attributes
    ----------
    kinds : mapping of str to TelescopeKind
        Telescopes by type; they are numbered through, from 1.
    n_events : int
        Number of showers.
    energy_min, energy_max : float
        Range of the energies in TeV; their logarithms are uniform.
    field_radius : float
        Radius in metres of the area of the shower cores.
    shower_spread : float
        Standard deviation of the logarithm of the energy, common to all telescopes of a shower.
    type_spread : float
        Standard deviation of the logarithm of the energy, common to the telescopes of one type.
    missing : float
        Probability that a telescope within reach does not see a shower.
    invalid : float
        Probability that an energy is not reconstructed.
    obs_id : int
        Observation.
    """

    kinds: Mapping[str, TelescopeKind] = field(
        default_factory=lambda: {
            "LST": TelescopeKind(60.0, 200.0, 0.94, 0.10, (1.0, 0.93, 1.05)),
            "MST": TelescopeKind(90.0, 200.0, 1.00, 0.12, (1.0, 1.08, 0.95, 1.02)),
            "SST": TelescopeKind(120.0, 300.0, 1.09, 0.15, (1.0, 0.9, 1.06)),
        }
    )
    n_events: int = 4000
    energy_min: float = 0.3
    energy_max: float = 30.0
    field_radius: float = 150.0
    shower_spread: float = 0.1
    type_spread: float = 0.05
    missing: float = 0.1
    invalid: float = 0.02
    obs_id: int = 1

    def place(self) -> Layout:
        """Return the telescopes with their numbers and places."""
        types, positions = [], []
        for name, kind in self.kinds.items():
            angle = 2 * np.pi * np.arange(len(kind.throughputs)) / len(kind.throughputs) + kind.radius
            height = 2.0 * np.arange(len(kind.throughputs))
            positions.append(np.column_stack([kind.radius * np.cos(angle), kind.radius * np.sin(angle), height]))
            types += [name] * len(kind.throughputs)
        return Layout(np.arange(1, len(types) + 1), np.array(types), np.concatenate(positions))

    @property
    def throughputs(self) -> Floats:
        """Throughputs of all telescopes, in order of their numbers."""
        return np.array([value for kind in self.kinds.values() for value in kind.throughputs])

    def find_factor(self, target: str, reference: str) -> float:
        """Find the true cross factor of a type, with coefficients relative to the first telescope of each type.

        Parameters
        ----------
        target, reference : str
            Types.
        """
        scales = [self.kinds[name].scale * self.kinds[name].throughputs[0] for name in (target, reference)]
        return scales[0] / scales[1]


def simulate_events(config: ArrayConfig, seed: int) -> Table:
    """Simulate the events of all telescopes.

    Parameters
    ----------
    config : ArrayConfig
        Array and showers.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    Table
        A row for each event of each telescope: obs_id, event_id, tel_id, energy and uncertainty in TeV, is_valid,
        gammaness, distance in metres, true_energy in TeV.

    Examples
    --------
    >>> events = simulate_events(ArrayConfig(n_events=100), seed=1)
    >>> bool((events["true_energy"] > 0.3).all())
    True
    """
    rng = np.random.default_rng(seed)
    layout = config.place()
    kinds = [config.kinds[name] for name in layout.tel_type]
    shape = (config.n_events, len(kinds))
    true = np.exp(rng.uniform(np.log(config.energy_min), np.log(config.energy_max), config.n_events))
    angle = rng.uniform(0, 2 * np.pi, config.n_events)
    radius = config.field_radius * np.sqrt(rng.uniform(size=config.n_events))
    core = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    distance = np.linalg.norm(core[:, None] - layout.position[:, :2], axis=2)
    resolution = np.array([kind.resolution for kind in kinds])
    log_energy = np.log(true)[:, None] + np.log(config.throughputs * np.array([kind.scale for kind in kinds]))
    log_energy = log_energy + config.shower_spread * rng.standard_normal((config.n_events, 1))
    of_types = config.type_spread * rng.standard_normal((config.n_events, len(config.kinds)))
    log_energy += of_types[:, np.unique(layout.tel_type, return_inverse=True)[1]]
    log_energy += resolution * rng.standard_normal(shape)
    valid = rng.uniform(size=shape) > config.invalid
    gammaness = rng.beta(8, 2, shape)
    seen = (distance < [kind.reach for kind in kinds]) & (rng.uniform(size=shape) > config.missing)
    event, telescope = np.nonzero(seen)
    energy = np.where(valid, np.exp(log_energy), np.nan)[seen]
    return Table(
        {
            "obs_id": np.full(len(event), config.obs_id),
            "event_id": event + 1,
            "tel_id": layout.tel_id[telescope],
            "energy": energy,
            "uncertainty": energy * resolution[telescope],
            "is_valid": valid[seen],
            "gammaness": gammaness[seen],
            "distance": distance[seen],
            "true_energy": true[event],
        }
    )


def select_events(table: Table, layout: Layout, gammaness_min: float = 0.5) -> Events:
    """Select simulated events as the cuts of the calibration do.

    Parameters
    ----------
    table : Table
        From :func:`simulate_events`.
    layout : Layout
        Telescopes.
    gammaness_min : float
        Lower limit.
    """
    kept = table[table["is_valid"] & (table["gammaness"] > gammaness_min)]
    obs_id, event_id = np.asarray(kept["obs_id"]), np.asarray(kept["event_id"])
    return Events(
        obs_id,
        event_id,
        number_events(obs_id, event_id),
        np.searchsorted(layout.tel_id, kept["tel_id"]).astype(np.int64),
        *(np.asarray(kept[name], dtype=float) for name in ("energy", "uncertainty", "distance")),
    )


def make_tables(config: ArrayConfig, events: Table) -> dict[str, Table]:
    """Make the tables of a file of events, in the layout of ctapipe.

    Parameters
    ----------
    config : ArrayConfig
        Array and showers.
    events : Table
        From :func:`simulate_events`.

    Returns
    -------
    dict of str to Table
        Tables by node, the truth among them (``/simulation/array_truth``).
    """
    layout = config.place()
    units = {f"pos_{axis}": "m" for axis in "xyz"}
    places = dict(zip(units, layout.position.T, strict=True))
    columns = {"tel_id": layout.tel_id.astype(np.int16), "type": np.char.encode(layout.tel_type), **places}
    scale = np.array([config.kinds[name].scale for name in layout.tel_type])
    truth = {"tel_id": layout.tel_id, "throughput": config.throughputs, "scale": scale}
    tables = {
        "/configuration/instrument/subarray/layout": Table(columns, units=units),
        "/simulation/array_truth": Table(truth),
    }
    for tel_id in layout.tel_id.tolist():
        tables |= _make_telescope_tables(events[events["tel_id"] == tel_id], f"tel_{tel_id:03d}")
    return tables


def _make_telescope_tables(events: Table, name: str) -> dict[str, Table]:
    keys = {key: events[key] for key in ("obs_id", "event_id", "tel_id")}
    energy = {
        f"{REGRESSOR}_tel_energy": events["energy"],
        f"{REGRESSOR}_tel_energy_uncert": events["uncertainty"],
        f"{REGRESSOR}_tel_is_valid": events["is_valid"],
    }
    units = {f"{REGRESSOR}_tel_energy": "TeV", f"{REGRESSOR}_tel_energy_uncert": "TeV"}
    impact = f"{GEOMETRY}_tel_impact_distance"
    group = "/dl2/event/telescope"
    return {
        f"{group}/energy/{REGRESSOR}/{name}": Table(keys | energy, units=units),
        f"{group}/particle_type/{CLASSIFIER}/{name}": Table(
            keys | {f"{CLASSIFIER}_tel_prediction": events["gammaness"]}
        ),
        f"{group}/impact/{GEOMETRY}/{name}": Table(keys | {impact: events["distance"]}, units={impact: "m"}),
    }


def simulate_array(path: str | Path, config: ArrayConfig, seed: int, overwrite: bool = False) -> Path:
    """Simulate the events of an array and write them to a file, as ctapipe would.

    Parameters
    ----------
    path : str or Path
        HDF5 file.
    config : ArrayConfig
        Array and showers.
    seed : int
        Seed of the random numbers.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The file.
    """
    from cal_pipeline.cherenkov.hdf5 import write_tables

    path = Path(path)
    provenance = {"seed": seed, "n_events": config.n_events, "obs_id": config.obs_id}
    write_tables(
        path, make_tables(config, simulate_events(config, seed)), "cal-simulate", provenance, overwrite, fresh=True
    )
    return path
