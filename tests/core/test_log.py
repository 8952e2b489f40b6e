"""The log of a run: what it says, alike for every way of running, and what it leaves behind."""

from __future__ import annotations

import io
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline.core.logs import log_to_stderr
from cal_pipeline.core.text import format_with_error

BIN = Path(sys.executable).parent


@pytest.fixture
def lines(caplog):
    """Messages of the package, with their levels."""
    caplog.set_level(logging.INFO, "cal_pipeline")
    return lambda: [(record.levelname, record.getMessage()) for record in caplog.records]


def starting_with(lines, start):
    return [message for _, message in lines() if message.startswith(start)]


def test_the_line_of_a_scan_has_the_medians_of_its_quality_figures(make_session, calibrate, lines):
    product = calibrate(make_session(channels=64))
    (line,) = starting_with(lines, "scan 1")
    scan = product.open_scan(1)
    qa = scan.attrs["qa"]
    assert f"T_rec {qa['t_rec_dsb_median_K']:.0f} K DSB, T_sys {qa['t_sys_median_K']:.0f} K DSB" in line
    assert qa["t_rec_dsb_median_K"] == pytest.approx(qa["t_rec_ssb_median_K"] / 2)  # an ideal double-sideband receiver
    error = np.sqrt(float(scan.pwv_err) ** 2 + float(scan.pwv_err_model) ** 2)
    assert f"PWV {format_with_error(float(scan.pwv), error)} mm" in line
    names = [verdict["name"] for verdict in qa["verdicts"]]
    assert line.endswith(f"{qa['verdict']}: {' '.join(names)}" if names else "pass")


@pytest.mark.slow
def test_a_single_sideband_receiver_is_called_so(make_session, calibrate, lines):
    calibrate(make_session(channels=16), loads={"image_gain": 0.0})
    (line,) = starting_with(lines, "scan 1")
    assert re.search(r"T_rec \d+ K SSB, T_sys \d+ K SSB", line)
    assert "DSB" not in line


@pytest.mark.slow
def test_a_scan_that_fails_its_checks_is_a_warning(make_session, calibrate, lines):
    # Without noise its samples scatter far less than expected.
    product = calibrate(make_session(channels=64, noise=False))
    assert product.open_scan(1).attrs["qa"]["verdict"] == "fail"
    assert [level for level, message in lines() if message.startswith("scan 1 ")] == ["WARNING"]
    (summary,) = starting_with(lines, "1 scan calibrated")
    assert summary.startswith("1 scan calibrated (1 fail) in ")


@pytest.mark.slow
def test_what_differs_from_the_defaults_and_why(make_session, calibrate, lines, tmp_path):
    session = make_session(channels=16, scans=2)
    file = tmp_path / "mine.cfg"
    file.write_text(
        'class = "cal_pipeline.CalibrationPipeline"\n[steps]\n[[calibrate]]\nprecision = "radiometric"\n'
        "min_transmission = 0.001\n"
    )
    calibrate(session, config_file=str(file), loads={"forward_efficiency": 0.9, "image_gain": 1.0})
    told = [message.strip() for _, message in lines()]
    assert "parameter file of scans 1, 2: cfg/ccat_chai_otf.asdf" in told
    (arguments,) = [text for text in told if text.startswith("argument: ")]
    assert "steps.loads.forward_efficiency=0.9" in arguments
    assert "image_gain" not in arguments  # it is the default
    assert f"file {file}: steps.calibrate.precision=radiometric" in told
    assert "cfg/ccat_chai_otf.asdf: steps.prepare.mode=otf" in told


@pytest.mark.slow
def test_files_of_a_session_with_two_modes(make_session, calibrate, lines, tmp_path):
    session = make_session(channels=16)
    other = make_session("other.zarr", channels=16, mode="total_power")
    (other / "scan_000001").rename(session / "scan_000002")
    metadata = session / "scan_000002" / "zarr.json"
    metadata.write_text(metadata.read_text().replace('"scan_number": 1', '"scan_number": 2'))
    calibrate(session)
    assert starting_with(lines, "parameter file of") == [
        "parameter file of scan 1: cfg/ccat_chai_otf.asdf",
        "parameter file of scan 2: cfg/ccat_chai_total_power.asdf",
    ]


@pytest.mark.slow
def test_timing_in_the_form_of_older_engines(make_session, calibrate, lines):
    calibrate(make_session(channels=16), timing=True)
    (line,) = starting_with(lines, "scan timing")
    times = " ".join(rf"{name}_ms=\d+\.\d" for name in ("load", "resolve", "atm", "prepare", "calibrate", "write"))
    assert re.fullmatch(rf"scan timing breakdown scan=1 {times}", line)


@pytest.mark.slow
def test_strun_and_calibrate_print_alike(make_session, atm_table, tmp_path, warm):
    session = make_session(channels=16, scans=2)
    commands = {
        "strun": [
            *("cal_pipeline.CalibrationPipeline", str(session), "--output_file=l1.zarr"),
            *("--overwrite=true", f"--steps.atmosphere.override_atm={atm_table}"),
        ],
        "calibrate": [
            *(str(session), "-o", "l1.zarr"),
            *("--overwrite", "--atm-table", str(atm_table)),
        ],
    }
    printed = {}
    for name, arguments in commands.items():
        ran = warm.run(name, *arguments, cwd=tmp_path, check=True)
        assert not ran.stdout
        text = re.sub(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", "", ran.stderr, flags=re.MULTILINE)
        printed[name] = re.sub(r" in \d+ s: ", " in N s: ", text)
    assert printed["strun"] == printed["calibrate"]
    assert len(printed["strun"].splitlines()) < 12
    assert "stpipe" not in printed["strun"]


class TestHandlers:
    """Loggers and handlers are as they were before."""

    @pytest.fixture(autouse=True)
    def _without_root_handlers(self, monkeypatch):
        monkeypatch.setattr(logging.getLogger(), "handlers", [])

    @pytest.mark.slow
    def test_each_line_once_and_nothing_left(self, make_session, calibrate, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        loggers = [logging.getLogger(name) for name in ("cal_pipeline", "stpipe")]
        before = [(logger.level, list(logger.handlers)) for logger in loggers]
        calibrate(make_session(channels=16), configure_log=True)
        text = sys.stderr.getvalue()
        assert text.count(" INFO scan 1 ") + text.count(" WARNING scan 1 ") == 1
        assert "stpipe" not in text
        assert [(logger.level, list(logger.handlers)) for logger in loggers] == before

    def test_a_terminal_that_the_program_writes_to_gets_each_line_once(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        logging.getLogger().addHandler(logging.StreamHandler(sys.stderr))
        with log_to_stderr():
            logging.getLogger("cal_pipeline.some").info("a line")
        assert sys.stderr.getvalue() == "a line\n"

    def test_a_file_of_the_program_is_no_terminal(self, monkeypatch):
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        file = io.StringIO()
        logging.getLogger().addHandler(logging.StreamHandler(file))
        with log_to_stderr():
            logging.getLogger("cal_pipeline.some").warning("a line")
        assert sys.stderr.getvalue().endswith(" WARNING a line\n")
        assert file.getvalue() == "a line\n"
