"""Combinations of parameters: equal to runs, computed once where they agree, failures apart from the others."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr

from cal_pipeline import CalibrationPipeline, tune
from cal_pipeline.core.errors import CalibrationError, OutputExistsError, StoreError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.run.job import apply_steps
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.heterodyne.counts import CountMemory, Counts
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.pipelines import combinations
from cal_pipeline.simulate import Drift
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, GainStep, LoadsStep, PrepareStep
from cal_pipeline.steps.heterodyne.writing import assess_scan

pytestmark = pytest.mark.slow

ATMOSPHERE, LEVEL = "atmosphere.model_error", "gain.level"


@pytest.fixture
def night(make_session):
    """Two scans of a receiver that drifts, with a dump that is missing: its counts are floats."""
    path = make_session(scans=2, drift=Drift(gain_per_hour=0.1), channels=64)
    counts = zarr.open_group(path)["scan_000001/source/data_5d"]
    counts[:, 2, 0, 0, 1] = counts.fill_value
    return path


@pytest.fixture
def base(atm_table):
    """Parameters that suit the session, as nested steps."""
    return {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"override_atm": str(atm_table)}}


def merge(base, parameters):
    """Add parameters by label to nested steps."""
    steps = {name: dict(values) for name, values in base.items()}
    for label, value in parameters.items():
        step, _, name = label.partition(".")
        steps.setdefault(step, {})[name] = value
    return steps


def without_pixels(attributes):
    """Return attributes of L1 as a row keeps them."""
    kept = {name: value for name, value in attributes.items() if name != "provenance"}
    return kept | {"qa": {name: value for name, value in kept["qa"].items() if name != "pixels"}}


def total_error(product, number):
    scan = product.open_scan(number)
    return float(np.median(np.hypot(scan.pwv_err.values, scan.pwv_err_model.values)))


def compare_with_runs(tuning, session, base, tmp_path):
    """Compare each row with a run of the pipeline, bit for bit."""
    for row in tuning.rows:
        steps, output = merge(base, row.parameters), tmp_path / f"l1_{row.number}.zarr"
        product = CalibrationPipeline.call(session, output_file=str(output), steps=steps, configure_log=False)
        assert [result.scan for result in row.scans] == product.numbers
        for result in row.scans:
            (band,) = result.bands
            written = read_group_attributes(product.root, f"scan_{result.scan:06d}")
            assert without_pixels(written) == dict(band.attributes)
            assert band.figures["pwv_mm"] == written["pwv_mm"]
            assert band.figures["pwv_total_err_mm"] == total_error(product, result.scan)
            for name in ("noise_ratio", "ripple_K", "pwv_chi2", "sky_misfit_K"):
                stem, _, unit = name.partition("_K")
                reduced = f"{name}_median" if f"{name}_median" in written["qa"] else f"{stem}_median{unit}"
                assert band.figures[name] == written["qa"][reduced]
            assert band.figures["t_rec_dsb_K"] == written["qa"]["t_rec_dsb_median_K"]
            assert band.verdict == written["qa"]["verdict"]


@pytest.mark.slow
def test_rows_equal_runs(night, base, tmp_path):
    vary = {"loads.clip_sigma": [10.0, 0.0], ATMOSPHERE: [0.03, 0.1], LEVEL: [0, 3]}
    tuning = tune(night, vary, steps=base, configure_log=False)
    compare_with_runs(tuning, night, base, tmp_path)
    figures = [row.figures["pwv_mm"] for row in tuning.rows]
    assert len(set(figures)) >= 4  # they differ, so that equality with the runs says something


@pytest.mark.slow
def test_rows_equal_runs_of_chopped_scans(make_session, base, tmp_path):
    night = make_session(mode="otf_chopped")
    vary = {"dbs.skip": [True, False], "calibrate.precision": ["lossless", "radiometric"]}
    tuning = tune(night, vary, steps=base | {"skychopdiff": {"skip": False}}, configure_log=False)
    compare_with_runs(tuning, night, base | {"skychopdiff": {"skip": False}}, tmp_path)


def test_figures_of_pixels_equal_those_of_a_run(night, base, calibrate):
    product = calibrate(night)
    pipeline = CalibrationPipeline(steps=base)
    scan = apply_steps(Session(night), 1, pipeline).observation
    (found,) = assess_scan(scan, tuple(CalibrationPipeline.step_defs.values()))
    expected = read_group_attributes(product.root, "scan_000001")
    assert found["qa"] == expected["qa"]
    assert found["qa"]["pixels"]
    assert {name: value for name, value in expected.items() if name != "provenance"} == {
        name: value for name, value in found.items() if name != "provenance"
    }


def count_calls(monkeypatch, cls, name):
    """Count calls of a method."""
    calls = []
    method = getattr(cls, name)

    def counted(self, *args, **settings):
        calls.append((self, *args))
        return method(self, *args, **settings)

    monkeypatch.setattr(cls, name, counted)
    return calls


def test_shared_work_is_done_once(night, base, monkeypatch):
    calls = {step: count_calls(monkeypatch, step, "process_scan") for step in (LoadsStep, GainStep, AtmosphereStep)}
    calls |= {step: count_calls(monkeypatch, step, "process_band") for step in (PrepareStep, CalibrateStep)}
    reads = count_calls(monkeypatch, Counts, "_read")
    tune(night, {ATMOSPHERE: [0.01, 0.03, 0.1], LEVEL: [0, 3]}, scans=1, steps=base, configure_log=False)
    numbers = {step.class_alias: len(found) for step, found in calls.items()}
    assert numbers == {"loads": 1, "gain": 2, "prepare": 1, "atmosphere": 6, "calibrate": 6}
    blocks = [(self.name, channels.start, *subscans) for self, channels, subscans in reads if "/source/" in self.name]
    assert len(blocks) == len(set(blocks)) == 7  # each subscan once


def test_off_means_are_computed_once_for_errors_of_the_loads(night, base, monkeypatch):
    prepared = count_calls(monkeypatch, PrepareStep, "process_band")
    reads = count_calls(monkeypatch, Counts, "_read")
    vary = {"loads.t_hot_err": [1.0, 2.0, 3.0], "loads.image_gain": [1.0, 0.5]}
    tune(night, vary, scans=1, steps=base, configure_log=False)
    # The noise of the OFFs depends on the image gain by gamma, their counts are read once.
    assert len(prepared) == 6 / 3
    blocks = [(self.name, *subscans) for self, _, subscans in reads if "/source/" in self.name]
    assert len(blocks) == len(set(blocks))


def test_counts_beyond_the_budget_are_read_again(night, base, monkeypatch):
    vary = {ATMOSPHERE: [0.01, 0.03]}
    expected = tune(night, vary, scans=1, steps=base, configure_log=False)
    monkeypatch.setattr(combinations, "COUNTS_BUDGET", 10_000)
    reads = count_calls(monkeypatch, Counts, "_read")
    found = tune(night, vary, scans=1, steps=base, configure_log=False)
    assert [row.scans[0].bands for row in found.rows] == [row.scans[0].bands for row in expected.rows]
    assert len([1 for self, *_ in reads if "/source/" in self.name]) > 7


def test_memory_keeps_what_it_has_room_for():
    memory, block = CountMemory(100), np.zeros(10, np.int64)
    memory.keep("first", block)
    memory.keep("second", block)
    assert memory.find("first") is block
    assert memory.find("second") is None


def test_the_row_of_the_current_parameters_is_marked(night, base):
    tuning = tune(night, {ATMOSPHERE: [0.01, 0.03]}, scans=1, steps=base, configure_log=False)
    assert [row.is_current for row in tuning.rows] == [False, True]
    assert tuning.current is tuning.rows[1]
    assert tuning.all_rows == tuning.rows
    change = tuning.rows[0].subtract(tuning.current)
    assert change["pwv_total_err_mm"] < 0.0
    assert set(tuning.rows[1].subtract(tuning.current).values()) == {0.0}


def test_current_parameters_that_no_combination_equals_are_computed(night, base):
    tuning = tune(night, {ATMOSPHERE: [0.01, 0.1]}, scans="1", steps=base, configure_log=False)
    assert tuning.current.number is None
    assert tuning.current.is_current
    assert tuning.current.parameters == {ATMOSPHERE: 0.03}
    assert tuning.all_rows == [tuning.current, *tuning.rows]
    low, high = (row.subtract(tuning.current)["pwv_total_err_mm"] for row in tuning.rows)
    assert low < 0.0 < high


def test_parameters_that_the_data_choose_are_current(make_session, base):
    """The file for this telescope and mode gives the mode, as the second combination does."""
    night = make_session()
    tuning = tune(night, {"prepare.mode": ["auto", "otf"]}, steps=base, configure_log=False)
    assert [row.is_current for row in tuning.rows] == [False, True]


def test_combinations_that_contradict_themselves_are_rows(night, base):
    vary = {"atmosphere.strategy": ["full", "fixed"], "atmosphere.pwv": [None, 0.4]}
    tuning = tune(night, vary, scans=1, steps=base, configure_log=False)
    assert [row.status for row in tuning.rows] == ["calibrated", "failed", "failed", "calibrated"]
    assert tuning.exit_status == 2
    assert "strategy 'full'" not in tuning.rows[2].failures[0].message
    assert "needs pwv" in tuning.rows[2].failures[0].message
    assert "has no effect" in tuning.rows[1].failures[0].message
    assert tuning.rows[3].figures["pwv_mm"] == 0.4
    with pytest.raises(CalibrationError, match="row 2 failed in step atmosphere"):
        tuning.write(2, "never.asdf")


def test_broken_scan_leaves_the_others(night, base):
    (night / "scan_000002" / "source" / "tamb" / "zarr.json").write_text("{")
    tuning = tune(night, {LEVEL: [0, 3]}, steps=base, configure_log=False)
    assert [row.status for row in tuning.rows] == ["partly", "partly"]
    assert tuning.exit_status == 2
    assert "tamb" in tuning.rows[0].failures[0].message
    assert tuning.rows[0].failures[0].failed_in == "load"
    assert tuning.rows[0].is_current
    assert tuning.rows[1].subtract(tuning.current)["pwv_mm"] is not None
    assert tune(night, {LEVEL: [0, 3]}, scans=2, steps=base, configure_log=False).exit_status == 1


@pytest.mark.parametrize(
    "parameters",
    [{"overwrite": True}, {"output_file": "l1.zarr"}, {"workers": 2}, {"steps": {"loads": {"save_results": True}}}],
)
def test_parameters_of_a_product_are_refused(night, parameters):
    with pytest.raises(ParameterError, match="has no effect on a tuning"):
        tune(night, {LEVEL: [0]}, configure_log=False, **parameters)


def test_wrong_scans_and_sessions_are_refused(night, tmp_path):
    with pytest.raises(StoreError, match="has no scan 7"):
        tune(night, {LEVEL: [0]}, scans=7, configure_log=False)
    with pytest.raises(StoreError):
        tune(tmp_path / "absent.zarr", {LEVEL: [0]}, configure_log=False)


def test_warnings_are_logged_once(night, base, caplog):
    tune(night, {ATMOSPHERE: [0.01, 0.03, 0.1], LEVEL: [3]}, scans=2, steps=base, configure_log=False)
    assert [record.message for record in caplog.records if "no loads after" in record.message] == [
        "scan 2: no loads after the scan; it is calibrated with those of scan 2 alone"
    ]


def test_table_for_astropy(night, base):
    tuning = tune(night, {ATMOSPHERE: [0.01, 0.1]}, steps=base, configure_log=False)
    table = tuning.table()
    assert table["row"].tolist() == [-1, 0, 1]
    assert table["pwv_mm"].unit == "mm"
    assert str(table["t_rec_dsb_K"].unit) == "K"
    by_scan = tuning.table(by_scan=True)
    assert len(by_scan) == 2 * len(table)
    first = by_scan[by_scan["row"] == 0]
    assert first["scan"].tolist() == [1, 2]
    assert tuning.rows[0].figures["pwv_mm"] == np.median(first["pwv_mm"])


def test_printed_table(night, base):
    text = str(tune(night, {ATMOSPHERE: [0.03, 0.1]}, steps=base, configure_log=False))
    lines = text.splitlines()
    assert "2 combinations of 2 scans" in lines[0]
    assert [line.split()[0] for line in lines if line[:1].isdigit() or line[:3] == "now"] == ["0*", "1"] * 3
    assert sum(line.startswith("scan ") for line in lines) == 2


def test_json_has_the_rows(night, base, tmp_path):
    tuning = tune(night, {ATMOSPHERE: [0.01, 0.03]}, steps=base, configure_log=False)
    file = tuning.to_json(tmp_path / "table.json")
    found = json.loads(file.read_text())
    assert [row["row"] for row in found["rows"]] == [0, 1]
    assert found["rows"][0]["parameters"] == {"steps.atmosphere.model_error": 0.01}
    assert found["current"]["row"] == 1
    assert found["rows"][1]["current"]
    assert found["rows"][0]["pwv_mm"] == tuning.rows[0].figures["pwv_mm"]
    assert found["rows"][0]["change"]["noise_ratio"] == pytest.approx(0.0, abs=0.01)
    assert [scan["scan"] for scan in found["rows"][0]["scans"]] == [1, 2]
    assert found["figures"]["pwv_mm"]["unit"] == "mm"
    with pytest.raises(OutputExistsError):
        tuning.to_json(file)


def values_of(product, number):
    attributes = read_group_attributes(product.root, f"scan_{number:06d}")
    return without_pixels(attributes)


def test_written_row_gives_its_values(night, base, tmp_path):
    tuning = tune(night, {ATMOSPHERE: [0.01, 0.1], LEVEL: [0, 3]}, steps=base, configure_log=False)
    file = tuning.write(3, tmp_path / "mine.asdf")
    product = CalibrationPipeline.call(
        night, config_file=str(file), output_file=str(tmp_path / "l1.zarr"), configure_log=False
    )
    for result in tuning.rows[3].scans:
        assert values_of(product, result.scan) == dict(result.bands[0].attributes)
    with pytest.raises(OutputExistsError):
        tuning.write(3, file)
    with pytest.raises(CalibrationError, match=r"expected .\.asdf"):
        tuning.write(3, tmp_path / "mine.cfg")
    with pytest.raises(CalibrationError, match="no row 4; expected 0 to 3"):
        tuning.write(4, tmp_path / "other.asdf")


def test_written_row_leaves_out_what_it_made_idle(night, base, tmp_path):
    """A file gives the water vapour; the row fits it, which a file with both would contradict."""
    config = tmp_path / "fixed.cfg"
    config.write_text("[steps]\n[[atmosphere]]\nstrategy = fixed\npwv = 0.4\nmodel_error = 0.02\n")
    tuning = tune(
        night, {"atmosphere.strategy": ["full", "fixed"]}, scans=1, config_file=config, steps=base, configure_log=False
    )
    assert [row.status for row in tuning.rows] == ["calibrated", "calibrated"]
    file = tuning.write(0, tmp_path / "mine.asdf")
    pipeline = CalibrationPipeline.from_config_file(str(file))
    assert (pipeline.atmosphere.strategy, pipeline.atmosphere.pwv, pipeline.atmosphere.model_error) == (
        "full",
        None,
        0.02,
    )
    product = CalibrationPipeline.call(
        night, config_file=str(file), scans=1, output_file=str(tmp_path / "l1.zarr"), configure_log=False
    )
    assert values_of(product, 1) == dict(tuning.rows[0].scans[0].bands[0].attributes)


def test_page(night, base, tmp_path):
    tuning = tune(night, {ATMOSPHERE: [0.01, 0.1]}, steps=base, configure_log=False)
    file = tuning.to_html(tmp_path / "page.html")
    text = file.read_text()
    assert text.startswith("<!doctype html>")
    assert len(text) < 20_000_000
    with pytest.raises(OutputExistsError):
        tuning.to_html(file)
