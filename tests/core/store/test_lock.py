"""The lock of a product: one run at a time, and none waits for a run that is gone."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from cal_pipeline.core.store import lock as locks
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.lock import Holder, LocalLock, RemoteLock, lock_path, process_stamp, read_holder
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import StoreError, StoreLockedError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=["folder", "object store"])
def place(request, tmp_path):
    """Place of a product; the caller makes locks of it."""
    if request.param == "folder":
        return LocalStorePath(tmp_path / "l1.zarr")
    pytest.importorskip("fsspec")
    return open_store(f"memory://{tmp_path}/l1.zarr", write=True)


@pytest.fixture
def make_lock(place):
    """Make a lock of the place, for a run of this process unless another holder is given."""
    made = []

    def make(run, holder=None):
        holder = holder or Holder.of_this_process(run)
        if isinstance(place, LocalStorePath):
            drafts = place.path.with_name(run)
            drafts.mkdir(exist_ok=True)
            made.append(LocalLock(place.path, drafts, holder))
        else:
            made.append(RemoteLock(place, holder))
        return made[-1]

    yield make
    for lock in made:
        lock.release()


@pytest.fixture
def leave_lock(place):
    """Leave the lock of some holder at the place."""

    def leave(holder):
        if isinstance(place, LocalStorePath):
            lock_path(place.path).write_bytes(holder.as_json())
        else:
            place.put(f".lock/{holder.run}.json", holder.as_json(holds=True))
        return holder

    return leave


def other(run="other", **changes):
    return dataclasses.replace(Holder.of_this_process(run), **changes)


def take(lock):
    """Take a lock, and return the run that it is then found to be held by."""
    lock.acquire()
    found = lock._find()
    return None if found is None else found.run


def ago(seconds):
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat(timespec="seconds")


@pytest.fixture
def sleeper():
    """A process of another run."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        yield process
        process.kill()


def test_a_second_run_is_refused_with_the_particulars_of_the_first(make_lock):
    first = make_lock("first")
    first.acquire()
    for attempt in (make_lock("second").acquire, make_lock("third").refuse_if_held):
        with pytest.raises(StoreLockedError, match="is being written by another run") as told:
            attempt()
        for word in (first.holder.host, f"process {os.getpid()}", first.holder.started):
            assert word in str(told.value)
    first.release()
    second = make_lock("fourth")
    second.acquire()
    assert second.holder.run == "fourth"


def test_a_lock_that_was_given_back_leaves_nothing(make_lock, place, tmp_path):
    lock = make_lock("first")
    lock.acquire()
    assert read_holder(place).run == "first"
    lock.release()
    lock.release()
    assert read_holder(place) is None
    assert not list(tmp_path.glob("*.lock"))
    assert not list(place.walk())


class TestRunsThatAreGone:
    @pytest.mark.slow
    def test_a_process_that_has_ended(self, make_lock, leave_lock):
        ended = subprocess.Popen([sys.executable, "-c", ""])
        stamp = process_stamp(ended.pid)
        ended.wait()
        leave_lock(other(pid=ended.pid, process_started=stamp))
        assert take(make_lock("mine")) == "mine"

    def test_a_process_that_was_killed_and_not_asked_for_its_status(self, make_lock, leave_lock, sleeper):
        leave_lock(other(pid=sleeper.pid, process_started=process_stamp(sleeper.pid)))
        with pytest.raises(StoreLockedError, match=f"process {sleeper.pid}"):
            make_lock("mine").acquire()
        sleeper.kill()
        os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
        assert take(make_lock("other")) == "other"

    def test_a_process_with_the_number_of_one_that_has_ended(self, make_lock, leave_lock, sleeper):
        start, _, ticks = process_stamp(sleeper.pid).rpartition("/")
        leave_lock(other(pid=sleeper.pid, process_started=f"{start}/{int(ticks) - 1}"))
        assert take(make_lock("mine")) == "mine"

    def test_a_run_of_this_process(self, make_lock, leave_lock):
        leave_lock(other())
        assert take(make_lock("mine")) == "mine"

    def test_a_machine_that_was_started_again(self, make_lock, leave_lock, sleeper, monkeypatch):
        monkeypatch.setattr(locks, "find_machine_id", lambda: "this")
        _, _, rest = process_stamp(sleeper.pid).partition("/")
        leave_lock(other(pid=sleeper.pid, process_started=f"another-boot/{rest}"))
        assert take(make_lock("mine")) == "mine"

    @pytest.mark.parametrize(("machine", "here"), [("that", "this"), ("", "this"), ("", ""), ("that", "")])
    def test_another_machine_of_this_name_counts_by_its_renewals(
        self, make_lock, leave_lock, monkeypatch, machine, here
    ):
        monkeypatch.setattr(locks, "find_machine_id", lambda: here)
        elsewhere = {"process_started": "another-boot/pid:[1]/5", "machine": machine}
        leave_lock(other(**elsewhere, renewed=ago(500)))
        with pytest.raises(StoreLockedError):
            make_lock("mine").acquire()
        leave_lock(other(**elsewhere, renewed=ago(700)))
        make_lock("yours").acquire()

    @pytest.mark.parametrize("content", [None, "", "uninitialized", "0" * 32])
    @pytest.mark.parametrize("node", [0x02FC00000001, 0x03FC00000001])
    def test_the_id_of_a_machine_lasts_or_is_not_known(self, tmp_path, monkeypatch, content, node):
        monkeypatch.setattr(locks, "_MACHINE_ID", tmp_path / "machine-id")
        monkeypatch.setattr(locks.uuid, "getnode", lambda: node)
        if content is not None:
            (tmp_path / "machine-id").write_text(content + "\n")
        expected = content if content and content.isdigit() else {0: "02fc00000001", 1: ""}[node >> 40 & 1]
        assert locks.find_machine_id.__wrapped__() == expected

    def test_a_lock_that_does_not_say_when_its_process_started(self, make_lock, leave_lock, sleeper, monkeypatch):
        monkeypatch.setattr(locks, "find_machine_id", lambda: "this")
        leave_lock(other(pid=sleeper.pid, process_started=""))
        assert take(make_lock("mine")) == "mine"

    @pytest.mark.parametrize("pid", [0, -1, 2**40])
    def test_a_number_that_no_process_has(self, make_lock, leave_lock, pid):
        leave_lock(other(pid=pid))
        assert take(make_lock("mine")) == "mine"

    @pytest.mark.parametrize("where", ["host", "container"])
    def test_one_that_cannot_be_seen_counts_by_its_renewals(self, make_lock, leave_lock, where):
        # In another container the process may have any number, and one of this number may be another.
        boot, _, _ = process_stamp(os.getpid()).partition("/")
        elsewhere = {"host": {"host": "telescope2"}, "container": {"process_started": f"{boot}/pid:[1]/5"}}[where]
        leave_lock(other(pid=2**22, **elsewhere, renewed=ago(500)))
        with pytest.raises(StoreLockedError):
            make_lock("mine").acquire()
        leave_lock(other(pid=os.getpid(), **elsewhere, renewed=ago(700)))
        make_lock("yours").acquire()

    @pytest.mark.parametrize("renewed", ["", "yesterday"])
    def test_renewals_that_cannot_be_read(self, make_lock, leave_lock, renewed):
        leave_lock(other(host="telescope2", renewed=renewed))
        assert take(make_lock("mine")) == "mine"

    def test_without_proc_a_process_counts_by_its_renewals(self, monkeypatch, sleeper):
        monkeypatch.setattr(locks, "process_stamp", lambda pid: "" if pid == sleeper.pid else None)
        here = other(pid=sleeper.pid, process_started="")
        assert not here.is_gone()
        assert dataclasses.replace(here, renewed=ago(700)).is_gone()
        assert other(pid=sleeper.pid + 1, process_started="").is_gone()


@pytest.mark.slow
@pytest.mark.parametrize("found", ["nothing", "a stale lock"])
def test_one_of_many_takers_wins(place, make_lock, leave_lock, found):
    for attempt in range(5):
        if found != "nothing":
            leave_lock(other(f"gone{attempt}", host="telescope2", renewed=ago(1000)))
        takers = [make_lock(f"{attempt}-{k}") for k in range(4)]
        together = threading.Barrier(len(takers))

        def take(lock, together=together):
            together.wait()
            try:
                lock.acquire()
            except StoreLockedError:
                return False
            return True

        with ThreadPoolExecutor(len(takers)) as pool:
            won = list(pool.map(take, takers))
        assert sum(won) == 1
        winner = takers[won.index(True)]
        assert read_holder(place).run == winner.holder.run
        winner.release()


@pytest.mark.parametrize("lacking", ["guard", "links", "both"])
def test_a_file_system_without_guards_or_hard_links(tmp_path, monkeypatch, lacking):
    def refuse(*_, **__):
        raise OSError(95, "Operation not supported")

    if lacking != "links":
        monkeypatch.setattr(fcntl, "flock", refuse)
    if lacking != "guard":
        monkeypatch.setattr(os, "link", refuse)
    first, second = (LocalLock(tmp_path / "l1.zarr", tmp_path, Holder.of_this_process(run)) for run in "ab")
    first.acquire()
    monkeypatch.setattr(second, "refuse_if_held", lambda: None)
    monkeypatch.setattr(second, "_put_stale_aside", lambda: None)
    with pytest.raises(StoreLockedError, match="appeared while"):
        second.acquire()
    assert json.loads((tmp_path / "l1.zarr.lock").read_text())["run"] == "a"
    first.release()
    assert not (tmp_path / "l1.zarr.lock").exists()


def test_without_a_guard_a_lock_that_replaced_a_stale_one_is_put_back(tmp_path, monkeypatch, sleeper):
    path = lock_path(tmp_path / "l1.zarr")
    path.write_bytes(other("gone", host="telescope2", renewed=ago(1000)).as_json())
    living = other("living", pid=sleeper.pid, process_started=process_stamp(sleeper.pid))
    mine = LocalLock(tmp_path / "l1.zarr", tmp_path, Holder.of_this_process("mine"))
    found = mine._find()
    path.write_bytes(living.as_json())
    monkeypatch.setattr(mine, "_find", lambda: found)
    with pytest.raises(StoreLockedError, match=f"process {sleeper.pid}"):
        mine.acquire()
    assert read_holder(LocalStorePath(tmp_path / "l1.zarr")) == living


@pytest.mark.parametrize("content", ["", "{", "[]", '{"host": "here"}', '{"host": "here", "pid": "7"}', "my thesis"])
def test_what_is_no_lock_is_left_alone(place, make_lock, tmp_path, content):
    local = isinstance(place, LocalStorePath)
    if local:
        (tmp_path / "l1.zarr.lock").write_text(content)
    else:
        place.put(".lock/mine.json", content.encode())
    for attempt in (make_lock("first").refuse_if_held, make_lock("first").acquire):
        with pytest.raises(StoreError, match=r"l1\.zarr\.lock is in the way" if local else r"\.lock/mine\.json is no"):
            attempt()
    assert read_holder(place) is None
    if local:
        assert (tmp_path / "l1.zarr.lock").read_text() == content


def test_an_old_empty_lock_is_of_a_run_that_was_killed_while_it_made_it(tmp_path):
    lock_path(tmp_path / "l1.zarr").touch()
    os.utime(lock_path(tmp_path / "l1.zarr"), (0, 0))
    lock = LocalLock(tmp_path / "l1.zarr", tmp_path, Holder.of_this_process("mine"))
    lock.acquire()
    assert read_holder(LocalStorePath(tmp_path / "l1.zarr")).run == "mine"
    lock.release()


@pytest.mark.parametrize("kind", [os.mkdir, os.mkfifo])
def test_what_is_no_file_in_the_place_of_the_lock_is_named(tmp_path, kind):
    kind(tmp_path / "l1.zarr.lock")
    with pytest.raises(StoreError, match=r"l1\.zarr\.lock is in the way"):
        LocalLock(tmp_path / "l1.zarr", tmp_path, Holder.of_this_process("mine")).refuse_if_held()


class TestRenewal:
    def test_a_thread_renews_the_lock(self, make_lock, place, monkeypatch):
        monkeypatch.setattr(locks, "RENEWAL", 0.01)
        times = iter(range(10**6))
        monkeypatch.setattr(locks, "_now", lambda: f"{next(times)}")
        lock = make_lock("mine")
        lock.acquire()
        first, end = read_holder(place).renewed, time.monotonic() + 20
        while read_holder(place).renewed == first:
            assert time.monotonic() < end
        lock.release()
        assert lock.holder.started == read_holder(place).started if read_holder(place) else True

    def test_a_lock_that_is_gone_is_lost(self, make_lock, place, tmp_path):
        lock = make_lock("mine")
        lock.acquire()
        if isinstance(place, LocalStorePath):
            (tmp_path / "l1.zarr.lock").unlink()
        else:
            place.delete(".lock/mine.json")
        lock.ensure_held()
        for attempt in range(2):
            with pytest.raises(StoreLockedError, match="is gone: another run took the output over and has ended, or"):
                lock.ensure_held(again=attempt == 0)
        lock.renew()
        assert read_holder(place) is None

    def test_a_lock_that_cannot_be_read_for_a_while_is_not_lost(self, make_lock, monkeypatch):
        def fail():
            raise OSError(5, "Input/output error")

        lock = make_lock("mine")
        lock.acquire()
        with monkeypatch.context() as patch:
            patch.setattr(lock, "_find", fail)
            lock.ensure_held(again=True)
            lock._confirmed -= 1000
            with pytest.raises(OSError, match="Input/output"):
                lock.ensure_held()
        lock.ensure_held(again=True)

    def test_nothing_is_renewed_after_the_end(self, make_lock, place):
        lock = make_lock("mine")
        lock.acquire()
        lock.release()
        lock.renew()
        assert read_holder(place) is None

    def test_a_run_notices_that_another_has_taken_over(self, make_lock, leave_lock, place, monkeypatch):
        lock = make_lock("mine")
        lock.acquire()
        lock.ensure_held()
        if not isinstance(place, LocalStorePath):
            place.delete(".lock/mine.json")
        leave_lock(other("theirs", host="telescope2"))
        # Between two renewals nothing is read.
        lock.ensure_held()
        monkeypatch.setattr(locks, "STALE", 0.0)
        lock._confirmed = 0.0
        monkeypatch.setattr(Holder, "is_gone", lambda self: False)
        with pytest.raises(StoreLockedError, match="was taken over by another run: host telescope2"):
            lock.ensure_held()
        lock.renew()
        lock.release()
        assert read_holder(place).run == "theirs"

    def test_a_disk_that_is_full_for_a_while_does_not_end_the_renewals(self, make_lock, place, monkeypatch):
        monkeypatch.setattr(locks, "RENEWAL", 0.01)
        lock = make_lock("mine")
        renewals, enough = [], threading.Event()
        again = lock._write_again

        def fail_first():
            renewals.append(1)
            if len(renewals) < 3:
                raise OSError(28, "No space left on device")
            again()
            enough.set()

        monkeypatch.setattr(lock, "_write_again", fail_first)
        lock.acquire()
        assert enough.wait(20)
        lock.ensure_held()


@pytest.mark.slow
def test_a_claim_of_the_same_moment_gives_way_to_the_earlier_one(tmp_path):
    pytest.importorskip("fsspec")
    root = open_store(f"memory://{tmp_path}/l1.zarr", write=True)
    early, late = other("a", host="one", started=ago(20)), other("b", host="two", started=ago(10))
    root.put(".lock/a.json", early.as_json(holds=False))
    with pytest.raises(StoreLockedError, match="host one"):
        RemoteLock(root, late).acquire()
    assert root.child(".lock").members() == ["a.json"]
    # The earlier one waits for the later one to withdraw.
    root.put(".lock/b.json", late.as_json(holds=False))
    threading.Timer(0.3, root.delete, [".lock/b.json"]).start()
    root.delete(".lock/a.json")
    lock = RemoteLock(root, early)
    lock.acquire()
    assert read_holder(root) == early
    lock.release()


@pytest.mark.slow
def test_a_claim_that_is_never_withdrawn_is_refused_in_time(tmp_path, monkeypatch):
    pytest.importorskip("fsspec")
    monkeypatch.setattr(locks, "_PATIENCE", 0.2)
    root = open_store(f"memory://{tmp_path}/l1.zarr", write=True)
    root.put(".lock/b.json", other("b", host="two", started=ago(10)).as_json(holds=False))
    with pytest.raises(StoreLockedError, match="host two"):
        RemoteLock(root, other("a", host="one", started=ago(20))).acquire()
    assert root.child(".lock").members() == ["b.json"]
