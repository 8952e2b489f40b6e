"""Rows of FITS files become subscans, dumps and pixels of a scan."""

from __future__ import annotations

import numpy as np
import pytest
from helpers_rows import Grouping, group, pixels_of, row, seconds_of, table, values_of

from cal_pipeline.heterodyne.ingest.plan import plan_scans
from cal_pipeline.heterodyne.ingest.rows import ScanPlan

SCAN = Grouping(dumps="scan")
IMAGE = Grouping(reader="image")


def plan_one(rows: list[dict[str, object]], profile: Grouping | None = None, **scan_values: object) -> ScanPlan:
    """Plan rows that make one scan without a failure."""
    plans = plan_scans(table(rows, **scan_values), profile or Grouping())
    assert plans.failures == []
    (plan,) = plans.scans.values()
    return plan


def phases_of(plan: ScanPlan, name: str = "source", band: int = 0) -> list[str]:
    """Return the phases of the subscans of a group."""
    return list(values_of(plan, "sobsmode", name, band))


def test_no_rows_make_no_scan() -> None:
    """An empty folder is no error of the planner."""
    plans = plan_scans(table([]), Grouping())
    assert (plans.scans, plans.failures, plans.merged) == ({}, [], {})


def test_rows_that_agree_to_half_an_exposure_are_one_subscan() -> None:
    """Beams that are read 0.4 exposures apart are of one subscan, those 0.6 apart are not."""
    near = plan_one([row("ON", 0.0, receiver="0"), row("ON", 0.4, receiver="1")])
    assert group(near).shape == (16, 1, 2, 1, 1)
    far = plan_one([row("ON", 0.0, receiver="0"), row("ON", 0.6, receiver="1")])
    assert group(far).shape == (16, 1, 2, 1, 2)
    assert group(far).rows[0, :, 0].tolist() == [[0, -1], [-1, 1]]


def test_staggered_beams_are_cut_where_they_no_longer_agree_with_the_first() -> None:
    """Each of five beams follows the one before by 0.3 exposures: pairs agree, the chain does not."""
    plan = plan_one([row("ON", 0.3 * beam, receiver=str(beam)) for beam in range(5)])
    assert seconds_of(plan) == [0.0, 0.6, 1.2]


def test_back_to_back_subscans_stay_apart() -> None:
    """Exposures without any pause between them, long and short, are subscans of their own."""
    plan = plan_one([row("ON", 5.0, exptime=10.0), row("ON", 10.5), row("ON", 11.5)])
    assert seconds_of(plan) == [5.0, 10.5, 11.5]


def test_source_is_in_order_of_time_and_loads_in_order_of_phase() -> None:
    """HOT, COLD and COL, SKY, ZERO, each by time, whatever was observed first."""
    loads = ["ZERO", "SKY", "COL", "HOT", "COLD", "HOT"]
    rows = [row(phase, 2.0 * place) for place, phase in enumerate(loads)]
    rows += [row(phase, 30.0 - place) for place, phase in enumerate(["OFF", "ON", "ON", "OFF"])]
    plan = plan_one(rows)
    assert phases_of(plan, "calibration") == ["HOT", "HOT", "COL", "COLD", "SKY", "ZERO"]
    assert seconds_of(plan, "calibration") == [6.0, 10.0, 4.0, 8.0, 2.0, 0.0]
    assert phases_of(plan) == ["OFF", "ON", "ON", "OFF"]
    assert seconds_of(plan) == [27.0, 28.0, 29.0, 30.0]
    assert plan.mjd == pytest.approx(60000.0, abs=1e-9)


def test_beams_see_the_loads_one_after_the_other() -> None:
    """The k-th HOT of each beam is one subscan, though the other beam looks at the cold load then."""
    rows = [
        row(phase, 10.0 * time, receiver=beam, file=f"{beam}.fits", thot=thot, tcold=tcold)
        for time, both in enumerate(("HC", "CH", "HC"))
        for beam, letter, thot, tcold in (("0", both[0], 263.0, 48.0), ("1", both[1], 264.0, 50.0))
        for phase in ({"H": "HOT", "C": "COLD"}[letter],)
    ]
    plan = plan_one(rows)
    assert phases_of(plan, "calibration") == ["HOT", "HOT", "COLD", "COLD"]
    # Beam 1 sees HOT once and COLD twice.
    assert group(plan, "calibration").rows[0, :, 0].tolist() == [[0, 4, 2, -1], [3, -1, 1, 5]]
    assert seconds_of(plan, "calibration") == [0.0, 20.0, 10.0, 20.0]
    assert values_of(plan, "thot", "calibration") == [263.5, 263.0, 263.5, 264.0]
    assert values_of(plan, "tcold", "calibration") == [49.0, 48.0, 49.0, 50.0]


def test_axes_are_sorted_as_numbers_where_all_are() -> None:
    """Receivers 2, 10 and 010 are two, in this order; with a letter among them they are text."""
    rows = [row("ON", 10.0 * place, receiver=name) for place, name in enumerate(("10", "2", "010"))]
    assert group(plan_one(rows)).rows[0, :, 0].tolist() == [[-1, 1, -1], [0, -1, 2]]
    rows.append(row("ON", 40.0, receiver="2b"))
    assert group(plan_one(rows)).rows[0, :, 0].argmax(axis=1).tolist() == [2, 0, 1, 3]


def test_labels_of_many_digits_stay_apart() -> None:
    """Whole numbers are exact; what is no plain number is text."""
    rows = [row("ON", 0.0, receiver=name) for name in ("10000000000000001", "10000000000000000", "9")]
    assert group(plan_one(rows)).rows.ravel().tolist() == [2, 1, 0]
    rows = [row("ON", 0.0, receiver=name) for name in ("1e9999", "2e9999", "nan")]
    assert group(plan_one(rows)).rows.ravel().tolist() == [0, 1, 2]


def test_numbers_beyond_all_bounds_are_left_to_the_reader() -> None:
    """Infinite or huge numbers of one field stop no scan; a file's numbers are what they are."""
    for name in ("elevation", "tamb", "signal_freq", "freq_res", "freq_off", "lloadsn", "lon", "thot", "ramp_otf_lon"):
        for value in (np.inf, -1e300):
            changes = {"otf_lon": 0.0} if name.startswith("ramp") else {"lat": 0.0}
            rows = [row(phase, time, **changes | {name: value}) for phase in ("ON", "HOT") for time in (0.0, 1.0)]
            plan = plan_one(rows, SCAN, source_lon_deg=0.0, source_lat_deg=0.0)
            groups = plan.bands[0].groups
            assert {kind: found.shape[-1] for kind, found in groups.items()} == {"source": 2, "calibration": 2}


def test_pixels_are_named_receiver_by_receiver() -> None:
    """frontend_backends is [R·A] with the arrays of a receiver next to each other."""
    rows = [one for name in ("V", "H") for one in pixels_of("ON", 0.0, range(2), array=name, file=f"{name}.fits")]
    plan = plan_one(rows)
    assert values_of(plan, "frontend_backends") == ["H_PX0", "V_PX0", "H_PX1", "V_PX1"]
    assert group(plan).rows[0, :, :, 0].tolist() == [[2, 0], [3, 1]]


def test_one_band_has_no_level_and_several_are_in_order() -> None:
    """Bands 3 and 12 become band_0 and band_1, each with its number of channels and attributes."""
    rows = [
        row("ON", 0.0, band="12", n_channels=32, scan_frontend="HFA", carried_ifnum="12"),
        row("ON", 0.0, band="3", scan_frontend="LFA", carried_ifnum="3"),
    ]
    plan = plan_one(rows, source="M82")
    assert [(band.name, band.attributes) for band in plan.bands] == [
        ("band_0", {"ifnum": "3", "frontend": "LFA"}),
        ("band_1", {"ifnum": "12", "frontend": "HFA"}),
    ]
    assert plan.attributes == {"ifnum": "3", "frontend": "LFA", "source": "M82", "scan_number": 1}
    assert [group(plan, band=band).shape[0] for band in (0, 1)] == [16, 32]
    alone = plan_one(rows[:1])
    assert (alone.bands[0].name, alone.bands[0].attributes) == ("", {})


def test_a_pixel_lost_in_one_band_is_missing_there() -> None:
    """Bands of the same arrays have the same pixels; those of separate arrays have their own."""
    rows = [
        *pixels_of("ON", 0.0, range(3), array="LFAH", band="0"),
        *pixels_of("ON", 0.0, range(2), array="LFAH", band="1"),
        *pixels_of("ON", 0.0, range(5), array="HFAV", band="2"),
    ]
    plan = plan_one(rows)
    assert [group(plan, band=band).shape for band in range(3)] == [
        (16, 1, 3, 1, 1),
        (16, 1, 3, 1, 1),
        (16, 1, 5, 1, 1),
    ]
    assert group(plan, band=1).rows.ravel().tolist() == [3, 4, -1]
    assert values_of(plan, "frontend_backends", band=1)[2] == "missing_2_LFAH"
    assert any("band_1" in warning and "receiver '2'" in warning for warning in plan.warnings)


def test_bands_without_source_are_warned_of() -> None:
    """A band of which only the loads were kept."""
    plan = plan_one([row("ON", 0.0, band="0"), row("HOT", 5.0, band="0"), row("HOT", 5.0, band="1")])
    assert plan.warnings == ("band_1: no ONs and OFFs, which other bands of the scan have",)


def test_coordinates_are_those_of_the_first_pixel_that_exists() -> None:
    """Receiver 0 lacks the second subscan, so receiver 1 tells its elevation and time."""
    rows = [
        row("ON", 0.0, receiver="0", elevation=0.5, pamb=1.0, azimuth=1.0),
        row("ON", 0.1, receiver="1", elevation=0.6, pamb=2.0, azimuth=2.0),
        row("ON", 5.1, receiver="1", elevation=0.7, pamb=3.0),
    ]
    plan = plan_one(rows)
    assert np.allclose(values_of(plan, "elevation"), [0.5, 0.7])
    assert values_of(plan, "pamb") == [1.0, 3.0]
    assert np.array_equal(values_of(plan, "azimuth"), [1.0, np.nan], equal_nan=True)
    assert seconds_of(plan) == [0.0, 5.1]
    assert any("1 of 4 pixels x subscans have no row" in warning for warning in plan.warnings)


def test_defaults_of_what_files_do_not_tell() -> None:
    """image_freq is signal_freq, freq_off and ref_channel are 0, loads have unknown temperatures, no azimuth."""
    plan = plan_one([row("ON", 0.0), row("HOT", 5.0, image_freq=4.7e11, ref_channel=8.0, thot=np.nan)])
    assert values_of(plan, "image_freq") == [4.6e11]
    assert values_of(plan, "image_freq", "calibration") == [4.7e11]
    assert values_of(plan, "freq_off") == values_of(plan, "ref_channel") == [0.0]
    assert values_of(plan, "ref_channel", "calibration") == [8.0]
    assert np.isnan(values_of(plan, "thot", "calibration") + values_of(plan, "tcold", "calibration")).all()
    absent = {"azimuth", "otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat", "thot", "tcold"}
    assert absent.isdisjoint(group(plan).coordinates)


def test_types_are_those_of_the_format() -> None:
    """Times, frequencies and temperatures of loads have 64 bits, other numbers 32."""
    kinds = {
        name: (values.dtype.str[1:], axes)
        for name, (axes, values) in group(plan_one([row("HOT", 0.0, azimuth=1.0)]), "calibration").coordinates.items()
    }
    wide = ("mjd", "signal_freq", "image_freq", "freq_res", "freq_off", "thot", "tcold")
    short = ("exptime", "elevation", "azimuth", "pamb", "tamb", "ref_channel")
    expected = dict.fromkeys(wide, ("f8", ("subscan",))) | dict.fromkeys(short, ("f4", ("subscan",)))
    expected |= {"lloadsn": ("i4", ("subscan",)), "sobsmode": ("O", ("subscan",))}
    assert kinds == expected | {"frontend_backends": ("O", ("pixel",))}


def test_attributes_are_those_of_the_first_on_or_off() -> None:
    """Not of the loads before it; unknown ones are absent, and none is replaced by a key that is carried."""
    names = {"scan_source": "", "scan_line": "", "carried_observer": ""}
    rows = [
        row("HOT", 0.0, **names | {"scan_source": "LOADS", "scan_line": "CO"}),
        row("ON", 20.0, **names | {"scan_source": "LATER"}),
        row("OFF", 10.0, **names | {"scan_source": "M82", "carried_observer": "N. N.", "carried_source": "no"}),
    ]
    plan = plan_one(rows, rest_freq_hz=np.float64(4.6e11), velocity_source_kms=np.float64(np.nan))
    assert plan.attributes == {"source": "M82", "rest_freq_hz": 4.6e11, "observer": "N. N.", "scan_number": 1}
    assert type(plan.attributes["rest_freq_hz"]) is float
    assert plan_one(rows[:1]).attributes["source"] == "LOADS"


def test_consecutive_rows_of_a_phase_are_dumps() -> None:
    """ON, ON, ON, OFF, ON, ON of one recorded scan: subscans of 3, 1 and 2 dumps."""
    rows = [one for time, phase in enumerate(["ON"] * 3 + ["OFF"] + ["ON"] * 2) for one in pixels_of(phase, time, "01")]
    plan = plan_one(rows, SCAN)
    assert group(plan).shape == (16, 3, 2, 1, 3)
    assert phases_of(plan) == ["ON", "OFF", "ON"]
    assert group(plan).rows[:, 0, 0].T.tolist() == [[0, 2, 4], [6, -1, -1], [8, 10, -1]]
    assert seconds_of(plan) == [1.0, 3.0, 4.5]
    assert any("4 of 6 pixels x subscans have fewer than 3 dumps" in warning for warning in plan.warnings)
    assert group(plan_one(rows)).shape == (16, 1, 2, 1, 6)


def test_rows_of_a_map_are_subscans_of_their_own() -> None:
    """Two recorded scans of one phase that the profile puts into one scan are two subscans."""
    rows = [row("OTF-ON", time, recorded_number=10 + time // 4) for time in range(8)]
    plan = plan_one(rows, SCAN)
    assert group(plan).rows[:, 0, 0].T.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_lost_dump_leaves_its_place() -> None:
    """Receiver 1 lacks the second of three dumps, and the first dump after the OFF: these stay empty."""
    phases = ["ON"] * 3 + ["OFF"] + ["ON"] * 3
    rows = [row(phase, time, receiver="0") for time, phase in enumerate(phases)]
    rows += [row(phase, time, receiver="1") for time, phase in enumerate(phases) if time not in (1, 4)]
    plan = plan_one(rows, SCAN)
    assert phases_of(plan) == ["ON", "OFF", "ON"]
    assert (group(plan).rows[:, 1, 0].T >= 0).tolist() == [
        [True, False, True],
        [True, False, False],
        [False, True, True],
    ]


def test_a_lost_off_does_not_join_the_ons_beside_it() -> None:
    """Receiver 1 lacks the OFF between two ONs; that of receiver 0 ends the subscan of both."""
    rows = [row(phase, time, receiver="0") for time, phase in enumerate(("ON", "OFF", "ON"))]
    rows += [row("ON", time, receiver="1") for time in (0, 2)]
    assert phases_of(plan_one(rows, SCAN)) == ["ON", "OFF", "ON"]


def test_a_pause_ends_a_subscan() -> None:
    """A slew, whose rows are left out, parts a subscan; two lost dumps do not."""
    rows = [row("ON", time) for time in (0, 1, 2, 5, 6, 26, 27, 28)]
    assert [len(group(plan_one(rows, SCAN)).rows), seconds_of(plan_one(rows, SCAN))] == [5, [3.0, 27.0]]


def test_beams_that_swap_source_and_sky() -> None:
    """A nod: one beam is ON while the other is OFF, then they swap; each phase has a subscan of either beam."""
    rows = [
        row(phase, time, receiver=beam)
        for time in range(6)
        for beam, phase in zip("01", ("ON", "OFF") if time < 3 else ("OFF", "ON"), strict=True)
    ]
    plan = plan_one(rows, SCAN)
    assert group(plan).shape == (16, 3, 2, 1, 4)
    assert sorted((group(plan).rows >= 0).sum(axis=(0, 2)).T.tolist()) == [[0, 3], [0, 3], [3, 0], [3, 0]]


def test_runs_of_loads_are_counted_for_each_beam() -> None:
    """Consecutive rows on a load are its dumps; the k-th run of each beam is subscan k."""
    letters = {"0": "HHCCCH", "1": "CCHHHC"}
    rows = [
        row({"H": "HOT", "C": "COLD"}[letters[beam][time]], time, receiver=beam) for time in range(6) for beam in "01"
    ]
    plan = plan_one(rows, SCAN)
    loads = group(plan, "calibration")
    assert phases_of(plan, "calibration") == ["HOT", "HOT", "COLD", "COLD"]
    assert (loads.rows[:, :, 0] >= 0).sum(axis=0).tolist() == [[2, 1, 3, 0], [3, 0, 2, 1]]
    assert loads.rows[:, 1, 0, 0].tolist() == [5, 7, 9]


def test_coordinates_of_several_dumps_are_means() -> None:
    """Elevation is a mean, azimuth too across north, equal frequencies keep every bit, time is the middle."""
    rows = [
        row("ON", time, elevation=0.5 + 0.1 * time, azimuth=azimuth, signal_freq=4.6e11 + 0.1)
        for time, azimuth in ((0, 6.2), (1, 6.25), (3, 2 * np.pi + 0.05 - 2 * np.pi))
    ]
    plan = plan_one(rows, SCAN)
    assert seconds_of(plan) == [1.5]
    assert values_of(plan, "elevation") == pytest.approx([0.5 + 0.1 * 4 / 3])
    assert values_of(plan, "azimuth") == pytest.approx([(6.2 + 6.25 + 2 * np.pi + 0.05) / 3])
    assert values_of(plan, "signal_freq") == [4.6e11 + 0.1]


def test_images_hold_all_dumps_of_a_subscan() -> None:
    """Files of 8 and 6 dumps, whose middles differ by an exposure, are one subscan of 8."""
    rows = [
        row("ON", 4.0, receiver="0", n_dumps=8),
        row("ON", 3.0, receiver="1", n_dumps=6),
        row("OFF", 12.0, receiver="0", n_dumps=8),
        row("HOT", 20.0, receiver="0", n_dumps=2),
    ]
    plan = plan_one(rows, IMAGE)
    assert group(plan).shape == (16, 8, 2, 1, 2)
    assert group(plan).rows.tolist() == [[[[0, 2]], [[1, -1]]]]
    assert group(plan, "calibration").shape == (16, 2, 2, 1, 1)
    assert any("fewer than 8 dumps (first: subscan 0 (ON), receiver '1'" in warning for warning in plan.warnings)


def test_scans_of_one_kind_of_phase() -> None:
    """Only SKY or only ZERO is a calibration scan without loads; only OFFs are a source group."""
    for phase in ("SKY", "ZERO"):
        plan = plan_one([row(phase, 0.0)])
        assert list(plan.bands[0].groups) == ["calibration"]
        assert values_of(plan, "lloadsn", "calibration") == [-1]
    assert list(plan_one([row("OFF", 0.0)]).bands[0].groups) == ["source"]


def test_pixels_with_another_frequency_axis_are_warned_of() -> None:
    """An axis is that of the first pixel; half a channel is the limit, at either end of the band."""
    warned = []
    for offset, width in ((4e5, 1e6), (6e5, 1e6), (0.0, 1.1e6), (np.nan, 1e6)):
        rows = [row("ON", 0.0, receiver="0"), row("ON", 0.0, receiver="1", freq_off=offset, freq_res=width)]
        warned.append(any("half a channel" in warning for warning in plan_one(rows).warnings))
    assert warned == [False, True, True, False]


def test_frequencies_by_default_are_warned_of() -> None:
    """Rows without a number that the profile declares take its default, with a warning."""
    rows = [row("ON", 0.0, ref_channel=8.0), row("ON", 5.0, ref_channel=np.nan, file="b.fits", image_freq=np.nan)]
    plan = plan_one(rows)
    assert plan.warnings == (
        "no image_freq in 2 of 2 rows (first: a.fits (HDU 1, row 0)): signal_freq taken",
        "no ref_channel in 1 of 2 rows (first: b.fits (HDU 1, row 1)): 0 taken",
    )
    assert values_of(plan, "ref_channel") == [8.0, 0.0]


def test_doubtful_ids_are_warned_of() -> None:
    """One id for two pixels, and an id that changes."""
    rows = [row("ON", 0.0, receiver=name, pixel_id="X") for name in "01"]
    assert plan_one(rows).warnings == ("pixel id 'X' stands for 2 pixels: they get _0, _1, ...",)
    rows = [row("ON", time, pixel_id=name) for time, name in ((5.0, "Y"), (0.0, "X"))]
    plan = plan_one(rows)
    assert values_of(plan, "frontend_backends") == ["X"]
    assert "changes within the scan" in plan.warnings[0]


def test_a_number_that_two_nights_have_is_warned_of() -> None:
    """Numbers that start again in the next night, read in one folder."""
    rows = [row("ON", seconds) for seconds in (0.0, 3000.0, 86400.0)]
    assert plan_one(rows).warnings == ("rows pause for 23.2 h: two scans may have the same number",)
    assert plan_one(rows[:2]).warnings == ()


def test_numbers_that_calibration_refuses_are_warned_of_with_the_unit_they_look_like() -> None:
    rows = [row("ON", 0.0, elevation=52.0), row("OFF", 9.0, elevation=52.0), row("HOT", 20.0, elevation=52.0)]
    plan = plan_scans(table(rows, instmode="TP"), Grouping()).scans[1]
    (warning,) = plan.warnings
    assert warning.startswith(
        "source/elevation of subscans [0, 1] is [52.0, 52.0] rad, expected finite numbers above 0"
    )
    assert warning.endswith("they look like degrees: convert them to rad")
    plan = plan_scans(table([row("ON", 0.0, signal_freq=90.0), row("OFF", 9.0)], instmode="TP"), Grouping()).scans[1]
    assert any("signal_freq" in warning and "look like GHz" in warning for warning in plan.warnings)


def test_files_of_a_scan_are_its_own() -> None:
    """In the order of their names."""
    rows = [row("ON", 0.0, file="b.fits"), row("ON", 5.0, file="a.fits"), row("ON", 9.0, number=2, file="c.fits")]
    plans = plan_scans(table(rows), Grouping())
    assert {number: plan.files for number, plan in plans.scans.items()} == {1: (1, 0), 2: (2,)}


def test_scans_are_in_order_of_time() -> None:
    """Numbers may run backwards or start again."""
    rows = [row("ON", 30.0, number=1), row("ON", 0.0, number=7), row("ON", 60.0, number=3)]
    assert list(plan_scans(table(rows), Grouping()).scans) == [7, 1, 3]
