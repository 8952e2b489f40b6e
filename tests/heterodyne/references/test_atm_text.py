import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline.heterodyne.references.atm_table import AtmTable, AtmTableError
from cal_pipeline.heterodyne.references.atm_text import table_from_text

LOW = "# nu [GHz], b, c\n460 0.5 0.01\n\n461 0.6 0.02 # a line\n462 0.7 0.03\n"
HIGH = "460, 0.55, 0.02\n461, 0.65, 0.03\n462\t0.75\t0.04\n"
BOTH = "460 0.5 0.01 0.55 0.02\n461 0.6 0.02 0.65 0.03\n462 0.7 0.03 0.75 0.04\n"


@pytest.fixture
def text(tmp_path):
    def write(content, name="a.txt"):
        path = tmp_path / name
        path.write_text(content)
        return path

    return write


@pytest.mark.parametrize("contents", [(LOW, HIGH), (BOTH,)], ids=["a file per pressure", "one file"])
def test_both_forms_give_the_same_table(text, contents):
    table = table_from_text([text(content, f"{i}.txt") for i, content in enumerate(contents)], [500.0, 530.0])
    assert (table.version, table.pressure.tolist()) == (1, [50000.0, 53000.0])
    assert table.frequency.tolist() == [460e9, 461e9, 462e9]
    np.testing.assert_array_equal(table.b[:, 0], np.float32([[0.5, 0.6, 0.7], [0.55, 0.65, 0.75]]))
    np.testing.assert_array_equal(table.c[:, 0], np.float32([[0.01, 0.02, 0.03], [0.02, 0.03, 0.04]]))
    assert table.meta["files"] == [f"{i}.txt" for i in range(len(contents))]


def test_one_pressure(text):
    table = table_from_text([text(LOW)], [500.0])
    assert table.covers(461e9, 50000.0)
    assert table.b.shape == (1, 1, 3)


@pytest.mark.parametrize(("unit", "scale"), [("Hz", 1e9), ("kHz", 1e6), ("MHz", 1e3), ("GHz", 1.0), ("THz", 1e-3)])
def test_units(text, unit, scale):
    content = "".join(f"{nu * scale!r} 0.5 0.01\n" for nu in (460.0, 461.0))
    table = table_from_text([text(content)], [500.0], unit)
    np.testing.assert_allclose(table.frequency, [460e9, 461e9], rtol=1e-15)


def test_the_date_may_be_given(text, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    assert table_from_text([text(LOW)], [500.0]).meta["created"] == "1970-01-02"


@settings(max_examples=25)
@given(rows=st.lists(st.tuples(st.floats(0.0, 1e3, width=32), st.floats(0.0, 1e3, width=32)), min_size=2, max_size=20))
def test_numbers_survive(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("text")
    (folder / "t.txt").write_text("".join(f"{100 + i} {b!r} {c!r}\n" for i, (b, c) in enumerate(rows)))
    table_from_text([folder / "t.txt"], [700.0]).write(folder / "t.asdf")
    table = AtmTable.open(folder / "t.asdf")
    np.testing.assert_array_equal(np.stack([table.b[0, 0], table.c[0, 0]], axis=1), np.float32(rows))


@pytest.mark.parametrize(
    ("contents", "pressures", "unit", "message"),
    [
        ([LOW, HIGH], [500.0], "GHz", "found 2 files for 1 pressures, expected one file per pressure"),
        ([LOW, HIGH], [500.0, 530.0, 560.0], "GHz", "found 2 files for 3 pressures"),
        ([LOW], [500.0, 530.0], "GHz", r"0\.txt, line 2: found 3 columns, expected 5: frequency, b1, c1, b2, c2"),
        ([BOTH], [500.0], "GHz", r"0\.txt, line 1: found 5 columns, expected 3: frequency, b, c"),
        (["nu b c\n" + LOW], [500.0], "GHz", r"line 1: expected numbers, or # before a comment: .*'nu'"),
        (["460 0.5 nan\n461 0.5 0.1\n"], [500.0], "GHz", "line 1: found 460, 0.5, nan, expected finite"),
        (["#\n460 0.5 0.1\n461 -0.5 0.1\n"], [500.0], "GHz", "line 3: found 461, -0.5, 0.1, expected .* 0 or above"),
        (["461 0.5 0.1\n460 0.5 0.1\n"], [500.0], "GHz", "line 2: found 460 after 461, expected ascending"),
        (["460 0.5 0.1\n460 0.5 0.1\n"], [500.0], "GHz", "line 2: found 460 after 460"),
        (["460 0.5 0.1\n"], [500.0], "GHz", "found 1 lines of numbers, expected 2 or more"),
        (["# nothing\n"], [500.0], "GHz", "found 0 lines"),
        ([LOW, HIGH.replace("461,", "461.5,")], [500.0, 530.0], "GHz",
         r"1\.txt, line 2: the frequency is 461.5, expected 461 as in .*0\.txt, line 4"),
        ([LOW, HIGH + "463 1 1\n"], [500.0, 530.0], "GHz", r"1\.txt: found 4 frequencies, expected the 3 of .*0\.txt"),
        ([LOW, HIGH], [530.0, 500.0], "GHz", "the pressures are 530, 500 hPa, expected ascending"),
        ([LOW], [50000.0], "GHz", "the pressures are 50000, expected values from 1 to 1100 hPa"),
        ([LOW], [float("nan")], "GHz", "the pressures are nan"),
        ([LOW], [500.0], "Hz", "line 2: the frequency is 460 Hz, expected 1e.09 to 2e.13 Hz; --unit GHz would fit"),
        (["460000 1 1\n461000 1 1\n"], [500.0], "GHz", "460000 GHz, expected 1 to 20000 GHz; --unit MHz would fit"),
        (["-460 1 1\n461 1 1\n"], [500.0], "GHz", "line 1: the frequency is -460 GHz, expected 1 to 20000 GHz$"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(text, contents, pressures, unit, message):
    files = [text(content, f"{i}.txt") for i, content in enumerate(contents)]
    with pytest.raises(AtmTableError, match=message):
        table_from_text(files, pressures, unit)


def test_no_text(tmp_path):
    with pytest.raises(AtmTableError, match=r"none\.txt cannot be read as text"):
        table_from_text([tmp_path / "none.txt"], [500.0])
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AtmTableError, match=r"b\.txt cannot be read as text"):
        table_from_text([tmp_path / "b.txt"], [500.0])
