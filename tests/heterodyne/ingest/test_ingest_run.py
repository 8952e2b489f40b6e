"""A session is added to: what is there, made from the same files, is kept; nothing half-written is seen."""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr
from helpers_ingest_files import WHOLE, snapshot, truncate, write_file, write_files, write_profile

from cal_pipeline import CalibratedSession, open_l0, open_l1
from cal_pipeline.core.errors import UsageError
from cal_pipeline.core.run.run_record import RunRecordError
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.errors import OutputExistsError, RunInterruptedError, StoreError, StoreLockedError
from cal_pipeline.heterodyne.check import check_store
from cal_pipeline.heterodyne.ingest import recipe
from cal_pipeline.heterodyne.ingest.errors import IngestError
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.ingest import ingest, preview_ingest


@pytest.fixture
def files(tmp_path):
    return tmp_path / "night"


@pytest.fixture
def session(tmp_path):
    """A session in a folder of its own, to see all that is written beside it."""
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "night.zarr"


@pytest.fixture
def run(tmp_path, files, session):
    profile = write_profile(tmp_path)

    def start(*paths, **settings):
        return ingest(list(paths) or files, session, settings.pop("profile", profile), threads=1, **settings)

    return start


def read_record(session):
    return json.loads((session / "ingest.json").read_text())


def read_counts(session, number, group="source"):
    return zarr.open_array(session / f"scan_{number:06d}/{group}/data_5d", mode="r")[...]


def failed(call):
    with pytest.raises(RunFailedError) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("threads", [0, -1, "two", 1.5])
def test_a_number_of_threads_that_is_none(files, session, tmp_path, threads):
    with pytest.raises(UsageError, match=f"threads is {threads!r}, expected a whole number from 1"):
        ingest(files, session, write_profile(tmp_path), threads=threads)


def test_scans_are_written_with_the_record_of_their_files(run, files, session, caplog):
    write_files(files, 3, 4, phases=WHOLE)
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        done = run()
    assert (done.session, done.written, done.kept, done.failures) == (session, (3, 4), (), [])
    counts = read_counts(session, 3)
    assert counts.shape == (16, 1, 2, 1, 4)
    np.testing.assert_array_equal(counts[:, 0, 1, 0, 1], 3000 + 300 + 50 + np.arange(16))
    record = read_record(session)
    assert (list(record), list(record["scans"]), record["failures"]) == (["scans", "failures"], ["3", "4"], [])
    entry = record["scans"]["3"]
    assert entry["profile"]["name"] == "barge"
    assert [item["name"] for item in entry["files"]] == ["000003_barge.fits"]
    assert entry["files"][0]["size"] == (files / "000003_barge.fits").stat().st_size
    assert [len(entry["files"][0]["sha256"]), len(entry["profile"]["sha256"]), entry["warnings"]] == [64, 64, []]
    lines = [entry.getMessage() for entry in caplog.records]
    assert "scan 3: 2 OFF, 2 ON, 1 HOT, 1 COLD, 2 pixels x 16 channels, 0.0 MB" in lines
    assert any(line.startswith("2 scans ingested in ") and line.endswith(str(session)) for line in lines)
    assert sorted(path.name for path in session.parent.iterdir()) == ["night.zarr"]


def test_readers_know_the_session(run, files, session, caplog):
    write_files(files, 3)
    run()
    assert Session(session).select(None) == [3]
    assert "ingest.json" not in caplog.text
    assert open_l0(session).numbers == [3]
    with pytest.raises(StoreError, match=r"is an L0 session of 1 scan, not an L1 store; open_l0 opens it"):
        open_l1(session)
    with pytest.raises(StoreError, match=r"is no L1 store: it is an L0 session of 1 scan"):
        CalibratedSession(session)
    report = check_store(session)
    assert (report.kind, report.n_observations, [str(finding) for finding in report.findings]) == ("L0 session", 1, [])
    assert len(Session(session).open_scan(3).attributes["ingest_digest"]) == 64


def test_the_same_again_writes_nothing(run, files, session):
    write_files(files, 3, 4)
    run()
    before = snapshot(session)
    again = run()
    assert (again.written, again.kept) == ((), (3, 4))
    assert snapshot(session) == before
    assert run(*sorted(files.iterdir()), overwrite=True).kept == (3, 4)
    assert snapshot(session) == before
    moved = files.rename(files.parent / "elsewhere")
    assert run(moved, scans="4").kept == (4,)
    assert snapshot(session) == before


def test_the_same_again_writes_nothing_where_scans_fail(run, files, session, caplog):
    write_files(files, 3)
    write_files(files, 4, phases="BX")
    first = failed(run)
    assert (first.exit_status, first.product.written) == (2, (3,))
    before = snapshot(session)
    caplog.clear()
    again = failed(run)
    assert (again.exit_status, again.product.kept, again.failures) == (2, (3,), first.failures)
    assert "scan 4 failed: " in caplog.text
    assert snapshot(session) == before
    assert str(again) == f"1 of 2 scans could not be ingested; see {session}/ingest.json" == str(first)


def test_new_scans_are_added_and_the_others_stay(run, files, session, caplog):
    write_files(files, 3)
    run()
    times = {path: path.stat().st_mtime_ns for path in (session / "scan_000003").rglob("*")}
    write_files(files, 4, 5)
    caplog.clear()
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        done = run(scans="3,5")
    assert (done.written, done.kept) == ((5,), (3,))
    assert {path: path.stat().st_mtime_ns for path in (session / "scan_000003").rglob("*")} == times
    assert list(read_record(session)["scans"]) == ["3", "5"]
    assert f"{session}: scan 5 added; scan 3 kept" in caplog.text
    assert "1 scan ingested, 1 kept in " in caplog.text
    assert run(scans=[4]).written == (4,)
    assert list(read_record(session)["scans"]) == ["3", "4", "5"]
    assert check_store(session).findings == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: write_files(files, 3, value=1.0), "found 000003_barge.fits (SHA-256 "),
        (lambda files: write_profile(files.parent, "290.0", "291.0"), "found profile barge (SHA-256 "),
        (
            lambda files: (files / "000003_barge.fits").rename(files / "3_b.fits"),
            "found further files: 3_b.fits; without the files 000003_barge.fits; give",
        ),
    ],
)
def test_other_inputs_are_refused_by_name_unless_overwritten(run, files, session, change, words):
    write_files(files, 3, 4)
    run()
    change(files)
    before = read_counts(session, 3)
    error = failed(lambda: run(scans="3"))
    assert (error.exit_status, error.product.kept) == (1, ())
    (failure,) = error.failures
    assert (failure["scan_number"], failure["error_class"]) == (3, OutputExistsError.__name__)
    assert words in failure["message"]
    assert "give overwrite=True (--overwrite) to replace it" in failure["message"]
    np.testing.assert_array_equal(read_counts(session, 3), before)
    assert read_record(session)["failures"] == [failure]
    written = snapshot(session)
    assert failed(lambda: run(scans="3")).failures == [failure]
    assert snapshot(session) == written
    assert run(scans="3", overwrite=True).written == (3,)
    assert read_record(session)["failures"] == []
    assert list(read_record(session)["scans"]) == ["3", "4"]
    assert check_store(session).findings == []


def test_a_replacement_that_fails_leaves_the_scan_that_was_there(run, files, session):
    write_files(files, 3)
    run()
    before, entry = snapshot(session / "scan_000003"), read_record(session)["scans"]["3"]
    write_files(files, 3, value=1e10)
    error = failed(lambda: run(overwrite=True))
    assert (error.exit_status, error.product.written) == (1, ())
    (failure,) = error.failures
    assert failure["file"] == str(files / "000003_barge.fits")
    inside = str(session / "scan_000003")
    after = snapshot(session / "scan_000003")
    assert {path: found for path, found in after.items() if path.startswith(inside)} == {
        path: found for path, found in before.items() if path.startswith(inside)
    }
    assert read_record(session) == {"scans": {"3": entry}, "failures": [failure]}
    before = {path: found for path, found in snapshot(session).items() if path.startswith(str(session))}
    failed(lambda: run(overwrite=True))
    after = {path: found for path, found in snapshot(session).items() if path.startswith(str(session))}
    assert after == before


def test_a_bad_file_costs_its_scan_and_no_other(run, files, session):
    write_files(files, 3, 4)
    truncate(files / "000003_barge.fits")
    (files / "notes.fits").write_text("no FITS file")
    error = failed(run)
    assert (error.exit_status, error.product.written) == (2, (4,))
    unknown, known = read_record(session)["failures"]
    assert (unknown["scan_number"], unknown["file"]) == (None, str(files / "notes.fits"))
    assert (known["scan_number"], known["file"]) == (3, str(files / "000003_barge.fits"))
    assert error.failures == [unknown, known]
    before = snapshot(session)
    assert failed(run).failures == error.failures
    assert snapshot(session) == before
    assert check_store(session).findings == []
    write_files(files, 3)
    again = failed(run)
    assert (again.exit_status, again.product.written, again.product.kept) == (2, (3,), (4,))
    assert str(again) == f"1 file could not be ingested, of an unknown scan; see {session}/ingest.json"
    before = snapshot(session)
    assert str(failed(run)) == str(again)
    assert snapshot(session) == before
    (files / "notes.fits").unlink()
    assert run().kept == (3, 4)
    assert read_record(session)["failures"] == []


def test_nothing_is_written_where_no_file_holds_a_scan(run, files, session):
    files.mkdir()
    (files / "notes.fits").write_text("no FITS file")
    with pytest.raises(IngestError, match=r"found no scan in 1 file with the profile barge.*notes\.fits"):
        run()
    with pytest.raises(IngestError, match="nowhere"):
        run(files / "nowhere")
    write_files(files, 3)
    with pytest.raises(StoreError, match=r"has no scan 9; it has 3"):
        run(scans="9")
    assert list(session.parent.iterdir()) == []


def test_a_run_that_was_killed_before_the_record_is_completed_without_writing_a_scan(run, files, session):
    write_files(files, 3, 4)
    run()
    record = (session / "ingest.json").read_bytes()
    for content in (None, b"", b"{", b'{"scans": {}, "failures": []}'):
        if content is None:
            (session / "ingest.json").unlink()
        else:
            (session / "ingest.json").write_bytes(content)
        before = {path: path.stat().st_mtime_ns for path in session.glob("scan_*/**/*")}
        assert run().kept == (3, 4)
        assert {path: path.stat().st_mtime_ns for path in session.glob("scan_*/**/*")} == before
        assert (session / "ingest.json").read_bytes() == record
    assert [path.name for path in session.parent.iterdir()] == [session.name]


KILLED = """
import os, signal, sys
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.ingest import ingest
publish = LocalOutput.publish
def publish_and_die(self, name, changed=False):
    publish(self, name, changed)
    os.kill(os.getpid(), signal.SIGKILL)
LocalOutput.publish = publish_and_die
ingest(sys.argv[1], sys.argv[2], sys.argv[3], threads=1)
"""


@pytest.mark.slow
def test_a_run_that_was_killed_is_taken_up(run, files, session, tmp_path):
    write_files(files, 3, 4)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(files), str(session), str(tmp_path / "barge.toml")], check=False
    )
    assert done.returncode == -9
    assert (session / "scan_000003").is_dir()
    assert read_record(session)["scans"] == {}
    assert "no entry of scan 3, which is in the store" in str(check_store(session).findings[0])
    before = {path: path.stat().st_mtime_ns for path in (session / "scan_000003").rglob("*")}
    again = run()
    assert (again.written, again.kept) == ((4,), (3,))
    assert {path: path.stat().st_mtime_ns for path in (session / "scan_000003").rglob("*")} == before
    assert list(read_record(session)["scans"]) == ["3", "4"]
    assert [path.name for path in session.parent.iterdir()] == [session.name]


def test_what_a_run_that_was_killed_left_beside_a_whole_session_is_removed(run, files, session):
    write_files(files, 3)
    run()
    before = (session / "ingest.json").stat().st_mtime_ns
    left = session.with_name("night.zarr.staging") / ("a" * 32)
    left.mkdir(parents=True)
    holder = {"host": "elsewhere", "pid": 1, "renewed": "2001-01-01T00:00:00+00:00"}
    (left / "cal_pipeline_run.json").write_text(json.dumps(holder))
    assert run().kept == (3,)
    assert not left.parent.exists()
    assert (session / "ingest.json").stat().st_mtime_ns == before


def test_an_interruption_leaves_finished_scans_and_their_record(run, files, session, monkeypatch):
    write_files(files, 3, 4, 5)
    write = recipe.write_scan

    def interrupt(plan, *rest):
        if plan.number == 4:
            raise KeyboardInterrupt
        return write(plan, *rest)

    monkeypatch.setattr(recipe, "write_scan", interrupt)
    with pytest.raises(RunInterruptedError, match="interrupted; 1 of 3 scans finished and kept in"):
        run()
    assert list(read_record(session)["scans"]) == ["3"]
    assert sorted(path.name for path in session.glob("scan_*")) == ["scan_000003"]
    assert [path.name for path in session.parent.iterdir()] == [session.name]
    monkeypatch.undo()
    assert (run().written, list(read_record(session)["scans"])) == ((4, 5), ["3", "4", "5"])


def test_an_interruption_before_the_first_scan_leaves_nothing(run, files, session, monkeypatch):
    write_files(files, 3)

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "write_scan", interrupt)
    with pytest.raises(RunInterruptedError, match="no store is left"):
        run()
    assert list(session.parent.iterdir()) == []


def test_a_record_that_cannot_be_written_is_an_error_of_its_own(run, files, session, monkeypatch):
    write_files(files, 3)

    def refuse(self, key, content):
        raise OSError(28, "No space left on device", key)

    monkeypatch.setattr(LocalOutput, "put_record", refuse)
    with pytest.raises(RunRecordError, match=r"1 scan ingested, but what describes the run is not written") as caught:
        run()
    assert (caught.value.exit_status, caught.value.product.written) == (3, (3,))
    monkeypatch.undo()
    assert run().kept == (3,)
    assert list(read_record(session)["scans"]) == ["3"]


def test_sessions_of_others_are_never_written_into(run, files, session):
    write_files(files, 3)
    zarr.create_group(session).create_group("scan_000003/source")
    before = snapshot(session)
    with pytest.raises(
        StoreError, match=r"night\.zarr is an L0 session of 1 scan, expected nothing there, or a session "
    ):
        run(overwrite=True)
    assert snapshot(session) == before
    shutil.rmtree(session)
    session.mkdir()
    (session / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is a folder without a Zarr store, expected nothing there"):
        run()
    (session / "notes.txt").unlink()
    assert run().written == (3,)
    (session / "notes.txt").write_text("mine")
    write_files(files, 4)
    with pytest.raises(StoreError, match=r"holds what is not part of an ingested session.*: notes\.txt"):
        run()


def test_a_number_that_has_no_group_is_refused(run, files, session):
    write_files(files, 3, 1000003)
    error = failed(run)
    assert (error.exit_status, error.product.written) == (2, (3,))
    assert [(failure["scan_number"], failure["error_class"]) for failure in error.failures] == [
        (1000003, "IngestError")
    ]
    assert "expected at most six digits, as in scan_NNNNNN" in error.failures[0]["message"]
    assert sorted(path.name for path in session.glob("scan_*")) == ["scan_000003"]


def test_a_session_may_be_remote(run, files, tmp_path):
    where, profile = f"memory://{tmp_path.name}/night.zarr", tmp_path / "barge.toml"
    write_files(files, 3)
    assert ingest(files, where, profile, threads=1).session == where
    write_files(files, 4)
    assert ingest(files, where, profile, threads=1).written == (4,)
    assert ingest(files, where, profile, threads=1).kept == (3, 4)
    write_files(files, 3, value=1.0)
    error = failed(lambda: ingest(files, where, profile, threads=1))
    assert (error.exit_status, error.product.kept) == (2, (4,))
    assert check_store(where).findings == []


def test_files_in_the_session_are_no_input(run, files, session):
    write_files(files, 3)
    run()
    write_files(session, 4)
    with pytest.raises(StoreError, match=r"input .*000004_barge\.fits lies in the output"):
        run(session)


def test_a_session_in_a_searched_folder_is_no_obstacle(files, tmp_path):
    write_files(files, 3)
    profile = write_profile(tmp_path)
    for kept in ((), (3,)):
        assert ingest(files, files / "night.zarr", profile, threads=1).kept == kept


def test_another_run_is_in_the_way_only_where_something_is_to_be_written(run, files, session):
    write_files(files, 3)
    run()
    with LocalOutput(session, False, "", recipe.INGESTED, resume=True):
        assert run().kept == (3,)
        write_files(files, 4)
        with pytest.raises(StoreLockedError, match="is being written by another run"):
            run()
    assert run().written == (4,)


def test_a_damaged_scan_is_made_anew(run, files, session):
    write_files(files, 3, 4)
    run()
    next((session / "scan_000003/source/data_5d").glob("c*")).rename(session.parent / "lost")
    done = run()
    assert (done.written, done.kept) == ((3,), (4,))
    assert check_store(session).findings == []


@pytest.mark.parametrize("content", [b"{", None])
def test_a_scan_whose_metadata_are_damaged_is_known_by_the_record(run, files, session, content):
    write_files(files, 3, 4)
    run()
    metadata = session / "scan_000003/zarr.json"
    if content is None:
        attributes = json.loads(metadata.read_text())
        del attributes["attributes"]["ingest_digest"]
        content = json.dumps(attributes).encode()
        metadata.write_bytes(content)
        # Whole, and of unknown origin, such as a scan of the user's own.
        assert "made from other inputs: found inputs that are those of its record" in str(failed(run).failures)
        assert metadata.read_bytes() == content
        return
    metadata.write_bytes(content)
    assert (run().written, check_store(session).findings) == ((3,), [])
    metadata.write_bytes(content)
    write_files(files, 3, value=1.0)
    assert failed(run).product.kept == (4,)


def test_a_scan_that_was_removed_is_forgotten(run, files, session):
    write_files(files, 3, 4)
    run()
    shutil.rmtree(session / "scan_000003")
    assert "scan 3, which is not in the store" in str(check_store(session).findings[0])
    assert run(scans="4").kept == (4,)
    assert list(read_record(session)["scans"]) == ["4"]


def test_scans_of_loads_become_one_and_answer_to_either_number(run, files, session):
    write_files(files, 3, phases="HC")
    write_files(files, 5, phases="BA")
    first = write_file(files / "000004_barge.fits", 4, phases="HC")
    with_gap = preview_ingest([files], session, write_profile(files.parent), threads=1)
    assert list(with_gap.fates) == [3, 4, 5]
    joined = write_profile(files.parent, "[time]", "[group]\ndumps = 'row'\nloads_gap = 1e4\n[time]")
    assert run(profile=joined, scans="4").written == (3,)
    names = [item["name"] for item in read_record(session)["scans"]["3"]["files"]]
    assert names == ["000003_barge.fits", first.name]
