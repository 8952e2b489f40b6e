"""Write the table of howto/kalibrate.rst: python docs/examples/compare_engines.py."""

import tempfile
from pathlib import Path

from cal_pipeline import CalibrationPipeline
from cal_pipeline.simulate import preset, simulate

PAGE = Path(__file__).parents[1] / "howto" / "engines.inc"
ONE_LAYER = {"t_atm": 268.0}
STEPS = {
    "the defaults": {},
    "one layer of air at ``tamb`` (``atmosphere.t_atm``)": {"atmosphere": ONE_LAYER},
    "least squares (``atmosphere.robust=False``)": {"atmosphere": ONE_LAYER | {"robust": False}},
    "radiometric weights (``atmosphere.model_error=0``)": {
        "atmosphere": ONE_LAYER | {"robust": False, "model_error": 0.0}
    },
    "one airmass a scan (``atmosphere.airmass=scan``)": {
        "atmosphere": ONE_LAYER | {"robust": False, "model_error": 0.0, "airmass": "scan"}
    },
    "constants and rounding (``loads.physics=kalibrate_compat``)": {
        "loads": {"physics": "kalibrate_compat"},
        "atmosphere": ONE_LAYER | {"robust": False, "model_error": 0.0, "airmass": "scan"},
    },
}


def measure(folder: Path) -> list[tuple[str, float, float, float]]:
    """Calibrate one session with one difference after another; return PWV, T_rec and T_A* over that of the first."""
    config = preset("ccat_chai", channels=512, pixels=2, mode="otf", scans=1, seed=3)
    session = simulate(config, folder / "session.zarr").session
    found: list[tuple[str, float, float, float]] = []
    first = None
    for index, (name, steps) in enumerate(STEPS.items()):
        product = CalibrationPipeline.call(
            str(session), output_file=str(folder / f"{index}.zarr"), configure_log=False, steps=steps
        )
        scan = product.open_scan(1).load()
        spectra = scan.spectra.where(scan.flags == 0).mean(("dump", "subscan"))
        first = spectra if first is None else first
        line = first > 0.5 * first.max("channel")
        change = float((spectra / first).where(line).median()) - 1.0
        found.append((name, float(scan.attrs["pwv_mm"]), float(scan.t_rec_ssb.median()), change))
    return found


def write(rows: list[tuple[str, float, float, float]]) -> None:
    """Write the table."""
    lines = [".. list-table::", "   :header-rows: 1", "   :widths: 46 18 18 18", ""]
    lines += ["   * - changed, one after another", "     - PWV [mm]", "     - T_rec [K]", "     - T_A* [%]"]
    for name, pwv, t_rec, change in rows:
        lines += [f"   * - {name}", f"     - {pwv:.4f}", f"     - {t_rec:.3f}", f"     - {100 * change:+.3f}"]
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        write(measure(Path(name)))
