"""Arrays straight through their codecs are what zarr-python reads and writes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ZstdCodec

from cal_pipeline.core.store.arrays import create_writer, open_reader
from cal_pipeline.core.store.direct import DirectReader
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import read_group_attributes, write_group
from cal_pipeline.errors import LayoutError

SHAPE = (7, 3, 4)
CODECS = {
    "none": None,
    "zstd": ZstdCodec(level=3, checksum=True),
    "gzip": GzipCodec(level=2),
    "blosc": BloscCodec(cname="lz4", shuffle="bitshuffle"),
    "zstd and crc": (ZstdCodec(), Crc32cCodec()),
}


@pytest.mark.slow
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint16", "float32", "float64"])
def test_what_zarr_writes_is_read(tmp_path, codec, dtype):
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(dtype)
    array = zarr.create_array(tmp_path, name="g/a", shape=SHAPE, chunks=(3, 2, 4), dtype=dtype, compressors=codec)
    array[...] = values
    found = open_reader(LocalStorePath(tmp_path), "g/a")
    assert (found.shape, found.chunks, found.dtype) == (SHAPE, (3, 2, 4), np.dtype(dtype))
    assert isinstance(found, DirectReader), "this chain of codecs must not need zarr"
    np.testing.assert_array_equal(found.read(), values)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"shards": (6, 2, 4)},
        {"serializer": BytesCodec(endian="big")},
        {"filters": None, "compressors": None, "chunk_key_encoding": {"name": "v2", "separator": "."}},
        {"chunk_key_encoding": {"name": "default", "separator": "."}},
    ],
)
def test_other_layouts_are_read_too(tmp_path, options):
    values = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)
    array = zarr.create_array(tmp_path, name="a", shape=SHAPE, chunks=(3, 2, 4), dtype="int32", **options)
    array[...] = values
    found = open_reader(LocalStorePath(tmp_path), "a")
    np.testing.assert_array_equal(found.read(), values)
    np.testing.assert_array_equal(found.read((slice(2, 5), slice(None), slice(1, 2))), values[2:5, :, 1:2])
    assert found.has_chunk((0, 0, 0))


def test_text_is_read_as_written(tmp_path):
    texts = np.array(["ON", "OFF", "ä"], object)
    array = zarr.create_array(tmp_path, name="a", shape=(3,), chunks=(2,), dtype=str)
    array[...] = texts
    assert open_reader(LocalStorePath(tmp_path), "a").read().tolist() == texts.tolist()


@pytest.mark.parametrize(
    ("fill", "dtype"), [(0, "int32"), (-(2**31), "int32"), (np.nan, "float64"), (np.inf, "float32")]
)
def test_a_chunk_that_is_not_stored_is_the_fill_value(tmp_path, fill, dtype):
    array = zarr.create_array(tmp_path, name="a", shape=(4,), chunks=(2,), dtype=dtype, fill_value=fill)
    array[:2] = 5
    found = open_reader(LocalStorePath(tmp_path), "a")
    np.testing.assert_array_equal(found.read(), np.array([5, 5, fill, fill]).astype(dtype))
    assert [found.has_chunk((k,)) for k in (0, 1)] == [True, False]


@pytest.mark.slow
@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_any_part(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("a")
    values = np.arange(np.prod(SHAPE), dtype=np.int32).reshape(SHAPE)
    chunks = tuple(data.draw(st.integers(1, n)) for n in SHAPE)
    zarr.create_array(folder, name="a", shape=SHAPE, chunks=chunks, dtype="int32")[...] = values
    part = []
    for n in SHAPE:
        start = data.draw(st.integers(0, n - 1))
        part.append(slice(start, data.draw(st.integers(start + 1, n))))
    np.testing.assert_array_equal(open_reader(LocalStorePath(folder), "a").read(tuple(part)), values[tuple(part)])


@pytest.mark.parametrize("dtype", ["float64", "float32", "uint16", "int64", "str"])
def test_what_is_written_zarr_reads(tmp_path, dtype):
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(object if dtype == "str" else dtype)
    values = values.astype(str).astype(object) if dtype == "str" else values
    writer = create_writer(LocalStorePath(tmp_path), "a", SHAPE, (3, 2, 4), dtype, ("x", "y", "z"), {"units": "K"})
    writer.write(values)
    assert writer.n_chunks == 6
    array = zarr.open_array(tmp_path, path="a", mode="r")
    assert array[...].tolist() == values.tolist()
    assert array.metadata.dimension_names == ("x", "y", "z")
    assert array.attrs["units"] == "K"
    assert open_reader(LocalStorePath(tmp_path), "a").read().tolist() == values.tolist()


def test_zeros_and_scalars(tmp_path):
    root = LocalStorePath(tmp_path)
    writer = create_writer(root, "a", (4,), (2,), "uint16", ("x",), {})
    for index in writer.indices():
        writer.write_zeros(index)
    create_writer(root, "s", (), (), "float64", (), {}).write(np.array(2.5))
    assert zarr.open_array(tmp_path, path="a", mode="r")[...].tolist() == [0] * 4
    assert zarr.open_array(tmp_path, path="s", mode="r")[...] == 2.5


def open_by_us(folder):
    return open_reader(LocalStorePath(folder), "a").read()


def open_by_zarr(folder):
    return zarr.open_array(folder, path="a", mode="r")[...]


# Floats have a CRC-32C of the whole chunk, integers the checksum of the zstd frame, which leaves out its own header.
@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "silent"), [("float64", 0), ("float32", 0), ("uint16", 1)])
@pytest.mark.parametrize("read", [open_by_us, open_by_zarr])
def test_flipped_bits_are_noticed_or_change_nothing(tmp_path, dtype, silent, read):
    writer = create_writer(LocalStorePath(tmp_path), "a", (500,), (500,), dtype, ("x",), {})
    values = np.random.default_rng(1).normal(300.0, 50.0, size=500).round(2).astype(dtype)
    writer.write(values)
    chunk = tmp_path / "a" / "c.0"
    whole = chunk.read_bytes()
    np.testing.assert_array_equal(read(tmp_path), values)
    # Each bit of the header, and one of each 40th part of the rest.
    flips = [(position, bit) for position in range(12) for bit in range(8)]
    flips += [(position, position % 8) for position in range(12, len(whole), len(whole) // 40)]
    noticed = 0
    for position, bit in flips:
        spoilt = bytearray(whole)
        spoilt[position] ^= 1 << bit
        chunk.write_bytes(bytes(spoilt))
        try:
            found = read(tmp_path)
        except (ValueError, RuntimeError, MemoryError):  # a spoilt header may ask for any memory
            noticed += 1
        else:
            np.testing.assert_array_equal(found, values, err_msg=f"bit {bit} of byte {position}")
    assert noticed >= len(flips) - silent
    assert len(flips) > 130
    chunk.write_bytes(whole)
    np.testing.assert_array_equal(read(tmp_path), values)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m: m.pop("shape"), "KeyError"),
        (lambda m: m.update(data_type="float99"), "cannot be opened"),
        (lambda m: m.update(node_type="group"), "is of type group, expected array"),
    ],
)
def test_metadata_that_make_no_sense(tmp_path, spoil, words):
    zarr.create_array(tmp_path, name="a", shape=(4,), dtype="int32")
    metadata = json.loads((tmp_path / "a" / "zarr.json").read_text())
    spoil(metadata)
    (tmp_path / "a" / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(LayoutError, match=words):
        open_reader(LocalStorePath(tmp_path), "a")


def test_nothing_there_or_no_json(tmp_path):
    with pytest.raises(LayoutError, match=r"no zarr\.json in it"):
        open_reader(LocalStorePath(tmp_path), "a")
    (tmp_path / "zarr.json").write_text("{")
    with pytest.raises(LayoutError, match="cannot be read"):
        read_group_attributes(LocalStorePath(tmp_path), "")


def test_attributes_of_a_group_are_read_as_written(tmp_path):
    write_group(LocalStorePath(tmp_path), "a/b", {"x": [1, None]})
    assert read_group_attributes(LocalStorePath(tmp_path), "a/b") == {"x": [1, None]}
    assert dict(zarr.open_group(tmp_path / "a" / "b", mode="r").attrs) == {"x": [1, None]}


MANY_TIMES = """
import sys
import numpy as np
from numcodecs import blosc
from cal_pipeline.core.store.arrays import create_writer
from cal_pipeline.core.store.codecs import lz4_codecs
from cal_pipeline.core.store.local_path import LocalStorePath

blosc.set_nthreads(8)  # more than there are cores, so that their order would vary
root, chunks = LocalStorePath(sys.argv[1]), set()
values = np.cumsum(np.random.default_rng(1).normal(size=(2048, 200)), axis=0)
for _ in range(40):
    create_writer(root, "a", values.shape, values.shape, "float64", ("x", "y"), {}, lz4_codecs(8)).write(values)
    chunks.add(root.get("a/c.0.0"))
assert "zarr" not in sys.modules
print(len(chunks), None in chunks)
"""


def test_the_same_values_are_the_same_bytes_each_time(tmp_path):
    # In a process of its own, since zarr tells Blosc the same once it is imported.
    done = subprocess.run([sys.executable, "-c", MANY_TIMES, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "False"]
