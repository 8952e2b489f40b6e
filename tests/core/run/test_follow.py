"""Observations of an input that is still being written are processed as they get complete."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import photometer
import pytest
import zarr
from helpers_wait import followed_writers, wait_until
from photometer import PhotometerPipeline

from cal_pipeline import __version__
from cal_pipeline.core.observation import Lacks
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.run import follow
from cal_pipeline.core.run.follow import Follower
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.errors import RunInterruptedError, StoreError

COUNTS = np.arange(24.0).reshape(6, 4) + 100.0
SETTLING = 0.2


def write_exposure(folder, number, value=0.0):
    """Write an exposure of several chunks as a whole."""
    group = zarr.create_group(folder / f"exposure_{number:06d}", attributes={"filter": "blue", "seconds": 2.0})
    group.create_array("counts", data=COUNTS + number + value, chunks=(2, 4))


@pytest.fixture
def night(tmp_path):
    """A night without exposures."""
    path = tmp_path / "night.zarr"
    zarr.create_group(path)
    return path


@pytest.fixture
def made(tmp_path):
    """Finished exposures, for a writer to bring into the night."""
    path = tmp_path / "made"
    path.mkdir()
    for number in (1, 2, 3):
        write_exposure(path, number)
    return path


def write_in_place(made, night, meanwhile, pause=0.01):
    """Copy exposures file by file, metadata first."""
    for exposure in sorted(made.iterdir()):
        files = sorted(
            (path for path in exposure.rglob("*") if path.is_file()), key=lambda path: (path.name != "zarr.json", path)
        )
        for path in files:
            target = night / path.relative_to(made)
            target.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes()
            # Chunks are not whole at once either.
            with open(target, "wb", buffering=0) as file, meanwhile.still():
                file.write(content[: len(content) // 2])
                time.sleep(pause)
                file.write(content[len(content) // 2 :])


def write_staged(made, night, meanwhile=None, pause=0.05):
    """Write exposures elsewhere and rename them into the night."""
    for exposure in sorted(made.iterdir()):
        time.sleep(pause)
        shutil.copytree(exposure, made.parent / "draft")
        (made.parent / "draft").rename(night / exposure.name)


@pytest.fixture
def run(night, tmp_path):
    def followed(output="rates.zarr", **settings):
        settings = {
            "follow": True,
            "follow_settling": SETTLING,
            "follow_timeout": 0.5,
            "configure_log": False,
        } | settings
        return PhotometerPipeline.call(str(night), output_file=str(tmp_path / output), **settings)

    return followed


@pytest.fixture
def meanwhile():
    """Run functions in other threads, and wait for them in the end."""
    with followed_writers() as writers:
        yield writers


def read_rates(product):
    return {n: zarr.open_array(product.path / f"exposure_{n:06d}/rate", mode="r")[...] for n in product.numbers}


def read_json(path, name):
    return json.loads((Path(path) / name).read_text())


def assert_all_rates(product):
    rates = read_rates(product)
    assert list(rates) == [1, 2, 3]
    for number, rate in rates.items():
        np.testing.assert_array_equal(rate, (COUNTS + number) / 2.0)


@pytest.mark.parametrize("write", [write_in_place, write_staged])
def test_exposures_are_processed_once_each_as_they_are_written(night, made, run, meanwhile, caplog, write):
    meanwhile.start(write, made, night, meanwhile)
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        product = run()
    assert_all_rates(product)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(",")[0] for line in lines if line.startswith("exposure ")] == [
        "exposure 1",
        "exposure 2",
        "exposure 3",
    ]
    assert f"cal_pipeline {__version__}: follows {night}" in lines
    done = next(position for position, line in enumerate(lines) if line.startswith("exposure 3, "))
    assert lines.index(f"nothing new for 0.5 s: following {night} ends") > done
    assert lines.count("a run with resume afterwards redoes the exposures that later ones change") == 1
    record = read_json(product.path, "run.json")
    assert (record["state"], record["exposures"]) == ("finished", {"asked": 3, "done": 3, "failed": 0})


def test_the_input_is_waited_for(night, made, run, meanwhile, caplog):
    (night / "zarr.json").unlink()
    night.rmdir()

    def begin():
        time.sleep(0.2)
        zarr.create_group(night)
        write_staged(made, night)

    meanwhile.start(begin)
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        assert_all_rates(run(follow_timeout=1.0))
    assert f"waiting for exposures in {night}; Ctrl-C ends the run" in caplog.messages


def test_readers_see_the_product_grow(night, made, run, meanwhile, tmp_path):
    seen = []

    def write():
        write_exposure(night, 1)
        product = tmp_path / "rates.zarr"
        wait_for(product / "exposure_000001")
        seen.append((photometer.Photometry(str(product)).numbers, read_json(product, "run.json")["state"]))
        write_exposure(night, 2)

    meanwhile.start(write)
    assert run().numbers == [1, 2]
    assert seen == [([1], "running")]


def send(number, meanwhile, after=None, waits=0):
    """Send a signal while a run waits, once there is a file or group and the run has waited some times more."""
    left = [waits]

    def send_now():
        if after is None or after.exists():
            left[0] -= 1
            if left[0] < 0:
                signal.raise_signal(number)

    meanwhile.whenever_waiting(send_now)


def test_ctrl_c_ends_it_while_it_waits(night, run, caplog, meanwhile, tmp_path):
    write_exposure(night, 1)
    send(signal.SIGINT, meanwhile, tmp_path / "rates.zarr/exposure_000001")
    with caplog.at_level(logging.INFO, "cal_pipeline"):
        product = run(follow_timeout=None)
    assert product.numbers == [1]
    assert f"interrupted while waiting: following {night} ends" in caplog.messages
    assert read_json(product.path, "run.json")["state"] == "finished"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_before_the_first_exposure_leaves_nothing(night, run, tmp_path, meanwhile):
    send(signal.SIGINT, meanwhile)
    assert run(follow_timeout=None) is None
    assert not (tmp_path / "rates.zarr").exists()
    assert not (tmp_path / "rates.zarr.staging").exists()


def test_nothing_before_the_timeout_is_a_failure(run, tmp_path, caplog):
    with pytest.raises(RunFailedError, match=r"no exposure came in .* before follow_timeout") as error:
        run(follow_timeout=0.1)
    assert error.value.exit_status == 1
    assert not (tmp_path / "rates.zarr").exists()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_ctrl_c_in_the_midst_of_an_exposure_is_an_interruption(night, run, tmp_path, monkeypatch):
    write_exposure(night, 1)
    write_exposure(night, 2)
    process = photometer.DarkStep.process_observation

    def slow(step, exposure):
        if exposure.number == 2:
            signal.raise_signal(signal.SIGINT)
        process(step, exposure)

    monkeypatch.setattr(photometer.DarkStep, "process_observation", slow)
    with pytest.raises(RunInterruptedError, match="1 of 2 exposures finished and kept"):
        run()
    assert read_json(tmp_path / "rates.zarr", "run.json")["state"] == "interrupted"
    assert photometer.Photometry(str(tmp_path / "rates.zarr")).numbers == [1]


def test_sigterm_is_an_interruption_even_while_it_waits(night, run, meanwhile, tmp_path):
    write_exposure(night, 1)
    send(signal.SIGTERM, meanwhile, tmp_path / "rates.zarr/exposure_000001")
    with pytest.raises(RunInterruptedError, match="1 of 1 exposure finished"):
        run(follow_timeout=None)


def test_what_changes_is_processed_again(night, run, meanwhile, caplog, tmp_path):
    write_exposure(night, 1)

    def change():
        wait_for(tmp_path / "rates.zarr" / "exposure_000001")
        zarr.open_array(night / "exposure_000001/counts", mode="r+")[...] = COUNTS + 50.0

    meanwhile.start(change)
    product = run(follow_timeout=0.7)
    np.testing.assert_array_equal(read_rates(product)[1], (COUNTS + 50.0) / 2.0)
    assert "exposure 1 has changed since it was read; it is processed again" in caplog.messages
    assert read_json(product.path, "run.json")["exposures"] == {"asked": 1, "done": 1, "failed": 0}


def wait_for(path):
    wait_until(path.exists)


def test_a_failed_exposure_is_tried_again_when_it_is_mended(night, run, meanwhile, tmp_path):
    write_exposure(night, 1)
    write_exposure(night, 2)
    zarr.open_group(night / "exposure_000001").attrs["seconds"] = "two"

    def mend():
        wait_for(tmp_path / "rates.zarr" / "exposure_000002")
        assert [failure["exposure_number"] for failure in read_json(tmp_path / "rates.zarr", "failures.json")] == [1]
        zarr.open_group(night / "exposure_000001").attrs["seconds"] = 2.0

    meanwhile.start(mend)
    product = run(follow_timeout=0.7)
    assert (product.numbers, product.failures) == ([1, 2], [])


def test_a_failure_that_stays_is_the_status(night, run):
    write_exposure(night, 1)
    write_exposure(night, 2)
    zarr.open_group(night / "exposure_000001").attrs["seconds"] = "two"
    with pytest.raises(RunFailedError, match="1 of 2 exposures could not be calibrated") as error:
        run()
    assert error.value.exit_status == 2


def test_one_that_stays_incomplete_is_tried_in_the_end(night, run):
    write_exposure(night, 1)
    write_exposure(night, 2)
    shutil.rmtree(night / "exposure_000002/counts")
    with pytest.raises(RunFailedError) as error:
        run()
    assert [failure["exposure_number"] for failure in error.value.failures] == [2]


def test_one_that_is_incomplete_is_named_after_ctrl_c(night, run, caplog, meanwhile, tmp_path):
    write_exposure(night, 1)
    (night / "exposure_000002").mkdir()
    # What it lacks is looked at once it has settled.
    send(signal.SIGINT, meanwhile, tmp_path / "rates.zarr/exposure_000001", waits=10)
    assert run(follow_timeout=None).numbers == [1]
    assert any(
        message.startswith("exposure 2 left out, still being written when following ended: ")
        for message in caplog.messages
    )


def test_a_selection_needs_not_be_there_yet(night, made, run, meanwhile):
    meanwhile.start(write_staged, made, night)
    assert run(exposures=[2, 7]).numbers == [2]


def test_a_followed_product_is_resumed(night, run, tmp_path):
    write_exposure(night, 1)
    run()
    write_exposure(night, 2)
    with pytest.raises(StoreError, match="exists"):
        run()
    product = run(resume=True)
    assert product.numbers == [1, 2]


def test_an_older_product_is_replaced_with_the_first_exposures(night, run, meanwhile, tmp_path):
    write_exposure(night, 1)
    run()
    shutil.rmtree(night / "exposure_000001")
    write_exposure(night, 2)
    seen = []

    def look():
        wait_for(tmp_path / "rates.zarr" / "exposure_000002")
        seen.append(photometer.Photometry(str(tmp_path / "rates.zarr")).numbers)
        write_exposure(night, 3)

    meanwhile.start(look)
    assert run(overwrite=True).numbers == [2, 3]
    assert seen == [[2]]
    assert not (tmp_path / "rates.zarr.staging").exists()


@pytest.mark.slow
def test_processes_are_kept_between_batches(night, run, meanwhile, tmp_path, monkeypatch):
    from cal_pipeline.core.run import workers

    started = []
    start = workers._Worker.__init__
    monkeypatch.setattr(workers._Worker, "__init__", lambda self: (started.append(1), start(self))[1])
    write_exposure(night, 1)

    def write():
        wait_for(tmp_path / "rates.zarr" / "exposure_000001")
        write_exposure(night, 2)
        wait_for(tmp_path / "rates.zarr" / "exposure_000002")
        write_exposure(night, 3)

    meanwhile.start(write)
    assert_all_rates(run(workers=2, follow_timeout=1.0))
    assert len(started) == 1


def test_what_cannot_grow_is_refused(night, run, tmp_path):
    with pytest.raises(ParameterError, match="follow_timeout = 1 has no effect without follow=True"):
        run(follow=False, follow_timeout=1.0)
    with pytest.raises(StoreError, match="nor its folder"):
        PhotometerPipeline.call(str(tmp_path / "none" / "night.zarr"), follow=True, configure_log=False)
    (tmp_path / "night.zip").write_bytes(b"")
    with pytest.raises(StoreError, match="is a file, which does not grow"):
        PhotometerPipeline.call(str(tmp_path / "night.zip"), follow=True, configure_log=False)


class Recipe:
    """Family whose observations lack what a test says."""

    product_kind = photometer.KIND
    inputs_chosen_by = "load"

    def __init__(self):
        self.lacks = {}

    def open_growing(self, location, complete):
        return complete

    def select_complete(self, dataset, numbers):
        return list(numbers)

    def check_growing(self, root):
        """Take any input."""

    def find_lacks(self, root, number):
        return self.lacks.get(number, Lacks())


class Clock:
    """Time that passes only when a follower sleeps."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(follow, "time", clock)
    return clock


def ready_times(follower, clock, until):
    """Note when observations are found complete, until a time after the start."""
    began, found = clock.now, {}

    def stop():
        if clock.now - began > until:
            raise StopAsyncIteration

    try:
        for batch in follower.batches(stop):
            found |= {number: round(clock.now - began, 2) for number in batch.numbers if number not in found}
    except StopAsyncIteration:
        pass
    return found


def test_the_last_one_settles_and_those_before_are_seen_twice(night, clock):
    for number in (1, 2):
        write_exposure(night, number)
    assert ready_times(Follower(str(night), Recipe(), 5.0, None), clock, 20.0) == {1: 1.0, 2: 5.0}


@pytest.mark.parametrize(
    ("lacks", "with_later", "alone"),
    [(Lacks(doubt="chunks"), 5.0, 60.0), (Lacks(fault="no array"), 60.0, None)],
)
def test_what_may_be_lacking_takes_longer(night, clock, lacks, with_later, alone):
    recipe = Recipe()
    recipe.lacks = {1: lacks}
    write_exposure(night, 1)
    found = ready_times(Follower(str(night), recipe, 5.0, None), clock, 100.0)
    assert found == ({} if alone is None else {1: alone})
    write_exposure(night, 2)
    found = ready_times(Follower(str(night), recipe, 5.0, None), clock, 100.0)
    # The second one waits for what the first one may contribute to it.
    assert found == {1: with_later, 2: max(with_later, 5.0)}


def test_one_that_lacked_an_input_is_tried_with_each_new_one(night, clock):
    write_exposure(night, 1)
    write_exposure(night, 2)
    follower = Follower(str(night), Recipe(), 5.0, 10.0)
    batches = []
    for batch in follower.batches(lambda: None):
        batches.append(batch.numbers)
        for number in batch.numbers:
            follower.note(number, "load" if number == 1 and len(batches) == 1 else "")
    assert batches == [[1], [1, 2]]


def test_long_nights_take_bounded_looks(night, clock, monkeypatch):
    monkeypatch.setattr(follow, "_LOOKS", 5)
    for number in range(1, 31):
        (night / f"exposure_{number:06d}").mkdir()
    looked = []
    monkeypatch.setattr(Follower, "_digest", lambda self, group: (looked.append(group), "same")[1])
    follower = Follower(str(night), Recipe(), 1.0, 100.0)
    sizes = [len(batch.numbers) for batch in follower.batches(lambda: None)]
    assert (sum(sizes), max(sizes)) == (30, 5)
    looked.clear()
    for _ in range(10):
        follower._look()
    assert len(looked) == 10 * 2 * 4
    assert len(set(looked)) == 30
    assert len(follower._seen) == 30


def test_a_store_that_is_away_for_a_while_is_asked_again(night, clock, monkeypatch, caplog):
    write_exposure(night, 1)
    follower = Follower(str(night), Recipe(), 1.0, 20.0)
    list_groups, calls = Follower._list_groups, []

    def away(self):
        calls.append(1)
        if 3 < len(calls) < 8:
            raise OSError("stale file handle")
        return list_groups(self)

    monkeypatch.setattr(Follower, "_list_groups", away)
    assert [batch.numbers for batch in follower.batches(lambda: None)] == [[1]]
    assert [m for m in caplog.messages if "stale" in m] == [
        f"{night} cannot be listed, and is tried again: stale file handle"
    ]


@pytest.mark.slow
def test_a_cluster_looks_at_the_input_anew(night, run, meanwhile, tmp_path):
    distributed = pytest.importorskip("distributed")
    write_exposure(night, 1)

    def write():
        wait_for(tmp_path / "rates.zarr" / "exposure_000001")
        write_exposure(night, 2)
        wait_for(tmp_path / "rates.zarr" / "exposure_000002")
        write_exposure(night, 3)

    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0", protocol="tcp://"
    ) as cluster:
        meanwhile.start(write)
        assert_all_rates(run(scheduler=cluster.scheduler_address, follow_timeout=2.0))


def test_an_object_store_is_polled(made, meanwhile, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    address = f"memory://{tmp_path.name}/night.zarr"
    zarr.create_group(made)
    files.put(str(made / "zarr.json"), f"{address}/zarr.json")

    def write():
        for number in (1, 2, 3):
            name = f"exposure_{number:06d}"
            for path in sorted((made / name).rglob("*")):
                if path.is_file():
                    time.sleep(0.01)
                    files.put(str(path), f"{address}/{path.relative_to(made)}")

    meanwhile.start(write)
    settings = {"follow": True, "follow_settling": SETTLING, "follow_timeout": 0.5, "configure_log": False}
    assert_all_rates(PhotometerPipeline.call(address, output_file=str(tmp_path / "rates.zarr"), **settings))
    with pytest.raises(StoreError, match="is not there"):
        PhotometerPipeline.call("memory://nowhere/night.zarr", output_file=str(tmp_path / "x.zarr"), **settings)
