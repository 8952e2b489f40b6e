"""The decision to keep the result of an earlier run, and the line that tells what was done."""

from __future__ import annotations

import copy

import pytest
from helpers_l1 import record, write_product

from cal_pipeline import CalibratedSession, __version__
from cal_pipeline.core.run.resume import NOT_JUDGED, Resumption, find_reasons, judge_earlier
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.errors import DataReadError, StoreError

KIND = CalibratedSession.kind
PARAMETERS = {"workers": 1, "scans": ["1"], "steps": {"loads": {"image_gain": 1.0}, "gain": {"skip": True}}}


def records(**changes):
    attributes = record(1, engine_version=__version__, **changes)
    return [ObservationRecord("scan_000001", attributes, KIND)]


def changed(*path, to):
    parameters = copy.deepcopy(PARAMETERS)
    section = parameters
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = to
    return parameters


def reasons(parameters=PARAMETERS, changes=(), **recorded):
    return find_reasons(records(**recorded), parameters, lambda: list(changes))


def test_what_would_come_out_alike_is_kept():
    assert reasons() == []


@pytest.mark.parametrize("name", ["workers", "threads", "overwrite", "resume", "verify", "output_file", "scans"])
def test_parameters_of_a_run_alone_do_not_count(name):
    assert reasons(changed(name, to=7)) == []


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        (changed("steps", "loads", "image_gain", to=0.5), "steps.loads.image_gain"),
        (changed("steps", "gain", "skip", to=None), "steps.gain.skip"),
        (changed("steps", "loads", "new", to=1), "steps.loads.new"),
        (changed("steps", "gain", to={}), "steps.gain.skip"),
    ],
)
def test_parameters_that_differ_are_named(parameters, name):
    assert reasons(parameters, ["never asked"]) == [f"parameters differ: {name}"]


def test_hooks_are_never_trusted():
    assert reasons(changed("steps", "loads", "pre_hooks", to=["x.y"])) == ["hooks"]
    assert reasons(parameters=PARAMETERS | {"post_hooks": []}) == []


def test_another_engine_is_a_reason():
    old = [ObservationRecord("scan_000001", record(1, engine_version="0.0.9"), KIND)]
    assert find_reasons(old, PARAMETERS, list) == ["engine version 0.0.9"]
    assert find_reasons([], PARAMETERS, list) == ["no record"]


def test_every_part_counts():
    two = [*records(), ObservationRecord("scan_000001/band_1", records(parameters={})[0].attributes, KIND)]
    assert find_reasons(two, PARAMETERS, list)[0].startswith("parameters differ")


def test_changes_that_the_family_finds_are_reasons():
    assert reasons(changes=["L0 changed"]) == ["L0 changed"]


class Family:
    """Finds what it is told to find."""

    verify = False

    def __init__(self, *found):
        self.found = found

    def find_changes(self, observation, records):
        if not self.found:
            raise DataReadError("a disk fails")
        return list(self.found[0])


class TestJudge:
    @pytest.fixture
    def product(self, tmp_path):
        attributes = record(1, engine_version=__version__, verdict="questionable")
        return CalibratedSession(write_product(tmp_path / "l1.zarr", {"scan_000001": attributes}))

    def test_keeps_the_first_that_is_alike(self, product, tmp_path):
        old = record(1, engine_version="0.0.1")
        other = CalibratedSession(write_product(tmp_path / "old.zarr", {"scan_000001": old}))
        verdict = judge_earlier([other, product], 1, None, PARAMETERS, Family([]))
        assert (verdict.kept_in, verdict.reasons, verdict.quality) == (str(product.path), (), "questionable")

    def test_says_why_not(self, product):
        assert judge_earlier([product], 1, None, PARAMETERS, Family(["L0 changed"])).reasons == ("L0 changed",)
        assert judge_earlier([], 1, None, PARAMETERS, Family([])) == NOT_JUDGED

    def test_verifies_what_is_kept(self, product, caplog):
        family = Family([])
        family.verify = True
        assert judge_earlier([product], 1, None, PARAMETERS, family).kept_in
        chunk = product.path / "scan_000001" / "spectra" / "c.0.0"
        data = bytearray(chunk.read_bytes())
        data[-1] ^= 1
        chunk.write_bytes(data)
        assert judge_earlier([product], 1, None, PARAMETERS, family).reasons == ("does not read back",)
        assert "scan_000001/spectra/c.0.0 does not read back: " in caplog.text
        assert judge_earlier([product], 1, None, PARAMETERS, Family([])).kept_in

    def test_an_error_is_a_reason(self, product):
        verdict = judge_earlier([product], 1, None, PARAMETERS, Family())
        assert verdict.reasons == ("cannot be judged: DataReadError: a disk fails",)


class TestResumption:
    @pytest.fixture
    def begin(self, tmp_path):
        outputs = []

        def begin(scans, numbers, replace=False, failures=()):
            found = {f"scan_{n:06d}": record(n) for n in scans}
            path = write_product(tmp_path / "l1.zarr", found, failures=failures)
            write_group(LocalStorePath(path), "", KIND.root_attributes)
            outputs.append(LocalOutput(tmp_path / "l1.zarr", False, "l0.zarr", KIND, resume=True))
            return Resumption.begin(outputs[-1], numbers, replace, CalibratedSession)

        yield begin
        for output in outputs:
            output.close()

    def test_finds_what_is_there(self, begin):
        resumption = begin([1, 2, 5], [1, 2, 3])
        assert sorted(resumption.earlier) == [1, 2]
        assert resumption.staying == {5}
        resumption.note(1, (), is_kept=True)
        resumption.note(2, ("L0 changed",), is_kept=False)
        resumption.note(3, (), is_kept=False)
        assert str(resumption) == (
            "resume: 1 scan kept, 1 redone (1 L0 changed), 1 new; not asked for, left as they are: scan 5"
        )
        assert resumption.numbers_to_leave({1, 2, 3}) == {1, 2, 3, 5}

    def test_a_scan_that_could_not_be_redone_stays(self, begin):
        resumption = begin([1, 2], [1, 2])
        resumption.note(1, (), is_kept=True)
        assert resumption.numbers_to_leave({1}) == {1, 2}
        assert str(resumption) == "resume: 1 scan kept; not redone, as an earlier run made them: scan 2"

    def test_with_overwrite_nothing_else_stays_unless_nothing_is_done(self, begin):
        resumption = begin([1, 2, 5], [1, 2], replace=True)
        assert resumption.staying == set()
        assert resumption.numbers_to_leave({1}) == {1}
        assert resumption.numbers_to_leave(set()) == {1, 2, 5}

    def test_failures_of_other_scans_are_kept(self, begin):
        failures = [{"scan_number": n, "step": "load", "error_class": "X", "message": "m"} for n in (2, 7)]
        assert begin([1], [1, 2], failures=failures).output.earlier_failures == failures[1:]

    @pytest.mark.parametrize("lost", ["spectra/c.0.0", "spectra/zarr.json", "zarr.json"])
    def test_what_is_incomplete_is_removed(self, begin, tmp_path, lost):
        path = write_product(tmp_path / "l1.zarr", {"scan_000003": record(3)})
        (path / "scan_000003" / lost).unlink()
        resumption = begin([1], [1, 3])
        assert not (path / "scan_000003").exists()
        assert sorted(resumption.earlier) == [1]
        resumption.note(3, (), is_kept=False)
        text = "; removed unfinished scan_000003" if lost == "zarr.json" else "1 redone (1 incomplete)"
        assert text in str(resumption)

    def test_another_schema_is_redone_as_a_whole_or_refused(self, begin, tmp_path, monkeypatch):
        path = write_product(tmp_path / "l1.zarr", {"scan_000001": record(1)})
        (path / "zarr.json").write_text((path / "zarr.json").read_text().replace("1.0", "0.1"))
        output = LocalOutput(path, False, "l0.zarr", KIND, resume=True)
        with output:
            with pytest.raises(StoreError, match=r"schema version 0\.1, expected .*not asked for \(1\)"):
                Resumption.begin(output, [2], False, CalibratedSession)
            resumption = Resumption.begin(output, [1], False, CalibratedSession)
            assert resumption.earlier == {}
            resumption.note(1, (), is_kept=False)
            assert "1 redone (1 schema version 0.1)" in str(resumption)
            output.renew_root()
        assert CalibratedSession(path).root.get("zarr.json").count(KIND.schema_version.encode())
