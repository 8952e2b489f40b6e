"""The progress bar shows on terminals only, and log lines pass it by."""

from __future__ import annotations

import io
import logging
import sys

from cal_pipeline.core.run.progress import progress_bar


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
