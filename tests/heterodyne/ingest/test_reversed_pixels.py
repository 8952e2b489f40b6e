"""Beams of a nod: which of them have the source in the OFFs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers_rows import Grouping, row, table

from cal_pipeline.heterodyne.ingest.plan import plan_scans

SOURCE = {"scan_source_lon_deg": 359.99, "scan_source_lat_deg": 69.0}
BEAMS = {"0": 0.0, "1": 0.08, "2": 0.04}
"""Offsets of the beams in longitude [deg]."""


def nod(phases: tuple[str, ...] = ("ON", "OFF"), pointing: float = 1e-4) -> list[dict[str, Any]]:
    """Observe with beam 0 on the source in one half and beam 1 in the other."""
    rows = []
    for half, phase in enumerate(phases):
        for beam, offset in BEAMS.items():
            lon = 359.99 + (offset - BEAMS[str(half)] + pointing) / np.cos(np.radians(69.0))
            rows.append(row(phase, 10.0 * half, receiver=beam, lon=lon % 360.0, lat=69.0, **SOURCE))
    return rows


def warnings_of(rows: list[dict[str, Any]]) -> list[str]:
    plans = plan_scans(table(rows), Grouping())
    assert plans.failures == []
    return [text for text in plans.scans[1].warnings if "negative" in text]


def test_the_second_beam_of_a_nod() -> None:
    """Across the meridian, at high latitude; beam 2 is beside the source in both halves."""
    assert warnings_of(nod()) == ["the source is in the OFFs of '0_PX1', not in the ONs: lines come out negative"]


def test_pairs_in_the_other_order() -> None:
    """With phases exchanged it is the first beam."""
    assert warnings_of(nod(("OFF", "ON"))) == [
        "the source is in the OFFs of '0_PX0', not in the ONs: lines come out negative"
    ]


@pytest.mark.parametrize("pointing", [0.03, 1.0], ids=["near", "far"])
def test_no_beam_at_the_source(pointing: float) -> None:
    """Then nothing is certain."""
    assert warnings_of(nod(pointing=pointing)) == []


def test_maps_have_no_source_position() -> None:
    assert warnings_of(nod(("OTF-ON", "OTF-OFF"))) == []


def test_one_half_alone() -> None:
    assert warnings_of(nod(("OFF",))) == []
    assert warnings_of(nod(("ON",))) == []


def test_one_beam_with_phases_exchanged() -> None:
    """A profile that calls the wrong half ON."""
    rows = [one for one in nod(("OFF", "ON")) if one["receiver"] == "0"]
    assert "'0_PX0'" in warnings_of(rows)[0]
