"""Files of simulated scans come back as the simulator's own arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_rows import Grouping, table

from cal_pipeline.heterodyne.ingest.plan import plan_scans
from cal_pipeline.heterodyne.simulate.config import SessionConfig
from cal_pipeline.heterodyne.simulate.layout import coordinates, scan_attributes
from cal_pipeline.heterodyne.simulate.plan import ScanPlan as SimulatedScan
from cal_pipeline.heterodyne.simulate.plan import plan_session
from cal_pipeline.heterodyne.simulate.presets import UPGREAT_HFA, UPGREAT_LFA, preset

NUMBERS = ("mjd", "exptime", "elevation", "azimuth", "pamb", "tamb", "signal_freq", "image_freq", "freq_res")
NUMBERS += ("freq_off", "ref_channel", "lloadsn", "thot", "tcold")
PIXEL_OFFSETS = ("pixel_offset_lon", "pixel_offset_lat")
OTF = {"otf_lon", "otf_lat"}
SESSIONS = {
    "two bands": preset("ccat_chai_dual", channels=8, pixels=3, scans=2, mode="otf"),
    "two frontends": preset("sofia_lfa", channels=8, receivers=(UPGREAT_LFA, UPGREAT_HFA), mode="total_power"),
    "chopped": preset("sofia_hfa", channels=8, scans=2, mode="otf_chopped"),
}


def rows_of(config: SessionConfig, scan: SimulatedScan) -> list[dict[str, Any]]:
    """Describe the files of a scan: one for each subscan and pixel, with what the simulator puts into L0."""
    rows = []
    for band, receiver in enumerate(scan.receivers):
        for name, subscans in scan.groups().items():
            arrays = coordinates(config, scan, receiver, name, subscans)
            found = {key: values for key, (_, values) in arrays.items()}
            n_dumps = scan.sequence.dumps if name == "source" else scan.loads.dumps
            for subscan, pixel in np.ndindex(len(subscans), len(receiver.pixel_ids)):
                r, a = divmod(pixel, len(receiver.arrays))
                one = {key: float(found[key][subscan]) for key in NUMBERS if key in found}
                one |= {key: float(found[key][r, a, subscan]) for key in PIXEL_OFFSETS if key in found}
                one |= track_of(found, subscan)
                one |= {"number": scan.number, "phase": str(found["sobsmode"][subscan]), "n_dumps": n_dumps}
                one |= {"receiver": str(r), "array": receiver.arrays[a], "band": str(band)}
                one |= {"file": f"{scan.number}_{band}_{name}_{subscan}_{pixel}.fits", "row": 0, "n_channels": 8}
                rows.append(one | {"pixel_id": receiver.pixel_ids[pixel]})
    return rows


def track_of(found: dict[str, Any], subscan: int) -> dict[str, float]:
    """Describe a track by its start and its step."""
    track: dict[str, float] = {}
    for name in OTF & found.keys():
        values = found[name]
        track[name] = float(values[0, subscan] if values.ndim == 2 else values[subscan])
        if values.ndim == 2:
            track[f"ramp_{name}"] = float(values[1, subscan] - values[0, subscan])
    return track


@pytest.mark.parametrize("name", SESSIONS)
def test_simulated_scans_come_back(name: str) -> None:
    """Every array with its axes, type and values, whatever order the files are given in."""
    config = SESSIONS[name]
    scans = plan_session(config)
    rows = [one for scan in scans for one in rows_of(config, scan)]
    order = np.random.default_rng(1).permutation(len(rows))
    given = table([rows[place] for place in order])
    plans = plan_scans(given, Grouping(reader="image", loads_gap=0.0))
    assert plans.failures == []
    assert list(plans.scans) == [scan.number for scan in scans]
    for scan in scans:
        plan = plans.scans[scan.number]
        assert plan.warnings == ()
        assert len(plan.bands) == len(scan.receivers)
        assert scan_attributes(config, scan)["scan_number"] == plan.attributes["scan_number"]
        for band, receiver in zip(plan.bands, scan.receivers, strict=True):
            assert list(band.groups) == sorted(scan.groups(), reverse=True)
            for group, subscans in scan.groups().items():
                planned = band.groups[group].coordinates
                expected = coordinates(config, scan, receiver, group, subscans)
                assert planned.keys() == expected.keys()
                for key, (axes, values) in expected.items():
                    assert_same(key, planned[key], axes, values)


def assert_same(key: str, planned: Any, axes: tuple[str, ...], values: Any) -> None:
    """Compare an array; tracks are sums of start and steps, and temperatures of loads have 64 bits."""
    assert planned[0] == axes, key
    if key in OTF:
        assert np.allclose(planned[1], values, rtol=0, atol=1e-12), key
    else:
        assert planned[1].dtype == (np.float64 if key in ("thot", "tcold") else values.dtype), key
        assert np.array_equal(planned[1], values), key
