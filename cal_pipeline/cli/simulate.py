"""The `cal-simulate` command."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cal_pipeline.cli.commands import DONE, CommandParser, run_command, show
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.simulate.config import SessionConfig
from cal_pipeline.heterodyne.simulate.errors import SimulationError
from cal_pipeline.heterodyne.simulate.faults import Drift, Faults
from cal_pipeline.heterodyne.simulate.layers import AirColumn, Layers
from cal_pipeline.heterodyne.simulate.plan import plan_session
from cal_pipeline.heterodyne.simulate.presets import PRESETS, SEQUENCES, preset
from cal_pipeline.heterodyne.simulate.sequence import Sequence as ObservingSequence
from cal_pipeline.heterodyne.simulate.sequence import TotalPower
from cal_pipeline.heterodyne.simulate.writer import Written, simulate

IMAGER = "imager"
"""First word of the command that simulates an infrared imager, with options of its own."""

CHERENKOV = "cherenkov"
"""First word of the command that simulates a night of a Cherenkov observatory, with options of its own."""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    command = CommandParser(
        prog="cal-simulate",
        description="Write a session of raw counts with a known sky; its truth goes to <name>.truth.zarr.",
        epilog=f"'cal-simulate {IMAGER} visit.zarr' writes a visit of an infrared imager; "
        f"its options: 'cal-simulate {IMAGER} --help'; "
        f"'cal-simulate {CHERENKOV} night' writes a night of a Cherenkov observatory",
    )
    command.add_argument("preset", choices=list(PRESETS), help="telescope and receiver")
    command.add_argument("output", type=Path, help="store to write, e.g. session.zarr")
    command.add_argument("--mode", choices=list(SEQUENCES), default="total_power", help="observing mode")
    command.add_argument("--channels", type=int, default=1024, help="spectral channels (default %(default)s)")
    command.add_argument("--pixels", type=int, help="use only the first N pixels of each array")
    command.add_argument("--scans", type=int, default=1, help="number of scans (default %(default)s)")
    command.add_argument("--dumps", type=int, help="dumps per subscan; on a map, samples per row")
    command.add_argument("--cycles", type=int, help="total power: number of OFF-ON-ON-OFF cycles")
    command.add_argument("--rows", type=int, help="otf, otf_chopped: number of rows")
    command.add_argument("--exptime", type=float, help="integration time of a dump [s]")
    command.add_argument("--pwv", type=float, help="precipitable water vapour [mm]")
    command.add_argument("--pwv-per-hour", type=float, default=0.0, help="drift of the water vapour [mm/h]")
    command.add_argument("--lapse-rate", type=float, help="decrease of the air temperature with height [K/km]")
    command.add_argument("--isothermal", action="store_true", help="one layer at ambient temperature instead of many")
    command.add_argument("--gain-per-hour", type=float, default=0.0, help="relative gain drift [1/h]")
    command.add_argument("--missing-fraction", type=float, default=0.0, help="fraction of dumps that are missing")
    command.add_argument(
        "--noise", action=argparse.BooleanOptionalAction, default=True, help="radiometer noise (default: yes)"
    )
    command.add_argument("--dtype", choices=["int32", "float64"], default="int32", help="type of the counts")
    command.add_argument("--seed", type=int, default=0, help="seed of all random numbers")
    command.add_argument("--atm", type=Path, help="atmosphere table (default: the telescope's own)")
    command.add_argument(
        "--fits",
        type=Path,
        metavar="FOLDER",
        help="write a folder too, with a FITS file for each subscan and pixel, for 'calibrate ingest'",
    )
    command.add_argument(
        "--overwrite", action="store_true", help="replace an existing simulated session and its FITS files"
    )
    return command


def configure(arguments: argparse.Namespace) -> SessionConfig:
    """Turn parsed arguments into a session.

    Raises
    ------
    SimulationError
        When they contradict each other.
    """
    drift = Drift(gain_per_hour=arguments.gain_per_hour)
    faults = Faults(missing_fraction=arguments.missing_fraction)
    config = preset(
        arguments.preset,
        channels=arguments.channels,
        pixels=arguments.pixels,
        scans=arguments.scans,
        mode=arguments.mode,
        pwv=arguments.pwv,
        table=None if arguments.atm is None else str(arguments.atm),
        noise=arguments.noise,
        dtype=arguments.dtype,
        seed=arguments.seed,
        drift=drift,
        faults=faults,
    )
    atmosphere = replace(config.atmosphere, pwv_per_hour=arguments.pwv_per_hour, layers=_layers(config, arguments))
    return replace(config, atmosphere=atmosphere, sequence=_sequence(arguments))


def _layers(config: SessionConfig, arguments: argparse.Namespace) -> Layers | AirColumn | None:
    if arguments.isothermal and arguments.lapse_rate is not None:
        raise SimulationError("an isothermal sky has no lapse rate: give --lapse-rate or --isothermal")
    if arguments.isothermal:
        return None
    layers = config.atmosphere.layers
    if arguments.lapse_rate is None or not isinstance(layers, Layers):
        return layers
    return replace(layers, lapse_rate=arguments.lapse_rate)


def _sequence(arguments: argparse.Namespace) -> ObservingSequence:
    kind = SEQUENCES[arguments.mode]
    foreign = "rows" if kind is TotalPower else "cycles"
    if getattr(arguments, foreign) is not None:
        raise SimulationError(f"--{foreign} does not go with --mode {arguments.mode}")
    names = ("dumps", "exptime", "cycles", "rows")
    given: dict[str, Any] = {n: getattr(arguments, n) for n in names if getattr(arguments, n) is not None}
    return kind(**given)


def summary(config: SessionConfig, written: Written) -> str:
    """Return what was written, in a few lines."""
    plans = plan_session(config)
    first, last = plans[0], plans[-1]
    bands = []
    for receiver in first.receivers:
        nu = receiver.frequencies()[0] / 1e9
        pixels = f"{len(receiver.pixel_offsets_deg)} x {len(receiver.arrays)} pixels"
        width = f"{min(nu):.4f} to {max(nu):.4f} GHz"
        bands.append(f"  {receiver.name}: {receiver.channels} channels, {width}, {pixels}")
    phases = " ".join(subscan.phase.sobsmode for subscan in first.calibration + first.observed)
    ends = [plan.observed[-1] if plan.observed else plan.calibration[-1] for plan in (first, last)]
    one = f"1 scan ({first.number})"
    numbers = one if len(plans) == 1 else f"{len(plans)} scans ({first.number} to {last.number})"
    lines = [
        f"{written.session}: {numbers} of {config.telescope.name},"
        f" {written.samples * (4 if config.dtype == 'int32' else 8) / 1e6:.1f} MB of counts",
        *bands,
        f"  each: {phases}",
        f"  PWV {ends[0].pwv:.4g} to {ends[1].pwv:.4g} mm,"
        f" airmass {ends[0].airmass:.3f} to {ends[1].airmass:.3f}, noise {'on' if config.noise else 'off'},"
        f" seed {config.seed}",
        *([] if config.atmosphere.layers is None else [f"  sky of {config.atmosphere.layers.number} layers"]),
        f"truth: {written.truth}",
    ]
    if written.fits is not None:
        lines.append(f"FITS: {written.fits}: {format_count(written.files, 'file')}")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `cal-simulate`.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; None: those of the process.

    Returns
    -------
    int
        0 when the session was written, 1 when it could not be.
    """
    return run_command("cal-simulate", _run, argv)


def _run(argv: list[str]) -> int:
    if argv[:1] == [IMAGER]:
        from cal_pipeline.cli.simulate_imager import run  # the other family loads without it

        return run(argv[1:])
    if argv[:1] == [CHERENKOV]:
        from cal_pipeline.cli import simulate_cherenkov

        return simulate_cherenkov.run(argv[1:])
    arguments = parser().parse_args(argv)
    config = configure(arguments)
    written = simulate(config, arguments.output, overwrite=arguments.overwrite, fits=arguments.fits)
    show(summary(config, written))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
