"""Files of a simulated visit: layout, the same bits again, complete or absent."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import asdf
import numpy as np
import pytest
import xarray as xr
import zarr
from astropy import units

from cal_pipeline.core.errors import CalibrationError, OutputExistsError
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.simulate import (
    Detector,
    ExposurePlan,
    Subarray,
    VisitConfig,
    VisitError,
    read_truth,
    simulate_visit,
    standard_visit,
    writer,
)
from cal_pipeline.imager.simulate.detector_maps import make_maps

pytestmark = pytest.mark.imager

SETTINGS = {"size": 32, "seed": 5, "dithers": 2, "skies": 1, "darks": 1, "flats": 1, "n_groups": 4}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return simulate_visit(standard_visit(**SETTINGS), tmp_path_factory.mktemp("visit") / "visit.zarr")


def digest(folder):
    """Return a digest of every file below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_the_layout(files):
    root = zarr.open_group(files.visit, mode="r")
    assert root.attrs["product"] == "ramp"
    assert sorted(root.group_keys()) == [f"exp_{number:06d}" for number in range(1, 6)]
    times = []
    for number, exp_type in enumerate(["DARK", "FLAT", "SCI", "SCI", "SKY"], start=1):
        dataset = xr.open_zarr(files.visit, group=f"exp_{number:06d}", consolidated=False)
        assert dataset["data"].dims == ("integration", "group", "y", "x")
        assert dataset["data"].shape == (1, 4, 32, 32)
        assert dataset["data"].dtype == np.uint16
        assert dataset["data"].attrs["units"] == "adu"
        expected = {"exposure_number": number, "exp_type": exp_type, "tso": False, "filter": "H", "amplifiers": 4}
        assert expected.items() <= dataset.attrs.items()
        assert {"instrument", "detector", "frame_time", "nframes", "groupgap", "wcs"} <= dataset.attrs.keys()
        times.append(dataset.attrs["date_obs"])
    assert times == sorted(set(times))


def test_the_truth_can_be_read(files):
    with xr.open_zarr(files.truth, group="exp_000003", consolidated=False) as dataset:
        assert [units.Unit(array.attrs["units"]) for array in dataset.values()]
        rate = dataset["rate"].values
    truth = read_truth(files.visit, 3)
    np.testing.assert_array_equal(truth.rate, rate)
    assert truth.first_clipped.shape == (1, 32, 32)
    assert truth.stars.rate.shape == (1,)
    assert read_truth(files.visit, 1).stars.rate.shape == (0,)
    with pytest.raises(CalibrationError, match="exp_000009"):
        read_truth(files.visit, 9)


def test_the_references_are_those_of_the_detector(files):
    maps = make_maps(standard_visit(**SETTINGS))
    names = ["dark", "flat_H", "gain", "linearity", "mask", "photom_H", "readnoise", "saturation", "superbias"]
    assert sorted(path.stem for path in files.references.iterdir()) == names
    contents = {}
    for path in files.references.iterdir():
        with asdf.open(path, memmap=False, lazy_load=False) as file:
            contents[path.stem] = {
                key: value for key, value in file.tree.items() if key not in ("asdf_library", "history")
            }
    for name, content in contents.items():
        meta = content["meta"]
        assert meta["reftype"] == name.partition("_")[0]
        assert (meta["instrument"], meta["detector"]) == ("SIMCAM", "SIM1")
        assert meta.get("filter") == (name.partition("_")[2] or None)
        assert meta["useafter"] < "2026-11-01"
    np.testing.assert_array_equal(contents["mask"]["dq"], maps.mask)
    np.testing.assert_array_equal(contents["superbias"]["data"], maps.bias)
    np.testing.assert_array_equal(contents["linearity"]["coeffs"], maps.coeffs)
    np.testing.assert_array_equal(contents["gain"]["data"], maps.gain)
    np.testing.assert_array_equal(contents["readnoise"]["data"], maps.read_noise)
    np.testing.assert_array_equal(contents["dark"]["data"], maps.dark)
    np.testing.assert_allclose(contents["saturation"]["data"], maps.bias + 0.97 * maps.well, rtol=1e-6)
    flat = contents["flat_H"]
    np.testing.assert_array_equal(np.isnan(flat["data"]), ~maps.sensitive)
    np.testing.assert_array_equal(flat["dq"] == int(DQ.NO_FLAT_FIELD | DQ.DO_NOT_USE), ~maps.sensitive)
    assert {"zero_point", "zero_point_err", "extinction"} < contents["photom_H"].keys()


def test_a_seed_gives_the_same_bits_with_any_number_of_threads(files, tmp_path):
    again = simulate_visit(standard_visit(**SETTINGS), tmp_path / "visit.zarr", threads=3)
    for one, other in zip(files.all, again.all, strict=True):
        assert digest(one) == digest(other)
    other_seed = simulate_visit(standard_visit(**SETTINGS | {"seed": 6}), tmp_path / "other.zarr")
    data = [zarr.open_group(found.visit, mode="r")["exp_000001/data"][:] for found in (files, other_seed)]
    assert np.mean(data[0] == data[1]) < 0.05


def test_blocks_have_streams_of_their_own(tmp_path):
    plan = ExposurePlan(rate=50.0, n_groups=64, n_integrations=2, hits=0.0)
    # Of equal pixels: differences between them are common to all integrations.
    spreads = dict.fromkeys(("gain_spread", "linearity_spread", "flat_spread", "flat_structure", "hot_fraction"), 0.0)
    detector = Detector(size=(40, 1024), dead_fraction=0.0, **spreads)
    config = VisitConfig([plan], detector)
    files = simulate_visit(config, tmp_path / "v.zarr", threads=2)
    array = zarr.open_group(files.visit, mode="r")["exp_000001/data"]
    assert array.chunks == (1, 64, 16, 1024)
    growth = array[:, -1].astype(float) - array[:, 0]
    blocks = [growth[i, rows, 4:-4].ravel() for i in (0, 1) for rows in (slice(4, 16), slice(20, 32))]
    assert np.abs(np.corrcoef(blocks) - np.eye(4)).max() < 0.05


def test_an_exposure_does_not_depend_on_those_after_it(files, tmp_path):
    fewer = standard_visit(**SETTINGS | {"dithers": 0, "skies": 0})
    found = simulate_visit(fewer, tmp_path / "visit.zarr")
    assert digest(found.visit / "exp_000002") == digest(files.visit / "exp_000002")


def test_attributes_of_unusual_exposures(tmp_path):
    window = Subarray("WINDOW", xstart=5, ystart=9, xsize=16, ysize=8)
    plans = [
        ExposurePlan(subarray=window, tso=True, n_groups=2, n_integrations=3),
        ExposurePlan(read_pattern=((1,), (3, 4)), target="M 1", airmass=1.25),
    ]
    files = simulate_visit(VisitConfig(plans, Detector(size=32), dtype="int32"), tmp_path / "v.zarr")
    first, second = (zarr.open_group(files.visit, mode="r")[f"exp_00000{number}"] for number in (1, 2))
    assert first["data"].shape == (3, 2, 8, 16)
    assert first["data"].dtype == np.int32
    assert first.attrs["subarray"] == window._asdict()
    assert first.attrs["tso"] is True
    assert second.attrs["read_pattern"] == [[1], [3, 4]]
    assert "nframes" not in second.attrs
    assert (second.attrs["target"], second.attrs["airmass"]) == ("M 1", 1.25)


TINY = VisitConfig([ExposurePlan(n_groups=2)], Detector(size=16))


def test_a_visit_is_replaced_only_when_asked_to(tmp_path):
    files = simulate_visit(TINY, tmp_path / "v.zarr")
    before = digest(tmp_path)
    with pytest.raises(OutputExistsError, match=r"v\.zarr exists.*overwrite=True"):
        simulate_visit(TINY, files.visit)
    assert digest(tmp_path) == before
    simulate_visit(replace(TINY, seed=2), files.visit, overwrite=True)
    assert digest(tmp_path).keys() == before.keys()
    assert digest(tmp_path) != before


@pytest.mark.parametrize("name", ["v.zarr", "v.truth.zarr", "v.references"])
def test_other_things_are_never_replaced(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "precious").touch()
    with pytest.raises(VisitError, match="never replaced"):
        simulate_visit(TINY, tmp_path / "v.zarr", overwrite=True)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == [name, f"{name}/precious"]


def test_a_visit_that_failed_leaves_nothing(tmp_path, monkeypatch):
    files = simulate_visit(TINY, tmp_path / "v.zarr")
    before = digest(tmp_path)

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(writer, "write_truth", fail)
    with pytest.raises(OSError, match="disk full"):
        simulate_visit(TINY, files.visit, overwrite=True)
    assert digest(tmp_path) == before
    with pytest.raises(OSError, match="disk full"):
        simulate_visit(TINY, tmp_path / "new.zarr")
    assert digest(tmp_path) == before


def test_urls_and_threads_are_refused(tmp_path):
    with pytest.raises(VisitError, match="is a URL"):
        simulate_visit(TINY, "s3://bucket/v.zarr")
    with pytest.raises(VisitError, match="threads 0"):
        simulate_visit(TINY, tmp_path / "v.zarr", threads=0)
