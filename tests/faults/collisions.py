"""Paths and runs in each other's way: two runs, links, files of others, outputs that are somebody's."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cal_pipeline.core.store.lock import process_stamp

from .children import Child, Ended, run_child, scratch, share
from .disk import stop_at
from .kills import Kill, calls_of
from .runs import RESUME, Outcome, copy_product, judge_message
from .sessions import Bench, listed_scans, read_state, wrong_scans
from .stores import change_document, copy_linked

TWO_RUNS, PATHS, STRANGERS, LOCKS = "two runs on one output", "paths and links", "files of others", "locks of others"


@dataclass
class Place:
    """A folder in which a case happens.

    Parameters
    ----------
    bench : Bench
        Session and reference.
    folder : Path
        The folder; it holds ``session.zarr``.
    outcome : Outcome
        Takes what is found.
    """

    bench: Bench
    folder: Path
    outcome: Outcome

    @property
    def output(self) -> Path:
        """The product."""
        return self.folder / "l1.zarr"

    def put_old(self, path: Path | None = None) -> Path:
        """Put a product that is to be replaced; its files are copies."""
        shutil.copytree(self.bench.folder / "old.zarr", path or self.output)
        return path or self.output

    def run(self, output: Path | str | None = None, *options: str, session: Path | None = None) -> Ended:
        """Calibrate in a child."""
        session = session or self.folder / "session.zarr"
        return run_child(self.bench.calibrate, session, Path(output or self.output), *options)

    def must_be_right(self, ended: Ended, output: Path | None = None) -> None:
        """Expect success and the reference product."""
        output = output or self.output
        if ended.status != 0:
            self.outcome.hand.append(f"status {ended.status}, expected 0: {ended.output[-300:]}")
        elif listed_scans(output) != list(self.bench.scans):
            self.outcome.silent.append(f"status 0 with scans {listed_scans(output)}")
        elif wrong := wrong_scans(output, self.bench.reference, self.bench.scans):
            self.outcome.wrong.append(f"scans {wrong}")

    def must_be_refused(self, ended: Ended, *words: str) -> None:
        """Expect a refusal that names things."""
        judge_message(ended, self.outcome)
        if ended.status != 1:
            self.outcome.silent.append(f"status {ended.status}, expected 1: {ended.output[-300:]}")
        if missing := [word for word in words if word not in ended.output]:
            self.outcome.silent.append(f"the message does not name {missing}: {ended.output[-300:]}")

    def must_be_right_or_refused(self, ended: Ended, *words: str, output: Path | None = None) -> None:
        """Expect either."""
        if ended.status == 0:
            self.must_be_right(ended, output)
        else:
            self.must_be_refused(ended, *words)

    def must_hold(self, path: Path, content: dict[str, bytes]) -> None:
        """Expect that files of others are as they were."""
        if (found := snapshot(path)) != content:
            gone = sorted(name for name in content if found.get(name) != content[name])
            self.outcome.lost.append(f"files of others in {path.name}: {gone or sorted(set(found) - set(content))}")


def snapshot(path: Path) -> dict[str, bytes]:
    """Read all files below a folder, or a file."""
    if path.is_file():
        return {"": path.read_bytes()}
    files = (Path(root) / name for root, _, names in os.walk(path) for name in names)
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


Case = Callable[[Place], None]


def all_collisions() -> list[tuple[str, str, Case]]:
    """Return kind, name and function of every case."""
    groups = (
        (TWO_RUNS, _two_runs()),
        (LOCKS, _locks()),
        (PATHS, _inside_input()),
        (PATHS, _links()),
        (PATHS, _odd_names()),
        (STRANGERS, _strangers()),
        (STRANGERS, _others_stores()),
    )
    return [(kind, name, case) for kind, cases in groups for name, case in cases]


def try_collisions(bench: Bench, cases: list[tuple[str, str, Case]], lanes: int) -> list[Outcome]:
    """Try each case."""
    return share(cases, partial(_try, bench), lanes)


def _try(bench: Bench, case: tuple[str, str, Case]) -> Outcome:
    kind, name, function = case
    folder = scratch(bench.folder)
    copy_linked(bench.session, folder / "session.zarr")
    outcome = Outcome(kind, name)
    function(Place(bench, folder, outcome))
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


# Two runs.


def _two_runs() -> Iterator[tuple[str, Case]]:
    for scenario in ("new", "overwrite"):
        for part in (0.0, 0.02, 0.3, 0.6, 0.9, 0.99):
            for options in ((), ("--overwrite",), RESUME):
                name = f"{scenario}, the second at {part:.0%} of the first with {' '.join(options) or 'nothing'}"
                yield name, partial(_while_the_first_waits, scenario, part, options)
    for number in range(6):
        yield f"both begin at once, {number + 1}", _both_at_once


def _while_the_first_waits(scenario: str, part: float, options: tuple[str, ...], place: Place) -> None:
    """Stop a run at a call, start another on its output, and let the first go on."""
    own = ["--overwrite"] if scenario == "overwrite" else []
    if own:
        place.put_old()
    number = 1 + int(part * (len(calls_of(place.bench, Kill(scenario, 1, "", 0))) - 1))
    run = partial(place.bench.calibrate, place.folder / "session.zarr", place.output, *own)
    first = Child(stop_at, place.folder, number, run)
    _, status = os.waitpid(first.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status), status
    second = place.run(None, *options)
    os.kill(first.pid, 18)
    ended = first.wait()
    if second.status == 0:
        # The first had not begun, or had all but ended: only one of them may have written.
        if ended.status == 0 and read_state(place.output) not in ("", "finished"):
            place.outcome.silent.append("both end with status 0")
    else:
        _names_the_first(place, second, first.pid, exists=bool(own) or part > 0.9)
    place.must_be_right_or_refused(ended, "l1.zarr")
    if wrong := wrong_scans(place.output, place.bench.reference, place.bench.scans):
        place.outcome.wrong.append(f"scans {wrong} in the end")


def _names_the_first(place: Place, second: Ended, pid: int, exists: bool) -> None:
    """Expect that the second run names the first, or says that the product exists already."""
    if exists and "exists" in second.output:
        return
    place.must_be_refused(second, socket.gethostname(), str(pid), "started")


def _both_at_once(place: Place) -> None:
    children = [
        Child(place.bench.calibrate, place.folder / "session.zarr", place.output, "--overwrite") for _ in range(2)
    ]
    ended = [child.wait() for child in children]
    if all(one.status != 0 for one in ended):
        place.outcome.hand.append(f"neither succeeds: {[one.output[-200:] for one in ended]}")
    for one in ended:
        if one.status != 0:
            judge_message(one, place.outcome)
    if wrong := wrong_scans(place.output, place.bench.reference, place.bench.scans):
        place.outcome.wrong.append(f"scans {wrong} in the end")


# Locks.


def _lock(**changes: Any) -> dict[str, Any]:
    now = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    stamp = process_stamp(os.getpid())
    content = {"host": socket.gethostname(), "pid": os.getpid(), "process_started": stamp, "started": now}
    return content | {"run": "0" * 32, "renewed": now} | changes


def _locks() -> Iterator[tuple[str, Case]]:
    old = "2020-01-01T00:00:00+00:00"
    earlier = (process_stamp(os.getpid()) or "").rpartition("/")[0] + "/1"
    gone: dict[str, Any] = {
        "a process that is gone": _lock(pid=2**22 - 3),
        "a process whose number another has": _lock(process_started=earlier),
        "another host, not renewed since 2020": _lock(host="elsewhere", pid=1, started=old, renewed=old),
        "another host, renewed at no time": _lock(host="elsewhere", pid=1, started=old, renewed="yesterday"),
        "negative process": _lock(pid=-1),
    }
    for name, content in gone.items():
        yield f"lock of {name}", partial(_stale, json.dumps(content))
    yield "lock that is empty", partial(_not_a_lock, "")
    yield "lock cut off", partial(_not_a_lock, json.dumps(_lock())[:30])
    yield "lock of another host, just renewed", _held_elsewhere
    yield "lock that is somebody's text", partial(_not_a_lock, "my notes\n")
    yield "lock that is a folder", _lock_is_folder


def _stale(content: str, place: Place) -> None:
    place.put_old()
    Path(f"{place.output}.lock").write_text(content)
    place.must_be_right(place.run(None, "--overwrite"))


def _held_elsewhere(place: Place) -> None:
    place.put_old()
    Path(f"{place.output}.lock").write_text(json.dumps(_lock(host="elsewhere", pid=4711)))
    before = snapshot(place.output)
    place.must_be_refused(place.run(None, "--overwrite"), "elsewhere", "4711")
    place.must_hold(place.output, before)


def _not_a_lock(content: str, place: Place) -> None:
    path = Path(f"{place.output}.lock")
    path.write_text(content)
    place.must_be_right_or_refused(place.run(), path.name)
    if path.exists():
        place.must_hold(path, {"": content.encode()})
    else:
        place.outcome.lost.append(f"{path.name}, which is somebody's")


def _lock_is_folder(place: Place) -> None:
    folder = Path(f"{place.output}.lock")
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    place.must_be_right_or_refused(place.run(), folder.name)
    place.must_hold(folder, {"thesis.txt": b"years"})


# Paths.


def _inside_input() -> Iterator[tuple[str, Case]]:
    def refused(make: Callable[[Path], str | Path], place: Place) -> None:
        session = place.folder / "session.zarr"
        output = make(place.folder)
        before = snapshot(session)
        place.must_be_refused(place.run(output, "--overwrite"), "input")
        place.must_hold(session, before)

    def link(folder: Path, target: str, name: str = "link") -> Path:
        (folder / name).symlink_to(target)
        return folder / name

    makers: dict[str, Callable[[Path], str | Path]] = {
        "the input": lambda folder: folder / "session.zarr",
        "in the input": lambda folder: folder / "session.zarr/l1.zarr",
        "in a scan of the input": lambda folder: folder / "session.zarr/scan_000001/l1.zarr",
        "the folder of the input": lambda folder: folder,
        "the input through ..": lambda folder: f"{folder}/session.zarr/../session.zarr",
        "in the input through ..": lambda folder: f"{folder}/other/../session.zarr/l1.zarr",
        "a link to the input": lambda folder: link(folder, "session.zarr"),
        "in a link to the input": lambda folder: link(folder, "session.zarr") / "l1.zarr",
        "a link to a folder in the input": lambda folder: link(folder, "session.zarr/scan_000001"),
        "a link to nothing in the input": lambda folder: link(folder, "session.zarr/new.zarr"),
        "in the input, through a link and ..": lambda folder: f"{link(folder, 'session.zarr/scan_000001')}/../l1.zarr",
    }
    for name, make in makers.items():
        yield f"output is {name}", partial(refused, make)
    yield "output only seems to be in the input", _beside_through_dots
    yield "input is a link beside the output", _input_is_link


def _beside_through_dots(place: Place) -> None:
    ended = place.run(f"{place.folder}/session.zarr/../beside.zarr")
    place.must_be_right(ended, place.folder / "beside.zarr")


def _input_is_link(place: Place) -> None:
    (place.folder / "elsewhere").mkdir()
    (place.folder / "session.zarr").rename(place.folder / "elsewhere/session.zarr")
    (place.folder / "session.zarr").symlink_to("elsewhere/session.zarr")
    place.must_be_right(place.run())


def _links() -> Iterator[tuple[str, Case]]:
    yield "output is a link to a product", _link_to_product
    yield "output is a link to a product, and a scan of it is not asked for", _link_to_product_of_more
    yield "output is a link to an empty folder", _link_to_empty
    yield "output is a link to nothing", partial(_link_refused_or_right, "disk/new.zarr")
    yield "output is a link to nothing in no folder", partial(_link_refused_or_right, "nowhere/new.zarr")
    yield "output is a link to itself", partial(_link_refused_or_right, "l1.zarr")
    yield "output is a link to a file", _link_to_file
    yield "output is a link to somebody's folder", _link_to_folder
    yield "the folder of the output is a link", _folder_is_link
    yield "a scan of the old product is a link", _scan_is_link
    yield "staging is a link to somebody's folder", _staging_is_link


def _link_to_product(place: Place) -> None:
    (place.folder / "disk").mkdir()
    target = place.put_old(place.folder / "disk/l1.zarr")
    place.output.symlink_to(target)
    place.must_be_right(place.run(None, "--overwrite"), target)
    if not place.output.is_symlink():
        place.outcome.lost.append("the link")


def _link_to_product_of_more(place: Place) -> None:
    (place.folder / "disk").mkdir()
    target = place.put_old(place.folder / "disk/l1.zarr")
    place.output.symlink_to(target)
    ended = place.run(None, "--overwrite", "--scans", "1")
    if ended.status != 0 or listed_scans(target) != [1]:
        place.outcome.silent.append(f"status {ended.status} with scans {listed_scans(target)}, asked for 1")


def _link_to_empty(place: Place) -> None:
    (place.folder / "disk").mkdir()
    place.output.symlink_to("disk")
    place.must_be_right_or_refused(place.run(), "l1.zarr", output=place.folder / "disk")


def _link_refused_or_right(target: str, place: Place) -> None:
    (place.folder / "disk").mkdir()
    place.output.symlink_to(target)
    place.must_be_right_or_refused(place.run(), "l1.zarr")


def _link_to_file(place: Place) -> None:
    (place.folder / "thesis.txt").write_text("years")
    place.output.symlink_to("thesis.txt")
    place.must_be_refused(place.run(None, "--overwrite"), "output", "thesis.txt")
    place.must_hold(place.folder / "thesis.txt", {"": b"years"})


def _link_to_folder(place: Place) -> None:
    folder = place.folder / "home"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    place.output.symlink_to("home")
    place.must_be_refused(place.run(None, "--overwrite"), "output", "home")
    place.must_hold(folder, {"thesis.txt": b"years"})


def _folder_is_link(place: Place) -> None:
    (place.folder / "disk").mkdir()
    (place.folder / "tonight").symlink_to("disk")
    place.put_old(place.folder / "disk/l1.zarr")
    ended = place.run(place.folder / "tonight/l1.zarr", "--overwrite")
    place.must_be_right(ended, place.folder / "disk/l1.zarr")


def _scan_is_link(place: Place) -> None:
    place.put_old()
    (place.output / "scan_000001").rename(place.folder / "kept")
    (place.output / "scan_000001").symlink_to("../kept")
    before = snapshot(place.folder / "kept")
    place.must_be_right_or_refused(place.run(None, "--overwrite"), "scan_000001")
    place.must_hold(place.folder / "kept", before)


def _staging_is_link(place: Place) -> None:
    folder = place.folder / "home"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    Path(f"{place.output}.staging").symlink_to("home")
    place.must_be_right_or_refused(place.run(), "staging")
    place.must_hold(folder, {"thesis.txt": b"years"})


def _odd_names() -> Iterator[tuple[str, Case]]:
    names = {
        "blanks": "my night.zarr",
        "a line break": "two\nlines.zarr",
        "an escape sequence": "red\x1b[31m.zarr",
        "percent signs": "100%s %d.zarr",
        "wildcards": "*[a].zarr",
        "accents": "ete\u0301.zarr",
        "bytes that are no text": os.fsdecode(b"\xff\xfe.zarr"),
        "250 letters": "x" * 245 + ".zarr",
        "folders that are not there": "a/b/c/l1.zarr",
        "a slash at its end": "l1.zarr/",
        "a dot before": ".hidden.zarr",
    }
    for name, output in names.items():
        yield f"the name has {name}", partial(_odd_name, output)


def _odd_name(name: str, place: Place) -> None:
    output = place.folder / name
    ended = place.run(f"{place.folder}/{name}")
    if any(ord(letter) < 32 and letter != "\n" for letter in ended.output) or "\ntwo\n" in ended.output:
        place.outcome.silent.append(f"the name reaches the terminal as it is: {ended.output!r:.300}")
    place.must_be_right_or_refused(ended, "zarr", output=output)


# Files of others.


def _strangers() -> Iterator[tuple[str, Case]]:
    inside = {
        "notes in the store": "notes.txt",
        "notes in a scan": "scan_000001/notes.txt",
        "notes in an array": "scan_000001/spectra/notes.txt",
        "a folder in the store": "figures/fig1.png",
        "a hidden file in the store": ".notes",
        "another scan of other make": "scan_000009/thesis.txt",
    }
    for options in (("--overwrite",), RESUME):
        for name, key in inside.items():
            yield f"{name}, {' '.join(options)}", partial(_stranger_inside, key, options)
    for name in ("thesis.txt", "0123456789abcdef0123456789abcdef/thesis.txt", "scan_000001/zarr.json"):
        yield f"staging holds {name}", partial(_stranger_in_staging, name)
    yield "staging is a file", _staging_is_file
    for what in ("file", "folder", "link"):
        yield f"the table of figures is somebody's {what}", partial(_table_is_somebodys, what)
    yield "an old product that cannot be removed", _undeletable


def _stranger_inside(key: str, options: tuple[str, ...], place: Place) -> None:
    place.put_old()
    path = place.output / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("years")
    ended = place.run(None, *options)
    place.must_be_right_or_refused(ended, Path(key).name)
    if not path.is_file() or path.read_text() != "years":
        place.outcome.lost.append(f"{key}, which is somebody's")
    path.unlink(missing_ok=True)
    if ended.status != 0 and wrong_scans(place.output, place.bench.folder / "old.zarr", place.bench.scans):
        place.outcome.lost.append("the old product, though the run was refused")


def _stranger_in_staging(name: str, place: Place) -> None:
    path = Path(f"{place.output}.staging") / name
    path.parent.mkdir(parents=True)
    path.write_text("years")
    place.must_be_right_or_refused(place.run(), "l1.zarr.staging")
    if not path.is_file() or path.read_text() != "years":
        place.outcome.lost.append(f"{name}, which is somebody's")


def _staging_is_file(place: Place) -> None:
    path = Path(f"{place.output}.staging")
    path.write_text("years")
    place.must_be_right_or_refused(place.run(), path.name)
    place.must_hold(path, {"": b"years"})


def _table_is_somebodys(what: str, place: Place) -> None:
    path = place.folder / "l1_quality.ecsv"
    kept = path
    if what == "folder":
        path.mkdir()
        (path / "thesis.txt").write_text("years")
    elif what == "link":
        kept = place.folder / "thesis.txt"
        kept.write_text("years")
        path.symlink_to(kept)
    else:
        path.write_text("years")
    before = snapshot(kept)
    ended = place.run()
    if listed_scans(place.output) and wrong_scans(place.output, place.bench.reference, place.bench.scans):
        place.outcome.wrong.append("scans of the product")
    if ended.status not in (0, 3) or path.name not in ended.output:
        place.must_be_right_or_refused(ended, path.name)
    place.must_hold(kept, before)


def _undeletable(place: Place) -> None:
    """Mount a disk in the old product: nothing removes or renames it."""
    place.put_old()
    where = place.output / "scan_000001/spectra"
    command = ["mount", "--bind", str(where), str(where)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
        place.outcome.skipped = "mounting needs root"
        return
    try:
        ended = place.run(None, "--overwrite")
        whole = [path.parents[1] for path in place.folder.rglob("scan_000001/spectra")]
        wholes = [(path, make) for path in whole for make in (place.bench.reference, place.bench.folder / "old.zarr")]
        if all(wrong_scans(path, make, place.bench.scans) for path, make in wholes):
            place.outcome.lost.append("neither the old product nor the new is whole")
        if ended.status == 0:
            place.must_be_right(ended)
        else:
            judge_message(ended, place.outcome)
    finally:
        # Its run may have renamed it; Path.is_mount does not see a mount within one file system.
        mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for path in mounted:
            if path.startswith(f"{place.folder}/"):
                subprocess.run(["umount", path], check=True)


def _others_stores() -> Iterator[tuple[str, Case]]:
    makers: dict[str, Callable[[Path], None]] = {
        "a folder": lambda path: (path.mkdir(), (path / "thesis.txt").write_text("years"))[0],
        "a file": lambda path: (path.write_text("years"), None)[1],
        "a Zarr group": _make_group,
        "a Zarr group with scans": lambda path: (_make_group(path), (path / "scan_000001").mkdir())[0],
        "a product of unknown make": lambda path: _make_product(path, "cal_engine_version"),
        "a folder of a product without metadata": lambda path: (path.mkdir(), (path / "scan_000001").mkdir())[0],
    }
    for name, make in makers.items():
        for options in (("--overwrite",), RESUME):
            yield f"output is somebody's: {name}, {' '.join(options)}", partial(_somebodys, make, options)
    yield "output is another session", _other_session
    yield "output is the truth of a simulation", _truth
    yield "a scan that fails when another product is replaced", _old_scan_of_failed
    yield "only one scan is asked for when a product is replaced", _less_than_before


def _make_group(path: Path) -> None:
    path.mkdir()
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"mine": 1}}')


def _make_product(path: Path, attribute: str) -> None:
    _make_group(path)
    change_document(path, attributes={attribute: "1"})


def _somebodys(make: Callable[[Path], None], options: tuple[str, ...], place: Place) -> None:
    make(place.output)
    before, folders = snapshot(place.output), sorted(place.output.rglob("*"))
    place.must_be_refused(place.run(None, *options), "l1.zarr")
    place.must_hold(place.output, before)
    if sorted(place.output.rglob("*")) != folders:
        place.outcome.lost.append("folders of others")


def _other_session(place: Place) -> None:
    other = place.folder / "other.zarr"
    copy_linked(place.bench.session, other)
    before = snapshot(other)
    place.must_be_refused(place.run(other, "--overwrite"), "other.zarr")
    place.must_hold(other, before)


def _truth(place: Place) -> None:
    truth = place.folder / "session.truth.zarr"
    copy_linked(place.bench.folder / "session.truth.zarr", truth)
    before = snapshot(truth)
    place.must_be_refused(place.run(truth, "--overwrite"), "session.truth.zarr")
    place.must_hold(truth, before)


def _old_scan_of_failed(place: Place) -> None:
    """A scan of the old product must not pass for that of the new one."""
    place.put_old()
    shutil.rmtree(place.folder / "session.zarr/scan_000002/source/mjd")
    ended = place.run(None, "--overwrite")
    if ended.status != 2 or listed_scans(place.output) != [1]:
        place.outcome.silent.append(f"status {ended.status} with scans {listed_scans(place.output)}; scan 2 fails")


def _less_than_before(place: Place) -> None:
    copy_product(place.bench.reference, place.output)
    for options in (("--overwrite",), RESUME):
        ended = place.run(None, "--scans", "1", *options)
        if ended.status != 0 or listed_scans(place.output) != [1]:
            found = f"status {ended.status} with scans {listed_scans(place.output)}"
            place.outcome.silent.append(f"{options}: {found}, asked for 1")
