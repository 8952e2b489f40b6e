"""The report of images shows what is in them, to the pixel, and what is wrong, whatever their names are."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_browser import LAPTOP, PHONE, Visit, open_browser
from helpers_images import SHAPE, make_image, write_references, write_store
from helpers_pages import find_blocks, find_section, find_tables, read_facts, read_pages, read_tiles

from cal_pipeline import Image2Pipeline, Image3Pipeline
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.errors import OutputExistsError, StoreError
from cal_pipeline.core.store.metadata import read_group_attributes, write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.figures import judge_rate
from cal_pipeline.imager.kinds import RATE
from cal_pipeline.report import imager_images
from cal_pipeline.report.imager_images import draw_image, shrink, stretch_scale
from cal_pipeline.report.imager_report import write_report
from cal_pipeline.report.page.arrays import Raster

pytestmark = pytest.mark.imager

EVIL = '</script><img src=x onerror="alert(1)"><b>'
RAMP = np.linspace(-2.0, 50.0, SHAPE[0] * SHAPE[1], dtype=np.float32).reshape(SHAPE)


def make_flags():
    dq = np.zeros(SHAPE, np.uint32)
    dq[0] = DQ.REFERENCE_PIXEL | DQ.DO_NOT_USE
    dq[3, 4], dq[5, :2], dq[6, 7] = DQ.JUMP_DET, DQ.SATURATED, DQ.HOT | DQ.DO_NOT_USE
    return dq


def make_rates(folder, *images):
    path = folder / "rate.zarr"
    write_store(path, images)
    root = open_store(path, write=True)
    write_group(root, "", RATE.root_attributes)
    for image in images:
        group = f"exp_{image.number:06d}"
        attributes = read_group_attributes(root, group)
        write_group(root, group, attributes | {"provenance": PROVENANCE, "qa": judge_rate(image, 630.0, 300)})
    return path


PROVENANCE = {
    "engine_version": "1.2.3",
    "input": "visit.zarr",
    "time": "2026-11-30T03:00:00+00:00",
    "parameters": {
        "references": "refs",
        "workers": 4,
        "steps": {"jump": {"threshold": 5.0, "override_gain": "g.asdf"}},
    },
    "parameter_origins": {"steps.jump.threshold": "cfg/mine.cfg", "steps.jump.override_gain": "argument"},
    "reference_files": [
        {"type": "gain", "file": "g.asdf", "sha256": "0123456789abcdef"},
        {"type": "mask", "file": f"refs/{EVIL}.asdf", "sha256": None},
    ],
}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of two exposures, of which the second one's data are damaged, and its pages."""
    folder = tmp_path_factory.mktemp("report")
    first = make_image(1, RAMP, dq=make_flags(), target=EVIL, ints=(90.0, 110.0))
    store = make_rates(folder, first, make_image(2), make_image(3, 7.0))
    chunks = [path for path in (store / "exp_000002" / "data").rglob("*") if path.is_file() and path.suffix != ".json"]
    assert chunks
    for chunk in chunks:
        chunk.write_bytes(b"damaged")
    (store / "exp_000003" / "zarr.json").write_text("{")
    write_report(store, folder / "report.html")
    return folder / "report.html", read_pages(folder / "report.html")


def test_an_exposure_has_its_image_to_the_pixel(report):
    page = report[1]["exposure-1"]
    (drawn,) = find_blocks(page, "figure", "Rate")
    (values,) = drawn["traces"][0]["z"]["arrays"]
    assert drawn["traces"][0]["z"]["per"] == [1, 1]
    np.testing.assert_allclose(values, RAMP, atol=52.0 / 4096)
    assert "e/s" in drawn["traces"][0]["colorbar"]["title"]["text"]
    assert drawn["traces"][0]["zmin"] == pytest.approx(np.quantile(RAMP, 0.005), abs=0.01)
    assert drawn["traces"][0]["zmax"] == pytest.approx(np.quantile(RAMP, 0.998), abs=0.01)
    tiles = read_tiles(page)
    assert tiles["chi² of the ramps"] == "2.100"
    assert tiles["Exposure time"] == "50 s"
    usable = RAMP[(make_flags() & 1) == 0]
    assert float(tiles["Level"].split()[0]) == pytest.approx(np.median(usable), rel=1e-3)


def test_flags_are_counted_by_bit(report):
    (listed,) = find_tables(report[1]["exposure-1"], "bit")
    found = {row[1]: (row[0], row[2], row[3]) for row in listed["rows"]}
    n_reference = SHAPE[1]
    assert found == {
        "DO_NOT_USE": (0, "lasting", n_reference + 1),
        "SATURATED": (1, "event", 2),
        "JUMP_DET": (2, "event", 1),
        "HOT": (11, "lasting", 1),
        "REFERENCE_PIXEL": (31, "lasting", n_reference),
    }
    (drawn,) = find_blocks(report[1]["exposure-1"], "figure", "Flags")
    (classes,) = drawn["traces"][0]["z"]["arrays"]
    names = drawn["traces"][0]["colorbar"]["ticktext"]
    assert [names[classes[place]] for place in ((0, 0), (3, 4), (5, 1), (6, 7), (9, 9))] == [
        "reference pixel", "jump", "saturated", "not used", "no flag",
    ]  # fmt: skip


def test_checks_that_fail_are_shown_with_their_reason(report):
    (listed,) = find_tables(find_section(report[1]["exposure-1"], "Quality"), "check")
    verdict, check, value, _, explanation = listed["rows"][0]
    assert (verdict["verdict"], check) == ("fail", "ramp_chi2")
    assert value == pytest.approx(2.1)
    assert "scatter of the ramps" in explanation
    assert report[1]["exposure-1"]["verdict"] == "fail"
    (warned,) = find_tables(find_section(report[1]["overview"], "Quality warnings"), "check")
    assert warned["rows"][0][:4] == [{"cell": "badge", "verdict": "fail"}, "ramp_chi2", 2, "1, 2"]


def test_reference_files_and_parameters_have_their_origins(report):
    page = report[1]["exposure-1"]
    (files,) = find_tables(page, "chosen by")
    assert files["rows"][0] == ["gain", "g.asdf", "steps.jump.override_gain (argument)", "0123456789ab"]
    assert files["rows"][1][1:] == [f"refs/{EVIL}.asdf", "the data", None]
    (listed,) = find_tables(find_section(page, "Parameters and provenance"), "parameter")
    assert ["steps.jump.threshold", 5, "cfg/mine.cfg"] in listed["rows"]
    assert ["references", "refs", "default"] in listed["rows"]
    assert "workers" not in [row[0] for row in listed["rows"]]


def test_integrations_and_variances_are_shown(report):
    page = report[1]["exposure-1"]
    (drawn,) = find_blocks(page, "figure", "Level of the integrations")
    assert drawn["traces"][0]["y"] == [90.0, 110.0]
    (parts,) = find_tables(page, "share of the variance [%]")
    shares = {row[0]: row[3] for row in parts["rows"]}
    assert shares == {"photon noise": 75.0, "read noise": 25.0}


def test_a_damaged_array_is_named_and_the_rest_shown(report):
    page = report[1]["exposure-2"]
    (listed,) = find_tables(page, "reason")
    assert listed["rows"][0][0] == "data"
    assert "exp_000002/data" in listed["rows"][0][1]
    assert read_tiles(page)["Level"] is None
    assert read_tiles(page)["Error"] == "2 e/s"


def test_an_exposure_that_cannot_be_read_says_so(report):
    (failed,) = find_blocks(report[1]["exposure-3"], "note")
    assert failed["kind"] == "bad"
    assert "exp_000003" in failed["text"]
    rows = find_tables(report[1]["overview"], "message")[0]["rows"]
    assert rows[0][0] == {"cell": "link", "text": "3", "page": "exposure-3"}
    (listed,) = find_tables(report[1]["overview"], "checks not passed")
    assert [row[0]["text"] for row in listed["rows"]] == ["1", "2", "3"]
    assert listed["rows"][2][-1] == "cannot be read"


def test_names_from_the_data_are_text(report):
    raw = report[0].read_text()
    assert "<img" not in raw
    assert "onerror" not in raw
    assert EVIL in report[1]["exposure-1"]["subtitle"]


def test_large_images_are_reduced_to_means_and_flags_to_the_weightiest(monkeypatch):
    monkeypatch.setattr(imager_images, "MOST_PIXELS", 64)
    values = np.arange(1024.0).reshape(32, 32)
    np.testing.assert_allclose(shrink(Raster(values)).values, values.reshape(8, 4, 8, 4).mean(axis=(1, 3)))
    dq = np.zeros((32, 32), np.uint32)
    dq[17, 9] = DQ.JUMP_DET
    drawn, _ = imager_images.draw_flags(dq)
    classes = drawn["traces"][0]["z"].values
    assert classes.shape == (8, 8)
    assert np.argwhere(classes).tolist() == [[4, 2]]
    assert imager_images.CLASSES[classes[4, 2]] == "jump"


def test_the_scale_is_linear_within_the_noise_and_logarithmic_above_it():
    scale = stretch_scale((-1.0, 1000.0), 0.0, 1.0, steps=101)
    values = np.array([-1.0 + 1001.0 * place for place, _ in scale])
    steps = np.diff(values)
    assert np.all(steps > 0)
    assert steps[0] == pytest.approx(steps[3], rel=0.3)
    # Far above the noise, equal steps of colour are equal ratios.
    ratios = values[1:] / values[:-1]
    assert ratios[-1] == pytest.approx(ratios[-20], rel=1e-3)


@pytest.mark.parametrize(("values", "said"), [(np.full((4, 4), np.nan), "no pixel"), (None, "cannot be read")])
def test_an_image_without_values_is_said_to_have_none(values, said):
    assert said in draw_image(values, "rate", "Rate", "")["text"]


def test_wanted_exposures_alone(tmp_path):
    store = make_rates(tmp_path, make_image(1), make_image(2))
    write_report(store, tmp_path / "two.html", wanted=[2])
    assert set(read_pages(tmp_path / "two.html")) == {"exposure-2", "overview"}
    with pytest.raises(StoreError, match="no exposure 7; it has exposures \\[1, 2\\]"):
        write_report(store, tmp_path / "none.html", wanted=[7])
    assert not (tmp_path / "none.html").exists()
    with pytest.raises(OutputExistsError, match="exists"):
        write_report(store, tmp_path / "two.html")


def test_raw_ramps_are_refused_with_a_hint(tmp_path):
    write_store(tmp_path / "visit.zarr", [make_image(1)], product="ramp")
    with pytest.raises(StoreError, match=r"ramp store; .* run detector1"):
        write_report(tmp_path / "visit.zarr", tmp_path / "report.html")


@pytest.mark.slow
def test_runs_write_reports_beside_their_products(tmp_path, capsys):
    references = str(write_references(tmp_path / "references"))
    images = [make_image(n, 101.0, wcs={**WCS, "CRVAL2": 2.0 + n * 3e-5}) for n in (1, 2)]
    sky = [make_image(n, 51.0, exp_type="SKY", target="SKY") for n in (3, 4)]
    rate = write_store(tmp_path / "rate.zarr", [*images, *sky])
    cal, mosaic = tmp_path / "cal.zarr", tmp_path / "mosaic.zarr"
    Image2Pipeline.call(str(rate), output_file=str(cal), references=references, report=True, configure_log=False)
    pages = read_pages(tmp_path / "cal_report.html")
    assert set(pages) == {"exposure-1", "exposure-2", "overview"}
    files = {row[0]: row[4] for row in find_tables(pages["overview"], "chosen by")[0]["rows"]}
    assert files == {"dark": "1, 2", "flat": "1, 2"}
    Image3Pipeline.call(str(cal), output_file=str(mosaic), report=True, configure_log=False)
    pages = read_pages(tmp_path / "mosaic_report.html")
    assert set(pages) == {"mosaic-M42_K", "overview"}
    page = pages["mosaic-M42_K"]
    assert page["judged"] is False
    assert read_facts(page)["exposures"] == "1, 2"
    (weight,) = find_blocks(page, "figure", "Coverage")
    assert np.nanmax(weight["traces"][0]["z"]["arrays"][0]) == pytest.approx(100.0, rel=1e-3)
    (listed,) = find_tables(pages["overview"], "number of exposures")
    assert listed["rows"][0][3:] == [100, 2, "1, 2"]
    capsys.readouterr()
    assert main(["report", str(mosaic), "-o", str(tmp_path / "again.html"), "--exposures", "M42_K"]) == 0
    assert "again.html: " in capsys.readouterr().out
    assert main(["report", str(mosaic), str(cal), "-o", str(tmp_path / "both.html")]) == 1
    assert "the report is of one" in capsys.readouterr().err


WCS = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 10.5, "CRPIX2": 8.5,
    "CD1_1": -1e-5, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-5,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.browser
def test_pages_of_images_are_drawn_in_a_browser(report, tmp_path):
    with open_browser() as browser:
        for size, scheme in ((LAPTOP, "light"), (PHONE, "dark")):
            visit = Visit(browser.new_page(color_scheme=scheme))
            assert visit.open(report[0], size) == []
            for address, title in (("exposure-3", "Exposure 3"), ("exposure-1", "Exposure 1")):
                visit.page.evaluate(f"location.hash = '{address}'")
                visit.page.wait_for_selector(f"h1:text-is('{title}')")
                visit.page.wait_for_timeout(200)
                assert visit.complain() == [], address
            visit.page.wait_for_selector(".heatmaplayer image", state="attached")
            assert len(visit.page.screenshot(path=str(tmp_path / f"{scheme}.png"))) > 20_000
            assert EVIL in visit.page.inner_text("main")
