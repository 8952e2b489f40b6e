"""Reading counts along the chunks of the store."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cal_pipeline.errors import LayoutError
from cal_pipeline.models.clock import StageClock
from cal_pipeline.models.counts import Counts

SHAPE = (12, 3, 2, 2, 5)
DATA = np.random.default_rng(0).integers(0, 1000, SHAPE)


def store(path, data, **settings):
    zarr.create_group(path, overwrite=True)
    array = zarr.create_array(path, name="data_5d", shape=data.shape, dtype=data.dtype, **settings)
    array[...] = data
    return Counts(path, "data_5d", StageClock())


def read_all(counts, subscans, step=None):
    """Put the blocks together again; each sample must come once."""
    found = np.full((*SHAPE[:4], len(subscans)), -1.0)
    for channels, members in counts.blocks(subscans, step):
        for index, subscan in enumerate(members):
            column = subscans.index(subscan)
            assert (found[channels, ..., column] == -1.0).all()
            found[channels, ..., column] = counts.read(channels, members)[..., index]
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.tuples(*(st.integers(1, n) for n in SHAPE)),
    st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True),
    st.integers(1, 3),
)
def test_blocks_hold_every_sample_once_whatever_the_chunks(tmp_path, chunks, subscans, factor):
    counts = store(tmp_path / "l0.zarr", DATA.astype(np.int32), chunks=chunks)
    found = read_all(counts, subscans, factor * chunks[0])
    np.testing.assert_array_equal(found, DATA[..., subscans])


def test_sharded_counts(tmp_path):
    counts = store(tmp_path / "l0.zarr", DATA.astype(np.int32), chunks=(4, 3, 2, 2, 1), shards=(12, 3, 2, 2, 5))
    np.testing.assert_array_equal(read_all(counts, [1, 4]), DATA[..., [1, 4]])


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64", "uint16", "float32", "float64"])
def test_types_and_scale_factor(tmp_path, dtype):
    counts = store(tmp_path / "l0.zarr", DATA.astype(dtype), attributes={"scale_factor": 0.5})
    block = counts.read(slice(0, 12), [0, 1])
    assert block.dtype == np.float64
    np.testing.assert_array_equal(block, 0.5 * DATA[..., :2])


@pytest.mark.parametrize(("dtype", "missing"), [("int32", -(2**31)), ("int64", -(2**31)), ("float32", np.nan)])
def test_missing_dumps_become_nan(tmp_path, dtype, missing):
    data = DATA.astype(dtype)
    data[:, 1, 0, 1, 3] = missing
    found = store(tmp_path / "l0.zarr", data, attributes={"scale_factor": 3.0}).read(slice(0, 12), [3])
    assert np.isnan(found[:, 1, 0, 1, 0]).all()
    assert np.isnan(found).sum() == 12


def test_a_chunk_that_is_absent_is_missing_unless_its_fill_value_says_so(tmp_path):
    for fill, absent in ((0, 1), (-(2**31), 0)):
        path = tmp_path / f"l0_{absent}.zarr"
        store(path, DATA.astype(np.int32) + 1, chunks=(6, 3, 2, 2, 1), fill_value=fill)
        (path / "data_5d/c/1/0/0/0/2").unlink()
        counts = Counts(path, "data_5d", StageClock())
        assert counts.n_absent_chunks == absent
        block = counts.read(slice(3, 12), [1, 2])
        assert np.isnan(block[3:, ..., 1]).all()
        assert np.isfinite(block[:3]).all()
        assert np.isfinite(block[..., 0]).all()


@pytest.mark.parametrize("data", [np.zeros((2, 2)), np.zeros((2, 2, 2, 2, 2), bool), np.zeros((0, 1, 1, 1, 1))])
def test_what_are_no_counts(tmp_path, data):
    with pytest.raises(LayoutError, match="data_5d"):
        store(tmp_path / "l0.zarr", data)


def test_blocks_are_as_large_as_asked_for_and_whole_chunks(tmp_path):
    counts = store(tmp_path / "l0.zarr", DATA.astype(np.int32), chunks=(5, 3, 2, 2, 1))
    assert counts.channel_step(1) == 5
    assert counts.channel_step(10 * 12) == 10
    assert counts.channel_step(10**9) == 12
