import asdf
import numpy as np
import pytest
from helpers_atm import b_at, c_at, write_test_atm_table

from cal_pipeline.heterodyne.simulate.atmosphere import AtmosphereTable, shipped_table
from cal_pipeline.simulate import SimulationError

SINGLE = 1e-6  # b and c are held in 32 bits


@pytest.mark.slow
@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("pressure", [10000.0, 17900.0, 51500.0, 100000.0])
def test_opacities_at_grid_frequencies_are_those_of_the_analytic_model(tmp_path, explicit, pressure):
    path = write_test_atm_table(tmp_path / "t.asdf", explicit=explicit)
    nu = 460.0e9 + 1.0e7 * np.arange(5)
    b, c = AtmosphereTable.read(path).coefficients(nu, pressure)
    np.testing.assert_allclose(b, b_at(nu, pressure), rtol=SINGLE)
    np.testing.assert_allclose(c, c_at(nu, pressure), rtol=SINGLE)


def test_between_grid_frequencies_it_is_linear(tmp_path):
    path = write_test_atm_table(tmp_path / "t.asdf", pressures=(50000.0,))
    nodes = np.array([460.0e9, 460.01e9])
    b, _ = AtmosphereTable.read(path).coefficients(np.array([460.0025e9]), 50000.0)
    assert b[0] == pytest.approx(np.dot([0.75, 0.25], b_at(nodes, 50000.0)), rel=SINGLE)


def test_where_an_opacity_is_zero_it_is_linear_in_the_logarithm_of_the_pressure(tmp_path):
    tree = {
        "frequency": {"start": 1.0e9, "step": 1.0e9, "n": 2},
        "pressure": np.array([100.0, 10000.0]),
        "b": np.array([[0.0, 0.0], [4.0, 4.0]], dtype=np.float32),
        "c": np.array([[1.0, 1.0], [4.0, 4.0]], dtype=np.float32),
    }
    asdf.AsdfFile(tree).write_to(tmp_path / "t.asdf")
    b, c = AtmosphereTable.read(tmp_path / "t.asdf").coefficients(np.array([1.5e9]), 1000.0)
    assert (b[0], c[0]) == (pytest.approx(2.0), pytest.approx(2.0))


def test_outside_the_table_both_ranges_are_named(table):
    with pytest.raises(SimulationError, match=r"frequency 499 to 501 GHz .* 450 to 500 GHz"):
        table.coefficients(np.array([499.0e9, 501.0e9]), 50000.0)
    with pytest.raises(SimulationError, match=r"pressure 90 to 90 hPa .* 100 to 1000 hPa"):
        table.coefficients(np.array([460.0e9]), 9000.0)


def test_the_edge_itself_is_inside_within_the_tolerance(table):
    b, _ = table.coefficients(np.array([450.0e9 - 1e3, 500.0e9 + 1e3]), 100000.0 + 1e-3)
    np.testing.assert_allclose(b, b_at([450.0e9, 500.0e9], 100000.0), rtol=SINGLE)


def test_a_gap_between_windows_is_outside(tmp_path):
    path = write_test_atm_table(tmp_path / "t.asdf", windows=[(455e9, 457e9), (460e9, 462e9)])
    table = AtmosphereTable.read(path)
    table.coefficients(np.array([455e9, 457e9, 460e9, 462e9]), 50000.0)
    with pytest.raises(SimulationError, match="gap 457 to 460 GHz"):
        table.coefficients(np.array([456e9, 458e9]), 50000.0)


def test_a_table_that_is_not_there_or_not_a_table(tmp_path):
    with pytest.raises(SimulationError, match="does not exist"):
        AtmosphereTable.read(tmp_path / "none.asdf")
    tree = {
        "frequency": np.array([1e9, 2e9]),
        "pressure": np.array([1.0]),
        "b": np.ones((2, 1)),
        "c": np.ones((2, 1)),
    }
    asdf.AsdfFile(tree).write_to(tmp_path / "t.asdf")
    with pytest.raises(SimulationError, match=r"\(2, 1\)"):
        AtmosphereTable.read(tmp_path / "t.asdf")
    with pytest.raises(SimulationError, match=r"atm_nowhere\.asdf"):
        shipped_table("nowhere")
