"""How two L1 stores differ: array by array, and in what they recorded."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr
from helpers_l0 import write_scan
from helpers_l1 import record, write_array, write_product

from cal_pipeline.core.store.compare import DIFFER, EQUAL, NOT_COMPARED
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.errors import StoreError
from cal_pipeline.heterodyne.compare import compare_l1_stores


@pytest.fixture
def pair(tmp_path):
    """Write an array into one scan of two stores and compare it."""

    def make(first, second, units=("K", "K"), chunks=(None, None)):
        paths = [write_product(tmp_path / name, {"scan_000001": record(1)}, {}) for name in ("a.zarr", "b.zarr")]
        for path, values, unit, chunk in zip(paths, (first, second), units, chunks, strict=True):
            write_array(LocalStorePath(path), "scan_000001/x", values, unit, chunk)
        (difference,) = compare_l1_stores(*paths).arrays
        assert difference.path == "scan_000001/x"
        return difference

    return make


class TestArrays:
    def test_numbers_differ_by_largest_and_rms(self, pair):
        found = pair([3.0, 4.0, 3.0, 4.0], [3.0, 4.5, 3.0, 3.0])
        assert (found.n_samples, found.n_different, found.largest) == (4, 2, 1.0)
        assert found.rms == pytest.approx(np.sqrt(1.25 / 4))
        assert found.scale == pytest.approx(np.sqrt(50.0 / 4))
        assert found.relative == pytest.approx(1.0 / np.sqrt(12.5))
        assert found.within(0.3)
        assert not found.within(0.28)
        assert not found.identical

    @pytest.mark.parametrize("values", [[1.0, np.nan, np.inf, -np.inf, 0.0], ["a", ""], [1, 2]])
    def test_equal_records_do_not_differ(self, pair, values):
        found = pair(values, values)
        assert found.identical
        assert found.relative == 0.0
        assert found.within(0.0)

    def test_minus_zero_is_zero(self, pair):
        assert pair([0.0], [-0.0]).identical

    @pytest.mark.parametrize(
        ("first", "second"), [([1.0, np.nan], [1.0, 2.0]), ([np.inf, 1.0], [1.0, 1.0]), (["a", "b"], ["a", "c"])]
    )
    def test_beyond_any_tolerance(self, pair, first, second):
        found = pair(first, second)
        assert found.n_different == 1
        assert found.largest == np.inf
        assert not found.within(1e9)

    def test_integers_that_a_float_does_not_resolve(self, pair):
        found = pair(np.array([2**60, 5]), np.array([2**60 + 1, 5]))
        assert (found.n_different, found.largest) == (1, 1.0)

    def test_unsigned_integers_do_not_wrap(self, pair):
        assert pair(np.array([1, 7], np.uint16), np.array([2, 7], np.uint16)).largest == 1.0

    @pytest.mark.parametrize("chunks", [((2, 3), (4, 1)), ((1, 1), (5, 4)), ((5, 4), (3, 2))])
    def test_chunks_of_another_shape(self, pair, chunks):
        values = np.arange(20.0).reshape(5, 4)
        other = values.copy()
        other[4, 3] += 1.0
        found = pair(values, other, chunks=chunks)
        assert (found.n_samples, found.n_different, found.largest) == (20, 1, 1.0)

    @pytest.mark.parametrize(
        ("second", "words"),
        [
            (np.zeros(3), r"(2,) float64 against (3,) float64"),
            (np.zeros(2, "int64"), r"(2,) float64 against (2,) int64"),
            (["a", "b"], "float64 against (2,) string"),
        ],
    )
    def test_another_shape_or_type(self, pair, second, words):
        found = pair(np.zeros(2), second)
        assert words in found.problem
        assert found.relative == np.inf
        assert not found.within(np.inf)
        assert not found.unreadable

    def test_floats_of_another_width_are_compared_as_numbers(self, pair):
        assert pair([0.5, np.nan], np.array([0.5, np.nan], "float32")).identical
        found = pair([0.1, 0.5], np.array([0.1, 0.5], "float32"))
        assert found.n_different == 1
        assert found.largest == pytest.approx(1.5e-9, rel=0.01)

    def test_another_unit_is_another_value(self, pair):
        assert pair([1.0], [1.0], units=("K", "mK")).problem == "unit 'K' against 'mK'"

    def test_arrays_of_groups_below_and_of_bands(self, tmp_path):
        scans = {"scan_000001/band_0": record(1), "scan_000001/band_1": record(1)}
        paths = [write_product(tmp_path / name, scans, {"skydiff/s": [1.0]}) for name in "ab"]
        assert [item.path for item in compare_l1_stores(*paths).arrays] == [
            "scan_000001/band_0/skydiff/s",
            "scan_000001/band_1/skydiff/s",
        ]
        write_array(LocalStorePath(paths[0]), "scan_000001/band_0/x", [1.0])
        assert [item.path for item in compare_l1_stores(*paths, leave_out=["skydiff"]).arrays] == [
            "scan_000001/band_0/x"
        ]

    def test_only_some_scans(self, tmp_path):
        paths = [write_product(tmp_path / name, {f"scan_{n:06d}": record(n) for n in (1, 2, 3)}) for name in "ab"]
        write_array(LocalStorePath(paths[1]), "scan_000002/spectra", np.zeros((4, 3)))
        assert compare_l1_stores(*paths).status() == DIFFER
        assert compare_l1_stores(*paths, scans=[1, 3]).status() == EQUAL
        assert {item.path[:11] for item in compare_l1_stores(*paths, scans=[1, 3]).arrays} == {
            "scan_000001",
            "scan_000003",
        }


class TestDamage:
    @pytest.fixture
    def stores(self, tmp_path):
        return [write_product(tmp_path / name, {"scan_000001": record(1)}) for name in ("a.zarr", "b.zarr")]

    def test_a_flipped_bit_is_not_a_difference(self, stores):
        (chunk,) = (stores[1] / "scan_000001" / "spectra").glob("c*")
        content = bytearray(chunk.read_bytes())
        content[len(content) // 2] ^= 1
        chunk.write_bytes(bytes(content))
        comparison = compare_l1_stores(*stores)
        assert comparison.status(1e9) == NOT_COMPARED
        (problem,) = (item.problem for item in comparison.arrays if item.problem)
        assert "cannot be read" in problem
        assert "b.zarr/scan_000001/spectra" in problem

    @pytest.mark.parametrize("content", ["", "not JSON", "{}", '{"node_type": "array"}', "[]"])
    def test_metadata(self, stores, content):
        (stores[0] / "scan_000001" / "spectra" / "zarr.json").write_text(content)
        comparison = compare_l1_stores(*stores)
        assert comparison.status() in (DIFFER, NOT_COMPARED)
        assert any(item.path == "scan_000001/spectra" and item.problem for item in comparison.arrays)

    def test_a_missing_array(self, stores):
        shutil.rmtree(stores[1] / "scan_000001" / "spectra")
        comparison = compare_l1_stores(*stores)
        assert comparison.status(1e9) == DIFFER
        assert [item.problem for item in comparison.arrays if item.problem] == [f"not in {stores[1]}"]


class TestKinds:
    """Stores that are none, or hold nothing to compare, are named for what they are."""

    @pytest.fixture
    def product(self, tmp_path):
        return write_product(tmp_path / "l1.zarr", {"scan_000001": record(1)})

    def refused(self, *stores, **settings):
        with pytest.raises(StoreError) as raised:
            compare_l1_stores(*stores, **settings)
        message = str(raised.value)
        assert len(message.splitlines()) == 1
        return message

    def test_a_session(self, product, tmp_path):
        write_scan(tmp_path / "s.zarr", 1)
        message = self.refused(product, tmp_path / "s.zarr")
        assert f"{product} is an L1 store of 1 scan" in message
        assert f"{tmp_path / 's.zarr'} is no L1 store: it is an L0 session of 1 scan" in message
        assert "L0 session" in self.refused(tmp_path / "s.zarr", tmp_path / "s.zarr")

    def test_other_stores_and_files(self, product, tmp_path):
        zarr.create_group(tmp_path / "g.zarr").create_array("x", data=np.zeros(3))
        (tmp_path / "l1_quality.ecsv").write_text("# %ECSV 1.0")
        assert "a Zarr group without" in self.refused(product, tmp_path / "g.zarr")
        assert "a table of quality figures" in self.refused(tmp_path / "l1_quality.ecsv", product)
        assert "not there" in self.refused(product, tmp_path / "nothing.zarr")

    def test_no_such_scan(self, product):
        assert "neither store has scan 7" in self.refused(product, product, scans=[7])

    def test_nothing_in_it(self, tmp_path):
        stores = [write_product(tmp_path / name, {}) for name in "ab"]
        assert "holds a scan" in self.refused(*stores)
        stores = [write_product(tmp_path / name, {"scan_000001": record(1)}, {}) for name in "cd"]
        assert "holds an array" in self.refused(*stores)


class TestRecords:
    def compare(self, tmp_path, first, second, **settings):
        stores = []
        for name, scans in (("a", first), ("b", second)):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            stores.append(
                write_product(tmp_path / name, {f"scan_{n:06d}": attributes for n, attributes in scans.items()})
            )
        return compare_l1_stores(*stores, **settings)

    def facts(self, comparison):
        return {(fact.category, fact.name): (fact.first, fact.second) for fact in comparison.records.facts}

    def test_equal_records_do_not_differ(self, tmp_path):
        records = self.compare(tmp_path, {1: record(1)}, {1: record(1)}).records
        assert records.n_parts == 1
        assert not records.facts
        assert not records.numbers

    def test_a_parameter_and_where_it_came_from(self, tmp_path):
        other = {"steps": {"loads": {"image_gain": 0.0, "clip": 0.01}}}
        found = self.compare(
            tmp_path, {1: record(1)}, {1: record(1, parameters=other, origins={"steps.loads.image_gain": "argument"})}
        )
        assert self.facts(found) == {
            ("parameters", "steps.loads.image_gain"): ("1.0 (cfg/ccat_chai_otf.asdf)", "0.0 (argument)"),
            ("parameters", "steps.loads.clip"): ("-", "0.01 (default)"),
            ("parameters", "steps.gain.skip"): ("true (default)", "-"),
        }
        assert found.status() == EQUAL

    def test_parameters_of_one_run_are_no_difference(self, tmp_path):
        parameters = record(1)["provenance"]["parameters"]
        other = parameters | {
            "output_file": "other.zarr",
            "workers": 8,
            "threads": 2,
            "overwrite": True,
            "scans": ["1"],
        }
        other["steps"] = {"loads": {"image_gain": 1.0, "save_results": True}, "gain": {"skip": True}}
        assert not self.facts(self.compare(tmp_path, {1: record(1)}, {1: record(1, parameters=other)}))

    def test_only_the_origin(self, tmp_path):
        scans = {1: record(1)}, {1: record(1, origins={"steps.loads.image_gain": "argument"})}
        assert self.facts(self.compare(tmp_path, *scans)) == {
            ("origins", "steps.loads.image_gain"): ("cfg/ccat_chai_otf.asdf", "argument")
        }
        assert not self.facts(self.compare(tmp_path, *scans, origins=False))

    @pytest.mark.parametrize(
        ("changes", "key", "second"),
        [
            ({"engine_version": "0.2.0"}, ("engine", "version"), "0.2.0"),
            ({"atm_sha256": "c" * 64}, ("reference files", "atmosphere table"), "atm.asdf (sha256 cccccccccccc)"),
            ({"telescope_profile": "SOFIA"}, ("reference files", "telescope profile"), "SOFIA (sha256 999999999999)"),
            (
                {"calibration_scans": [7], "calibration_reason": "lloadsn"},
                ("loads", "scan of the loads"),
                "7 (lloadsn)",
            ),
            ({"l0_store": "s3://night/s.zarr"}, ("input", "L0 session"), "s3://night/s.zarr"),
            ({"mode": "total_power"}, ("scan", "observing mode"), "total_power"),
            (
                {"verdict": "questionable", "checks": ["noise_ratio", "ripple"]},
                ("verdicts", "verdict"),
                "questionable (noise_ratio, ripple)",
            ),
        ],
    )
    def test_what_else_was_recorded(self, tmp_path, changes, key, second):
        found = self.compare(tmp_path, {1: record(1)}, {1: record(1, **changes)})
        assert set(self.facts(found)) == {key}
        assert self.facts(found)[key][1] == second
        assert found.status() == EQUAL

    def test_what_scans_share_is_one_difference(self, tmp_path):
        first = {n: record(n) for n in range(1, 6)}
        second = {n: record(n, engine_version="0.2.0", verdict="fail" if n == 3 else "pass") for n in range(1, 6)}
        facts = self.compare(tmp_path, first, second).records.facts
        assert [(fact.name, len(fact.parts)) for fact in facts] == [("version", 5), ("verdict", 1)]
        assert facts[1].parts == ("scan 3",)

    def test_results_the_largest_change_first(self, tmp_path):
        first = {n: record(n, pwv=0.5, t_sys=120.0) for n in (1, 2, 3)}
        second = {1: record(1, pwv=0.5), 2: record(2, pwv=0.505), 3: record(3, pwv=0.4)}
        (number,) = self.compare(tmp_path, first, second).records.numbers
        assert (number.name, number.unit) == ("PWV", "mm")
        assert number.values == (("scan 3", 0.5, 0.4), ("scan 2", 0.5, 0.505))

    def test_a_result_that_one_lacks(self, tmp_path):
        (number,) = self.compare(tmp_path, {1: record(1)}, {1: record(1, t_rec=None)}).records.numbers
        assert (number.name, number.values) == ("T_rec SSB", (("scan 1", 170.0, None),))

    def test_records_of_another_kind_do_not_stop_it(self, tmp_path):
        odd = {"scan_number": 1, "qa": [], "provenance": "none", "cal_step": None}
        found = self.compare(tmp_path, {1: record(1)}, {1: odd})
        assert self.facts(found)["engine", "version"] == ("0.1.0", "-")

    def test_scans_of_one_store_only(self, tmp_path):
        failure = {"scan_number": 3, "step": "loads", "error_class": "NoLoadsError", "message": "no loads"}
        first = write_product(tmp_path / "a", {f"scan_{n:06d}": record(n) for n in (1, 3)})
        second = write_product(tmp_path / "b", {f"scan_{n:06d}": record(n) for n in (1, 2)}, failures=[failure])
        comparison = compare_l1_stores(first, second)
        assert comparison.records.only_first == (3,)
        assert comparison.records.only_second == (2,)
        assert comparison.records.failures == (failure,)
        assert comparison.records.n_parts == 1
        assert comparison.status(1e9) == DIFFER


def test_a_zip_file(tmp_path):
    first = write_product(tmp_path / "l1.zarr", {"scan_000001": record(1), "scan_000002/band_0": record(2)})
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", first)
    comparison = compare_l1_stores(first, packed)
    assert comparison.status() == EQUAL
    assert len(comparison.arrays) == 6
    assert not comparison.records.facts
