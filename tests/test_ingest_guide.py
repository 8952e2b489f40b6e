"""The guide from a telescope's own files, followed on them: what it prints, its tables and the numbers in its text."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline import CalibrationPipeline, open_l1
from cal_pipeline.cli import demo
from cal_pipeline.cli.demo_argus import PUBLISHED, PUBLISHED_T_CAL, TOLERANCE, ZENITH_OPACITY, compare_beams
from cal_pipeline.cli.demo_real import compare_figures

REAL_DATA = "CAL_PIPELINE_REAL_DATA"
"""Variable of the environment that names the folder of the real counts."""

ROOT = Path(__file__).parents[1]
FILES = Path(os.environ.get(REAL_DATA, ROOT.parent / "shared" / "data")) / "gbt_sdfits"
DOCS = ROOT / "docs"
PAGE = (DOCS / "ingest.rst").read_text(encoding="utf-8")

needs_files = pytest.mark.skipif(
    not FILES.is_dir(), reason=f"files of the telescope are not there: {FILES.name}; {REAL_DATA} names their folder"
)


@pytest.fixture(scope="module")
def tables():
    """The script that makes the tables, as a module."""
    examples = str(DOCS / "examples")
    sys.path.insert(0, examples)
    try:
        spec = importlib.util.spec_from_file_location("ingest_tables", DOCS / "examples" / "ingest_tables.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(examples)


@pytest.fixture(scope="module")
def followed(tables, tmp_path_factory):
    """A folder in which the guide was followed, and its blocks with what they printed."""
    folder = tmp_path_factory.mktemp("guide")
    tables.link_files(FILES, folder)
    return folder, tables.follow_page(folder)


@needs_files
@pytest.mark.slow
def test_tables_and_dry_run_are_those_of_the_files(tables, followed):
    folder, blocks = followed
    made = tables.make_tables(folder)
    made["ingest_dry_run.txt"] = next(printed for _, text, printed in blocks if "--dry-run" in text)
    for name, text in made.items():
        assert (DOCS / name).read_text(encoding="utf-8") == text, name
    assert all((folder / picture).read_bytes().startswith(b"\x89PNG") for picture in tables.PICTURES)
    assert all((folder / page).stat().st_size > 100_000 for page in ("m82.html", "ngc5908.html"))


@needs_files
@pytest.mark.slow
def test_figures_are_those_of_the_independent_package(followed):
    folder, _ = followed
    for figures in compare_figures(folder / "m82.zarr", open_l1(folder / "m82_l1.zarr")):
        assert all(figure.agrees for figure in figures)
    beams = compare_beams(folder / "ngc5908.zarr", open_l1(folder / "ngc5908_l1.zarr"))
    np.testing.assert_allclose([beam.found for beam in beams], PUBLISHED, rtol=TOLERANCE)


@needs_files
@pytest.mark.slow
def test_argus_differs_as_the_page_says(followed, tmp_path):
    folder, _ = followed
    session = folder / "ngc5908.zarr"
    product = open_l1(folder / "ngc5908_l1.zarr")
    beams = compare_beams(session, product)
    rescaled = np.array([beam.t_sys_rescaled / beam.published.median - 1.0 for beam in beams])
    assert (rescaled > 1e-4).all()
    assert (rescaled < 3e-4).all()
    np.testing.assert_allclose([beam.scale / PUBLISHED_T_CAL - 1.0 for beam in beams], -0.010, atol=0.001)
    parameters = {"atmosphere": {"zenith_opacity": ZENITH_OPACITY + 0.1}}
    opaque = CalibrationPipeline.call(str(session), output_file=str(tmp_path / "l1.zarr"), steps=parameters)
    raised = [beam.scale / other.scale - 1.0 for beam, other in zip(compare_beams(session, opaque), beams, strict=True)]
    np.testing.assert_allclose(raised, 0.005, atol=0.001)
    fall = product.open_scan(331).t_rec_ssb.median("channel") - opaque.open_scan(331).t_rec_ssb.median("channel")
    assert float(fall.mean()) == pytest.approx(35.0, abs=2.5)


@needs_files
@pytest.mark.slow
def test_record_is_that_of_the_page(followed):
    folder, blocks = followed
    record = json.loads((folder / "m82.zarr" / "ingest.json").read_text(encoding="utf-8"))
    assert list(record["scans"]) == ["130", "131"]
    assert record["failures"] == []
    for file in record["scans"]["131"]["files"]:
        assert f'"name": "{file["name"]}", "size": {file["size"]}, "sha256": "{file["sha256"][:4]}..."' in PAGE
    profile = record["scans"]["131"]["profile"]
    assert f'"profile": {{"name": "{profile["name"]}", "sha256": "{profile["sha256"][:4]}..."}}' in PAGE
    digest = open_l1(folder / "m82_l1.zarr")[131].attributes["scan_metadata"]["ingest_digest"]
    scan = record["scans"]["131"]
    identity = [scan["profile"]["sha256"], [[file["name"], file["sha256"]] for file in scan["files"]]]
    assert digest == hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode()).hexdigest()
    assert sum(text.startswith("calibrate ingest AGBT15B_244_07 -o m82.zarr") for _, text, _ in blocks) == 2


@needs_files
@pytest.mark.slow
def test_demo_on_the_files(tmp_path, capsys):
    assert demo.main([str(tmp_path / "demo"), "--real", str(FILES)]) == 0
    printed = capsys.readouterr().out
    assert "all agree" in printed
    assert "83.00" in printed
    assert "245.28" in printed
    assert "4 pictures" in printed
