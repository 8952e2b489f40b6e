"""Break the package in small ways, and see whether the tests notice: ``python tests/faults/mutants.py``.

Each mutant is a change of text in a copy of the checkout: it fails loudly where that text is gone, so
that the list keeps up with the code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutant:
    """A change that breaks a promise.

    Parameters
    ----------
    name : str
        What is broken.
    file : str
        Path in the package.
    old, new : str
        Text that is there once, and what takes its place.
    tests : tuple of str
        Tests that must fail, as arguments of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, checkout: Path) -> str:
        """Change the copy of the checkout; returns the text of the file before."""
        path = checkout / "cal_pipeline" / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise SystemExit(
                f"mutant {self.name!r}: {self.file} holds its text {text.count(self.old)} times, expected once"
            )
        path.write_text(text.replace(self.old, self.new))
        return text


ORDER = ("tests/faults/test_writing_order.py",)
OUTPUT = ("tests/core/store/test_output.py",)
LOCK = ("tests/core/store/test_lock.py",)
REPLACING = ("tests/core/store/test_replacing.py",)
RECORD = ("tests/core/run/test_run_record.py",)
SIGNALS = ("tests/core/run/test_signals.py",)
RESUME = ("tests/core/run/test_resume.py",)

MUTANTS = (
    Mutant("fsync does nothing", "core/store/local_path.py", "os.fsync(descriptor)", "pass", ORDER),
    Mutant("a scan is not fsynced", "core/store/output.py", "    root.make_durable()\n", "", ORDER),
    Mutant(
        "the folder of a renamed scan is not fsynced",
        "core/store/local_output.py",
        "                sync_file(target.parent)\n",
        "                pass\n",
        ORDER,
    ),
    Mutant(
        "the folder of a new product is not fsynced",
        "core/store/local_output.py",
        "            sync_file(self.staging.product)\n",
        "",
        ORDER,
    ),
    Mutant(
        "a product that replaces another is not fsynced",
        "core/store/local_output.py",
        "        sync_file(built)\n",
        "",
        ORDER,
    ),
    Mutant("records are not fsynced", "core/store/local_output.py", "            os.fsync(file.fileno())\n", "", ORDER),
    Mutant(
        "remote metadata are put first",
        "core/store/remote_output.py",
        'return self._draft if key == "zarr.json" else self._inner',
        "return self._inner",
        ORDER,
    ),
    Mutant(
        "a remote scan is listed while it is replaced",
        "core/store/remote_output.py",
        '        self._inner.delete("zarr.json")\n',
        "",
        ORDER,
    ),
    Mutant("no check for missing chunks", "core/store/output.py", "if present != len(expected):", "if False:", OUTPUT),
    Mutant(
        "the lock never refuses",
        "core/store/lock.py",
        "        if found is not None and not found.is_gone():\n            raise _refusal(self._store, found)\n\n"
        "    def _find(self) -> Holder | None:\n        return _read_lock(self.path)",
        "        return\n\n    def _find(self) -> Holder | None:\n        return _read_lock(self.path)",
        ("tests/core/store/test_lock.py", *OUTPUT),
    ),
    Mutant(
        "a lock is never stale",
        "core/store/lock.py",
        "        if self.host == socket.gethostname():\n            here",
        "        return False\n        if self.host == socket.gethostname():\n            here",
        LOCK,
    ),
    Mutant("a lock is not renewed", "core/store/lock.py", "                self._write_again()\n", "", LOCK),
    Mutant(
        "a run does not notice that another took over",
        "core/store/lock.py",
        "            self._taken_by = found\n",
        "            pass\n",
        LOCK,
    ),
    Mutant(
        "overwriting deletes the old product first",
        "core/store/local_output.py",
        "            if not resume:\n                _refuse_unremovable(self.path)\n",
        "            if not resume:\n                remove_tree(self.path)\n",
        REPLACING,
    ),
    Mutant(
        "files of others are part of a product",
        "core/store/output.py",
        "    foreign = [key for key in keys if not _is_part(PurePosixPath(key), kind)]",
        "    foreign: list[str] = []",
        REPLACING,
    ),
    Mutant(
        "any folder in staging is ours",
        "core/store/staging.py",
        "        return (self.path / MARK).is_file() or next(self.path.iterdir(), None) is None",
        "        return True",
        REPLACING,
    ),
    Mutant(
        "what was put aside is not put back",
        "core/store/staging.py",
        "            if not target.exists() and target.parent.exists():",
        "            if False:",
        REPLACING,
    ),
    Mutant(
        "staging of a living run is cleared",
        "core/store/staging.py",
        "        if left.is_of_living_run():\n            continue\n",
        "",
        (*REPLACING, *LOCK, *RECORD),
    ),
    Mutant(
        "status 3 is 0",
        "core/run/run_record.py",
        "NOT_RECORDED = 3\n",
        "NOT_RECORDED = 0\n",
        RECORD,
    ),
    Mutant(
        "a record that is not written is forgotten",
        "core/run/run_record.py",
        "        self.unsaved = error\n",
        "        self.unsaved = None\n",
        RECORD,
    ),
    Mutant(
        "failures are not written",
        "core/store/output.py",
        "        self.failures.sort(key=lambda failure: failure[key])\n        self._save_failures_now()\n",
        "        self.failures.sort(key=lambda failure: failure[key])\n",
        OUTPUT,
    ),
    Mutant(
        "the scans in the store are not compared with those asked for",
        "core/run/runner.py",
        "    if lost := sorted(tally.done - found):",
        "    if lost := []:",
        RECORD,
    ),
    Mutant(
        "an interrupted run is finished",
        "core/run/run_record.py",
        "FINISHED if is_finished else INTERRUPTED",
        "FINISHED",
        RECORD,
    ),
    Mutant(
        "workers are not ended",
        "core/run/workers.py",
        "        if self.process.exitcode is None:\n            self.process.kill()\n            self.process.join()\n",
        "",
        ("tests/faults/test_workers_end.py",),
    ),
    Mutant(
        "workers are not asked to end",
        "core/run/workers.py",
        "            self.process.terminate()\n",
        "            pass\n",
        ("tests/faults/test_workers_end.py",),
    ),
    Mutant(
        "requests to remote stores have no time limit",
        "core/store/time_limits.py",
        "aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_LIMIT_S, sock_read=read)",
        "aiohttp.ClientTimeout(total=None)",
        ("tests/core/store/test_time_limits.py",),
    ),
    Mutant(
        "a request as a whole has no time limit",
        "core/store/drivers.py",
        "async with _time_limit(REQUEST_LIMIT_S if limit is None else None):",
        "async with _time_limit(None):",
        ("tests/core/store/test_time_limits.py", "tests/core/store/test_drivers.py"),
    ),
    Mutant(
        "a write to a remote store has no time limit",
        "core/store/drivers.py",
        "            async with _time_limit(limit):",
        "            async with _time_limit(None):",
        ("tests/core/store/test_time_limits.py", "tests/core/store/test_drivers.py"),
    ),
    Mutant(
        "a request is not repeated",
        "core/store/drivers.py",
        "            for pause in () if self._is_silent else PAUSES_S:",
        "            for pause in ():",
        ("tests/core/store/test_time_limits.py", "tests/core/store/test_drivers.py"),
    ),
    Mutant(
        "phases that only hold a name count",
        "heterodyne/phases.py",
        "phase.upper() in names for phase",
        "any(name in phase.upper() for name in names) for phase",
        ("tests/heterodyne/test_modes.py", "tests/heterodyne/test_l0.py"),
    ),
    Mutant(
        "absent chunks pass for coordinates",
        "heterodyne/coordinates.py",
        "    if not absent:\n        return False\n",
        "    if absent or not absent:\n        return False\n",
        ("tests/heterodyne/test_coordinates.py",),
    ),
    Mutant(
        "sizes have no bound",
        "core/store/metadata.py",
        "    if size > LARGEST_CHUNK:",
        "    if False:",
        ("tests/heterodyne/test_sizes.py",),
    ),
    Mutant(
        "numbers of chunks have no bound",
        "core/store/metadata.py",
        "        if number > MOST_CHUNKS:",
        "        if False:",
        ("tests/heterodyne/test_sizes.py",),
    ),
    Mutant(
        "hooks in files run",
        "core/parameters/trust.py",
        "    if name in RUNS_CODE and not empty:",
        "    if False:",
        ("tests/test_security.py",),
    ),
    Mutant(
        "a file allows itself to run code",
        "core/parameters/trust.py",
        "origins.get(ALLOW) != GIVEN",
        "False",
        ("tests/test_security.py",),
    ),
    Mutant(
        "control characters are not escaped",
        "core/text.py",
        "    return character.isprintable() or",
        "    return True or",
        ("tests/core/test_text.py", "tests/core/test_log.py"),
    ),
    Mutant(
        "broken loads of a scan are replaced by others",
        "steps/heterodyne/loads.py",
        "option('fail', 'neighbour', default='fail')",
        "option('fail', 'neighbour', default='neighbour')",
        ("tests/heterodyne/test_session.py", "tests/steps/heterodyne/test_loads_step.py"),
    ),
    Mutant(
        "resume keeps whatever the parameters were",
        "core/run/resume.py",
        "    if differing:\n",
        "    if False:\n",
        RESUME,
    ),
    Mutant(
        "resume does not look at the input",
        "core/run/resume.py",
        "    return find_changes()\n",
        "    return []\n",
        RESUME,
    ),
    Mutant(
        "resume does not look at the engine",
        "core/run/resume.py",
        "    if versions != {__version__}:",
        "    if False:",
        RESUME,
    ),
    Mutant(
        "resume keeps what is incomplete",
        "core/run/resume.py",
        "        check_complete(group)\n",
        "        pass\n",
        RESUME,
    ),
    Mutant(
        "verify compares nothing",
        "core/run/job.py",
        "                place.verify()\n",
        "                pass\n",
        ("tests/faults/test_verified_runs.py",),
    ),
    Mutant(
        "signals are ignored",
        "core/run/signals.py",
        "                self._before[number] = signal.signal(number, self._handle)",
        "                self._before[number] = signal.signal(number, signal.SIG_IGN)",
        SIGNALS,
    ),
    Mutant(
        "a second signal changes nothing",
        "core/run/signals.py",
        "            os._exit(128 + number)",
        "            pass",
        SIGNALS,
    ),
    Mutant(
        "a shielded block is interrupted",
        "core/run/signals.py",
        "        self._shields += 1\n",
        "        self._shields += 0\n",
        SIGNALS,
    ),
    Mutant(
        "a worker outlives its parent",
        "core/run/workers.py",
        '    threading.Thread(target=_die_with_parent, name="parent", daemon=True).start()\n',
        "",
        ("tests/faults/test_workers_end.py",),
    ),
    Mutant(
        "loads of all scans stay open",
        "heterodyne/session.py",
        "        while len(self._calibration) > _REMEMBERED_GROUPS:",
        "        while False:",
        ("tests/heterodyne/test_session.py",),
    ),
)


def run_tests(checkout: Path, tests: Sequence[str], limit: float) -> bool:
    """Run tests in a checkout; returns whether they pass."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    # No bytecode: a file that is changed twice within a second would be taken for the same.
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def copy_checkout(folder: Path) -> Path:
    """Copy the files of the checkout that are under version control, as they are now."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in names.split("\0"):
        if name and (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


DIES = "dies"


def _try_mutant(mutant: Mutant, checkout: Path, limit: float) -> str:
    """Try a mutant and put the file back; returns what became of it."""
    text = mutant.apply(checkout)
    survives = run_tests(checkout, mutant.tests, limit)
    (checkout / "cal_pipeline" / mutant.file).write_text(text)
    return "SURVIVES" if survives else DIES


def main(argv: Sequence[str] | None = None) -> int:
    """Try the mutants and print those that survive; 0 if none does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="try mutants with one of these words in their names (default: all)")
    parser.add_argument("--limit", type=float, default=300.0, help="time for the tests of a mutant [s] (default: 300)")
    given = parser.parse_args(argv)
    chosen = [m for m in MUTANTS if not given.words or any(word in m.name for word in given.words)]
    survivors = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        checkout = copy_checkout(Path(folder))
        for mutant in chosen:
            (checkout / "cal_pipeline" / mutant.file).write_text(mutant.apply(checkout))
        sound: dict[tuple[str, ...], bool] = {}
        for mutant in chosen:
            started = time.monotonic()
            if mutant.tests not in sound:
                sound[mutant.tests] = run_tests(checkout, mutant.tests, given.limit)
            outcome = _try_mutant(mutant, checkout, given.limit) if sound[mutant.tests] else "its tests fail without it"
            survivors += [mutant.name] if outcome != DIES else []
            print(f"{mutant.name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    print(f"{len(chosen)} mutants, {len(survivors)} of them do not die: {', '.join(survivors) or 'none'}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
