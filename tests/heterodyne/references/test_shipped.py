import os

import numpy as np
import pytest

from cal_pipeline.heterodyne.references import shipped
from cal_pipeline.heterodyne.references.atm_recipe import RECIPES, Recipe
from cal_pipeline.heterodyne.references.atm_table import AtmRangeError, AtmTable
from cal_pipeline.heterodyne.references.shipped import (
    find_atm_table,
    open_atm_table,
    shipped_atm_table,
    shipped_atm_tables,
)

GHZ = 1e9


def write(path, start, stop, step, pressure=(500e2, 600e2)):
    frequency = np.arange(start, stop + step / 2, step) * GHZ
    ones = np.ones((len(pressure), len(frequency)))
    AtmTable(frequency, np.array(pressure), ones, ones).write(path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(shipped, "DATA", tmp_path)
    write(tmp_path / "atm_coarse.asdf", 100, 200, 1.0)
    write(tmp_path / "atm_fine.asdf", 150, 160, 0.1)
    write(tmp_path / "atm_high.asdf", 100, 200, 1.0, (100e2, 200e2))
    return tmp_path


def test_finest_grid_wins(folder):
    assert find_atm_table(np.array([151.0, 155.0]) * GHZ, 550e2).name == "atm_fine.asdf"


def test_all_frequencies_must_be_held(folder):
    signal, image = np.array([151.0, 152.0]) * GHZ, np.array([170.0]) * GHZ
    assert find_atm_table([signal, image], 550e2).name == "atm_coarse.asdf"
    assert find_atm_table([151 * GHZ, 170 * GHZ], 550e2).name == "atm_coarse.asdf"


def test_pressure_must_be_held(folder):
    assert find_atm_table(155 * GHZ, 150e2).name == "atm_high.asdf"


def test_none_suits_names_all_offers(folder):
    with pytest.raises(AtmRangeError) as error:
        find_atm_table([np.array([300.0]) * GHZ], 550e2)
    for part in ("300.000000", "atm_coarse.asdf: 100-200 GHz at 500-600 hPa", "atm_high.asdf", "atm-table build"):
        assert part in str(error.value)


def test_short_name(folder):
    assert shipped_atm_table("fine") == folder / "atm_fine.asdf"
    with pytest.raises(FileNotFoundError, match="coarse, fine, high"):
        shipped_atm_table("none")


def test_a_file_is_read_once_until_it_changes(folder):
    path = folder / "atm_fine.asdf"
    table = open_atm_table(path)
    assert open_atm_table(str(path)) is table
    write(path, 150, 170, 0.1)
    os.utime(path, (1, 1))
    assert open_atm_table(path).windows[0][1] == pytest.approx(170 * GHZ)
    with pytest.raises(FileNotFoundError, match="no atmosphere table"):
        open_atm_table(folder / "none.asdf")


class TestShippedTables:
    @pytest.mark.slow
    def test_all_open_and_are_small(self):
        tables = {path.stem: open_atm_table(path) for path in shipped_atm_tables()}
        assert set(tables) == {"atm_ccat", "atm_sofia", "atm_gbt"}
        assert sum(path.stat().st_size for path in shipped_atm_tables()) < 12e6
        for table in tables.values():
            assert set(table.meta) >= {"model", "version", "site", "altitude_m", "temperature_profile", "created"}

    @pytest.mark.parametrize("name", ["ccat", "sofia", "gbt"])
    def test_layers_are_those_of_the_recipe(self, name):
        table = open_atm_table(shipped_atm_table(name))
        recipe = Recipe.read(RECIPES / f"{name}.toml")
        assert table.version == 2
        assert tuple(table.layer_top_km[:-1]) == recipe.layer_tops_km
        assert table.pressure.tolist() == pytest.approx([100.0 * p for p in recipe.pressures_hpa])
        assert table.meta["emission_pwv_mm"] == recipe.emission_pwv_mm

    @pytest.mark.parametrize(("name", "lowest", "highest"), [("ccat", -3.0, -46.0), ("gbt", -1.0, -55.0)])
    def test_air_gets_colder_with_height(self, name, lowest, highest):
        """-5.6 K/km above a telescope on the ground; the last layer is mostly tropopause."""
        offset = open_atm_table(shipped_atm_table(name)).layer_offset
        assert np.all(np.diff(offset, axis=1) <= 0.0)
        assert np.all((lowest < offset[:, 0]) & (offset[:, 0] < 0.0))
        assert np.all(np.abs(offset[:, -1] - highest) < 5.0)

    def test_air_is_isothermal_above_sofia_and_warmer_in_the_stratosphere(self):
        offset = open_atm_table(shipped_atm_table("sofia")).layer_offset
        assert np.all(np.abs(offset[:, :2]) < 1.0)
        assert np.all((offset[:, 2] > 5.0) & (offset[:, 2] < 12.0))

    @pytest.mark.parametrize(
        ("name", "window", "pressures"),
        [
            ("ccat", (455, 495), (480, 520, 560)),
            ("ccat", (780, 820), (480, 520, 560)),
            ("sofia", (490, 635), (141, 180, 227)),
            ("sofia", (890, 1100), (141, 227)),
            ("sofia", (1240, 1525), (141, 227)),
            ("sofia", (1810, 2070), (141, 227)),
            ("sofia", (2490, 2590), (141, 227)),
            ("sofia", (4740, 4750), (141, 227)),
            ("gbt", (67, 116), (880, 950)),
        ],
    )
    def test_windows_are_covered_at_the_pressures_of_the_site(self, name, window, pressures):
        table = open_atm_table(shipped_atm_table(name))
        nu = np.linspace(window[0], window[1], 11) * GHZ
        for pressure in pressures:
            b, c = table.coefficients(nu, pressure * 100.0)
            assert np.all(b > 0.0)
            assert np.all(c > 0.0)
            assert find_atm_table([nu], pressure * 100.0) == shipped_atm_table(name)

    @pytest.mark.parametrize(
        ("name", "centre", "half_width"),
        # strong lines of water (HITRAN): 556.936, 987.927, 1097.365 and 1669.905 lie in or near the windows
        [("sofia", 556.936, 3.0), ("sofia", 987.927, 3.0), ("sofia", 1919.36, 3.0)],
    )
    def test_water_lines_are_where_they_are(self, name, centre, half_width):
        table = open_atm_table(shipped_atm_table(name))
        nu = np.arange(centre - half_width, centre + half_width, 0.005) * GHZ
        b, _ = table.coefficients(nu, 180e2)
        assert nu[np.argmax(b)] / GHZ == pytest.approx(centre, abs=0.01)

    def test_oxygen_line_at_green_bank(self):
        table = open_atm_table(shipped_atm_table("gbt"))
        nu = np.arange(66.0, 117.0, 0.005) * GHZ
        _, c = table.coefficients(nu, 920e2)
        line = nu > 100 * GHZ
        peak = nu[line][np.argmax(c[line])] / GHZ
        edge = nu[np.argmax(c)] / GHZ
        assert peak > 116.9  # the wing of the 118.75 GHz line still climbs at the end of the window
        assert edge < 66.1 or edge > 116.9
