"""Bad input of detector1: one exposure fails with a message that says what was found, the others are written."""

from __future__ import annotations

import json
import shutil

import asdf
import numpy as np
import pytest
import zarr

from cal_pipeline.imager import DQ, ImageModel
from cal_pipeline.imager.product import RateProduct

pytestmark = pytest.mark.imager

GROUP = "exp_000003"
OTHERS = [4, 6]
SELECTED = "--exposures=3,4,6"


@pytest.fixture
def run(strun, own_visit, tmp_path):
    def run_detector1(*arguments, exposures=SELECTED):
        output = f"--output_file={tmp_path / 'out.zarr'}"
        return strun(
            "detector1", own_visit.visit, output, f"--references={own_visit.references}", exposures, *arguments
        )

    return run_detector1


def edit_node(where, name, value):
    """Change an entry of zarr.json; a dotted name is one of the attributes."""

    def change(files):
        path = files.visit / GROUP / where / "zarr.json"
        node = json.loads(path.read_text())
        target = node["attributes"] if name.startswith("attributes.") else node
        target[name.removeprefix("attributes.")] = value
        path.write_text(json.dumps(node))

    return change


def set_attribute(name, value):
    return edit_node("", f"attributes.{name}", value)


def rewrite(name, values, dims=("integration", "group", "y", "x")):
    """Replace an array by what a function makes of the counts."""

    def change(files):
        group = files.visit / GROUP
        made = values(zarr.open_array(group / "data", mode="r")[...])
        shutil.rmtree(group / name, ignore_errors=True)
        array = zarr.create_array(group / name, data=made, dimension_names=dims[-made.ndim :])
        array.attrs["units"] = "adu"

    return change


def damage_chunk(change_bytes):
    def change(files):
        (chunk,) = (path for path in (files.visit / GROUP / "data").iterdir() if path.name.startswith("c."))
        change_bytes(chunk)

    return change


def edit_reference(name, edit):
    def change(files):
        path = files.references / f"{name}.asdf"
        with asdf.open(path, lazy_load=False, memmap=False) as file:
            tree = {key: file.tree[key] for key in file.tree if key not in ("asdf_library", "history")}
        edit(tree)
        asdf.AsdfFile(tree).write_to(path)

    return change


def halve(tree):
    tree["data"] = np.array(tree["data"])[:16]


def write_text(files):
    (files.visit / GROUP / "zarr.json").write_text("{")


def truncate(chunk):
    chunk.write_bytes(chunk.read_bytes()[:-9])


FAULTS = {
    "shape": (rewrite("data", lambda data: data[0]), "[integration, group, y, x]"),
    "type": (rewrite("data", lambda data: data.astype("c8")), "data has type complex64, expected"),
    "axes": (edit_node("data", "dimension_names", ["group", "integration", "y", "x"]), "expected integration, group"),
    "one group": (rewrite("data", lambda data: data[:, :1]), "data has 1 group, expected at least 2"),
    "pixel flags": (rewrite("pixeldq", lambda data: np.zeros((8, 8), "u4")), "pixeldq has shape (8, 8), expected"),
    "group flags": (rewrite("groupdq", lambda data: data), "groupdq has type uint16, expected uint8"),
    "no data": (lambda files: shutil.rmtree(files.visit / GROUP / "data"), "array data is missing"),
    "chunk": (damage_chunk(truncate), "exp_000003/data"),
    "bit": (damage_chunk(lambda chunk: chunk.write_bytes(bytes(40))), "exp_000003/data"),
    "lost chunk": (damage_chunk(lambda chunk: chunk.unlink()), "data: 1 chunks are not stored"),
    "pattern": (set_attribute("read_pattern", [[1], [2]]), "read_pattern is 2 lists, expected 4 lists of reads"),
    "reads": (set_attribute("read_pattern", [[1], [3], [2], [4]]), "has read 2 after read 3 of group 1"),
    "frame_time": (set_attribute("frame_time", 0.0), "frame_time is 0.0, expected a number above 0 [s]"),
    "endless groups": (
        set_attribute("nframes", 10**9),
        "nframes is 1000000000, expected a whole number from 1 to 65536",
    ),
    "late reads": (set_attribute("read_pattern", [[1], [2], [3], [10**30]]), "read_pattern[3] is [1000000000000000000"),
    "endless reads": (set_attribute("frame_time", 1e308), "frame_time is 1e+308, expected a number above 0 [s]"),
    "endless stripes": (set_attribute("amplifiers", 33), "amplifiers is 33, expected a whole number from 1 to 32"),
    "exp_type": (
        set_attribute("exp_type", "ARC"),
        "exp_type 'ARC' is not in the table; known are DARK, FLAT, SCI, SKY",
    ),
    "number": (set_attribute("exposure_number", 9), "exposure_number is 9, expected 3"),
    "time": (set_attribute("date_obs", "yesterday"), "date_obs is 'yesterday'"),
    "amplifiers": (set_attribute("amplifiers", 0), "amplifiers is 0, expected a whole number from 1"),
    "metadata": (write_text, "exp_000003/zarr.json cannot be read"),
    "packed": (edit_node("data", "attributes", {"units": "adu", "scale_factor": 2.0}), "scale_factor is 2.0"),
    "kelvin": (edit_node("data", "attributes", {"units": "K"}), "attribute units is 'K', expected 'adu'"),
    "early": (set_attribute("date_obs", "2025-01-01T00:00:00"), "reference"),
    "detector": (set_attribute("detector", "SIM9"), "instrument SIMCAM, detector SIM9"),
    "window": (
        set_attribute("subarray", {"name": "X", "xstart": 9, "ystart": 1, "xsize": 32, "ysize": 32}),
        "columns 9 to 40, rows 1 to 32",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_one_bad_exposure_of_many(run, own_visit, tmp_path, kind, caplog, capsys):
    damage, words = FAULTS[kind]
    damage(own_visit)
    assert run() == 2
    product = RateProduct(tmp_path / "out.zarr")
    assert product.numbers == OTHERS
    (failure,) = product.failures
    assert failure["exposure_number"] == 3
    assert words in failure["message"]
    assert "Traceback" not in caplog.text + capsys.readouterr().err


@pytest.mark.parametrize("n_lost", [1, 4])
def test_absent_chunks_of_flags_are_told_of(run, own_visit, tmp_path, caplog, n_lost):
    """zarr leaves out chunks of zeros: absent ones may be these, or lost."""
    flags = own_visit.visit / GROUP / "pixeldq"
    array = zarr.create_array(flags, shape=(32, 32), dtype="u4", chunks=(10, 32), fill_value=0)
    array[...] = 1
    for path in sorted(path for path in flags.rglob("*") if path.is_file() and path.name != "zarr.json")[:n_lost]:
        path.unlink()
    assert run() == 0
    assert ("pixeldq: 1 chunk not stored" in caplog.text) is (n_lost == 1)


def test_a_strange_file_in_the_place_of_the_quality_table_stops_the_run(run, tmp_path, capsys):
    (tmp_path / "out_quality.ecsv").write_text("my notes")
    assert run() == 1
    assert "in the way of the table of quality figures" in capsys.readouterr().err
    assert (tmp_path / "out_quality.ecsv").read_text() == "my notes"


REFERENCES = {
    "absent": (lambda files: (files.references / "superbias.asdf").unlink(), ["superbias", "visit.references", "SIM1"]),
    "half": (edit_reference("superbias", halve), ["superbias", "columns 1 to 32, rows 1 to 32"]),
    "no array": (edit_reference("linearity", lambda tree: tree.pop("coeffs")), ["linearity.asdf", "coeffs"]),
    "text": (lambda files: (files.references / "saturation.asdf").write_text("#ASDF"), ["saturation"]),
}


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_bad_reference_fails_every_exposure_and_the_run(run, own_visit, tmp_path, kind, capsys):
    damage, words = REFERENCES[kind]
    damage(own_visit)
    assert run() == 1
    failures = RateProduct(tmp_path / "out.zarr").failures
    assert [failure["exposure_number"] for failure in failures] == [3, *OTHERS]
    assert [word for word in words if word not in failures[0]["message"]] == []
    assert "Traceback" not in capsys.readouterr().err


def test_a_step_without_its_reference_can_be_skipped(run, own_visit, tmp_path):
    (own_visit.references / "superbias.asdf").unlink()
    assert run("--steps.superbias.skip=true") == 0
    image = ImageModel.open(tmp_path / "out.zarr" / GROUP)
    assert image.meta.cal_step.superbias == "SKIPPED"


def test_all_saturated_is_no_failure(run, own_visit, tmp_path, caplog):
    rewrite("data", lambda data: np.full_like(data, 65000))(own_visit)
    assert run() == 0
    image = ImageModel.open(tmp_path / "out.zarr" / GROUP)
    assert np.isnan(image.data).all()
    lit = (image.dq & DQ.REFERENCE_PIXEL) == 0
    assert ((image.dq & DQ.DO_NOT_USE) != 0).all()
    dead = (image.dq & DQ.DEAD) != 0
    assert ((image.dq & DQ.SATURATED) != 0)[lit & ~dead].all()
    assert "exposure 3: no pixel has a rate" in caplog.text


def test_gains_and_noise_that_are_not_positive_are_flagged(run, own_visit, tmp_path):
    def spoil(tree):
        tree["data"] = np.array(tree["data"])
        tree["data"][10, 11:14] = 0.0, -1.0, np.nan

    edit_reference("gain", spoil)(own_visit)
    edit_reference("readnoise", lambda tree: tree.__setitem__("data", _with(tree["data"], 12, 11, 0.0)))(own_visit)
    assert run() == 0
    image = ImageModel.open(tmp_path / "out.zarr" / GROUP)
    bad = np.zeros(image.shape, bool)
    bad[10, 11:14] = bad[12, 11] = True
    assert np.array_equal((image.dq & DQ.NO_GAIN_VALUE) != 0, bad)
    assert ((image.dq & DQ.DO_NOT_USE) != 0)[bad].all()
    assert np.isnan(image.data[bad]).all()
    assert np.isfinite(image.data[11]).sum() > 20


def _with(values, row, column, value):
    changed = np.array(values)
    changed[row, column] = value
    return changed


@pytest.mark.parametrize("name", ["gain", "read_noise"])
@pytest.mark.parametrize("value", [0.0, -2.0])
def test_an_attribute_in_place_of_a_map_is_flagged_too(run, own_visit, tmp_path, name, value):
    for file in ("gain", "readnoise"):
        (own_visit.references / f"{file}.asdf").unlink()
    set_attribute(name, value)(own_visit)
    assert run() == 0
    image = ImageModel.open(tmp_path / "out.zarr" / GROUP)
    assert np.isnan(image.data).all()
    assert ((image.dq & DQ.NO_GAIN_VALUE) != 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_counts_that_are_not_finite_are_left_out(run, own_visit, tmp_path, value):
    def spoil(data):
        changed = data.astype("f4")
        changed[0, 3, 12, 13] = value
        changed[0, :, 14, 15] = value
        return changed

    rewrite("data", spoil)(own_visit)
    assert run() == 0
    spoiled = ImageModel.open(tmp_path / "out.zarr" / GROUP)
    assert np.isfinite(spoiled.data[12, 13])
    assert np.isnan(spoiled.data[14, 15])
    assert spoiled.dq[14, 15] & DQ.DO_NOT_USE
    assert np.isfinite(spoiled.err[12, 13])
    assert np.array_equal(np.isnan(spoiled.data), np.isnan(spoiled.err))


@pytest.mark.parametrize("dtype", ["u1", "u4", "i2", "i4", "i8", "f4", "f8", ">u2"])
def test_counts_of_every_type(run, own_visit, tmp_path, dtype):
    scale = 200 if dtype == "u1" else 1
    rewrite("data", lambda data: (data // scale).astype(dtype))(own_visit)
    assert run(*(["--steps.superbias.skip=true"] if scale > 1 else [])) == 0
    assert np.isfinite(ImageModel.open(tmp_path / "out.zarr" / GROUP).data).mean() > 0.3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda files: shutil.rmtree(files.visit), "visit.zarr is not there"),
        (lambda files: shutil.rmtree(files.references), "there is no folder"),
        (lambda files: (files.visit / "zarr.json").write_text("{"), "visit.zarr is no store of exposures"),
        (lambda files: (files.visit / "zarr.json").unlink(), "visit.zarr is no store of exposures"),
        (lambda files: [shutil.rmtree(path) for path in files.visit.glob("exp_*")], "holds no exposure"),
    ],
    ids=["no store", "no references", "damaged root", "no root", "no exposure"],
)
def test_what_is_not_there_ends_with_a_message(run, own_visit, tmp_path, change, words, capsys, caplog):
    change(own_visit)
    assert run() == 1
    shown = caplog.text + capsys.readouterr().err
    assert words in shown
    assert "Traceback" not in shown
    assert not (tmp_path / "out.zarr").exists()


def test_an_exposure_that_is_not_there(run, capsys):
    assert run(exposures="--exposures=3,77") == 1
    assert "no exposure 77; it has 1:6" in capsys.readouterr().err


def test_stores_of_another_stage_are_refused(strun, rate_store, visit, tmp_path, capsys):
    assert strun("detector1", rate_store, f"--output_file={tmp_path / 'out.zarr'}") == 1
    assert "its attribute product is 'rate', expected ramp" in capsys.readouterr().err
    assert strun("image2", visit.visit, f"--output_file={tmp_path / 'out.zarr'}") == 1
    assert "its attribute product is 'ramp', expected rate" in capsys.readouterr().err
