"""Measure what the fit of the sky makes of a wrong ground temperature and of skies that get colder with height.

``python tests/sky_tables.py`` calibrates simulated scans without noise, of CCAT and of SOFIA at an elevation of 55°, and
writes the tables ``docs/sky_ground.inc``, ``docs/sky_layers.inc`` and ``docs/sky_layers_sofia.inc``.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from helpers_accuracy import Outcome, calibrate_session, quiet

from cal_pipeline.heterodyne.references.shipped import find_atm_table, open_atm_table
from cal_pipeline.heterodyne.simulate.layers import AirColumn
from cal_pipeline.simulate import Atmosphere, Faults, GainJump, Layers, Scan, Source

DOCS = Path(__file__).parent.parent / "docs"
CCAT = ("ccat_chai", "ccat_chai_810")
ELEVATION = 55.0
TRANSMISSIONS = (0.6, 0.4, 0.2)
APART_S = 7200.0
"""Time between scans, so long that no loads count as those after a scan."""

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
