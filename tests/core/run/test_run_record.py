"""The record of a run: what it says at any moment is true, and a run goes on without it."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import socket
import threading

import pytest
from helpers_l0 import write_scan

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.observation import History
from cal_pipeline.core.run import run_record
from cal_pipeline.core.run.job import Prepared
from cal_pipeline.core.run.run_record import RunRecordError
from cal_pipeline.core.run.runner import RunFailedError, calibrate_observations
from cal_pipeline.core.run.this_process import ThisProcess
from cal_pipeline.core.store import lock as locks
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.core.store.lock import Holder
from cal_pipeline.errors import LayoutError, RunInterruptedError, StoreError, StoreLockedError
from cal_pipeline.heterodyne.session import Session


class Recipe(CalibrationPipeline):
    """Stages that need no parameters."""

    def __init__(self, stages):
        super().__init__()
        self._stages = stages

    def prepare_for(self, scan):
        return Prepared({}, self._stages)


@pytest.fixture
def session(tmp_path):
    for number in (1, 2, 3):
        write_scan(tmp_path / "night.zarr", number)
    return Session(tmp_path / "night.zarr")


@pytest.fixture
def run(session, tmp_path):
    """Run stages; what the recipe or the output does may be replaced."""

    def start(stage=lambda scan: scan, numbers=None, recipe=None, change=lambda output: None, **settings):
        made = recipe or Recipe({"first": stage})
        with LocalOutput(tmp_path / "l1.zarr", True, session.path, CalibratedSession.kind, **settings) as output:
            change(output)
            return calibrate_observations(session, numbers or session.numbers, made, output, ThisProcess(1))

    return start


@pytest.fixture
def found(tmp_path):
    return lambda: CalibratedSession(tmp_path / "l1.zarr")


def full_disk(*keys):
    """Let an output fail to write files at its root."""

    def change(output):
        put = output.put_record

        def put_record(key, content):
            if key in keys:
                raise OSError(28, "No space left on device", key)
            put(key, content)

        output.put_record = put_record

    return change


@pytest.mark.slow
def test_a_run_says_what_it_did(run):
    product = run()
    digest = product.run.pop("parameters_sha256")
    assert len(digest) == 64
    started, ended = product.run.pop("started"), product.run.pop("ended")
    assert started <= ended
    assert product.run == {
        "state": "finished",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "scans": {"asked": 3, "done": 3, "failed": 0},
    }
    assert product.run_state == "finished"


@pytest.mark.slow
def test_the_digest_is_of_the_parameters_with_an_effect(run, tmp_path):
    one = CalibrationPipeline(workers=2, output_file="l1.zarr", overwrite=True)
    other = CalibrationPipeline(steps={"loads": {"image_gain": 0.5}})
    assert one.parameters_sha256() == CalibrationPipeline().parameters_sha256()
    assert other.parameters_sha256() != one.parameters_sha256()


@pytest.mark.slow
def test_the_digest_is_with_the_files_that_the_data_choose(session, tmp_path, monkeypatch):
    digests = []

    def digest_of_run(efficiencies):
        """Run with a file that is chosen for each scan: by its number, with a forward efficiency; None for none."""

        def choose(described):
            efficiency = efficiencies[next(numbers)]
            name = f"{len(digests)}_{efficiency}.cfg"  # other names make no difference
            if efficiency is not None:
                (tmp_path / name).write_text(f"[steps]\n[[loads]]\nforward_efficiency = {efficiency},\n")
            return None if efficiency is None else tmp_path / name

        numbers = iter(range(3))
        monkeypatch.setattr(CalibrationPipeline, "choose_parameter_file", staticmethod(choose))
        CalibrationPipeline.call(session.path, output_file=str(tmp_path / "l1.zarr"), configure_log=False)
        return digests[-1]

    monkeypatch.setattr(
        "cal_pipeline.core.pipeline.calibrate_observations",
        lambda dataset, numbers, recipe, *others: digests.append(recipe.parameters_sha256()),
    )
    assert digest_of_run([None, None, None]) == CalibrationPipeline().parameters_sha256()
    two = digest_of_run([0.9, 0.8, 0.9])
    assert digest_of_run([0.8, 0.9, 0.8]) == two
    others = [[None, 0.9, 0.8], [0.9, 0.9, 0.9], [0.7, 0.8, 0.7], [None, None, None]]
    assert len({two, *(digest_of_run(one) for one in others)}) == 5


@pytest.mark.slow
def test_meanwhile_the_run_is_running(run, found, monkeypatch):
    monkeypatch.setattr(run_record, "_INTERVAL", 0.0)
    seen = []

    def stage(scan):
        product = found()
        seen.append((product.run_state, product.run["ended"], product.numbers, product.run["scans"]["done"]))
        if scan.number == 2:
            raise LayoutError("by nought")
        return scan

    with pytest.raises(RunFailedError):
        run(stage)
    assert seen == [("running", None, [], 0), ("running", None, [1], 1), ("running", None, [1], 1)]
    assert found().run["scans"] == {"asked": 3, "done": 2, "failed": 1}


@pytest.mark.slow
def test_the_record_is_finished_once_the_product_is(run, found):
    run(numbers=[1, 2])
    states = []

    def change(output):
        drop = output.drop
        output.drop = lambda name: (states.append((found().run_state, name)), drop(name))

    product = run(numbers=[1], resume=True, change=change)
    assert states == [("running", "scan_000002")]
    assert (product.numbers, product.run_state) == ([1], "finished")


@pytest.mark.slow
def test_the_record_of_many_scans_is_not_written_for_each(run):
    written = []

    def change(output):
        put = output.put_record
        output.put_record = lambda key, content: (written.append(key), put(key, content))

    run(change=change)
    assert len(written) <= 3


class TestRunsThatDie:
    """A run that does not end says so, to whoever looks."""

    @pytest.fixture
    def killed(self, session, found, tmp_path):
        """Product of a run that was killed after its first scan."""
        name = "scan_000001"
        output = LocalOutput(tmp_path / "l1.zarr", False, session.path, CalibratedSession.kind)
        record = run_record.RunRecord(output, 3, "0" * 64)
        record.begin()
        recipe = Recipe({})
        for result in ThisProcess(1).calibrate(session, [1], recipe, output):
            assert not result.failed_in
            output.publish(name)
        yield found()
        locks._running.discard(output.run)

    def test_while_it_lives_it_is_running(self, killed, capsys):
        assert (killed.run["state"], killed.run_state) == ("running", "running")
        assert main(["info", str(killed.path)]) == 0
        assert "    run        running: 0 of 3 done\n               process" in capsys.readouterr().out

    @pytest.mark.parametrize("how", ["process", "lock", "another run"])
    def test_afterwards_it_was_interrupted(self, killed, capsys, how):
        lock = killed.path.with_name("l1.zarr.lock")
        if how == "process":
            locks._running.clear()
        elif how == "lock":
            lock.unlink()
        else:
            lock.write_bytes(Holder("elsewhere", 5, "", "2026", "x", locks._now()).as_json())
        assert (killed.run["state"], killed.run_state) == ("running", "interrupted")
        assert main(["info", "--json", str(killed.path)]) == 0
        told = json.loads(capsys.readouterr().out)
        assert (told["run_state"], told["run"]["state"]) == ("interrupted", "running")
        assert main(["info", str(killed.path)]) == 0
        text = capsys.readouterr().out
        assert "    run        interrupted: 3 scans asked for\n               process" in text
        assert ", which is gone, on host" in text

    @pytest.mark.slow
    def test_a_finished_run_is_not_told(self, run, capsys):
        product = run()
        assert main(["info", str(product.path)]) == 0
        assert "    run " not in capsys.readouterr().out

    @pytest.mark.slow
    def test_an_older_product_has_no_record(self, run):
        product = run()
        (product.path / "run.json").unlink()
        older = CalibratedSession(product.path)
        assert (older.run, older.run_state) == (None, "")

    @pytest.mark.slow
    @pytest.mark.parametrize("content", ["[]", "{", '{"state": 3}'])
    def test_a_damaged_record_is_named(self, run, content):
        product = run()
        (product.path / "run.json").write_text(content)
        with pytest.raises(StoreError, match=r"l1\.zarr/run\.json"):
            CalibratedSession(product.path)


class TestInterruption:
    @staticmethod
    def stop_at(number):
        def stage(scan):
            if scan.number == number:
                raise KeyboardInterrupt
            return scan

        return stage

    def test_the_record_says_so(self, run, found):
        with pytest.raises(RunInterruptedError, match=r"interrupted; 1 of 3 scans finished and kept in .*l1\.zarr$"):
            run(self.stop_at(2))
        assert found().run_state == "interrupted"
        assert found().run["ended"] is not None
        assert found().run["scans"] == {"asked": 3, "done": 1, "failed": 0}

    @pytest.mark.slow
    def test_the_product_that_was_to_be_replaced_is_as_it_was(self, run, found, tmp_path):
        run(numbers=[1])
        with pytest.raises(RunInterruptedError, match=r"1 of 2 scans finished and kept in .*/product; .* as it was$"):
            run(self.stop_at(3), numbers=[2, 3])
        assert found().numbers == [1]
        assert found().run_state == "finished"
        (left,) = (tmp_path / "l1.zarr.staging").glob("*/product")
        assert CalibratedSession(left).numbers == [2]
        assert CalibratedSession(left).run["state"] == "interrupted"
        with pytest.raises(RunInterruptedError, match=r"before the first scan was finished; .* left as it was$"):
            run(self.stop_at(2), numbers=[2, 3])
        assert found().numbers == [1]
        run(numbers=[2, 3])
        assert found().numbers == [2, 3]
        assert not (tmp_path / "l1.zarr.staging").exists()

    def test_an_error_of_finishing_does_not_hide_it(self, run, found, caplog):
        recipe = Recipe({"first": self.stop_at(2)})
        recipe.finish_product = lambda _: 1 / 0
        with pytest.raises(RunInterruptedError, match="interrupted; 1 of 3 scans"):
            run(recipe=recipe)
        assert "division by zero" in caplog.text

    def test_a_record_that_cannot_be_written_does_not_hide_it(self, run, caplog):
        with pytest.raises(RunInterruptedError, match="interrupted; 1 of 3 scans"):
            run(self.stop_at(2), change=full_disk("run.json", "failures.json"))
        assert "run.json cannot be written, and is tried again" in caplog.text

    def test_an_error_before_the_first_scan_leaves_no_store(self, run, tmp_path, monkeypatch):
        monkeypatch.setattr("cal_pipeline.core.run.runner._Publisher.receive", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
        assert not (tmp_path / "l1.zarr").exists()

    @pytest.mark.slow
    def test_an_error_of_the_run_is_an_interruption_too(self, run, found, monkeypatch):
        monkeypatch.setattr("cal_pipeline.core.run.runner.RunRecord.update", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run()
        assert found().numbers == [1]
        assert found().run_state == "interrupted"


class TestRecordsThatCannotBeWritten:
    @pytest.mark.slow
    def test_all_scans_are_done_and_the_status_is_3(self, run, found, tmp_path):
        with pytest.raises(
            RunRecordError, match=r"3 scans calibrated .*but what describes the run is not written"
        ) as told:
            run(change=full_disk("run.json"))
        assert told.value.exit_status == 3
        assert "No space left on device" in str(told.value)
        assert told.value.product.numbers == found().numbers == [1, 2, 3]
        assert not (tmp_path / "l1.zarr.lock").exists()

    def test_one_that_is_written_at_last_is_no_error(self, run, found, monkeypatch):
        monkeypatch.setattr(run_record, "_INTERVAL", 0.0)
        attempts = []

        def change(output):
            put = output.put_record

            def put_record(key, content):
                attempts.append(key)
                if len(attempts) < 6:
                    raise OSError(28, "No space left on device", key)
                put(key, content)

            output.put_record = put_record

        def stage(scan):
            if scan.number == 1:
                raise LayoutError("by nought")
            return scan

        with pytest.raises(RunFailedError) as told:
            run(stage, change=change)
        assert told.value.exit_status == 2
        assert [failure["scan_number"] for failure in found().failures] == [1]
        assert found().run["state"] == "finished"

    def test_failures_that_are_not_written_are_told(self, run, found):
        def stage(scan):
            if scan.number == 2:
                raise LayoutError("by nought")
            return scan

        with pytest.raises(RunRecordError, match="1 of 3 scans could not be calibrated") as told:
            run(stage, change=full_disk("failures.json"))
        assert told.value.exit_status == 3
        assert found().numbers == [1, 3]

    @pytest.mark.slow
    def test_a_product_is_not_replaced_by_one_that_cannot_say_what_it_lacks(self, run, found):
        run()

        def stage(scan):
            if scan.number == 2:
                raise LayoutError("by nought")
            return scan

        with pytest.raises(RunFailedError, match=r"1 scan could not be .*No space left.*l1\.zarr is left") as told:
            run(stage, change=full_disk("failures.json", "run.json"))
        assert told.value.exit_status == 1
        assert found().numbers == [1, 2, 3]
        run(numbers=[1])
        assert found().numbers == [1]

    def test_where_no_scan_is_done_the_status_is_1(self, run):
        def stage(scan):
            raise LayoutError("by nought")

        with pytest.raises(RunFailedError) as told:
            run(stage, change=full_disk("failures.json", "run.json"))
        assert told.value.exit_status == 1

    def test_a_table_that_cannot_be_written_is_told(self, run, found):
        recipe = Recipe({})
        recipe.finish_product = lambda _: (_ for _ in ()).throw(StoreError("l1_quality.ecsv is in the way"))
        with pytest.raises(RunRecordError, match=r"l1_quality\.ecsv is in the way"):
            run(recipe=recipe)
        assert found().numbers == [1, 2, 3]
        assert found().run["state"] == "finished"

    @pytest.mark.slow
    def test_the_status_of_the_command(self, make_session, tmp_path, monkeypatch, capsys, atm_table):
        session = make_session(channels=16)
        put = LocalOutput.put_record

        def full(self, key, content):
            if key == "run.json" and b'"finished"' in content:
                raise OSError(28, "No space left on device", key)
            put(self, key, content)

        monkeypatch.setattr(LocalOutput, "put_record", full)
        arguments = [str(session), "-o", str(tmp_path / "l1.zarr"), "--atm-table", str(atm_table), "-q"]
        assert main(arguments) == 3
        assert "what describes the run is not written" in capsys.readouterr().err
        assert CalibratedSession(tmp_path / "l1.zarr").run_state == "interrupted"


class TestFinalComparison:
    """Status 0 means that the scans asked for, and no others, are in the store."""

    def test_a_scan_that_was_taken_away(self, run, tmp_path):
        def stage(scan):
            if scan.number == 3:
                shutil.rmtree(tmp_path / "l1.zarr" / "scan_000001")
            return scan

        with pytest.raises(RunFailedError, match=r"scan 1 was calibrated, and is not in .*l1\.zarr") as told:
            run(stage)
        assert told.value.exit_status == 2

    def test_a_scan_that_was_put_there(self, run, tmp_path):
        def stage(scan):
            if scan.number == 3:
                shutil.copytree(tmp_path / "l1.zarr" / "scan_000001", tmp_path / "l1.zarr" / "scan_000007")
            return scan

        with pytest.raises(RunFailedError, match="also holds scan 7, which this run did not calibrate") as told:
            run(stage)
        assert told.value.exit_status == 2

    def test_a_product_is_left_as_it_was_where_no_scan_succeeds(self, run, found):
        run(numbers=[1])

        def stage(scan):
            raise LayoutError("by nought")

        with pytest.raises(RunFailedError, match=r"2 of 2 scans could not be calibrated; .* left as it was") as told:
            run(stage, numbers=[2, 3])
        assert told.value.exit_status == 1
        assert re.search("the first was scan 2 in step first: scan 2 of .*night.zarr: by nought", str(told.value))
        assert [failure["scan_number"] for failure in told.value.failures] == [2, 3]
        assert found().numbers == [1]
        assert found().failures == []

    @pytest.mark.slow
    def test_continued_in_place_only_what_was_done_stays(self, run, found):
        run(numbers=[1, 2])

        def stage(scan):
            if scan.number == 2:
                raise LayoutError("by nought")
            return scan

        with pytest.raises(RunFailedError, match="1 of 2 scans could not be calibrated"):
            run(stage, numbers=[2, 3], resume=True)
        assert found().numbers == [3]
        assert [failure["scan_number"] for failure in found().failures] == [2]


def test_a_history_that_fails_does_not_end_the_run(run, caplog):
    class Failing(History):
        def add(self, carried, /):
            raise ValueError("no room")

    recipe = Recipe({})
    recipe.start_history = Failing
    recipe.carry = lambda _: ["sky"]
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        assert run(recipe=recipe).numbers == [1, 2, 3]
    assert "later scans are not compared with scan 1: ValueError('no room')" in caplog.text


def test_a_run_whose_store_is_taken_over_ends_and_touches_nothing(run, found, tmp_path):
    lock = tmp_path / "l1.zarr.lock"

    def stage(scan):
        if scan.number == 2:
            theirs = Holder("telescope2", 5, "", "2026-11-30T00:00:00+00:00", "theirs", locks._now())
            lock.write_bytes(theirs.as_json())
            (output,) = outputs
            output.lock.renew()
            shutil.rmtree(tmp_path / "l1.zarr")
        return scan

    outputs = []
    with pytest.raises(StoreLockedError, match="was taken over by another run: host telescope2"):
        run(stage, change=outputs.append)
    assert not (tmp_path / "l1.zarr").exists()
    assert json.loads(lock.read_text())["run"] == "theirs"


def test_two_runs_at_once_and_the_second_is_refused(run, session, found, tmp_path):
    refused, done = [], threading.Event()

    def second():
        try:
            run(numbers=[3])
        except StoreLockedError as error:
            refused.append(str(error))
        done.set()

    def stage(scan):
        if scan.number == 2:
            threading.Thread(target=second).start()
            assert done.wait(60)
        return scan

    product = run(stage)
    assert len(refused) == 1
    assert f"process {os.getpid()}" in refused[0]
    assert product.numbers == [1, 2, 3]
    assert not (tmp_path / "l1.zarr.lock").exists()
    assert not (tmp_path / "l1.zarr.staging").exists()


def test_a_disk_that_fills_up_leaves_the_older_product(run, tmp_path, found):
    run()
    before = (tmp_path / "l1.zarr").stat().st_ino

    def change(output):
        publish = output.publish

        def fail_once(name, *others):
            if name == "scan_000002":
                raise OSError(errno.ENOSPC, "No space left on device", name)
            publish(name, *others)

        output.publish = fail_once

    with pytest.raises(RunFailedError, match=r"scan 2 could not be written, so .* is left .*; 2 of 3 scans") as failure:
        run(change=change)
    assert failure.value.exit_status == 1
    assert [item["scan_number"] for item in failure.value.failures] == [2]
    assert found().numbers == [1, 2, 3]
    assert (tmp_path / "l1.zarr").stat().st_ino == before
    assert found().run_state == "finished"
    (built,) = tmp_path.glob("l1.zarr.staging/*/product")
    assert CalibratedSession(built).numbers == [1, 3]
    assert json.loads((built / "run.json").read_text())["state"] == "interrupted"


@pytest.mark.slow
def test_overwriting_through_a_link_leaves_no_old_scans(run, session, tmp_path, found):
    (tmp_path / "disk").mkdir()
    (tmp_path / "l1.zarr").symlink_to(tmp_path / "disk" / "l1.zarr")
    run(numbers=[1, 2])
    product = run(numbers=[3])
    assert product.numbers == found().numbers == [3]
    assert (tmp_path / "l1.zarr").is_symlink()
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["l1.zarr", "l1_quality.ecsv"]
