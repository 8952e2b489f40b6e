import hashlib
from dataclasses import replace

import asdf
import helpers_atm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.references.atm_file import read_grid
from cal_pipeline.heterodyne.references.atm_table import AtmRangeError, AtmTable, AtmTableError, LayerCoefficients

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


@pytest.fixture
def layered(tree):
    """Three layers at two pressures."""
    shares = np.array([0.5, 0.75, 1.0], np.float32)[:, None]
    return tree | {
        "version": 2,
        "b": np.broadcast_to(shares, (2, 3, 3)).copy(),
        "c": np.broadcast_to(shares / 4, (2, 3, 3)).copy(),
        "layer_offset": np.array([[-1.0, -20.0, -50.0], [-2.0, -24.0, -58.0]]),
        "layer_top_km": np.array([0.5, 4.0, 40.0]),
    }


def changed(tree, key, index, value):
    """One element of an array of a file replaced."""
    array = np.array(tree[key])
    array[index] = value
    return {key: array}


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


def test_layers_come_back(tmp_path, layered):
    table = AtmTable.open(save(layered, tmp_path / "t.asdf"))
    assert (table.version, table.b.dtype, table.layer_offset.dtype) == (2, np.float32, np.float64)
    table.write(tmp_path / "again.asdf")
    again = AtmTable.open(tmp_path / "again.asdf")
    for name in ("frequency", "pressure", "b", "c", "layer_offset", "layer_top_km"):
        np.testing.assert_array_equal(getattr(again, name), getattr(table, name))
    assert (again.version, again.meta) == (2, {"site": "a hill"})
    with asdf.open(tmp_path / "again.asdf") as file:
        assert set(file.tree) >= set(layered)
        assert (file["version"], file["b"].shape) == (2, (2, 3, 3))


def test_version_1_has_no_layers_in_its_file(tmp_path):
    make().write(tmp_path / "t.asdf")
    with asdf.open(tmp_path / "t.asdf") as file:
        assert set(file.tree) - {"asdf_library", "history"} == {"frequency", "pressure", "b", "c", "meta"}
        assert file["b"].shape == (2, 11)


@pytest.mark.parametrize("version", [{}, {"version": 1}])
def test_version_1_is_one_layer_at_the_temperature_of_the_ground(tmp_path, tree, version):
    table = AtmTable.open(save(tree | version, tmp_path / "t.asdf"))
    assert (table.version, table.layer_offset, table.layer_top_km) == (1, None, None)
    b, c, offset = table.layer_coefficients([101.5 * GHZ, 102 * GHZ], 550e2)
    np.testing.assert_array_equal(b, [table.coefficients([101.5 * GHZ, 102 * GHZ], 550e2)[0]])
    np.testing.assert_array_equal(c, [[0.0, 0.0]])
    assert offset.tolist() == [0.0]


def test_a_table_is_replaced_in_part(layered):
    for table in (make(), AtmTable(np.arange(100.0, 103.0) * GHZ, **rest(layered))):
        again = replace(table, meta={"site": "elsewhere"})
        np.testing.assert_array_equal(again.b, table.b)
        assert (again.version, again.meta) == (table.version, {"site": "elsewhere"})


def rest(tree):
    """Fields of a table from its file, apart from the frequency."""
    return {key: value for key, value in tree.items() if key not in ("frequency", "version")}


def test_arrays_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        make().b[0, 0] = 2.0


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tree: {"version": 3}, "version is 3, expected 2"),
        (lambda tree: {"version": "two"}, "version is 'two'"),
        (
            lambda tree: {"layer_offset": None},
            "missing layer_offset; .* holds .* layer_top_km and meta",
        ),
        (lambda tree: {"layer_top_km": None}, "missing layer_top_km"),
        (
            lambda tree: {"b": tree["b"][:, -1]},
            r"b has shape \(2, 3\), .* \[pressure, layer, frequency\] = \(2, 3, 3\)",
        ),
        (lambda tree: {"c": tree["c"][:, :2]}, r"c has shape \(2, 2, 3\), expected .* \(2, 3, 3\)"),
        (lambda tree: {"version": 1}, r"b has shape \(2, 3, 3\), expected \[pressure, frequency\] = \(2, 3\)"),
        (
            lambda tree: {"layer_offset": tree["layer_offset"].T[:2]},
            r"layer_offset .* \[pressure, layer\] = \(2, 3\)",
        ),
        (lambda tree: changed(tree, "layer_offset", (0, 1), np.nan), "layer_offset holds nan K, expected"),
        (
            lambda tree: {"layer_offset": tree["layer_offset"] + 266.0},
            "layer_offset holds 265 K, expected .* minus that",
        ),
        (lambda tree: {"layer_offset": "cold"}, "layer_offset is not numeric"),
        (lambda tree: {"layer_top_km": tree["layer_top_km"][::-1]}, "layer_top_km must ascend, found 40 before 4"),
        (lambda tree: {"layer_top_km": np.array([0.5, 0.5, 40.0])}, "layer_top_km must ascend"),
        (lambda tree: {"layer_top_km": np.array([0.0, 4.0, 40.0])}, "layer_top_km holds values that .* not above 0"),
        (lambda tree: {"layer_top_km": np.array([0.5, 4.0, np.inf])}, "layer_top_km holds values that are not finite"),
        (lambda tree: {"layer_top_km": tree["layer_top_km"][:, None]}, r"layer_top_km has shape \(3, 1\)"),
        (
            lambda tree: changed(tree, "b", (1, 0, 2), 0.8),
            "b decreases from 0.8 up to layer 1 to 0.75 up to layer 2, at 600 hPa and 102 GHz",
        ),
        (
            lambda tree: {"c": np.diff(tree["c"], axis=1, prepend=0.0)},
            "c decreases .* expected the opacity from the telescope",
        ),
        (lambda tree: changed(tree, "b", (0, 0, 0), -1.0), "b holds negative values"),
        (lambda tree: changed(tree, "c", (0, 0, 0), np.inf), "c holds values that are not finite"),
    ],
)
def test_wrong_layers_are_named(tmp_path, layered, change, message):
    tree = {key: value for key, value in (layered | change(layered)).items() if value is not None}
    path = save(tree, tmp_path / "bad.asdf")
    with pytest.raises(AtmTableError, match=message) as error:
        AtmTable.open(path)
    assert str(error.value).startswith(str(path))


def test_rounding_may_lower_an_opacity_from_layer_to_layer(tmp_path, layered):
    almost = np.float32(1.0 + 2.0**-11)
    table = AtmTable.open(save(layered | changed(layered, "b", (0, 1, 0), almost), tmp_path / "t.asdf"))
    assert table.b[0, 2, 0] < table.b[0, 1, 0]


@pytest.mark.parametrize("given", [{"layer_offset": np.zeros((2, 1))}, {"layer_top_km": np.ones(1)}])
def test_offsets_and_tops_belong_together(given):
    with pytest.raises(AtmTableError, match="both layer_offset and layer_top_km"):
        make(**given)


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


@pytest.mark.slow
@given(nu=st.lists(st.floats(100.0, 110.0), max_size=5), p=st.floats(500e2, 600e2))
def test_coefficients_follow_the_ramp(nu, p):
    b, c = make().coefficients(np.array(nu) * GHZ, p)
    np.testing.assert_allclose(b, 1.0 + (np.array(nu) - 100.0) / 8.0, rtol=1e-12)
    np.testing.assert_allclose(c, b / 4.0, rtol=1e-12)


@pytest.fixture(scope="module")
def closed_form(tmp_path_factory):
    """Tables of both versions with power laws between pressures."""
    folder = tmp_path_factory.mktemp("atm")
    return [
        AtmTable.open(helpers_atm.write_test_atm_table(folder / f"v{version}.asdf", layered=version == 2))
        for version in (1, 2)
    ]


@pytest.mark.slow
@given(steps=st.lists(st.integers(0, 5000), min_size=1, max_size=5), p=st.floats(10000.0, 100000.0))
def test_layers_follow_power_laws_of_the_pressure(closed_form, steps, p):
    """At frequencies of the table ln-ln interpolation is exact, up to f32; offsets are linear in ln p."""
    nu = 450e9 + 10e6 * np.array(steps)
    b, c, offset = closed_form[1].layer_coefficients(nu, p)
    np.testing.assert_allclose(b, helpers_atm.layer_b_at(nu, p), rtol=3e-7)
    np.testing.assert_allclose(c, helpers_atm.layer_c_at(nu, p), rtol=3e-7)
    np.testing.assert_allclose(offset, helpers_atm.layer_offset_at(p), rtol=1e-12)


def test_layers_at_one_pressure_say_nothing_about_another(closed_form):
    """Frequencies are looked up once; results of other pressures, tables and callers stay apart."""
    nu, pressures = 450e9 + 10e6 * np.arange(4), [20000.0, 30000.0, 20000.0, 55000.0, 55555.0, 10000.0]
    for table in closed_form:
        for p in pressures:
            for frequencies in (nu, nu[::-1].reshape(2, 2)):
                b, c, _ = table.layer_coefficients(frequencies, p)
                whole = table.coefficients(frequencies, p)
                np.testing.assert_array_equal((b[-1], c[-1]), whole)
                b[:], c[:] = -1.0, -1.0
    with pytest.raises(AtmRangeError):
        closed_form[1].layer_coefficients(nu, 9000.0)
    with pytest.raises(AtmRangeError):
        closed_form[1].layer_coefficients(nu - 20e9, 20000.0)


@pytest.mark.slow
@given(nu=st.lists(st.floats(450e9, 500e9), max_size=5), p=st.floats(10000.0, 100000.0))
def test_the_last_layer_is_the_whole_atmosphere_of_version_1(closed_form, nu, p):
    whole, layered = closed_form
    found = layered.layer_coefficients(nu, p)
    assert isinstance(found, LayerCoefficients)
    for expected, same, last in zip(
        whole.coefficients(nu, p), layered.coefficients(nu, p), (found.b[-1], found.c[-1]), strict=True
    ):
        np.testing.assert_array_equal(same, expected)
        np.testing.assert_array_equal(last, expected)


@pytest.mark.slow
@given(nu=st.lists(st.floats(450e9, 500e9), min_size=1, max_size=5), p=st.floats(10000.0, 100000.0))
def test_opacities_ascend_with_height(closed_form, nu, p):
    b, c, _ = closed_form[1].layer_coefficients(nu, p)
    assert np.all(np.diff(b, axis=0) > 0.0)
    assert np.all(np.diff(c, axis=0) > 0.0)


def test_layers_have_the_shape_of_the_frequencies(closed_form):
    for shape in ((), (0,), (4,), (2, 3)):
        b, c, offset = closed_form[1].layer_coefficients(np.full(shape, 460e9), 50000.0)
        assert (b.shape, c.shape, offset.shape) == ((3, *shape), (3, *shape), (3,))


def test_where_a_layer_is_0_it_is_linear_in_the_logarithm_of_the_pressure(layered):
    layered = layered | changed(layered, "c", (0, 0), 0.0)
    table = AtmTable(np.arange(100.0, 103.0) * GHZ, **rest(layered))
    p = 500e2 * 1.2**0.25  # a quarter of the way in ln p
    np.testing.assert_allclose(table.layer_coefficients(101 * GHZ, p).c, [0.25 * 0.125, 0.1875, 0.25], rtol=1e-12)


def test_layers_outside_the_table_are_an_error(closed_form):
    for nu, p in ((449e9, 50000.0), (460e9, 9000.0)):
        with pytest.raises(AtmRangeError, match=r"450-500 GHz at 100-1000 hPa"):
            closed_form[1].layer_coefficients(nu, p)


@pytest.mark.slow
def test_axes_alone(tmp_path, layered):
    """The axes of a file are read even where its coefficients are damaged."""
    path = save(layered | {"b": "none"}, tmp_path / "t.asdf")
    grid = read_grid(path)
    assert grid.describe_range() == "100-102 GHz at 500-600 hPa"
    assert grid.covers([100 * GHZ, 102 * GHZ], 550e2)
    with pytest.raises(AtmTableError, match=r"t\.asdf: frequency lacks step"):
        read_grid(save(layered | {"frequency": {"start": 1.0, "n": 2}}, path))
    with pytest.raises(AtmTableError, match="missing pressure"):
        read_grid(save({"frequency": np.ones(2)}, path))
    with pytest.raises(FileNotFoundError, match="atm-table build"):
        read_grid(tmp_path / "none.asdf")
