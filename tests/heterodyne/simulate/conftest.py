from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers_atm import write_test_atm_table

from cal_pipeline.heterodyne.simulate.atmosphere import AtmosphereTable
from cal_pipeline.heterodyne.simulate.forward import BandModel
from cal_pipeline.heterodyne.simulate.plan import plan_session
from cal_pipeline.simulate import FLAT_BANDPASS, Receiver, SessionConfig, Source, TotalPower, preset


@pytest.fixture(scope="session")
def table_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_test_atm_table(tmp_path_factory.mktemp("atm") / "atm_test.asdf")


@pytest.fixture(scope="session")
def table(table_path: Path) -> AtmosphereTable:
    return AtmosphereTable.read(table_path)


@pytest.fixture
def receiver() -> Receiver:
    """A plain receiver: two pixels of two arrays, everything flat and alike."""
    return Receiver(
        name="TEST",
        arrays=("TESTH", "TESTV"),
        pixel_offsets_deg=((0.0, 0.0), (0.01, 0.0)),
        signal_freq=461.0e9,
        image_freq=473.0e9,
        bandwidth=1.0e9,
        channels=24,
        forward_efficiency=(0.95, 0.9),
        coupling=0.98,
        t_rec_dsb=100.0,
        t_rec_slope=0.0,
        t_rec_spread=0.0,
        gain_spread=0.0,
        bandpass=FLAT_BANDPASS,
    )


@pytest.fixture
def config(table_path: Path, receiver: Receiver) -> SessionConfig:
    """A tiny noise-free session in floats at constant elevation."""
    base = preset("ccat_chai", table=str(table_path), noise=False, dtype="float64")
    return replace(
        base,
        receivers=(receiver,),
        source=Source(elevation_deg=50.0),
        sequence=TotalPower(dumps=3),
        lines=(),
    )


@pytest.fixture
def model(table: AtmosphereTable) -> Callable[..., BandModel]:
    """Build the forward model of a scan (by position) of a session, with changes."""

    def build(config: SessionConfig, scan: int = 0, band: int = 0, **changes: Any) -> BandModel:
        config = replace(config, **changes)
        return BandModel(config, plan_session(config)[scan], band, table)

    return build
