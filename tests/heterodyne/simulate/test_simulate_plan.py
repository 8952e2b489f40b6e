import math
from dataclasses import replace

import numpy as np
import pytest

from cal_pipeline.heterodyne.simulate.plan import plan_session
from cal_pipeline.simulate import Atmosphere, Loads, Scan, SimulationError, Source, TotalPower

DAY = 86400.0
NO_LOADS = Loads(pattern=())


def test_subscans_follow_each_other_with_their_overheads(config):
    sequence = TotalPower(pattern=("OFF", "ON"), dumps=3, exptime=2.0, off_exptime=4.0)
    session = replace(config, sequence=sequence, loads=Loads(dumps=2, exptime=5.0), overhead_s=3.0)
    (plan,) = plan_session(session)
    middles = [(s.mjd - session.mjd_start) * DAY for s in plan.calibration + plan.observed]
    # HOT 0-10, COL 13-23, OFF 26-38, ON 41-47
    np.testing.assert_allclose(middles, [5.0, 18.0, 32.0, 44.0], atol=1e-4)


def test_a_session_is_one_timeline_with_gaps(config):
    session = replace(config, scans=(Scan(), Scan(gap_s=100.0)), overhead_s=3.0)
    first, second = plan_session(session)
    gap = (second.calibration[0].mjd - first.observed[-1].mjd) * DAY
    assert gap == pytest.approx(100.0 + 3.0 + (3.0 * 1.0 + 4.0 * 2.0) / 2.0, abs=1e-4)


def test_elevation_and_azimuth_follow_the_sky(config):
    source = Source(dec_deg=-5.0, hour_angle_h=-2.0)
    session = replace(config, source=source, scans=(Scan(), Scan(gap_s=2.0 * 3600.0), Scan(gap_s=2.0 * 3600.0)))
    before, transit, after = (plan.observed[0] for plan in plan_session(session))
    highest = 90.0 - abs(session.telescope.latitude_deg - source.dec_deg)
    assert math.degrees(transit.elevation) == pytest.approx(highest, abs=0.05)
    assert before.elevation < transit.elevation > after.elevation
    assert math.sin(before.azimuth) > 0.0 > math.sin(after.azimuth)
    assert before.airmass == pytest.approx(1.0 / math.sin(before.elevation))
    assert np.float32(before.elevation) == before.elevation


def test_a_given_elevation_is_kept(config):
    plans = plan_session(replace(config, scans=(Scan(), Scan(gap_s=3600.0))))
    assert {float(s.elevation) for plan in plans for s in plan.observed} == {float(np.float32(math.radians(50.0)))}


def test_water_vapour_drifts_from_the_sessions_start(config):
    session = replace(
        config,
        atmosphere=replace(config.atmosphere, pwv_mm=1.0, pwv_per_hour=0.5),
        scans=(Scan(), Scan(gap_s=7200.0, pwv_mm=2.0)),
    )
    first, second = plan_session(session)
    for plan, start in ((first, 1.0), (second, 2.0)):
        for subscan in plan.observed:
            hours = (subscan.mjd - session.mjd_start) * 24.0
            assert subscan.pwv == pytest.approx(start + 0.5 * hours, abs=1e-6)


def test_numbers_go_on_and_loads_are_remembered(config):
    scans = (Scan(number=7, loads=NO_LOADS), Scan(), Scan(loads=NO_LOADS), Scan(number=20, lloadsn=3))
    plans = plan_session(replace(config, scans=scans))
    assert [plan.number for plan in plans] == [7, 8, 9, 20]
    assert [plan.lloadsn for plan in plans] == [-1, 8, 8, 3]
    assert [sorted(plan.groups()) for plan in plans][:2] == [["source"], ["calibration", "source"]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scans": (Scan(number=3), Scan(number=3))}, "repeat"),
        ({"scans": (Scan(number=1000000),)}, "six digits"),
        ({"scans": (Scan(calibration_only=True, loads=NO_LOADS),)}, "neither"),
        ({"source": Source(hour_angle_h=12.0, dec_deg=10.0)}, "elevation -"),
        ({"atmosphere": Atmosphere(pwv_mm=0.01, pwv_per_hour=-100.0)}, "negative"),
    ],
)
def test_an_impossible_session_is_refused(config, changes, message):
    with pytest.raises(SimulationError, match=message):
        plan_session(replace(config, **changes))
