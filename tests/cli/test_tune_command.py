"""The command ``calibrate tune``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import stpipe._cli.strun

from cal_pipeline.cli.calibrate import main
from cal_pipeline.cli.settings import read_settings
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.heterodyne.product import CalibratedSession

pytestmark = pytest.mark.slow


@pytest.fixture
def session(make_session, monkeypatch, tmp_path):
    """A session in the current folder."""
    make_session()
    monkeypatch.chdir(tmp_path)
    return "session.zarr"


@pytest.fixture
def options(atm_table):
    """Parameters that suit the session."""
    return [f"--set=atmosphere.override_atm={atm_table}", "--set=steps.loads.forward_efficiency=0.95"]


def test_table_json_page_and_parameter_file(session, options, capsys, monkeypatch):
    vary = ["--vary", "steps.atmosphere.model_error=0.01,0.03", "--vary", "calibrate.min_transmission=0.001,0.01"]
    outputs = ["-o", "page.html", "--json", "table.json", "--row", "3", "--write", "mine.asdf", "--scans=1"]
    assert main(["tune", session, *vary, *options, *outputs]) == 0
    printed = capsys.readouterr().out
    assert "4 combinations of 1 scan" in printed
    assert "row  model_error  min_transmission  PWV [mm]" in printed
    assert "row 3 is written to mine.asdf, as in strun mine.asdf session.zarr" in printed
    rows = json.loads(Path("table.json").read_text())["rows"]
    assert [row["parameters"]["steps.calibrate.min_transmission"] for row in rows] == [0.001, 0.01] * 2
    monkeypatch.setattr("sys.argv", ["strun", "mine.asdf", session, "--output_file=l1.zarr"])
    with pytest.raises(SystemExit) as ended:
        stpipe._cli.strun.main()
    assert not ended.value.code
    product = CalibratedSession("l1.zarr")
    attributes = read_group_attributes(product.root, "scan_000001")
    assert attributes["pwv_mm"] == rows[3]["pwv_mm"]
    assert attributes["qa"]["noise_ratio_median"] == rows[3]["noise_ratio"]
    assert attributes["provenance"]["parameters"]["steps"]["calibrate"]["min_transmission"] == 0.01
    scan = product.open_scan(1)
    assert float(np.median(np.hypot(scan.pwv_err, scan.pwv_err_model))) == rows[3]["pwv_total_err_mm"]


def test_status_tells_of_failures(session, options, capsys):
    vary = "--vary=atmosphere.strategy=full,fixed"
    assert main(["tune", session, vary, *options]) == 2
    assert "row 1, scan 1 failed in step atmosphere: atmosphere: strategy 'fixed' needs pwv" in capsys.readouterr().out
    assert main(["tune", session, "--vary=atmosphere.strategy=fixed", *options]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--vary=gain.levl=0,3", "no parameter 'levl' of step 'gain'; did you mean 'level'?"),
        ("--vary=gain.level=0,x", "level = 'x' (str) is not accepted; expected integer"),
        ("--vary=gain.level=0,,3", "an empty value"),
        ("--vary=gain.level=0,3 --limit 1", "2 combinations (2), more than the limit of 1; vary less, or raise"),
        ("--vary=gain.level=0,3 --row 2 --write a.asdf", "there is no row 2; expected 0 to 1"),
        ("--vary=gain.level=0,3 --row 1", "--row and --write belong together"),
        ("--vary=gain.level=0,3 --row 1 --write a.cfg", "expected '.asdf'"),
        ("--vary=gain.level=0,3 --json there.json", "output there.json exists; give --overwrite to replace it"),
        ("--vary=gain.level=0,3 -o folder", "output folder is a folder, expected a file"),
        ("--vary=gain.level=0,3 --set scans=1", "select scans with --scans"),
        ("--vary=gain.level=0,3 --set workers=2", "workers has no effect on a tuning"),
        ("--vary=gain.level=0,3 --set gain.levle=2", "did you mean 'level'"),
        ("--vayr=gain.level=0,3", "--vary"),
    ],
)
def test_mistakes_are_told_before_anything_is_read(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.json").write_text("{}")
    (tmp_path / "folder").mkdir()
    assert main(["tune", "absent.zarr", *arguments.split()]) == 1
    assert message in capsys.readouterr().err


def test_existing_files_are_replaced_if_asked(session, options, capsys):
    line = ["tune", session, "--vary=atmosphere.model_error=0.03", *options, "--json=table.json", "--overwrite"]
    assert main(line) == 0
    assert main(line) == 0
    assert main([*line[:-1]]) == 1


def test_parameter_file_is_the_base(session, atm_table, capsys):
    with open("base.cfg", "w") as file:
        file.write(f"[steps]\n[[atmosphere]]\noverride_atm = {atm_table}\nmodel_error = 0.1\n")
        file.write("[[loads]]\nforward_efficiency = 0.95\n")
    line = ["tune", session, "--vary=atmosphere.model_error=0.03,0.1", "--config=base.cfg", "--threads=1", "-q"]
    assert main([*line, "--json=table.json"]) == 0
    assert [row["current"] for row in json.loads(Path("table.json").read_text())["rows"]] == [False, True]
    assert main([*line, "--set=atmosphere.model_error=0.03", "--json=other.json"]) == 0
    assert [row["current"] for row in json.loads(Path("other.json").read_text())["rows"]] == [True, False]


def test_stores_of_imagers_are_refused(tmp_path, capsys, monkeypatch):
    from cal_pipeline.cli import tune

    monkeypatch.setattr(tune, "find_family", lambda _: type("Imager", (), {"noun": "exposure"}))
    assert main(["tune", "visit.zarr", "--vary=gain.level=0"]) == 1
    assert "visit.zarr is a store of an imager, and calibrate tune is for receivers" in capsys.readouterr().err


def test_names_of_parameters_with_and_without_steps():
    own, steps = read_settings(["workers=2", "steps.gain.level=3", "gain.skip=false", "steps.gain.level=2"])
    assert own == {"workers": "2"}
    assert steps == {"gain": {"level": "2", "skip": "false"}}
