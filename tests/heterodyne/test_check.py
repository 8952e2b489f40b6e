"""The command ``check``: each kind of damage is found by name, whole stores are silent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from helpers_atm import under_one_layer
from helpers_l0 import FILL, write_array, write_group, write_scan
from zarr.codecs import ZstdCodec

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli.calibrate import main
from cal_pipeline.core.store.check import find_infinite
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.check import check_store
from cal_pipeline.simulate import preset, simulate


def edit(path: Path, change) -> None:
    """Change a JSON file in place; a document that `change` returns takes the place of the old one."""
    document = json.loads(path.read_text())
    changed = change(document)
    path.write_text(json.dumps(document if changed is None else changed))


def lines_of(store: Path, **options) -> list[str]:
    return [str(finding).removeprefix(f"{store}/") for finding in check_store(store, **options).findings]


@pytest.fixture
def session(tmp_path):
    store = tmp_path / "session.zarr"
    write_scan(store, 1)
    write_scan(store, 2)
    return store


def array(store: Path, name: str) -> Path:
    return store / "scan_000001" / name


def set_attribute(name: str, key: str, value):
    return lambda store: edit(array(store, name) / "zarr.json", lambda d: d["attributes"].update({key: value}))


def rewrite(name: str, values):
    """Write an array of scan 1 anew."""

    def change(store):
        group, _, key = name.rpartition("/")
        shutil.rmtree(array(store, name), ignore_errors=True)
        write_array(zarr.open_group(store, mode="a")[f"scan_000001/{group}"], key, values)

    return change


def write_bytes(name: str, content: bytes):
    def change(store):
        path = array(store, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    return change


def flip(name: str):
    """Flip a bit in the middle of a file."""

    def change(store):
        path = array(store, name)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)

    return change


DAMAGED_L0 = {
    "a chunk of the counts is absent": (
        lambda s: array(s, "source/data_5d/c/0/0/0/0/0").unlink(),
        ["scan_000001/source/data_5d, chunk c/0/0/0/0/0: found no such chunk"],
    ),
    "a chunk of a coordinate is absent": (
        lambda s: array(s, "source/mjd/c/0").unlink(),
        ["scan_000001/source/mjd, chunk c/0: found no such chunk"],
    ),
    "a chunk is cut off": (
        lambda s: array(s, "source/mjd/c/0").write_bytes(b"123"),
        ["scan_000001/source/mjd, chunk c/0: found ValueError"],
    ),
    "text does not decode": (
        write_bytes("source/sobsmode/c/0", b"\1\0\0\0"),
        ["scan_000001/source/sobsmode, chunk c/0: found ValueError"],
    ),
    "metadata are no JSON": (
        write_bytes("source/mjd/zarr.json", b"{"),
        ["scan_000001/source/mjd: found JSONDecodeError"],
    ),
    "metadata are absent": (
        lambda s: array(s, "source/mjd/zarr.json").unlink(),
        ["scan_000001/source/mjd: found no zarr.json beside 1 object"],
    ),
    "the scan lacks its metadata": (
        lambda s: array(s, "zarr.json").unlink(),
        ["scan_000001: found no zarr.json"],
    ),
    "an array is absent": (
        lambda s: shutil.rmtree(array(s, "calibration/thot")),
        ["scan_000001/calibration/thot: found no such array"],
    ),
    "the counts are absent": (
        lambda s: shutil.rmtree(array(s, "source/data_5d")),
        ["scan_000001/source/data_5d: found no such array"],
    ),
    "an array has another shape": (
        rewrite("source/exptime", np.ones(3)),
        ["scan_000001/source/exptime: found shape (3,), expected (4,)"],
    ),
    "an array is of text": (
        rewrite("source/exptime", ["a", "b", "c", "d"]),
        ["scan_000001/source/exptime: found type string, expected numbers (s)"],
    ),
    "the counts have four axes": (
        rewrite("source/data_5d", np.ones((4, 2, 2, 1), np.int32)),
        ["scan_000001/source/data_5d: found 4 axes of type int32, expected the 5 axes"],
    ),
    "times have 32 bits": (
        rewrite("source/mjd", np.full(4, 60000.0, np.float32)),
        ["scan_000001/source/mjd: found type float32, expected float64"],
    ),
    "a unit that does not convert": (
        set_attribute("source/tamb", "units", "m"),
        ["scan_000001/source/tamb: found attribute units is 'm', expected K"],
    ),
    "a phase that is unknown": (
        rewrite("source/sobsmode", ["OFF", "ON", "DANCE", "OFF"]),
        ["scan_000001/source/sobsmode: found phase 'DANCE' of subscans 2, expected"],
    ),
    "no OFF": (
        rewrite("source/sobsmode", ["ON", "ON", "ON", "ON"]),
        ["scan_000001/source/sobsmode: found 4 ON and 0 OFF, expected at least one of each"],
    ),
    "a load of unknown phase": (
        rewrite("calibration/sobsmode", ["HOT", "TEPID"]),
        ["scan_000001/calibration/sobsmode: found phase 'TEPID' of subscans 1, expected HOT"],
    ),
    "a value beyond the limits": (
        rewrite("source/elevation", np.full(4, 45.0)),
        ["scan_000001/source/elevation: found of subscans [0, 1, 2, 3] is [45.0, 45.0, 45.0, 45.0] rad"],
    ),
    "a load of 20 degrees": (
        rewrite("calibration/thot", np.full(2, 20.0, np.float32)),
        ["scan_000001/calibration/thot: found [20.0] K, expected temperatures above 80 K"],
    ),
    "infinity": (
        rewrite("source/azimuth", np.array([0.0, np.inf, 0.0, np.inf])),
        ["scan_000001/source/azimuth, chunk c/0: found infinite 2 of 4 samples, the first at [1], expected finite"],
    ),
    "an attribute that is not finite": (
        lambda s: edit(array(s, "zarr.json"), lambda d: d["attributes"].update(rest_freq_hz=float("inf"))),
        ["scan_000001: found attribute rest_freq_hz = inf, expected a finite number"],
    ),
    "an attribute of another type": (
        lambda s: edit(array(s, "zarr.json"), lambda d: d["attributes"].update(telescope=3)),
        ["scan_000001: found attribute telescope = 3, expected text"],
    ),
    "another number": (
        lambda s: edit(array(s, "zarr.json"), lambda d: d["attributes"].update(scan_number=7)),
        ["scan_000001: found attribute scan_number = 7, expected 1"],
    ),
    "axes in another order": (
        lambda s: edit(
            array(s, "source/data_5d/zarr.json"),
            lambda d: d.update(dimension_names=["dump", "channel", "receiver", "array", "subscan"]),
        ),
        ["scan_000001/source/data_5d: found dimension_names are dump, channel"],
    ),
    "an array that is unknown": (
        rewrite("source/thott", np.ones(4)),
        ["scan_000001/source/thott: found an array that L0 does not have"],
    ),
    "a file": (
        write_bytes("notes.txt", b"moon"),
        ["scan_000001/notes.txt: found a file that is no part of an array or group"],
    ),
    "a chunk beyond the shape": (
        write_bytes("source/mjd/c/1", b"12345678" * 4),
        ["scan_000001/source/mjd/c/1: found an object that is no chunk of its array"],
    ),
    "too few pixels": (
        rewrite("source/frontend_backends", ["A", "B", "C", "D"]),
        ["scan_000001/source: found frontend_backends names 4 pixels"],
    ),
    "source beside bands": (
        lambda s: write_scan(s, 1, source=False, calibration={}, band="band_1"),
        ["scan_000001: found source beside groups band_B", "scan_000001/source"],
    ),
    "a scan that is a file": (
        lambda s: (s / "scan_000009").write_text(""),
        ["scan_000009: found no zarr.json"],
    ),
    "a scan that is an empty folder": (
        lambda s: (s / "scan_000009").mkdir(),
        ["scan_000009: found no zarr.json"],
    ),
    "a name that is no scan": (
        lambda s: shutil.copytree(s / "scan_000002", s / "scan_000002 (copy)"),
        ["scan_000002 (copy): found a member that no L0 session has"],
    ),
    "digits of another script": (
        lambda s: (s / "scan_00000\u0661").mkdir(),
        ["scan_00000\u0661: found a member that no L0 session has"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", DAMAGED_L0)
def test_damage_of_a_session_is_named(session, kind):
    damage, expected = DAMAGED_L0[kind]
    damage(session)
    lines = lines_of(session)
    assert lines
    for words in expected:
        assert any(line.startswith(words) for line in lines), lines
    others = [line for line in lines if not any(line.startswith(words) for words in expected)]
    assert kind == "source beside bands" or not others


@pytest.mark.slow
def test_a_whole_session_is_silent(session, make_session, capsys):
    assert main(["check", str(session)]) == 0
    assert capsys.readouterr().out == f"{session}: L0 session, 2 scans, 56 arrays, 56 chunks: no fault\n"
    for mode in ("otf", "otf_chopped", "total_power"):
        assert lines_of(make_session(f"{mode}.zarr", mode=mode, channels=16)) == []


def test_the_root_of_a_session_is_damaged(session):
    (session / "zarr.json").write_text("{")
    assert [line.partition(": ")[2][:16] for line in lines_of(session)] == ["found zarr.json "]
    (session / "zarr.json").unlink()
    (session / "zarr.json").mkdir()
    assert len(lines_of(session)) == 1


def test_one_scan_alone(session):
    array(session, "source/mjd/c/0").unlink()
    assert lines_of(session, scans=[2]) == []
    assert len(lines_of(session, scans=[1])) == 1
    with pytest.raises(StoreError, match="has no scan 3; it has 1, 2"):
        check_store(session, [3])


def test_arrays_of_zeros_need_no_chunks_where_zero_is_a_value(session, capsys):
    for name in ("freq_off", "ref_channel"):
        for group in ("source", "calibration"):
            edit(array(session, f"{group}/{name}/zarr.json"), lambda d: d.update(fill_value=0.0))
            array(session, f"{group}/{name}/c/0").unlink()
    assert lines_of(session) == []
    assert main(["check", str(session)]) == 0
    *notes, _ = capsys.readouterr().out.splitlines()
    assert len(notes) == 4
    where = f"note: {session}/scan_000001/source/freq_off"
    assert f"{where}: found no chunk in the store, so that all values are 0.0, expected chunks, or just this" in notes


@pytest.mark.slow
def test_chunks_and_shards_are_named(tmp_path):
    store = tmp_path / "session.zarr"
    source = write_scan(store, 1)["source"]
    values = np.arange(16, dtype=np.int32).reshape(4, 2, 2, 1, 1) * np.ones((1, 1, 1, 1, 4), np.int32)
    shutil.rmtree(array(store, "source/data_5d"))
    created = source.create_array(
        "data_5d",
        shape=values.shape,
        dtype="int32",
        chunks=(1, 2, 2, 1, 1),
        shards=(2, 2, 2, 1, 4),
        fill_value=FILL,
        compressors=ZstdCodec(checksum=True),
    )
    values[1, :, :, :, 2] = FILL
    created[...] = values
    assert lines_of(store) == [
        "scan_000001/source/data_5d, chunk c/0/0/0/0/0[1,0,0,0,2]: found no such chunk in its shard, "
        "expected every chunk"
    ]
    flip("source/data_5d/c/1/0/0/0/0")(store)
    assert any("data_5d, chunk c/1/0/0/0/0" in line for line in lines_of(store))
    path = array(store, "source/data_5d/c/1/0/0/0/0")
    path.write_bytes(path.read_bytes()[:-9])
    assert any("chunk c/1/0/0/0/0: found the checksum of the index" in line for line in lines_of(store))


@pytest.mark.slow
def test_a_zip_file_and_json(session, capsys):
    array(session, "source/mjd/c/0").unlink()
    packed = shutil.make_archive(str(session), "zip", session)
    assert main(["check", packed, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["whole"], found["scans"], found["arrays"]) == ("L0 session", False, 2, 56)
    assert found["findings"] == [
        {
            "store": packed,
            "scan": 1,
            "array": "scan_000001/source/mjd",
            "chunk": "c/0",
            "found": "no such chunk in the store",
            "expected": "every chunk",
        }
    ]


@pytest.mark.parametrize("what", ["nothing", "folder", "file"])
def test_other_things_are_refused_by_their_name(tmp_path, what, capsys):
    path = tmp_path / what
    if what == "folder":
        path.mkdir()
    elif what == "file":
        path.write_text("x")
    assert main(["check", str(path)]) == 1
    text = capsys.readouterr().err
    assert text.startswith(f"calibrate: {path} is ")
    assert "expected an L0 session or an L1 store" in text


def test_names_cannot_move_the_cursor(session, capsys):
    (session / "scan_\x1b[31m\n").mkdir()
    assert main(["check", str(session)]) == 1
    first, _ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{session}/scan_\\x1b[31m\\n: found a member")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, atm_table):
    folder = tmp_path_factory.mktemp("check")
    config = preset("ccat_chai", channels=32, pixels=2, mode="otf_chopped", table=str(atm_table), scans=2)
    simulate(under_one_layer(config), folder / "session.zarr")
    steps = {"dbs": {"skip": False}, "skychopdiff": {"skip": False}, "skydiff": {"skip": False, "n": 1}}
    steps["atmosphere"] = {"override_atm": str(atm_table)}
    CalibrationPipeline.call(
        str(folder / "session.zarr"), output_file=str(folder / "l1.zarr"), steps=steps, configure_log=False
    )
    return folder / "l1.zarr"


class TestL1:
    """Damage of an L1 store that the pipeline made."""

    @pytest.fixture
    def product(self, whole, tmp_path):
        return Path(shutil.copytree(whole, tmp_path / "l1.zarr"))

    def test_a_whole_product_is_silent(self, whole, capsys):
        assert main(["check", str(whole)]) == 0
        assert ": L1 store, 2 scans, " in capsys.readouterr().out

    DAMAGE = {
        "a flipped bit": (flip("spectra/c.0.0.0.0.1"), ["scan_000001/spectra, chunk c.0.0.0.0.1: found "]),
        "a flipped bit of flags": (flip("flags/c.0.0.0.0.1"), ["scan_000001/flags, chunk c.0.0.0.0.1: found "]),
        "an absent chunk": (
            lambda s: array(s, "t_sys/c.0.0.0.0").unlink(),
            ["scan_000001/t_sys, chunk c.0.0.0.0: found no such chunk"],
        ),
        "an absent array": (
            lambda s: shutil.rmtree(array(s, "sigma")),
            ["scan_000001/sigma: found no such array"],
        ),
        "an unknown array": (
            lambda s: shutil.copytree(array(s, "gamma"), array(s, "gamma2")),
            ["scan_000001/gamma2: found an array that L1 does not have"],
        ),
        "another unit": (
            set_attribute("t_sys", "units", "mK"),
            ["scan_000001/t_sys: found attribute units = 'mK', expected 'K'"],
        ),
        "an unknown attribute": (
            set_attribute("t_sys", "_FillValue", 0),
            ["scan_000001/t_sys: found attribute _FillValue, which L1 does not have"],
        ),
        "other axes": (
            lambda s: edit(
                array(s, "gamma/zarr.json"), lambda d: d.update(dimension_names=["chan", "receiver", "array"])
            ),
            ["scan_000001/gamma: found dimension_names [chan, receiver, array] of 3 axes"],
        ),
        "no axes": (
            lambda s: edit(array(s, "gamma/zarr.json"), lambda d: d.pop("dimension_names") and None),
            ["scan_000001/gamma: found dimension_names [] of 3 axes"],
        ),
        "an attribute that is NaN": (
            lambda s: edit(array(s, "zarr.json"), lambda d: d["attributes"]["qa"].update(x=[float("nan")])),
            ["scan_000001: found attribute qa.x.0 = nan"],
        ),
        "an absent attribute": (
            lambda s: edit(array(s, "zarr.json"), lambda d: d["attributes"].pop("pwv_mm") and None),
            ["scan_000001: found no attribute pwv_mm"],
        ),
        "an attribute of another type": (
            lambda s: edit(array(s, "zarr.json"), lambda d: d["attributes"].update(qa="pass")),
            ["scan_000001: found attribute qa = 'pass', expected a mapping"],
        ),
        "failed and there": (
            lambda s: (s / "failures.json").write_text(
                '[{"scan_number": 1, "step": "", "error_class": "", "message": ""}]'
            ),
            ["failures.json: found scan 1, which is in the store"],
        ),
        "no run.json": (lambda s: (s / "run.json").unlink(), ["run.json: found no such file"]),
        "no failures.json": (lambda s: (s / "failures.json").unlink(), ["failures.json: found no such file"]),
        "failures that are no list": (
            lambda s: (s / "failures.json").write_text("{}"),
            ["failures.json: found {}, expected a list"],
        ),
        "an interrupted run": (
            lambda s: (s / "run.json").write_text(
                '{"state": "running", "scans": {"asked": 2, "done": 2, "failed": 0}}'
            ),
            ["run.json: found state 'running': the run did not end"],
        ),
        "a record that counts otherwise": (
            lambda s: (s / "run.json").write_text(
                '{"state": "finished", "scans": {"asked": 3, "done": 3, "failed": 0}}'
            ),
            ["run.json: found 2 scans in the store and 0 in failures.json, expected 3 and 0"],
        ),
        "a record without numbers": (
            lambda s: (s / "run.json").write_text('{"state": "finished", "scans": {"asked": "3"}}'),
            ["run.json: found scans {'asked': '3'}, expected numbers"],
        ),
        "a record of signals": (
            lambda s: (s / "run.json").write_text(
                '{"state": "interrupted", "scans": {"asked": 2, "done": 2, "failed": 0}}'
            ),
            ["run.json: found state 'interrupted': the run was interrupted"],
        ),
        "a stranger": (lambda s: (s / "thesis.txt").write_text(""), ["thesis.txt: found a member that no L1 store"]),
        "another version": (
            lambda s: edit(s / "zarr.json", lambda d: d["attributes"].update(cal_schema_version="0.9")),
            [": found attribute cal_schema_version = '0.9'"],
        ),
        "an unknown group": (
            lambda s: shutil.copytree(array(s, "skychopdiff"), array(s, "sky")),
            ["scan_000001/sky: found a group that L1 does not have", "scan_000001/sky/"],
        ),
    }

    @pytest.mark.slow
    @pytest.mark.parametrize("kind", DAMAGE)
    def test_damage_is_named(self, product, kind):
        damage, expected = self.DAMAGE[kind]
        damage(product)
        lines = [line.removeprefix(str(product)) for line in lines_of(product)]
        for words in expected:
            assert any(line.startswith(words) for line in lines), lines
        assert [line for line in lines if not any(line.startswith(words) for words in expected)] == []

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("spectra", np.nan, "NaN or infinity flagged good (0) in 1 of 256 samples, the first at [5, 1, 0, 0, 2]"),
            ("spectra", np.inf, "NaN or infinity flagged good (0) in 1 of 256 samples"),
            ("flags", 1, "a number flagged BAD_CHANNEL or FILL_VALUE in 1 of 256 samples"),
            ("flags", 4096 + 8, "unknown bits 4096 in 1 of 256 samples, the first at [5, 1, 0, 0, 2]"),
        ],
    )
    def test_samples_that_contradict_their_flags(self, product, name, value, words):
        opened = zarr.open_array(product / "scan_000001" / name, mode="r+")
        opened[5, 1, 0, 0, 2] = value
        (line,) = lines_of(product)
        assert line.startswith("scan_000001/spectra, chunk c.0.0.0.0.2" if value != 4104 else "scan_000001/flags, ")
        assert words in line

    def test_arrays_of_other_shapes_and_types(self, product):
        group = zarr.open_group(product / "scan_000001", mode="r+")
        attributes = dict(group["gamma"].attrs)
        axes = ["channel", "receiver", "array"]
        group.create_array(
            "gamma", data=np.ones((16, 2, 1), np.float32), overwrite=True, attributes=attributes, dimension_names=axes
        )
        assert sorted(line.removeprefix("scan_000001/gamma: found ") for line in lines_of(product)) == [
            "fill_value 0.0, expected NaN",
            "shape (16, 2, 1), expected 32 along channel, as spectra has",
            "type float32, expected float64",
        ]


def test_what_a_group_needs_of_others(tmp_path):
    store = tmp_path / "session.zarr"
    write_scan(store, 2)
    scan = zarr.open_group(store, mode="a").create_group("scan_000001", attributes={"scan_number": 1})
    assert lines_of(store) == [
        "scan_000001: found neither source nor calibration, expected at least one of these groups"
    ]
    write_group(scan.create_group("extra"), np.ones((2, 1, 1, 1, 1), np.int32), ["ON"])
    assert any(line.startswith("scan_000001/extra: found a group") for line in lines_of(store))


def test_inner_attributes():
    assert list(find_infinite({"a": [{"b": float("-inf")}], "c": "inf", "d": 1})) == [("a.0.b", float("-inf"))]
