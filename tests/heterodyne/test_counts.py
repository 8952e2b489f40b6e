"""Counts come out of the store the same, however they are stored."""

from __future__ import annotations

import itertools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, ShardingCodec, TransposeCodec, ZstdCodec
from zarr.storage import MemoryStore

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.errors import DataReadError, LayoutError
from cal_pipeline.heterodyne.counts import Counts

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
    return Counts(LocalStorePath(store), "g/data_5d", StageClock())


def assemble(counts, subscans, step=None):
    """All blocks of `subscans`, put together; each sample must come once."""
    whole = np.full((*counts.shape[:4], len(subscans)), np.inf)
    root = {subscan: k for k, subscan in enumerate(subscans)}
    for channels, members in counts.blocks(subscans, step):
        columns = [root[m] for m in members]
        assert np.isinf(whole[channels][..., columns]).all(), "a block came twice"
        whole[channels, ..., columns] = counts.read(channels, members)
    assert not np.isinf(whole).any(), "a block did not come"
    return whole


chunk_shapes = st.tuples(*(st.integers(1, n) for n in SHAPE))


@pytest.mark.slow
@given(
    chunks=chunk_shapes,
    subscans=st.lists(st.sampled_from(range(SHAPE[4])), min_size=1, unique=True),
    target=st.integers(1, 40),
)
@settings(deadline=None, max_examples=15)
def test_any_chunking_gives_the_same_counts(chunks, subscans, target):
    with tempfile.TemporaryDirectory() as folder:
        counts = open_counts(store_counts(Path(folder), chunks=chunks))
        step = counts.row_step(target)
        assert step % chunks[0] == 0 or step == SHAPE[0]
        np.testing.assert_array_equal(assemble(counts, subscans, step), VALUES[..., subscans])


@pytest.mark.slow
@given(chunks=chunk_shapes, target=st.integers(1, 100))
@settings(deadline=None, max_examples=15)
def test_a_chunk_is_read_by_one_block_only(chunks, target):
    with tempfile.TemporaryDirectory() as folder:
        counts = open_counts(store_counts(Path(folder), chunks=chunks))
        touched: list[tuple[int, int]] = []
        for channels, members in counts.blocks(range(SHAPE[4]), counts.row_step(target)):
            rows = {c // chunks[0] for c in range(channels.start, channels.stop)}
            touched += itertools.product(rows, {m // chunks[4] for m in members})
        assert len(touched) == len(set(touched))


@pytest.mark.slow
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
def test_an_absent_shard_is_found(tmp_path, shards):
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


def test_saturated_counts_are_missing(tmp_path):
    values = VALUES.copy()
    values[:, 1, 0, 0, 2] = 2**31 - 1
    values[0, 0, 0, 0, 0] = 1000
    store = store_counts(tmp_path, values)
    expected = np.where(values == 2**31 - 1, np.nan, values)
    np.testing.assert_array_equal(assemble(open_counts(store), [0, 1, 2]), expected)
    expected[0, 0, 0, 0, 0] = np.nan
    np.testing.assert_array_equal(assemble(open_counts(store).saturate_at(1000.0), [0, 1, 2]), expected)
    assert open_counts(store).saturate_at(None).read(slice(0, 1), [1]).dtype == np.int32


def test_a_limit_of_saturation_is_one_of_unpacked_counts(tmp_path):
    store = store_counts(tmp_path, VALUES.astype(np.int16), {"scale_factor": 10.0}, chunks=(2, 2, 2, 1, 3))
    counts = open_counts(store).saturate_at(300.0)
    np.testing.assert_array_equal(assemble(counts, [1]), np.where(VALUES < 30, VALUES * 10.0, np.nan)[..., [1]])


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
    counts = Counts(LocalStorePath(store_counts(tmp_path)), "g/data_5d", clock)
    with clock("calibrate"):
        counts.read(slice(0, 5), [0])
    assert clock.seconds["load"] > 0
    assert set(clock.seconds) == {"load", "calibrate"}


# What was never stored, or means something else


def shard_counts(folder, lost=slice(2, 4), subscan=1, location="end", index_codecs=None, **options):
    """Counts in one shard a subscan, without the inner chunks of some channels."""
    values = VALUES.copy()
    values[lost, ..., subscan] = 0
    codec = ShardingCodec(
        chunk_shape=(1, *SHAPE[1:4], 1),
        index_location=location,
        index_codecs=index_codecs or [BytesCodec(), Crc32cCodec()],
        codecs=options.get("codecs", [BytesCodec(), ZstdCodec()]),
    )
    array = zarr.create_array(
        folder / "s.zarr",
        name="g/data_5d",
        shape=SHAPE,
        dtype="int32",
        chunks=(6, *SHAPE[1:4], 1),
        serializer=codec,
        compressors=None,
        fill_value=0,
    )
    array[...] = values
    expected = values.astype(float)
    expected[lost, ..., subscan] = np.nan
    return folder / "s.zarr", expected


@pytest.mark.slow
@pytest.mark.parametrize("location", ["start", "end"])
@pytest.mark.parametrize(
    "index_codecs", [[BytesCodec(), Crc32cCodec()], [BytesCodec()], [BytesCodec(endian="big"), Crc32cCodec()]]
)
def test_inner_chunks_that_a_shard_lacks_are_missing(tmp_path, location, index_codecs):
    store, expected = shard_counts(tmp_path, location=location, index_codecs=index_codecs)
    counts = open_counts(store)
    assert counts.n_absent_chunks == 2
    np.testing.assert_array_equal(assemble(counts, [0, 1, 2], 1), expected)
    np.testing.assert_array_equal(assemble(counts, [1]), expected[..., [1]])
    assert counts.read(slice(0, 5), [2]).dtype == np.int32, "what is complete stays as it is stored"


def test_only_the_index_of_a_shard_is_read_to_find_what_it_lacks(tmp_path, monkeypatch):
    store, _ = shard_counts(tmp_path)
    counts = open_counts(store)
    whole, parts = [], []
    get, get_part = LocalStorePath.get, LocalStorePath.get_part
    monkeypatch.setattr(LocalStorePath, "get", lambda self, key: whole.append(key) or get(self, key))
    monkeypatch.setattr(LocalStorePath, "get_part", lambda self, *part: parts.append(part[2]) or get_part(self, *part))
    assert counts.n_absent_chunks == counts.n_absent_chunks == 2
    assert not whole
    assert sum(parts) < 3 * (6 * 16 + 4) + 4


def test_what_a_store_lacks_is_looked_up_once_in_a_scan(tmp_path, monkeypatch):
    store, expected = shard_counts(tmp_path)
    known = {}
    assert Counts(LocalStorePath(store), "g/data_5d", StageClock(), known).n_absent_chunks == 2
    monkeypatch.setattr(LocalStorePath, "get_part", lambda *_: pytest.fail("the index was read again"))
    again = Counts(LocalStorePath(store), "g/data_5d", StageClock(), known)
    np.testing.assert_array_equal(np.isnan(assemble(again, [1])), np.isnan(expected[..., [1]]))


@pytest.mark.parametrize("location", ["start", "end"])
def test_a_damaged_index_is_no_absent_chunk(tmp_path, location):
    store, _ = shard_counts(tmp_path, location=location)
    shard = store / "g/data_5d/c/0/0/0/0/1"
    data = bytearray(shard.read_bytes())
    data[8 if location == "start" else -30] ^= 255
    shard.write_bytes(bytes(data))
    with pytest.raises(DataReadError, match=r"g/data_5d: its chunks cannot be listed: ValueError: the checksum"):
        assert open_counts(store).n_absent_chunks


@pytest.mark.parametrize("location", ["start", "end"])
def test_a_shard_that_was_cut_off_is_no_shard_without_chunks(tmp_path, location):
    store, _ = shard_counts(tmp_path, location=location)
    shard = store / "g/data_5d/c/0/0/0/0/1"
    shard.write_bytes(shard.read_bytes()[:-40])
    with pytest.raises(DataReadError, match="its chunks cannot be listed"):
        assert open_counts(store).n_absent_chunks


def test_shards_within_shards_are_refused(tmp_path):
    inner = ShardingCodec(chunk_shape=(1, *SHAPE[1:4], 1), codecs=[BytesCodec()])
    store, _ = shard_counts(tmp_path, codecs=[inner])
    with pytest.raises(LayoutError, match="expected sharding_indexed alone and one level of shards"):
        open_counts(store)


def test_inner_chunks_of_missing_dumps_need_not_be_stored(tmp_path):
    values = VALUES.copy()
    values[0] = FILL
    store = store_counts(tmp_path, values, chunks=(1, 2, 2, 1, 1), shards=(5, 2, 2, 1, 1), fill_value=FILL)
    counts = open_counts(store)
    assert counts.n_absent_chunks == 0
    assert np.isnan(assemble(counts, [0, 1, 2])[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
def test_the_minimum_of_the_type_is_missing_and_need_not_be_stored(tmp_path, dtype):
    values, least = (VALUES % 100).astype(dtype), np.iinfo(dtype).min
    values[:, 0, 0, 0, 2] = least
    values[..., 1] = least
    store = store_counts(tmp_path, values, chunks=(*SHAPE[:4], 1), fill_value=int(least))
    counts = open_counts(store)
    assert counts.n_absent_chunks == 0
    np.testing.assert_array_equal(assemble(counts, [0, 1, 2]), np.where(values == least, np.nan, values))


@pytest.mark.slow
def test_a_fill_value_that_an_attribute_marks_as_missing_need_not_be_stored(tmp_path):
    values = (VALUES % 100).astype(np.uint16)
    values[..., 1] = 65535
    store = store_counts(tmp_path, values, {"_FillValue": 65535}, chunks=(*SHAPE[:4], 1), fill_value=65535)
    counts = open_counts(store)
    assert counts.n_absent_chunks == 0
    np.testing.assert_array_equal(np.isnan(assemble(counts, [0, 1, 2])), values == 65535)


def test_packing_is_applied_after_the_markers(tmp_path):
    values = (VALUES % 100).astype(np.int16)
    values[0, 0, 0, 0, :] = -5, 7, -(2**15)
    store = store_counts(tmp_path, values, {"_FillValue": -5, "scale_factor": 0.5, "add_offset": 100.0})
    expected = values * 0.5 + 100.0
    expected[0, 0, 0, 0, [0, 2]] = np.nan
    np.testing.assert_array_equal(assemble(open_counts(store), [0, 1, 2]), expected)


@pytest.mark.parametrize(
    "attributes", [{"scale_factor": 0}, {"scale_factor": None}, {"add_offset": "4"}, {"_FillValue": 1.5}, {"BZERO": 1}]
)
def test_attributes_that_cannot_be_applied_are_refused(tmp_path, attributes):
    (name,) = attributes
    with pytest.raises(LayoutError, match=f"g/data_5d: attribute {name}"):
        open_counts(store_counts(tmp_path, attributes=attributes))


@pytest.mark.parametrize(
    "options",
    [
        {"serializer": BytesCodec(endian="big")},
        {"filters": [TransposeCodec(order=(4, 2, 0, 1, 3))]},
        {
            "compressors": [BloscCodec(cname="zstd", shuffle="shuffle")],
            "filters": [TransposeCodec(order=(1, 0, 2, 3, 4))],
        },
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "uint16", "float16", "float64"])
def test_other_orders_in_memory_are_read(tmp_path, options, dtype):
    values = VALUES.astype(dtype)
    read = assemble(open_counts(store_counts(tmp_path, values, **options)), [0, 1, 2])
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize("dtype", ["bool", "complex128", "datetime64[s]", [("a", "<i4"), ("b", "<f4")]])
@pytest.mark.filterwarnings("ignore:The data type")
def test_what_holds_no_numbers_is_refused(tmp_path, dtype):
    zarr.create_array(tmp_path / "s.zarr", name="g/data_5d", shape=SHAPE, dtype=dtype)
    with pytest.raises(
        LayoutError, match=r"g/data_5d .*(expected the 5 axes .* of integers or floats|cannot be opened)"
    ):
        open_counts(tmp_path / "s.zarr")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "lz77"}]}, "lz77"),
        ({"storage_transformers": [{"name": "scramble"}]}, "storage_transformers"),
        ({"scramble": {"must_understand": True}}, "scramble"),
        ({"chunk_grid": {"name": "rectilinear", "configuration": {"chunk_shape": [5, 2, 2, 1, 3]}}}, "rectilinear"),
        ({"chunk_key_encoding": {"name": "hashed"}}, "hashed"),
        ({"fill_value": 2**40}, "fill_value is 1099511627776"),
        ({"fill_value": None}, "fill_value is None"),
        ({"data_type": "int4"}, "int4"),
    ],
)
def test_metadata_that_a_reader_must_understand_are_refused(tmp_path, change, words):
    store = store_counts(tmp_path)
    path = store / "g/data_5d/zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(LayoutError, match=rf"g/data_5d cannot be opened as an array.*{words}"):
        open_counts(store)


def test_metadata_that_need_not_be_understood_are_passed_over(tmp_path):
    store = store_counts(tmp_path)
    path = store / "g/data_5d/zarr.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"note": {"must_understand": False}}))
    np.testing.assert_array_equal(assemble(open_counts(store), [0, 1, 2]), VALUES)


def test_remote_shards_are_read_by_parts(tmp_path):
    store, expected = shard_counts(tmp_path)
    memory = MemoryStore()
    for path in store.rglob("*"):
        if path.is_file():
            RemoteStorePath(memory, "memory").put(str(path.relative_to(store)), path.read_bytes())
    root = RemoteStorePath(memory, "memory")
    counts = Counts(root, "g/data_5d", StageClock())
    assert counts.n_absent_chunks == 2
    np.testing.assert_array_equal(assemble(counts, [0, 1, 2]), expected)
    root.put("k", b"0123456789")
    assert (root.get_part("k", -3, 3), root.get_part("k", 2, 3), root.get_part("no", 0, 1)) == (b"789", b"234", None)


def test_a_server_that_sends_the_whole_instead_of_a_part(tmp_path):
    class Whole(MemoryStore):
        async def get(self, key, prototype, byte_range=None):
            return await super().get(key, prototype)

    root = RemoteStorePath(Whole(), "memory")
    root.put("k", b"0123456789")
    assert (root.get_part("k", -3, 3), root.get_part("k", 2, 3)) == (b"789", b"234")


def test_parts_of_files(tmp_path):
    root = LocalStorePath(tmp_path)
    root.put("k", b"0123456789")
    assert (root.get_part("k", -3, 3), root.get_part("k", 8, 5), root.get_part("k", -20, 20)) == (
        b"789",
        b"89",
        b"0123456789",
    )
    assert root.get_part("no", 0, 1) is None
