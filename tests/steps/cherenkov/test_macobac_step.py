"""Step ``macobac``: its product, and what it refuses."""

import json

import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, TooFewEventsError
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.steps.cherenkov import MacobacStep

pytestmark = pytest.mark.cherenkov


@pytest.fixture
def record(tmp_path):
    """A record of 2022 and 2023, without 2023-03, whose value is 400 + number of the month."""
    folder = tmp_path / "record"
    folder.mkdir()
    lines = ['" Comment "', " Yr, Mn, Date, Date, CO2", " , , Excel, , [ppm]"]
    for i in range(24):
        value = -99.99 if i == 14 else 400.0 + i
        lines.append(f"{2022 + i // 12}, {i % 12 + 1}, 0, 0, {value:.2f}")
    (folder / "co2.csv").write_text("\n".join(lines) + "\n", encoding="latin-1")
    return folder


def average(source, output, **settings):
    return MacobacStep.call(str(source), output_path=str(output), configure_log=False, **settings)


def test_product_is_one_row_with_its_months(record, tmp_path):
    made = average(record, tmp_path / "products", timestamp="2023-02-01T00:00:00")
    read = Table.read(tmp_path / "products" / "macobac.ecsv", format="ascii.ecsv")
    for table in (made, read):
        assert table.colnames == ["co2_concentration", "estimation_date", "version"]
        # January 2023 has ended, January 2022 is the thirteenth.
        assert table["co2_concentration"].tolist() == [sum(range(401, 413)) / 12]
        assert str(table["co2_concentration"].unit) == "ppm"
        assert (table["estimation_date"][0], table["version"][0]) == ("2023-02-01", "0.0.0")
        assert table.meta["months"] == [f"2022-{month:02d}" for month in range(2, 13)] + ["2023-01"]


def test_provenance_names_the_record(record, tmp_path):
    average(record / "co2.csv", tmp_path, timestamp="2023-02-01")
    text = json.dumps(Table.read(tmp_path / "macobac.ecsv", format="ascii.ecsv").meta["provenance"], default=str)
    assert "calibpipe-calculate-macobac" in text
    assert "co2.csv" in text
    assert "sha256" in text


def test_gaps_are_warned_of_in_the_product(record, tmp_path, caplog):
    average(record, tmp_path, timestamp="2023-07-10")
    assert "not consecutive" in caplog.text
    provenance = Table.read(tmp_path / "macobac.ecsv", format="ascii.ecsv").meta["provenance"]
    assert "not consecutive" in json.dumps(provenance, default=str)


def test_without_a_timestamp_the_record_ends_before_now(record, tmp_path, caplog):
    made = average(record, tmp_path, output_file="now.ecsv")
    assert made.meta["months"][-1] == "2023-12"
    assert "older than 3 months" in caplog.text
    assert (tmp_path / "now.ecsv").is_file()


def test_too_few_months(record, tmp_path):
    with pytest.raises(TooFewEventsError, match="11 months") as caught:
        average(record, tmp_path, timestamp="2022-12-31")
    assert caught.value.exit_status == 106
    assert not (tmp_path / "macobac.ecsv").exists()


def test_existing_products_stay(record, tmp_path):
    (tmp_path / "macobac.ecsv").write_text("mine")
    with pytest.raises(OutputExistsError) as caught:
        average(record, tmp_path, timestamp="2023-07-10")
    assert caught.value.exit_status == 102
    assert (tmp_path / "macobac.ecsv").read_text() == "mine"
    average(record, tmp_path, timestamp="2023-07-10", overwrite=True)
    assert len(Table.read(tmp_path / "macobac.ecsv", format="ascii.ecsv")) == 1


def test_a_missing_record_and_one_of_another_form(record, tmp_path):
    with pytest.raises(MissingInputError):
        average(tmp_path / "none.csv", tmp_path)
    (record / "co2.csv").write_text("something else")
    with pytest.raises(CorruptedInputError, match=r"co2\.csv"):
        average(record, tmp_path)


def test_real_record(shared, tmp_path):
    made = average(shared / "monthly_in_situ_co2_mlo.csv", tmp_path, timestamp="2023-07-10")
    assert made["co2_concentration"].tolist() == [419.3125]
    assert made.meta["months"] == [f"2022-{m:02d}" for m in range(7, 13)] + [f"2023-{m:02d}" for m in range(1, 7)]
