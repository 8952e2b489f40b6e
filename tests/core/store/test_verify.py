"""What is written is compared with what is read back, down to the last bit."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cal_pipeline import CalibratedSession
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.core.store.arrays import create_writer, open_reader
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.verify import WitnessedStorePath
from cal_pipeline.errors import ReadBackError

ARRAYS = {
    "float64": np.array([[1.5, -0.0, np.nan, 3.0], [np.inf, 1e-300, 2.0, 4.0], [5.0, 6.0, 7.0, 8.0]]),
    "float32": np.linspace(0.0, 1.0, 12, dtype=np.float32).reshape(3, 4),
    "uint16": np.arange(12, dtype=np.uint16).reshape(3, 4),
    "float16": np.arange(12, dtype=np.float16).reshape(3, 4),
    "str": np.array([["a", "bc", "", "é"]] * 3, object),
}


def write(root, path, kind):
    group = WitnessedStorePath(root)
    write_group(group.child("g"), "", {"x": 1})
    writer = create_writer(group.child("g"), path, (3, 4), (2, 4), kind, ("a", "b"), {})
    writer.write(ARRAYS[kind])
    return group


@pytest.fixture(params=["local", "memory"])
def root(request, tmp_path):
    if request.param == "local":
        return LocalStorePath(tmp_path / "s.zarr")
    store = open_store("memory://verify.zarr", write=True)
    store.remove()
    return store


@pytest.mark.parametrize("kind", ARRAYS)
def test_what_is_read_back_as_written_passes(root, kind):
    write(root, "x", kind).verify()
    np.testing.assert_array_equal(open_reader(root, "g/x").read(), ARRAYS[kind])


@pytest.mark.parametrize("kind", ["float64", "uint16"])
def test_other_values_are_noticed_though_they_decode(root, kind):
    group = write(root, "x", kind)
    values = ARRAYS[kind].copy()
    values[2, 3] = 9
    create_writer(root, "g/x", (3, 4), (2, 4), kind, ("a", "b"), {}).write(values)
    with pytest.raises(ReadBackError, match=r"g/x/c\.1\.0 reads back differently"):
        group.verify()


def test_a_bit_that_is_flipped_is_noticed(root):
    group = write(root, "x", "float64")
    data = bytearray(root.get("g/x/c.0.0"))
    data[-1] ^= 1
    root.put("g/x/c.0.0", bytes(data))
    with pytest.raises(ReadBackError, match=r"g/x/c\.0\.0 does not read back: .*expected the chunk of g/x"):
        group.verify()


@pytest.mark.parametrize(("key", "words"), [("g/zarr.json", "is gone"), ("g/x/zarr.json", "is gone")])
def test_lost_metadata_are_noticed(root, key, words):
    group = write(root, "x", "uint16")
    root.delete(key)
    with pytest.raises(ReadBackError, match=f"{key} {words}"):
        group.verify()


def test_changed_metadata_are_noticed(root):
    group = write(root, "x", "uint16")
    root.put("g/zarr.json", root.get("g/zarr.json") + b" ")
    with pytest.raises(ReadBackError, match=r"g/zarr\.json reads back differently"):
        group.verify()


def test_chunks_that_are_alike_are_noted_each(root):
    group = WitnessedStorePath(root)
    writer = create_writer(group, "x", (4,), (2,), "uint16", ("a",), {})
    writer.write_zeros((0,))
    writer.write_alike((1,), "key", np.ones(2, np.uint16))
    group.verify()
    root.put("x/c.1", root.get("x/c.0"))
    with pytest.raises(ReadBackError, match=r"x/c\.1 reads back differently"):
        group.verify()


@pytest.mark.slow
@pytest.mark.parametrize("array", ["spectra", "pwv", "skydiff/spectrum_0"])
def test_a_disk_that_lies_fails_the_scan_by_name(make_session, calibrate, monkeypatch, tmp_path, array):
    session = make_session(channels=16, scans=2)
    put = LocalStorePath.put

    def lie(self, key, *data):
        if "scan_000002" in self.name and f"{self.name}/{key}".rpartition("/c")[0].endswith(f"/{array}"):
            # An older chunk of the same kind: it decodes.
            data = put_before.get(key, data)
        elif "scan_000001" in self.name or array != "skydiff/spectrum_0":
            put_before[key] = data
        put(self, key, *data)

    put_before = {}
    monkeypatch.setattr(LocalStorePath, "put", lie)
    if array == "skydiff/spectrum_0":
        put_before["skydiff/spectrum_0/c.0.0.0"] = _encoded(tmp_path, (16, 2, 1))
    with pytest.raises(RunFailedError):
        calibrate(session, verify=True, skydiff={"skip": False})
    monkeypatch.undo()
    product = CalibratedSession(tmp_path / "l1.zarr")
    assert product.numbers == [1]
    (failure,) = json.loads((product.path / "failures.json").read_text())
    assert (failure["scan_number"], failure["step"], failure["error_class"]) == (2, "write", "ReadBackError")
    assert f"scan_000002/{array}/c" in failure["message"]


def _encoded(folder, shape):
    """Bytes of a chunk of zeros."""
    store = LocalStorePath(folder / "zeros.zarr")
    create_writer(store, "x", shape, shape, "float64", ("a", "b", "c"), {}).write(np.zeros(shape))
    return [store.get("x/c.0.0.0")]


@pytest.mark.slow
def test_a_verified_product_is_the_same(make_session, calibrate):
    session = make_session(channels=16)
    one, two = calibrate(session, "one.zarr"), calibrate(session, "two.zarr", verify=True)
    for path in (two.path / "scan_000001").rglob("c*"):
        assert path.read_bytes() == (one.path / path.relative_to(two.path)).read_bytes()
