"""A comparison is read by people: what differs first, the largest difference first, nothing twice."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_l1 import record, write_product

from cal_pipeline.core.store.compare import ArrayDifference, Comparison
from cal_pipeline.core.store.compare_records import FactDifference, NumberDifference, RecordDifferences
from cal_pipeline.heterodyne.compare import L1_RECORDS, compare_l1_stores
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.report.comparison import WIDTH, format_comparison, format_differences


def lines_of(text):
    lines = text.splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert all(line == line.rstrip() for line in lines)
    return lines


KIND = CalibratedSession.kind


def difference(path, largest=0.0, scale=1.0, **changes):
    return ArrayDifference(path, 10, int(largest > 0), largest, largest / 3, "K", scale, **changes)


class TestArrays:
    def test_the_largest_relative_difference_first(self):
        text = format_differences(
            [
                difference("scan_000001/a", 1.0, 1000.0),
                difference("scan_000001/b", 0.1, 0.01),
                difference("scan_000001/c"),
                difference("scan_000001/d", 5.0, 10.0),
                difference("scan_000001/e", problem="not in /data/b.zarr"),
                difference("scan_000001/f"),
            ],
            KIND,
        )
        names = [line.split()[0] for line in lines_of(text)]
        assert names == ["array", *(f"scan_000001/{name}" for name in "ebda"), "2"]
        assert text.endswith("2 arrays are identical")

    @pytest.mark.parametrize(
        ("n", "words"), [(1, "the array is identical"), (2, "all 2 arrays are identical"), (30, "all 30 arrays")]
    )
    def test_all_the_same_is_one_line(self, n, words):
        text = format_differences([difference(f"scan_000001/{k}") for k in range(n)], KIND)
        assert len(lines_of(text)) == 1
        assert words in text

    def test_many_scans_are_folded_by_the_name_of_the_array(self):
        rng = np.random.default_rng(1)
        arrays = [
            difference(f"scan_{scan:06d}/array_{name}", float(rng.random()) if name < 20 and scan % 2 else 0.0)
            for scan in range(1, 201)
            for name in range(24)
        ]
        arrays.append(difference("scan_000124/array_7", 50.0))
        lines = lines_of(format_differences(arrays, KIND))
        assert len(lines) == 1 + 20 + 1
        assert lines[1].split()[0] == "scan_000124/array_7"
        assert lines[1].endswith("101 of 201")
        assert lines[-1] == f"{24 * 200 - 20 * 100} arrays are identical"

    def test_differences_to_other_scans_are_folded_too(self):
        arrays = [difference(f"scan_{n:06d}/skydiff/spectrum_{n - 1:06d}", 0.1 * n) for n in range(2, 9)]
        lines = lines_of(format_differences(arrays, KIND))
        assert len(lines) == 2
        assert lines[1].startswith("scan_000008/skydiff/spectrum_000007")
        assert lines[1].endswith("7 of 7")

    def test_everything_on_demand(self):
        arrays = [difference(f"scan_{n:06d}/t_sys", 0.1 * (n == 3)) for n in range(1, 9)]
        lines = lines_of(format_differences(arrays, KIND, everything=True))
        assert len(lines) == 1 + 8 + 1
        assert lines[1].startswith("scan_000003/t_sys")

    @pytest.mark.parametrize(
        ("item", "words"),
        [
            (difference("scan_000001/spectra", np.inf), "NaN in one"),
            (ArrayDifference("scan_000001/pixel", 4, 1, np.inf, np.inf), "other values"),
            (difference("scan_000001/x", problem="(2,) float64 against (3,) float64"), "against (3,)"),
            (difference("scan_000001/x", problem="cannot be read: " + "long " * 100, unreadable=True), "..."),
        ],
    )
    def test_differences_that_are_no_number(self, item, words):
        assert words in lines_of(format_differences([item, difference("scan_000001/y", 0.1)], KIND))[1]


class TestSummary:
    def comparison(self, arrays=(), **records):
        settings = {"n_parts": 200} | records
        return Comparison(
            "/data/a.zarr", "s3://night/b.zarr", RecordDifferences(**settings), list(arrays), KIND, L1_RECORDS
        )

    def test_it_comes_first(self):
        fact = FactDifference("parameters", "steps.atmosphere.t_atm", "null (default)", "260 (argument)", ("scan 1",))
        text = format_comparison(self.comparison([difference("scan_000001/t", 0.1)], n_parts=1, facts=(fact,)))
        lines = lines_of(text)
        assert lines[:4] == [
            "first   /data/a.zarr",
            "second  s3://night/b.zarr",
            "parameters:",
            "  steps.atmosphere.t_atm: null (default) -> 260 (argument)",
        ]
        assert lines.index("  steps.atmosphere.t_atm: null (default) -> 260 (argument)") < text.splitlines().index("")

    def test_values_too_long_for_a_line(self):
        long = FactDifference("input", "L0 session", "/a" * 80, "s3://" + "b/" * 80, ("scan 1",))
        lines = lines_of(format_comparison(self.comparison(facts=(long,))))
        assert [line.split()[0] for line in lines[2:6]] == ["input:", "L0", "first", "second"]

    def test_in_which_scans(self):
        def where(bands):
            text = format_comparison(self.comparison(facts=(FactDifference("verdicts", "v", "pass", "fail", bands),)))
            return next(line for line in lines_of(text) if "pass -> fail" in line).partition("fail")[2].strip()

        assert where(tuple(f"scan {n}" for n in range(1, 201))) == ""
        assert where(("scan 7",)) == "[scan 7]"
        assert where(("scan 7 band_0", "scan 8 band_1")) == "[scan 7 band_0, scan 8 band_1]"
        assert where(tuple(f"scan {n}" for n in range(1, 100))) == "[99 of 200: scans 1:99]"
        assert where(tuple(f"scan {n}" for n in range(1, 200, 2))).endswith(", ...]")

    def test_results_of_many_scans_are_one_line(self):
        values = tuple((f"scan {n}", 0.5, 0.5 + 0.001 * (200 - n)) for n in range(1, 200))
        comparison = self.comparison(numbers=(NumberDifference("PWV", "mm", values),))
        lines = [line for line in lines_of(format_comparison(comparison)) if "PWV" in line]
        assert lines == ["  PWV: differs in 199 of 200 scans, most in:", "  PWV: 0.5 -> 0.699 mm  (+40 %)  [scan 1]"]
        everything = format_comparison(comparison, everything=True)
        assert sum("PWV" in line for line in lines_of(everything)) == 199

    @pytest.mark.parametrize(
        ("first", "second", "words"),
        [
            (120.0, 120.00001, "120 -> 120.00001 K  (+8.3e-06 %)"),
            (None, 120.0, "- -> 120 K  ["),
            (0.0, 1.0, "0 -> 1 K  ["),
            (-2.0, -1.0, "-2 -> -1 K  (+50 %)"),
        ],
    )
    def test_as_many_digits_as_show_it(self, first, second, words):
        number = NumberDifference("T_sys DSB", "K", (("scan 1", first, second),))
        assert words in format_comparison(self.comparison(numbers=(number,)))

    def test_origins_are_folded(self):
        bands = tuple(f"scan {n}" for n in range(1, 201))
        facts = [FactDifference("origins", f"steps.x.p{k}", "default", "argument", bands) for k in range(40)]
        lines = lines_of(format_comparison(self.comparison(facts=tuple(facts))))
        assert "  steps.x.p0, steps.x.p1, steps.x.p2, steps.x.p3, steps.x.p4, 35 more: default -> argument" in lines

    def test_names_cannot_change_the_terminal(self):
        fact = FactDifference("scan", "source", "Ori\x1b[2J\non", "η Car", ("scan 1",))
        text = format_comparison(self.comparison(facts=(fact,)))
        assert "  source: Ori\\x1b[2J\\non -> η Car  [scan 1]" in lines_of(text)

    def test_tolerance(self):
        arrays = [difference("scan_000001/a", 0.1), difference("scan_000001/b", 0.001), difference("scan_000001/c")]

        def last(tolerance):
            return lines_of(format_comparison(self.comparison(arrays), tolerance))[-1]

        assert last(0.01) == "1 of 3 arrays differs by more than 0.01 times its rms"
        assert last(0.5) == "none of 3 arrays differs by more than 0.5 times its rms"


@pytest.mark.slow
def test_two_stores_of_two_hundred_scans(tmp_path):
    """Everything that can differ does, in one screen."""
    stores = []
    for name, change in (("a.zarr", 0.0), ("b.zarr", 1.0)):
        scans = {
            f"scan_{n:06d}": record(
                n,
                pwv=0.5 + change * 0.001 * n,
                t_sys=120.0 + change * (n % 3),
                verdict="fail" if change and n % 50 == 0 else "pass",
                engine_version=f"0.{1 + int(change)}.0",
                atm_sha256=("b" if change else "c") * 64,
            )
            for n in range(1, 201)
        }
        stores.append(write_product(tmp_path / name, scans, {"spectra": np.arange(3.0) + change, "flags": np.zeros(3)}))
    comparison = compare_l1_stores(*stores)
    lines = lines_of(format_comparison(comparison))
    assert len(lines) <= 20
    assert comparison.status() == 1
    assert "  verdict: pass -> fail  [scan 50, scan 100, scan 150, scan 200]" in lines
    assert any(line.startswith("scan_000001/spectra") and line.endswith("200 of 200") for line in lines)
    assert lines[-1] == "200 arrays are identical"


def test_scans_of_one_store_only_are_no_rows(tmp_path):
    failure = {"scan_number": 2, "step": "loads", "error_class": "NoLoadsError", "message": "two\nlines"}
    first = write_product(tmp_path / "a", {"scan_000001": record(1), "scan_000002": record(2)})
    second = write_product(tmp_path / "b", {"scan_000001": record(1)}, failures=[failure])
    lines = lines_of(format_comparison(compare_l1_stores(first, second)))
    assert "only in the first: scan 2" in lines
    assert "  scan 2 failed in loads: NoLoadsError: two\\nlines" in lines
    assert not any("scan_000002" in line for line in lines)
