"""Bad input of the later stages: rates and calibrated images that are damaged or do not belong together."""

from __future__ import annotations

import json
import shutil

import asdf
import numpy as np
import pytest
import zarr

from cal_pipeline.imager import ImageModel
from cal_pipeline.imager.product import CalProduct, MosaicProduct

pytestmark = pytest.mark.imager

GROUP = "exp_000003"


def edit_node(where, change):
    def edit(store):
        path = store / where / "zarr.json"
        node = json.loads(path.read_text())
        change(node["attributes"])
        path.write_text(json.dumps(node))

    return edit


def set_attribute(where, name, value):
    return edit_node(where, lambda attributes: attributes.__setitem__(name, value))


def remove_chunks(where):
    def change(store):
        for path in (store / where).glob("c.*"):
            path.unlink()

    return change


def reshape(where, shape, dtype="f4"):
    def change(store):
        shutil.rmtree(store / where)
        zarr.create_array(store / where, data=np.zeros(shape, dtype), dimension_names=("y", "x")[-len(shape) :])

    return change


@pytest.fixture
def rates(rate_store, own_copy):
    return own_copy(rate_store)


@pytest.fixture
def cals(cal_store, own_copy):
    return own_copy(cal_store)


@pytest.fixture
def run(strun, visit, tmp_path):
    def run_pipeline(alias, source, *arguments, output="out.zarr"):
        return strun(
            alias, source, f"--output_file={tmp_path / output}", f"--references={visit.references}", *arguments
        )

    return run_pipeline


RATES = {
    "lost": (remove_chunks(f"{GROUP}/err"), "err: 1 chunks are not stored"),
    "shape": (reshape(f"{GROUP}/err", (32, 16)), "err has shape (32, 16), expected"),
    "type": (reshape(f"{GROUP}/dq", (32, 32), "i4"), "dq has type int32, expected uint32"),
    "axes": (reshape(f"{GROUP}/data", (32,)), "expected"),
    "no err": (lambda store: shutil.rmtree(store / GROUP / "err"), "array err is missing; found data"),
    "no data": (lambda store: shutil.rmtree(store / GROUP / "data"), "array data is missing"),
    "unit": (set_attribute(f"{GROUP}/data", "units", "K"), "attribute units is 'K', expected"),
    "packed": (set_attribute(f"{GROUP}/data", "scale_factor", 2.0), "attribute scale_factor is 2.0, expected none"),
    "filter": (set_attribute(GROUP, "filter", "Q"), "no reference file of type flat"),
}


@pytest.mark.parametrize("kind", RATES)
def test_one_bad_rate_of_many(run, rates, tmp_path, kind, capsys):
    damage, words = RATES[kind]
    damage(rates)
    assert run("image2", rates) == 2
    product = CalProduct(tmp_path / "out.zarr")
    assert product.numbers == [4, 5]
    (failure,) = product.failures
    assert failure["exposure_number"] == 3
    assert words in failure["message"]
    assert "Traceback" not in capsys.readouterr().err


def test_values_that_are_not_finite_stay_in_their_pixel(run, rates, tmp_path):
    array = zarr.open_array(rates / GROUP / "data")
    values = array[...]
    values[12, 13] = np.nan
    values[14, 15] = np.inf
    array[...] = values
    assert run("image2", rates) == 0
    image = ImageModel.open(tmp_path / "out.zarr" / GROUP)
    assert not np.isfinite(image.data[[12, 14], [13, 15]]).any()
    assert np.isfinite(image.data[13, 13])


def test_a_sky_that_cannot_be_read_fails_those_that_need_it(run, rates, tmp_path):
    remove_chunks("exp_000006/data")(rates)
    assert run("image2", rates) == 1
    (first, *_) = CalProduct(tmp_path / "out.zarr").failures
    assert "exp_000006/data" in first["message"]
    assert run("image2", rates, "--exposures=3,4,5", "--overwrite=true") == 0


def test_without_a_science_exposure_there_is_nothing_to_do(run, rates, capsys):
    assert run("image2", rates, "--exposures=1,2,6") == 1
    assert "no science exposure" in capsys.readouterr().err


MEMBERS = {
    "no wcs": (edit_node(GROUP, lambda attributes: attributes.pop("wcs")), "wcs"),
    "projection": (edit_node(GROUP, lambda attributes: attributes["wcs"].update(CTYPE1="RA---SIN")), "RA---SIN"),
    "matrix": (
        edit_node(GROUP, lambda attributes: attributes["wcs"].update(CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0)),
        "CD",
    ),
    "unit": (set_attribute(f"{GROUP}/data", "units", "uJy"), "uJy"),
    "lost": (remove_chunks(f"{GROUP}/dq"), "dq: 1 chunks are not stored"),
}


@pytest.mark.parametrize("kind", MEMBERS)
def test_a_bad_member_of_a_mosaic_is_named(run, cals, tmp_path, kind, caplog, capsys):
    damage, words = MEMBERS[kind]
    damage(cals)
    # One that cannot be placed fails alone; of the others nobody knows before they are read.
    alone = kind in ("no wcs", "projection", "matrix")
    assert run("image3", cals) == (2 if alone else 1)
    (failure,) = MosaicProduct(tmp_path / "out.zarr").failures
    assert failure["mosaic"] == (GROUP if alone else "FIELD_H")
    assert words in failure["message"]
    assert kind == "unit" or "exposure 3" in failure["message"] or GROUP in failure["message"]
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("alias", "change", "words"),
    [
        ("preprocess_dark", set_attribute("exp_000002", "exp_type", "DARK"), ""),
        ("preprocess_dark", set_attribute("exp_000001", "exp_type", "SKY"), "no exposure"),
        ("preprocess_flatfield", set_attribute("exp_000002", "exp_type", "SKY"), "no exposure"),
    ],
)
def test_reference_makers_without_exposures(run, rates, tmp_path, alias, change, words, capsys):
    change(rates)
    status = run(alias, rates, output="made.asdf")
    assert status == (1 if words else 0)
    assert words in capsys.readouterr().err
    assert (tmp_path / "made.asdf").exists() == (status == 0)


@pytest.mark.parametrize(("name", "value"), [("detector", "SIM2"), ("subarray", {"xstart": 9, "ystart": 1})])
def test_exposures_that_differ_are_refused_by_their_values(run, rates, tmp_path, name, value, capsys):
    set_attribute("exp_000002", "exp_type", "DARK")(rates)
    set_attribute("exp_000002", name, value)(rates)
    assert run("preprocess_dark", rates, output="dark.asdf") == 1
    message = capsys.readouterr().err
    assert ("SIM1" in message and "SIM2" in message) if name == "detector" else "columns 9 to 40" in message
    assert not (tmp_path / "dark.asdf").exists()


def test_a_flat_that_is_damaged_fails_with_its_name(run, rates, tmp_path):
    flat = tmp_path / "flat.asdf"
    asdf.AsdfFile({"meta": {"reftype": "flat"}, "data": np.ones((32, 32), "f4")}).write_to(flat)
    assert run("image2", rates, f"--steps.flat_field.override_flat={flat}") == 1
    (failure, *_) = CalProduct(tmp_path / "out.zarr").failures
    assert "flat.asdf" in failure["message"]
