"""What is left after a run that met a fault, and what the next run makes of it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from .children import Ended, run_child
from .sessions import Bench, listed_scans, read_failures, read_state, wrong_scans


@dataclass
class Outcome:
    """Outcome of a fault.

    Parameters
    ----------
    kind, case : str
        Row of the table, and the case in it.
    lost, wrong, silent, hand : list of str
        Finished scans that are gone, scans that are not right, what went without a word, and why the next run needed
        a hand.
    skipped : str
        Why the case could not be tried.
    """

    kind: str
    case: str
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    hand: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def bad(self) -> bool:
        """Tell whether any harm was found."""
        return bool(self.lost or self.wrong or self.silent or self.hand)

    def describe(self) -> str:
        """Describe what is not as it should be, in one line."""
        found = {name: getattr(self, name) for name in ("lost", "wrong", "silent", "hand")}
        text = f"{self.kind}: {self.case}: " + "; ".join(f"{name}: {', '.join(of)}" for name, of in found.items() if of)
        return text.replace("\n", " | ")


RESUME = ("--set", "resume=true")
"""Options with which a run goes on where another ended."""


def judge_remains(
    bench: Bench,
    output: Path,
    ended: Ended,
    outcome: Outcome,
    old: Path | None = None,
    leave_out: frozenset[str] = frozenset(),
) -> None:
    """Judge the product as a run left it: nothing wrong in it, and nothing that claims more than there is.

    Parameters
    ----------
    bench : Bench
        Session and reference.
    output : Path
        The product.
    ended : Ended
        How the run ended.
    outcome : Outcome
        Takes what is found.
    old : Path, optional
        What the run was to replace, which must be whole as long as the new product is not.
    leave_out : frozenset of str
        Arrays that may differ.
    """
    listed = listed_scans(output)
    not_new = wrong = wrong_scans(output, bench.reference, listed, leave_out)
    if old is not None and wrong:
        wrong = wrong_scans(output, old, listed_scans(old))
    if wrong:
        outcome.wrong.append(f"scans {wrong} of {listed} after the run")
    complete = listed == list(bench.scans)
    told = ended.status in (1, 2, 3) and sorted([*listed, *_failed(output)]) == list(bench.scans)
    if old is not None and not complete and not told and not _kept_aside(output, old):
        outcome.lost.append(f"neither the old product nor the new is whole: {listed}, status {ended.status}")
    is_old = old is not None and not wrong_scans(output, old, listed_scans(old))
    state = read_state(output)
    accounted = state == "finished" and sorted([*listed, *_failed(output)]) == list(bench.scans)
    says_so = state in ("running", "interrupted", "?") or accounted or not (listed or state)
    if not complete and not is_old and not says_so:
        outcome.silent.append(f"the record says {state!r} with scans {listed}, failed {_failed(output)}")
    if ended.status == 0 and (not complete or not_new):
        outcome.silent.append(f"status 0 with scans {listed}")
    if ended.status not in (0, None):
        judge_message(ended, outcome)
    if ended.late:
        outcome.hand.append(f"{ended.late} processes were left")
    if ended.timed_out:
        outcome.hand.append("the run hangs")


def _failed(output: Path) -> list[int]:
    return [int(failure["scan_number"]) for failure in read_failures(output)]


def _kept_aside(output: Path, old: Path) -> bool:
    """Tell whether the old product is whole, at its place or where an interrupted swap left it."""
    places = [
        output,
        *output.parent.glob(f"{output.name}.staging/*/*"),
        *output.parent.glob(f"{output.name}.staging/*/*/*"),
        *output.parent.glob(f"{output.name}.*"),
    ]
    return any(not wrong_scans(place, old, listed_scans(old)) for place in places if place.is_dir())


def judge_message(ended: Ended, outcome: Outcome) -> None:
    """Judge what a run that failed says."""
    if "Traceback" in ended.output or "fault of cal_pipeline" in ended.output:
        outcome.silent.append(f"no cause is named: {ended.output[-400:]}")
    elif not ended.output.strip():
        outcome.silent.append(f"status {ended.status} without a word")


def judge_next_run(
    bench: Bench,
    output: Path,
    outcome: Outcome,
    finished: list[int],
    options: tuple[str, ...] = RESUME,
    leave_out: frozenset[str] = frozenset(),
) -> None:
    """Run again without the fault: it must succeed by itself, and leave the reference product and nothing else.

    Parameters
    ----------
    bench : Bench
        Session and reference.
    output : Path
        The product.
    outcome : Outcome
        Takes what is found.
    finished : list of int
        Scans that the run before had finished.
    options : tuple of str
        Options of the run.
    leave_out : frozenset of str
        Arrays that may differ.
    """
    ended = run_child(bench.calibrate, None, output, *options)
    if ended.status != 0:
        outcome.hand.append(
            f"the next run ends with status {ended.status}, signal {ended.signal}: {ended.output[-400:]}"
        )
        return
    listed = listed_scans(output)
    if lost := [number for number in finished if number not in listed]:
        outcome.lost.append(f"scans {lost} after the next run")
    if listed != list(bench.scans):
        outcome.silent.append(f"status 0 of the next run with scans {listed}")
    known = [number for number in bench.scans if number in listed]
    if wrong := wrong_scans(output, bench.reference, known, leave_out):
        outcome.wrong.append(f"scans {wrong} after the next run")
    if (state := read_state(output)) not in ("", "finished"):
        outcome.silent.append(f"the record of the next run says {state!r}")
    others = {output.name, "session.zarr", "old.zarr"}
    debris = sorted(name for name in os.listdir(output.parent) if name not in others and not name.endswith(".ecsv"))
    inside = sorted(name for name in os.listdir(output) if not name.startswith("scan_") and name not in _OF_PRODUCT)
    if debris or inside:
        outcome.hand.append(f"the next run leaves {debris + inside}")


_OF_PRODUCT = {"zarr.json", "failures.json", "run.json", "quality.ecsv"}


def copy_product(source: Path, target: Path) -> None:
    """Copy a product whose files no run writes in place: hard links do."""
    shutil.copytree(source, target, copy_function=os.link)
