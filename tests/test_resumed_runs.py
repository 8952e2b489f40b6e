"""A run that was stopped, at whatever moment, and resumed makes the product of a run that was not."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import zarr
from helpers_l1 import assert_identical

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.run import workers
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.errors import RunInterruptedError
from cal_pipeline.heterodyne import lines

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
N_CALLS, N_REMOTE_CALLS = 398, 415
"""What a run of the night does to a store, at least."""

SKY = {"skydiff": {"skip": False, "n": 2}}


def resume_line(caplog):
    (line,) = [r.getMessage() for r in caplog.records if r.getMessage().startswith("resume: ")]
    caplog.clear()
    return line


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "cal_pipeline")
    return caplog


NIGHT = {"channels": 16, "scans": 5}


@pytest.fixture
def night(make_session):
    return make_session(**NIGHT)


@pytest.fixture(scope="module")
def same_night(configure, simulate_once):
    """Session of the night, shared by all tests that only read it."""
    return simulate_once(configure(**NIGHT))


@pytest.fixture(scope="module")
def fresh(same_night, calibrate_to, tmp_path_factory):
    """Product of an unbroken run over that night, shared by all tests, which only read it."""
    return calibrate_to(tmp_path_factory.mktemp("fresh") / "fresh.zarr", same_night, **SKY)


def assert_like_fresh(product, fresh):
    """Compare arrays, attributes but for times, and failures."""
    assert product.numbers == fresh.numbers
    assert_identical(product.path, fresh.path)
    for number in fresh.numbers:
        one, two = (json.loads(json.dumps(p.attributes(number))) for p in (product, fresh))
        for attributes in (one, two):
            for name in ("time", "parameters", "parameter_origins"):
                del attributes["provenance"][name]
        assert one == two
    assert product.failures == fresh.failures
    assert json.loads(product.root.get("run.json"))["state"] == "finished"
    left = {path.name for path in Path(product.path).parent.iterdir()}
    assert not {name for name in left if name.startswith(f"{Path(product.path).name}.")}, left


def kill_at(monkeypatch, n):
    """Kill this process before what it does to a store for the n-th time."""
    count = iter(range(n))

    def counted(method):
        def call(*args, **keywords):
            if next(count, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **keywords)

        return call

    monkeypatch.setattr(LocalStorePath, "put", counted(LocalStorePath.put))
    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(Path, name, counted(getattr(Path, name)))


def in_killed_child(function):
    """Call a function in a forked child; tell whether it was killed."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            function()
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@forks
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.55, 0.8, 0.97, 0.98, 0.99, 1.0])
def test_after_a_kill_at_any_moment(same_night, fresh, calibrate, monkeypatch, overwrite, share, log):
    if overwrite:
        calibrate(same_night, **SKY | {"atmosphere": {"strategy": "per_pixel"}})

    def begin():
        kill_at(monkeypatch, int(share * N_CALLS))
        calibrate(same_night, overwrite=overwrite, **SKY)

    assert in_killed_child(begin) or share > 0.98
    log.clear()
    product = calibrate(same_night, resume=True, **SKY)
    assert_like_fresh(product, fresh)
    line = resume_line(log)
    assert "0 scans kept" in line or share > 0.2
    assert line.startswith("resume: 2 scans kept") or share != 0.55
    again = calibrate(same_night, resume=True, **SKY)
    assert resume_line(log) == "resume: 5 scans kept"
    assert_like_fresh(again, fresh)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_with_workers_and_without(same_night, fresh, calibrate, workers, log):
    product = calibrate(same_night, **SKY)
    for number in (2, 4):
        shutil.rmtree(product.path / f"scan_{number:06d}")
    log.clear()
    product = calibrate(same_night, resume=True, workers=workers, **SKY)
    assert resume_line(log) == "resume: 3 scans kept, 2 new"
    assert_like_fresh(product, fresh)


class TestReasons:
    """Reasons logged for scans that are calibrated again, apart from those that concern skies."""

    @pytest.fixture
    def product(self, night, calibrate, log):
        product = calibrate(night)
        log.clear()
        return product

    def resumed(self, night, calibrate, log, **settings):
        before = {n: (p.stat().st_ino) for n, p in self.groups(calibrate)}
        product = calibrate(night, resume=True, **settings)
        redone = [n for n, p in self.groups(calibrate) if before.get(n) != p.stat().st_ino]
        return product, redone, resume_line(log)

    @staticmethod
    def groups(calibrate):
        folder = Path(calibrate.__closure__[-1].cell_contents) / "l1.zarr"
        return [(int(path.name[-6:]), path) for path in sorted(folder.glob("scan_*"))]

    @pytest.mark.slow
    def test_nothing(self, product, night, calibrate, log):
        _, redone, line = self.resumed(night, calibrate, log)
        assert (redone, line) == ([], "resume: 5 scans kept")

    @pytest.mark.slow
    def test_the_last_line_tells_what_was_kept(self, product, night, calibrate, log):
        calibrate(night, resume=True)
        assert "0 scans calibrated, 5 kept (5 questionable) in " in log.text
        shutil.rmtree(product.path / "scan_000002")
        calibrate(night, resume=True)
        assert "1 scan calibrated, 4 kept (5 questionable) in " in log.text

    @pytest.mark.slow
    def test_parameters(self, product, night, calibrate, log):
        _, redone, line = self.resumed(night, calibrate, log, scans="2:3", atmosphere={"strategy": "per_pixel"})
        assert redone == [2, 3]
        assert line == (
            "resume: 0 scans kept, 2 redone (2 parameters differ: steps.atmosphere.strategy); "
            "not asked for, left as they are: scans 1, 4, 5"
        )

    @pytest.mark.slow
    def test_touched_input_is_decided_by_the_digest(self, product, night, calibrate, log):
        os.utime(night / "scan_000002" / "source" / "data_5d" / "zarr.json")
        _, redone, line = self.resumed(night, calibrate, log)
        assert (redone, line) == ([], "resume: 5 scans kept")

    @pytest.mark.slow
    def test_touched_input_without_a_digest_is_redone(self, night, calibrate, log):
        calibrate(night, l0_digest=False)
        log.clear()
        os.utime(night / "scan_000002" / "source" / "data_5d" / "zarr.json")
        _, redone, line = self.resumed(night, calibrate, log, l0_digest=False)
        assert (redone, line) == ([2], "resume: 4 scans kept, 1 redone (1 L0 changed)")

    @pytest.mark.slow
    def test_changed_counts(self, product, night, calibrate, log):
        counts = zarr.open_array(night, path="scan_000002/source/data_5d", mode="r+")
        counts[0, 0] += 1
        _, redone, line = self.resumed(night, calibrate, log)
        assert (redone, line) == ([2], "resume: 4 scans kept, 1 redone (1 L0 changed)")

    @pytest.mark.slow
    def test_changed_loads_concern_all_that_use_them(self, make_session, calibrate, log, tmp_path):
        night = make_session("other.zarr", channels=16, scans=5)
        shutil.rmtree(night / "scan_000003" / "calibration")
        calibrate(night)
        log.clear()
        counts = zarr.open_array(night, path="scan_000002/calibration/data_5d", mode="r+")
        counts[..., 0] = counts[..., 0] - counts[..., 0] // 20
        product, redone, line = self.resumed(night, calibrate, log)
        # Scan 1 has them after it, 2 and 3 use them, 5 compares its receiver temperature with theirs.
        assert redone == [1, 2, 3, 5]
        assert line == "resume: 1 scan kept, 4 redone (3 L0 changed; 1 earlier loads changed)"
        assert_identical(product.path, calibrate(night, "fresh.zarr").path)

    @pytest.mark.slow
    def test_a_session_that_has_grown(self, make_session, calibrate, log):
        night = make_session("other.zarr", channels=16, scans=5)
        away = night.with_name("away")
        away.mkdir()
        for number in (3, 5):
            shutil.move(night / f"scan_{number:06d}", away / f"scan_{number:06d}")
        shutil.rmtree(night / "scan_000004" / "calibration")
        calibrate(night)
        log.clear()
        for path in away.iterdir():
            shutil.move(path, night / path.name)
        product, redone, line = self.resumed(night, calibrate, log)
        assert redone == [2, 3, 4, 5]
        assert "2 new" in line
        assert "1 loads are others" in line
        assert product.attributes(4)["provenance"]["calibration_scans"] == [3]
        assert_identical(product.path, calibrate(night, "fresh.zarr").path)

    @pytest.mark.slow
    def test_reference_files(self, product, night, calibrate, log, atm_table, tmp_path):
        table = Path(shutil.copy(atm_table, tmp_path / "mine.asdf"))
        calibrate(night, overwrite=True, atmosphere={"override_atm": str(table)})
        log.clear()
        table.write_bytes(table.read_bytes().replace(b"created:", b"Created:", 1))
        _, redone, line = self.resumed(night, calibrate, log, atmosphere={"override_atm": str(table)})
        assert redone == [1, 2, 3, 4, 5]
        assert line == "resume: 0 scans kept, 5 redone (5 atmosphere table changed)"

    @pytest.mark.slow
    def test_list_of_lines(self, product, night, calibrate, log, tmp_path, monkeypatch):
        (tmp_path / "lines.toml").write_text((lines.cfg_folder() / "lines.toml").read_text() + "# Mine\n")
        monkeypatch.setattr(lines, "cfg_folder", lambda: tmp_path)
        _, redone, line = self.resumed(night, calibrate, log, scans="2:3")
        assert redone == [2, 3]
        assert line.startswith("resume: 0 scans kept, 2 redone (2 lines changed)")
        _, redone, line = self.resumed(night, calibrate, log, scans="2:3")
        assert (redone, line.startswith("resume: 2 scans kept")) == ([], True)

    @pytest.mark.slow
    def test_engine(self, product, night, calibrate, log):
        path = product.path / "scan_000004" / "zarr.json"
        content = json.loads(path.read_text())
        content["attributes"]["provenance"]["engine_version"] = "0.0.1"
        path.write_text(json.dumps(content))
        _, redone, line = self.resumed(night, calibrate, log)
        assert (redone, line) == ([4], "resume: 4 scans kept, 1 redone (1 engine version 0.0.1)")

    @pytest.mark.slow
    def test_hooks(self, product, night, calibrate, log, monkeypatch):
        _, redone, line = self.resumed(night, calibrate, log, loads={"post_hooks": ["copy.copy"]})
        assert redone == [1, 2, 3, 4, 5]
        assert "5 hooks" in line

    @pytest.mark.slow
    def test_a_scan_that_can_no_longer_be_calibrated_stays_and_is_said(self, product, night, calibrate, log):
        zarr.open_array(night, path="scan_000002/source/elevation", mode="r+")[:] = -1.0
        with pytest.raises(RunFailedError) as caught:
            calibrate(night, resume=True)
        assert caught.value.exit_status == 2
        assert caught.value.product.numbers == [1, 2, 3, 4, 5]
        assert [failure["scan_number"] for failure in caught.value.product.failures] == [2]
        assert resume_line(log) == "resume: 4 scans kept; not redone, as an earlier run made them: scan 2"
        with pytest.raises(RunFailedError) as caught:
            calibrate(night, resume=True, overwrite=True)
        assert caught.value.product.numbers == [1, 3, 4, 5]


@pytest.mark.slow
def test_skies_that_were_compared_with_others_are_redone(night, calibrate, log):
    """Scan 3 changes; those after it are compared with it, twice."""
    calibrate(night, **SKY)
    log.clear()
    array = zarr.open_array(night, path="scan_000003/source/data_5d", mode="r+")
    phases = np.array([str(p) for p in zarr.open_array(night, path="scan_000003/source/sobsmode")])
    values = array[...]
    off = np.flatnonzero(np.char.endswith(phases, "OFF"))
    values[..., off] = values[..., off] + values[..., off] // 1000
    array[...] = values
    product = calibrate(night, resume=True, **SKY)
    assert resume_line(log) == "resume: 3 scans kept, 2 redone (1 L0 changed; 1 other references)"
    assert_like_fresh(product, calibrate(night, "fresh.zarr", **SKY))


@pytest.mark.slow
def test_a_scan_in_between_is_a_new_reference(same_night, fresh, calibrate, log):
    calibrate(same_night, scans="1,3:5", **SKY)
    log.clear()
    product = calibrate(same_night, resume=True, **SKY)
    assert resume_line(log) == "resume: 3 scans kept, 1 redone (1 other references), 1 new"
    assert_identical(product.path, fresh.path)


@pytest.mark.slow
def test_an_interrupted_overwrite_is_continued(same_night, fresh, calibrate, monkeypatch, log):
    begun = calibrate(same_night, scans="1:4", atmosphere={"strategy": "per_pixel"})
    apply_steps = workers.apply_steps

    def interrupt(dataset, number, *others):
        if number == 4:
            raise KeyboardInterrupt
        return apply_steps(dataset, number, *others)

    monkeypatch.setattr(workers, "apply_steps", interrupt)
    with pytest.raises(RunInterruptedError):
        calibrate(same_night, overwrite=True, **SKY)
    monkeypatch.undo()
    assert CalibratedSession(begun.path).attributes(1)["cal_strategy"] == "per_pixel"
    log.set_level(logging.INFO, "cal_pipeline")
    log.clear()
    product = calibrate(same_night, resume=True, **SKY)
    assert resume_line(log).startswith(
        "resume: 3 scans kept, 1 redone (1 parameters differ: steps.atmosphere.strategy, steps.skydiff"
    )
    assert_like_fresh(product, fresh)


@pytest.mark.slow
def test_overwrite_with_resume_removes_what_was_not_asked_for(night, calibrate, log):
    calibrate(night)
    log.clear()
    product = calibrate(night, scans="2:4", resume=True, overwrite=True)
    assert product.numbers == [2, 3, 4]
    assert resume_line(log) == "resume: 3 scans kept"


@pytest.mark.slow
def test_without_a_product_it_is_a_plain_run(same_night, fresh, calibrate, log):
    product = calibrate(same_night, resume=True, **SKY)
    assert resume_line(log) == "resume: 0 scans kept, 5 new"
    assert_like_fresh(product, fresh)


@pytest.mark.slow
def test_files_of_steps_are_written_again(night, calibrate, log):
    loads = {"loads": {"save_results": True}}
    product = calibrate(night, **loads)
    for number in (2, 4):
        (product.path.parent / f"scan_{number:06d}_loads.asdf").unlink()
    calibrate(night, resume=True, **loads)
    assert resume_line(log) == "resume: 5 scans kept"
    assert len(list(product.path.parent.glob("scan_*_loads.asdf"))) == 5


class TestObjectStore:
    """A store in memory that is frozen at some moment, as by a kill."""

    @pytest.fixture
    def run(self, same_night, atm_table):
        root = open_store("memory://resumed", write=True)
        root.remove()

        def run(name="l1.zarr", **settings):
            steps = {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": str(atm_table)}} | SKY
            where = f"memory://resumed/{name}"
            return CalibrationPipeline.call(
                str(same_night), output_file=where, steps=steps, configure_log=False, **settings
            )

        yield run
        root.remove()

    @pytest.mark.slow
    @pytest.mark.parametrize("share", [0.0, 0.005, 0.02, 0.3, 0.5, 0.7, 0.9, 0.98])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_after_a_kill_at_any_moment(self, run, fresh, calibrate, monkeypatch, share, overwrite, log):
        if overwrite:
            run(scans="2:5", l0_digest=False)
        count = iter(range(int(share * N_REMOTE_CALLS)))

        def frozen(method):
            def call(*args):
                if next(count, None) is None:
                    raise SystemExit("killed")
                return method(*args)

            return call

        for name in ("start_put", "delete", "remove"):
            monkeypatch.setattr(RemoteStorePath, name, frozen(getattr(RemoteStorePath, name)))
        with pytest.raises(SystemExit):
            run(overwrite=overwrite)
        monkeypatch.undo()
        store = open_store("memory://resumed/l1.zarr", write=True)
        store.child(".lock").remove()
        log.set_level(logging.INFO, "cal_pipeline")
        log.clear()
        product = run(resume=True)
        assert product.numbers == fresh.numbers
        assert_identical(product.path, fresh.path)
        assert product.failures == []
        assert not [key for key in product.root.walk() if key.startswith(".")]
        resume_line(log)
        run(resume=True)
        assert resume_line(log) == "resume: 5 scans kept"
