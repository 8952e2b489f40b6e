"""Measure this commit and keep the figures for the documentation: `python benchmarks/record.py [REGEX]`.

Runs asv in the present environment, in which this checkout is installed, and puts what it measured into
docs/performance.json, which has the tables, the plots and the plan of the page on performance. Figures that the
expression does not name stay, each with the commit and the date of its own.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "performance.json"
TINY = "CAL_PIPELINE_BENCHMARK_TINY"
USUAL = "^(?!long|rounds)"
"""Benchmarks that are run unless others are named: all but those that take minutes, and those of two commits."""


def refuse_other_code() -> None:
    """Refuse to file figures of another package, or of tiny sessions, under this commit."""
    found = importlib.util.find_spec("cal_pipeline")
    if found is None or found.origin is None or ROOT not in Path(found.origin).parents:
        raise SystemExit(f"cal_pipeline is imported from {found and found.origin}, expected from {ROOT}")
    if os.environ.get(TINY):
        raise SystemExit(f"{TINY} is set: what is measured means nothing")


def run_asv(expression: str, commit: str) -> None:
    """Let asv measure the installed package, and file the results under a commit."""
    words = ["run", "--environment", f"existing:{sys.executable}", "--set-commit-hash", commit, "--bench", expression]
    subprocess.run([sys.executable, "-m", "asv", *words, "--show-stderr"], cwd=ROOT, check=False)


def read_results(commit: str) -> dict[str, dict[str, Any]]:
    """Read what asv has filed under a commit: unit, and value by parameters joined with commas, of each benchmark."""
    from asv.benchmarks import Benchmarks
    from asv.config import Config
    from asv.results import iter_results

    config = Config.load(ROOT / "asv.conf.json")
    folder = ROOT / config.results_dir
    config.results_dir = str(folder)
    known, found = Benchmarks.load(config), {}
    for results in iter_results(str(folder)):
        if results.commit_hash != commit:
            continue
        for name in results.get_all_result_keys():
            axes = results.get_result_params(name)
            values = results.get_result_value(name, axes)
            # asv keeps parameters as they print.
            labels = [", ".join(label.strip("'") for label in labels) for labels in itertools.product(*axes)]
            kept = {label: round_off(value) for label, value in zip(labels, values, strict=True) if is_number(value)}
            found[name] = {"unit": known[name]["unit"], "values": kept}
    return found


def is_number(value: float | None) -> bool:
    """Tell whether a benchmark succeeded and was not skipped."""
    return value is not None and math.isfinite(value)


def round_off(value: float) -> float:
    """Keep four digits: no benchmark is more exact."""
    return float(f"{value:.4g}")


def keep(found: dict[str, dict[str, Any]], commit: str, when: str) -> None:
    """Put figures into the file of the documentation."""
    kept = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.exists() else {"figures": {}}
    for name, figure in found.items():
        if figure["values"]:
            kept["figures"][name] = figure | {"commit": commit[:10], "date": when}
    kept["figures"] = dict(sorted(kept["figures"].items()))
    FIGURES.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("expression", nargs="?", default=USUAL, help="names of benchmarks to run, as asv's --bench")
    given = parser.parse_args()
    refuse_other_code()
    read = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True)
    commit, begun = read.stdout.strip(), datetime.datetime.now(datetime.UTC)
    run_asv(given.expression, commit)
    keep(read_results(commit), commit, begun.date().isoformat())


if __name__ == "__main__":
    main()
