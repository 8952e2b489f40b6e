"""The pipelines of images: `image2`, `image3`, `preprocess_dark` and `preprocess_flatfield`."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
import zarr
from helpers_images import SETUP, SHAPE, WCS, make_image, write_references, write_store

from cal_pipeline import Image2Pipeline, Image3Pipeline, PreprocessDarkPipeline, PreprocessFlatfieldPipeline
from cal_pipeline.core.errors import OutputExistsError, StoreError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.replay import replay_and_compare
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.imager import DQ
from cal_pipeline.imager.reference_files import write_reference

pytestmark = pytest.mark.imager


def call(pipeline, source, output, **settings):
    return pipeline.call(str(source), output_file=str(output), configure_log=False, **settings)


@pytest.fixture
def references(tmp_path):
    return str(write_references(tmp_path / "references"))


def visit(**science):
    """Make rates: two science exposures of 101 and 201 e/s on skies of 51 e/s, with a dark of 1 and a flat of 0.5."""
    images = [make_image(1, 101.0, **science), make_image(2, 201.0, **science)]
    return [*images, *(make_image(n, 51.0, exp_type="SKY", target="SKY") for n in (3, 4)), dark(5), flat(6)]


def dark(number, level=1.0, **attributes):
    return make_image(number, level, err=0.3, exp_type="DARK", target="DARK", **attributes)


def flat(number, level=501.0, **attributes):
    return make_image(number, level, err=0.3, exp_type="FLAT", target="LAMP", **attributes)


def test_image2_writes_science_only(tmp_path, references):
    store = write_store(tmp_path / "rate.zarr", visit())
    product = call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references)
    assert product.numbers == [1, 2]
    images = [product.open_image(number) for number in (1, 2)]
    assert [image.data.mean() for image in images] == [100.0, 300.0]
    steps = {"dark": "COMPLETE", "flat_field": "COMPLETE", "background": "COMPLETE", "photom": "SKIPPED"}
    assert images[0].meta.cal_step == steps
    # Of the image: dark 0.5, flat 2 % of 200; and the mean of two skies with the same and 2 % of 100.
    of_image, of_sky = 4 * (4 + 0.25) + 16, (4 * (4 + 0.25) + 4) / 2
    np.testing.assert_allclose(images[0].err ** 2, of_image + of_sky, rtol=1e-5)
    np.testing.assert_allclose(images[0].var_flat, 16.0, rtol=1e-5)
    assert product.attributes(1)["provenance"]["input_groups"] == ["exp_000001", "exp_000003", "exp_000004"]
    assert "calints" not in (entry.name for entry in (tmp_path / "cal.zarr" / "exp_000001").iterdir())


def test_units_of_flux_and_its_variances(tmp_path, references):
    store = write_store(tmp_path / "rate.zarr", visit())
    product = call(
        Image2Pipeline, store, tmp_path / "cal.zarr", references=references, steps={"photom": {"skip": False}}
    )
    dataset = product.open_dataset(1)
    assert {name: dataset[name].attrs["units"] for name in dataset if name != "dq"} == {
        "data": "uJy",
        "err": "uJy",
        "var_poisson": "uJy2",
        "var_rnoise": "uJy2",
        "var_flat": "uJy2",
    }
    np.testing.assert_allclose(dataset["data"], 36.31, rtol=1e-6)
    assert (product.attributes(1)["zero_point_err"], product.open_image(1).units) == (0.02, "uJy")


def test_rates_whose_unit_is_spelled_in_another_way(tmp_path, references):
    store = write_store(tmp_path / "rate.zarr", visit())
    for number, spelling in ((1, "electron s-1"), (2, "electron/s"), (3, "s-1 electron")):
        zarr.open_array(tmp_path / "rate.zarr" / f"exp_{number:06d}" / "data").attrs["units"] = spelling
    steps = {"photom": {"skip": False}}
    product = call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references, steps=steps)
    assert (product.numbers, product.open_image(1).units) == ([1, 2], "uJy")
    product = call(Image2Pipeline, store, tmp_path / "rates.zarr", references=references)
    assert {product.open_image(number).units for number in (1, 2)} == {"electron / s"}


def test_only_selected_skies_are_used(tmp_path, references, caplog):
    store = write_store(tmp_path / "rate.zarr", visit())
    product = call(Image2Pipeline, store, tmp_path / "one.zarr", references=references, exposures="1,4")
    assert product.numbers == [1]
    assert product.attributes(1)["background"]["skies"] == [4]
    with caplog.at_level(logging.WARNING):
        product = call(Image2Pipeline, store, tmp_path / "none.zarr", references=references, exposures=[1])
    assert "no sky exposure" in caplog.text
    assert product.open_image(1).meta.cal_step.background == "SKIPPED"
    assert np.all(product.open_image(1).data == 200.0)
    with pytest.raises(StoreError, match="no science exposure for image2"):
        call(Image2Pipeline, store, tmp_path / "no.zarr", references=references, exposures="3:6")


def test_a_time_series(tmp_path, references):
    series = make_image(1, 101.0, tso=True, ints=[91.0, 101.0, 111.0])
    store = write_store(tmp_path / "rate.zarr", [series, *visit()[1:]])
    product = call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references)
    ints = product.open_dataset(1, ints=True)
    assert ints["data"].dims == ("integration", "y", "x")
    assert ints["data"].mean(("y", "x")).values.tolist() == [80.0, 100.0, 120.0]
    assert ints["var_flat"].shape == (3, *SHAPE)
    assert product.open_image(1).ints.units == "electron / s"
    with pytest.raises(RunFailedError):  # the mosaic of no exposure: SCI of a time series has no stage 3
        call(Image3Pipeline, tmp_path / "cal.zarr", tmp_path / "mosaic.zarr")


@pytest.mark.parametrize(
    "settings", [pytest.param({"workers": 2}, marks=pytest.mark.slow), {"threads": 1}, {"threads": 3}], ids=str
)
def test_workers_and_threads_change_no_bit(tmp_path, references, settings):
    store = write_store(tmp_path / "rate.zarr", visit(wcs=WCS))
    cal, mosaic = tmp_path / "cal.zarr", tmp_path / "mosaic.zarr"
    call(Image2Pipeline, store, cal, references=references)
    call(Image3Pipeline, cal, mosaic)
    call(Image2Pipeline, store, tmp_path / "other.zarr", references=references, **settings)
    other = call(Image3Pipeline, tmp_path / "other.zarr", tmp_path / "other_mosaic.zarr", **settings)
    for path, name in ((cal, "exp_000002"), (mosaic, "M42_K")):
        twin = tmp_path / ("other.zarr" if path == cal else "other_mosaic.zarr")
        chunks = list((path / name).rglob("c.*"))
        assert len(chunks) >= 4
        for file in chunks:
            assert file.read_bytes() == (twin / file.relative_to(path)).read_bytes()
    assert other.numbers == ["M42_K"]


@pytest.mark.parametrize("changed", ["nothing", "sky", "dark", "selection"])
def test_resume_of_image2(tmp_path, references, changed, caplog):
    store = write_store(tmp_path / "rate.zarr", visit())
    settings = {"references": references}
    call(Image2Pipeline, store, tmp_path / "cal.zarr", **settings)
    before = (tmp_path / "cal.zarr/exp_000001/zarr.json").stat().st_mtime_ns
    if changed == "sky":
        write_store(store, [*visit()[:3], make_image(4, 61.0, exp_type="SKY", target="SKY")])
    elif changed == "dark":
        write_references(tmp_path / "references", dark={"data": np.full(SHAPE, 2.0, np.float32)})
    elif changed == "selection":
        settings["exposures"] = "1:3"
    product = call(Image2Pipeline, store, tmp_path / "cal.zarr", resume=True, **settings)
    kept = (tmp_path / "cal.zarr/exp_000001/zarr.json").stat().st_mtime_ns == before
    assert kept == (changed == "nothing")
    assert product.open_image(1).data.mean() == pytest.approx(90.0 if changed == "sky" else 100.0)


def dither(number, level=100.0, columns=0, **attributes):
    return make_image(number, level, wcs={**WCS, "CRPIX1": WCS["CRPIX1"] + columns}, **attributes)


def test_mosaics_by_target_and_filter(tmp_path):
    images = [dither(1), dither(2, 120.0), dither(3, target="NGC 1/c"), dither(4, filter="H"), dither(5, 7.0, tso=True)]
    product = call(Image3Pipeline, write_store(tmp_path / "cal.zarr", images, "cal"), tmp_path / "mosaic.zarr")
    assert product.numbers == ["M42_H", "M42_K", "NGC_1_c_K"]
    assert product.attributes("M42_K")["members"] == [1, 2]
    assert product.attributes("NGC_1_c_K")["target"] == "NGC 1/c"
    image = product.open_image("M42_K")
    assert np.all(image.data == 110.0)
    assert np.all(image.weight == 100.0)
    dataset = product.open_dataset("M42_K")
    assert sorted(dataset) == ["data", "dq", "err", "weight"]
    assert dataset["weight"].attrs["units"] == "s"


def test_one_image_alone_comes_out_unchanged(tmp_path):
    image = dither(1, np.random.default_rng(1).normal(0.0, 1e3, SHAPE))
    image.data[3, 4], image.dq[3, 4] = np.nan, DQ.DO_NOT_USE | DQ.DEAD
    image.dq[5, 5] = DQ.HOT | DQ.JUMP_DET
    product = call(Image3Pipeline, write_store(tmp_path / "cal.zarr", [image], "cal"), tmp_path / "mosaic.zarr")
    mosaic = product.open_image("M42_K")
    np.testing.assert_array_equal(mosaic.data, image.data)
    assert (mosaic.dq[3, 4], mosaic.dq[5, 5]) == (DQ.DO_NOT_USE, DQ.HOT)
    assert mosaic.meta["wcs"].items() >= WCS.items()
    assert mosaic.meta.cal_step == {"outlier": "SKIPPED", "mosaic": "COMPLETE"}


def test_an_exposure_that_cannot_be_placed_fails_alone(tmp_path):
    images = [dither(1), make_image(2), dither(3, target="M31"), dither(4, target="M33", exp_type="BOGUS")]
    images += [dither(5, target="M33")]
    store = write_store(tmp_path / "cal.zarr", images, "cal")
    with pytest.raises(RunFailedError):
        call(Image3Pipeline, store, tmp_path / "mosaic.zarr")
    failures = json.loads((tmp_path / "mosaic.zarr/failures.json").read_text())
    assert "exposure 2: attribute wcs is missing" in str(failures)
    assert "BOGUS" in str(failures)
    assert sorted(path.name for path in (tmp_path / "mosaic.zarr").iterdir() if path.is_dir()) == [
        "M31_K",
        "M33_K",
        "M42_K",
    ]
    # What is not asked for in a run that resumes stays as it was, a failure too.
    product = call(Image3Pipeline, store, tmp_path / "mosaic.zarr", resume=True, exposures=[3])
    assert product.numbers == ["M31_K", "M33_K", "M42_K"]
    assert {failure["mosaic"] for failure in product.failures} == {"exp_000002", "exp_000004"}


def test_an_unreadable_exposure_fails_its_mosaic(tmp_path):
    images = [dither(1), dither(2), dither(3, target="M31"), dither(4, target="M33")]
    store = write_store(tmp_path / "cal.zarr", images, "cal")
    (store / "exp_000002/err/c.0.0").unlink()
    (store / "exp_000004/zarr.json").write_text("{")
    with pytest.raises(RunFailedError, match="2 of 3"):
        call(Image3Pipeline, store, tmp_path / "mosaic.zarr")
    failures = str(json.loads((tmp_path / "mosaic.zarr/failures.json").read_text()))
    assert "exp_000002/err" in failures
    assert "exp_000004" in failures


def test_targets_of_one_name_are_refused(tmp_path):
    store = write_store(tmp_path / "cal.zarr", [dither(1, target="A B"), dither(2, target="A/B")], "cal")
    with pytest.raises(StoreError, match=r"'A B'.*'A/B'.*make the same name A_B_K"):
        call(Image3Pipeline, store, tmp_path / "mosaic.zarr")


@pytest.mark.parametrize("changed", ["nothing", "member", "selection"])
def test_resume_of_image3(tmp_path, changed):
    store = write_store(tmp_path / "cal.zarr", [dither(1), dither(2, 120.0)], "cal")
    call(Image3Pipeline, store, tmp_path / "mosaic.zarr")
    before = (tmp_path / "mosaic.zarr/M42_K/zarr.json").stat().st_mtime_ns
    if changed == "member":
        write_store(store, [dither(1), dither(2, 140.0)], "cal")
    settings = {"exposures": [1]} if changed == "selection" else {}
    product = call(Image3Pipeline, store, tmp_path / "mosaic.zarr", resume=True, **settings)
    kept = (tmp_path / "mosaic.zarr/M42_K/zarr.json").stat().st_mtime_ns == before
    assert kept == (changed == "nothing")
    expected = {"nothing": 110.0, "member": 120.0, "selection": 100.0}[changed]
    assert product.open_image("M42_K").data.mean() == expected


def test_replay(tmp_path, references):
    store = write_store(tmp_path / "rate.zarr", visit(wcs=WCS))
    call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references, exposures="1:3")
    call(Image3Pipeline, tmp_path / "cal.zarr", tmp_path / "mosaic.zarr", exposures="1")
    comparison = replay_and_compare(Image2Pipeline, tmp_path / "cal.zarr", 2, tmp_path / "again.zarr")
    assert (comparison.status(), bool(comparison.arrays)) == (0, True)
    comparison = replay_and_compare(Image3Pipeline, tmp_path / "mosaic.zarr", "M42_K", tmp_path / "again3.zarr")
    assert (comparison.status(), bool(comparison.arrays)) == (0, True)


def test_dark(tmp_path):
    frames = [dark(n, level, date_obs=f"2026-11-{n:02d}") for n, level in ((4, 1.1), (3, 0.9), (5, 1.0))]
    for frame in frames:
        frame.data += np.where(np.arange(SHAPE[1]) % 2, 0.01, -0.01).astype(np.float32)
        frame.data[1, 2] = 5.0
        frame.dq[2, 2], frame.dq[3, 3] = DQ.JUMP_DET | DQ.WARM, DQ.DO_NOT_USE | DQ.SATURATED
    window = {"name": "BOX", "xstart": 3, "ystart": 2, "xsize": SHAPE[1], "ysize": SHAPE[0]}
    for frame in frames:
        frame.meta["subarray"] = window
    store = write_store(tmp_path / "rate.zarr", [*frames, make_image(6, 1e4)])
    product = call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf")
    made = product.open()
    np.testing.assert_allclose(made.arrays["data"][5, :2], [0.99, 1.01], rtol=1e-6)
    np.testing.assert_allclose(made.arrays["err"][5, 5], 0.3 / np.sqrt(3), rtol=1e-6)
    flags = {(1, 2): DQ.HOT, (2, 2): DQ.WARM, (3, 3): DQ.DO_NOT_USE}
    assert {
        tuple(map(int, place)): int(made.arrays["dq"][tuple(place)]) for place in np.argwhere(made.arrays["dq"])
    } == flags
    assert np.isnan(made.arrays["data"][3, 3])
    meta = made.meta
    assert {name: meta[name] for name in ("reftype", "instrument", "detector", "members", "useafter")} == {
        "reftype": "dark",
        "instrument": SETUP["instrument"],
        "detector": "A",
        "members": [3, 4, 5],
        "useafter": "2026-11-03",
    }
    assert meta["subarray"] == window
    assert "filter" not in meta


def test_a_step_that_one_exposure_has_skipped_is_skipped(tmp_path):
    passed = [{"dq_init": "COMPLETE", "jump": jump} for jump in ("COMPLETE", "SKIPPED")]
    images = [dark(number, cal_step=status) for number, status in enumerate(passed, 1)]
    store = write_store(tmp_path / "rate.zarr", images)
    product = call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf")
    assert product.open().meta["cal_step"] == {"dq_init": "COMPLETE", "jump": "SKIPPED", "combine_frames": "COMPLETE"}


def test_flat(tmp_path, references):
    shape = np.where(np.arange(SHAPE[1]) < 4, 0.8, 1.0).astype(np.float32) * np.ones(SHAPE, np.float32)
    shape[7, 7] = 0.05
    frames = [flat(n, 1.0 + level * shape) for n, level in ((1, 500.0), (2, 1000.0), (3, 2000.0))]
    frames[0].dq[6, 6], frames[1].dq[6, 6] = DQ.SATURATED, DQ.LOW_QE
    store = write_store(tmp_path / "rate.zarr", frames)
    made = call(PreprocessFlatfieldPipeline, store, tmp_path / "flat.asdf", references=references).open()
    np.testing.assert_allclose(made.arrays["data"], shape, rtol=1e-5)
    err = np.hypot(0.3, 0.5) * np.sqrt(1 / 500**2 + 1 / 1000**2 + 1 / 2000**2) / 3
    np.testing.assert_allclose(made.arrays["err"], err, rtol=1e-4)
    flags = {(6, 6): DQ.LOW_QE, (7, 7): DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE}
    assert {
        tuple(map(int, place)): int(made.arrays["dq"][tuple(place)]) for place in np.argwhere(made.arrays["dq"])
    } == flags
    assert (made.meta["filter"], made.meta["cal_step"]["normalize"]) == ("K", "COMPLETE")
    # It serves as a reference file of image2.
    store = write_store(tmp_path / "science.zarr", [make_image(4, 101.0), make_image(5, 51.0, exp_type="SKY")])
    steps = {"flat_field": {"override_flat": str(tmp_path / "flat.asdf")}}
    product = call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references, steps=steps)
    np.testing.assert_allclose(product.open_image(4).data[0], 50.0 / shape[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"detector": "B"}, r"detector differs: A \(exposures 1\); B \(exposures 2\)"),
        ({"filter": "H"}, r"filter differs: K \(exposures 1\); H \(exposures 2\)"),
        (
            {"subarray": {"xstart": 5, "ystart": 1}},
            r"subarray differs: columns 1 to 20, rows 1 to 16 \(exposures 1\); columns 5 to 24, rows 1 to 16",
        ),
    ],
)
def test_mixed_exposures_are_refused(tmp_path, references, other, message):
    store = write_store(tmp_path / "rate.zarr", [flat(1), flat(2, **other), dark(3), dark(4, **other)])
    with pytest.raises(StoreError, match=message):
        call(PreprocessFlatfieldPipeline, store, tmp_path / "flat.asdf", references=references)
    call(PreprocessFlatfieldPipeline, store, tmp_path / "flat.asdf", references=references, exposures="1,3")
    if "filter" in other:
        call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf")
    else:
        with pytest.raises(StoreError, match="differs"):
            call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf")


def test_what_is_in_the_way_of_a_reference_file(tmp_path):
    store = write_store(tmp_path / "rate.zarr", [dark(1)])
    output = tmp_path / "dark.asdf"
    call(PreprocessDarkPipeline, store, output)
    before = output.read_bytes()
    with pytest.raises(OutputExistsError, match=r"dark\.asdf exists; give overwrite=True"):
        call(PreprocessDarkPipeline, store, output)
    assert output.read_bytes() == before
    call(PreprocessDarkPipeline, store, output, overwrite=True)
    output.write_text("notes")
    with pytest.raises(StoreError, match="is no ASDF file"):
        call(PreprocessDarkPipeline, store, output, overwrite=True)
    assert output.read_text() == "notes"
    (tmp_path / "folder.asdf").mkdir()
    with pytest.raises(StoreError, match="is no ASDF file"):
        call(PreprocessDarkPipeline, store, tmp_path / "folder.asdf", overwrite=True)
    with pytest.raises(ParameterError, match=r"ends in '\.zarr'"):
        call(PreprocessDarkPipeline, store, tmp_path / "dark.zarr")
    with pytest.raises(StoreError, match="remote"):
        call(PreprocessDarkPipeline, store, "s3://bucket/dark.asdf")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dark.asdf", "folder.asdf", "rate.zarr"]


def test_a_reference_file_that_fails_leaves_nothing(tmp_path):
    store = write_store(tmp_path / "rate.zarr", [dark(1), dark(2)])
    (store / "exp_000002/data/c.0.0").unlink()
    with pytest.raises(RunFailedError):
        call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf")
    assert [path.name for path in tmp_path.iterdir()] == ["rate.zarr"]
    with pytest.raises(StoreError, match="no exposure for preprocess_flatfield"):
        call(PreprocessFlatfieldPipeline, store, tmp_path / "flat.asdf")


def test_useafter_counts(tmp_path, references):
    later = {"data": np.full(SHAPE, 11.0, np.float32), "err": np.zeros(SHAPE), "dq": np.zeros(SHAPE, np.uint32)}
    meta = {**SETUP, "useafter": "2026-11-30T02:02:30"}
    write_reference(tmp_path / "references/later.asdf", "dark", meta, later)
    images = [make_image(1, 101.0), make_image(5, 101.0), make_image(3, 51.0, exp_type="SKY")]
    store = write_store(tmp_path / "rate.zarr", images)
    product = call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references)
    # The sky was taken after the dark changed, as the second exposure, and before it the first.
    assert product.open_image(1).data.mean() == 2 * (100.0 - 40.0)
    assert product.open_image(5).data.mean() == 2 * (90.0 - 40.0)
    used = [{entry["type"] for entry in product.attributes(n)["provenance"]["reference_files"]} for n in (1, 5)]
    assert used == [{"dark", "flat", "dark of exposure 3"}, {"dark", "flat"}]
    before = (tmp_path / "cal.zarr/exp_000001/zarr.json").stat().st_mtime_ns
    call(Image2Pipeline, store, tmp_path / "cal.zarr", references=references, resume=True)
    assert (tmp_path / "cal.zarr/exp_000001/zarr.json").stat().st_mtime_ns == before


def test_parameters_that_make_no_sense(tmp_path):
    store = write_store(tmp_path / "rate.zarr", [dark(1)])
    with pytest.raises(ParameterError, match="hot_sigma = 0"):
        call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf", hot_sigma=0.0)
    with pytest.raises(ParameterError, match="min_flat = -1"):
        call(PreprocessFlatfieldPipeline, store, tmp_path / "flat.asdf", min_flat=-1.0)
    with pytest.raises(ParameterError, match=r"combine_frames\.skip"):
        call(PreprocessDarkPipeline, store, tmp_path / "dark.asdf", steps={"combine_frames": {"skip": True}})
    with pytest.raises(ParameterError, match=r"mosaic\.skip"):
        call(Image3Pipeline, store, tmp_path / "m.zarr", steps={"mosaic": {"skip": True}})
