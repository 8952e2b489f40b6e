"""Names from the data reach terminals, logs, tables and figures with their control characters escaped."""

from __future__ import annotations

import json
import logging
import sys
import warnings

import pytest
import zarr
from astropy.table import Table
from helpers_l0 import write_array

from cal_pipeline.cli.calibrate import main
from cal_pipeline.cli.commands import complain, run_command, show
from cal_pipeline.core.logs import run_formatter
from cal_pipeline.core.text import escape_lines, list_few
from cal_pipeline.heterodyne.check import check_store
from cal_pipeline.report.plots import plot_sky_fit, plot_spectrum

EVIL = "Ori\x1b[2J\x1b]0;pwned\x07\non\r\u202egnorw\x9b\u2028$\\frac{$"
"""A name that clears the screen, sets the title of the window, breaks lines and turns text round."""

SAFE = "Ori\\x1b[2J\\x1b]0;pwned\\x07\\non\\r\\u202egnorw\\x9b\\u2028$\\frac{$"


def harmful(text: str) -> list[str]:
    return [character for character in text if character != "\n" and not character.isprintable()]


@pytest.mark.slow
def test_a_whole_run_with_such_names(make_session, atm_table, tmp_path, capsys):
    session = make_session(channels=32, scans=2)
    path = session / "scan_000001/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"].update(source=EVIL, line=EVIL, observer=EVIL, rest_freq_hz=EVIL)
    path.write_text(json.dumps(document))
    group = zarr.open_group(session, mode="a")["scan_000001"]
    for name in ("source", "calibration"):
        write_array(group[name], "frontend_backends", [EVIL, "PX01"])
    (session / f"scan_{EVIL}").mkdir()
    (session / "scan_000001" / EVIL).mkdir()
    output = str(tmp_path / "l1.zarr")
    options = ["-o", output, "--atm-table", str(atm_table), "--foeff", "0.95", "-v"]
    assert main([str(session), *options]) == 0
    told = capsys.readouterr()
    assert harmful(told.out + told.err) == []
    assert f"scan 1 {SAFE}, otf" in told.err
    assert f"scan_{SAFE} left out" in told.err

    for arguments in (["info", str(session)], ["info", output], ["check", str(session)], ["compare", output, output]):
        main(arguments)
        told = capsys.readouterr()
        assert harmful(told.out + told.err) == []
    main([str(session), "--scans", "1", "--mode", "otf-chopped", *options, "--overwrite"])
    assert harmful(capsys.readouterr().err) == []
    assert check_store(session).findings


@pytest.mark.slow
def test_the_table_of_quality_and_figures(make_session, calibrate, tmp_path):
    session = make_session(channels=32)
    path = session / "scan_000001/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["source"] = EVIL
    path.write_text(json.dumps(document))
    product = calibrate(session)
    text = (tmp_path / "l1_quality.ecsv").read_text()
    assert harmful(text) == []
    assert set(Table.read(tmp_path / "l1_quality.ecsv")["source"]) == {SAFE}
    # An odd number of dollar signs, or a formula that does not parse, would raise an error.
    plot_spectrum(product.open_scan(1), 0, 0, tmp_path / "spectrum.png")
    plot_sky_fit(product.open_scan(1), tmp_path / "sky.png")


def test_log_lines_and_tracebacks():
    try:
        raise ValueError(EVIL)
    except ValueError:
        error = sys.exc_info()
    record = logging.LogRecord("cal_pipeline", logging.WARNING, "x.py", 1, "source %s", (EVIL,), error)
    first, *others = run_formatter().format(record).split("\n")
    assert first.endswith(f"WARNING source {SAFE}")
    assert harmful("".join(others)) == []


def test_what_commands_print(capsys):
    show(f"a\n{EVIL}")
    complain(EVIL)
    told = capsys.readouterr()
    assert told.out == f"a\n{escape_lines(EVIL)}\n"
    assert harmful(told.out + told.err) == []


def test_warnings_of_libraries():
    def command(_):
        texts.append(warnings.formatwarning(f"Object at {EVIL} is not recognized", UserWarning, "x.py", 1))
        return 0

    texts: list[str] = []
    assert run_command("x", command, []) == 0
    assert f"Object at {SAFE[:10]}" in texts[0]
    assert harmful(texts[0]) == []
    assert harmful(warnings.formatwarning(EVIL, UserWarning, "x.py", 1))


@pytest.mark.parametrize(("names", "text"), [([], ""), (["a"], "a"), (["a", "b", "c"], "a, b and 1 more")])
def test_lists_of_names(names, text):
    assert list_few(names, 2) == text
