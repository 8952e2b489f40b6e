"""The calibration under skies that the model does not share: layers of their own, and inputs that are not as assumed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers_accuracy import Outcome, calibrate_session, quiet

from cal_pipeline.simulate import Atmosphere, Faults, GainJump, Layers, Scan, Source

PRESETS = ("ccat_chai", "ccat_chai_810")
WATER = (0.25, 0.5, 1.0)
ELEVATIONS = (25.0, 40.0, 55.0, 70.0)
LIKE_THE_TABLE = Layers(lapse_rate=5.6, wet_scale_km=1.25)
"""Sixty layers with the table's lapse rate; vapour of 1.5 km scale height absorbs with 1.25 km, as pressure falls."""

WITH_OZONE = replace(LIKE_THE_TABLE, ozone_fraction=0.3)


def scans_of_all(layers: Layers) -> tuple[Scan, ...]:
    return tuple(
        Scan(atmosphere=Atmosphere(pwv_mm=pwv, layers=layers), source=Source(elevation_deg=elevation))
        for pwv in WATER
        for elevation in ELEVATIONS
    )


def typical(outcome: Outcome) -> tuple[float, float]:
    """Medians over the channels of the error of T_A*, and of what is quoted for it."""
    return float(np.median(outcome.error)), float(np.median(outcome.quoted))


@pytest.mark.slow
@pytest.mark.parametrize("layers", [LIKE_THE_TABLE, WITH_OZONE], ids=["like the table", "with ozone"])
@pytest.mark.parametrize("name", PRESETS)
def test_t_a_star_is_right_under_layers_of_their_own(name, layers, tmp_path):
    for outcome in calibrate_session(quiet(name, scans_of_all(layers)), tmp_path):
        error, quoted = typical(outcome)
        if outcome.transmission >= 0.2:
            limit = 0.01
        elif outcome.transmission >= 0.1:
            limit = 0.02
        else:
            limit = 2.0 * quoted
        assert abs(error) < limit, (outcome.truth.pwv_mm, outcome.transmission)


SPREADS = {
    "forward_efficiency": 0.02,
    "t_hot": 1.0,
    "t_cold": 1.0,
    "image_gain": 0.1,
    "t_ground": 2.0,
    "profile": 0.2,
    "dry_opacity": 0.1,
}
"""Standard deviations from which the inputs are drawn: K, of ln g for the image gain, relative for the last two."""


def drawn(name: str, rng: np.random.Generator, elevation: float, pwv: float, gain_err: float) -> Scan:
    """A scan whose efficiency, loads, gains and air are drawn from their spreads."""
    base = quiet(name)
    by = {term: spread * rng.standard_normal() for term, spread in SPREADS.items()}
    sky = Atmosphere(
        pwv_mm=pwv,
        t_spill=base.telescope.t_ambient,
        layers=replace(
            LIKE_THE_TABLE,
            t_ground=base.telescope.t_ambient + by["t_ground"],
            lapse_rate=LIKE_THE_TABLE.lapse_rate * (1.0 + by["profile"]),
            tropopause_km=TROPOPAUSE_KM,
        ),
        dry_factor=1.0 + by["dry_opacity"],
    )
    receiver = replace(
        base.receivers[0],
        forward_efficiency=min(0.95 + by["forward_efficiency"], 1.0),
        image_gain=float(np.exp(by["image_gain"])),
    )
    return Scan(
        atmosphere=sky,
        source=Source(elevation_deg=elevation),
        receivers=(receiver,),
        loads=replace(base.loads, hot_offset=by["t_hot"], cold_offset=by["t_cold"]),
        faults=Faults(gain_jumps=(GainJump(gain_err * rng.standard_normal()),)),
        gap_s=APART,
    )


TROPOPAUSE_KM = 11.0
APART = 7200.0
"""Time between the scans [s], so long that the loads of one are none that follow those of another."""
