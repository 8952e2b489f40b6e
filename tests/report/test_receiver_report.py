"""Reports of L1 stores: what the pages say is what the store holds, and what is not known is never shown as passed."""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline import CalibratedSession
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.run.run_record import RunRecordError
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.averages import average_scan
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.velocity import find_velocities, read_pointing
from cal_pipeline.report.beside import name_report, refuse_foreign_report
from cal_pipeline.report.receiver_band import BandArrays
from cal_pipeline.report.receiver_report import write_report
from cal_pipeline.report.receiver_session import describe_session
from cal_pipeline.report.receiver_summary import summarize_band
from cal_pipeline.simulate import Line
from tests.helpers_report import HOSTILE, Report

pytestmark = pytest.mark.slow

STEPS = {"skydiff": {"skip": False, "n": 1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reports")


@pytest.fixture
def store(folder, make_session, calibrate):
    """A store of three scans, calibrated once, in a folder of its own."""
    made = folder / "l1.zarr"
    if not made.exists():
        line = Line(t_peak=3.0, fwhm_hz=4e8)
        session = make_session(scans=3, channels=64, pixels=3, lines=(line,), noise=True)
        calibrate(session, "l1.zarr", **STEPS)
        shutil.copytree(session.parent / "l1.zarr", made)
    return made


@pytest.fixture
def report(folder, store):
    """Its report."""
    path = folder / "report.html"
    if not path.exists():
        write_report(store, path)
    return Report(path)


@pytest.fixture
def copy(store, tmp_path):
    return Path(shutil.copytree(store, tmp_path / "copy.zarr"))


def change(store, scan, **attributes):
    """Change attributes of a scan."""
    path = store / f"scan_{scan:06d}" / "zarr.json"
    group = json.loads(path.read_text())
    group["attributes"] |= attributes
    path.write_text(json.dumps(group))


def written(store, tmp_path, **settings):
    write_report(store, tmp_path / "new.html", **settings)
    return Report(tmp_path / "new.html")


def curve_of(page, title, name, style="line"):
    """Values of a curve, at full detail."""
    for block in page.find("curves"):
        for panel in block["panels"]:
            for curve in panel["curves"]:
                if panel["label"] == title and curve["name"] == name and curve["style"] == style:
                    return page.array(block["envelopes"][curve["values"]]["$array"])[0][curve["row"]], block, curve
    raise AssertionError(f"no curve {name} of {title}")


def test_there_is_a_page_for_each_scan_and_an_overview(report):
    assert report.pages == ["scan-1", "scan-2", "scan-3", "overview"]


def test_spectra_are_the_averages_of_the_good_samples_with_their_true_error(report, store):
    scan, page = CalibratedSession(store).open_scan(2), report.read("scan-2")
    each = average_scan(scan, each_pixel=True)
    for k, pixel in enumerate(scan.pixel.values.ravel()):
        values, *_ = curve_of(page, "T_A* [K]", str(pixel))
        assert np.allclose(values, each.spectrum.values.reshape(64, -1)[:, k], rtol=0, atol=2e-3, equal_nan=True)
    total = average_scan(scan)
    values, block, curve = curve_of(page, "T_A* [K]", "average of all pixels")
    assert np.allclose(values, total.spectrum, rtol=0, atol=1e-3, equal_nan=True)
    (error,) = page.array(block["envelopes"][curve["error"]]["$array"])
    assert np.allclose(error[0], total.sigma, rtol=0.01, equal_nan=True)


def test_the_axis_is_frequency_or_velocity_in_the_lsr(report, store):
    scan = CalibratedSession(store).open_scan(1)
    _, block, _ = curve_of(report.read("scan-1"), "T_A* [K]", "average of all pixels")
    frequency, velocity = block["axes"]
    assert frequency["label"] == "Frequency [GHz]"
    assert [frequency["first"], frequency["last"]] == pytest.approx(scan.signal_freqs.values[[0, -1]] * 1e-9)
    assert velocity["label"] == "LSRK velocity, radio [km/s]"
    expected = find_velocities(scan.signal_freqs.values, scan.attrs["rest_freq_hz"], read_pointing(scan), "lsrk")
    shown = np.linspace(velocity["first"], velocity["last"], 64)
    assert np.abs(shown - expected).max() < 0.02  # linear, as the radio convention is


def test_observed_sky_is_fit_plus_residual(report, store):
    scan, page = CalibratedSession(store).open_scan(1), report.read("scan-1")
    observed, *_ = curve_of(page, "T_sky [K]", str(scan.pixel.values[1, 0]))
    fitted, *_ = curve_of(page, "T_sky [K]", str(scan.pixel.values[1, 0]), "model")
    residual, *_ = curve_of(page, "residual [K]", str(scan.pixel.values[1, 0]))
    good = np.isfinite(observed)
    assert np.allclose(observed[good], scan.t_sky.values[good, 1, 0], atol=0.05)
    assert np.abs(observed - fitted - residual)[good].max() < 0.1


def test_the_page_has_its_parameters_with_their_origins(report):
    page = report.read("scan-1")
    (table,) = [block for block in page.find("table") if block["titles"][-1] == "where it came from"]
    rows = {name: (value, origin) for name, value, origin in table["rows"]}
    assert rows["steps.loads.forward_efficiency"] == (
        "0.95" if isinstance(rows["steps.loads.forward_efficiency"][0], str) else 0.95,
        "argument",
    )
    assert rows["steps.atmosphere.model_error"][1] == "default"
    assert rows["steps.atmosphere.t_atm"][0] == "not set"
    origins = [row[2] == "default" for row in table["rows"]]
    assert origins == sorted(origins)


def test_differences_are_shown_from_the_second_scan_on(report):
    titles = [[block["title"] for block in report.read(f"scan-{k}").find("section")] for k in (1, 2)]
    assert ["SKYDIFF" in found for found in titles] == [False, True]


def test_the_overview_lists_scans_with_verdicts_and_links(report, store):
    (table,) = [block for block in report.read("overview").find("table") if block["filters"]]
    assert [row[0]["page"] for row in table["rows"]] == ["scan-1", "scan-2", "scan-3"]
    product = CalibratedSession(store)
    assert [row[1]["verdict"] for row in table["rows"]] == [product.attributes(k)["qa"]["verdict"] for k in (1, 2, 3)]
    assert {block["links"] for block in report.read("overview").find("figure")} == {"customdata", ""}


def test_a_scan_starts_with_its_first_on(report, store):
    (table,) = [block for block in report.read("overview").find("table") if block["filters"]]
    scan = CalibratedSession(store).open_scan(1)
    first = scan.mjd.values[0] - np.timedelta64(round(500 * float(scan.t_int[0])), "ms")
    # Times in L1 have the rounding of MJD, and those shown are cut to a second.
    assert abs(np.datetime64(table["rows"][0][4]) - first) <= np.timedelta64(1, "s") < scan.mjd.values[0] - first


def test_bands_are_of_the_same_time_and_of_different_receivers(store):
    product = CalibratedSession(store)
    record = ObservationRecord("scan_000001", product.attributes(1), product.kind)
    one = summarize_band(BandArrays(product.root, record), "scan-1")
    hot = replace(record, attributes={**record.attributes, "qa": {**record.quality, "t_sys_median_K": 4000.0}})
    bands = [replace(one, band="band_0"), replace(one, band="band_1", record=hot)]
    shown = {name: (value, meaning) for name, value, meaning in describe_session(product, bands, {}, [1])[0]["tiles"]}
    assert shown["On source"][0] == f"{float(product.open_scan(1).t_int.sum()) / 60:.1f} min"
    assert shown["T_sys"] == (f"{record.figure('t_sys_median_K'):.0f} K / 4000 K", "DSB, medians of band_0, band_1")


def test_pixels_stand_at_their_offsets_or_in_a_line(report, copy, tmp_path):
    def shown(overview):
        return next(block for block in overview.find("figure") if block["title"].endswith("T_sys"))

    assert "longitude" in shown(report.read("overview"))["layout"]["xaxis"]["title"]["text"]
    for scan in copy.glob("scan_*"):
        for name in ("pixel_offset_lon", "pixel_offset_lat"):
            shutil.rmtree(scan / name)
    block = shown(written(copy, tmp_path).read("overview"))
    assert "in a line" in block["caption"]
    assert block["traces"][0]["x"] == [
        str(name) for name in CalibratedSession(store_of(copy)).open_scan(1).pixel.values.ravel()
    ]


def store_of(path):
    return path


def test_the_line_is_found_where_it_is(report):
    (block,) = [block for block in report.read("scan-1").find("figure") if "strongest line" in block["caption"]]
    low, high = (float(word) for word in block["caption"].split("from ")[1].split(" GHz")[0].split(" to "))
    assert low < 461.0408 < high
    assert high - low < 2.5


def test_warnings_are_sorted_by_weight(copy, tmp_path):
    def verdict(name, weight):
        return {
            "name": name,
            "verdict": weight,
            "value": 3.0,
            "limit": 1.0,
            "pixels": ["a"],
            "explanation": f"of {name}",
        }

    rare, often, bad = verdict("rare", "questionable"), verdict("often", "questionable"), verdict("bad", "fail")
    for scan, found in ((1, [rare, often]), (2, [often]), (3, [often, bad])):
        worst = "fail" if bad in found else "questionable"
        change(copy, scan, qa={"verdict": worst, "verdicts": found, "checks": [], "unknown": []})
    overview = written(copy, tmp_path).read("overview")
    (table,) = [block for block in overview.find("table") if block["titles"][1] == "check"]
    assert [(row[0]["verdict"], row[1], row[2]) for row in table["rows"]] == [
        ("fail", "bad", 1),
        ("questionable", "often", 3),
        ("questionable", "rare", 1),
    ]


def test_what_is_not_known_is_no_pass(copy, tmp_path):
    change(copy, 1, qa={})
    change(copy, 2, qa={"verdict": "splendid"})
    change(copy, 3, qa=None, provenance=None)
    report = written(copy, tmp_path)
    pages = [report.read(f"scan-{k}") for k in (1, 2, 3)]
    assert [page.content["verdict"] for page in pages] == ["", "", ""]
    assert all(
        "No verdict is recorded" in page.words and "checks that were made are passed" not in page.words
        for page in pages
    )
    assert "that is no pass" in report.read("overview").words


def test_hostile_names_stay_text_everywhere(copy, tmp_path):
    for scan in (1, 2, 3):
        pixels = {HOSTILE: {"t_sys_K": 100.0, "t_rec_dsb_K": 50.0}}
        verdicts = [{"name": HOSTILE, "verdict": "fail", "explanation": HOSTILE, "pixels": [HOSTILE]}]
        qa = {"verdict": "fail", "verdicts": verdicts, "pixels": pixels, "checks": [HOSTILE], "unknown": [HOSTILE]}
        change(copy, scan, source=HOSTILE, mode=HOSTILE, line=HOSTILE, qa=qa, scan_metadata={HOSTILE: HOSTILE})
    failure = {"scan_number": 9, "step": HOSTILE, "error_class": HOSTILE, "message": HOSTILE}
    (copy / "failures.json").write_text(json.dumps([failure]))
    report = written(copy, tmp_path)
    assert [tag for tag, _ in report.elements if tag in ("img", "b")] == []
    assert "onerror" not in report.source
    overview = report.read("overview")
    for block in overview.find("figure"):
        assert "<img" not in json.dumps([block["traces"], block["layout"]])
    assert HOSTILE in [cell for block in overview.find("table") for row in block["rows"] for cell in row]


def test_failures_are_shown_with_their_messages(copy, tmp_path):
    failure = {"scan_number": 9, "step": "loads", "error_class": "LoadsError", "message": "no hot load\nin scan 9"}
    (copy / "failures.json").write_text(json.dumps([failure]))
    overview = written(copy, tmp_path).read("overview")
    assert overview.find("section", "1 scan without result")
    assert "no hot load\\nin scan 9" in overview.words


def test_of_failed_scans_alone_nothing_is_said_to_be_known(copy, tmp_path):
    failures = [
        {"scan_number": number, "step": "loads", "error_class": "LoadsError", "message": "no hot load"}
        for number in (1, 2, 3)
    ]
    for number in (1, 2, 3):
        shutil.rmtree(copy / f"scan_00000{number}")
    (copy / "failures.json").write_text(json.dumps(failures))
    words = written(copy, tmp_path).read("overview").words
    assert '"3 failed"' in words
    assert "The parameters are not recorded" in words
    assert "All parameters are defaults" not in words


@pytest.mark.parametrize("damage", ["attributes", "spectra", "frequencies"])
def test_a_damaged_scan_has_a_page_that_says_so_and_the_others_are_there(copy, tmp_path, damage):
    scan = copy / "scan_000002"
    if damage == "attributes":
        (scan / "zarr.json").write_text("{")
    else:
        name = "spectra" if damage == "spectra" else "signal_freqs"
        for chunk in (scan / name).rglob("c*"):
            if chunk.is_file():
                chunk.write_bytes(b"nothing")
    report = written(copy, tmp_path)
    assert report.pages == ["scan-1", "scan-2", "scan-3", "overview"]
    assert "cannot be" in report.read("scan-2").words or "not known" in report.read("scan-2").words
    assert report.read("scan-1").find("curves")
    if damage == "attributes":
        assert "scan 2 cannot be read" in report.read("scan-2").words.lower()
        assert report.read("scan-2").content["verdict"] is None
        words = report.read("overview").words
        assert "The verdict on 1 scan cannot be read" in words
        assert "All scans pass" not in words
    else:
        assert report.read("scan-2").find("table")  # parameters, and the arrays that could not be read


def test_older_stores_have_an_average_without_error(copy, tmp_path):
    for scan in copy.glob("scan_*"):
        for name in ("ref_share", "ref_off"):
            shutil.rmtree(scan / name)
    page = written(copy, tmp_path).read("scan-1")
    _, block, curve = curve_of(page, "T_A* [K]", "average of all pixels")
    assert curve["error"] is None
    assert "error of the average is not known" in block["caption"]


def test_flags_are_counted_by_kind_in_time_and_by_pixel(copy, tmp_path):
    import zarr

    flags = zarr.open_group(copy / "scan_000001", mode="r+")["flags"]
    values = np.zeros(flags.shape, np.uint16)
    values[10:20, :, 1, 0, :] = Flag.RFI
    values[:, 2, :, :, 1] |= np.uint16(Flag.SPIKE)
    flags[...] = values
    page = written(copy, tmp_path).read("scan-1")
    (tabs,) = [block for block in page.find("tabs") if block["tabs"][0]["label"] == "any flag"]
    assert [tab["label"] for tab in tabs["tabs"]] == ["any flag", "SPIKE", "RFI"]
    rfi = tabs["tabs"][2]["blocks"][0]["blocks"]
    in_time, by_pixel = (page.array(view["traces"][0]["z"]["$array"])[0] for view in rfi)
    assert np.allclose(by_pixel[1, 10:20], 100, atol=0.1)
    assert np.allclose(by_pixel[[0, 2]], 0, atol=0.1)
    assert np.allclose(in_time[:, 10:20], 100 / 3, atol=0.1)
    spike = page.array(tabs["tabs"][1]["blocks"][0]["blocks"][0]["traces"][0]["z"]["$array"])[0]
    assert np.flatnonzero(spike.max(axis=1) > 50).tolist() == [flags.shape[1] + 2]


def test_a_small_budget_is_kept_with_all_pages(store, tmp_path):
    report = written(store, tmp_path, limit=2_040_000)
    assert (tmp_path / "new.html").stat().st_size < 2_060_000
    assert len(report.pages) == 4


def test_the_command_writes_beside_the_store_and_refuses_to_replace(copy, capsys):
    assert main(["report", str(copy), "--scans", "1", "3"]) == 0
    target = copy.parent / "copy_report.html"
    assert Report(target).pages == ["scan-1", "scan-3", "overview"]
    assert str(target) in capsys.readouterr().out
    assert main(["report", str(copy)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert main(["report", str(copy), "--overwrite", "-o", str(target)]) == 0
    assert main(["report", str(copy), "--scans", "7", "-o", "x.html"]) == 1
    assert "has no scan 7" in capsys.readouterr().err


def test_a_run_writes_its_report_and_refuses_the_file_of_others(make_session, calibrate, tmp_path):
    session = make_session()
    calibrate(session, "run.zarr", report=True)
    target = tmp_path / name_report("run.zarr")
    assert Report(target).pages == ["scan-1", "overview"]
    assert "report" not in Report(target).read("scan-1").facts()
    target.write_text("<!doctype html><title>mine</title>")
    with pytest.raises(StoreError, match="in the way of the report"):
        calibrate(session, "run.zarr", report=True, overwrite=True)
    assert "mine" in target.read_text()


def test_a_report_that_fails_leaves_the_product_and_says_so(make_session, calibrate, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cal_pipeline.report.receiver_report.write_report", fail)
    with pytest.raises(RunRecordError, match="No space left") as caught:
        calibrate(make_session(), "run.zarr", report=True)
    assert caught.value.exit_status == 3
    assert CalibratedSession(tmp_path / "run.zarr").numbers == [1]
    assert not (tmp_path / "run_report.html").exists()


def test_a_store_that_moved_with_its_report_may_replace_it(copy, tmp_path):
    assert main(["report", str(copy)]) == 0
    copy.rename(tmp_path / "other.zarr")
    (tmp_path / "copy_report.html").rename(tmp_path / "other_report.html")
    refuse_foreign_report(CalibratedSession(tmp_path / "other.zarr").root)
    shutil.copytree(tmp_path / "other.zarr", tmp_path / "copy.zarr")
    with pytest.raises(StoreError, match=r"the report of copy\.zarr"):
        refuse_foreign_report(CalibratedSession(tmp_path / "other.zarr").root)


def test_no_warning_is_raised_by_empty_pixels(copy, tmp_path):
    import zarr

    group = zarr.open_group(copy / "scan_000001", mode="r+")
    group["spectra"][:, :, 0] = np.nan
    group["flags"][:, :, 0] = int(Flag.BAD_CHANNEL)
    group["sigma"][:, 0] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = written(copy, tmp_path).read("scan-1")
    pixel = str(CalibratedSession(copy).open_scan(1).pixel.values[0, 0])
    assert np.isnan(curve_of(page, "T_A* [K]", pixel)[0]).all()
