"""All ways through the image pipelines lead to the same bits, and steps change nothing they are given."""

from __future__ import annotations

from pathlib import Path

import asdf
import numpy as np
import pytest
from stpipe import Step

import cal_pipeline
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.product import CalProduct, MosaicProduct
from cal_pipeline.steps.imager import (
    BackgroundStep,
    CombineFramesStep,
    DarkStep,
    FlatFieldStep,
    MosaicStep,
    OutlierStep,
    PhotomStep,
)

pytestmark = pytest.mark.imager

CFG = Path(__file__).parents[2] / "cfg"

PIPELINES = {
    "image2": ("Image2Pipeline", "rate", "cal.zarr"),
    "image3": ("Image3Pipeline", "cal", "mosaic.zarr"),
    "preprocess_dark": ("PreprocessDarkPipeline", "rate", "dark.asdf"),
    "preprocess_flatfield": ("PreprocessFlatfieldPipeline", "rate", "flat.asdf"),
}
"""Class, input and output of each pipeline."""

ARRAYS = ("data", "err", "var_poisson", "var_rnoise", "var_flat", "dq")


@pytest.fixture
def sources(visit, rate_store, cal_store):
    """Inputs by kind, and the reference files."""
    return {"rate": str(rate_store), "cal": str(cal_store), "references": str(visit.references)}


def call(alias, sources, folder, **parameters):
    """Run a pipeline by its class; the path of its result."""
    name, source, output = PIPELINES[alias]
    folder.mkdir(exist_ok=True)
    given = {"references": sources["references"], "output_file": str(folder / output)} | parameters
    getattr(cal_pipeline, name).call(sources[source], configure_log=False, **given)
    return folder / output


def read_bits(path):
    """Bytes of all arrays of a store or file, by name."""
    if path.suffix == ".asdf":
        with asdf.open(path) as file:
            return {name: np.asarray(file.tree[name]).tobytes() for name in ("data", "err", "dq")}
    return {
        str(part.relative_to(path)): part.read_bytes()
        for part in path.rglob("*")
        if part.is_file() and part.suffix != ".json" and not part.name.startswith(".")
    }


@pytest.mark.parametrize("alias", PIPELINES)
def test_every_name_on_the_command_line(alias, sources, tmp_path):
    name, source, output = PIPELINES[alias]
    expected = read_bits(call(alias, sources, tmp_path / "class"))
    assert expected
    named = [alias, f"cal_pipeline.{name}", str(CFG / f"{alias}.asdf"), str(CFG / f"{alias}.cfg")]
    for number, word in enumerate(named):
        target = tmp_path / str(number) / output
        target.parent.mkdir()
        Step.from_cmdline([word, sources[source], f"--output_file={target}", f"--references={sources['references']}"])
        assert read_bits(target) == expected


@pytest.mark.parametrize("alias", PIPELINES)
@pytest.mark.parametrize(
    "parameters", [{"threads": 1}, {"threads": 2}, pytest.param({"workers": 2}, marks=pytest.mark.slow)], ids=str
)
def test_threads_and_workers_change_no_bit(alias, parameters, sources, tmp_path):
    expected = read_bits(call(alias, sources, tmp_path / "class"))
    assert read_bits(call(alias, sources, tmp_path / "other", **parameters)) == expected


@pytest.mark.parametrize("alias", PIPELINES)
def test_inputs_stay_as_they_are(alias, sources, tmp_path):
    folders = [Path(sources[name]) for name in ("rate", "cal", "references")]

    def state():
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    before = state()
    call(alias, sources, tmp_path / "class")
    assert state() == before


def assert_same_image(found, expected):
    for name in ARRAYS:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    assert (found.ints is None) == (expected.ints is None)
    if found.ints is not None:
        assert_same_image(found.ints, expected.ints)


@pytest.mark.parametrize("number", [3, 4, 5])
def test_step_by_step_is_image2(number, sources, tmp_path):
    calibrated = CalProduct(call("image2", sources, tmp_path / "class", steps={"photom": {"skip": False}}))
    image = ImageModel.open(f"{sources['rate']}/exp_{number:06d}")
    for step in (DarkStep, FlatFieldStep, BackgroundStep, PhotomStep):
        arrays = {name: getattr(image, name).copy() for name in ARRAYS}
        for name in ARRAYS:
            getattr(image, name).flags.writeable = False
        result = step.call(image, references=sources["references"], skip=False)
        for name, values in arrays.items():
            np.testing.assert_array_equal(getattr(image, name), values)
        image = result
    expected = calibrated.open_image(number)
    assert (image.ints is not None) == (number == 5)
    assert_same_image(image, expected)
    assert image.units == expected.units == "uJy"


def test_photom_is_the_flux_of_a_magnitude(sources, tmp_path):
    plain = CalProduct(call("image2", sources, tmp_path / "plain")).open_image(3)
    scaled = CalProduct(call("image2", sources, tmp_path / "flux", steps={"photom": {"skip": False}})).open_image(3)
    # The filter of the visit gives 1 e/s for 26 mag; 23.9 mag are 1 µJy, to 6e-5.
    microjansky = 10.0 ** (-0.4 * (26.0 - 23.9))
    for name, power in (("data", 1), ("err", 1), ("var_poisson", 2), ("var_rnoise", 2)):
        given = getattr(plain, name)
        assert (given[np.isfinite(given)] != 0).any()
        np.testing.assert_allclose(getattr(scaled, name), given * microjansky**power, rtol=2e-4)


def test_step_by_step_is_image3(sources, tmp_path):
    product = MosaicProduct(call("image3", sources, tmp_path / "class", exposures=[3, 4]))
    expected = product.open_image(product.numbers[0])
    images = [f"{sources['cal']}/exp_{number:06d}" for number in (3, 4)]
    found = MosaicStep.call(OutlierStep.call(images))
    for name in ("data", "err", "weight", "dq"):
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name


def test_combined_by_the_step_is_preprocess_dark(sources, tmp_path):
    made = read_bits(call("preprocess_dark", sources, tmp_path / "class"))
    found = CombineFramesStep.call([f"{sources['rate']}/exp_000001"])
    assert found.data.tobytes() == made["data"]
    assert found.err.tobytes() == made["err"]
