"""Products that are one file: there as a whole, or as it was."""

from __future__ import annotations

import asdf
import pytest
from test_replacing import die

from cal_pipeline.core.store.file_output import RESULT, FileOutput
from cal_pipeline.core.store.make_output import make_output
from cal_pipeline.core.store.product import ProductKind
from cal_pipeline.errors import OutputExistsError, StoreError, StoreLockedError

KIND = ProductKind("table", "table file", "1.0", "exposure", named=True, suffix=".asdf")


def make(folder, overwrite=False):
    return make_output(str(folder / "table.asdf"), overwrite, str(folder / "night.zarr"), KIND)


def publish(output, value):
    target = output.staging_of("mean").path
    target.mkdir(parents=True)
    asdf.AsdfFile({"value": value}).write_to(target / RESULT)
    output.publish("mean")


def read(folder):
    with asdf.open(folder / "table.asdf") as file:
        return file["value"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_it_appears_when_it_is_finished_and_leaves_nothing_beside_it(tmp_path):
    with make(tmp_path) as output:
        assert isinstance(output, FileOutput)
        assert output.begin(b"{}") is None
        assert not (tmp_path / "table.asdf").exists()
        publish(output, 1)
        output.finish(["mean"])
    assert read(tmp_path) == 1
    assert names(tmp_path) == ["table.asdf"]


def test_one_that_is_there_is_replaced_on_demand_only(tmp_path):
    with make(tmp_path) as output:
        publish(output, 1)
    with pytest.raises(OutputExistsError, match="give overwrite=True"):
        make(tmp_path)
    with make(tmp_path, overwrite=True) as output:
        assert read(tmp_path) == 1
        publish(output, 2)
    assert read(tmp_path) == 2
    assert names(tmp_path) == ["table.asdf"]


def test_without_a_result_the_older_one_stays(tmp_path):
    with make(tmp_path) as output:
        publish(output, 1)
    with make(tmp_path, overwrite=True) as output:
        output.record_failure("mean", "combine", "ValueError", "x")
        output.finish([])
        output.discard()
    assert read(tmp_path) == 1
    assert names(tmp_path) == ["table.asdf"]


@pytest.mark.parametrize("make_stranger", [lambda path: path.mkdir(), lambda path: path.write_text("thesis")])
def test_what_is_no_such_file_is_never_replaced(tmp_path, make_stranger):
    make_stranger(tmp_path / "table.asdf")
    with pytest.raises(StoreError, match="is no ASDF file, so it is never replaced"):
        make(tmp_path, overwrite=True)
    assert names(tmp_path) == ["table.asdf"]


def test_another_run_is_refused_and_what_a_killed_one_left_is_removed(tmp_path):
    output = make(tmp_path)
    with pytest.raises(StoreLockedError):
        make(tmp_path)
    output.staging_of("mean").path.mkdir(parents=True)
    die(output)
    with make(tmp_path) as again:
        publish(again, 3)
    assert names(tmp_path) == ["table.asdf"]


def test_it_is_local(tmp_path):
    with pytest.raises(StoreError, match="a table file is written to a local folder"):
        make_output("s3://bucket/table.asdf", False, str(tmp_path), KIND)
