"""What the result must not depend on."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray
import zarr
from helpers_l0 import write_array as write_plain
from helpers_l1 import assert_identical

from cal_pipeline.simulate import Faults, Scan

EVERYTHING = {
    "gain": {"skip": False},
    "dbs": {"skip": False},
    "skydiff": {"skip": False},
    "skychopdiff": {"skip": False},
    "atmosphere": {"strategy": "per_pair"},
}
# The quick subset keeps the mode that has most: a track, two beams and chopped OFFs.
MODES = [
    pytest.param("total_power", marks=pytest.mark.slow),
    pytest.param("otf", marks=pytest.mark.slow),
    "otf_chopped",
]


def shuffled(session: Path, copy: Path, order: list[int]) -> Path:
    """The session with the subscans of its sources in another order."""
    shutil.copytree(session, copy)
    for source in copy.glob("scan_*/source"):
        group = zarr.open_group(source, mode="r+")
        for _, array in list(group.arrays()):
            dims = array.metadata.dimension_names
            if "subscan" in dims:
                values = np.take(array[...], order, axis=dims.index("subscan"))
                array[...] = values
    return copy


@pytest.fixture(params=MODES)
def mode(request):
    return request.param


@pytest.fixture
def session(make_session, mode):
    return make_session(mode=mode, channels=24, scans=2, faults=Faults(missing_fraction=0.1), seed=4)


@pytest.mark.parametrize("order", ["reversed", "shuffled"])
@pytest.mark.slow
def test_order_of_subscans(session, calibrate, tmp_path, order):
    places = np.arange(zarr.open_array(session, path="scan_000001/source/mjd", mode="r").shape[0])
    other = {"reversed": places[::-1], "shuffled": np.random.default_rng(9).permutation(places)}[order]
    assert other.tolist() != places.tolist()
    steps = {name: value for name, value in EVERYTHING.items() if name != "skychopdiff"}
    one = calibrate(session, "one.zarr", **steps)
    two = calibrate(shuffled(session, tmp_path / "shuffled.zarr", other.tolist()), "two.zarr", **steps)
    assert_identical(one.path, two.path)


@pytest.mark.parametrize("chunks", [(1, 1, 1, 1, 1), (7, 3, 2, 1, 5)], ids=["single counts", "uneven"])
@pytest.mark.slow
def test_chunks_of_l0(make_session, calibrate, mode, chunks):
    sessions = [
        make_session(f"{name}.zarr", mode=mode, channels=24, scans=2, chunks=c, faults=Faults(missing_fraction=0.1))
        for name, c in (("plain", None), ("chunked", chunks))
    ]
    one, two = (calibrate(s, f"{s.stem}_l1.zarr", **EVERYTHING) for s in sessions)
    stored = [zarr.open_array(s, path="scan_000001/source/data_5d", mode="r").chunks for s in sessions]
    assert stored[0] != stored[1]
    assert_identical(one.path, two.path)


@pytest.mark.slow
def test_splitting_a_session_and_scans_that_are_not_chosen(make_session, calibrate, mode, tmp_path):
    scans = (Scan(), Scan(), Scan(), Scan())
    whole = make_session(mode=mode, channels=24, scans=scans)
    part = tmp_path / "part.zarr"
    zarr.create_group(part)
    for scan in ("scan_000002", "scan_000003"):  # with the loads after it
        shutil.copytree(whole / scan, part / scan)
    steps = {"dbs": {"skip": False}, "atmosphere": {"strategy": "per_pixel"}}
    one = calibrate(whole, "one.zarr", **steps)
    two = calibrate(whole, "two.zarr", scans="2", **steps)
    three = calibrate(part, "three.zarr", scans="2", **steps)
    for other in (two, three):
        assert other.numbers == [2]
        assert_identical(one.path, other.path, [2])


@pytest.mark.slow
def test_scaling_all_counts_changes_the_gain_and_nothing_in_kelvin(make_session, calibrate, mode):
    session = make_session(mode=mode, channels=24, scans=2, dtype="float64")
    one = calibrate(session, "one.zarr", **EVERYTHING).open_scan(1).load()
    arrays = list(session.glob("scan_*/*/data_5d"))
    assert len(arrays) == 4
    for array in arrays:
        zarr.open_array(array, mode="r+").attrs["scale_factor"] = 8.0
    two = calibrate(session, "two.zarr", **EVERYTHING).open_scan(1).load()
    np.testing.assert_array_equal(two.gamma, 8.0 * one.gamma)
    xarray.testing.assert_equal(two.drop_vars("gamma"), one.drop_vars("gamma"))


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.slow
def test_missing_dumps_do_not_spread(make_session, calibrate, mode, seed):
    random = np.random.default_rng(seed)
    session = make_session(mode=mode, channels=24)
    path = "scan_000001/source/data_5d"
    counts = zarr.open_array(session, path=path, mode="r")[...]
    phases = zarr.open_array(session, path="scan_000001/source/sobsmode", mode="r")[...]
    ons = [k for k, phase in enumerate(phases) if phase.endswith("ON")]
    holes = [(*random.integers(counts.shape[1:4]), random.choice(ons)) for _ in range(3)]
    given_pwv = {"strategy": "fixed", "pwv": 0.5}
    one = calibrate(session, "one.zarr", atmosphere=given_pwv).open_scan(1).load()
    for dump, receiver, array, subscan in holes:
        counts[:, dump, receiver, array, subscan] = -(2**31)
    zarr.open_array(session, path=path, mode="r+")[...] = counts
    two = calibrate(session, "two.zarr", atmosphere=given_pwv).open_scan(1).load()
    lost = np.zeros(one.spectra.shape, bool)
    for dump, receiver, array, subscan in holes:
        lost[:, dump, receiver, array, ons.index(subscan)] = True
    np.testing.assert_array_equal(np.isnan(two.spectra), lost | np.isnan(one.spectra))
    np.testing.assert_array_equal(two.spectra.values[~lost], one.spectra.values[~lost])
    np.testing.assert_array_equal(two.flags.values[lost], 2)


@pytest.mark.slow
def test_loads_are_found_in_any_order_of_their_subscans(make_session, calibrate, tmp_path):
    session = make_session(channels=24)
    one = calibrate(session, "one.zarr")
    group = zarr.open_group(session, path="scan_000001/calibration", mode="r+")
    for name, array in list(group.arrays()):
        dims = array.metadata.dimension_names
        if "subscan" in dims and name != "sobsmode":
            array[...] = np.flip(array[...], axis=dims.index("subscan"))
    write_plain(group, "sobsmode", ["COL", "HOT"])
    two = calibrate(session, "two.zarr")
    assert_identical(one.path, two.path)
