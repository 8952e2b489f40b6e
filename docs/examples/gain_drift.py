"""Errors of T_A* and PWV that a drift of the receiver leaves, without the step ``gain`` and at its levels 2 and 3."""

import dataclasses
import tempfile
from pathlib import Path

import numpy as np

from cal_pipeline import CalibrationPipeline
from cal_pipeline.simulate import Drift, Line, Otf, Scan, preset, read_truth, simulate

HOURS = 100.0 / 3600.0  # about the time between the loads before and after the scan
DRIFTS = {
    "gain +3 %": Drift(gain_per_hour=0.03 / HOURS),
    "T_rec +3 K": Drift(offset_per_hour=3.0 / HOURS),
    "both": Drift(gain_per_hour=0.03 / HOURS, offset_per_hour=3.0 / HOURS),
}
LEVELS = {"0": {"level": 0}, "2": {"level": 2}, "3": {"level": 3}}


def errors(folder: Path, drift: Drift, gain: dict[str, object]) -> tuple[float, float]:
    """Largest error of T_A* [K] and error of PWV [%]."""
    base = preset("ccat_chai")
    config = preset(
        "ccat_chai",
        channels=64,
        pixels=2,
        sequence=Otf(rows=3, dumps=4, rows_per_off=1, exptime=2.0),
        scans=(Scan(), Scan(calibration_only=True)),
        source=dataclasses.replace(base.source, elevation_deg=55.0),
        lines=(Line(20.0, fwhm_hz=0.4e9),),
        noise=False,
        dtype="float64",
        drift=drift,
    )
    simulate(config, folder / "session.zarr", overwrite=True)
    product = CalibrationPipeline.call(
        str(folder / "session.zarr"),
        output_file=str(folder / "l1.zarr"),
        overwrite=True,
        configure_log=False,
        steps={"gain": gain},
    )
    scan, truth = product.open_scan(1).load(), read_truth(folder / "session.zarr", 1)
    error = np.abs(scan.spectra.values - truth.t_a_star()).max()
    return float(error), 100.0 * (float(scan.pwv) / 0.5 - 1.0)


with tempfile.TemporaryDirectory() as name:
    print(f"{'drift':12} {'level':>5} {'T_A* [K]':>10} {'PWV [%]':>10}")
    for label, drift in DRIFTS.items():
        for level, gain in LEVELS.items():
            kelvin, percent = errors(Path(name), drift, gain)
            print(f"{label:12} {level:>5} {kelvin:10.2g} {percent:10.2g}")
