"""Measure what the fit of the sky makes of a wrong ground temperature, of layers and of lines that it does not know.

``python tests/sky_tables.py`` calibrates simulated scans and writes the tables ``docs/sky_*.inc``. Skies in layers are
free of noise, at an elevation of 55°.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from helpers_accuracy import Outcome, calibrate_session, quiet
from helpers_atm import write_test_atm_table

from cal_pipeline import CalibrationPipeline
from cal_pipeline.heterodyne.references.shipped import find_atm_table, open_atm_table
from cal_pipeline.heterodyne.simulate.layers import AirColumn
from cal_pipeline.simulate import Atmosphere, Faults, GainJump, Layers, Scan, Source, WarmLayer, preset, simulate

DOCS = Path(__file__).parent.parent / "docs"
CCAT = ("ccat_chai", "ccat_chai_810")
ELEVATION = 55.0
TRANSMISSIONS = (0.6, 0.4, 0.2)
APART_S = 7200.0
"""Time between scans, so long that no loads count as those after a scan."""

WARM_LINES = tuple((1e9 * nu, 6e6, 0.9) for nu in (459.4, 459.9, 460.7, 461.3, 462.2, 462.8, 471.5, 472.6, 474.1))
"""Frequency, width [Hz] and opacity of lines."""

AS_THE_TABLE = Layers(lapse_rate=5.6, wet_scale_km=1.4, ozone_fraction=0.25)
SKIES = {
    "ccat_chai": (AS_THE_TABLE, Layers()),
    "ccat_chai_810": (AS_THE_TABLE, Layers()),
    "sofia_lfa": (
        Layers(lapse_rate=6.5, tropopause_km=2.0, wet_scale_km=6.3),
        Layers(lapse_rate=-1.0, tropopause_km=30.0, wet_scale_km=6.3),
    ),
}
"""Two skies of each receiver."""

WATER = {"ccat_chai": (0.25, 0.5, 1.0), "ccat_chai_810": (0.25, 0.5, 1.0), "sofia_lfa": (0.007, 0.02)}
NAMES = {"ccat_chai": "461 GHz", "ccat_chai_810": "810 GHz", "sofia_lfa": "1.9 THz"}


def calibrate(name: str, scans: list[Scan], **atmosphere: Any) -> list[Outcome]:
    """Calibrate scans of a preset in a folder of their own."""
    config = quiet(name, tuple(scans))
    loads = {"forward_efficiency": config.receivers[0].forward_efficiency}
    with tempfile.TemporaryDirectory() as folder:
        return calibrate_session(config, Path(folder), loads=loads, atmosphere=atmosphere)


def scan(pwv: float, layers: Layers | AirColumn, **changes: Any) -> Scan:
    """A scan under a sky, apart from others."""
    atmosphere, source = Atmosphere(pwv_mm=pwv, layers=layers), Source(elevation_deg=ELEVATION)
    return Scan(atmosphere=atmosphere, source=source, gap_s=APART_S, **changes)


def layers_of_the_table(name: str) -> tuple[AirColumn, float, float]:
    """Return the sky that the fit assumes, and medians of b [Np/mm] and c [Np] in the signal sideband."""
    config = quiet(name)
    receiver, pressure = config.receivers[0], config.telescope.pressure_pa
    half = 0.51 * receiver.bandwidth
    bands = [nu + np.linspace(-half, half, 501) for nu in (receiver.signal_freq, receiver.image_freq)]
    table = open_atm_table(Path(find_atm_table(bands, pressure)))
    signal = table.layer_coefficients(bands[0], pressure)
    nu = np.sort(np.concatenate(bands))
    found = table.layer_coefficients(nu, pressure)
    # Lower layers are rounded more coarsely than the last, so that thin ones may come out negative.
    wet, dry = (np.maximum(np.diff(values, axis=0, prepend=0.0), 0.0) for values in (found.b, found.c))
    column = AirColumn(nu, wet, dry, config.telescope.t_ambient + found.offset)
    return column, float(np.median(signal.b[-1])), float(np.median(signal.c[-1]))


def error(outcome: Outcome) -> float:
    """Median error of T_A* over the channels [%]."""
    return 100.0 * float(np.median(outcome.error))


def measure_ground() -> list[list[str]]:
    """Errors of T_A* and PWV for a wrong ground temperature, and for a gain that has changed since the loads."""
    rows = []
    for name in CCAT:
        column, b, c = layers_of_the_table(name)
        airmass, ambient = 1.0 / np.sin(np.radians(ELEVATION)), quiet(name).telescope.t_ambient
        water = [(-np.log(through) / airmass - c) / b for through in TRANSMISSIONS]
        scans = [scan(float(pwv), column) for pwv in water]
        jump = Faults(gain_jumps=(GainJump(0.01),))
        two, ten = (calibrate(name, scans, t_ground=ambient + kelvin) for kelvin in (2.0, 10.0))
        gain = calibrate(name, [scan(float(pwv), column, faults=jump) for pwv in water])
        for pwv, through, *found in zip(water, TRANSMISSIONS, two, ten, gain, strict=True):
            of_pwv = 100.0 * (found[1].pwv / pwv - 1.0)
            errors = [*(error(one) for one in found[:2]), of_pwv, error(found[2])]
            rows.append([f"{NAMES[name]}, {pwv:.2f} mm", f"{through:g}", *(f"{value:+.1f} %" for value in errors)])
    return rows


def measure_layers(names: tuple[str, ...]) -> list[list[str]]:
    """Errors of T_A* under skies that get colder, or warmer, with height, with layers and with one of them."""
    rows = []
    for name in names:
        ambient = quiet(name).telescope.t_ambient
        found = []
        for sky in SKIES[name]:
            scans = [scan(pwv, sky) for pwv in WATER[name]]
            found += [calibrate(name, scans), calibrate(name, scans, t_atm=ambient)]
        for pwv, *outcomes in zip(WATER[name], *found, strict=True):
            through = f"{outcomes[0].transmission:.2f}"
            rows.append([f"{NAMES[name]}, {pwv:g} mm", through, *(f"{error(one):+.1f} %" for one in outcomes)])
    return rows


def measure_lines() -> list[list[str]]:
    """Errors of PWV under lines in the dry opacity that are warmer than the rest, with noise."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = write_test_atm_table(folder / "lines.asdf", lines=WARM_LINES, step_hz=2e6)
        atmosphere = Atmosphere(0.3, table=str(table), layer=WarmLayer(330.0, WARM_LINES))
        config = preset("ccat_chai", mode="otf", channels=1024, pixels=2, atmosphere=atmosphere, seed=2)
        simulate(config, folder / "session.zarr")
        for robust, model_error in itertools.product((False, True), (0.0, 0.03, 0.1)):
            product = CalibrationPipeline.call(
                str(folder / "session.zarr"),
                output_file=str(folder / f"{robust}-{model_error}.zarr"),
                configure_log=False,
                steps={
                    "loads": {"forward_efficiency": 0.95},
                    "atmosphere": {"override_atm": str(table), "model_error": model_error, "robust": robust},
                },
            )
            found = product.open_scan(1).load()
            wrong, quoted = float(found.pwv) / 0.3 - 1.0, np.hypot(found.pwv_err, found.pwv_err_model) / 0.3
            # Two digits, without an exponent.
            chi2 = f"{float(f'{float(found.pwv_chi2):.2g}'):g}"
            errors = f"{100.0 * wrong:+.1f} %", f"{100.0 * float(quoted):.2g} %", chi2
            rows.append(["yes" if robust else "no", f"{model_error:g}", *errors])
    return rows


LAYERED, ONE = "layers", "one layer"
TABLES = {
    "sky_ground.inc": (
        [
            "frequency, PWV",
            "transmission",
            "T_A*, ``t_ground`` 2 K too high",
            "T_A*, 10 K too high",
            "PWV, 10 K too high",
            "T_A*, gain 1 % higher than at the loads",
        ],
        measure_ground,
    ),
    "sky_layers.inc": (
        [
            "frequency, PWV",
            "transmission",
            f"5.6 K/km, 1.4 km: {LAYERED}",
            ONE,
            f"6.5 K/km, 1.6 km: {LAYERED}",
            ONE,
        ],
        lambda: measure_layers(CCAT),
    ),
    "sky_layers_sofia.inc": (
        [
            "frequency, PWV",
            "transmission",
            f"6.5 K/km for 2 km: {LAYERED}",
            ONE,
            f"-1 K/km: {LAYERED}",
            ONE,
        ],
        lambda: measure_layers(("sofia_lfa",)),
    ),
    "sky_lines.inc": (
        ["``robust``", "``model_error``", "error of PWV", "quoted (statistical and model)", "reduced chi²"],
        measure_lines,
    ),
}
"""Head and rows of each table."""


def as_rst(head: list[str], rows: list[list[str]]) -> str:
    """Write a list-table."""
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for cells in [head, *rows]:
        lines += [f"   {'*' if position == 0 else ' '} - {cell}" for position, cell in enumerate(cells)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the tables."""
    for name, (head, measure) in TABLES.items():
        text = as_rst(head, measure())
        (DOCS / name).write_text(text)
        print(name, text, sep="\n")


if __name__ == "__main__":
    main()
