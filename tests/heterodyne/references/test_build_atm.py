import importlib.util
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.references import build_atm
from cal_pipeline.heterodyne.references.atm_recipe import RECIPES, Recipe, RecipeError
from cal_pipeline.heterodyne.references.build_atm import (
    STANDARD_LEVELS,
    AtmModelError,
    build_table,
    model_opacity,
    pressure_ladder,
    round_mantissa,
    standard_atmosphere,
    window_frequencies,
)

needs_model = pytest.mark.skipif(importlib.util.find_spec("casatools") is None, reason="casatools not installed")


@pytest.mark.parametrize(
    ("pressure", "altitude", "temperature"),
    # U.S. Standard Atmosphere, 1976, table I, geopotential altitudes
    [(1013.25, 0, 288.15), (540.20, 5000, 255.65), (226.32, 11000, 216.65), (120.45, 15000, 216.65)],
)
def test_standard_atmosphere(pressure, altitude, temperature):
    got = standard_atmosphere(pressure)
    assert got[0] == pytest.approx(altitude, abs=1.0)
    assert got[1] == pytest.approx(temperature, abs=0.01)


@pytest.mark.slow
@given(
    pressure=st.floats(100.0, 1000.0),
    layers=st.integers(2, 30),
    atmosphere_type=st.sampled_from(list(STANDARD_LEVELS)),
)
def test_ladder_ends_at_a_standard_level(pressure, layers, atmosphere_type):
    step, growth = pressure_ladder(pressure, atmosphere_type, layers)
    _, levels = STANDARD_LEVELS[atmosphere_type]
    assert growth == 1.0
    assert np.min(np.abs(np.array(levels) - (pressure - layers * step))) < 0.0101


def test_too_high_for_the_model():
    with pytest.raises(AtmModelError, match="80 hPa"):
        pressure_ladder(80.0, "tropical", 1)


@pytest.mark.slow
@given(value=st.floats(1e-12, 1e6), bits=st.integers(8, 23))
def test_rounding_is_bounded(value, bits):
    got = round_mantissa(np.array([value]), bits)
    assert got.dtype == np.float32
    assert abs(float(got[0]) / value - 1.0) <= 1.01 * 2.0 ** -(bits + 1)
    assert int(got.view(np.uint32)[0]) % 2 ** (23 - bits) == 0


def test_zero_stays_zero():
    assert round_mantissa(np.zeros(2), 12).tolist() == [0.0, 0.0]


def test_window_holds_both_ends():
    np.testing.assert_array_equal(window_frequencies((1.0, 1.3, 0.1)), [1.0e9, 1.1e9, 1.2e9, 1.3e9])
    assert window_frequencies((1.0, 1.25, 0.1))[-1] == 1.3e9


def test_missing_model_says_what_to_do(monkeypatch):
    monkeypatch.setattr(
        build_atm, "_load_model", lambda: (_ for _ in ()).throw(AtmModelError("pip install 'cal_pipeline[atm]'"))
    )
    with pytest.raises(AtmModelError, match="pip install"):
        build_table(Recipe.read(RECIPES / "gbt.toml"))


@needs_model
def test_builds_the_same_table_each_time():
    recipe = replace(
        Recipe.read(RECIPES / "gbt.toml"), pressures_hpa=(900.0, 930.0), windows_ghz=((80, 82, 0.25), (100, 102, 0.5))
    )
    first, second = build_table(recipe), build_table(recipe)
    for name in ("b", "c", "layer_offset", "layer_top_km"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert first.windows == [(80e9, 82e9), (100e9, 102e9)]
    assert np.all(first.b[1] > first.b[0])  # more pressure, broader lines
    assert set(first.meta) >= {"model", "version", "site", "altitude_m", "temperature_profile", "created"}


@needs_model
def test_layers_of_a_table():
    recipe = replace(Recipe.read(RECIPES / "gbt.toml"), pressures_hpa=(900.0,), windows_ghz=((80, 80.5, 0.25),))
    table, whole = build_table(recipe), model_opacity(recipe, 900.0, recipe.windows_ghz[0])
    assert (table.version, table.b.shape) == (2, (1, 6, 3))
    assert table.layer_top_km[:-1].tolist() == list(recipe.layer_tops_km)
    assert 30.0 < table.layer_top_km[-1] < recipe.top_km
    np.testing.assert_array_equal(table.b[0, -1], round_mantissa(whole.b, recipe.mantissa_bits))
    np.testing.assert_array_equal(table.c[0, -1], round_mantissa(whole.c, recipe.mantissa_bits))
    np.testing.assert_allclose(whole.layer_b.sum(axis=0), whole.b, rtol=1e-12)
    np.testing.assert_allclose(whole.layer_c.sum(axis=0), whole.c, rtol=1e-12)
    assert np.all(np.diff(table.b, axis=1) > 0.0)
    # 5.6 K/km below the tropopause: the lowest layer, of 0.3 km, is 0.84 K colder on average
    assert table.layer_offset[0, 0] == pytest.approx(-0.84, abs=0.1)
    assert np.all(np.diff(table.layer_offset[0, :5]) < 0.0)


@needs_model
def test_layers_above_the_model_are_refused():
    recipe = replace(Recipe.read(RECIPES / "gbt.toml"), layer_tops_km=(0.3, 60.0), windows_ghz=((80, 80.5, 0.25),))
    with pytest.raises(RecipeError, match=r"layer_tops_km is \[0\.3, 60\.0\], expected .* top of the model atmosphere"):
        build_table(recipe)


@needs_model
def test_opacity_is_what_the_model_says():
    """b·PWV + c against the sum of the model's own parts, at a PWV far from that of the profile."""
    recipe = Recipe.read(RECIPES / "ccat.toml")
    found = model_opacity(recipe, 520.0, (461.0, 461.02, 0.01))
    atm = build_atm._with_profile(recipe, 520.0)
    build_atm._set_frequencies(atm, window_frequencies((461.0, 461.02, 0.01)), 0.01)
    atm.setUserWH2O({"value": 3.7, "unit": "mm"})
    wet = atm.getH2OLinesOpacity(1, 0) + atm.getH2OContOpacity(1, 0)
    parts = ("getDryContOpacity", "getO2LinesOpacity", "getO3LinesOpacity", "getCOLinesOpacity", "getN2OLinesOpacity")
    dry = sum(getattr(atm, part)(1, 0) for part in parts)
    assert found.b[1] * 3.7 + found.c[1] == pytest.approx(wet + dry, rel=1e-9)


@needs_model
def test_dry_continuum_stops_growing_where_told():
    recipe = Recipe.read(RECIPES / "sofia.toml")
    held = model_opacity(recipe, 180.0, (4744.0, 4744.02, 0.01))
    grown = model_opacity(replace(recipe, dry_continuum_limit_ghz=None), 180.0, (4744.0, 4744.02, 0.01))
    assert grown.c[1] / held.c[1] == pytest.approx((4744.0 / 2000.0) ** 2, rel=0.01)
    np.testing.assert_allclose(held.layer_c.sum(axis=0), held.c, rtol=1e-12)
