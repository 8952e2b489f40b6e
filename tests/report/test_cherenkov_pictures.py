"""Pictures of the air of a night and of aerosols."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

from cal_pipeline.cherenkov.simulate.air import AirColumn
from cal_pipeline.cherenkov.simulate.atmosphere import (
    CLIMATES,
    LATITUDE,
    make_reference_extinction,
    make_reference_profile,
)
from cal_pipeline.report import cherenkov
from cal_pipeline.report.cherenkov import plot_lidar, plot_night

pytestmark = pytest.mark.cherenkov

PNG = b"\x89PNG\r\n\x1a\n"
SUMMER, WINTER = (AirColumn(CLIMATES[season], LATITUDE) for season in ("summer", "winter"))


@pytest.fixture
def drawn(monkeypatch):
    """Figures that are saved."""
    figures = []
    save = Figure.savefig

    def keep(figure, *args, **settings):
        figures.append(figure)
        save(figure, *args, **settings)

    monkeypatch.setattr(cherenkov.Figure, "savefig", keep)
    return figures


def test_night_beside_its_reference(tmp_path, drawn):
    profile, reference = make_reference_profile(SUMMER), make_reference_profile(WINTER)
    plot_night(
        tmp_path / "night.png",
        profile,
        make_reference_extinction(SUMMER),
        reference,
        make_reference_extinction(WINTER),
        "Night of 2023-07-09",
    )
    assert (tmp_path / "night.png").read_bytes().startswith(PNG)
    density, temperature, extinction = drawn[0].axes
    percent, altitude = density.lines[0].get_data()
    expected = SUMMER.number_density(altitude) / WINTER.number_density(altitude) - 1
    assert percent == pytest.approx(100 * expected, abs=1e-6)
    assert altitude.max() <= 50.0
    assert [line.get_linestyle() for line in temperature.lines] == ["-", "--"]
    labels = extinction.get_legend_handles_labels()[1]
    assert labels[:4] == ["350 nm, night", "450 nm, night", "550 nm, night", "350 nm, reference"]
    depth = extinction.lines[0].get_xdata()
    assert np.all(np.diff(depth) > 0)


def test_night_alone(tmp_path, drawn):
    plot_night(tmp_path / "night.png", make_reference_profile(SUMMER))
    density, temperature = drawn[0].axes
    assert density.get_xscale() == "log"
    assert len(temperature.lines) == 1


def test_units_of_tables_count(tmp_path, drawn):
    profile = make_reference_profile(SUMMER)
    plot_night(tmp_path / "km.png", profile)
    profile["altitude"] = profile["altitude"].to("m")
    plot_night(tmp_path / "m.png", profile)
    one, other = (figure.axes[1].lines[0].get_ydata() for figure in drawn)
    assert other == pytest.approx(one)


def test_lidar(tmp_path, drawn):
    altitude = np.linspace(2200.0, 9000.0, 50)
    product = Table({"altitude": altitude, "backscatter": altitude * 1e-10, "extinction": altitude * 5e-9})
    product["aod"] = np.cumsum(product["extinction"])
    plot_lidar(tmp_path / "one.png", product, altitude * 1e-9)
    plot_lidar(tmp_path / "two.png", product, altitude * 1e-9, truth=altitude * 5e-9)
    assert (tmp_path / "two.png").read_bytes().startswith(PNG)
    found, true = drawn[1].axes[1].lines
    assert found.get_xdata() == pytest.approx(true.get_xdata())
    assert len(drawn[0].axes[1].lines) == 1
    assert drawn[0].axes[0].lines[0].get_ydata()[0] == pytest.approx(2.2)
