"""Tables in HDF5 files: what is written is what others read, and damage is named."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.table import Column, MaskedColumn, Table
from astropy.time import Time

from cal_pipeline.cherenkov import hdf5
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, StorageError
from cal_pipeline.core.errors import OutputExistsError

pytestmark = pytest.mark.cherenkov

tables = pytest.importorskip("tables")
NODE = "/dl1/monitoring/telescope/some/tel_007"


def make_table() -> Table:
    """Make a table with every kind of column."""
    rng = np.random.default_rng(5)
    return Table(
        {
            "time": Time(["2023-07-10T00:00:00.000001", "2023-07-10T01:00:00"], scale="tai"),
            "factor": rng.normal(size=(2, 2, 5)),
            "impact": Column([1.5, np.nan], unit="m", description="Impact parameter"),
            "flux": Column([1.5, 2.5], unit=units.m**-2 * units.sr**-1),
            "energy": [0.5, 1.5] * units.TeV,
            "mask": rng.random((2, 2, 5)) < 0.5,
            "is_valid": [True, False],
            "tel_type": ["LST", "Größe"],
            "n_events": np.array([1, 2**40]),
            "single": np.array([1, 2], dtype=np.float32),
            "missing": MaskedColumn([1.0, 2.0], mask=[False, True]),
        },
        meta={"method": "Muon Rings", "number": 3},
    )


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "folder" / "product.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hdf5.write_tables(path, {NODE: make_table()}, "calibpipe-some-tool", {"tool": "x", "warnings": ["é"]})
    return path


def test_round_trip(written: Path) -> None:
    table, read = make_table(), hdf5.read_table(written, NODE)
    assert read.colnames == table.colnames
    for name in set(table.colnames) - {"time", "missing"}:
        np.testing.assert_array_equal(read[name], table[name])
        assert read[name].dtype == table[name].dtype or name == "tel_type"
    np.testing.assert_array_equal(read["time"], table["time"].tai.mjd)
    np.testing.assert_array_equal(read["missing"], [1.0, np.nan])
    assert read["impact"].unit == units.m
    assert read["energy"].unit == units.TeV
    assert read["flux"].unit == units.m**-2 / units.sr
    assert read["is_valid"].unit is None
    assert read["impact"].description == "Impact parameter"
    assert read.meta == table.meta


def test_chosen_columns(written: Path) -> None:
    assert hdf5.read_table(written, NODE, ["is_valid", "energy"]).colnames == ["is_valid", "energy"]
    with pytest.raises(
        CorruptedInputError, match=r"product.h5: table /dl1.*lacks the columns a, b; it has time, factor"
    ):
        hdf5.read_table(written, NODE, ["a", "energy", "b"])


def test_h5py_and_astropy_open_it(written: Path) -> None:
    h5py = pytest.importorskip("h5py")
    table = make_table()
    with h5py.File(written) as file:
        dataset = file[NODE]
        assert dataset.compression == "gzip"
        assert dataset.dtype.names == tuple(table.colnames)
        np.testing.assert_array_equal(dataset["factor"], table["factor"])
        np.testing.assert_array_equal(dataset["mask"].astype(bool), table["mask"])
        assert dataset.attrs["CTAFIELD_2_UNIT"] in ("m", b"m")
        provenance = json.loads(file.attrs["provenance_calibpipe-some-tool"])
    assert provenance == {"tool": "x", "warnings": ["é"]}
    read = Table.read(written, path=NODE, format="hdf5")
    for name in ("factor", "impact", "n_events"):
        np.testing.assert_array_equal(read[name], table[name])
    np.testing.assert_array_equal(np.asarray(read["mask"], dtype=bool), table["mask"])


def test_reads_what_h5py_and_astropy_write(tmp_path: Path) -> None:
    pytest.importorskip("h5py")
    path = tmp_path / "plain.h5"
    table = Table({"tel_id": [1, 2], "ok": [True, False], "x": np.ones((2, 3)), "name": [b"a", b"bc"]})
    table.write(path, path="a/b", format="hdf5")
    read = hdf5.read_table(path, "/a/b")
    assert list(read["tel_id"]) == [1, 2]
    assert list(read["ok"]) == [True, False]
    assert list(read["name"]) == ["a", "bc"]


def test_list_tables(written: Path) -> None:
    hdf5.write_tables(written, {"/a/tel_012": make_table(), "/a/tel_003": make_table(), "/a/x": make_table()}, "t", {})
    assert hdf5.list_tables(written, "/a") == {n: f"/a/{n}" for n in ("tel_003", "tel_012", "x")}
    assert hdf5.list_telescopes(written, "/a") == {3: "/a/tel_003", 12: "/a/tel_012"}
    assert hdf5.list_tables(written, "/none") == {} == hdf5.list_tables(written, NODE)
    assert hdf5.has_table(written, NODE)
    assert not hdf5.has_table(written, "/a")
    assert not hdf5.has_table(written, "/b")


def test_arrays(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "b.h5"
    with h5py.File(path, "w") as file:
        file["B_term"], file["single"], file["text"] = np.ones((2, 5)), 0.02, b"text"
        file.create_dataset("packed", data=np.arange(50), compression="gzip")
    np.testing.assert_array_equal(hdf5.read_array(path, "/B_term"), np.ones((2, 5)))
    np.testing.assert_array_equal(hdf5.read_array(path, "/packed"), np.arange(50))
    assert hdf5.read_array(path, "/single") == 0.02
    with pytest.raises(CorruptedInputError, match=r"b.h5: /text is of the kind unimplemented; expected array"):
        hdf5.read_array(path, "/text")
    with pytest.raises(MissingInputError, match=r"b.h5: array /none is not there"):
        hdf5.read_array(path, "/none")


class TestTimes:
    SECONDS, QUARTERS = 1_688_947_237, 1_234_567_890

    def test_integers_keep_their_precision(self) -> None:
        exact = 40587 + (Decimal(self.SECONDS) + Decimal(self.QUARTERS) / 4_000_000_000) / 86400
        (mjd,) = hdf5.read_times(np.array([[self.SECONDS, self.QUARTERS]], dtype=np.uint32))
        assert abs(Decimal(float(mjd)) - exact) <= Decimal(np.spacing(60000.0)) / 2

    def test_agrees_with_astropy(self) -> None:
        # Seconds of "unix_tai" count from 1970-01-01T00:00:00 TAI, as these do.
        (mjd,) = hdf5.read_times(np.array([[self.SECONDS, 0]], dtype=np.uint32))
        assert mjd == pytest.approx(Time(self.SECONDS, format="unix_tai").tai.mjd, abs=1e-11)

    def test_after_2038(self) -> None:
        (mjd,) = hdf5.read_times(np.array([[2**32 - 1, 0]], dtype=np.uint32))
        assert mjd == pytest.approx(40587 + (2**32 - 1) / 86400)

    @pytest.mark.parametrize("values", [[1, 2], [["a", "b"]], [[1, 2, 3]], [[1, 4_000_000_000]]])
    def test_other_forms_are_refused(self, values: list) -> None:
        with pytest.raises(CorruptedInputError, match="night"):
            hdf5.read_times(np.asarray(values), "night")

    def test_both_forms_in_a_table(self, tmp_path: Path) -> None:
        mjd = np.array([60135.25, 60135.5])
        seconds = np.array((mjd - 40587) * 86400, dtype=np.uint32)
        pairs = np.stack([seconds, np.zeros(2, np.uint32)], axis=1)
        path = tmp_path / "times.h5"
        hdf5.write_tables(path, {"/t": Table({"time_start": pairs, "time_end": mjd, "edges": pairs})}, "t", {})
        read = hdf5.read_table(path, "/t")
        np.testing.assert_array_equal(read["time_start"], mjd)
        np.testing.assert_array_equal(read["time_end"], mjd)
        assert read["edges"].shape == (2, 2)

    def test_other_scales_become_tai(self, written: Path) -> None:
        with tables.open_file(str(written), "a") as file:
            attributes = file.get_node(NODE)._v_attrs
            attributes["CTAFIELD_0_TIME_SCALE"] = "utc"
        moved = hdf5.read_table(written, NODE)["time"] - make_table()["time"].tai.mjd
        np.testing.assert_allclose(moved * 86400, 37, atol=1e-5)
        with tables.open_file(str(written), "a") as file:
            file.get_node(NODE)._v_attrs["CTAFIELD_0_TIME_FORMAT"] = "weeks"
        with pytest.raises(CorruptedInputError, match=r"column time .*'weeks'"):
            hdf5.read_table(written, NODE)

    def test_real_pairs(self, shared: Path) -> None:
        table = hdf5.read_table(shared / "lst_muons.dl1.h5", "/dl1/event/telescope/trigger")
        assert table["time"].dtype == float
        assert table["time"].shape == (30,)
        assert Time(table["time"][0], format="mjd", scale="tai").isot.startswith("2018-04-12T11:18:36.101")


class TestWriting:
    def test_existing_table_needs_overwrite(self, written: Path) -> None:
        before = written.read_bytes()
        with pytest.raises(OutputExistsError, match=rf"product.h5: table {NODE} exists; give overwrite") as caught:
            hdf5.write_tables(written, {NODE: Table({"x": [1]})}, "t", {})
        assert caught.value.exit_status == 102
        assert written.read_bytes() == before
        hdf5.write_tables(written, {NODE: Table({"x": [1]})}, "t", {}, overwrite=True)
        assert hdf5.read_table(written, NODE).colnames == ["x"]
        assert set(hdf5.read_attributes(written)) == {"provenance_calibpipe-some-tool", "provenance_t"}

    def test_base_is_copied_and_kept(self, written: Path, tmp_path: Path) -> None:
        before = written.read_bytes()
        hdf5.write_tables(tmp_path / "new.h5", {"/x": Table({"x": [1]})}, "t", {}, base=written)
        assert written.read_bytes() == before
        assert hdf5.has_table(tmp_path / "new.h5", NODE)
        assert hdf5.has_table(tmp_path / "new.h5", "/x")

    def test_fresh_file_holds_nothing_old(self, written: Path) -> None:
        with pytest.raises(OutputExistsError):
            hdf5.write_tables(written, {"/x": Table({"x": [1]})}, "t", {}, fresh=True)
        hdf5.write_tables(
            written, {"/x": Table({"x": [1]})}, "t", {}, overwrite=True, fresh=True, attributes={"obs_id": 7}
        )
        assert not hdf5.has_table(written, NODE)
        assert hdf5.read_attributes(written)["obs_id"] == 7

    def test_failure_leaves_the_file(self, written: Path) -> None:
        before = written.read_bytes()
        bad = Table({"x": MaskedColumn([1, 2], mask=[True, False])})
        with pytest.raises(TypeError, match=r"column x .* missing values"):
            hdf5.write_tables(written, {"/x": make_table(), "/y": bad}, "t", {})
        assert written.read_bytes() == before
        assert os.listdir(written.parent) == [written.name]

    def test_a_link_stays_a_link_and_the_mode_stays(self, written: Path, tmp_path: Path) -> None:
        written.chmod(0o640)
        link = tmp_path / "link.h5"
        link.symlink_to(written)
        hdf5.write_tables(link, {"/x": Table({"x": [1]})}, "t", {})
        assert link.is_symlink()
        assert hdf5.has_table(written, "/x")
        assert written.stat().st_mode & 0o777 == 0o640

    def test_long_list_of_inputs(self, tmp_path: Path) -> None:
        path, inputs = tmp_path / "many.h5", [{"name": f"file_{n}", "sha256": "0" * 64} for n in range(5000)]
        for _ in range(2):
            hdf5.write_tables(path, {"/x": Table({"x": [1]})}, "t", {"tool": "t", "inputs": inputs}, overwrite=True)
        attributes = hdf5.read_attributes(path)
        names = json.loads(attributes["provenance_t"])["inputs"]["attributes"]
        assert [entry for name in names for entry in json.loads(attributes[name])] == inputs
        hdf5.write_tables(path, {"/x": Table({"x": [1]})}, "t", {"tool": "t", "inputs": []}, overwrite=True)
        assert set(hdf5.read_attributes(path)) == {"provenance_t"}

    def test_empty_table(self, tmp_path: Path) -> None:
        hdf5.write_tables(tmp_path / "e.h5", {"/x": Table({"x": np.zeros((0, 3)), "s": np.array([], "U")})}, "t", {})
        assert hdf5.read_table(tmp_path / "e.h5", "/x")["x"].shape == (0, 3)


class TestDamage:
    def test_missing(self, written: Path, tmp_path: Path) -> None:
        with pytest.raises(MissingInputError, match=r"none.h5 is not there; expected an HDF5 file"):
            hdf5.read_table(tmp_path / "none.h5", "/x")
        with pytest.raises(MissingInputError, match="is a folder"):
            hdf5.list_tables(tmp_path, "/x")
        with pytest.raises(MissingInputError, match=r"product.h5: table /x is not there"):
            hdf5.read_table(written, "/x")
        with pytest.raises(CorruptedInputError, match=r"product.h5: /dl1 is of the kind group; expected table"):
            hdf5.read_table(written, "/dl1")
        with pytest.raises(MissingInputError, match="/x is not there"):
            hdf5.read_attributes(written, "/x")

    @pytest.mark.parametrize("content", [b"", b"text, text", b"\x89HDF\r\n\x1a\n" + bytes(100)])
    def test_no_hdf5(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "bad.h5"
        path.write_bytes(content)
        for call in (hdf5.read_table, hdf5.list_tables, hdf5.has_table, hdf5.read_attributes):
            with pytest.raises(CorruptedInputError, match=r"bad.h5"):
                call(path, "/x")
        with pytest.raises((CorruptedInputError, StorageError), match=r"bad.h5"):
            hdf5.write_tables(path, {"/x": Table({"x": [1]})}, "t", {})
        assert path.read_bytes() == content

    @pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
    def test_truncated(self, written: Path, fraction: float) -> None:
        content = written.read_bytes()
        written.write_bytes(content[: int(fraction * len(content))])
        with pytest.raises(CorruptedInputError, match=r"product.h5"):
            hdf5.read_table(written, NODE)

    def test_damaged_data(self, tmp_path: Path) -> None:
        path = tmp_path / "damaged.h5"
        hdf5.write_tables(path, {"/x": Table({"x": np.random.default_rng(1).normal(size=5000)})}, "t", {})
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 2000] = bytes(2000)
        path.write_bytes(content)
        with pytest.raises(CorruptedInputError, match=r"damaged.h5"):
            hdf5.read_table(path, "/x")

    def test_bad_text(self, written: Path) -> None:
        with tables.open_file(str(written), "a") as file:
            file.get_node(NODE).modify_column(column=np.array([b"\xff\xfe", b"a"]), colname="tel_type")
        with pytest.raises(CorruptedInputError, match=r"column tel_type .* no UTF-8 text"):
            hdf5.read_table(written, NODE)

    def test_pickled_attribute_runs_no_code(self, written: Path, tmp_path: Path) -> None:
        trap = tmp_path / "trap"

        class Trap:
            def __reduce__(self) -> tuple:
                return Path.touch, (trap,)

        with tables.open_file(str(written), "a") as file:
            for node in ("/", NODE):
                for name in ("CTAFIELD_2_UNIT", "note", "TITLE"):
                    file.get_node(node)._v_attrs[name] = np.bytes_(pickle.dumps(Trap(), 0))
        trap.unlink(missing_ok=True)
        hdf5.read_attributes(written)
        hdf5.read_attributes(written, NODE)
        assert len(hdf5.read_table(written, NODE)) == 2
        assert not trap.exists()


def test_numbers_in_another_scale_are_refused(written: Path) -> None:
    """Fixed-point numbers would be off by the factor of their scale."""
    table = hdf5.read_table(written, NODE)
    with tables.open_file(str(written), "a") as file:
        file.get_node(NODE)._v_attrs["CTAFIELD_1_TRANSFORM"] = "fixed_point"
    with pytest.raises(CorruptedInputError, match=rf"column {table.colnames[1]} of table .* 'fixed_point'"):
        hdf5.read_table(written, NODE)
    assert len(hdf5.read_table(written, NODE, [table.colnames[0]])) == len(table)
