"""Stores behind servers that hang, die, send half or refuse: as the input and as the output of a run."""

from __future__ import annotations

import importlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.store import drivers, time_limits

from .children import Ended, run_child, scratch, share
from .runs import RESUME, Outcome, judge_remains
from .servers import FAULTS, Running, ServerFault, ask, download, object_store, serve, upload
from .sessions import Bench, listed_scans, read_state, wrong_scans

MOMENTS = 5
"""Number of requests of a run at which each fault is tried."""

LIMIT = 1.0
"""Time limit of a request in these runs [s]."""

PLACES = {
    "http": "input on a web server",
    "input": "input in an object store",
    "output": "output in an object store",
}
"""What is behind the server."""

_REFERENCE = "session.zarr"


@dataclass(frozen=True)
class NetworkFault:
    """A fault of a server during a run.

    Parameters
    ----------
    place : str
        One of `PLACES`.
    fault : ServerFault
        What goes wrong, and when.
    """

    place: str
    fault: ServerFault

    @property
    def kind(self) -> str:
        """Row of the table."""
        return f"{PLACES[self.place]}: a server that {FAULTS[self.fault.what]}"

    @property
    def case(self) -> str:
        """Name of the case."""
        return f"{self.kind}, {'at' if self.fault.once else 'from'} request {self.fault.at}"


def make_network_faults(bench: Bench, moments: int = MOMENTS) -> list[NetworkFault]:
    """List faults at requests spread over a run, once and from then on."""
    with object_store() as store:
        counts = {place: _count_requests(bench, store, place) for place in PLACES}
    return [
        NetworkFault(place, ServerFault(what, (2 * moment + 1) * counts[place] // (2 * moments), once))
        for place in PLACES
        for what in FAULTS
        if place == "output" or what != "breaks off after the work"
        for once in (True, False)
        for moment in range(moments)
    ]


def _count_requests(bench: Bench, store: int, place: str) -> int:
    folder = scratch(bench.folder)
    with _served(bench, store, place, None) as (server, source, output, _):
        ended = _run(bench, server, source, output or str(folder / "l1.zarr"))
        assert ended.status == 0, ended.output
        number = server.n_requests
    shutil.rmtree(folder)
    return number


def try_network(bench: Bench, faults: list[NetworkFault], lanes: int) -> list[Outcome]:
    """Calibrate with each fault, and judge what is left and what the next run makes of it."""
    importlib.import_module("s3fs")  # once, and not in each child
    with object_store() as store:
        return share(faults, partial(_try_fault, bench, store), lanes)


def _try_fault(bench: Bench, store: int, case: NetworkFault) -> Outcome:
    folder, outcome = scratch(bench.folder), Outcome(case.kind, case.case)
    with _served(bench, store, case.place, case.fault) as (server, source, output, bucket):
        ended = _run(bench, server, source, output or str(folder / "l1.zarr"))
        local = _local_copy(store, bucket, folder / "found.zarr") if output else folder / "l1.zarr"
        judge_remains(bench, local, ended, outcome)
        _judge_words(ended, outcome)
    finished = listed_scans(local)
    with _served(bench, store, case.place, None, bucket) as (server, source, output, _):
        ended = _run(bench, server, source, output or str(folder / "l1.zarr"), *RESUME)
        if output:
            shutil.rmtree(local, ignore_errors=True)
            _local_copy(store, bucket, local)
        _judge_next(bench, local, ended, finished, outcome)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


@contextmanager
def _served(
    bench: Bench, store: int, place: str, fault: ServerFault | None, bucket: str = ""
) -> Iterator[tuple[Running, str, str, str]]:
    """Serve a session or a bucket; yields the server, the input, the output if it is there, and the bucket."""
    if not bucket:
        bucket = uuid.uuid4().hex
        ask(store, "PUT", f"/{bucket}")
        if place == "input":
            upload(store, bucket, bench.session, _REFERENCE)
    with serve(bench.folder, fault, None if place == "http" else store) as server:
        address = {"http": f"http://127.0.0.1:{server.port}/{_REFERENCE}", "input": f"s3://{bucket}/{_REFERENCE}"}
        output = f"s3://{bucket}/l1.zarr" if place == "output" else ""
        yield server, address.get(place, str(bench.session)), output, bucket


def _local_copy(store: int, bucket: str, folder: Path) -> Path:
    download(store, bucket, "l1.zarr", folder)
    return folder


def _run(bench: Bench, server: Running, source: str, output: str, *others: str) -> Ended:
    """Calibrate in a child that is patient for a moment only."""
    _, _, _, *options = bench.options(None, Path("l1.zarr"), *others)

    def calibrate() -> int:
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        time_limits.CONNECT_LIMIT_S = time_limits.READ_LIMIT_S = time_limits.WRITE_LIMIT_S = LIMIT
        drivers.REQUEST_LIMIT_S = 5 * LIMIT
        drivers.PAUSES_S = (0.05, 0.1)
        return main([source, "-o", output, *options])

    return run_child(calibrate, timeout=120.0)


def _judge_words(ended: Ended, outcome: Outcome) -> None:
    """Judge whether a run that failed names what it could not reach."""
    named = any(word in ended.output for word in ("s3://", "http://"))
    if ended.status not in (0, None) and not named:
        outcome.silent.append(f"no store is named: {ended.output[-400:]}")


def _judge_next(bench: Bench, output: Path, ended: Ended, finished: list[int], outcome: Outcome) -> None:
    """Judge a run after the fault: it must succeed by itself, and leave the reference product."""
    if ended.status != 0:
        outcome.hand.append(f"the next run ends with status {ended.status}: {ended.output[-400:]}")
        return
    listed = listed_scans(output)
    if lost := [number for number in finished if number not in listed]:
        outcome.lost.append(f"scans {lost} after the next run")
    if listed != list(bench.scans):
        outcome.silent.append(f"status 0 of the next run with scans {listed}")
    if wrong := wrong_scans(output, bench.reference, listed):
        outcome.wrong.append(f"scans {wrong} after the next run")
    if (state := read_state(output)) != "finished":
        outcome.silent.append(f"the record of the next run says {state!r}")
    unknown = {path.name for path in output.iterdir()} - {"zarr.json", "failures.json", "run.json"}
    if debris := sorted(name for name in unknown if not name.startswith("scan_")):
        outcome.hand.append(f"the next run leaves {debris}")
