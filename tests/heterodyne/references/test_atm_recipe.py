from dataclasses import replace

import pytest

from cal_pipeline.heterodyne.references.atm_recipe import RECIPES, Recipe, RecipeError


@pytest.fixture
def values():
    return {
        "output": "hill.asdf",
        "site": "a hill",
        "temperature_profile": "mild",
        "atmosphere_type": "midlatsummer",
        "lapse_rate_k_per_km": -6.5,
        "water_scale_height_km": 2.0,
        "pressures_hpa": [700, 750],
        "windows_ghz": [[100, 110, 0.1], [200, 210, 0.1]],
    }


@pytest.mark.parametrize("name", ["ccat", "sofia", "gbt"])
def test_shipped_recipes_parse(name):
    recipe = Recipe.read(RECIPES / f"{name}.toml")
    assert recipe.output == f"atm_{name}.asdf"
    assert (recipe.altitude_m is None) == (name == "sofia")


def test_from_mapping(values):
    recipe = Recipe.from_mapping(values)
    assert recipe.pressures_hpa == (700.0, 750.0)
    assert recipe.windows_ghz[1] == (200.0, 210.0, 0.1)
    assert recipe.atmosphere_number == 2


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
        ({"mantissa_bits": 30}, "mantissa_bits is 30"),
    ],
)
def test_senseless_values(values, change, message):
    recipe = Recipe.from_mapping(values)
    with pytest.raises(RecipeError, match=message):
        replace(recipe, **change)


def test_unknown_and_missing_keys(values):
    del values["site"]
    with pytest.raises(RecipeError, match=r"unknown keys: colour; missing keys: site"):
        Recipe.from_mapping(values | {"colour": "blue"})


def test_windows_of_the_wrong_form(values):
    with pytest.raises(RecipeError, match="start, stop, step"):
        Recipe.from_mapping(values | {"windows_ghz": [[100, 110]]})


def test_no_toml_names_the_file(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("site = ")
    with pytest.raises(RecipeError, match=r"bad\.toml"):
        Recipe.read(path)
