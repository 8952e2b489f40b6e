"""Time and peak memory of calibrating one scan of 16384 channels x 20 dumps x 7 pixels x 20 subscans.

    python benchmarks/large_scan.py [folder] [--repeat 5]

The scan (184 MB of counts) is simulated once into the folder; each repetition is a fresh ``strun``. Printed are
medians of the milliseconds of each stage and of the whole command, and of the peak memory.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cal_pipeline.simulate import TotalPower, preset, simulate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path(tempfile.gettempdir()) / "cal_pipeline_benchmark")
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    session = arguments.folder / "large.zarr"
    if not session.exists():
        simulate(preset("sofia_hfa", channels=16384, sequence=TotalPower(cycles=5, dumps=20)), session)
    runs = [calibrate(session, arguments.folder / "large_l1.zarr") for _ in range(arguments.repeat)]
    for name in runs[0]:
        values = [run[name] for run in runs]
        print(f"{name:>12}: {statistics.median(values):8.0f}   ({min(values):.0f} to {max(values):.0f})")


def calibrate(session: Path, output: Path) -> dict[str, float]:
    """Milliseconds of each stage and of the whole, and peak memory in MB."""
    command = [
        str(Path(sys.executable).with_name("strun")),
        "cal_pipeline.CalibrationPipeline",
        str(session),
        f"--output_file={output}",
        "--overwrite=true",
    ]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    log = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    elapsed = time.perf_counter() - start
    if status:
        raise RuntimeError(f"strun failed:\n{log}")
    stages = dict(re.findall(r"(\w+) (\d+)(?= |$)", log.split("; ms: ")[1].splitlines()[0]))
    return {name: float(value) for name, value in stages.items()} | {
        "strun": 1e3 * elapsed,
        "peak MB": usage.ru_maxrss / 1024,
    }


if __name__ == "__main__":
    main()
