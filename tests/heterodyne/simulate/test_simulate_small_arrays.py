"""Small arrays of simulated stores are those that zarr-python writes, byte by byte."""

from __future__ import annotations

import json

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec

from cal_pipeline.heterodyne.simulate.one_chunk import write_small_array

VALUES = {
    "times": (np.linspace(60000.0, 60001.0, 7), ("subscan",)),
    "temperatures": (np.full((3, 2), 268.5, np.float32), ("x", "y")),
    "big-endian": (np.arange(5.0, dtype=">f8"), ("x",)),
    "numbers": (np.arange(-3, 3, dtype=np.int32).reshape(1, 2, 3), ("x", "y", "z")),
    "bytes": (np.array([-1, 5], np.int8), ("x",)),
    "flags": (np.array([True, False]), ("x",)),
    "one": (np.array(3.5), ()),
    "text": (np.array(["ON", "", "η Car"], object), ("x",)),
    "a table": (np.array([["a", "b"], ["cc", "d"]], object), ("x", "y")),
}


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("name", VALUES)
def test_files_are_those_of_zarr(tmp_path, name, level):
    values, dims = VALUES[name]
    root = zarr.open_group(tmp_path / "a.zarr", mode="w-", zarr_format=3)
    ours, theirs = root.create_group("ours/x"), root.create_group("theirs/x")
    write_small_array(ours, name, values, dims, level, checksum=level > 0)
    array = theirs.create_array(
        name,
        shape=values.shape,
        dtype=str if values.dtype == object else values.dtype.newbyteorder("<"),
        chunks=values.shape,
        compressors=ZstdCodec(level=level, checksum=level > 0),
        dimension_names=dims,
        config={"write_empty_chunks": True},
    )
    array[...] = values
    folder = tmp_path / "a.zarr" / "theirs/x" / name
    made = [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]
    assert len(made) == 2
    for path in made:
        found, expected = (tmp_path / "a.zarr" / of / "x" / name / path for of in ("ours", "theirs"))
        if path.name == "zarr.json":
            assert json.loads(found.read_text()).keys() >= json.loads(expected.read_text()).keys()
        else:
            assert found.read_bytes() == expected.read_bytes()
    # Releases of zarr-python write some of it in other words.
    assert root[f"ours/x/{name}"].metadata == root[f"theirs/x/{name}"].metadata
    assert root[f"ours/x/{name}"][...].tolist() == values.tolist()
