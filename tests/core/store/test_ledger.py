"""A product with a ledger records its observations and failures in one file, which is written when it changes."""

from __future__ import annotations

import json
import uuid

import pytest

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.run.resume import Addition
from cal_pipeline.core.run.run_record import RunRecord
from cal_pipeline.core.store.make_output import make_output
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.product import Product, ProductKind

KIND = ProductKind("plate", "plate store", "1.0", "plate", product="plates", ledger="plates.json", verb="print")


class Plates(Product):
    kind = KIND


@pytest.fixture(params=["folder", "url"])
def where(request, tmp_path):
    return str(tmp_path / "plates.zarr") if request.param == "folder" else f"memory://{uuid.uuid4().hex}/plates.zarr"


def add(where, *numbers, failing=()):
    """Add observations as a run does."""
    with make_output(where, False, "", KIND, resume=True) as output:
        if output.root.exists("zarr.json"):
            before = Plates(where)
            output.entries = {number: before.read_ledger()["plates"][str(number)] for number in before.numbers}
        record = RunRecord(output, len(numbers), "")
        record.begin()
        for number in numbers:
            write_group(output.staging_of(KIND.group_name(number)), "", {"number": number})
            output.publish(KIND.group_name(number))
            output.entries[number] = {"files": [f"{number}.tif"]}
            record.update(number, 0)
        for number in failing:
            output.record_failure(number, f"{number}.tif", "ValueError", "no light")
        record.end(is_finished=True)
    return Plates(where)


def test_one_file_tells_all(where):
    assert (KIND.participle, KIND.record_files) == ("printed", ("plates.json",))
    product = add(where, 2, 1, failing=[4, 3])
    assert (product.numbers, product.run, product.run_state) == ([1, 2], None, "")
    first = {"plate_number": 3, "file": "3.tif", "error_class": "ValueError", "message": "no light"}
    assert product.failures[0] == first
    entries = {"1": {"files": ["1.tif"]}, "2": {"files": ["2.tif"]}}
    assert product.read_ledger() == {"plates": entries, "failures": product.failures}
    members = set(product.root.members()) - {".lock", ".unpublished"}
    assert members == {"zarr.json", "plates.json", "plate_000001", "plate_000002"}
    again = add(where, 5)
    assert (again.numbers, again.failures, list(again.read_ledger()["plates"])) == ([1, 2, 5], [], ["1", "2", "5"])


def test_a_ledger_is_written_only_when_it_changes(tmp_path):
    where = tmp_path / "plates.zarr"
    add(str(where), 1, failing=[3])
    before = where.stat().st_mtime_ns, (where / "plates.json").stat().st_mtime_ns
    add(str(where), failing=[3])
    assert (where.stat().st_mtime_ns, (where / "plates.json").stat().st_mtime_ns) == before


def test_records_of_other_kinds_are_strangers(tmp_path):
    add(str(tmp_path / "plates.zarr"), 1)
    (tmp_path / "plates.zarr/failures.json").write_text("[]")
    with pytest.raises(StoreError, match=r"not part of a plate store.*: failures\.json"):
        add(str(tmp_path / "plates.zarr"), 2)


@pytest.mark.parametrize("content", ["{", "[]", '{"plates": []}', '{"plates": {}, "failures": [1]}'])
def test_a_damaged_ledger_is_refused(tmp_path, content):
    add(str(tmp_path / "plates.zarr"), 1)
    (tmp_path / "plates.zarr/plates.json").write_text(content)
    with pytest.raises(StoreError, match=r"plates\.json (cannot be read|holds no)"):
        Plates(tmp_path / "plates.zarr")


def test_failures_of_unknown_observations_come_first(tmp_path):
    with make_output(str(tmp_path / "plates.zarr"), False, "", KIND, resume=True) as output:
        output.begin(b"")
        unknown = {"plate_number": None, "file": "x.tif", "error_class": "ValueError", "message": "torn"}
        output.earlier_failures = [unknown]
        output.record_failure(0, "0.tif", "ValueError", "no light")
        output.save_failures()
    ledger = json.loads((tmp_path / "plates.zarr/plates.json").read_text())
    assert [failure["plate_number"] for failure in ledger["failures"]] == [None, 0]


def test_an_addition_leaves_all_others_and_names_what_it_did(tmp_path):
    add(str(tmp_path / "plates.zarr"), 1, 2, 3, 4)
    with make_output(str(tmp_path / "plates.zarr"), False, "", KIND, resume=True) as output:
        addition = Addition(output, False, present={1, 2, 3, 4}, kept={1})
        for number in (2, 7):
            addition.note(number, (), False)
        assert addition.numbers_to_leave({1, 2, 7}) == {1, 2, 3, 4, 7}
        assert str(addition) == f"{output.root}: plate 7 added; plate 2 replaced; plate 1 kept; plates 3, 4 untouched"
        assert str(Addition(output, False)) == f"{output.root}: no plate"
    assert open_store(tmp_path / "plates.zarr").exists("plate_000003/zarr.json")
