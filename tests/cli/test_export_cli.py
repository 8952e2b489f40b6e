"""``calibrate export``: statuses and messages."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from astropy.io import fits

from cal_pipeline.cli.calibrate import main
from cal_pipeline.cli.export import export_parser

pytestmark = pytest.mark.slow


@pytest.fixture
def product(make_session, calibrate) -> Path:
    return Path(calibrate(make_session(scans=2, channels=16)).path)


def test_a_session_becomes_one_file(product, tmp_path, capsys):
    output = tmp_path / "x.fits"
    assert main(["export", str(product), "-o", str(output)]) == 0
    shown = capsys.readouterr()
    with fits.open(output) as file:
        n_spectra, scans = len(file["SINGLE DISH"].data), {*file["SINGLE DISH"].data["SCAN"]}
    assert scans == {1, 2}
    assert shown.out == f"{output}: {n_spectra} spectra\n"
    assert f"{n_spectra} spectra at most, about" in shown.err
    assert main(["export", str(product), "-o", str(output)]) == 1
    assert capsys.readouterr().err == f"calibrate: output {output} exists; give --overwrite to replace it\n"
    options = ["--format", "class", "--scans", "2", "--pixels", "CHAI_PX01", "--rest-frequency", "461e9", "--quiet"]
    assert main(["export", str(product), "-o", str(output), "--overwrite", *options]) == 0
    assert capsys.readouterr().err == ""
    with fits.open(output) as file:
        table = file["MATRIX"].data
        assert ({*table["SCAN"]}, {*table["TELESCOP"]}, {*table["RESTFREQ"]}) == ({2}, {"CHAI_PX01"}, {461e9})
    assert main(["export", str(product), "-o", str(output), "--overwrite", "--flags", "blank"]) == 0
    with fits.open(output) as file:
        assert "FLAGS" not in file[1].columns.names


def test_a_scan_that_is_damaged_is_named(product, tmp_path, capsys):
    shutil.rmtree(product / "scan_000001" / "sigma")
    assert main(["export", str(product), "-o", str(tmp_path / "x.csv"), "--format", "csv"]) == 2
    shown = capsys.readouterr()
    assert shown.out.endswith("not exported: 1 scan (1)\n")
    assert (
        "ERROR scan 1 lacks sigma, expected the arrays of an L1 scan; calibrate it again; it is left out" in shown.err
    )
    assert main(["export", str(product), "-o", str(tmp_path / "y.csv"), "--format", "csv", "--scans", "1"]) == 1
    assert "none of 1 scan could be exported; scan 1 lacks sigma" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "clas"], "did you mean 'class'"),
        (["--formt", "class"], "did you mean --format"),
        (["--pixels", "CHAI_PX0"], "did you mean 'CHAI_PX"),
        (["--flags", "none"], "expected column or blank"),
    ],
)
def test_wrong_invocations_of_export(product, tmp_path, capsys, arguments, message):
    assert main(["export", str(product), "-o", str(tmp_path / "x"), *arguments]) == 1
    assert message in capsys.readouterr().err


def test_an_imager_has_no_spectra(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("cal_pipeline.cli.families._is_of_imager", lambda location: True)
    assert main(["export", "rate.zarr", "-o", str(tmp_path / "x")]) == 1
    assert "rate.zarr is a store of an imager" in capsys.readouterr().err


def test_the_parser_stands_alone():
    assert export_parser().parse_args(["l1.zarr", "-o", "x"]).format == "sdfits"
