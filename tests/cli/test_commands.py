"""The frame of all commands: messages, statuses, signals, and streams of any kind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from helpers_wait import wait_until
from stpipe.exceptions import StpipeExitException

from cal_pipeline import CalibratedSession, __version__
from cal_pipeline.cli import atm_table as atm_table_cli
from cal_pipeline.cli import calibrate as cli
from cal_pipeline.cli import simulate as simulate_cli
from cal_pipeline.cli.commands import CommandParser, UsageError, describe_error, run_command, show
from cal_pipeline.core.run.signals import Terminated
from cal_pipeline.errors import OutputExistsError, RunInterruptedError, StoreError

BIN = Path(sys.executable).parent


def raising(error):
    def command(_):
        raise error

    return command


class TestStatus:
    @pytest.mark.parametrize(
        ("error", "status", "message"),
        [
            (StoreError("no such store"), 1, "x: no such store"),
            (FileNotFoundError(2, "No such file or directory", "a.asdf"), 1, "a.asdf"),
            (StpipeExitException(2, "one scan failed"), 2, "one scan failed"),
            (KeyboardInterrupt(), 130, "x: interrupted"),
            (RunInterruptedError("interrupted; 1 of 2 scans"), 130, "x: interrupted; 1 of 2 scans"),
            (Terminated(), 143, "x: interrupted"),
            (RuntimeError("a fault of ours"), 1, "x: RuntimeError: a fault of ours (CAL_PIPELINE_DEBUG=1 shows where)"),
        ],
    )
    def test_of_an_error(self, capsys, error, status, message):
        assert run_command("x", raising(error), []) == status
        text = capsys.readouterr().err
        assert message in text
        assert "Traceback" not in text

    def test_an_interruption_by_sigterm_is_told_from_one_by_the_keyboard(self):
        def command(_):
            try:
                raise Terminated
            except KeyboardInterrupt as error:
                raise RunInterruptedError("interrupted") from error

        assert run_command("x", command, []) == 143

    def test_what_the_command_returns(self):
        assert run_command("x", lambda arguments: len(arguments), ["a", "b"]) == 2

    @pytest.mark.parametrize("by", ["option", "environment"])
    def test_the_traceback_on_request(self, capsys, monkeypatch, by):
        if by == "environment":
            monkeypatch.setenv("CAL_PIPELINE_DEBUG", "1")
        assert run_command("x", raising(StoreError("broken")), ["--debug"] if by == "option" else []) == 1
        text = capsys.readouterr().err
        assert "Traceback" in text
        assert text.rstrip().endswith("x: broken")


class TestMessages:
    def test_never_more_than_five_lines(self):
        text = describe_error(StoreError("\n".join(map(str, range(90)))))
        assert len(text.splitlines()) == 5
        assert text.startswith("0\n1\n")

    def test_the_flag_is_that_of_the_command(self):
        error = OutputExistsError("output x exists; give overwrite=True to replace it")
        assert describe_error(error, "--overwrite=true").endswith("give --overwrite=true to replace it")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--ouput=x"], "unrecognized option --ouput; did you mean --output?"),
            (["--zzz"], "unrecognized option --zzz; see prog --help"),
            (["stray"], "unexpected argument stray"),
            (["--output"], "expected one argument"),
        ],
    )
    def test_wrong_usage(self, arguments, words):
        parser = CommandParser(prog="prog")
        parser.add_argument("--output")
        with pytest.raises(UsageError) as raised:
            parser.parse_args(arguments)
        assert words in str(raised.value)


_IN_COMMAND = """
import sys
from cal_pipeline.cli.commands import run_command, show
sys.exit(run_command("x", lambda _: {}, []))
"""


class TestStreams:
    @pytest.mark.slow
    @pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
    def test_names_that_the_terminal_cannot_show(self, encoding):
        code = _IN_COMMAND.format(r"show('\u03b7 Car') or 0")
        ran = subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONIOENCODING": encoding}, capture_output=True
        )
        assert (ran.returncode, ran.stdout) == (0, b"\\u03b7 Car\n")

    @pytest.mark.slow
    def test_a_reader_that_has_stopped_does_not_change_the_status(self):
        code = _IN_COMMAND.format("[show('y' * 9999) for _ in range(99)] and 7")
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdout.read(1)
            process.stdout.close()
            assert process.stderr.read() == b""
            assert process.wait() == 7

    def test_no_standard_output(self, monkeypatch):
        monkeypatch.setattr(sys, "stdout", None)
        assert run_command("x", lambda _: show("text") or 0, []) == 0

    @pytest.mark.slow
    def test_a_closed_descriptor_is_not_given_to_a_file(self, tmp_path):
        code = (
            "import os, sys; from cal_pipeline.cli.commands import run_command\n"
            f"def f(a):\n    n = os.open({str(tmp_path / 'data')!r}, os.O_CREAT | os.O_WRONLY)\n    return int(n < 3)\n"
            "sys.exit(run_command('x', f, []))"
        )
        assert (
            subprocess.run(
                ["sh", "-c", f'{sys.executable} -c "$CODE" 2>&- 0<&-'], env=os.environ | {"CODE": code}
            ).returncode
            == 0
        )


@pytest.mark.slow
class TestWithoutStandardError:
    """Daemons have none, and other programs replace it by an object that can only write."""

    @pytest.mark.parametrize("command", ["strun", "calibrate"])
    def test_a_run_works_with_a_closed_descriptor(self, make_session, tmp_path, command):
        session = make_session(channels=16, scans=2)
        line = {
            "strun": f"{BIN}/strun cal_pipeline.CalibrationPipeline {session} --output_file=l1.zarr",
            "calibrate": f"{BIN}/calibrate {session} -o l1.zarr",
        }[command]
        assert subprocess.run(["sh", "-c", f"{line} 2>&-"], cwd=tmp_path, timeout=120).returncode == 0
        assert CalibratedSession(tmp_path / "l1.zarr").numbers == [1, 2]

    def test_an_object_that_only_writes(self, make_session, calibrate, monkeypatch):
        class Log:
            def write(self, text):
                pass

            def flush(self):
                pass

        monkeypatch.setattr(sys, "stderr", Log())
        assert calibrate(make_session(channels=16), configure_log=True).numbers == [1]

    def test_a_run_works_without_the_stream(self, make_session, calibrate, monkeypatch):
        monkeypatch.setattr(sys, "stderr", None)
        assert calibrate(make_session(channels=16), configure_log=True).numbers == [1]


# A shell lets what it runs in the background ignore SIGINT, and Python inherits that.
_HEARS_THE_KEYBOARD = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"

_STOPS_AT_THE_THIRD = """
import sys, time
from cal_pipeline.core.run import workers
calibrate_steps = workers.apply_steps
def slow_steps(session, number, recipe):
    if number == 3:
        print("third", flush=True)
        time.sleep(60)
    return calibrate_steps(session, number, recipe)
workers.apply_steps = slow_steps
"""

_STALLS_AT_THE_THIRD = """
import time
from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli import calibrate as cli
class Stalled(CalibrationPipeline):
    def prepare_for(self, scan):
        if scan.number >= 3:
            time.sleep(60)
        return super().prepare_for(scan)
cli.CalibrationPipeline = Stalled
main = cli.main
"""


_IS_SLOW_TO_END = """
import time
from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli import calibrate as cli
class Slow(CalibrationPipeline):
    def finish_product(self, product):
        print("slow", flush=True)
        time.sleep(90)
cli.CalibrationPipeline = Slow
main = cli.main
"""


@pytest.mark.parametrize("main", [cli.main, simulate_cli.main, atm_table_cli.main])
def test_the_version(main, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"cal_pipeline {__version__}\n"


@pytest.mark.slow
class TestSignals:
    @pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    @pytest.mark.parametrize("command", ["calibrate", "strun"])
    def test_finished_scans_are_kept(self, make_session, tmp_path, command, number, status):
        session = make_session(channels=16, scans=4)
        arguments = {
            "calibrate": ["calibrate", str(session), "-o", "l1.zarr"],
            "strun": ["strun", "cal_pipeline.CalibrationPipeline", str(session), "--output_file=l1.zarr"],
        }[command]
        main = {"calibrate": "cal_pipeline.cli.calibrate", "strun": "stpipe._cli.strun"}[command]
        code = f"from {main} import main\nsys.argv = {arguments!r}\nsys.exit(main())"
        code = _HEARS_THE_KEYBOARD + _STOPS_AT_THE_THIRD + code
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, **pipes) as process:
            assert process.stdout.readline() == "third\n"
            process.send_signal(number)
            errors = process.stderr.read()
            assert process.wait(60) == status
        assert errors.splitlines()[-1].startswith(f"{command}: interrupted; 2 of 4 scans finished and kept in ")
        assert "Traceback" not in errors
        assert CalibratedSession(tmp_path / "l1.zarr").numbers == [1, 2]
        assert not (tmp_path / "l1.zarr.staging").exists()
        assert (tmp_path / "l1_quality.ecsv").exists()

    def test_a_terminal_interrupts_the_workers_too(self, make_session, tmp_path):
        session = make_session(channels=16, scans=6)
        (tmp_path / "stalled.py").write_text(_STALLS_AT_THE_THIRD)
        arguments = ["calibrate", str(session), "-o", "l1.zarr", "--workers", "2"]
        code = _HEARS_THE_KEYBOARD + f"import sys, stalled\nsys.argv = {arguments!r}\nsys.exit(stalled.main())"
        line = [sys.executable, "-c", code]
        with subprocess.Popen(line, cwd=tmp_path, text=True, stderr=subprocess.PIPE, start_new_session=True) as process:
            waited_for = {1, 2}
            while waited_for:
                text = process.stderr.readline()
                assert text
                waited_for -= {number for number in waited_for if f" scan {number} " in text}
            os.killpg(process.pid, signal.SIGINT)
            errors = process.stderr.read()
            assert process.wait(60) == 130
        left = [line for line in errors.splitlines() if " INFO " not in line]
        assert len(left) == 1
        assert left[0].startswith("calibrate: interrupted; 2 of 6 scans ")
        assert CalibratedSession(tmp_path / "l1.zarr").numbers == [1, 2]
        assert not (tmp_path / "l1.zarr.staging").exists()

    @pytest.fixture
    def stalled(self, make_session, tmp_path):
        """Command with two workers that stall at the third of six scans, in a process group of its own."""
        session = make_session(channels=16, scans=6)
        (tmp_path / "stalled.py").write_text(_STALLS_AT_THE_THIRD)
        arguments = ["calibrate", str(session), "-o", "l1.zarr", "--workers", "2"]
        code = _HEARS_THE_KEYBOARD + f"import sys, stalled\nsys.argv = {arguments!r}\nsys.exit(stalled.main())"
        pipes = {"stderr": subprocess.PIPE, "start_new_session": True}
        with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, **pipes) as process:
            waited_for = {1, 2}
            while waited_for:
                text = process.stderr.readline()
                assert text
                waited_for -= {number for number in waited_for if f" scan {number} " in text}
            yield process
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    @staticmethod
    def is_left(group):
        """Tell whether a process of a group is left."""
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        return True

    def test_the_system_ends_all_processes(self, stalled, tmp_path):
        os.killpg(stalled.pid, signal.SIGTERM)
        errors = stalled.stderr.read()
        assert stalled.wait(60) == 143
        assert errors.splitlines()[-1].startswith("calibrate: interrupted; 2 of 6 scans ")
        wait_until(lambda: not self.is_left(stalled.pid))
        assert json.loads((tmp_path / "l1.zarr" / "run.json").read_text())["state"] == "interrupted"

    def test_workers_end_with_a_parent_that_is_killed(self, stalled, tmp_path):
        stalled.kill()
        assert stalled.wait(60) == -signal.SIGKILL
        wait_until(lambda: not self.is_left(stalled.pid))
        assert CalibratedSession(tmp_path / "l1.zarr").numbers == [1, 2]
        assert json.loads((tmp_path / "l1.zarr" / "run.json").read_text())["state"] == "running"

    @pytest.mark.parametrize("workers", ["1", "2"])
    def test_a_second_signal_ends_at_once(self, make_session, tmp_path, workers):
        session = make_session(channels=16, scans=3)
        (tmp_path / "slow_end.py").write_text(_IS_SLOW_TO_END)
        arguments = ["calibrate", str(session), "-o", "l1.zarr", "--workers", workers]
        code = _HEARS_THE_KEYBOARD + f"import sys, slow_end\nsys.argv = {arguments!r}\nsys.exit(slow_end.main())"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
        with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, text=True, **pipes) as process:
            assert process.stdout.readline() == "slow\n"
            process.send_signal(signal.SIGINT)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.5)
            # On a busy machine the second one may come before the first one was heard, and be one with it.
            wait_until(
                lambda: process.poll() is not None, lambda _: (process.send_signal(signal.SIGINT), time.sleep(1))
            )
            assert process.returncode == 130
            assert "Traceback" not in process.stderr.read()
        wait_until(lambda: not self.is_left(process.pid))

    def test_nothing_is_left_of_a_run_without_a_finished_scan(self, make_session, tmp_path, monkeypatch, calibrate):
        from cal_pipeline.core.run import workers

        def interrupt(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(workers, "apply_steps", interrupt)
        with pytest.raises(RunInterruptedError, match="no store is left"):
            calibrate(make_session(channels=16))
        assert not (tmp_path / "l1.zarr").exists()


@pytest.mark.slow
def test_the_package_runs_as_a_module(make_session, tmp_path):
    session = make_session(channels=16)
    ran = subprocess.run([sys.executable, "-m", "cal_pipeline", "info", "--json", str(session)], capture_output=True)
    assert json.loads(ran.stdout)[0]["scan"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "shown"), [("ascii", "\\u03b7 Car"), ("latin-1", "\\u03b7 Car"), ("utf-8", "η Car")]
)
def test_info_shows_any_name_on_any_terminal(make_session, warm, encoding, shown):
    session = make_session(channels=16, scans=2)
    metadata = session / "scan_000001" / "zarr.json"
    content = json.loads(metadata.read_text())
    content["attributes"]["source"] = "η Car"
    metadata.write_text(json.dumps(content))
    line = ["calibrate", "info", session]
    settings = {"env": os.environ | {"PYTHONIOENCODING": encoding}, "text": False}
    ran = warm.run(*line, **settings)
    assert ran.returncode == 0
    text = ran.stdout.decode(encoding)
    assert f"scan 1: {shown}, otf" in text
    assert "scan 2: SIM-ORION, otf" in text
    ran = warm.run(*line, "--json", **settings)
    assert json.loads(ran.stdout)[0]["source"] == "η Car"
