"""Record of CO2: its lines, and the last twelve months."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.cherenkov.co2 import MonthlyValue, find_record, read_record, select_last_year
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, TooFewEventsError

pytestmark = pytest.mark.cherenkov

COMMENTS = '" Monthly record, in situ "\n" Mauna Loa, 19.5°N "\n'
HEADERS = "  Yr, Mn, Date, Date, CO2, filled\n , , Excel, , [ppm], [ppm]\n"


def make_record(first=(2021, 1), count=24, missing=(), ends="\n"):
    """Lines of a record whose value is 400 + months since the first."""
    lines = []
    for i in range(count):
        year, month = divmod(12 * first[0] + first[1] - 1 + i, 12)
        value = -99.99 if i in missing else 400.0 + i
        lines.append(f"{year}, {month + 1:02d}, 44000, {year}.5, {value:8.2f}, 999.00, MLO{ends}")
    return "".join(lines)


@pytest.fixture
def write_record(tmp_path):
    def write(text, name="co2.csv"):
        path = tmp_path / name
        path.write_bytes(text.encode("latin-1"))
        return path

    return write


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("headers", [HEADERS, HEADERS + " , , , , , \n", ""])
def test_months_with_a_value_are_read(write_record, ends, headers):
    values = read_record(write_record(COMMENTS + headers + make_record(missing=(3, 4), ends=ends)))
    assert len(values) == 22
    assert str(values[3]) == "2021-06"
    assert [value.concentration for value in values[:4]] == [400.0, 401.0, 402.0, 405.0]


def test_comments_may_hold_any_byte(write_record):
    # latin-1 0x85 is a line separator to str.splitlines.
    values = read_record(write_record('" and so on\x85 2020, 01 is old "\n' + HEADERS + make_record(count=1)))
    assert [str(value) for value in values] == ["2021-01"]


def test_order_of_the_lines_does_not_matter(write_record):
    lines = make_record().splitlines(keepends=True)
    assert read_record(write_record("".join(reversed(lines)))) == read_record(write_record(make_record(), "other.csv"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("2023, 01, 44000\n", "line 27: found '2023, 01, 44000'"),
        ("2023, 01, 44000, 2023.5, much, 1\n", "expected year, month, two dates and ppm"),
        ("2023, 13, 44000, 2023.5, 410.0, 1\n", "month 13; expected 1 to 12"),
        ("2021, 02, 44000, 2021.5, 410.0, 1\n", "month 2021-02 is there twice"),
        ("2023, 01, 44000, 2023.5, 41.0, 1\n", "41 ppm; expected 200 to 1000 ppm"),
        ("2023, 01, 44000, 2023.5, nan, 1\n", "nan ppm; expected 200 to 1000 ppm"),
    ],
)
def test_other_lines_are_refused(write_record, line, message):
    path = write_record(COMMENTS + make_record() + line)
    with pytest.raises(CorruptedInputError, match=message) as caught:
        read_record(path)
    assert "co2.csv" in str(caught.value)


def test_files_without_months_are_refused(write_record, tmp_path):
    with pytest.raises(CorruptedInputError, match="no line that begins with a year"):
        read_record(write_record(COMMENTS + HEADERS))
    with pytest.raises(MissingInputError, match=r"none\.csv"):
        read_record(tmp_path / "none.csv")


def test_a_folder_holds_one_record(write_record, tmp_path):
    with pytest.raises(MissingInputError, match="holds no CO2 record"):
        find_record(tmp_path)
    path = write_record(make_record())
    assert find_record(tmp_path) == find_record(path) == path
    write_record(make_record(), "other.csv")
    with pytest.raises(CorruptedInputError, match=r"2 CSV files \(co2\.csv, other\.csv\)"):
        find_record(tmp_path)


def value(year, month):
    return MonthlyValue(year, month, 410.0)


@given(st.integers(12, 60), st.integers(0, 70))
def test_only_months_that_have_ended_count(count, now):
    record = [MonthlyValue(2000 + i // 12, i % 12 + 1, 400.0) for i in range(count)]
    year, month = 2000 + now // 12, now % 12 + 1
    ended = [each for each in record if (each.year, each.month) < (year, month)]
    if len(ended) < 12:
        with pytest.raises(TooFewEventsError, match=f"{len(ended)} months"):
            select_last_year(record, year, month)
    else:
        selected, warnings = select_last_year(record, year, month)
        assert selected == ended[-12:]
        assert bool(warnings) is (now - count >= 3)


def test_a_gap_is_warned_of_and_the_months_before_it_count():
    record = [value(2022, month) for month in range(1, 13)] + [value(2023, month) for month in (1, 2, 4, 5, 6)]
    selected, warnings = select_last_year(record, 2023, 7)
    assert (str(selected[0]), str(selected[-1]), len(selected)) == ("2022-06", "2023-06", 12)
    assert warnings == ["the last 12 months of CO2 are not consecutive: they reach from 2022-06 to 2023-06"]


@pytest.mark.parametrize(("month", "is_old"), [(7, False), (9, False), (10, True), (12, True)])
def test_an_old_record_is_warned_of(month, is_old):
    record = [value(2022, m) for m in range(7, 13)] + [value(2023, m) for m in range(1, 7)]
    _, warnings = select_last_year(record, 2023, month)
    assert warnings == (["the last month of CO2, 2023-06, is older than 3 months"] if is_old else [])


def test_last_year_of_the_real_record(shared):
    selected, warnings = select_last_year(read_record(shared / "monthly_in_situ_co2_mlo.csv"), 2023, 7)
    assert (str(selected[0]), str(selected[-1]), warnings) == ("2022-07", "2023-06", [])
    assert sum(each.concentration for each in selected) / 12 == 419.3125
