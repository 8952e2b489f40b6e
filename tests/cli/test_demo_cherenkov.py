"""The demo of Cherenkov telescopes: what it recovers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.simulate.night import PRODUCTS
from cal_pipeline.cli import demo, demo_cherenkov
from cal_pipeline.errors import CalibrationError

pytestmark = pytest.mark.cherenkov


@pytest.mark.slow
def test_demo_recovers_what_it_put_in_also_a_second_time(tmp_path, capsys):
    folder = tmp_path / "demo"
    assert demo.main(["--cherenkov", "--seed=3", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "all recovered" in printed
    assert "NOT" not in printed
    assert printed.index("$ calibpipe-init-db") < printed.index("$ calibpipe-lidar-inversion")
    products = folder / "night" / PRODUCTS
    pictures = ["aerosol_extinction_profile.png", "contemporary_atmosphere.png", "night_and_reference.png"]
    assert sorted(path.name for path in products.glob("*.png")) == pictures
    assert all((products / name).stat().st_size > 10_000 for name in pictures)
    assert demo.main(["--cherenkov", "--seed=4", str(folder)]) == 0

    # An extinction that is 1 % wrong, and a hole in the aerosols, are noticed.
    path = products / "contemporary_rayleigh_extinction_profile.ascii.ecsv"
    table = Table.read(path)
    table["500.0 nm"] *= 1.01
    table.write(path, overwrite=True)
    wrong = [row.quantity for row in demo_cherenkov.compare_extinction(folder / "night") if not row.is_recovered]
    assert wrong == 4 * ["optical depth, 500 nm"]
    path = products / "aerosol_extinction_profile.ascii.ecsv"
    table = Table.read(path)
    table["extinction"][np.argmin(np.abs(np.asarray(table["altitude"]) - 6100.0))] = np.nan
    table.write(path, overwrite=True)
    aerosols = demo_cherenkov.compare_aerosols(folder / "night")
    assert [row.altitude for row in aerosols if not row.is_recovered] == [6.0]


def test_a_tool_that_fails_ends_the_demo(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_cherenkov, "run_tool", lambda command, options: 102)
    with pytest.raises(CalibrationError, match="calibpipe-init-db ended with exit status 102"):
        demo_cherenkov.run_tools(tmp_path / "night", 1)


def test_true_depth_of_air_whose_density_falls_exponentially(tmp_path):
    altitude, scale_height = np.arange(46.0), 8.0
    density = 2.5e19 * np.exp(-altitude / scale_height)
    Table({"altitude": altitude, "number density": density}).write(tmp_path / "truth.ecsv")
    # At 550 nm: 4.51e-27 cm2 (Bucholtz 1995, table 2), a column of N0 H [exp(-a/H) - exp(-b/H)].
    column = 2.5e19 * scale_height * 1e5 * (np.exp(-2.0 / scale_height) - np.exp(-10.0 / scale_height))
    depth = demo_cherenkov.compute_true_depth(tmp_path, 2.0, 10.0, 550.0)
    assert depth == pytest.approx(4.51e-27 * column, rel=2e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cherenkov", "--size=96"], "--size is for the imager"),
        (["--cherenkov", "--imager"], "not allowed with argument"),
        (["--seed=1"], "give --imager or --cherenkov as well"),
    ],
)
def test_options_of_another_family_are_refused(tmp_path, capsys, options, message):
    assert demo.main([*options, str(tmp_path / "demo")]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
