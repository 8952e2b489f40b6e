"""Calibration scans: which become one, and the last loads of a scan."""

from __future__ import annotations

from typing import Any

import pytest
from helpers_rows import Grouping, group, row, seconds_of, table, values_of

from cal_pipeline.heterodyne.ingest.plan import Plans, plan_scans


def plan_all(rows: list[dict[str, Any]], loads_gap: float = 300.0, problems: dict[int, str] | None = None) -> Plans:
    """Plan rows of several scans."""
    return plan_scans(table(rows, problems), Grouping(loads_gap=loads_gap))


def last_loads(plans: Plans) -> dict[int, list[int]]:
    """Return the distinct lloadsn of each scan."""
    return {
        number: sorted({value for name in plan.bands[0].groups for value in values_of(plan, "lloadsn", name)})
        for number, plan in plans.scans.items()
    }


VANE_SKY_NOD = [
    row("HOT", 0.0, number=329, file="1.fits", scan_source="vane"),
    row("SKY", 27.0, number=330, file="2.fits", scan_source="sky"),
    row("ON", 54.0, number=331, file="3.fits", scan_source="NGC 5908"),
    row("OFF", 94.0, number=331, file="4.fits", scan_source="NGC 5908"),
]


def test_vane_and_sky_become_one_scan() -> None:
    """Numbered after the first, with the files of both."""
    plans = plan_all(VANE_SKY_NOD)
    assert (plans.merged, list(plans.scans)) == ({330: 329}, [329, 331])
    loads = plans.scans[329]
    assert values_of(loads, "sobsmode", "calibration") == ["HOT", "SKY"]
    assert (loads.files, loads.attributes["scan_number"], loads.attributes["source"]) == ((0, 1), 329, "vane")
    assert last_loads(plans) == {329: [329], 331: [329]}


@pytest.mark.parametrize(("loads_gap", "expected"), [(26.1, {330: 329}), (25.9, {}), (0.0, {})])
def test_gaps_below_loads_gap_join(loads_gap: float, expected: dict[int, int]) -> None:
    """From the end of one, half a second after its middle, to the start of the next: 26 s."""
    assert plan_all(VANE_SKY_NOD, loads_gap).merged == expected


def test_whole_chains_join() -> None:
    """Each gap counts for itself: four scans of 200 s each."""
    rows = [row("HOT", 200.0 * place, number=10 + place) for place in range(4)]
    plans = plan_all(rows)
    assert plans.merged == {11: 10, 12: 10, 13: 10}
    assert seconds_of(plans.scans[10], "calibration") == [0.0, 200.0, 400.0, 600.0]
    assert group(plans.scans[10], "calibration").shape[4] == 4


@pytest.mark.parametrize(
    "between",
    [
        [row("ON", 10.0, number=2)],
        [row("ON", -5.0, number=2), row("OFF", 12.0, number=2)],
        [row("HOT", 9.0, number=2), row("ON", 10.0, number=2)],
    ],
    ids=["a scan", "one that began earlier", "one with loads of its own"],
)
def test_nothing_else_may_be_between(between: list[dict[str, Any]]) -> None:
    """A scan with ONs or OFFs separates calibration scans."""
    plans = plan_all([row("HOT", 0.0, number=1), *between, row("COLD", 20.0, number=3)])
    assert plans.merged == {}
    assert set(plans.scans) == {1, 2, 3}


def test_a_failed_calibration_scan_keeps_its_neighbours_together() -> None:
    """It fails alone."""
    rows = [row(phase, 10.0 * number, number=number) for number, phase in enumerate(("HOT", "SKY", "COLD"))]
    rows.append(row("", float("nan"), number=1, file="c.fits"))
    plans = plan_all(rows, problems={1: "b.fits: no TAMBIENT", 3: "c.fits: truncated"})
    assert (plans.merged, list(plans.scans)) == ({2: 0}, [0])
    assert [(failure.scan_number, failure.message) for failure in plans.failures] == [
        (1, "scan 1: b.fits: no TAMBIENT (and 1 more row)")
    ]


def test_other_receivers_stay_apart() -> None:
    """Loads of two frontends, or with other numbers of channels, are no one scan."""
    for other in ({"scan_frontend": "HFA"}, {"n_channels": 32}):
        rows = [
            row("HOT", 0.0, number=1, scan_frontend="LFA"),
            row("HOT", 10.0, number=2, **{"scan_frontend": "LFA"} | other),
        ]
        plans = plan_all(rows)
        assert plans.merged == {}
        assert plans.failures == []


def test_calibration_scans_at_one_time_stay_apart() -> None:
    """They are not consecutive."""
    rows = [row("HOT", float(time), number=time % 2) for time in range(4)]
    assert plan_all(rows).merged == {}


def test_the_last_loads_are_own_then_before_then_none() -> None:
    """Loads after a scan do not count, nor does a scan of SKY only."""
    rows = [
        row("ON", 0.0, number=5),
        row("HOT", 1000.0, number=6),
        row("SKY", 1500.0, number=7),
        row("ON", 2000.0, number=8),
        row("ON", 3000.0, number=9),
        row("COLD", 3010.0, number=9),
        row("ON", 4000.0, number=10),
        row("HOT", 5000.0, number=11),
    ]
    assert last_loads(plan_all(rows)) == {5: [-1], 6: [6], 7: [6], 8: [6], 9: [9], 10: [9], 11: [11]}


def test_loads_of_another_frontend_are_passed_over() -> None:
    """The latest calibration scan of the same frontend counts."""
    rows = [
        row("HOT", 1000.0 * number, number=number, scan_frontend=frontend)
        for number, frontend in enumerate(("LFA", "HFA", ""))
    ]
    rows += [row("ON", 1500.0, number=7, scan_frontend="LFA"), row("ON", 2500.0, number=8, scan_frontend="LFA")]
    found = last_loads(plan_all(rows))
    assert (found[7], found[8]) == ([0], [2])


def test_recorded_numbers_of_loads_win() -> None:
    """lloadsn of the first pixel of a subscan; one that became part of another scan is followed."""
    rows = [
        row("HOT", 0.0, number=329),
        row("SKY", 20.0, number=330),
        row("ON", 400.0, number=331, lloadsn=330),
        row("ON", 410.0, number=331, lloadsn=-1),
        row("ON", 420.0, number=331, lloadsn=17),
        row("ON", 430.0, number=331),
        row("HOT", 440.0, number=331, lloadsn=12.0),
    ]
    plan = plan_all(rows).scans[331]
    assert values_of(plan, "lloadsn") == [329, -1, 17, 331]
    assert values_of(plan, "lloadsn", "calibration") == [12]


def test_failed_loads_are_named_with_a_warning() -> None:
    """A later run may add them; calibration falls back to others until then."""
    rows = [row("HOT", 0.0, number=1), row("HOT", 1000.0, number=2), row("ON", 2000.0, number=3)]
    plans = plan_all(rows, problems={1: "b.fits: truncated"})
    assert last_loads(plans) == {1: [1], 3: [2]}
    assert plans.scans[3].warnings == ("lloadsn names scan 2, which failed",)


def test_loads_without_a_time_are_no_last_loads() -> None:
    """Rows of which even the time is not there."""
    rows = [row("HOT", float("nan"), number=1), row("ON", 0.0, number=2)]
    plans = plan_all(rows, problems={0: "a.fits: no DATE-OBS"})
    assert last_loads(plans) == {2: [-1]}


LOADS = [row("HOT", 0.0, number=1, receiver=name) for name in "01"]


def warnings_beside_loads(receivers: str, **changes: Any) -> tuple[str, ...]:
    """Plan an ON of some receivers after loads of receivers 0 and 1, and return its warnings."""
    ons = [row("ON", 400.0, number=2, receiver=name, **changes) for name in receivers]
    return plan_all([*LOADS, *ons]).scans[2].warnings


def test_loads_that_do_not_fit_are_warned_of() -> None:
    """A pixel is lost in the scan or in the loads, or channels differ: calibration takes no such loads."""
    assert warnings_beside_loads("01") == ()
    assert warnings_beside_loads("01", n_channels=8) == (
        "loads of scan 1 have 16 channels, expected 8: calibration takes others",
    )
    assert warnings_beside_loads("0") == (
        "no rows of '0_PX1', which scan 1 has",
        "loads of scan 1 have 2 pixels, expected the 1 of this scan: calibration takes others",
    )
    assert "2 pixels, expected the 3 of this scan" in warnings_beside_loads("012")[0]


def test_pixels_that_other_scans_have_are_warned_of() -> None:
    """Of scans with loads of their own as well; receivers that have no pixel in common do not count."""
    rows = [row(phase, 100.0 * number, number=number) for number in (1, 2) for phase in ("ON", "HOT")]
    rows += [row("ON", 200.0, number=2, receiver=str(name)) for name in range(1, 6)]
    rows += [row("ON", 300.0, number=3, array="HFA")]
    plans = plan_all(rows)
    lost = "no rows of '0_PX1', '0_PX2', '0_PX3' and 2 more pixels, which scan 2 has"
    assert plans.scans[1].warnings == (lost,)
    assert not any("which scan" in warning for number in (2, 3) for warning in plans.scans[number].warnings)


TUNED = {"freq_res": 1e6, "n_channels": 1000}
"""A band of 1 GHz."""


def test_loads_of_two_tunings_stay_apart() -> None:
    """The receiver was tuned anew between them: a mean of both would be the gain of neither."""
    rows = [
        row("HOT", 0.0, number=1, signal_freq=87e9, **TUNED),
        row("COLD", 20.0, number=2, signal_freq=87.001e9, **TUNED),
        row("HOT", 100.0, number=3, signal_freq=90e9, **TUNED),
        row("COLD", 120.0, number=4, signal_freq=90e9, **TUNED),
    ]
    assert plan_all(rows).merged == {2: 1, 4: 3}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"signal_freq": 87e9}, 1),
        ({"signal_freq": 87.08e9}, 1),
        ({"signal_freq": 87.0999e9 + 1e9, "freq_res": -1e6, "ref_channel": 0.0}, 3),
        ({"signal_freq": 90e9}, 3),
    ],
    ids=["same", "shifted by Doppler", "turned over", "latest"],
)
def test_last_loads_of_the_own_tuning(changes: dict[str, float], expected: int) -> None:
    """Earlier loads of the tuning come before later ones of another; without any, the latest are named."""
    rows = [
        row("HOT", 0.0, number=1, signal_freq=87e9, **TUNED),
        row("HOT", 1000.0, number=3, signal_freq=90e9, **TUNED),
        row("ON", 1100.0, number=5, **{**TUNED, **changes}),
    ]
    plans = plan_all(rows)
    assert last_loads(plans)[5] == [expected]


@pytest.mark.parametrize("number", [1, 5], ids=["own", "another scan's"])
def test_loads_of_another_tuning_are_told(number: int) -> None:
    """They fit in channels and pixels, so nothing else would tell."""
    rows = [
        row("HOT", 0.0, number=1, signal_freq=87e9, **TUNED),
        row("ON", 1100.0, number=number, signal_freq=90e9, **TUNED),
    ]
    (warning,) = (text for text in plan_all(rows).scans[number].warnings if "GHz" in text)
    name, effect = (
        ("its own loads", "T_A* is wrong with them") if number == 1 else ("loads of scan 1", "calibration takes others")
    )
    assert warning == (f"{name} were observed at 87 to 87.999 GHz, expected 90 to 90.999 GHz as the source: {effect}")


def test_bands_that_do_not_correspond_are_told() -> None:
    """A scan without the first window: its band_0 is the second one, at a frequency that Doppler shifts may reach."""
    rows = [
        row(phase, seconds, number=number, band=str(band), signal_freq=87e9 + 2.5e7 * band)
        for phase, seconds, number, bands in (("HOT", 0.0, 1, (0, 1, 2)), ("ON", 50.0, 2, (1, 2)))
        for band in bands
    ]
    plans = plan_all(rows)
    assert plans.scans[1].warnings == ()
    (warning,) = plans.scans[2].warnings
    assert warning.startswith("loads of scan 1 are of the bands '0', '1', '2', expected '1', '2': band_0, ...")
