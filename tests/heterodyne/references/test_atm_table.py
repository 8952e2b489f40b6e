import hashlib

import asdf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.references.atm_table import AtmRangeError, AtmTable, AtmTableError

GHZ = 1e9


def make(frequency=None, pressure=(500e2, 600e2), **values):
    frequency = np.arange(100.0, 111.0) * GHZ if frequency is None else np.asarray(frequency)
    shape = (len(pressure), len(frequency))
    ramp = 1.0 + np.arange(shape[1]) / 8.0
    table = {"b": np.broadcast_to(ramp, shape), "c": np.broadcast_to(ramp / 4.0, shape)} | values
    return AtmTable(frequency=frequency, pressure=np.array(pressure), **table)


@pytest.fixture
def tree():
    return {
        "frequency": {"start": 100.0 * GHZ, "step": GHZ, "n": 3},
        "pressure": np.array([500e2, 600e2]),
        "b": np.ones((2, 3), np.float32),
        "c": np.zeros((2, 3), np.float32),
        "meta": {"site": "a hill"},
    }


def save(tree, path):
    with asdf.AsdfFile(tree) as file:
        file.write_to(path)
    return path


@pytest.mark.parametrize("compression", ["zlib", "bzp2"])
@pytest.mark.parametrize("irregular", [False, True])
def test_round_trip(tmp_path, compression, irregular):
    frequency = np.arange(100.0, 111.0) * GHZ
    if irregular:
        frequency[4] += 0.25 * GHZ
    table = make(frequency, meta={"site": "a hill", "altitude_m": 820.0})
    path = tmp_path / "t.asdf"
    table.write(path, compression=compression)
    again = AtmTable.open(path)
    for name in ("frequency", "pressure", "b", "c"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert (again.b.dtype, again.frequency.dtype) == (np.float32, np.float64)
    assert (again.meta, again.name) == (table.meta, "t.asdf")
    assert again.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert table.sha256 is None
    with asdf.open(path) as file:
        assert isinstance(file["frequency"], dict) != irregular


def test_opens_start_step_n(tmp_path, tree):
    table = AtmTable.open(save(tree, tmp_path / "t.asdf"))
    np.testing.assert_array_equal(table.frequency, [100 * GHZ, 101 * GHZ, 102 * GHZ])
    b, c = table.coefficients(101.5 * GHZ, 550e2)
    assert (float(b), float(c)) == (1.0, 0.0)


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        make().b[0, 0] = 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": None}, "missing b"),
        ({"b": np.ones((3, 2), np.float32)}, r"b has shape \(3, 2\), expected .* \(2, 3\)"),
        ({"c": np.full((2, 3), -0.1, np.float32)}, "c holds negative values"),
        ({"c": np.full((2, 3), np.nan, np.float32)}, "c holds values that are not finite"),
        ({"pressure": np.array([600e2, 500e2])}, "pressure must ascend"),
        ({"pressure": np.array([[500e2, 600e2]])}, "pressure has shape"),
        ({"frequency": np.array([1.0, 3.0, 2.0]) * GHZ}, "frequency must ascend"),
        ({"frequency": {"start": GHZ, "n": 3}}, "frequency lacks step"),
        ({"frequency": {"start": GHZ, "step": -1.0, "n": 3}}, "step above 0"),
        ({"frequency": "all"}, "frequency is not numeric"),
        ({"meta": "a hill"}, "meta is str"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, tree, change, message):
    tree = {key: value for key, value in (tree | change).items() if value is not None}
    path = save(tree, tmp_path / "bad.asdf")
    with pytest.raises(AtmTableError, match=message) as error:
        AtmTable.open(path)
    assert str(path) in str(error.value)


def test_no_file_and_no_asdf(tmp_path):
    with pytest.raises(FileNotFoundError, match="atm-table build"):
        AtmTable.open(tmp_path / "none.asdf")
    (tmp_path / "text.asdf").write_text("hello")
    with pytest.raises(AtmTableError, match="not a readable ASDF file"):
        AtmTable.open(tmp_path / "text.asdf")


def test_truncated_file(tmp_path):
    make().write(tmp_path / "t.asdf")
    data = (tmp_path / "t.asdf").read_bytes()
    (tmp_path / "cut.asdf").write_bytes(data[: data.index(b"\xd3BLK") + 80])
    with pytest.raises(AtmTableError, match=r"cut\.asdf"):
        AtmTable.open(tmp_path / "cut.asdf")


def test_flipped_bit(tmp_path):
    make().write(tmp_path / "t.asdf")
    data = bytearray((tmp_path / "t.asdf").read_bytes())
    data[data.rindex(b"\xd3BLK") + 60] ^= 4
    (tmp_path / "bad.asdf").write_bytes(data)
    with pytest.raises(AtmTableError, match=r"bad\.asdf: not a readable ASDF file"):
        AtmTable.open(tmp_path / "bad.asdf")


def test_a_wide_interval_separates_windows():
    frequency = np.concatenate([np.arange(100.0, 111.0), np.arange(121.0, 126.0, 0.5)]) * GHZ
    table = make(frequency)  # median step 1 GHz, the interval is 11 GHz
    assert table.windows == [(100 * GHZ, 110 * GHZ), (121 * GHZ, 125.5 * GHZ)]
    assert table.covers([100 * GHZ, 110 * GHZ, 121 * GHZ], 500e2)
    assert not table.covers(115 * GHZ, 500e2)
    with pytest.raises(AtmRangeError, match=r"100-110, 121-125\.5 GHz"):
        table.coefficients([105 * GHZ, 115 * GHZ], 500e2)
    assert table.step_at([105 * GHZ]) == GHZ
    assert table.step_at([110 * GHZ]) == GHZ
    assert table.step_at([125.5 * GHZ, 122 * GHZ]) == 0.5 * GHZ


def test_ten_steps_are_no_gap():
    frequency = np.concatenate([np.arange(100.0, 111.0), np.arange(120.0, 126.0)]) * GHZ
    assert make(frequency).windows == [(100 * GHZ, 125 * GHZ)]


@pytest.mark.parametrize("outside", [-1.0, 1.0])
def test_tolerance_is_a_millionth_of_the_range(outside):
    table = make()
    edge, width = (100 * GHZ, 10 * GHZ) if outside < 0 else (110 * GHZ, 10 * GHZ)
    b, _ = table.coefficients(edge + outside * 0.9e-6 * width, 550e2)
    assert float(b) == pytest.approx(float(table.coefficients(edge, 550e2)[0]), rel=1e-12)
    with pytest.raises(AtmRangeError):
        table.coefficients(edge + outside * 1.1e-6 * width, 550e2)
    p_edge = 500e2 if outside < 0 else 600e2
    table.coefficients(105 * GHZ, p_edge + outside * 0.009)
    with pytest.raises(AtmRangeError):
        table.coefficients(105 * GHZ, p_edge + outside * 0.011)


def test_error_names_both_ranges():
    with pytest.raises(AtmRangeError) as error:
        make().coefficients(np.array([99.0, 105.0]) * GHZ, 700e2)
    text = str(error.value)
    for part in ("99.000000-105.000000 GHz", "700 hPa", "100-110 GHz", "500-600 hPa", "override_atm"):
        assert part in text


def test_nan_is_not_covered():
    assert not make().covers([np.nan], 550e2)
    assert not make().covers([105 * GHZ], np.nan)


def test_single_pressure_holds_there_only():
    table = make(pressure=(550e2,))
    assert table.covers(105 * GHZ, 550e2)
    assert not table.covers(105 * GHZ, 551e2)
    assert "550 hPa only" in table.describe_range()


@given(nu=st.lists(st.floats(100.0, 110.0), max_size=5), p=st.floats(500e2, 600e2))
def test_coefficients_follow_the_ramp(nu, p):
    b, c = make().coefficients(np.array(nu) * GHZ, p)
    np.testing.assert_allclose(b, 1.0 + (np.array(nu) - 100.0) / 8.0, rtol=1e-12)
    np.testing.assert_allclose(c, b / 4.0, rtol=1e-12)
