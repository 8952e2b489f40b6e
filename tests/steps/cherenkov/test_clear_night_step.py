"""Step of the clear night: its table, its verdict, its refusals."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.time import Time

from cal_pipeline.cherenkov.errors import (
    ConfigurationError,
    CorruptedInputError,
    MissingInputError,
    TooFewEventsError,
)
from cal_pipeline.cherenkov.hdf5 import read_table
from cal_pipeline.cherenkov.simulate.stars import WAVELENGTHS, make_star_table
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.steps.cherenkov import ClearNightStep
from cal_pipeline.steps.cherenkov.clear_night import NODE, convert_wavelength

pytestmark = pytest.mark.cherenkov

PRODUCT = "aerosol_clear_night.h5"


def stars(seed=1, **settings):
    return make_star_table(np.random.default_rng(seed), **settings)


@pytest.fixture
def assess(tmp_path):
    def run(table, name="stars.ecsv", **settings):
        table.write(tmp_path / name, overwrite=True)
        step = ClearNightStep(**({"output_path": str(tmp_path)} | settings))
        return step.run(str(tmp_path / name)), step.exit_status

    return run


def test_clear_night(assess, tmp_path):
    product, status = assess(stars(stars=400))
    assert status == 0
    assert set(product["night_assessment"]) == {"Clear Night"}
    assert product["wavelength"].quantity.to_value("nm").tolist() == list(WAVELENGTHS)
    true = 0.02 * (420.0 / np.array(WAVELENGTHS)) ** 1.3
    assert np.abs((product["VAOD"] - true) / product["VAOD_error"]).max() < 3.5
    assert product["VAOD_error"] == pytest.approx(np.full(3, 0.004 * 0.76 / 20), rel=0.1)
    assert abs(product["angstrom_exponent"][0] - 1.3) < 3.5 * product["angstrom_exponent_error"][0]
    assert product["n"].tolist() == [400] * 3
    written = read_table(tmp_path / PRODUCT, NODE)
    assert written.colnames == product.colnames
    assert written["VAOD"].tolist() == product["VAOD"].tolist()
    assert written["wavelength"].unit == u.nm


@pytest.mark.parametrize("changed", [{"depth": 0.05}, {"variability": 0.3}])
def test_nights_that_are_not_clear(assess, changed):
    product, status = assess(stars(stars=400, **changed))
    assert set(product["night_assessment"]) == {"Undefined"}
    assert status == 0


def test_variability_is_found(assess):
    product, _ = assess(stars(stars=4000, depth=0.1, variability=0.2, caution=1.0))
    assert product["fractional_rms_variability_amplitude"] == pytest.approx(np.full(3, 0.2), abs=0.015)


def test_stratosphere_is_subtracted_by_its_own_power_law(assess):
    table = stars(stars=400, stratosphere=0.02)
    product, _ = assess(table, stratospheric_aerosols_optical_depth=0.02)
    again, _ = assess(
        table,
        stratospheric_aerosols_optical_depth=0.02 * (420 / 525) ** 2,
        wavelength_of_measurement="525 nm",
        overwrite=True,
    )
    assert again["VAOD"] == pytest.approx(product["VAOD"], rel=1e-9)
    assert product["VAOD"][0] == pytest.approx(0.02, abs=1e-3)


def test_units_and_times_of_fits_files(assess):
    table = stars(stars=20)
    expected, _ = assess(table)
    table["zenith_angle"] = np.radians(table["zenith_angle"].value) * u.rad
    table["wavelength"] = table["wavelength"].value / 1e3 * u.um
    product, _ = assess(table, "stars.fits", overwrite=True)
    assert product["VAOD"] == pytest.approx(expected["VAOD"], rel=1e-9)
    table["timestamp"] = Time(table["timestamp"], scale="utc")
    assert assess(table, "stars.fits", overwrite=True)[1] == 0


def test_wavelength_with_few_stars_is_left_out(assess, caplog):
    table = stars(stars=50)
    product, status = assess(table[:102])
    assert status == 106
    assert "2 stars at 640 nm, expected 3" in caplog.text
    assert product["wavelength"].tolist() == [420.0, 530.0]
    assert set(product["night_assessment"]) == {"Undefined"}


def test_too_few_stars(assess, tmp_path):
    with pytest.raises(TooFewEventsError, match="6 stars at 3 wavelengths; expected 3 at one") as caught:
        assess(stars(stars=2))
    assert caught.value.exit_status == 106
    assert not (tmp_path / PRODUCT).exists()


def test_several_nights_are_told_of(assess, caplog):
    table = stars(stars=20)
    table["timestamp"][0] = "2023-07-12T01:00:00"
    assess(table)
    assert "more than one night" in caplog.text


def test_too_thick_a_stratosphere_is_refused(assess):
    with pytest.raises(CorruptedInputError, match=r"mean vertical aerosol optical depth at 420 nm is -0\.0"):
        assess(stars(stars=20), stratospheric_aerosols_optical_depth=0.05)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("aod", np.nan, "aod holds values that are not finite"),
        ("aod_err", -0.1, "aod_err, row 4 has -0.1; expected 0 or above"),
        ("zenith_angle", 95.0, "zenith_angle, row 4 has 95; expected 0 to 90 deg"),
        ("wavelength", 0.0, "wavelength, row 4 has 0; expected a positive number"),
        ("timestamp", "yesterday", "column timestamp: .*yesterday.*expected ISO text"),
        ("timestamp", "NaT", "column timestamp, row 4 has 'NaT'; expected ISO text"),
    ],
)
def test_wrong_values_are_refused(assess, column, value, message):
    table = stars(stars=5)
    table[column][4] = value
    with pytest.raises(CorruptedInputError, match=message):
        assess(table)


@pytest.mark.parametrize("column", ["timestamp", "aod"])
def test_missing_columns_are_refused(assess, column):
    table = stars(stars=5)
    table.remove_column(column)
    with pytest.raises(CorruptedInputError, match=f"column {column}; it has"):
        assess(table)


def test_files_that_are_no_tables_are_refused(tmp_path):
    (tmp_path / "stars.fits").write_text("no table")
    with pytest.raises(CorruptedInputError, match="cannot be read as FITS"):
        ClearNightStep.call(str(tmp_path / "stars.fits"), output_path=str(tmp_path))
    with pytest.raises(MissingInputError, match=r"other\.fits is not there"):
        ClearNightStep.call(str(tmp_path / "other.fits"), output_path=str(tmp_path))


def test_product_that_exists_stays(assess, tmp_path):
    assess(stars(stars=20))
    before = (tmp_path / PRODUCT).read_bytes()
    with pytest.raises(OutputExistsError) as caught:
        assess(stars(stars=30))
    assert caught.value.exit_status == 102
    assert (tmp_path / PRODUCT).read_bytes() == before
    product, _ = assess(stars(stars=30), overwrite=True)
    assert product["n"][0] == 30


def test_wavelength_with_a_unit():
    assert convert_wavelength("0.42 um") == 420.0
    assert convert_wavelength(500) == 500.0
    with pytest.raises(ConfigurationError, match="'3 s' is no wavelength"):
        convert_wavelength("3 s")
