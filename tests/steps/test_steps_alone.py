"""A step run alone: where it writes, what it records, what it says; and files of steps in a pipeline."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path

import asdf
import numpy as np
import pytest
from helpers_l0 import write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.errors import CalibrationError, StoreError
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.sources import first_scan, open_scan
from cal_pipeline.simulate import Scan as Simulated
from cal_pipeline.steps import (
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    GainStep,
    LoadsStep,
    PrepareStep,
    SkychopdiffStep,
    SkydiffStep,
)


@pytest.fixture
def session(make_session):
    return make_session(channels=16, pixels=2)


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestWhereItWrites:
    @pytest.mark.slow
    def test_under_the_name_that_was_given(self, session, here):
        LoadsStep(output_file="mine.asdf").run(str(session))
        LoadsStep(output_file="no_suffix").run(str(session))
        LoadsStep(output_file="loads.asdf", output_dir="night").run(str(session))
        LoadsStep(output_file="deep/er/loads.asdf").run(str(session))
        assert names(here) == ["deep/er/loads.asdf", "mine.asdf", "night/loads.asdf", "no_suffix"]
        assert open_scan("no_suffix").bands[0].loads is not None

    @pytest.mark.slow
    def test_named_after_scan_and_step_where_no_name_was_given(self, session, here):
        scan = LoadsStep(save_results=True).run(str(session))
        PrepareStep(save_results=True, output_dir="night").run(scan)
        PrepareStep(save_results=True, suffix="sorted").run("scan_000001_loads.asdf")
        assert names(here) == ["night/scan_000001_prepare.asdf", "scan_000001_loads.asdf", "scan_000001_sorted.asdf"]

    @pytest.mark.slow
    def test_by_strun(self, session, here, warm):
        for step, source, output in (
            ("LoadsStep", session / "scan_000001", "loads.asdf"),
            ("PrepareStep", "loads.asdf", "prep.asdf"),
        ):
            warm.run("strun", f"cal_pipeline.steps.{step}", source, f"--output_file={output}", check=True)
        assert names(here) == ["loads.asdf", "prep.asdf"]
        assert open_scan("prep.asdf").meta.made_by["prepare"]["parameter_origins"]["output_file"] == "argument"
        assert "save_results" not in open_scan("prep.asdf").meta.made_by["prepare"]["parameter_origins"]

    @pytest.mark.slow
    @pytest.mark.parametrize("settings", [{"output_file": "a.asdf"}, {"save_results": True}])
    def test_a_file_is_replaced_only_when_told(self, session, here, settings, monkeypatch):
        LoadsStep(**settings).run(str(session))
        (name,) = names(here)
        before = Path(name).read_bytes()
        with monkeypatch.context() as patched:
            patched.setattr(LoadsStep, "process_band", lambda *_: pytest.fail("work was done"))
            with pytest.raises(StoreError, match=rf"output .*{name} exists; give overwrite=True"):
                LoadsStep(**settings).run(str(session))
        assert Path(name).read_bytes() == before
        LoadsStep(overwrite=True, image_gain=0.5, **settings).run(str(session))
        assert open_scan(name).meta.made_by["loads"]["parameters"]["image_gain"] == 0.5
        assert names(here) == [name]

    @pytest.mark.slow
    def test_a_step_may_replace_its_own_input(self, session, here):
        LoadsStep(output_file="scan.asdf").run(str(session))
        PrepareStep(output_file="scan.asdf", overwrite=True).run("scan.asdf")
        assert set(open_scan("scan.asdf").meta.made_by) == {"loads", "prepare"}

    def test_a_write_that_fails_leaves_the_file_as_it_was(self, session, here, monkeypatch):
        LoadsStep(output_file="a.asdf").run(str(session))
        before = Path("a.asdf").read_bytes()
        monkeypatch.setattr(asdf.AsdfFile, "write_to", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
        with pytest.raises(OSError, match="disk full"):
            LoadsStep(output_file="a.asdf", overwrite=True).run(str(session))
        assert Path("a.asdf").read_bytes() == before
        assert names(here) == ["a.asdf"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"output_file": "loads.zarr"}, "ends in '.zarr'; a step writes an ASDF file"),
            ({"output_file": "loads.FITS"}, "ends in '.fits'"),
            ({"output_file": "s3://night/loads.asdf"}, "is remote; steps write to local folders"),
            ({"output_file": "a.asdf", "output_dir": "s3://night"}, "output_dir = 's3://night' is remote"),
            ({"output_file": "a.asdf", "suffix": "x"}, "suffix = 'x' .* has no effect with output_file = 'a.asdf'"),
        ],
    )
    def test_names_that_cannot_be(self, session, here, settings, words):
        with pytest.raises(ParameterError, match=words):
            LoadsStep(**settings).run(str(session))
        assert not [name for name in names(here) if "s3" not in name]


class TestStepsOfAPipeline:
    @pytest.mark.slow
    def test_follow_its_overwrite(self, session, calibrate, tmp_path, monkeypatch):
        calibrate(session, loads={"save_results": True})
        shutil.rmtree(tmp_path / "l1.zarr")
        with monkeypatch.context() as patched:
            patched.setattr(LoadsStep, "process_band", lambda *_: pytest.fail("work was done"))
            with pytest.raises(StoreError, match=r"loads: output .*scan_000001_loads.asdf exists; give overwrite=True"):
                calibrate(session, loads={"save_results": True})
        assert not (tmp_path / "l1.zarr").exists()
        calibrate(session, loads={"save_results": True, "image_gain": 0.5}, overwrite=True)
        assert open_scan(tmp_path / "scan_000001_loads.asdf").bands[0].loads.sidebands.image_gain == 0.5
        calibrate(session, "other.zarr", loads={"save_results": True, "overwrite": True})

    @pytest.mark.slow
    def test_record_all_steps_so_far(self, session, calibrate, atm_table, tmp_path):
        calibrate(session, atmosphere={"save_results": True, "model_error": 0.05})
        made_by = open_scan(tmp_path / "scan_000001_atmosphere.asdf").meta.made_by
        assert set(made_by) == {"loads", "prepare", "atmosphere"}
        assert made_by["atmosphere"]["parameter_origins"]["model_error"] == "argument"
        assert made_by["prepare"]["parameter_origins"]["mode"] == "cfg/ccat_chai_otf.asdf"


@pytest.mark.slow
def test_a_file_records_how_it_was_made(session, here, atm_table):
    LoadsStep(output_file="loads.asdf", image_gain=0.5).run(str(session))
    PrepareStep(output_file="prepare.asdf").run("loads.asdf")
    AtmosphereStep(output_file="atmosphere.asdf", override_atm=atm_table).run("prepare.asdf")
    made_by = open_scan("atmosphere.asdf").meta.made_by
    assert set(made_by) == {"loads", "prepare", "atmosphere"}
    loads, atmosphere = made_by["loads"], made_by["atmosphere"]
    assert loads["parameters"]["image_gain"] == 0.5
    assert loads["parameters"]["physics"] == "exact"
    assert loads["parameter_origins"]["image_gain"] == "argument"
    assert loads["parameter_origins"]["calibration_interval"] == "cfg/ccat_chai_otf.asdf"
    assert loads["input"] == str(session)
    assert atmosphere["input"] == "prepare.asdf"
    assert atmosphere["class"] == "cal_pipeline.steps.heterodyne.atmosphere.AtmosphereStep"
    assert atmosphere["engine_version"]
    assert atmosphere["time"]
    digest = hashlib.sha256(atm_table.read_bytes()).hexdigest()
    assert atmosphere["reference_files"] == [{"type": "atm", "file": str(atm_table), "sha256": digest}]
    assert len(loads["reference_files"][0]["sha256"]) == 64
    with asdf.open("atmosphere.asdf") as file:
        assert file["cal_pipeline_scan"]["made_by"]["loads"]["parameters"]["image_gain"] == 0.5


@pytest.mark.slow
def test_files_without_a_record_are_read(session, here):
    scan = LoadsStep().run(str(session))
    scan.save("plain.asdf")
    with asdf.open("plain.asdf") as file:
        assert "made_by" not in file["cal_pipeline_scan"]
    assert Scan.open("plain.asdf").meta.made_by == {}
    assert PrepareStep().run("plain.asdf").bands[0].pairing is not None


class TestOneLineOfTheResult:
    def line_of(self, caplog, step, source):
        caplog.clear()
        with caplog.at_level(logging.INFO, "cal_pipeline"):
            scan = step.run(source)
        lines = [r.getMessage() for r in caplog.records if r.getMessage().startswith(f"{step.class_alias}: ")]
        assert len(lines) == 1
        return scan, lines[0]

    @pytest.mark.slow
    def test_a_scan_on_its_way(self, make_session, atm_table, caplog):
        scans = (Simulated(), Simulated(calibration_only=True))
        source = str(make_session(channels=16, pixels=2, mode="otf_chopped", scans=scans) / "scan_000001")
        scan, line = self.line_of(caplog, LoadsStep(forward_efficiency=0.95), source)
        loads = scan.bands[0].loads
        pixels = np.median(loads.solution.t_rec_ssb, axis=0)
        assert f"T_rec {np.median(pixels):.4g} K SSB" in line
        assert "bad channels 0.00 %" in line
        assert "loads of scan 1 (own)" in line
        scan, line = self.line_of(caplog, GainStep(level=3), scan)
        assert "% (median of pixels), level 3, loads of scans 1 and 2" in line
        scan, line = self.line_of(caplog, PrepareStep(), scan)
        pairing = scan.bands[0].pairing
        assert f"mode otf_chopped, {pairing.on.size} ONs, {pairing.off.size} OFFs" in line
        scan, line = self.line_of(caplog, AtmosphereStep(override_atm=atm_table), scan)
        fit = scan.bands[0].atmosphere.fit
        errors = f"± {float(fit.error):.2g} (statistical) ± {float(fit.error_model):.2g} (model) mm"
        assert f"PWV {float(fit.pwv):.4g} {errors}, chi² {float(fit.chi2):.3g}" in line
        scan, line = self.line_of(caplog, CalibrateStep(), scan)
        t_sys = np.median(np.median(scan.bands[0].calibration.t_sys, axis=(0, 3)))
        assert f"T_sys {t_sys:.4g} K DSB (median), bad samples 0.00 %" in line
        scan, line = self.line_of(caplog, DbsStep(), scan)
        assert f"{(scan.bands[0].coupling.second >= 0).sum()} pair" in line
        scan, line = self.line_of(caplog, SkychopdiffStep(), scan)
        assert f"chop phases of {scan.bands[0].chop.ons.size} OFF" in line
        scan, line = self.line_of(caplog, SkydiffStep(n=2), scan)
        assert f"{scan.bands[0].skydiff.offs.size} sk" in line
        assert "2 earlier OFFs" in line

    def test_a_given_pwv_has_no_errors(self, session, atm_table, caplog):
        scan = PrepareStep().run(LoadsStep().run(str(session)))
        _, line = self.line_of(caplog, AtmosphereStep(override_atm=atm_table, strategy="fixed", pwv=0.5), scan)
        assert "PWV 0.5 mm (given), chi²" in line
        assert "nan" not in line

    def test_without_a_level_the_counts_are_left_alone(self, session, caplog):
        scan, line = self.line_of(caplog, GainStep(), LoadsStep().run(str(session)))
        assert line == "gain: skipped: level is 0; give level 3 to correct ONs and OFFs, or 2 for the ONs alone"
        assert scan.meta.cal_step.gain == "SKIPPED"

    @pytest.mark.slow
    def test_in_a_pipeline_there_is_none(self, session, calibrate, caplog):
        with caplog.at_level(logging.INFO, "cal_pipeline"):
            calibrate(session)
        assert not [r for r in caplog.records if r.getMessage().startswith(("loads: ", "gain: ", "atmosphere: "))]


@pytest.mark.slow
def test_an_optional_step_alone_is_saved(make_session, here):
    scan = PrepareStep().run(LoadsStep().run(str(make_session(channels=8, pixels=1))))
    step = SkydiffStep(output_file="sky.asdf")
    step.run(scan)
    assert open_scan("sky.asdf").bands[0].skydiff is not None
    assert open_scan("sky.asdf").meta.cal_step.skydiff == "COMPLETE"


class TestWhatIsOpened:
    def test_where_people_have_it(self, tmp_path, monkeypatch):
        write_scan(tmp_path / "my night.zarr", 1)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("NIGHT", str(tmp_path))
        for where in ("~/my night.zarr", "$NIGHT/my night.zarr/scan_000001", f"file://{tmp_path}/my%20night.zarr"):
            assert open_scan(where).number == first_scan(where).number == 1
        open_scan("~/my night.zarr").save(str(tmp_path / "scan.asdf"))
        for where in ("~/scan.asdf", f"file://{tmp_path}/scan.asdf", Path("~/scan.asdf"), b"~/scan.asdf"):
            assert open_scan(where).number == 1

    @pytest.mark.slow
    def test_a_scan_in_an_object_store(self, tmp_path):
        fsspec = pytest.importorskip("fsspec")
        write_scan(tmp_path / "s.zarr", 7)
        fsspec.filesystem("memory").put(str(tmp_path / "s.zarr"), "/night/s.zarr", recursive=True)
        for where in ("memory://night/s.zarr", "MEMORY://night/s.zarr/scan_000007/"):
            assert open_scan(where).number == 7

    @pytest.mark.slow
    def test_in_the_folder_that_was_named(self, tmp_path, here):
        write_scan(tmp_path / "l0" / "s.zarr", 1)
        assert LoadsStep(input_dir=tmp_path / "l0").run("s.zarr").number == 1
        with pytest.raises(CalibrationError):
            LoadsStep().run("s.zarr")
        (tmp_path / "l0" / "s.zarr" / "scan_000001" / "source" / "tamb" / "zarr.json").unlink()
        with pytest.raises(Exception, match="1 of 1 scan "):
            CalibrationPipeline(input_dir=tmp_path / "l0").run("s.zarr")

    @pytest.mark.parametrize("source", [None, 5, {"a": 1}, ["a.zarr"]])
    def test_a_source_that_is_no_path_is_refused(self, source):
        with pytest.raises(CalibrationError, match=r"input .* cannot be opened; expected the path or URL of a session"):
            open_scan(source)

    @pytest.mark.parametrize("name", ["notes.txt", "mine.cfg", "scan.asdf"])
    def test_another_file(self, tmp_path, name):
        (tmp_path / name).write_text("windy")
        with pytest.raises(StoreError, match=rf"{name} is no file that a step wrote \(ASDF\); expected one, a session"):
            open_scan(tmp_path / name)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(StoreError, match=r"none.asdf is not there"):
            open_scan(tmp_path / "none.asdf")
        with pytest.raises(StoreError, match=r"is remote; files that a step wrote are read from local folders"):
            open_scan("s3://night/scan.asdf")
