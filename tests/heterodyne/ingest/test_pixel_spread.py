"""Pixels of a subscan that differ in what L0 has once for all of them."""

from __future__ import annotations

from typing import Any

import pytest
from helpers_rows import Grouping, row, table, values_of

from cal_pipeline.heterodyne.ingest.plan import Plans, plan_scans


def plan(rows: list[dict[str, Any]], **grouping: Any) -> Plans:
    plans = plan_scans(table(rows), Grouping(**grouping))
    assert plans.failures == []
    return plans


def loads(name: str, phase: str, *temperatures: float) -> list[dict[str, Any]]:
    return [row(phase, 5.0 * place, **{name: kelvin}, receiver=str(place)) for place, kelvin in enumerate(temperatures)]


@pytest.mark.parametrize(("name", "phase"), [("thot", "HOT"), ("tcold", "COLD")])
def test_loads_of_other_temperatures(name: str, phase: str) -> None:
    """Two beams before two loads: the mean is 5 K off for both, in opposite senses."""
    scan = plan(loads(name, phase, 290.0, 280.0)).scans[1]
    assert values_of(scan, name, "calibration") == [285.0]
    assert scan.warnings == (
        f"calibration: {name} is 280 to 290 K in the pixels of subscan 0 ({phase}), expected one load for all:"
        " the mean is taken",
    )


@pytest.mark.parametrize(
    ("name", "phase", "temperatures"),
    [
        ("thot", "HOT", (290.0, 290.9)),
        ("thot", "HOT", (290.0, float("nan"))),
        ("thot", "SKY", (290.0, 280.0)),
        ("tcold", "HOT", (290.0, 280.0)),
    ],
    ids=["thermometer", "one thermometer", "sky", "other load"],
)
def test_loads_of_one_temperature(name: str, phase: str, temperatures: tuple[float, float]) -> None:
    """Temperatures count in the phase of their load only."""
    assert plan(loads(name, phase, *temperatures)).scans[1].warnings == ()


def test_exposures_of_pixels() -> None:
    """Half the exposure has 1.4 times the noise that `exptime` tells."""
    rows = [row("ON", 0.0, receiver="0", exptime=1.0), row("ON", 0.0, receiver="1", exptime=0.5)]
    (warning,) = plan(rows).scans[1].warnings
    assert warning.startswith("source: exposures of subscan 0 (ON) are 0.5 to 1 s, expected one for all pixels")
    assert plan([{**rows[0], "exptime": 0.985}, {**rows[1], "exptime": 1.0}]).scans[1].warnings == ()


def test_exposures_of_dumps() -> None:
    """The last dump of a track was ended early."""
    rows = [row("OTF-ON", float(second), exptime=0.9 if second < 3 else 0.45) for second in range(4)]
    scan = plan(rows, dumps="scan").scans[1]
    assert [warning.split(",")[0] for warning in scan.warnings] == [
        "source: exposures of subscan 0 (OTF-ON) are 0.45 to 0.9 s"
    ]


def test_axes_of_the_image_sideband() -> None:
    """The signal is the same in all pixels."""
    rows = [row("ON", 0.0, receiver=str(place), image_freq=4.8e11 + 2e6 * place, tamb=270.0) for place in range(2)]
    (warning,) = plan(rows).scans[1].warnings
    assert warning.startswith("source: frequencies of the image sideband of receiver '1'")
