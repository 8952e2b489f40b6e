"""The calibration of a sky from another package's absorption, in other layers, with the shipped table."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_accuracy import Outcome, calibrate_session, quiet

pytest.importorskip("pyrtlib", reason="pyrtlib is not installed; it comes with the extra `radiative`")

from helpers_pyrtlib import SITE_KM, Air, air_column

from cal_pipeline.simulate import Atmosphere, Scan, Source

WATER = (0.25, 0.5, 1.0)
ELEVATIONS = (25.0, 40.0, 55.0, 70.0)


@pytest.fixture(scope="module", params=["ccat_chai", "ccat_chai_810"])
def outcomes(request, tmp_path_factory) -> list[Outcome]:
    """Scans of different water and elevation under the air of the other package."""
    config = quiet(request.param)
    receiver, air = config.receivers[0], Air(pwv_mm=1.0)
    column = air_column(np.sort(np.concatenate(receiver.frequencies())))
    scans = tuple(
        Scan(atmosphere=Atmosphere(pwv_mm=pwv, layers=column), source=Source(elevation_deg=elevation))
        for pwv in WATER
        for elevation in ELEVATIONS
    )
    site = {"t_ambient": float(air.temperature(SITE_KM)), "pressure_pa": 100.0 * float(air.pressure(SITE_KM))}
    config = replace(config, scans=scans, telescope=replace(config.telescope, **site))
    return calibrate_session(config, tmp_path_factory.mktemp("other"))


@pytest.mark.slow
def test_the_scale_is_right_within_its_error(outcomes):
    for one in outcomes:
        assert np.all(np.abs(np.median(one.error)) <= np.median(one.quoted))


@pytest.mark.slow
def test_single_channels_may_be_further_off(outcomes):
    for one in outcomes:
        assert np.all(np.abs(one.error) < 2.0 * one.quoted)


@pytest.mark.slow
def test_the_water_is_that_of_the_table(outcomes):
    # The table has 6 % more wet opacity for 1 mm of water at 461 GHz, 12 % at 810 GHz.
    low, up = (0.95, 0.98) if outcomes[0].truth.sky.nu_s[0] < 500e9 else (0.9, 0.92)
    assert all(low < one.pwv / one.truth.pwv_mm < up for one in outcomes)
