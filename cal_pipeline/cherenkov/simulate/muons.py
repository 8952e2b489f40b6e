"""Simulated parameters of muon rings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack

from cal_pipeline.cherenkov.hdf5 import write_tables
from cal_pipeline.cherenkov.muons import MUONS, TRIGGER

START_SECONDS = 1_688_947_200
"""Time of the first ring: TAI seconds from 1970-01-01 to 2023-07-10."""


def simulate_muons(
    path: str | Path, throughputs: Mapping[int, float], n_rings: int = 1000, spread: float = 0.015, seed: int = 1
) -> Path:
    """Simulate a file of muon rings.

    Telescopes have the same numbers of events, at different times, and the rows are in no order. Some rings are far
    away, at the limit of the fit, or not valid; their throughputs are wrong.

    Parameters
    ----------
    path : str or Path
        HDF5 file to write.
    throughputs : mapping of int to float
        Mean throughput by telescope.
    n_rings : int
        Good rings of each telescope; a tenth as many bad ones are added.
    spread : float
        Standard deviation of the throughput of a ring.
    seed : int
        Seed.

    Returns
    -------
    Path
        The file.
    """
    path, tables, triggers = Path(path), {}, []
    for tel_id, throughput in throughputs.items():
        rng = np.random.default_rng([seed, tel_id])
        rings, trigger = _draw_rings(rng, tel_id, throughput, n_rings, spread)
        tables[f"{MUONS}/tel_{tel_id:03d}"] = rings
        triggers.append(trigger)
    trigger = vstack(triggers)
    tables[TRIGGER] = trigger[np.random.default_rng([seed, 0]).permutation(len(trigger))]
    write_tables(path, tables, "simulation", {}, fresh=True, overwrite=True)
    return path


def _draw_rings(
    rng: np.random.Generator, tel_id: int, throughput: float, n_good: int, spread: float
) -> tuple[Table, Table]:
    n_bad = max(4, n_good // 10)
    n = n_good + n_bad
    kind = rng.permutation(np.concatenate([np.zeros(n_good, dtype=int), 1 + np.arange(n_bad) % 4]))
    efficiency = throughput + spread * rng.standard_normal(n)
    efficiency[kind > 0] *= 2
    efficiency[kind == 4] = np.nan
    keys = {
        "obs_id": np.full(n, 7, dtype=np.int32),
        "event_id": np.arange(n),
        "tel_id": np.full(n, tel_id, dtype=np.int16),
    }
    seconds = START_SECONDS + 1000 * tel_id + np.sort(rng.uniform(0, 3600, n))
    whole = seconds.astype(np.uint32)
    time = np.stack([whole, ((seconds - whole) * 4e9).astype(np.uint32)], axis=1)
    rings = Table(
        {
            **keys,
            "muonefficiency_impact": np.where(kind == 1, 12.0, rng.uniform(0, 10, n)),
            "muonefficiency_optical_efficiency": efficiency,
            "muonefficiency_is_valid": kind != 2,
            "muonefficiency_parameters_at_limit": kind == 3,
        },
        units={"muonefficiency_impact": "m"},
    )
    return rings[rng.permutation(n)], Table({**keys, "time": time})
