"""The report of nights shows what their products say, and names the files that it cannot read."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from helpers_browser import LAPTOP, PHONE, Visit, open_browser
from helpers_pages import find_blocks, find_section, find_tables, read_facts, read_pages, read_tiles

from cal_pipeline.cherenkov.camera import COEFFICIENTS
from cal_pipeline.cherenkov.hdf5 import write_tables
from cal_pipeline.cherenkov.muons import THROUGHPUT
from cal_pipeline.cherenkov.products import write_ecsv
from cal_pipeline.cherenkov.simulate.air import AirColumn
from cal_pipeline.cherenkov.simulate.atmosphere import (
    CLIMATES,
    LATITUDE,
    make_reference_extinction,
    make_reference_profile,
)
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.errors import OutputExistsError, StoreError
from cal_pipeline.report.cherenkov_files import ASYMMETRIES, CLEAR, FACTORS, INTER, SCALED, is_of_cherenkov
from cal_pipeline.report.cherenkov_report import write_report

pytestmark = pytest.mark.cherenkov

EVIL = '</script><img src=x onerror="alert(1)"><b>'
SUMMER = AirColumn(CLIMATES["summer"], LATITUDE)
MODEL, SELECT, LIDAR = (
    f"calibpipe-{name}"
    for name in ("create-molecular-atmospheric-model", "select-reference-atmospheric-model", "lidar-inversion")
)


def record(tool, warnings=()):
    return {
        "tool": tool,
        "version": "1.2.3",
        "time": "2023-07-11T10:00:00+00:00",
        "parameters": {"interpolation": "log", "overwrite": True},
        "parameter_origins": {"interpolation": f"file {EVIL}.yaml"},
        "inputs": [{"name": "meteo.ecsv", "sha256": "abc"}],
        "warnings": list(warnings),
    }


def write_product(path, table, tool, warnings=(), **meta):
    table.meta = {"evening": "2023-07-09", **meta, "provenance": record(tool, warnings)}
    write_ecsv(table, path)


def write_air(folder):
    """Write a night that is 2 % denser than its reference, with twice the optical depth."""
    selection = {
        "by": "density",
        "season": "SUMMER",
        "version": "1.0.0",
        "candidates": 3,
        "number_density_15km": 4.5e18,
    }
    profile, extinction = make_reference_profile(SUMMER), make_reference_extinction(SUMMER)
    write_product(folder / "reference.ecsv", profile.copy(), SELECT, selection=selection)
    write_product(folder / "reference_depth.ecsv", extinction.copy(), SELECT, selection=selection)
    profile["atmospheric_density"] *= 1.02
    for name in extinction.colnames:
        if name.endswith(" nm"):
            extinction[name] *= 2.0
    times = {"dusk": "2023-07-09T21:44:39", "dawn": "2023-07-10T04:45:20"}
    write_product(
        folder / "profile.ecsv", profile, MODEL, [f"a column {EVIL} is left out"], night=times, completeness=0.9
    )
    write_product(folder / "depth.ecsv", extinction, MODEL, observation_level_km=2.2)


def write_telescopes(folder):
    """Write coefficients of a camera, throughputs from muons, and pairs."""
    factor = np.broadcast_to(np.array([0.1, 2.0])[:, None], (2, 2, 8)).copy()
    outliers = np.zeros((2, 2, 8), bool)
    outliers[1, 0, 3], factor[1, 0, 3] = True, 1e6
    camera = {
        "time": [60135.0, 60135.01], "time_end": [60135.01, 60135.02], "factor": factor,
        "pedestal_offset": np.full((2, 2, 8), 400.0) + np.arange(8), "time_shift": np.zeros((2, 2, 8)),
        "outlier_mask": outliers, "extrapolated_channel_mask": np.zeros((2, 2, 8), bool), "is_valid": [True, False],
    }  # fmt: skip
    muons = {
        "mean": [0.19, 0.21], "sem": [0.01, 0.01], "n_events": [50, 60], "time_start": [60135.0, 60135.1],
        "time_end": [60135.1, 60135.2],
    }  # fmt: skip
    tables = {f"{COEFFICIENTS}/tel_007": Table(camera), f"{THROUGHPUT}/tel_007": Table(muons)}
    write_tables(folder / "monitoring.h5", tables, "calibpipe-calculate-camcalib-coefficients", record("calibpipe-x"))
    kinds = {"tel_type": ["LST", "LST"], "tel_id": [1, 2], "value": [1.0, 0.9], "error": [0.0, 0.02]}
    factors = {"tel_type": ["LST"], "tel_ref": ["MST"], "scaling_factor": [1.3], "scaling_factor_uncertainty": [0.04],
               "n_events": [90], "n_ratios": [200]}  # fmt: skip
    pairs = {"tel_type": ["LST"] * 3, "tel_id_1": [1] * 3, "tel_id_2": [2] * 3, "energy_asymmetry": [0.04, 0.06, 0.05]}
    tables = {
        INTER: Table({**kinds, "n_pairs": [1, 1]}),
        SCALED: Table({**kinds, "value": [1.3, np.nan]}),
        FACTORS: Table(factors),
        ASYMMETRIES[0]: Table(pairs),
    }
    write_tables(folder / "pairs.h5", tables, "calibpipe-inter-calibration", record("calibpipe-inter-calibration"))


def write_aerosols(folder):
    lidar = Table(
        {"altitude": [2500.0, 3000.0], "backscatter": [1e-6, 2e-6], "extinction": [5e-5, np.nan], "aod": [0.0, 0.02]}
    )
    for name, unit in (("altitude", "m"), ("backscatter", "1 / (m sr)"), ("extinction", "1 / m")):
        lidar[name].unit = unit
    write_product(folder / "lidar.ecsv", lidar, LIDAR, lidar_inversion={"lidar_ratio_sr": 50.0})
    clear = Table({"night_assessment": ["Clear Night"] * 2, "wavelength": [420.0, 530.0], "VAOD": [0.02, 0.01],
                   "VAOD_error": [0.001, 0.001], "fractional_rms_variability_amplitude": [0.004, 0.002], "n": [12, 9],
                   "angstrom_exponent": [1.2, 1.2], "angstrom_exponent_error": [0.1, 0.1]})  # fmt: skip
    write_tables(folder / "clear.h5", {CLEAR: clear}, "calibpipe-clear-night-assessment", record("calibpipe-clear"))


@pytest.fixture(scope="module")
def night(tmp_path_factory):
    """A night with products of all tools, inputs, and files that are damaged."""
    folder = tmp_path_factory.mktemp("nights") / "night"
    products = folder / "products"
    products.mkdir(parents=True)
    for write in (write_air, write_aerosols, write_telescopes):
        write(products)
    Table({"a": [1]}).write(folder / "input.ecsv", format="ascii.ecsv")
    (products / "empty.ecsv").touch()
    (products / "cut.h5").write_bytes((products / "pairs.h5").read_bytes()[:2000])
    text = (products / "profile.ecsv").read_text()
    (products / "torn.ecsv").write_text(text[: len(text) - 40])
    return folder


@pytest.fixture(scope="module")
def report(night):
    path = night.with_name("report.html")
    write_report(night, path)
    return path, read_pages(path)


def test_a_night_has_a_page_for_each_subject(report):
    assert list(report[1]) == ["atmosphere", "aerosols", "camera-tel-7", "muons", "pairs", "overview"]
    assert all(page["judged"] is False for name, page in report[1].items() if name != "overview")


def test_the_air_stands_beside_its_reference(report):
    page = report[1]["atmosphere"]
    tiles = read_tiles(page)
    assert tiles["Night"] == "2023-07-09"
    assert tiles["Completeness"] == "90 %"
    assert tiles["Reference model"] == "SUMMER 1.0.0"
    assert tiles["CO2"] is None
    (drawn,) = find_blocks(page, "figure", "Against the reference model")
    by_name = {trace["name"]: trace for trace in drawn["traces"]}
    np.testing.assert_allclose(by_name["density"]["x"], 2.0, rtol=1e-9)
    np.testing.assert_allclose(by_name["pressure"]["x"], 0.0, atol=1e-9)
    assert max(by_name["density"]["y"]) <= 50.0
    said = next(value for name, value in read_facts(page).items() if name.startswith("night over reference"))
    assert said.startswith("+100.00 to +100.00 %")
    assert read_facts(page)["observation_level_km"] == 2.2


def test_the_selection_has_its_reason(report, tmp_path):
    (said,) = find_blocks(find_section(report[1]["atmosphere"], "Selection of the reference model"), "note")
    assert said["kind"] == "good"
    assert "nearest of 3 models" in said["text"]
    selection = {"by": "season", "season": "SUMMER", "version": "1.0.0"}
    write_product(tmp_path / "reference.ecsv", make_reference_profile(SUMMER), SELECT, selection=selection)
    write_report([tmp_path / "reference.ecsv"], tmp_path / "report.html")
    (said,) = find_blocks(
        find_section(read_pages(tmp_path / "report.html")["atmosphere"], "Selection of the reference model"), "note"
    )
    assert said["kind"] == "warning"
    assert "the season decided" in said["text"]


def test_aerosols_and_assessment(report):
    page = report[1]["aerosols"]
    assert read_tiles(page)["Assessment"] == "Clear Night"
    (listed,) = find_tables(page, "stars")
    assert listed["rows"][0] == [420, 12, 0.02, 0.001, 0.004]
    (drawn,) = find_blocks(page, "figure", "Extinction of aerosols")
    assert drawn["traces"][0]["x"] == [pytest.approx(0.05), None]
    assert read_facts(page)["ranges without a value"] == 1


def test_camera_without_its_outliers(report):
    page = report[1]["camera-tel-7"]
    assert read_tiles(page)["Intervals"] == "2"
    assert read_tiles(page)["Outliers"] == "3.12 %"
    (drawn,) = find_blocks(page, "curves", "Gain: counts per photoelectron (1 / factor)")
    high, low = (envelope["arrays"][0][0] for envelope in drawn["envelopes"])
    np.testing.assert_allclose(high, 10.0)
    np.testing.assert_allclose(low, 0.5)
    (listed,) = find_tables(page, "length [s]")
    assert [row[2:] for row in listed["rows"]] == [["yes", 0, 0], ["no", 1, 0]]
    assert listed["rows"][0][:2] == ["2023-07-10 00:00:00.000", 864]
    assert any("1 of 2 intervals are not valid" in note["text"] for note in find_blocks(page, "note"))


def test_muons_and_pairs(report):
    (listed,) = find_tables(report[1]["muons"], "rings")
    # Two values of ±0.01, each off by one error.
    assert listed["rows"] == [[7, 2, 110, 0.2, pytest.approx(0.00707, abs=1e-5), 2]]
    (listed,) = find_tables(report[1]["pairs"], "throughput")
    assert listed["rows"] == [["LST 1", "LST", 1, 1, 0, 1.3, 0], ["LST 2", "LST", 1, 0.9, 0.02, None, 0.02]]
    (listed,) = find_tables(report[1]["pairs"], "factor")
    assert listed["rows"] == [["LST", "MST", 1.3, 0.04, 90, 200]]
    (listed,) = find_tables(report[1]["pairs"], "mean asymmetry")
    assert listed["rows"] == [["LST 1-2", 3, 0.05, pytest.approx(0.01 / 3**0.5, abs=1e-5)]]


def test_files_that_cannot_be_read_have_entries(report):
    overview = report[1]["overview"]
    (listed,) = find_tables(overview, "reason")
    found = {Path(row[0]).name: row[1] for row in listed["rows"]}
    assert set(found) == {"empty.ecsv", "cut.h5", "torn.ecsv"}
    assert all(found.values())
    assert read_tiles(overview)["Unreadable"] == "3"
    (others,) = find_tables(overview, "night")
    assert others["rows"] == [["night", "input.ecsv"]]


def test_warnings_and_provenance_are_shown_as_text(report):
    raw = report[0].read_text()
    assert "<img" not in raw
    (listed,) = find_tables(report[1]["overview"], "warning")
    assert listed["rows"] == [["profile.ecsv", f"a column {EVIL} is left out"]]
    page = report[1]["atmosphere"]
    rows = [row for block in find_tables(page, "where it came from") for row in block["rows"]]
    assert ["interpolation", "log", f"file {EVIL}.yaml"] in rows
    assert "overwrite" not in [row[0] for row in rows]
    assert read_facts(page)["version"] == "1.2.3"


def test_a_table_that_lacks_columns_leaves_the_other_sections(night, tmp_path):
    folder = tmp_path / "night"
    shutil.copytree(night / "products", folder)
    table = Table.read(folder / "profile.ecsv")
    table.remove_column("temperature")
    table.write(folder / "profile.ecsv", format="ascii.ecsv", overwrite=True)
    write_report(folder, tmp_path / "report.html")
    page = read_pages(tmp_path / "report.html")["atmosphere"]
    (said,) = find_blocks(find_section(page, "Profile"), "note")
    assert "column temperature is missing" in said["text"]
    assert find_blocks(find_section(page, "Rayleigh extinction"), "figure")


def test_several_nights_are_told_apart(night, tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        shutil.copy(night / "products" / "lidar.ecsv", tmp_path / name)
    write_report([tmp_path / "first", tmp_path / "second"], tmp_path / "report.html")
    pages = read_pages(tmp_path / "report.html")
    assert list(pages) == ["night-1-aerosols", "night-2-aerosols", "overview"]
    assert pages["night-2-aerosols"]["title"] == "second: aerosols"


def test_wrong_paths_are_refused(tmp_path):
    (tmp_path / "bare").mkdir()
    with pytest.raises(StoreError, match="bare has no product of Cherenkov tools"):
        write_report(tmp_path / "bare", tmp_path / "report.html")
    with pytest.raises(StoreError, match="absent is not there"):
        write_report(tmp_path / "absent", tmp_path / "report.html")
    assert not is_of_cherenkov(str(tmp_path / "bare"))


def test_the_command(night, tmp_path, capsys):
    output = tmp_path / "report.html"
    assert main(["report", str(night), "-o", str(output)]) == 0
    assert f"{output}: " in capsys.readouterr().out
    assert main(["report", str(night), "-o", str(output)]) == 1
    assert "exists" in capsys.readouterr().err
    products = [str(night / "products" / name) for name in ("lidar.ecsv", "clear.h5")]
    assert main(["report", *products, "-o", str(output), "--overwrite"]) == 0
    assert list(read_pages(output)) == ["aerosols", "overview"]
    assert main(["report", *products]) == 1
    assert "name the file to write" in capsys.readouterr().err
    assert main(["report", products[0], "-o", str(output), "--overwrite", "--scans", "1"]) == 1
    assert "--scans selects from a store" in capsys.readouterr().err


def test_an_older_report_stays_unless_it_may_be_replaced(night, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("mine")
    with pytest.raises(OutputExistsError):
        write_report(night, path)
    assert path.read_text() == "mine"


def test_provenance_that_is_no_json_is_a_warning(tmp_path):
    import h5py

    write_tables(tmp_path / "clear.h5", {CLEAR: Table({"a": [1.0]})}, "calibpipe-clear-night-assessment", record("x"))
    with h5py.File(tmp_path / "clear.h5", "a") as file:
        file.attrs["provenance_calibpipe-clear-night-assessment"] = "{"
    write_report([tmp_path / "clear.h5"], tmp_path / "report.html")
    (listed,) = find_tables(read_pages(tmp_path / "report.html")["overview"], "warning")
    assert listed["rows"] == [["clear.h5", "the provenance cannot be read"]]


@pytest.mark.slow
@pytest.mark.browser
def test_pages_of_a_night_are_drawn_in_a_browser(report, tmp_path):
    with open_browser() as browser:
        for size, scheme in ((LAPTOP, "light"), (PHONE, "dark")):
            visit = Visit(browser.new_page(color_scheme=scheme))
            assert visit.open(report[0], size) == []
            for address, page in report[1].items():
                visit.page.evaluate(f"location.hash = '{address}'")
                visit.page.wait_for_selector(f"h1:text-is('{page['title']}')")
                visit.page.wait_for_timeout(200)
                assert visit.complain() == [], address
            visit.page.evaluate("location.hash = 'muons'")
            visit.page.wait_for_selector(".scatterlayer .trace", state="attached")
            assert len(visit.page.screenshot(path=str(tmp_path / f"{scheme}.png"))) > 20_000
