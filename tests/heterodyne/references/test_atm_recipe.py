from dataclasses import replace

import pytest

from cal_pipeline.heterodyne.references.atm_recipe import RECIPES, Recipe, RecipeError

RECIPE = """
output = "hill.asdf"
site = "a hill"
temperature_profile = "mild"
atmosphere_type = "midlatsummer"
lapse_rate_k_per_km = -6.5
water_scale_height_km = 2
pressures_hpa = [700, 750]
windows_ghz = [[100, 110, 0.1], [200, 210, 0.1]]
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text=RECIPE):
        (tmp_path / "hill.toml").write_text(text)
        return Recipe.read(tmp_path / "hill.toml")

    return from_text


@pytest.mark.parametrize("name", ["ccat", "sofia", "gbt"])
def test_shipped_recipes_parse(name):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    assert recipe.output == f"atm_{name}.asdf"
    assert (recipe.altitude_m is None) == (name == "sofia")


@pytest.mark.parametrize(
    ("name", "tops", "pwv"),
    [
        ("ccat", (0.25, 0.65, 1.4, 2.5, 5.0), 1.0),
        ("gbt", (0.3, 0.9, 2.0, 4.0, 8.0), 10.0),
        ("sofia", (2.5, 7.0), 0.01),
    ],
)
def test_shipped_recipes_have_layers(name, tops, pwv):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    assert (recipe.layer_tops_km, recipe.emission_pwv_mm) == (tops, pwv)


def test_a_recipe_is_read(read):
    recipe = read()
    assert recipe.pressures_hpa == (700.0, 750.0)
    assert recipe.windows_ghz[1] == (200.0, 210.0, 0.1)
    assert recipe.atmosphere_number == 2
    assert (recipe.layer_tops_km, recipe.emission_pwv_mm) == ((), 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atmosphere_type": "lunar"}, "midlatsummer"),
        ({"pressures_hpa": (750.0, 700.0)}, "pressures_hpa must ascend"),
        ({"pressures_hpa": ()}, "pressures_hpa must ascend"),
        ({"windows_ghz": ((100.0, 110.0, 0.1), (105.0, 120.0, 0.1))}, "windows_ghz must be separate"),
        ({"windows_ghz": ((100.0, 110.0, 0.0),)}, "steps of windows_ghz"),
        ({"altitude_m": 800.0}, "both altitude_m and ground_temperature_k"),
        ({"layers": 0}, "layers is 0"),
        ({"layer_tops_km": (2.0, 1.0)}, r"layer_tops_km is \[2\.0, 1\.0\], expected heights above .* ascend"),
        ({"layer_tops_km": (0.0, 1.0)}, "ascend from above 0"),
        ({"emission_pwv_mm": -1.0}, "emission_pwv_mm is -1, expected 0 or more"),
        ({"mantissa_bits": 30}, "mantissa_bits is 30"),
    ],
)
def test_senseless_values(read, change, message):
    recipe = read()
    with pytest.raises(RecipeError, match=message):
        replace(recipe, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("site =", "sight ="), r"recipe .*hill\.toml: sight is not known; did you mean 'site'"),
        (('site = "a hill"', 'colour = "blue"'), "colour is not known; expected altitude_m, "),
        (('site = "a hill"', ""), "site is missing"),
        (("[200, 210, 0.1]", "[200, 210]"), r"windows_ghz\[1\] is \[200, 210\], expected \[start, stop, step\] in GHz"),
        (("[700, 750]", '["low"]'), r"pressures_hpa\[0\] is 'low', expected a finite number in hPa"),
        (("-6.5", '"steep"'), "lapse_rate_k_per_km is 'steep', expected a finite number in K/km"),
        (("midlatsummer", "lunar"), r"hill\.toml: atmosphere_type is 'lunar', expected one of tropical"),
        (("water", "layer_tops_km = 1\nwater"), "layer_tops_km is 1, expected a list in brackets"),
        (("water", "layer_tops_km = [-1]\nwater"), r"layer_tops_km\[0\] is -1, expected a finite number above 0 in km"),
        (("water", "emission_pwv_mm = -1\nwater"), "emission_pwv_mm is -1, expected a finite number from 0 in mm"),
        (("water", "layers = 8.5\nwater"), "layers is 8.5, expected a whole number"),
    ],
)
def test_a_wrong_file_is_refused_by_key(read, change, message):
    with pytest.raises(RecipeError, match=message):
        read(RECIPE.replace(*change))


def test_no_toml_names_the_file(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("site = ")
    with pytest.raises(RecipeError, match=r"recipe .*bad\.toml cannot be read"):
        Recipe.read(path)
    with pytest.raises(RecipeError, match=r"recipe .*none\.toml cannot be read"):
        Recipe.read(tmp_path / "none.toml")
