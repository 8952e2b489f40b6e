"""The same product, whoever makes it."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest
import zarr
from helpers_l1 import assert_identical

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.run import workers
from cal_pipeline.core.run.job import JobResult, Prepared, apply_steps
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.run.workers import Job, JobQueue, NoProcessesError, Processes, calibrate_observation, make_jobs
from cal_pipeline.core.store.make_output import make_output
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.pipelines import calibration
from cal_pipeline.pipelines.calibration import write_scan
from cal_pipeline.simulate import Otf, Scan, TotalPower

STEPS = {"skydiff": {"skip": False, "n": 2}, "gain": {"skip": False}, "atmosphere": {"strategy": "per_pixel"}}


@pytest.fixture
def session(make_session):
    scans = tuple(Scan(sequence=Otf(rows=2, dumps=3) if k % 2 else TotalPower(dumps=3)) for k in range(6))
    return make_session(channels=24, scans=scans, sky_waves=())


@pytest.mark.slow
def test_processes_make_the_same_bit_by_bit(session, calibrate, caplog):
    one = calibrate(session, "one.zarr", **STEPS)
    two = calibrate(session, "two.zarr", workers=2, **STEPS)
    assert two.numbers == [1, 2, 3, 4, 5, 6]
    assert any("skydiff" in path for path in assert_identical(one.path, two.path))
    for number in two.numbers:
        mine, theirs = (product.attributes(number) for product in (one, two))
        assert mine["qa"] == theirs["qa"]
        origins = mine["provenance"]["parameter_origins"]
        assert {k: v for k, v in theirs["provenance"]["parameter_origins"].items() if k != "workers"} == origins


@pytest.fixture
def as_if_large(monkeypatch):
    """Small scans are treated like large ones; the threads that they have passed the steps in."""
    seen = set()

    def watched(*arguments):
        seen.add(threading.current_thread().name)
        return apply_steps(*arguments)

    monkeypatch.setattr("cal_pipeline.core.run.threads.FEW_SAMPLES", 1)
    monkeypatch.setattr("cal_pipeline.core.run.this_process.FEW_SAMPLES", 1)
    monkeypatch.setattr("cal_pipeline.core.run.workers.apply_steps", watched)
    return seen


@pytest.mark.slow
def test_threads_and_scans_that_overlap_make_the_same_bit_by_bit(make_session, calibrate, as_if_large):
    session = make_session(channels=24, scans=(Scan(),) * 3, chunks=(8, 3, 2, 1, 1), sequence=Otf(rows=2, dumps=3))
    one = calibrate(session, "one.zarr", threads=1, **STEPS)
    assert as_if_large == {"MainThread"}
    three = calibrate(session, "three.zarr", threads=3, **STEPS)
    assert as_if_large == {"MainThread", "observation_0", "observation_1"}
    assert_identical(one.path, three.path)


@pytest.mark.slow
def test_a_bad_scan_does_not_stop_those_that_overlap(session, calibrate, as_if_large):
    (session / "scan_000003" / "source" / "tamb" / "zarr.json").unlink()
    with pytest.raises(RunFailedError) as failed:
        calibrate(session, threads=2)
    assert failed.value.product.numbers == [1, 2, 4, 5, 6]
    assert [f["scan_number"] for f in failed.value.product.failures] == [3]


@pytest.mark.slow
def test_a_bad_scan_does_not_stop_the_others(session, calibrate, tmp_path, caplog):
    (session / "scan_000003" / "source" / "tamb" / "zarr.json").unlink()
    with pytest.raises(RunFailedError) as failed:
        calibrate(session, workers=2, skydiff={"skip": False})
    assert failed.value.exit_status == 2
    assert failed.value.product.numbers == [1, 2, 4, 5, 6]
    assert [f["scan_number"] for f in failed.value.product.failures] == [3]
    assert "scan 3 failed in step load" in caplog.text
    references = zarr.open_group(tmp_path / "l1.zarr/scan_000004/skydiff", mode="r").attrs["ref_scans"]
    assert set(references) == {2}


@pytest.mark.slow
def test_what_is_logged_by_a_worker_is_heard(session, calibrate, caplog):
    with caplog.at_level("INFO", "cal_pipeline"):
        calibrate(session, workers=2, scans="5,6", gain={"skip": False})
    assert "scan 6: no loads after the scan" in caplog.text
    assert "scan 5 SIM-ORION" in caplog.text


def test_no_job_is_far_ahead_of_one_that_is_not_done():
    queue = JobQueue([Job("l0", "l1", number, b"", 1) for number in (7, 3, 9, 5)], ahead=1)
    first, second = queue.next(), queue.next()
    assert [first.number, second.number] == [7, 3]
    queue.done(3)
    assert queue.next() is None
    queue.again(first)
    assert queue.next() is first
    assert queue.next() is None
    queue.done(7)
    assert [queue.next().number, queue.next().number, queue.next()] == [9, 5, None]
    queue.done(9)
    assert queue
    queue.done(5)
    assert not queue


def test_workers_take_neighbours_and_help_at_the_end():
    queue = JobQueue([Job("l0", "l1", number, b"", 1) for number in range(8)], ahead=16, together=4)
    last, taken = {"a": None, "b": 99}, {"a": [], "b": []}  # one has worked for another queue
    for worker in "abaaabbb":
        job = queue.next(last[worker])
        if last[worker] in taken[worker]:
            queue.done(last[worker])
        last[worker] = job.number
        taken[worker].append(job.number)
    assert taken == {"a": [0, 1, 2, 3], "b": [4, 5, 6, 7]}
    queue = JobQueue([Job("l0", "l1", number, b"", 1) for number in range(4)], ahead=16, together=4)
    assert [queue.next(last).number for last in (None, None, 0)] == [0, 1, 2]


def test_neighbours_wait_for_one_that_takes_long():
    queue = JobQueue([Job("l0", "l1", number, b"", 1) for number in range(20)], ahead=6, together=4)
    assert [queue.next().number, queue.next().number] == [0, 4]
    for number in (4, 5):
        queue.done(number)
        assert queue.next(number).number == number + 1
    queue.done(6)
    # What is left of the first group is nearer than what may be begun.
    assert queue.next(6).number == 1


@pytest.mark.parametrize(("n_jobs", "carries", "begun"), [(6, False, (0, 3)), (80, False, (0, 32)), (80, True, (0, 8))])
def test_workers_share_few_observations_evenly_and_keep_little_that_waits(n_jobs, carries, begun):
    jobs = [Job("l0", "l1", number, b"", 1) for number in range(n_jobs)]
    queue = Processes(2)._queue(jobs, carries)
    assert (queue.next().number, queue.next().number) == begun
    # One of the two takes long: the other goes as far ahead as what is compared may be kept.
    number, taken = begun[1], []
    while number is not None:
        queue.done(number)
        job = queue.next(number)
        number = None if job is None else job.number
        taken.append(number)
    assert max(number for number in taken if number is not None) == min(n_jobs - 1, 16 if carries else 3 * 32)
    assert sorted(taken[:-1]) == [n for n in range(n_jobs) if n not in begun and n <= (16 if carries else 96)]


@pytest.mark.slow
def test_a_worker_has_its_next_job_before_the_result_of_the_last_is_handed_over(session, tmp_path, monkeypatch):
    started = []
    start = workers._Worker.start
    monkeypatch.setattr(workers._Worker, "start", lambda worker, job: (started.append(job.number), start(worker, job)))
    recipe = CalibrationPipeline()
    with make_output(tmp_path / "l1.zarr", False, str(session), CalibratedSession.kind) as output:
        results = Processes(1).calibrate(Session(session), [1, 2, 3], recipe, output)
        assert (next(results).number, started) == (1, [1, 2])
        assert (next(results).number, started) == (2, [1, 2, 3])
        results.close()


class DiesOnce(CalibrationPipeline):
    """Kills the process that has written scan 2 or 5 the first time, before the scan can be published."""

    def prepare_for(self, scan):
        first_time = Path(self.output_file).with_name(f"scan_{scan.number}_begun")
        dies = scan.number in (2, 5) and not first_time.exists()
        first_time.touch()
        # In a worker of its own, which has one scan at a time.
        calibration.write_scan = _write_and_die if dies else write_scan
        return super().prepare_for(scan)


def _write_and_die(scan, root, *others):
    write_scan(scan, root, *others)
    root.put("left_over/c.0", b"1")
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_dies_costs_a_retry_of_its_scan(session, calibrate, caplog, tmp_path, atm_table):
    one = calibrate(session, "one.zarr", loads={"forward_efficiency": 0.9})
    steps = {"loads": {"forward_efficiency": 0.9}, "atmosphere": {"override_atm": str(atm_table)}}
    run = {"output_file": str(tmp_path / "two.zarr"), "workers": 2, "configure_log": False}
    two = DiesOnce.call(str(session), steps=steps, **run)
    assert two.numbers == [1, 2, 3, 4, 5, 6]
    assert two.failures == []
    assert [n for n in range(1, 7) if f"scan {n}: its worker died; it is tried again" in caplog.text] == [2, 5]
    assert not any("left_over" in path for path in assert_identical(one.path, two.path))


class Deadly(CalibrationPipeline):
    """A recipe that kills whoever works on scan 2."""

    def prepare_for(self, scan):
        if scan.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return Prepared({}, {})


@pytest.mark.slow
def test_a_scan_that_kills_its_workers_is_given_up(session, tmp_path):
    from cal_pipeline.core.store.local_output import LocalOutput

    output = LocalOutput(tmp_path / "l1.zarr", False, str(session), CalibratedSession.kind)
    outcomes = {o.number: o for o in Processes(2).calibrate(Session(session), [1, 2, 3], Deadly(), output)}
    assert {n: o.error_class for n, o in outcomes.items()} == {1: "", 2: "WorkerDiedError", 3: ""}
    assert "died 3 times" in outcomes[2].message


def _not_made():
    raise ImportError("no module named receiver_site")


class NotMade:
    """A recipe that cannot be made again where it is sent."""

    def may_carry(self):
        return False

    def __reduce__(self):
        return _not_made, ()


@pytest.mark.slow
def test_a_recipe_that_workers_cannot_make_is_the_cause_that_is_told(session, tmp_path):
    from cal_pipeline.core.store.local_output import LocalOutput

    output = LocalOutput(tmp_path / "l1.zarr", False, str(session), CalibratedSession.kind)
    outcomes = list(Processes(2).calibrate(Session(session), [1, 2, 3], NotMade(), output))
    assert {o.number: o.error_class for o in outcomes} == dict.fromkeys((1, 2, 3), "RecipeNotReadError")
    assert [o.number for o in outcomes if "ImportError: no module named receiver_site" not in o.message] == []
    assert [o.number for o in outcomes if "memory" in o.message] == []


@pytest.mark.slow
def test_a_recipe_that_cannot_be_sent_is_refused(session, tmp_path):
    from cal_pipeline.core.store.local_output import LocalOutput
    from cal_pipeline.errors import CalibrationError

    recipe = Deadly()
    recipe._hook = lambda: None
    output = LocalOutput(tmp_path / "l1.zarr", False, str(session), CalibratedSession.kind)
    with pytest.raises(CalibrationError, match="cannot be sent to workers"):
        next(iter(Processes(2).calibrate(Session(session), [1, 2], recipe, output)))


def test_a_session_that_a_worker_cannot_open_is_the_cause_that_is_told(tmp_path):
    job = Job(str(tmp_path / "not_here.zarr"), str(tmp_path / "l1.zarr"), 4, pickle.dumps(Deadly()), 1)
    outcome = calibrate_observation(job).result
    assert (outcome.number, outcome.failed_in, outcome.error_class) == (4, "load", "StoreError")
    assert "not_here.zarr" in outcome.message


@pytest.mark.slow
def test_what_a_worker_has_opened_serves_one_run(session, tmp_path):
    recipe = pickle.dumps(CalibrationPipeline())
    store = str(tmp_path / "l1.zarr")
    late = session.parent / "scan_000006"
    (session / "scan_000006").rename(late)
    assert calibrate_observation(Job(str(session), store, 6, recipe, 1, run="a")).result.error_class == "LayoutError"
    late.rename(session / "scan_000006")
    assert "no scan 6" not in calibrate_observation(Job(str(session), store, 6, recipe, 1, run="b")).result.message


@pytest.mark.slow
def test_a_process_that_may_not_start_others_says_so_and_replaces_nothing(session, tmp_path, monkeypatch):
    output = tmp_path / "l1.zarr"
    zarr.create_group(output)
    monkeypatch.setitem(multiprocessing.current_process()._config, "daemon", True)
    with pytest.raises(NoProcessesError, match=r"workers=2 cannot be started here: MainProcess is a daemon process"):
        CalibrationPipeline(workers=2, output_file=output, overwrite=True).run(session)
    assert (output / "zarr.json").exists()


@pytest.mark.slow
def test_many_short_runs_leave_no_more_garbage_than_a_long_one(make_session, calibrate, monkeypatch):
    # A cycle that is kept out of collections while it is alive, and is garbage later.
    class Cycle:
        def __init__(self):
            self.itself = self

    monkeypatch.setattr("cal_pipeline.core.run.garbage.OBSERVATIONS_A_COLLECTION", 2)
    session = make_session(channels=16, scans=1)
    gc.unfreeze()
    lost = Cycle()
    gone = weakref.ref(lost)
    gc.collect()
    gc.freeze()
    del lost
    for k in range(2):
        calibrate(session, f"{k}.zarr")
    assert gone() is None


def test_a_pipeline_that_is_not_run_keeps_nothing_out_of_garbage_collection():
    gc.unfreeze()
    CalibrationPipeline()
    assert gc.get_freeze_count() == 0


@pytest.mark.slow
def test_a_worker_that_imports_a_script_does_not_begin_a_run_of_its_own(session, atm_table, tmp_path):
    # Without a guard the worker would do the first run too, and replace what is there.
    script, output = tmp_path / "script.py", str(tmp_path / "l1.zarr")
    steps = {"atmosphere": {"override_atm": str(atm_table)}}
    script.write_text(
        "from cal_pipeline import CalibrationPipeline as C\n"
        f"settings = dict(scans='1', output_file={output!r}, overwrite=True, configure_log=False, steps={steps!r})\n"
        f"C.call({str(session)!r}, workers=1, **settings)\n"
        f"C.call({str(session)!r}, workers=2, **settings)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "below 'if __name__ == \"__main__\":'" in done.stderr
    assert "l1.zarr is left as it was" in done.stderr
    assert CalibratedSession(output).numbers == [1]


def test_a_pipeline_is_the_same_in_another_process(atm_table):
    pipeline = CalibrationPipeline(steps={"atmosphere": {"override_atm": str(atm_table), "pwv_max": 5.0}})
    pipeline.loads.image_gain = 0.5
    other = pickle.loads(pickle.dumps(pipeline))
    assert other.get_pars() == pipeline.get_pars()
    assert other.loads.parameters.origins == pipeline.loads.parameters.origins == {"image_gain": "argument"}
    assert other._uses_parameter_files


@pytest.mark.slow
def test_a_job_is_done_where_it_is_sent(session, atm_table, tmp_path):
    recipe = CalibrationPipeline(steps={"atmosphere": {"override_atm": str(atm_table)}})
    with make_output(str(tmp_path / "l1.zarr"), False, str(session), recipe.product_kind) as output:
        (job, other) = make_jobs(Session(session), [1, 99], recipe, output, threads=1)
        report = calibrate_observation(job)
        assert isinstance(report.result, JobResult)
        assert report.result.failed_in == ""
        assert output.staging_of("scan_000001").exists("zarr.json")
        assert calibrate_observation(other).result.error_class == "LayoutError"


@pytest.mark.slow
@pytest.mark.server
def test_a_dask_cluster(session, calibrate):
    distributed = pytest.importorskip("distributed")
    one = calibrate(session, "one.zarr", skydiff={"skip": False})
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as cluster:
        two = calibrate(session, "two.zarr", skydiff={"skip": False}, scheduler=cluster.scheduler_address)
    assert_identical(one.path, two.path)


def test_a_cluster_without_dask_says_what_to_install(session, calibrate, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Exception, match=r"pip install 'cal_pipeline\[distributed\]'"):
        calibrate(session, scheduler="tcp://127.0.0.1:1")
