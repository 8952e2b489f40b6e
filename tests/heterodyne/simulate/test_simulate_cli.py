from dataclasses import asdict, replace

import asdf
import numpy as np
import pytest
import zarr

from cal_pipeline.cli.simulate import main
from cal_pipeline.heterodyne.simulate.presets import CCAT_LAYERS
from cal_pipeline.simulate import read_truth


@pytest.fixture
def run(tmp_path, table_path):
    def call(*options, preset="ccat_chai"):
        small = ["--channels", "16", "--pixels", "2", "--atm", str(table_path)]
        return main([preset, str(tmp_path / "s.zarr"), *small, *options])

    return call


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "instmode"), [("total_power", "TP"), ("otf", "OTF")])
def test_a_session_is_written_and_summarised(run, tmp_path, capsys, mode, instmode):
    assert run("--mode", mode, "--scans", "2", "--pwv", "0.7", "--no-noise", "--seed", "3") == 0
    out = capsys.readouterr().out
    assert "2 scans (1 to 2) of CCAT" in out
    assert "CHAI_LFA: 16 channels" in out
    assert "noise off" in out
    root = zarr.open_group(tmp_path / "s.zarr", mode="r")
    assert root["scan_000002"].attrs["instmode"] == instmode
    np.testing.assert_array_equal(read_truth(tmp_path / "s.zarr", 2).pwv, 0.7)


@pytest.mark.slow
def test_options_reach_the_sequence(run, tmp_path):
    options = ["--mode", "otf", "--rows", "3", "--dumps", "5", "--exptime", "0.25", "--dtype", "float64"]
    assert run(*options, "--missing-fraction", "0.5", "--gain-per-hour", "0.1", "--pwv-per-hour", "0.1") == 0
    source = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r")
    assert source["data_5d"].shape == (16, 5, 2, 1, 6)
    assert source["data_5d"].dtype == np.float64
    assert np.isnan(source["data_5d"][:]).any()
    assert source["exptime"][0] == 0.25
    truth = read_truth(tmp_path / "s.zarr", 1)
    assert truth.gain_per_hour == 0.1
    assert np.all(np.diff(truth.pwv) > 0.0)


@pytest.mark.slow
def test_the_sky_has_layers(run, tmp_path, capsys):
    assert run("--lapse-rate", "5", "--no-noise") == 0
    assert "sky of 60 layers" in capsys.readouterr().out
    truth = read_truth(tmp_path / "s.zarr", 1)
    assert truth.parameters["atmosphere"]["layers"] == asdict(replace(CCAT_LAYERS, lapse_rate=5.0))
    assert truth.sky.profile.temperature[0] == pytest.approx(268.0, abs=0.1)


@pytest.mark.slow
def test_an_isothermal_sky(run, tmp_path, capsys):
    assert run("--isothermal", "--no-noise") == 0
    assert "layers" not in capsys.readouterr().out
    assert read_truth(tmp_path / "s.zarr", 1).sky.profile is None


@pytest.mark.slow
def test_nothing_is_overwritten_by_accident(run, capsys):
    assert run() == 0
    assert run() == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run("--overwrite") == 0


@pytest.mark.parametrize(
    ("options", "preset", "message"),
    [
        (["--rows", "3"], "ccat_chai", "--rows does not go with --mode total_power"),
        (["--cycles", "3", "--mode", "otf"], "ccat_chai", "--cycles does not go with --mode otf"),
        ([], "sofia_hfa", "outside the atmosphere table"),
        (["--isothermal", "--lapse-rate", "5"], "ccat_chai", "give --lapse-rate or --isothermal"),
        (["--lapse-rate", "nan"], "ccat_chai", "lapse_rate nan must be finite"),
        (["--scans", "0"], "ccat_chai", "at least one scan"),
        (["--exptime", "-1"], "ccat_chai", "positive"),
    ],
)
def test_what_cannot_be_done_is_said(run, capsys, tmp_path, options, preset, message):
    assert run(*options, preset=preset) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "s.zarr").exists()


def test_an_unknown_preset_is_a_usage_error(run, capsys):
    assert run(preset="alma") == 1
    assert "invalid choice: 'alma'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--exptime", "inf"], "integration times must be positive and finite, not inf s"),
        (["--exptime", "nan"], "integration times must be positive and finite, not nan s"),
        (["--exptime", "-1"], "integration times must be positive"),
        (["--pwv", "inf"], "pwv_mm inf must not be negative, and be finite"),
        (["--channels", "-3"], "is empty: at least 1 channel"),
        (["--atm", "text.asdf"], "text.asdf cannot be read as an atmosphere table"),
        (["--atm", "other.asdf"], "other.asdf is no atmosphere table: it has no 'frequency'"),
    ],
)
def test_settings_that_mean_nothing(tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.asdf").write_text("text")
    asdf.AsdfFile({"x": 1}).write_to(tmp_path / "other.asdf")
    assert main(["ccat_chai", "x.zarr", *options]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x.zarr").exists()


def test_a_url_is_no_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["ccat_chai", "s3://night/x.zarr"]) == 1
    assert "s3:/night/x.zarr is a URL" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
