"""The live view shows on terminals only, and log lines pass it by."""

from __future__ import annotations

import fcntl
import io
import logging
import os
import re
import struct
import sys
import termios
import threading
from contextlib import contextmanager, suppress

import pytest

from cal_pipeline.core.run import progress as module
from cal_pipeline.core.run.job import JobResult
from cal_pipeline.core.run.progress import LoggedProgress, RunProgress
from cal_pipeline.core.run.progress_bar import progress_bar
from cal_pipeline.core.run.progress_view import _LastWarnings, _Screen, _View


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_shown_where_no_terminal_is(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(2, "scans") as advance:
        advance()
    assert stream.getvalue() == ""


def test_scans_are_counted_on_a_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("cal_pipeline")
    logger.addHandler(handler)
    try:
        with progress_bar(2, "scans") as advance:
            advance()
            logger.warning("a line in between")
            assert handler.stream is not stream, "the line must go through the bar"
            advance()
        assert handler.stream is stream
    finally:
        logger.removeHandler(handler)
    assert "2/2" in stream.getvalue()
    assert "a line in between" in stream.getvalue()
    assert sys.stderr is stream


VALUES = {"PWV": "0.503 ± 0.016 mm", "T_sys": "221 K"}


def feed(progress):
    """Two scans that are done, and one that failed."""
    progress(JobResult(1, values=VALUES, n_bytes=10**8))
    progress(JobResult(2, failed_in="loads"))
    progress(JobResult(3, values=VALUES, n_bytes=10**8))


class Screen:
    """Lines of a terminal, as far as the view and log lines use its commands."""

    def __init__(self, columns):
        self.columns, self.lines, self.row, self.column = columns, [""], 0, 0

    def show(self, text):
        for command, character in re.findall(r"\x1b\[([?0-9;]*[A-Za-z])|(.)", text, flags=re.DOTALL):
            if command:
                self.obey(command)
            elif character == "\n":
                self.move(1)
            elif character == "\r":
                self.column = 0
            else:
                if self.column == self.columns:
                    self.move(1)
                    self.column = 0
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
                self.column += 1
        return self

    def obey(self, command):
        number, name = command[:-1], command[-1]
        if name == "A":
            self.row = max(self.row - int(number or 1), 0)
        elif name == "K":
            assert number == "2"
            self.lines[self.row] = ""
        else:
            assert name == "m", f"command {command} could be left behind"

    def move(self, rows):
        self.row += rows
        self.lines += [""] * (self.row + 1 - len(self.lines))

    @property
    def text(self):
        return [line.rstrip() for line in self.lines]


@contextmanager
def terminal(monkeypatch, columns, encoding="utf-8"):
    """A pseudo-terminal as standard error; yields a function that closes it and returns its screen."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    received = []

    def read():
        try:
            while chunk := os.read(master, 65536):
                received.append(chunk)
        except OSError:
            return

    reader = threading.Thread(target=read)
    reader.start()
    stream = os.fdopen(slave, "w", encoding=encoding, errors="backslashreplace", buffering=1)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", str(columns))

    def finish():
        stream.close()
        reader.join()
        return Screen(columns).show(b"".join(received).decode(encoding).replace("\r\n", "\n\r"))

    yield finish
    os.close(master)


@pytest.mark.parametrize("columns", [100, 40])
def test_the_view_fits_the_terminal_and_leaves_nothing_behind(monkeypatch, columns):
    handler = logging.StreamHandler()
    logger = logging.getLogger("cal_pipeline")
    with terminal(monkeypatch, columns) as finish:
        handler.setStream(sys.stderr)
        logger.addHandler(handler)
        try:
            with progress_bar(4, "scans") as progress:
                feed(progress)
                logger.warning("scan 2 \x1b[2Jfailed in step loads: a long story of what was searched and not found")
        finally:
            logger.removeHandler(handler)
        screen = finish()
    lines = [line for line in screen.text if line]
    bar = next(i for i, line in enumerate(lines) if line.startswith("scans "))
    assert re.match(r"scans +\S+ +3/4", lines[bar])
    assert lines[bar + 1].startswith("2 done, 1 failed, 1 left, ")
    assert ("MB/s of counts" in lines[bar + 1]) == (columns == 100)
    assert lines[bar + 2].startswith("PWV 0.503 ± 0.016 mm, T_sys 221 K")
    # The warning stands above, and is not repeated below in the end.
    assert len(lines) == bar + 3
    assert " ".join(lines[:bar]).count("failed in step loads") == 1
    assert screen.text[-1] == ""


def test_the_view_shows_the_last_warnings(monkeypatch):
    logger = logging.getLogger("cal_pipeline.some")
    with terminal(monkeypatch, 60) as finish:
        with progress_bar(4, "scans") as progress:
            for number in range(5):
                logger.warning("warning %d", number)
            assert list(progress.warnings) == ["warning 2", "warning 3", "warning 4"]
            view = _View(progress)
            console = _Screen(file=io.StringIO(), width=60)
            console.print(view)
            assert "! warning 4\n" in console.file.getvalue()
        finish()
    assert not [h for h in logging.getLogger("cal_pipeline").handlers if isinstance(h, _LastWarnings)]


def test_a_terminal_without_the_characters_shows_others(monkeypatch):
    with terminal(monkeypatch, 40, "ascii") as finish:
        with progress_bar(4, "scans") as progress:
            feed(progress)
        screen = finish()
    assert any(line.startswith("PWV 0.503 ? 0.016 mm") for line in screen.text)
    assert all(len(line) <= 40 for line in screen.text)


def test_an_error_leaves_the_terminal_as_it_was(monkeypatch):
    with terminal(monkeypatch, 80) as finish:
        before = sys.stderr
        with suppress(KeyboardInterrupt), progress_bar(4, "scans"):
            raise KeyboardInterrupt
        assert sys.stderr is before
        assert finish().text[-1] == ""


def test_a_terminal_that_goes_away_is_no_error(monkeypatch):
    with terminal(monkeypatch, 80) as finish:
        before = sys.stderr
        with progress_bar(4, "scans") as progress:
            finish()
            feed(progress)
        with progress_bar(4, "scans") as progress:  # standard error is closed now
            feed(progress)
        assert sys.stderr is before


@pytest.mark.parametrize("term", ["dumb", ""])
def test_a_terminal_without_cursor_gets_lines(monkeypatch, term):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    with progress_bar(4, "scans") as progress:
        feed(progress)
    assert stream.getvalue() == ""


def test_a_second_run_does_not_draw_over_the_first(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with progress_bar(4, "scans") as first, progress_bar(4, "scans") as second:
        assert type(first) is RunProgress
        assert type(second) is LoggedProgress
    with progress_bar(4, "scans") as third:
        assert type(third) is RunProgress


def test_without_a_terminal_a_line_is_logged_now_and_then(monkeypatch, caplog):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", None)
    with caplog.at_level(logging.INFO, "cal_pipeline"), progress_bar(50, "scans") as progress:
        for number in range(1, 51):
            now[0] += 4.0
            progress(JobResult(number, values=VALUES, n_bytes=2 * 10**8))
    # 200 s, at 15 scans a minute.
    assert caplog.messages == [
        f"{n} of 50 scans: {n} done, 0 failed, {50 - n} left, 50 MB/s of counts; "
        f"last PWV 0.503 ± 0.016 mm, T_sys 221 K ({n})"
        for n in (15, 30, 45)
    ]


def test_the_rate_is_that_of_the_last_half_minute_and_not_of_waiting(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = RunProgress(0, "scans")
    progress.wait()
    assert progress.describe_counts() == "0 done, 0 failed, waiting"
    now[0] += 600.0
    progress.expect(1)
    now[0] += 2.0
    progress(JobResult(1, n_bytes=10**9))
    assert progress.rate == 5e8
    for number in range(2, 100):
        now[0] += 2.0
        progress(JobResult(number, n_bytes=10**8))
    assert progress.rate == 5e7
