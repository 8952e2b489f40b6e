"""Many scans under known skies, written and read without the cost of a store for each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from helpers_l0 import write_array
from numpy.typing import NDArray

from cal_pipeline import CalibrationPipeline
from cal_pipeline.heterodyne.physics.scale_error import TERMS
from cal_pipeline.heterodyne.simulate.atmosphere import AtmosphereTable, shipped_table
from cal_pipeline.heterodyne.simulate.forward import BandModel, to_integers
from cal_pipeline.heterodyne.simulate.layers import AirColumn
from cal_pipeline.heterodyne.simulate.layout import coordinates, scan_attributes
from cal_pipeline.heterodyne.simulate.plan import ScanPlan, plan_session
from cal_pipeline.heterodyne.simulate.truth import Truth, true_values
from cal_pipeline.simulate import Line, Scan, SessionConfig, TotalPower, preset

FREQUENCY = {"ccat_chai": 461.0, "ccat_chai_810": 809.3}
"""Signal frequency of the presets [GHz]."""


def quiet(name: str, scans: tuple[Scan, ...] = (Scan(),), **changes: Any) -> SessionConfig:
    """A session without noise whose source is 10 K at all frequencies of the signal sideband."""
    settings: dict[str, Any] = {
        "channels": 64,
        "pixels": 1,
        "noise": False,
        "dtype": "float64",
        "lines": (Line(10.0, sidebands="signal"),),
        "sequence": TotalPower(pattern=("OFF", "ON", "OFF"), dumps=1),
        "scans": scans,
    }
    return preset(name, **settings | changes)


def write_session(config: SessionConfig, path: Path) -> list[Truth]:
    """Write a session of one band as `simulate` does, array by array without the Zarr library; return the truths.

    A store of the library takes 0.2 s a scan, most of it in the creation of seventy small arrays.
    """
    table = AtmosphereTable.read(config.atmosphere.table or shipped_table(config.telescope.table))
    _write_group(path, {})
    truths = []
    for plan in plan_session(config):
        layers = plan.atmosphere.layers
        model = BandModel(config, plan, 0, layers if isinstance(layers, AirColumn) else table)
        model.check()
        _write_scan(config, plan, model, path / plan.name)
        truths.append(true_values(model))
    return truths


def _write_scan(config: SessionConfig, plan: ScanPlan, model: BandModel, path: Path) -> None:
    _write_group(path, scan_attributes(config, plan))
    for name, subscans in plan.groups().items():
        _write_group(path / name, {})
        group = zarr.open_group(path / name, mode="r")
        for key, (_, values) in coordinates(config, plan, model.receiver, name, subscans).items():
            write_array(group, key, values.tolist() if values.dtype == object else values)
        counts = [model.counts(name, index, 0, model.receiver.channels) for index in range(len(subscans))]
        stacked = np.stack(counts, axis=-1)
        write_array(group, "data_5d", to_integers(stacked, plan.name) if config.dtype == "int32" else stacked)


def _write_group(path: Path, attributes: dict[str, Any]) -> None:
    path.mkdir()
    metadata = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    (path / "zarr.json").write_text(json.dumps(metadata))


@dataclass(frozen=True)
class Outcome:
    """Results of the calibration of a scan.

    Parameters
    ----------
    truth : Truth
        Of the scan.
    error : ndarray, shape (C,)
        Relative error of T_A*.
    quoted : ndarray, shape (C,)
        `scale_error`.
    terms : dict
        Its terms.
    transmission : float
        Median of the true one in the signal sideband.
    pwv, pwv_err : float
        [mm].
    attributes : dict
        Of the band.
    """

    truth: Truth
    error: NDArray[np.float64]
    quoted: NDArray[np.float64]
    terms: dict[str, float]
    transmission: float
    pwv: float
    pwv_err: float
    attributes: dict[str, Any]


def calibrate_session(config: SessionConfig, folder: Path, **settings: Any) -> list[Outcome]:
    """Calibrate the scans of a noise-free session; `settings` are those of the steps."""
    truths = write_session(config, folder / "session.zarr")
    steps = {"loads": {"forward_efficiency": 0.95} | settings.pop("loads", {})} | settings
    product = CalibrationPipeline.call(
        str(folder / "session.zarr"),
        output_file=str(folder / "l1.zarr"),
        configure_log=False,
        steps=steps,
    )
    return [_outcome(zarr.open_group(product.path, mode="r"), truth) for truth in truths]


def _outcome(product: zarr.Group, truth: Truth) -> Outcome:
    scan = product[f"scan_{truth.scan_number:06d}"]
    good = ~truth.dead[:, 0, 0]
    ratio = np.asarray(scan["spectra"][...], np.float64) / truth.t_a_star()
    error = np.median(ratio.reshape(len(ratio), -1), axis=1) - 1.0
    quoted, terms = np.asarray(scan["scale_error"][...], np.float64), scan["scale_error_terms"]
    return Outcome(
        truth,
        error[good],
        quoted.reshape(len(error), -1)[good, 0],
        dict(zip(TERMS, terms[...].reshape(len(TERMS), -1)[:, 0].tolist(), strict=True)),
        float(np.median(truth.transmission()[0])),
        float(np.median(scan["pwv"][...])),
        float(np.median(scan["pwv_err"][...])),
        dict(scan.attrs),
    )
