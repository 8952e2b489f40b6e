"""The command ``calibrate``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from helpers_l0 import write_scan

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.run.runner import RunFailedError


@pytest.fixture
def asked(monkeypatch):
    """Record the calls of the pipeline."""
    calls = []
    monkeypatch.setattr(CalibrationPipeline, "call", lambda *args, **kwargs: calls.append((args, kwargs)))
    return calls


def steps_of(asked):
    (((source,), parameters),) = asked
    assert source == "session.zarr"
    assert parameters.pop("configure_log") is False
    return parameters


class TestOptions:
    def test_nothing_but_what_is_given_is_passed_on(self, asked):
        assert main(["-i", "session.zarr"]) == 0
        assert steps_of(asked) == {}

    def test_those_that_people_know(self, asked):
        line = (
            "-i session.zarr --output l1/ --atm-table atm.asdf --mode otf --skydiff 3 --skychopdiff --dbs-coupling "
            "--gain-interpolate 3 --pwv-per-pixel --physics kalibrate-compat --foeff 0.97"
        )
        assert main(line.split()) == 0
        assert steps_of(asked) == {
            "output_file": "l1/",
            "steps": {
                "atmosphere": {"override_atm": "atm.asdf", "strategy": "per_pixel"},
                "prepare": {"mode": "otf"},
                "loads": {"forward_efficiency": [0.97], "physics": "kalibrate_compat"},
                "gain": {"skip": False, "level": 3},
                "dbs": {"skip": False},
                "skydiff": {"skip": False, "n": 3},
                "skychopdiff": {"skip": False},
            },
        }

    @pytest.mark.parametrize(
        ("options", "steps"),
        [
            ("--gain-interpolate 0", {"gain": {"skip": True}}),
            ("--pwv 0.4", {"atmosphere": {"strategy": "fixed", "pwv": 0.4}}),
            ("--pwv-per-pair --link-bands", {"atmosphere": {"strategy": "per_pair", "link_bands": True}}),
            ("--foeff 0.9 0.95 --image-gain 0", {"loads": {"forward_efficiency": [0.9, 0.95], "image_gain": [0.0]}}),
            ("--image-gain 1 0.8", {"loads": {"image_gain": [1.0, 0.8]}}),
            ("--telescope t.toml", {"loads": {"override_telescope": "t.toml"}}),
            (
                "--set atmosphere.t_atm=260 --set calibrate.skip=true",
                {"atmosphere": {"t_atm": "260"}, "calibrate": {"skip": "true"}},
            ),
        ],
    )
    def test_options_become_parameters_of_steps(self, asked, options, steps):
        assert main(["-i", "session.zarr", *options.split()]) == 0
        assert steps_of(asked) == {"steps": steps}

    def test_options_become_parameters_of_the_run(self, asked, tmp_path):
        assert main(["-i", "session.zarr", "--overwrite", "--scans", "1,2", "--config", "a.cfg", "-o", "x.zarr"]) == 0
        expected = {"overwrite": True, "scans": "1,2", "config_file": "a.cfg", "output_file": "x.zarr"}
        assert steps_of(asked) == expected

    def test_the_session_without_an_option(self, asked):
        assert main(["session.zarr", "-o", "x.zarr"]) == 0
        assert steps_of(asked) == {"output_file": "x.zarr"}

    @pytest.mark.parametrize("line", [[], ["a.zarr", "-i", "session.zarr"]])
    def test_one_session_is_needed(self, asked, line, capsys):
        assert main(line) == 1
        assert "one session is needed" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("mode", "meant"),
        [
            ("tp", "total_power"),
            ("totalpower", "total_power"),
            ("Total-Power", "total_power"),
            ("otf-chopped", "otf_chopped"),
            ("otf", "otf"),
            ("otf_chopped", "otf_chopped"),
        ],
    )
    def test_names_of_modes(self, asked, mode, meant):
        assert main(["-i", "session.zarr", "--mode", mode]) == 0
        assert steps_of(asked) == {"steps": {"prepare": {"mode": meant}}}

    def test_who_does_the_work(self, asked):
        assert main(["session.zarr", "--workers", "3", "--threads", "2", "--timing"]) == 0
        assert steps_of(asked) == {"workers": 3, "threads": 2, "timing": True}

    def test_settings_of_the_pipeline(self, asked):
        assert main(["session.zarr", "--set", "workers=2", "--set", "steps.loads.image_gain=0"]) == 0
        assert steps_of(asked) == {"workers": "2", "steps": {"loads": {"image_gain": "0"}}}

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--pwv", "1", "--pwv-per-pixel"], "not allowed with"),
            (["--pvw", "1"], "did you mean --pwv"),
            (["--gain-interpolate", "1"], "invalid choice"),
        ],
    )
    def test_wrong_usage_is_a_failure_not_a_partial_run(self, asked, options, words, capsys):
        assert main(["-i", "session.zarr", *options]) == 1
        assert words in capsys.readouterr().err
        assert not asked

    @pytest.mark.parametrize("setting", ["t_atm", "atmosphere.", "=3"])
    def test_a_setting_without_a_value_or_a_name(self, asked, setting, capsys):
        assert main(["-i", "session.zarr", "--set", setting]) == 1
        assert "expected NAME=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("status", [1, 2])
def test_exit_status_of_a_run(monkeypatch, status, capsys):
    def fail(*_, **__):
        raise RunFailedError(status, "3 of 4 scans", None)

    monkeypatch.setattr(CalibrationPipeline, "call", fail)
    assert main(["-i", "session.zarr"]) == status
    assert "3 of 4 scans" in capsys.readouterr().err


@pytest.mark.slow
def test_a_session_is_calibrated_as_by_the_pipeline(make_session, calibrate, atm_table, tmp_path, capsys):
    session = make_session(channels=16)
    product = calibrate(session)
    output = tmp_path / "cli.zarr"
    assert main(["-i", str(session), "-o", str(output), "--foeff", "0.95", "--atm-table", str(atm_table)]) == 0
    assert "scan 1 SIM-ORION" in capsys.readouterr().err
    assert main(["compare", str(product.path), str(output)]) == 0
    assert main(["-i", str(tmp_path / "nothing.zarr")]) == 1
    assert "not there" in capsys.readouterr().err


class TestInfo:
    @pytest.mark.slow
    def test_what_there_is_and_what_would_be_chosen(self, tmp_path, make_session, capsys):
        session = make_session(channels=16, mode="otf_chopped", scans=2)
        write_scan(session, 7, source=False)
        assert main(["info", str(session)]) == 0
        text = capsys.readouterr().out
        for words in (
            "scan 1: SIM-ORION, otf_chopped, CCAT CHAI_LFA CO4-3",
            "16 channels, 4 dumps, 2 receivers",
            "459.1",
            "scan 2 (own)",
            "atm_ccat.asdf",
            "ccat_chai_otf_chopped.asdf",
            "scan 7: calibration only",
        ):
            assert words in text

    @pytest.mark.slow
    def test_info_as_json_has_a_row_a_scan(self, make_session, capsys):
        assert main(["info", "--json", str(make_session(channels=16))]) == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["shape"][0] == 16
        assert row["parameters"] == "ccat_chai_otf.asdf"

    def test_what_is_wrong_with_a_scan(self, tmp_path, capsys):
        write_scan(tmp_path / "s.zarr", 1)
        write_scan(tmp_path / "s.zarr", 2, calibration=False, source={"mjd": 61000.0 + np.arange(4)})
        write_scan(tmp_path / "s.zarr", 3, source={"exptime": None})
        assert main(["info", str(tmp_path / "s.zarr")]) == 0
        text = capsys.readouterr().out
        assert "none: scan 2 in" in text
        assert "scan 3: LayoutError" in text
        assert "defaults" in text


class TestCompare:
    @pytest.fixture
    def stores(self, make_session, calibrate):
        session = make_session(channels=16, scans=2)
        return [calibrate(session, name).path for name in ("a.zarr", "b.zarr")]

    @pytest.mark.slow
    def test_the_same(self, stores, capsys):
        assert main(["compare", *map(str, stores)]) == 0
        text = capsys.readouterr().out
        n_arrays = sum('"array"' in file.read_text() for file in stores[0].rglob("zarr.json"))
        assert f"all {n_arrays} arrays are identical" in text
        assert "scan_000002/spectra" not in text
        assert main(["compare", "--all", *map(str, stores)]) == 0
        assert "scan_000002/spectra" in capsys.readouterr().out

    @pytest.mark.slow
    def test_one_value(self, stores, capsys):
        spectra = zarr.open_array(stores[1], path="scan_000002/spectra", mode="r+")
        spectra[3, 0, 0, 0, 0] += 0.5
        assert main(["compare", *map(str, stores)]) == 1
        line = next(line for line in capsys.readouterr().out.splitlines() if "scan_000002/spectra" in line)
        assert line.split()[1] == "0.5"
        assert f"1 of {spectra.size}" in line
        assert main(["compare", *map(str, stores), "--scans", "1"]) == 0
        assert main(["compare", *map(str, stores), "--tolerance", "100"]) == 0

    @pytest.mark.slow
    def test_something_missing(self, stores, capsys):
        import shutil

        shutil.rmtree(stores[1] / "scan_000001" / "t_sky")
        assert main(["compare", *map(str, stores)]) == 1
        assert "t_sky  not in " in capsys.readouterr().out

    @pytest.mark.slow
    def test_no_store(self, stores, tmp_path, capsys):
        assert main(["compare", str(stores[0]), str(tmp_path)]) == 3
        assert "is no L1 store" in capsys.readouterr().err


class TestReplay:
    @pytest.fixture
    def product(self, make_session, calibrate):
        session = make_session(channels=32, mode="otf_chopped", scans=2)
        return calibrate(
            session,
            atmosphere={"strategy": "per_pair", "model_error": 0.05, "t_atm": 261.5},
            dbs={"skip": False},
            gain={"skip": False, "level": 3},
            skychopdiff={"skip": False},
            skydiff={"skip": False},
        )

    def test_bit_for_bit(self, product, capsys):
        assert main(["replay", str(product.path), "2"]) == 0
        text = capsys.readouterr().out
        assert "arrays are identical" in text
        assert "the same" in text

    @pytest.mark.slow
    def test_a_difference_is_told(self, product, capsys):
        zarr.open_array(product.path, path="scan_000002/t_cal", mode="r+")[3, 0, 0] += 1e-9
        assert main(["replay", str(product.path), "2"]) == 1
        text = capsys.readouterr().out
        assert "scan_000002/t_cal" in text
        assert "scan_000002/spectra" not in text

    @pytest.mark.slow
    def test_the_parameters_are_those_of_strun(self, product, tmp_path):
        file, output = tmp_path / "used.asdf", tmp_path / "again.zarr"
        assert main(["replay", str(product.path), "1", "--parameters", str(file), "-o", str(output)]) == 0
        assert CalibratedSession(output).numbers == [1]
        session = product.open_scan(1).attrs["provenance"]["l0_store"]
        CalibrationPipeline.call(
            session, config_file=str(file), output_file=str(tmp_path / "third.zarr"), configure_log=False
        )
        assert main(["compare", str(product.path), str(tmp_path / "third.zarr")]) == 0

    @pytest.mark.slow
    def test_no_such_scan(self, product, capsys):
        assert main(["replay", str(product.path), "9"]) == 1
        assert "has no scan 9" in capsys.readouterr().err
