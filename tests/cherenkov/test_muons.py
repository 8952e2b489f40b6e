"""Muon rings joined with the times of their events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack

from cal_pipeline.cherenkov import muons
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import read_table, write_tables
from cal_pipeline.cherenkov.quality_criteria import parse_criteria
from cal_pipeline.cherenkov.simulate.muons import simulate_muons

pytestmark = pytest.mark.cherenkov

CRITERIA = parse_criteria(["muonefficiency_is_valid", "muonefficiency_parameters_at_limit == 0"])
NEAR = [*CRITERIA, *parse_criteria(["muonefficiency_impact <= 10 * u.m"])]


def make_file(path: Path, rings: Table, trigger: Table) -> Path:
    write_tables(path, {f"{muons.MUONS}/tel_001": rings, muons.TRIGGER: trigger}, "t", {})
    return path


def make_tables(event_id: list[int], time: list[float]) -> tuple[Table, Table]:
    """Make rings and triggers; the throughput of a ring is its number."""
    n = len(event_id)
    keys = {"obs_id": [3] * n, "event_id": event_id, "tel_id": [1] * n}
    rings = Table(
        {
            **keys,
            "muonefficiency_optical_efficiency": np.array(event_id, dtype=float),
            "muonefficiency_is_valid": [True] * n,
            "muonefficiency_parameters_at_limit": [False] * n,
        }
    )
    return rings, Table({**keys, "time": time})


def read(path: Path, criteria: list = CRITERIA) -> muons.Rings:
    return muons.read_rings(path, f"{muons.MUONS}/tel_001", muons.read_trigger(path), criteria)


def test_order_of_time(tmp_path: Path) -> None:
    rings, trigger = make_tables([5, 7, 6, 9], [60000.2, 60000.1, 60000.3, 60000.1])
    result = read(make_file(tmp_path / "m.h5", rings, trigger[::-1]))
    assert result.throughput.tolist() == [7, 9, 5, 6]
    assert result.time.tolist() == [60000.1, 60000.1, 60000.2, 60000.3]
    assert result.obs_id.tolist() == [3] * 4


def test_equal_event_numbers_of_two_telescopes(tmp_path: Path) -> None:
    path = simulate_muons(tmp_path / "m.h5", {1: 0.2, 2: 0.3}, n_rings=50)
    trigger = muons.read_trigger(path)
    for tel_id in (1, 2):
        rings = muons.read_rings(path, f"{muons.MUONS}/tel_{tel_id:03d}", trigger, NEAR)
        assert len(rings.time) == 50
        seconds = (rings.time - 60135) * 86400 - 1000 * tel_id
        assert seconds.min() > -1e-3
        assert seconds.max() < 3600.001
        assert (np.diff(seconds) >= 0).all()
        assert rings.found == 55


def test_ring_without_a_trigger_is_counted(tmp_path: Path) -> None:
    rings, trigger = make_tables([1, 2, 3], [60000.1, 60000.2, 60000.3])
    result = read(make_file(tmp_path / "m.h5", rings, trigger[:2]))
    assert (result.throughput.tolist(), result.timeless, result.found) == ([1, 2], 1, 3)


def test_repeated_rows_are_refused(tmp_path: Path) -> None:
    rings, trigger = make_tables([1, 2], [60000.1, 60000.2])
    path = make_file(tmp_path / "a.h5", rings, vstack([trigger, trigger[1:]]))
    with pytest.raises(CorruptedInputError, match=r"a.h5.*trigger has 2 rows of obs_id 3, event_id 2, tel_id 1"):
        read(path)
    path = make_file(tmp_path / "b.h5", vstack([rings, rings[:1]]), trigger)
    with pytest.raises(CorruptedInputError, match=r"b.h5.*tel_001 has 2 rows of obs_id 3, event_id 1"):
        read(path)


def test_missing_parts(tmp_path: Path) -> None:
    rings, trigger = make_tables([1], [60000.1])
    path = tmp_path / "m.h5"
    write_tables(path, {f"{muons.MUONS}/tel_001": rings}, "t", {})
    with pytest.raises(MissingInputError, match="table /dl1/event/telescope/trigger is not there"):
        read(path)
    write_tables(path, {muons.TRIGGER: trigger["obs_id", "time"]}, "t", {})
    with pytest.raises(CorruptedInputError, match="lacks the columns event_id, tel_id"):
        read(path)
    write_tables(tmp_path / "n.h5", {muons.TRIGGER: trigger}, "t", {})
    with pytest.raises(MissingInputError, match=r"n.h5 has no tables /dl1/event/telescope/muon/tel_NNN"):
        muons.find_muon_telescopes(tmp_path / "n.h5")
    rings.remove_column("muonefficiency_is_valid")
    with pytest.raises(CorruptedInputError, match="lacks the column muonefficiency_is_valid"):
        read(make_file(tmp_path / "o.h5", rings, trigger))


def test_bad_time(tmp_path: Path) -> None:
    with pytest.raises(CorruptedInputError, match="time that is not finite"):
        read(make_file(tmp_path / "m.h5", *make_tables([1], [np.nan])))


def test_selection_of_real_rings(shared: Path) -> None:
    path = shared / "lst_muons.dl1.h5"
    rings = read(path, NEAR)
    assert (len(rings.time), rings.found, rings.timeless) == (24, 30, 0)
    # The same by the table itself.
    table = read_table(path, f"{muons.MUONS}/tel_001")
    kept = table["muonefficiency_is_valid"] & ~table["muonefficiency_parameters_at_limit"]
    assert sorted(rings.throughput) == sorted(
        table["muonefficiency_optical_efficiency"][kept & (table["muonefficiency_impact"] <= 10)]
    )
