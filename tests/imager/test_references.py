"""Reference files: the suitable one is chosen, cut to the subarray and read once; others are refused."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor

import asdf
import numpy as np
import pytest

from cal_pipeline.imager import reference_files
from cal_pipeline.imager.dq import DQ
from cal_pipeline.imager.errors import NoReferenceFileError, ReferenceFileError, ReferencesFolderError
from cal_pipeline.imager.reference_files import CONTENTS, read_reference, write_reference
from cal_pipeline.imager.references import choose_reference, find_reference, find_references_folder, list_references

pytestmark = pytest.mark.imager

SHAPE = (6, 4)
EXPOSURE = {"instrument": "IRIS", "detector": "A", "filter": "H", "date_obs": "2026-11-30T02:15:00"}
META = {"instrument": "IRIS", "detector": "A", "useafter": "2026-01-01T00:00:00"}


def content_of(reftype, shape=SHAPE):
    """Make content in which each element tells its place: 100 row + column, both counted from 1."""
    rows, columns = np.mgrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    place = 100.0 * rows + columns
    arrays = {"plane": place, "planes": np.stack([place, -place]), "dq": np.zeros(shape, np.uint32)}
    names = {"data": "plane", "err": "plane", "coeffs": "planes", "dq": "dq"}
    contents = CONTENTS[reftype]
    return {name: arrays[names[name]] for name in contents.axes} | dict.fromkeys(contents.numbers, 0.5)


def write(path, reftype="dark", content=None, **meta):
    write_reference(path, reftype, META | meta, content_of(reftype) if content is None else content)
    return path


def write_raw(path, tree):
    asdf.AsdfFile(tree).write_to(path)
    return path


# The folder


def test_the_parameter_counts_before_the_environment(tmp_path, monkeypatch):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    monkeypatch.delenv("CAL_PIPELINE_REFERENCES", raising=False)
    assert find_references_folder(None) is None
    monkeypatch.setenv("CAL_PIPELINE_REFERENCES", str(two))
    assert (find_references_folder(str(one)), find_references_folder("")) == (one, two)


@pytest.mark.parametrize(("given", "found"), [("nowhere", "no folder"), ("s3://refs", "s3://refs, expected a folder")])
def test_a_folder_that_is_not_there_is_named_with_its_origin(monkeypatch, given, found):
    with pytest.raises(ReferencesFolderError, match=f"^references.*{found}"):
        find_references_folder(given)
    monkeypatch.setenv("CAL_PIPELINE_REFERENCES", given)
    with pytest.raises(ReferencesFolderError, match=f"^CAL_PIPELINE_REFERENCES.*{found}"):
        find_references_folder(None)


# The choice


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([], "base"),
        ([{"reftype": "flat"}], "base"),
        ([{"detector": "B"}], "base"),
        ([{"instrument": "Liger"}], "base"),
        ([{"useafter": "2026-11-30T02:15:00"}], "0"),
        ([{"useafter": "2026-11-30T02:15:01"}], "base"),
        ([{"useafter": "2026-11-30T04:14:59+02:00"}], "0"),
        ([{"useafter": "2026-03-01"}, {"useafter": "2026-02-01"}], "0"),
        ([{"useafter": "2026-03-01", "filter": "K"}], "base"),
        ([{"useafter": "2026-03-01", "filter": "H"}, {"useafter": "2026-02-01"}], "0"),
        ([{"useafter": "2025-03-01", "filter": "H"}], "base"),
    ],
)
def test_the_latest_suitable_file_is_chosen(tmp_path, others, chosen):
    write(tmp_path / "base.asdf")
    for index, meta in enumerate(others):
        write(tmp_path / f"{index}.asdf", **({"useafter": "2026-05-01"} | meta))
    assert choose_reference(tmp_path, "dark", EXPOSURE) == tmp_path / f"{chosen}.asdf"


def test_a_file_without_filter_serves_an_exposure_without(tmp_path):
    write(tmp_path / "flat.asdf", "flat", filter="H")
    exposure = {name: value for name, value in EXPOSURE.items() if name != "filter"}
    assert find_reference(tmp_path, "flat", exposure) is None
    write(tmp_path / "any.asdf", "flat")
    assert find_reference(tmp_path, "flat", exposure) == tmp_path / "any.asdf"


def test_an_ambiguous_choice_is_refused_with_both(tmp_path):
    write(tmp_path / "one.asdf")
    write(tmp_path / "two.asdf", useafter="2026-01-01T01:00:00+01:00")
    with pytest.raises(ReferenceFileError, match=r"two .*one\.asdf and .*two\.asdf have useafter .*override_dark"):
        choose_reference(tmp_path, "dark", EXPOSURE)
    write(tmp_path / "three.asdf", useafter="2026-02-01")
    assert choose_reference(tmp_path, "dark", EXPOSURE).name == "three.asdf"


def test_a_failed_search_tells_what_was_sought_and_found(tmp_path):
    write(tmp_path / "b.asdf", detector="B", filter="J")
    write(tmp_path / "flat.asdf", "flat")
    with pytest.raises(NoReferenceFileError) as caught:
        choose_reference(tmp_path, "dark", EXPOSURE)
    message = str(caught.value)
    for part in (str(tmp_path), "type dark", "instrument IRIS", "detector A", "filter H", "2026-11-30T02:15:00"):
        assert part in message
    assert "b.asdf (instrument IRIS, detector B, filter J, useafter 2026-01-01T00:00:00)" in message
    with pytest.raises(NoReferenceFileError, match="it holds 1 dark, 1 flat; name one with override_gain"):
        choose_reference(tmp_path, "gain", EXPOSURE)


def test_without_a_folder_nothing_is_found():
    assert find_reference(None, "mask", EXPOSURE) is None
    with pytest.raises(NoReferenceFileError, match="no folder is named; set references or CAL_PIPELINE_REFERENCES"):
        choose_reference(None, "dark", EXPOSURE)


def test_other_files_in_the_folder_do_not_matter(tmp_path, caplog):
    good = write(tmp_path / "good.asdf")
    write(tmp_path / ".unfinished.asdf", useafter="2026-05-01")
    write_raw(tmp_path / "other.asdf", {"meta": {"telescope": "TMT"}})
    write_raw(tmp_path / "bare.asdf", {"roman": 1})
    (tmp_path / "notes.txt").write_text("dark")
    (tmp_path / "broken.asdf").write_bytes(b"#ASDF 1.0.0\n{")
    (tmp_path / "older").mkdir()
    with caplog.at_level(logging.WARNING, "cal_pipeline"):
        assert [header.path for header in list_references(tmp_path)] == [good]
        list_references(tmp_path)
    assert [record.getMessage().partition(" is left out")[0] for record in caplog.records] == [
        f"reference file {tmp_path / 'broken.asdf'}"
    ]


def test_times_of_any_spelling_are_understood(tmp_path):
    text = write(tmp_path / "dark.asdf").read_bytes()
    for spelling in (b"2026-01-01T00:00:00", b"!time/time-1.2.0 '2026-01-01T00:00:00'"):
        header = text.replace(b"'2026-01-01T00:00:00'", spelling)
        (tmp_path / "dark.asdf").write_bytes(header[: header.index(b"\n...\n") + 5])
        (header,) = list_references(tmp_path)
        assert header.time.isoformat() == "2026-01-01T00:00:00+00:00"


def test_a_suitable_file_without_time_is_refused(tmp_path):
    write_raw(tmp_path / "dark.asdf", {"meta": {**META, "reftype": "dark", "useafter": "soon"}})
    with pytest.raises(ReferenceFileError, match=r"dark\.asdf has meta.useafter 'soon', expected an ISO 8601 time"):
        choose_reference(tmp_path, "dark", EXPOSURE)


def test_a_changed_file_is_read_anew(tmp_path):
    path = write(tmp_path / "dark.asdf", detector="B")
    assert find_reference(tmp_path, "dark", EXPOSURE) is None
    write(path)
    os.utime(path, ns=(0, 0))
    assert find_reference(tmp_path, "dark", EXPOSURE) == path


# Reading


@pytest.mark.parametrize("reftype", CONTENTS)
def test_content_comes_back_with_its_types(tmp_path, reftype):
    path = write(tmp_path / "reference.asdf", reftype, filter="H", members=[3, 4])
    reference = read_reference(path, reftype, EXPOSURE, SHAPE)
    content = content_of(reftype)
    assert (reference.reftype, reference.path, len(reference.sha256)) == (reftype, str(path), 64)
    assert dict(reference.meta) == META | {"reftype": reftype, "filter": "H", "members": [3, 4]}
    assert {*reference.arrays, *reference.numbers} == {*content, *CONTENTS[reftype].defaults}
    for name, array in reference.arrays.items():
        np.testing.assert_array_equal(array, content[name])
        assert array.dtype == (np.uint32 if name == "dq" else np.float32)
        assert (array.flags.c_contiguous, array.flags.writeable) == (True, False)


@pytest.mark.parametrize("reftype", ["dark", "linearity"])
@pytest.mark.parametrize(
    ("extent", "window", "corner"),
    [
        (None, {"xstart": 2, "ystart": 3}, 302.0),
        ({"xstart": 11, "ystart": 21}, {"xstart": 12, "ystart": 23, "xsize": 2, "ysize": 3}, 302.0),
    ],
)
def test_arrays_are_cut_to_the_subarray(tmp_path, reftype, extent, window, corner):
    path = write(tmp_path / "reference.asdf", reftype, **({"subarray": extent} if extent else {}))
    reference = read_reference(path, reftype, {"subarray": window}, (3, 2))
    array = next(iter(reference.arrays.values()))
    assert (array.shape[-2:], array.flat[0], array.flags.c_contiguous) == ((3, 2), corner, True)


@pytest.mark.parametrize(
    ("extent", "window", "shape"),
    [
        (None, None, (7, 4)),
        (None, {"xstart": 2, "ystart": 1}, SHAPE),
        ({"xstart": 2, "ystart": 2}, None, SHAPE),
        ({"xstart": 2, "ystart": 2}, {"xstart": 2, "ystart": 1}, (2, 2)),
    ],
)
def test_files_that_do_not_cover_the_subarray_are_refused(tmp_path, extent, window, shape):
    path = write(tmp_path / "dark.asdf", **({"subarray": extent} if extent else {}))
    with pytest.raises(ReferenceFileError, match=r"covers columns \d+ to \d+, rows .*the exposure has columns \d+ to"):
        read_reference(path, "dark", {"subarray": window}, shape)


def test_events_of_other_exposures_are_dropped(tmp_path):
    everything = np.full(SHAPE, 0xFFFFFFFF, np.uint32)
    path = write(tmp_path / "mask.asdf", "mask", {"dq": everything})
    (found,) = np.unique(read_reference(path, "mask", EXPOSURE, SHAPE).arrays["dq"])
    events = DQ.SATURATED | DQ.JUMP_DET | DQ.DROPOUT | DQ.OUTLIER | DQ.PERSISTENCE | DQ.AD_FLOOR | DQ.CHARGELOSS
    assert DQ(int(found)) == DQ(0xFFFFFFFF) & ~events


def broken_trees():
    good = {"meta": {**META, "reftype": "dark"}, **content_of("dark")}
    yield "no meta", {"data": 1.0}, "meta.reftype None, expected 'dark'"
    yield "another type", {**good, "meta": {**META, "reftype": "flat"}}, "meta.reftype 'flat', expected 'dark'"
    yield "no err", {key: good[key] for key in ("meta", "data", "dq")}, "lacks err; .* found data, dq"
    yield "number", {**good, "err": 0.5}, r"has err 0.5, expected an array \[y, x\]"
    yield "axes", {**good, "data": np.zeros((2, *SHAPE))}, r"has data of shape \(2, 6, 4\), expected \[y, x\]"
    yield "shape", {**good, "err": np.zeros((4, 6))}, r"has err of shape \(4, 6\), expected \[y, x\], \[6, 4\]"
    yield "empty", {**good, "data": np.zeros((0, 4))}, "has data of shape"
    yield "complex", {**good, "data": np.zeros(SHAPE, "c8")}, "has data of type complex64, expected numbers"
    yield "signed", {**good, "dq": np.zeros(SHAPE, "i4")}, "has dq of type int32, expected uint32"
    yield "extent", {**good, "meta": {**good["meta"], "subarray": {"xstart": 1}}}, "subarray.ystart is missing"


@pytest.mark.parametrize(("tree", "message"), [pytest.param(*row[1:], id=row[0]) for row in broken_trees()])
def test_files_of_other_content_are_refused(tmp_path, tree, message):
    path = write_raw(tmp_path / "dark.asdf", tree)
    with pytest.raises(ReferenceFileError, match=f"^reference file {path} .*{message}"):
        read_reference(path, "dark", EXPOSURE, SHAPE)


@pytest.mark.parametrize("value", [float("nan"), "25", True, None])
def test_numbers_that_are_none_are_refused(tmp_path, value):
    path = write_raw(
        tmp_path / "photom.asdf",
        {"meta": {**META, "reftype": "photom"}, "zero_point": value, "zero_point_err": 0.02},
    )
    with pytest.raises(ReferenceFileError, match=r"zero_point .*, expected a finite number|lacks zero_point"):
        read_reference(path, "photom", EXPOSURE, SHAPE)


@pytest.mark.parametrize("kind", ["absent", "folder", "text", "cut", "flipped"])
def test_damaged_files_are_refused(tmp_path, kind):
    path = write(tmp_path / "dark.asdf")
    content = bytearray(path.read_bytes())
    content[content.index(np.float32(101.0).tobytes())] ^= 1
    damage = {"text": b"dark", "cut": path.read_bytes()[:-300], "flipped": bytes(content)}
    path.unlink()
    if kind == "folder":
        path.mkdir()
    elif kind in damage:
        path.write_bytes(damage[kind])
    with pytest.raises(ReferenceFileError, match=rf"^reference file {path} cannot be read: ."):
        read_reference(path, "dark", EXPOSURE, SHAPE)


def test_threads_read_a_file_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = write(tmp_path / "gain.asdf", "gain")
    count = []
    monkeypatch.setattr(
        reference_files, "_read", lambda *given, read=reference_files._read: count.append(1) or read(*given)
    )
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda _: read_reference(path, "gain", EXPOSURE, SHAPE), range(8)))
    assert (len({id(reference) for reference in found}), len(count)) == (1, 1)
    before = found[0]
    write(path, "gain", {"data": np.full(SHAPE, 3.0)})
    os.utime(path, ns=(0, 0))
    after = read_reference(path, "gain", EXPOSURE, SHAPE)
    assert (after.arrays["data"][0, 0], before.arrays["data"][0, 0]) == (3.0, 101.0)
    assert after.sha256 != before.sha256


def test_memory_does_not_grow(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_files, "_CACHED_BYTES", 200)
    monkeypatch.setattr(reference_files, "_cache", reference_files._ReferenceCache())
    for name in "abc":
        read_reference(write(tmp_path / f"{name}.asdf", "gain"), "gain", EXPOSURE, SHAPE)
    held = [reference.path for reference in reference_files._cache._held.values()]
    assert held == [str(tmp_path / "b.asdf"), str(tmp_path / "c.asdf")]


# Writing


@pytest.mark.parametrize(
    ("reftype", "changes", "message"),
    [
        ("dark", {"err": None}, "lacks err"),
        ("dark", {"error": np.zeros(SHAPE)}, "error is no part of a dark reference"),
        ("dark", {"err": np.zeros((4, 6))}, r"err of shape \(4, 6\)"),
        ("photom", {"zero_point": float("inf")}, "zero_point inf, expected a finite number"),
    ],
)
def test_wrong_content_is_not_written(tmp_path, reftype, changes, message):
    content = {key: value for key, value in (content_of(reftype) | changes).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "reference.asdf", reftype, content)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("meta", [{"detector": None}, {"useafter": "soon"}])
def test_files_that_no_exposure_would_find_are_not_written(tmp_path, meta):
    with pytest.raises(ValueError, match=r"lacks detector|soon"):
        write(tmp_path / "dark.asdf", **meta)


def test_equal_content_makes_equal_bytes(tmp_path):
    one, two = (write(tmp_path / f"{name}.asdf") for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
