"""Folders of FITS files that the simulator wrote become the session that it wrote, array for array."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from cal_pipeline.ingest import ingest
from cal_pipeline.simulate import Faults, Loads, Otf, OtfChopped, Scan, Source, TotalPower, preset, simulate

NO_LOADS = Loads(pattern=())
ALL_LOADS = Loads(pattern=("HOT", "HOT", "COLD", "SKY", "ZERO"), t_hot=293.1, exptime=0.7, dumps=3)
FAULTS = Faults(missing_fraction=0.2)

WIDER = {"thot": np.float64, "tcold": np.float64}
"""Arrays with more bits in L0 made of files; simulated ones have 32."""

LOST = {"simulated", "ingest_digest", "date_obs"}
"""Attributes that differ on purpose."""


def read_tree(path):
    """Return arrays with their values, and attributes of groups, by path in the store."""
    root = zarr.open_group(path, mode="r")
    # Not root.members(): it warns of ingest.json.
    names = sorted(file.parent.relative_to(path).as_posix() for file in path.rglob("zarr.json"))
    members = {name: root[name] for name in names if name != "."}
    arrays = {name: (member, member[...]) for name, member in members.items() if isinstance(member, zarr.Array)}
    return arrays, {name: dict(member.attrs) for name, member in members.items() if name not in arrays}


def make_both(tmp_path, config):
    """Simulate a session with its files, make L0 of them; return all arrays and attributes of both."""
    written = simulate(config, tmp_path / "simulated.zarr", fits=tmp_path / "night")
    done = ingest(written.fits, tmp_path / "ingested.zarr")
    assert done.written == written.scans
    return read_tree(written.session), read_tree(done.session)


def assert_same_session(tmp_path, config, rounded=()):
    """Compare bit for bit; tracks named in `rounded` to the last digits."""
    (arrays, groups), (found, found_groups) = make_both(tmp_path, config)
    assert sorted(found) == sorted(arrays)
    assert sorted(found_groups) == sorted(groups)
    for name, (array, values) in arrays.items():
        last = name.rpartition("/")[2]
        ours, read = found[name]
        assert (name, ours.shape, ours.dtype) == (name, array.shape, WIDER.get(last, array.dtype))
        assert ours.metadata.dimension_names == array.metadata.dimension_names
        if name in rounded:
            np.testing.assert_allclose(read, values, rtol=0, atol=4 * np.spacing(np.max(np.abs(values))))
        else:
            np.testing.assert_array_equal(read, values, err_msg=name)
    for name, attributes in groups.items():
        kept = {key: value for key, value in attributes.items() if key not in LOST}
        assert {key: value for key, value in found_groups[name].items() if key not in LOST} == kept
    return found_groups


@pytest.mark.slow
def test_bands_and_chopped_maps_with_lost_dumps(tmp_path):
    config = preset("ccat_chai_dual", channels=16, pixels=3, faults=FAULTS, mode="otf_chopped")
    groups = assert_same_session(tmp_path, config)
    assert groups["scan_000001/band_1"]["line"] == "CI2-1"


@pytest.mark.slow
def test_two_arrays_on_a_map(tmp_path):
    config = preset("sofia_lfa", channels=16, scans=2, mode="otf", faults=FAULTS, source=Source("S 106", 306.85, 37.37))
    groups = assert_same_session(tmp_path, config)
    # The start of the first OFF: the loads take 2 x 4 x 2 s, and 3 s pass after each.
    assert groups["scan_000001"]["date_obs"] == "2024-01-01T06:00:22.000"


@pytest.mark.slow
def test_scans_of_all_kinds_in_one_folder(tmp_path):
    base = preset("ccat_chai", channels=16, pixels=2)
    scans = (
        Scan(number=3, calibration_only=True),
        Scan(number=4, calibration_only=True, loads=ALL_LOADS),
        Scan(number=5, loads=NO_LOADS, sequence=TotalPower(dumps=1, exptime=0.1)),
        Scan(number=17, loads=NO_LOADS, sequence=OtfChopped(rows=1), lloadsn=-1),
        Scan(sequence=Otf(rows=2, dumps=1), faults=FAULTS),
        Scan(sequence=Otf(rows=3, dumps=16, step_deg=0.0017, exptime=0.3, direction="lat"), loads=NO_LOADS),
        Scan(number=100000, source=Source("it's", velocity_kms=1.0 / 3.0, ra_deg=0.1, dec_deg=-0.1)),
        Scan(sequence=TotalPower(off_deg=(0.007621023553303061, -0.0123456)), loads=NO_LOADS),
    )
    config = replace(base, telescope=replace(base.telescope, name="NANTEN2"), scans=scans)
    assert_same_session(tmp_path, config, rounded={"scan_000019/source/otf_lat"})


@pytest.mark.parametrize("channels", [7, 300])
def test_any_number_of_channels(tmp_path, channels):
    assert_same_session(tmp_path, preset("ccat_chai", channels=channels, pixels=1, faults=FAULTS))
