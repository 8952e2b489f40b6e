"""Step of the LIDAR inversion: its product, its picture, its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.simulate.air import AirColumn
from cal_pipeline.cherenkov.simulate.atmosphere import CLIMATES, LATITUDE, make_reference_profile
from cal_pipeline.cherenkov.simulate.lidar import AerosolLayer, LidarScene, make_signal_table
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.steps.cherenkov import LidarInversionStep

pytestmark = pytest.mark.cherenkov

PRODUCT = "aerosol_extinction_profile.ascii.ecsv"
SCENE = LidarScene(
    AirColumn(CLIMATES["winter"], LATITUDE), (AerosolLayer(4.0, 1.5, 0.12),), station_altitude=2.1, zenith_angle=25.0
)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lidar")
    make_signal_table(SCENE, np.arange(150.0, 11000.0, 15.0)).write(folder / "signal.ecsv")
    profile = make_reference_profile(SCENE.column)
    profile.write(folder / "profile.ecsv")
    profile.meta["co2_concentration"] = 400.0
    profile.write(folder / "profile_400.ecsv")
    profile[:5].write(folder / "low.ecsv")
    return folder


@pytest.fixture
def invert(inputs, tmp_path):
    def run(signal="signal.ecsv", **settings):
        chosen = {
            "profile": str(inputs / "profile.ecsv"),
            "wavelength": 355.0,
            "zenith_angle": 25.0,
            "station_altitude": 2.1,
            "reference_range": 9003.0,
            "output_path": str(tmp_path),
        }
        return LidarInversionStep.call(str(inputs / signal), **(chosen | settings))

    return run


def test_product_has_the_aerosols(invert, tmp_path):
    product = invert()
    true = SCENE.aerosol_extinction(product["altitude"].quantity.to_value("km"))
    # The cross section of the simulated molecules is another one.
    assert product["extinction"].quantity.to_value("1 / km") == pytest.approx(true, abs=2e-3)
    assert product["aod"][500] == pytest.approx(0.12 * 1.5, abs=3e-3)
    assert product["extinction"].value == pytest.approx(50.0 * product["backscatter"].value)
    written = Table.read(tmp_path / PRODUCT)
    assert written.colnames == ["altitude", "backscatter", "extinction", "aod"]
    assert written.meta["lidar_inversion"]["reference_range_m"] == 9000.0
    provenance = written.meta["provenance"]
    assert len(provenance["inputs"]) == 2
    assert "420 ppm" in provenance["warnings"][0]
    assert list(tmp_path.iterdir()) == [tmp_path / PRODUCT]


def test_carbon_dioxide_of_the_profile_counts(invert, inputs, caplog):
    without = invert()
    product = invert(profile=str(inputs / "profile_400.ecsv"), overwrite=True)
    assert "ppm is taken" in caplog.text
    assert product.meta["lidar_inversion"] == without.meta["lidar_inversion"]
    low = slice(80, 150)
    changed = np.abs(product["backscatter"][low] / without["backscatter"][low] - 1.0)
    assert 0 < changed.max() < 1e-2


def test_picture_lies_beside_the_product(invert, tmp_path):
    invert(plot=True)
    assert (tmp_path / "aerosol_extinction_profile.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputExistsError):
        invert()


@pytest.mark.parametrize("name", ["wavelength", "profile", "station_altitude", "reference_range"])
def test_what_has_no_default_must_be_given(invert, name):
    with pytest.raises(ConfigurationError, match=f"needs {name}") as caught:
        invert(**{name: None})
    assert caught.value.exit_status == 101


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"reference_range": 20000.0}, ConfigurationError, "reference_range 20000 m is outside"),
        ({"profile": "nowhere.ecsv"}, MissingInputError, "nowhere.ecsv is not there"),
        ({"wavelength": 100.0}, ParameterError, "wavelength"),
    ],
)
def test_wrong_settings_are_refused(invert, settings, error, message):
    with pytest.raises(error, match=message):
        invert(**settings)


def test_profile_must_reach_the_last_distance(invert, inputs):
    with pytest.raises(CorruptedInputError, match=r"low.ecsv: altitude 4\S* km is not in the profile; expected 0 to 4"):
        invert(profile=str(inputs / "low.ecsv"))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"range": [100.0, 200.0]}, "lacks the column signal; it has range"),
        ({"range": [100.0, 90.0, 200.0], "signal": [1.0] * 3}, "row 1 has 90; expected distances above 0 that ascend"),
        ({"range": [0.0, 90.0, 200.0], "signal": [1.0] * 3}, "row 0 has 0"),
        ({"range": [100.0, 200.0], "signal": [1.0, np.nan]}, "signal holds values that are not finite"),
        ({"range": [100.0], "signal": [1.0]}, "has 1 rows; expected at least 2"),
        ({"range": [8000.0, 9010.0], "signal": [1.0, -1.0]}, "signal at the reference, 9010 m, is -1"),
    ],
)
def test_wrong_signals_are_refused(invert, tmp_path, columns, message):
    Table(columns).write(tmp_path / "wrong.ecsv")
    with pytest.raises(CorruptedInputError, match=message) as caught:
        invert(str(tmp_path / "wrong.ecsv"))
    assert caught.value.exit_status == 104
    assert not (tmp_path / PRODUCT).exists()


def test_distances_without_a_solution_are_told_of(invert, inputs, tmp_path, caplog):
    table = Table.read(inputs / "signal.ecsv")
    table["signal"][table["range"] > 9500] *= 100.0
    table.write(tmp_path / "cloud.ecsv")
    product = invert(str(tmp_path / "cloud.ecsv"))
    assert "no solution at" in caplog.text
    assert np.isnan(product["extinction"][-1])
    assert np.isfinite(product["extinction"][:550]).all()
