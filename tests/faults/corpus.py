"""Damaged inputs: each gives the right product, or one that says what is wrong, or an error that names it."""

from __future__ import annotations

import json
import re
import resource
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .children import Ended, run_child, scratch, share
from .damages import BAD, SCAN, Damage
from .sessions import (
    OF_LATER_LOADS,
    Bench,
    differing_arrays,
    listed_scans,
    read_array,
    read_attributes,
    read_failures,
    read_state,
)
from .stores import copy_linked

MEMORY = 4 * 2**30
"""Memory that a run may take [bytes]."""

TIME = 60.0
"""Time that it may take [s]."""

TOLERANCE = 1e-3
"""Difference of T_A* that counts, relative to the strongest line, where no flag is set."""

ROUNDING = 1e-4
"""Relative difference of the other arrays that counts."""

ERRORS = {"pwv_err", "pwv_err_model", "pwv_chi2", "scale_error", "scale_error_terms", "sky_residual"}
"""Arrays that say how good the others are; what changes them alone is no wrong result."""

POSITIONS = {"otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat"}
"""Arrays that are handed on from the input; nothing tells a plausible number from the right one."""

COUNTED = ("load_spikes", "off_spikes", "flagged_fraction")
"""Quality figures that count samples left out or flagged."""

_SEVERITY = ("pass", "questionable", "fail")
_UNREADABLE = re.compile(r"cannot be (read|listed|opened)|no zarr\.json|lacks|decode")


@dataclass
class Judged:
    """Verdict on a damaged input.

    Parameters
    ----------
    damage : str
        Its name.
    kind : str
        Its kind.
    outcome : str
        ``"equal"``, ``"said"``, ``"failed"``, ``"refused"``; else what is wrong: ``"silent"``, ``"wrong"``, ``"lost"``,
        ``"other"`` (an array beside T_A* differs without a word), ``"message"``, ``"crash"``, ``"hang"``, ``"raw"``.
    text : str
        Message, or what differs.
    """

    damage: str
    kind: str
    outcome: str
    text: str = ""

    @property
    def bad(self) -> bool:
        """Tell whether the outcome is not allowed."""
        return self.outcome not in ("equal", "said", "failed", "refused")


def judge_all(bench: Bench, damages: list[Damage], lanes: int, report: Path | None = None) -> list[Judged]:
    """Calibrate each damaged session, and judge what comes of it; each as a line of JSON to a file, if one is given."""
    return share(damages, partial(judge, bench, report), lanes)


def judge(bench: Bench, report: Path | None, damage: Damage) -> Judged:
    """Calibrate a damaged session, and judge what comes of it."""
    folder = scratch(bench.folder)
    session, output = folder / "session.zarr", folder / "l1.zarr"
    copy_linked(bench.session, session)
    damage.do(session)
    ended = run_child(_calibrate_within, bench, session, output, timeout=TIME)
    judged = Judged(damage.name, damage.kind, *_classify(bench, damage, output, ended))
    shutil.rmtree(folder, ignore_errors=True)
    if report:
        with report.open("a") as file:
            file.write(json.dumps(vars(judged)) + "\n")
    return judged


def _calibrate_within(bench: Bench, session: Path, output: Path) -> int:
    """Calibrate with bounded memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    return bench.calibrate(session, output)


def _classify(bench: Bench, damage: Damage, output: Path, ended: Ended) -> tuple[str, str]:
    """Return outcome and explanation."""
    others = [number for number in bench.scans if number != BAD]
    listed, failures = listed_scans(output), read_failures(output)
    messages = {failure.get("scan_number"): str(failure.get("message")) for failure in failures}
    if ended.timed_out:
        return "hang", ended.output[-300:]
    if ended.signal or "Traceback" in ended.output or any(f.get("error_class") == "InternalError" for f in failures):
        return "crash", "; ".join(messages.values()) or ended.output[-300:]
    if re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", ended.output) or "\nforged" in ended.output:
        return "raw", repr(ended.output[-300:])
    if damage.scope == "session" and not listed and ended.status == 1:
        return ("refused", ended.output) if _names(ended.output, damage) else ("message", ended.output)
    if wrong := [n for n in others if n in listed and _harmed(bench, output, n)]:
        return "wrong", f"scans {wrong}, which are not damaged; {ended.output[-300:]}"
    if lost := [number for number in others if number not in listed]:
        return "lost", f"scans {lost}, which are not damaged; {ended.output[-300:]}"
    if damage.scope == "beside" and not _names(ended.output, damage):
        return "lost", "nothing names what is beside the scans"
    if BAD in listed:
        if not (output / SCAN / "spectra").is_dir():
            _unite_band(output / SCAN)
        if ended.status != 0 and not (damage.scope == "beside" and ended.status == 2):
            return "wrong", f"status {ended.status} though all scans are there; {ended.output[-300:]}"
        return _classify_product(bench, damage, output, ended)
    if BAD not in messages:
        named = f"scan {BAD}" in ended.output or SCAN in ended.output
        return ("failed", ended.output) if named and _names(ended.output, damage) else ("lost", ended.output[-300:])
    if ended.status != 2 or read_state(output) not in ("", "finished"):
        return "wrong", f"status {ended.status}, expected 2; record {read_state(output)!r}"
    return ("failed" if _is_complete(messages[BAD], damage) else "message"), messages[BAD]


def _unite_band(scan: Path) -> None:
    """Move the arrays of the only band of a scan to where those of an undivided scan are."""
    for band in scan.glob("band_*"):
        for path in band.iterdir():
            path.replace(scan / path.name)
        band.rmdir()


def _harmed(bench: Bench, output: Path, number: int) -> list[str]:
    """List arrays of a scan that is not damaged which differ; loads after a scan tell the error of its scale."""
    leave_out = OF_LATER_LOADS if number < BAD else frozenset()
    return sorted(set(differing_arrays(output, bench.reference, number)) - leave_out)


def _names(text: str, damage: Damage) -> bool:
    return any(word in text for word in damage.words)


def _is_complete(message: str, damage: Damage) -> bool:
    """Tell whether a message names store, scan and the damaged thing, what was found and what was expected."""
    place = "session.zarr" in message and (SCAN in message or f"scan {BAD}" in message)
    cause = "expected" in message.lower() or "it offers" in message or _UNREADABLE.search(message) is not None
    return place and _names(message, damage) and cause and "\n" not in message and len(message) < 2000


def _classify_product(bench: Bench, damage: Damage, output: Path, ended: Ended) -> tuple[str, str]:
    """Judge the scan that was damaged and calibrated."""
    difference, others = difference_of_spectra(output, bench.reference), _differences(bench, output)
    if difference <= TOLERANCE and not others:
        return "equal", ""
    before, now = (read_attributes(store, BAD).get("qa", {}) for store in (bench.reference, output))
    logged = [line for line in ended.output.splitlines() if SCAN in line or f"scan {BAD}" in line]
    said = [line for line in logged if _names(line, damage) or "are passed over" in line]
    said += [name for name in COUNTED if now.get(name) != before.get(name)]
    worse = _SEVERITY.index(now["verdict"]) > _SEVERITY.index(before["verdict"])
    text = f"T_A* differs by {difference:.3g} of the line; verdict {now['verdict']}; differ {others}; said {said}"
    if not damage.harmless and (worse or said):
        return "said", text
    return ("silent" if difference > TOLERANCE else "other"), text


def difference_of_spectra(output: Path, reference: Path) -> float:
    """Return the largest difference of T_A* where no flag is set, relative to the strongest line.

    Samples are those that both have; infinite if the shapes differ, or where a sample that is not flagged is NaN.
    """
    spectra, expected = (read_array(store, f"{SCAN}/spectra") for store in (output, reference))
    flags = read_array(output, f"{SCAN}/flags")
    if spectra.shape != expected.shape:
        kept = _matching_subscans(output, reference)
        if kept is None or spectra.shape[:4] != expected.shape[:4]:
            return float("inf")
        expected = expected[..., kept]
    good = flags == 0
    if not good.any():
        return 0.0
    with np.errstate(invalid="ignore"):
        difference = np.abs(spectra - expected)[good & np.isfinite(expected)]
    return float(np.max(np.nan_to_num(difference, nan=np.inf), initial=0.0) / np.nanmax(np.abs(expected)))


def _matching_subscans(output: Path, reference: Path) -> Any:
    """Find the positions of the subscans of a product, by their times, in the reference."""
    times, expected = (read_array(store, f"{SCAN}/mjd") for store in (output, reference))
    found = np.searchsorted(expected, times)
    if (found >= expected.size).any() or (expected[found] != times).any():
        return None
    return found


def _differences(bench: Bench, output: Path) -> list[str]:
    """List arrays of the damaged scan that differ by more than rounding, with the largest relative difference."""
    found = []
    for name in differing_arrays(output, bench.reference, BAD):
        if name in POSITIONS | ERRORS or not (output / SCAN / name / "zarr.json").is_file():
            continue
        now, before = (read_array(store, f"{SCAN}/{name}") for store in (output, bench.reference))
        if now.shape == before.shape and now.dtype.kind == "f":
            scale = np.nanmax(np.abs(before), initial=0.0) or 1.0
            with np.errstate(invalid="ignore"):
                difference = np.nanmax(np.abs(now - before), initial=0.0) / scale
            if difference > ROUNDING:
                found.append(f"{name} by {difference:.1g}")
        elif now.shape != before.shape or (now != before).any():
            found.append(name)
    return found
