"""Positions of the beams of real files of the Green Bank Telescope."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cal_pipeline.heterodyne.ingest.plan import Plans, plan_scans
from cal_pipeline.heterodyne.ingest.profile import open_profile
from cal_pipeline.heterodyne.ingest.tabulate import tabulate

REAL_DATA = "CAL_PIPELINE_REAL_DATA"
"""Variable with the folder of the real data."""

FILES = Path(os.environ.get(REAL_DATA, Path(__file__).parents[4] / "shared" / "data")) / "gbt_sdfits"

pytestmark = pytest.mark.skipif(
    not FILES.is_dir(), reason=f"the real files are not there: {FILES.name}; {REAL_DATA} names their folder"
)

SETS = {"wband_m82": ("gbt_wband", 131), "argus_ngc5908": ("gbt_argus", 331)}
"""Profile and scan of each folder: a nod, in which two beams point at the source in turn."""


def plan_folder(name: str, *, backwards: bool = False) -> Plans:
    """Plan the scans of a folder."""
    files = sorted(map(str, (FILES / name).glob("*.fits")), reverse=backwards)
    profile = open_profile(SETS[name][0])
    return plan_scans(tabulate(files, profile).rows, profile)


def read_feeds(name: str) -> np.ndarray:
    """Read the offsets of the beams in cross-elevation and elevation [deg] from the columns for feeds."""
    feeds = {}
    for path in (FILES / name).glob("*.fits"):
        table = fits.getdata(path, 1)
        feeds |= {int(row["FDNUM"]): (row["FEEDXOFF"], row["FEEDEOFF"]) for row in table}
    return np.array([feeds[number] for number in sorted(feeds)])


@pytest.mark.parametrize("name", SETS)
def test_beams_are_as_far_apart_as_their_feeds(name: str) -> None:
    """A turn of the sky keeps distances: 1 % of the offsets, and 2 arcsec, of what the receiver's table says."""
    planned = plan_folder(name).scans[SETS[name][1]].bands[0].groups["source"].coordinates
    feeds = read_feeds(name)
    expected = np.hypot(*(feeds - feeds[0]).T)
    for subscan in range(planned["mjd"][1].size):
        lon, lat = (planned[f"pixel_offset_{axis}"][1][:, 0, subscan] for axis in ("lon", "lat"))
        assert np.allclose(np.hypot(lon, lat), expected, rtol=0.01, atol=2.0 / 3600.0)


@pytest.mark.parametrize("name", SETS)
def test_a_beam_points_at_the_source_in_each_half_of_a_nod(name: str) -> None:
    """The nearest beam is within a third of the distance of two of Argus' beams, in ON and OFF another one."""
    planned = plan_folder(name).scans[SETS[name][1]].bands[0].groups["source"].coordinates
    lon, lat = (planned[f"pixel_offset_{axis}"][1][:, 0] + planned[f"otf_{axis}"][1] for axis in ("lon", "lat"))
    distance = np.hypot(lon, lat) * 3600.0
    assert distance.min(axis=0).max() < 10.0
    phases = planned["sobsmode"][1]
    on, off = (set(distance.argmin(axis=0)[phases == phase].tolist()) for phase in ("ON", "OFF"))
    assert on.isdisjoint(off)


def test_order_of_files_of_argus_does_not_matter() -> None:
    """Its files hold beams in no order."""
    plans, backwards = plan_folder("argus_ngc5908"), plan_folder("argus_ngc5908", backwards=True)
    assert list(plans.scans) == list(backwards.scans) == [329, 331, 333]
    assert plans.merged == {330: 329}
    for number, plan in plans.scans.items():
        other = backwards.scans[number]
        assert (plan.attributes, plan.warnings) == (other.attributes, other.warnings)
        for name, group in plan.bands[0].groups.items():
            others = other.bands[0].groups[name].coordinates
            for key, (_, values) in group.coordinates.items():
                assert repr(values.tolist()) == repr(others[key][1].tolist()), key
