"""Command: try all faults, or a sample, and write the table of docs/reliability.md."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

sys.path.insert(0, str(Path(__file__).parents[1]))  # helpers of the tests

from .children import adopt_orphans
from .collisions import all_collisions, try_collisions
from .corpus import judge_all
from .damages import all_damages
from .disk_faults import make_disk_faults, try_disk_faults, try_real_disks
from .kills import make_kills, make_starting_points, try_kills
from .network import MOMENTS, make_network_faults, try_network
from .runs import Outcome
from .sessions import Bench, make_bench
from .strangers import all_strangers, try_strangers
from .table import PARTS, Row, count_damages, count_outcomes, write_table


def main(argv: Sequence[str] | None = None) -> int:
    """Try faults; returns 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART[:SHARE]", help=f"{', '.join(RUNNERS)}, each with a share of its own (all)"
    )
    parser.add_argument("--share", type=float, default=1.0, help="share of all cases (default: 1)")
    parser.add_argument("--match", default="", help="only cases whose name contains this text")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1, help="cases at a time (default: cores)")
    parser.add_argument("--report", type=Path, help="file for every case that is not as it should be")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    given = parser.parse_args(argv)
    shares = {part: float(share or given.share) for part, _, share in map(_split, given.parts or RUNNERS)}
    if unknown := set(shares) - set(RUNNERS):
        parser.error(f"unknown part {', '.join(sorted(unknown))}; expected {', '.join(RUNNERS)}")
    adopt_orphans()
    rows, complaints = [], []
    root = Path(tempfile.mkdtemp(prefix="faults-"))
    try:
        for part, given.share in shares.items():
            found, bad = _try_part(part, root / part, given)
            rows += found
            complaints += bad
    finally:
        shutil.rmtree(root, ignore_errors=True)
    for complaint in complaints:
        print(complaint)
    if given.report:
        given.report.write_text("".join(f"{complaint}\n" for complaint in complaints))
    if given.write:
        write_table(rows)
    return 1 if complaints else 0


Found = tuple[list[Row], list[str]]
Case = TypeVar("Case")


def _split(text: str) -> tuple[str, str, str]:
    return text.partition(":")


def _try_part(part: str, folder: Path, given: argparse.Namespace) -> Found:
    """Try the faults of a part and print how many."""
    folder.mkdir()
    began = time.monotonic()
    try:
        found, bad = RUNNERS[part](folder, given)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    n = sum(row.tried for row in found)
    print(f"{PARTS[part]}: {n} tried, {len(bad)} not as they should be, {time.monotonic() - began:.0f} s", flush=True)
    for reason in sorted({reason for row in found for reason in row.skipped}):
        print(f"  skipped: {reason}")
    return found, bad


def _sample(cases: Sequence[Case], given: argparse.Namespace, name: Callable[[Case], str]) -> list[Case]:
    """Take every so many of the cases whose name matches."""
    matching = [case for case in cases if given.match in name(case)]
    number = max(round(given.share * len(matching)), min(len(matching), 1))
    return [matching[i * len(matching) // number] for i in range(number)]


def _warm(bench: Bench) -> None:
    """Calibrate in this process, so that its children find everything imported and compiled."""
    for number in range(2):
        bench.calibrate(None, bench.folder / f"warm{number}.zarr")


def _small(folder: Path) -> Bench:
    """Make the small session of several parts, beside their folders."""
    return _make_small(folder.with_name("small"))


@lru_cache(maxsize=1)
def _make_small(folder: Path) -> Bench:
    folder.mkdir()
    bench = make_bench(folder, channels=8, pixels=1, scans=2)
    _warm(bench)
    make_starting_points(bench)
    return bench


def _told(part: str, outcomes: list[Outcome]) -> Found:
    return count_outcomes(part, outcomes), [outcome.describe() for outcome in outcomes if outcome.bad]


def _kills(folder: Path, given: argparse.Namespace) -> Found:
    bench = _small(folder)
    kills = make_kills(bench, moments=round(120 * given.share), share_of_calls=given.share, match=given.match)
    return _told("kills", try_kills(bench, kills, given.lanes))


def _disk(folder: Path, given: argparse.Namespace) -> Found:
    bench = _small(folder)
    # A tenth of all calls, each with every error, once and lasting, are some 2000 faults.
    faults = _sample(make_disk_faults(bench, 0.1, given.match), given, lambda fault: fault.kind)
    real = try_real_disks(bench) if not given.match and given.share > 0.02 else []
    return _told("disk", [*try_disk_faults(bench, faults, given.lanes), *real])


def _corpus(folder: Path, given: argparse.Namespace) -> Found:
    bench = make_bench(folder, channels=128, pixels=2, scans=3)
    _warm(bench)
    judged = judge_all(bench, _sample(all_damages(), given, lambda damage: damage.name), given.lanes)
    bad = [f"{one.kind}: {one.damage}: {one.outcome}: {one.text}".replace("\n", " | ") for one in judged if one.bad]
    return count_damages(judged), bad


def _collisions(folder: Path, given: argparse.Namespace) -> Found:
    bench = _small(folder)
    cases = _sample(all_collisions(), given, lambda case: f"{case[0]}: {case[1]}")
    return _told("collisions", try_collisions(bench, cases, given.lanes))


def _network(folder: Path, given: argparse.Namespace) -> Found:
    bench = _small(folder)
    faults = _sample(make_network_faults(bench, MOMENTS), given, lambda fault: fault.case)
    return _told("network", try_network(bench, faults, given.lanes))


def _strangers(folder: Path, given: argparse.Namespace) -> Found:
    bench = _small(folder)
    cases = _sample(all_strangers(), given, lambda case: f"{case.kind}: {case.case}")
    return _told("strangers", try_strangers(bench, cases, given.lanes))


RUNNERS: dict[str, Callable[[Path, argparse.Namespace], Found]] = {
    "kills": _kills,
    "disk": _disk,
    "corpus": _corpus,
    "collisions": _collisions,
    "network": _network,
    "strangers": _strangers,
}
"""The parts of the harness."""


if __name__ == "__main__":
    sys.exit(main())
