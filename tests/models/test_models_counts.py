"""Counts come out of the store the same, however they are stored."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline.errors import DataReadError, LayoutError
from cal_pipeline.models.clock import StageClock
from cal_pipeline.models.counts import Counts
from cal_pipeline.models.storage import LocalPlace

FILL = -(2**31)
SHAPE = (5, 2, 2, 1, 3)
VALUES = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE) + 1


def store_counts(folder, values=VALUES, attributes=None, **options):
    options = {"chunks": values.shape, "fill_value": FILL if values.dtype == np.int32 else 0} | options
    array = zarr.create_array(folder / "s.zarr", name="g/data_5d", shape=values.shape, dtype=values.dtype, **options)
    array[...] = values
    array.attrs.update(attributes or {})
    return folder / "s.zarr"


def open_counts(store):
    return Counts(LocalPlace(store), "g/data_5d", StageClock())


def assemble(counts, subscans, step=None):
    """All blocks of `subscans`, put together; each sample must come once."""
    whole = np.full((*counts.shape[:4], len(subscans)), np.inf)
    place = {subscan: k for k, subscan in enumerate(subscans)}
    for channels, members in counts.blocks(subscans, step):
        columns = [place[m] for m in members]
        assert np.isinf(whole[channels][..., columns]).all(), "a block came twice"
        whole[channels, ..., columns] = counts.read(channels, members)
    assert not np.isinf(whole).any(), "a block did not come"
    return whole


chunk_shapes = st.tuples(*(st.integers(1, n) for n in SHAPE))


@given(
    chunks=chunk_shapes,
    subscans=st.lists(st.sampled_from(range(SHAPE[4])), min_size=1, unique=True),
    target=st.integers(1, 40),
)
@settings(deadline=None, max_examples=15)
def test_any_chunking_gives_the_same_counts(chunks, subscans, target):
    with tempfile.TemporaryDirectory() as folder:
        counts = open_counts(store_counts(Path(folder), chunks=chunks))
        step = counts.channel_step(target)
        assert step % chunks[0] == 0 or step == SHAPE[0]
        np.testing.assert_array_equal(assemble(counts, subscans, step), VALUES[..., subscans])


@given(chunks=chunk_shapes, target=st.integers(1, 100))
@settings(deadline=None, max_examples=15)
def test_a_chunk_is_read_by_one_block_only(chunks, target):
    with tempfile.TemporaryDirectory() as folder:
        counts = open_counts(store_counts(Path(folder), chunks=chunks))
        touched: list[tuple[int, int]] = []
        for channels, members in counts.blocks(range(SHAPE[4]), counts.channel_step(target)):
            rows = {c // chunks[0] for c in range(channels.start, channels.stop)}
            touched += itertools.product(rows, {m // chunks[4] for m in members})
        assert len(touched) == len(set(touched))


@given(chunks=chunk_shapes, data=st.data())
@settings(deadline=None, max_examples=15)
def test_an_absent_chunk_is_missing_data_and_nothing_else(chunks, data):
    with tempfile.TemporaryDirectory() as folder:
        store = store_counts(Path(folder), chunks=chunks, fill_value=0)
        grid = [range(-(-n // c)) for n, c in zip(SHAPE, chunks, strict=True)]
        lost = data.draw(st.sampled_from(list(itertools.product(*grid))))
        (store / "g/data_5d/c" / "/".join(map(str, lost))).unlink()
        expected = VALUES.astype(float)
        expected[tuple(slice(i * c, (i + 1) * c) for i, c in zip(lost, chunks, strict=True))] = np.nan
        counts = open_counts(store)
        assert counts.n_absent_chunks == 1
        subscans = data.draw(st.lists(st.sampled_from(range(SHAPE[4])), min_size=1, unique=True))
        np.testing.assert_array_equal(assemble(counts, subscans, chunks[0]), expected[..., subscans])


@pytest.mark.parametrize("shards", [(6, 2, 2, 1, 4), (4, 2, 2, 1, 2)])
def test_shards(tmp_path, shards):
    store = store_counts(tmp_path, chunks=(2, 1, 2, 1, 2), shards=shards, fill_value=0)
    counts = open_counts(store)
    assert counts.n_absent_chunks == 0
    np.testing.assert_array_equal(assemble(counts, list(range(SHAPE[4]))), VALUES)
    lost = next(path for path in sorted((store / "g/data_5d/c").rglob("*")) if path.is_file())
    lost.unlink()
    counts = open_counts(store)
    expected = VALUES.astype(float)
    expected[: shards[0], ..., : shards[4]] = np.nan
    assert counts.n_absent_chunks == 1
    np.testing.assert_array_equal(assemble(counts, list(range(SHAPE[4]))), expected)


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "int64", "uint32", "float32", "float64"])
def test_other_types_are_read(tmp_path, dtype):
    values = (VALUES % 100).astype(dtype)
    read = assemble(open_counts(store_counts(tmp_path, values)), [0, 2])
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, values[..., [0, 2]])


def test_integers_stay_what_they_are_where_none_is_missing(tmp_path):
    values = VALUES.copy()
    values[:, 1, 0, 0, 2] = FILL
    counts = open_counts(store_counts(tmp_path, values, chunks=(*SHAPE[:4], 1)))
    types = {subscan: counts.read(slice(0, SHAPE[0]), [subscan]).dtype for subscan in range(3)}
    assert types == {0: np.int32, 1: np.int32, 2: np.float64}


def test_missing_dumps_become_nan(tmp_path):
    values = VALUES.copy()
    values[:, 1, 0, 0, 2] = FILL
    read = assemble(open_counts(store_counts(tmp_path, values)), list(range(SHAPE[4])))
    np.testing.assert_array_equal(np.isnan(read), values == FILL)


def test_nan_of_floats_stays(tmp_path):
    values = VALUES.astype(np.float32)
    values[3, 0, 1, 0, 2] = np.nan
    read = assemble(open_counts(store_counts(tmp_path, values, fill_value=np.nan)), [2])
    assert np.isnan(read).sum() == 1
    assert np.isnan(read[3, 0, 1, 0, 0])


def test_scale_factor_multiplies_counts_and_leaves_missing_ones_missing(tmp_path):
    values = VALUES.copy()
    values[0, 0, 0, 0, 0] = FILL
    store = store_counts(tmp_path, values, attributes={"scale_factor": 0.25})
    expected = values.astype(float) * 0.25
    expected[0, 0, 0, 0, 0] = np.nan
    np.testing.assert_array_equal(assemble(open_counts(store), list(range(SHAPE[4]))), expected)


@pytest.mark.parametrize("fill", [FILL, np.nan])
def test_a_chunk_of_missing_dumps_need_not_be_stored(tmp_path, fill):
    values = VALUES.astype(np.float64 if np.isnan(fill) else np.int32)
    values[..., 1] = fill
    store = store_counts(tmp_path, values, chunks=(5, 2, 2, 1, 1), fill_value=fill)
    counts = open_counts(store)
    assert counts.n_absent_chunks == 0
    assert np.isnan(assemble(counts, [1])).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.zeros((2, 2, 2, 2), np.int32), "4 axes of type int32"),
        (np.zeros((2, 2, 2, 2, 2), np.complex64), "complex64"),
        (np.zeros((2, 0, 2, 2, 2), np.int32), "holds nothing"),
    ],
)
def test_what_is_no_array_of_counts_is_refused(tmp_path, values, words):
    store = tmp_path / "s.zarr"
    chunks = tuple(max(n, 1) for n in values.shape)
    zarr.create_array(store, name="g/data_5d", shape=values.shape, dtype=values.dtype, chunks=chunks)
    with pytest.raises(LayoutError, match=words):
        open_counts(store)


def test_no_array_at_all(tmp_path):
    zarr.create_group(tmp_path / "s.zarr")
    with pytest.raises(LayoutError, match="g/data_5d cannot be opened"):
        open_counts(tmp_path / "s.zarr")


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: b"not zstd at all", lambda _: b""])
def test_a_chunk_that_does_not_decode_names_where_it_is(tmp_path, spoil):
    store = store_counts(tmp_path, chunks=(5, 2, 2, 1, 1))
    chunk = store / "g/data_5d/c/0/0/0/0/1"
    chunk.write_bytes(spoil(chunk.read_bytes()))
    counts = open_counts(store)
    np.testing.assert_array_equal(counts.read(slice(0, 5), [2])[..., 0], VALUES[..., 2])
    with pytest.raises(DataReadError, match=r"g/data_5d: channels 0 to 4, subscans 1 to 1 cannot be read"):
        counts.read(slice(0, 5), [1])


def test_reading_is_timed_as_load(tmp_path):
    clock = StageClock()
    counts = Counts(LocalPlace(store_counts(tmp_path)), "g/data_5d", clock)
    with clock("calibrate"):
        counts.read(slice(0, 5), [0])
    assert clock.seconds["load"] > 0
    assert set(clock.seconds) == {"load", "calibrate"}
