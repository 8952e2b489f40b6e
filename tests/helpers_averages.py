"""Pulls of averages of simulated spectra: error over the quoted one, on every level of averaging.

``python tests/helpers_averages.py`` prints the tables of docs/averages.rst.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray
from numpy.typing import NDArray

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.heterodyne.averages import average_scan
from cal_pipeline.heterodyne.session_averages import average_scans
from cal_pipeline.simulate import (
    Atmosphere,
    Cloud,
    DeadChannels,
    Drift,
    Faults,
    GaussianSource,
    Line,
    Loads,
    MissingDumps,
    Otf,
    OtfChopped,
    Scan,
    SessionConfig,
    Source,
    TotalPower,
    preset,
    read_truth,
    simulate,
)

LEVELS = ("dumps", "subscans", "pixels", "scans")

SKY = Atmosphere(pwv_mm=0.5, pwv_per_hour=0.3, layers=preset("ccat_chai").atmosphere.layers)
"""The system temperature drifts with the water."""

LINE = Line(3.0, fwhm_hz=0.4e9, source=GaussianSource(fwhm_deg=0.3))

# The second OFF is gone in pixel 1, another is shorter; subscan 1 is an ON in the modes that are not chopped.
GAPS = Faults(
    missing_fraction=0.05,
    missing=(MissingDumps(3, receiver=1), MissingDumps(0, dumps=(0, 1)), MissingDumps(1, dumps=(2,), receiver=0)),
    dead=(DeadChannels(17, 19, receiver=1),),
)

SEQUENCES = {
    "total_power": TotalPower(("OFF", "ON", "ON", "OFF", "ON", "OFF"), dumps=4, off_exptime=2.0),
    "otf": Otf(rows=5, dumps=8, rows_per_off=2, off_exptime=1.0),
    # Each beam sees its OFF in the middle between two ONs, so that a drift of the sky cancels.
    "otf_chopped": OtfChopped(
        rows=2,
        pattern=("OTFSWA-ON", "OTFSWA-OFF", "OTFSWA-ON", "OTFSWB-ON", "OTFSWB-OFF", "OTFSWB-ON"),
        off_deg=(0.02, 0.0),
    ),
}

AFTER = Scan(calibration_only=True, loads=Loads(t_hot=294.0, t_cold=78.0))
"""Loads after a scan, which tell how the receiver drifted."""


@dataclass
class Pulls:
    """Error of averages over that quoted (also once their scale is set right), or over that of independent noise.

    `band` is that of the mean over all channels, once the scale is set right.
    """

    quoted: list[NDArray[Any]] = field(default_factory=list)
    scaled: list[NDArray[Any]] = field(default_factory=list)
    naive: list[NDArray[Any]] = field(default_factory=list)
    band: list[NDArray[Any]] = field(default_factory=list)

    def rms(self, name: str) -> tuple[float, float]:
        """Root mean square, and its own error for independent normal numbers."""
        values = np.concatenate([part.ravel() for part in getattr(self, name)])
        values = values[np.isfinite(values)]
        return float(np.sqrt((values**2).mean())), float(1 / np.sqrt(2 * values.size))


def session_config(mode: str, n_scans: int, seed: int, **changes: Any) -> SessionConfig:
    """A session whose truth is richer than the model: drifting sky, a line in the ON, gaps, unequal OFFs."""
    settings: dict[str, Any] = {
        "channels": 256,
        "pixels": 3,
        "atmosphere": SKY,
        "lines": (LINE,),
        "faults": GAPS,
        "sequence": SEQUENCES[mode],
        "scans": n_scans,
        "seed": seed,
    }
    return preset("ccat_chai", **settings | changes)


def measure(config: SessionConfig, **steps: Any) -> dict[str, Pulls]:
    """Simulate and calibrate a session, and compare averages on every level with those of the truth."""
    pulls: dict[str, Pulls] = defaultdict(Pulls)
    with tempfile.TemporaryDirectory() as folder:
        session, output = Path(folder, "s.zarr"), Path(folder, "l1.zarr")
        simulate(config, session)
        given = {"loads": {"forward_efficiency": 0.95}} | steps
        product = CalibrationPipeline.call(str(session), output_file=str(output), steps=given, configure_log=False)
        pairs = [with_truth(product, session, number) for number in product.numbers]
    for scan, truth in pairs:
        for level, options, over in (
            ("dumps", {"subscans": 1, "each_pixel": True}, ("dump",)),
            ("subscans", {"each_pixel": True}, ("dump", "subscan")),
            ("pixels", {}, ("dump", "subscan", "receiver", "array")),
        ):
            part = scan.isel(subscan=1) if level == "dumps" else scan
            compare(pulls[level], average_scan(scan, **options), average_scan(truth, **options), naive(part, over))
    for one, two in zip(pairs[::2], pairs[1::2], strict=False):
        error = [naive(scan, ("dump", "subscan", "receiver", "array")) for scan, _ in (one, two)]
        both = 1.0 / np.sqrt(error[0] ** -2 + error[1] ** -2)
        compare(pulls["scans"], average_scans([one[0], two[0]]), average_scans([one[1], two[1]]), both)
    return pulls


def with_truth(product: CalibratedSession, session: Path, number: int) -> tuple[xarray.Dataset, xarray.Dataset]:
    """A scan, and the same with the true T_A* for the spectra."""
    scan, truth = product.open_scan(number).load(), read_truth(session, number)
    true = truth.t_a_star()
    if "dbs" in scan.attrs:
        place = {int(subscan): index for index, subscan in enumerate(truth.on_indices)}
        pairs, unmatched = scan.attrs["dbs"]["pairs"], scan.attrs["dbs"]["unmatched"]
        assert not unmatched
        true = np.stack([true[..., [place[a], place[b]]].mean(axis=-1) for a, b in pairs], axis=-1)
    true = np.where(np.isfinite(scan.spectra.values), true, np.nan)
    return scan, scan.assign(spectra=(scan.spectra.dims, true))


def naive(scan: xarray.Dataset, over: tuple[str, ...]) -> NDArray[Any]:
    """Error of a mean if the noise of all samples were independent, weighted by 1/sigma²."""
    good = (scan.flags == 0) & np.isfinite(scan.spectra)
    weight = (1.0 / scan.sigma.astype(np.float64) ** 2).where(good).sum(over)
    return np.asarray((1.0 / np.sqrt(weight.where(weight > 0.0))).transpose("channel", ...).values)


def compare(pulls: Pulls, found: xarray.Dataset, true: xarray.Dataset, independent: NDArray[Any]) -> None:
    """Collect the errors of an average."""
    mean, expected, sigma = found.spectrum.values, true.spectrum.values, found.sigma.values
    error = mean - expected
    pulls.quoted.append(error / sigma)
    pulls.naive.append(error / independent)
    # One factor for all channels sets the scale of T_A* right, the error of which is quoted apart.
    known = np.isfinite(error)
    weight = np.where(known, 1.0 / sigma**2, 0.0)
    fitted = (weight * np.where(known, mean * expected, 0.0)).sum(axis=0)
    residual = mean - expected * fitted / np.maximum((weight * expected**2).sum(axis=0, where=known), 1e-300)
    pulls.scaled.append(residual / sigma)
    # The noise is independent from channel to channel.
    of_band = np.sqrt(np.where(known, sigma**2, 0.0).sum(axis=0))
    pulls.band.append(
        np.atleast_1d(np.where(known, residual, 0.0).sum(axis=0) / np.where(of_band > 0, of_band, np.nan))
    )


STEADY = {"atmosphere": dataclasses.replace(SKY, pwv_per_hour=0.0), "source": Source(elevation_deg=60.0)}
"""A sky that does not change between an ON and its OFF, which chopping cannot tell from a signal."""

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "total power": ("total_power", {}, {}),
    "OTF": ("otf", {}, {}),
    "chopped": ("otf_chopped", STEADY, {}),
    "DBS": ("otf_chopped", STEADY, {"dbs": {"skip": False}}),
}
"""Mode, changes of the simulation and parameters of the steps of each row of the table."""

DEPARTURES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "gain 50 %/h, level 0": ("otf", {"drift": Drift(gain_per_hour=0.5, offset_per_hour=30.0)}, {}),
    "the same, level 3": (
        "otf",
        {"scans": (Scan(), AFTER) * 2, "drift": Drift(gain_per_hour=0.5, offset_per_hour=30.0)},
        {"gain": {"level": 3}},
    ),
    "gain 2 %/h, level 2": (
        "otf",
        {"scans": (Scan(), AFTER) * 2, "drift": Drift(gain_per_hour=0.02)},
        {"gain": {"level": 2}},
    ),
    "line of 30 K": ("otf", {"lines": (dataclasses.replace(LINE, t_peak=30.0),)}, {}),
    "line of 100 K": ("otf", {"lines": (dataclasses.replace(LINE, t_peak=100.0),)}, {}),
    "chopped, rising source": ("otf_chopped", {}, {}),
    "chopped, OFF always later": ("otf_chopped", {"sequence": OtfChopped(rows=6, off_deg=(0.02, 0.0))}, {}),
    "a passing cloud": ("otf", {"atmosphere": dataclasses.replace(SKY, clouds=(Cloud(12.0, 6.0, pwv_mm=0.01),))}, {}),
}
"""The same for skies, receivers and sources that break what the errors rest on."""


def print_table(cases: dict[str, Any], parts: tuple[str, ...], n_seeds: int) -> None:
    """Print the pulls of many sessions of two scans each."""
    for name, (mode, changes, steps) in cases.items():
        total: dict[str, Pulls] = defaultdict(Pulls)
        for seed in range(n_seeds):
            for level, found in measure(session_config(mode, 2, seed, channels=1024, **changes), **steps).items():
                for part in parts:
                    getattr(total[level], part).extend(getattr(found, part))
        for part in parts:
            cells = ("{:.3f} ± {:.3f}".format(*total[level].rms(part)) for level in LEVELS)
            print(f"{name:28s} {part:7s} " + "  ".join(cells), flush=True)


if __name__ == "__main__":
    print_table(CASES, ("quoted", "naive", "band"), int(sys.argv[1]))
    print_table(DEPARTURES, ("quoted", "scaled", "naive"), int(sys.argv[2]))
