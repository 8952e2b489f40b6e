"""Times of subscans: impossible ones fail a scan, odd ones make it questionable, sound ones say nothing."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from helpers_l0 import FILL, MJD, SECOND, loads_counts, write_scan

from cal_pipeline.errors import LayoutError
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.heterodyne.times import check_times, find_odd_loads, find_odd_times
from cal_pipeline.steps import LoadsStep, PrepareStep

YEAR = 365.0
PHASES = ["OFF", "ON", "ON", "OFF", "ON", "ON", "OFF"]
ONES = np.ones(7, int)
TIMES = MJD + 10.0 * SECOND * np.arange(7)
CHOPPED = ["OTFSWA-ON", "OTFSWA-OFF", "OTFSWB-OFF", "OTFSWB-ON"]
FIXED = {"strategy": "fixed", "pwv": 1.0}


@pytest.fixture
def store(tmp_path):
    return tmp_path / "s.zarr"


def write(store, times, number=1, phases=PHASES, exptime=2.0, **changes):
    source = {
        "phases": phases,
        "counts": loads_counts(np.full((4, 2, 1), 1.0e5), 90.0, [100.0 + 10.0 * ("ON" in phase) for phase in phases]),
        "mjd": np.asarray(times),
        "exptime": np.full(len(phases), exptime, np.float32),
    }
    return write_scan(store, number, source=source, **changes)


def moved(by, *subscans, times=TIMES):
    times = times.copy()
    times[list(subscans)] += by
    return times


class TestImpossible:
    @pytest.mark.slow
    @pytest.mark.parametrize("by", [YEAR, -YEAR, 1.5])
    @pytest.mark.parametrize("subscans", [(0,), (3,), (1, 6)])
    def test_some_are_far_from_the_others(self, store, by, subscans):
        write(store, moved(by, *subscans))
        words = (
            rf"s.zarr/scan_000001/source/mjd of subscans \{list(subscans)} is .*, up to [\d.]+ d from the others \(60"
        )
        with pytest.raises(LayoutError, match=words) as got:
            Session(store).open_scan(1)
        assert "expected subscans of a scan within 1 d of each other" in str(got.value)

    @pytest.mark.parametrize("times", [np.full(7, MJD), np.repeat(TIMES, 2)[:7], moved(9.9 * SECOND, 5)])
    def test_several_at_a_time(self, store, times):
        write(store, times)
        words = r"source/mjd of subscans \[\d, \d\] is .* s apart, expected 0.2 s or more"
        with pytest.raises(LayoutError, match=words):
            Session(store).open_scan(1)

    def test_all_at_a_time_are_counted(self, store):
        write(store, np.full(7, MJD))
        with pytest.raises(LayoutError, match=r"a dump takes 2 s \(exptime\); so are 7 of 7 subscans"):
            Session(store).open_scan(1)

    @pytest.mark.parametrize(
        ("times", "words"),
        [
            (TIMES + 2400000.5, "they look like Julian dates"),
            ((TIMES - 40587.0) * 86400.0, "they look like Unix time in seconds"),
            (TIMES - 40000.0, "they look like truncated Julian dates"),
            (moved(-MJD, 2), r"subscans \[2\] is .* expected finite numbers above 30000 d"),
            (-TIMES, r"subscans \[0, 1, 2, 3, 4, 5, 6\] is .*expected finite numbers above 30000 d"),
            (moved(np.nan, 2), r"subscans \[2\] is \[nan\] d"),
        ],
    )
    def test_no_modified_julian_dates(self, store, times, words):
        write(store, times)
        with pytest.raises(LayoutError, match=f"source/mjd of .*{words}"):
            Session(store).open_scan(1)

    @pytest.mark.parametrize("jd", [2400000.5, -MJD])
    def test_those_of_own_loads(self, store, jd):
        write(store, TIMES, calibration={"mjd": MJD + jd - SECOND * np.array([60.0, 50.0])})
        with pytest.raises(LayoutError, match=r"its own loads .*calibration/mjd of subscans \[0, 1\] is"):
            LoadsStep().run(str(store))

    def test_a_load_a_year_off(self, store):
        write(store, TIMES, calibration={"mjd": np.array([MJD - YEAR, MJD - 50.0 * SECOND])})
        with pytest.raises(
            LayoutError, match=r"its own loads .*calibration/mjd of subscans \[1\] is .* 1 d of each other"
        ):
            LoadsStep().run(str(store))

    def test_subscans_that_take_no_part_are_not_looked_at(self, store):
        write(store, moved(YEAR, 4, times=moved(-10.0 * SECOND, 5)), phases=[*PHASES[:4], "MOON", "SKY", "OFF"])
        at = Session(store).open_scan(1).bands[0].coordinates
        assert np.flatnonzero(np.isnan(at.mjd)).tolist() == [4]
        assert at.time_span == (TIMES[0], TIMES[6])

    def test_chopped_on_and_off_share_their_time(self, store):
        write(store, MJD + 10.0 * SECOND * np.array([0.0, 0.0, 1.0, 1.0]), phases=CHOPPED)
        assert PrepareStep().run(str(store)).bands[0].pairing.odd_times == 0
        with pytest.raises(LayoutError, match="0 s apart"):
            check_times("source", np.array(["SWA-ON"] * 2), np.full(2, MJD), np.ones(2), np.ones(2, bool), True)


class TestOdd:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("times", "words"),
        [
            (TIMES[::-1], r"runs backwards in the order of the store, by up to 10 s, at subscans [1, 2, 3, 4, 5, 6]"),
            (moved(-15.0 * SECOND, 3), "runs backwards in the order of the store, by up to 5 s, at subscans [3]"),
            (moved(2.0 / 24.0, 6), "has a break of 7210 s before subscans [6], expected 3600 s or less"),
            (
                moved(8.0 * SECOND, 3),
                "of subscans [3, 4] is 2 s apart, expected 3 s or more, as exptime and the number",
            ),
        ],
    )
    def test_is_said_and_judged(self, store, calibrate, caplog, times, words):
        write(store, times)
        with caplog.at_level(logging.WARNING, "cal_pipeline"):
            qa = calibrate(store, atmosphere=FIXED).attributes(1)["qa"]
        assert f"scan 1: {store}/scan_000001/source/mjd {words}" in caplog.text
        assert qa["odd_times"] == 1
        assert [item["verdict"] for item in qa["verdicts"] if item["name"] == "odd_times"] == ["questionable"]

    @pytest.mark.parametrize(
        ("date", "odd"),
        [
            ("2023-02-25T00:00:00", False),
            ("2023-02-26", False),
            ("2022-02-25T00:00:00Z", True),
            ("2023-02-27T00:00:00-12:00", True),
            ("a winter's night", False),
            (None, False),
            (20230225, False),
        ],
    )
    def test_date_of_observation(self, date, odd):
        found = find_odd_times("source", np.arange(7), np.array(PHASES), TIMES, np.full(7, 2.0), ONES, False, date)
        assert [f"from date_obs ({date})" in words for words in found] == [True] * odd

    def test_own_loads_far_away(self, store, caplog):
        write(store, TIMES, calibration={"mjd": MJD - YEAR - SECOND * np.array([60.0, 50.0])})
        assert LoadsStep().run(str(store)).bands[0].loads.odd_times == 1
        assert "begins at 60000.000000 d, 365.001 d from its own loads (59634.999363 d), expected 1 d" in caplog.text

    def test_loads_at_the_time_of_a_subscan(self, store, caplog):
        write(store, TIMES, calibration={"mjd": TIMES[:2]})
        assert LoadsStep().run(str(store)).bands[0].loads.odd_times == 1
        assert "has subscans at the times of its loads, [60000.000000, 60000.000116] d" in caplog.text

    @pytest.mark.slow
    @pytest.mark.parametrize("year", [-YEAR, YEAR])
    def test_a_scan_a_year_off_among_others(self, store, caplog, year):
        for number in (1, 2, 3):
            times = TIMES + 0.01 * number + year * (number == 2)
            write(store, times, number, calibration={"mjd": times[0] - SECOND * np.array([60.0, 50.0])})
        odd = [LoadsStep().run(str(store / f"scan_00000{number}")).bands[0].loads.odd_times for number in (1, 2, 3)]
        assert odd == [0, 1, 0]
        assert "before or after the loads of the scans with the next lower and higher number" in caplog.text

    @pytest.mark.slow
    def test_loads_that_a_session_has_grown_by_are_looked_at_when_resumed(self, store, calibrate, caplog):
        """Times are odd against the scans on both sides; of one side they are not known."""
        caplog.set_level(logging.INFO, "cal_pipeline")

        def add(number):
            times = TIMES + 0.1 * number + YEAR * (number == 2)
            write(store, times, number, calibration={"mjd": times[0] - SECOND * np.array([60.0, 50.0])})

        for number in (1, 2):
            add(number)
        assert calibrate(store, atmosphere=FIXED).attributes(2)["qa"]["odd_times"] == 0
        add(3)
        product = calibrate(store, atmosphere=FIXED, resume=True)
        assert product.attributes(2)["qa"]["odd_times"] == 1
        assert "resume: 1 scan kept, 1 redone (1 odd times changed), 1 new" in caplog.text
        caplog.clear()
        calibrate(store, atmosphere=FIXED, resume=True)
        assert "resume: 3 scans kept\n" in caplog.text

    def test_missing_dumps_take_no_time(self, store):
        group = write(store, moved(8.0 * SECOND, 3))
        counts = group["source/data_5d"][...]
        counts[:, 1, ..., 3] = FILL
        group["source/data_5d"][...] = counts
        assert PrepareStep().run(str(store)).bands[0].pairing.odd_times == 0


class TestSound:
    @pytest.mark.parametrize(
        "order", [[0, 3, 6, 1, 2, 4, 5], [1, 2, 4, 5, 0, 3, 6]], ids=["OFFs before ONs", "ONs before OFFs"]
    )
    def test_subscans_by_phase(self, order):
        phases = np.array(PHASES)[order]
        assert find_odd_times("source", np.arange(7), phases, TIMES[order], np.full(7, 4.0), ONES, False) == []
        backwards = TIMES[order][[*range(5), 6, 5]]
        (words,) = find_odd_times("source", np.arange(7), phases, backwards, np.full(7, 4.0), ONES, False)
        assert words.endswith("at subscans [6]")

    @pytest.mark.parametrize("loads", [[-60.0, -50.0], [100.0, 110.0], [-60.0, 110.0], [25.0, 35.0]])
    def test_loads_before_after_and_within(self, loads):
        mjd, exptime = TIMES, np.full(7, 2.0)
        assert find_odd_loads("source", MJD + SECOND * np.array(loads), True, mjd, exptime, None) == []

    def test_loads_of_unknown_time(self):
        assert find_odd_loads("source", np.full(2, np.nan), True, TIMES, np.full(7, 2.0), None) == []

    def test_times_that_are_rounded_to_the_second(self):
        times = np.round(TIMES * 86400.0 + 0.3 * np.arange(7)) / 86400.0
        assert find_odd_times("source", np.arange(7), np.array(PHASES), times, np.full(7, 10.0), ONES, False) == []

    @pytest.mark.parametrize("step", [0.1, 0.02, 1e-6])
    def test_chopped_pairs_with_the_off_first(self, step):
        phases = np.array([*CHOPPED, *CHOPPED])
        times = MJD + SECOND * (
            30.0 * np.repeat(np.arange(4), 2) + step * (np.char.rpartition(phases, "-")[:, 2] != "OFF")
        )
        exptime, ones = np.full(8, 0.05), np.ones(8, int)
        assert find_odd_times("source", np.arange(8), phases, times, exptime, ones, True) == []
        times[4] -= 70.0 * SECOND
        (words,) = find_odd_times("source", np.arange(8), phases, times, exptime, ones, True)
        assert "runs backwards" in words
        assert words.endswith("by up to 10 s, at subscans [4]")

    def test_steps_back_of_no_time(self):
        times = TIMES.copy()
        times[1] = np.nextafter(times[0], 0.0)
        exptime = np.full(7, 1e-9)
        words = find_odd_times("source", np.arange(7), np.array(PHASES), times, exptime, ONES, False)
        assert not any("backwards" in word for word in words)

    def test_one_subscan(self):
        assert check_times("source", np.array(["ON"]), TIMES[:1], np.ones(1), np.ones(1, bool), False) is not None
        assert find_odd_times("source", np.arange(1), np.array(["ON"]), TIMES[:1], np.ones(1), ONES, False) == []

    @pytest.mark.slow
    def test_a_sound_scan_says_nothing(self, store, calibrate, caplog):
        write(store, TIMES)
        with caplog.at_level(logging.WARNING, "cal_pipeline"):
            qa = calibrate(store, atmosphere=FIXED).attributes(1)["qa"]
        assert qa["odd_times"] == 0
        assert "mjd" not in caplog.text
