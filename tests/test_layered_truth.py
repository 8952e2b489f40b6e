"""The calibration under skies that the model does not share, and with inputs that are not as it assumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers_accuracy import Outcome, calibrate_session, quiet
from scipy.stats import norm, qmc

from cal_pipeline.heterodyne.simulate.presets import CCAT_LAYERS, GBT_LAYERS, SOFIA_LAYERS
from cal_pipeline.simulate import Atmosphere, Faults, GainJump, Layers, Scan, Source

PRESETS = ("ccat_chai", "ccat_chai_810")
WATER = (0.25, 0.5, 1.0)
ELEVATIONS = (25.0, 40.0, 55.0, 70.0)
OTHERS = {
    "water near the ground": Layers(lapse_rate=5.6, wet_scale_km=1.25),
    "standard": Layers(),
    "inversion": Layers(t_ground=265.0, lapse_rate=4.0, wet_scale_km=1.2),
}


def scans_of_all(layers: Layers, water: tuple[float, ...] = WATER) -> tuple[Scan, ...]:
    return tuple(
        Scan(atmosphere=Atmosphere(pwv_mm=pwv, layers=layers), source=Source(elevation_deg=elevation))
        for pwv in water
        for elevation in ELEVATIONS
    )


def typical(outcome: Outcome) -> tuple[float, float]:
    """Medians over the channels of the error of T_A*, and of what is quoted for it."""
    return float(np.median(outcome.error)), float(np.median(outcome.quoted))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_t_a_star_is_right_under_layers_of_their_own(name, tmp_path):
    for outcome in calibrate_session(quiet(name, scans_of_all(CCAT_LAYERS)), tmp_path):
        error, quoted = typical(outcome)
        if outcome.transmission >= 0.2:
            limit = 0.01
        elif outcome.transmission >= 0.1:
            limit = 0.02
        else:
            limit = 2.0 * quoted
        assert abs(error) < limit, (outcome.truth.pwv_mm, outcome.transmission)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "layers", "water"),
    [
        ("sofia_lfa", SOFIA_LAYERS, (0.004, 0.008, 0.016)),
        ("sofia_hfa", SOFIA_LAYERS, (0.004, 0.008, 0.016)),
        ("gbt_wband", GBT_LAYERS, (3.0, 6.0, 9.0)),
    ],
)
def test_t_a_star_is_right_at_other_telescopes(name, layers, water, tmp_path):
    config = quiet(name, scans_of_all(layers, water))
    loads = {"forward_efficiency": config.receivers[0].forward_efficiency}
    found = calibrate_session(config, tmp_path, loads=loads, atmosphere={"pwv_min": 0.0005})
    assert max(abs(typical(outcome)[0]) for outcome in found) < 0.004


@pytest.mark.slow
@pytest.mark.parametrize("layers", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("name", PRESETS)
def test_other_profiles_are_within_the_error_of_the_scale(name, layers, tmp_path):
    for outcome in calibrate_session(quiet(name, scans_of_all(layers)), tmp_path):
        error, quoted = typical(outcome)
        assert abs(error) < quoted, (outcome.truth.pwv_mm, outcome.transmission)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_an_isothermal_fit_is_further_off(name, tmp_path):
    layered, isothermal = tmp_path / "layered", tmp_path / "isothermal"
    layered.mkdir()
    isothermal.mkdir()
    config = quiet(name, scans_of_all(CCAT_LAYERS))
    ambient = {"t_atm": config.telescope.t_ambient}
    pairs = zip(
        calibrate_session(config, layered), calibrate_session(config, isothermal, atmosphere=ambient), strict=True
    )
    assert all(typical(one)[0] < -3.0 * abs(typical(other)[0]) for other, one in pairs)


SPREADS = {
    "forward_efficiency": 0.02,
    "t_hot": 1.0,
    "t_cold": 2.0,
    "image_gain": 0.05,
    "t_ground": 2.0,
    "profile": 0.2,
    "dry_opacity": 0.1,
}
"""Errors that the calibration assumes by default: K, of ln g for the image gain, relative for the last two."""

GAIN_ERROR_900_S = 0.01
"""That of the gain, 900 s after the loads; it grows with the root of the time."""

TROPOPAUSE_KM = 11.0
APART_S = 7200.0
"""Time between scans, so long that no loads count as those after a scan."""

ASSUMED = 0.9
"""Forward efficiency that the calibration assumes; the draws stay below 1."""

DRAWS = 96
WATER_OF_DRAWS = {"ccat_chai": 0.5, "ccat_chai_810": 0.3}


def draw(name: str, normal: dict[str, float], elevation: float) -> Scan:
    """Make a scan whose inputs are off by some multiples of their errors."""
    base = quiet(name)
    by = {term: spread * normal[term] for term, spread in SPREADS.items()}
    age_s = base.loads.dumps * base.loads.exptime + 3.0 * base.overhead_s + 1.0
    layers = replace(
        CCAT_LAYERS,
        t_ground=base.telescope.t_ambient + by["t_ground"],
        lapse_rate=CCAT_LAYERS.lapse_rate * (1.0 + by["profile"]),
        tropopause_km=TROPOPAUSE_KM,
    )
    receiver = replace(
        base.receivers[0],
        forward_efficiency=ASSUMED + by["forward_efficiency"],
        image_gain=float(np.exp(by["image_gain"])),
    )
    return Scan(
        atmosphere=Atmosphere(pwv_mm=WATER_OF_DRAWS[name], layers=layers, dry_factor=1.0 + by["dry_opacity"]),
        source=Source(elevation_deg=elevation),
        receivers=(receiver,),
        loads=replace(base.loads, hot_offset=by["t_hot"], cold_offset=by["t_cold"]),
        faults=Faults(gain_jumps=(GainJump(GAIN_ERROR_900_S * np.sqrt(age_s / 900.0) * normal["gain"]),)),
        gap_s=APART_S,
    )


def draw_scans(name: str, seed: int, number: int = DRAWS) -> tuple[Scan, ...]:
    """Draw scans; the draws of each input fill its distribution evenly (Latin hypercube)."""
    terms = (*SPREADS, "gain")
    uniform = qmc.LatinHypercube(len(terms) + 1, seed=seed).random(number)
    normal = norm.ppf(uniform)
    elevation = 20.0 + 50.0 * uniform[:, -1]
    return tuple(
        draw(name, dict(zip(terms, row, strict=False)), angle) for row, angle in zip(normal, elevation, strict=True)
    )


def pulls(name: str, scans: tuple[Scan, ...], folder: Path) -> np.ndarray:
    """Calibrate scans and return the error of each over what is quoted for it."""
    found = calibrate_session(quiet(name, scans), folder, loads={"forward_efficiency": ASSUMED})
    return np.array([np.divide(*typical(outcome)) for outcome in found])


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_the_scale_scatters_as_its_error_says(name, tmp_path):
    pull = pulls(name, draw_scans(name, seed=1), tmp_path)
    assert np.sqrt((pull**2).mean()) == pytest.approx(1.0, abs=0.1)
    assert abs(pull.mean()) < 0.3


TERMS = (*SPREADS, "gain")


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_each_term_is_what_its_input_does(name, tmp_path):
    # Half the error in either direction, so that the difference has no curvature; the sky is that of the truth.
    none = dict.fromkeys(TERMS, 0.0)
    scans = [draw(name, none | {term: sign}, 40.0) for term in TERMS for sign in (-0.5, 0.5)]
    found = calibrate_session(quiet(name, tuple(scans)), tmp_path, loads={"forward_efficiency": ASSUMED})
    for number, term in enumerate(TERMS):
        less, more = (found[2 * number + k] for k in (0, 1))
        change = np.median(np.log1p(more.error) - np.log1p(less.error))
        assert abs(change) == pytest.approx(more.terms[term], rel=0.06, abs=5e-4), term
