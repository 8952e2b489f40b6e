"""Step ``atmosphere``: its parameters, its table, what it records."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from helpers_atm import b_at, c_at, write_test_atm_table
from helpers_l0 import write_array, write_scan

from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.errors import FrequencyRangeError, LayoutError
from cal_pipeline.steps import AtmosphereStep, LoadsStep, PrepareStep


@pytest.fixture
def store(tmp_path):
    write_scan(tmp_path / "s.zarr", 1)
    return tmp_path / "s.zarr"


@pytest.fixture
def towards(store, atm_table):
    def run(image_gain=1.0, **parameters):
        scan = PrepareStep().run(LoadsStep(image_gain=image_gain).run(str(store)))
        return AtmosphereStep(**({"override_atm": str(atm_table)} | parameters)).run(scan).bands[0].atmosphere

    return run


def rewrite(store, name, values):
    write_array(zarr.open_group(store, path="scan_000001/source", mode="r+"), name, np.array(values))


def test_opacity_is_that_of_the_table_at_the_pressure_of_the_scan(towards):
    sky = towards(strategy="fixed", pwv=2.0)
    pressure = 386.0 * 101325.0 / 760.0
    nu = 461e9 + 1e6 * np.arange(4)
    np.testing.assert_allclose(sky.tau_signal, 2.0 * b_at(nu, pressure) + c_at(nu, pressure), rtol=1e-4)
    image = 473e9 - 1e6 * np.arange(4)
    np.testing.assert_allclose(sky.tau_image, 2.0 * b_at(image, pressure) + c_at(image, pressure), rtol=1e-4)
    assert float(sky.fit.pwv) == 2.0
    assert (sky.table, len(sky.table_sha256)) == ("atm.asdf", 64)


def test_pressure_is_the_mean_over_ons_and_offs(towards, store):
    before = towards(strategy="fixed", pwv=1.0).tau_signal
    rewrite(store, "pamb", [356.0, 396.0, 376.0, 416.0])
    np.testing.assert_allclose(towards(strategy="fixed", pwv=1.0).tau_signal, before, rtol=1e-12)


def test_no_image_without_image_gain(towards, tmp_path):
    table = write_test_atm_table(tmp_path / "signal_only.asdf", start_hz=460e9, stop_hz=462e9)
    sky = towards(image_gain=0.0, override_atm=str(table), strategy="fixed", pwv=1.0)
    assert np.isnan(sky.tau_image).all()
    assert np.isfinite(sky.tau_signal).all()
    with pytest.raises(FrequencyRangeError, match=r"(?s)scan 1: .*47[23].*46[02]"):
        towards(override_atm=str(table))


@pytest.mark.parametrize(("airmass", "values"), [("subscan", [2.0, 1.0]), ("scan", [1.5, 1.5])])
def test_airmass_of_each_on_or_of_the_scan(towards, store, airmass, values):
    rewrite(store, "elevation", [0.7, np.pi / 6, np.pi / 2, 0.7])
    np.testing.assert_allclose(towards(airmass=airmass).on_airmass, values, rtol=1e-12)


def test_temperatures_are_those_of_the_offs_unless_given(towards, store):
    rewrite(store, "tamb", [260.0, 1.0, 1.0, 264.0])
    sky = towards()
    assert sky.t_ground.tolist() == sky.t_spill.tolist() == [260.0, 264.0]
    for name in ("t_ground", "t_atm"):
        sky = towards(**{name: 250.0}, t_spill=280.0)
        assert sky.t_ground.tolist() == [250.0] * 2
        assert sky.t_spill.tolist() == [280.0] * 2


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, np.nan, -12.0])
def test_an_ambient_temperature_that_is_none_is_refused_unless_given(towards, store, value):
    rewrite(store, "tamb", [260.0, 260.0, 260.0, value])
    with pytest.raises(LayoutError, match=r"tamb of the OFFs is .*give the parameter t_ground"):
        towards()
    with pytest.raises(LayoutError, match="give the parameter t_spill"):
        towards(t_ground=260.0)
    assert np.isfinite(towards(t_atm=260.0, t_spill=260.0).t_sky).all()


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"strategy": "fixed"}, "needs pwv"),
        ({"pwv_min": 0.0}, "0 < pwv_min < pwv_max"),
        ({"pwv_min": 3.0, "pwv_max": 3.0}, "pwv_min = 3 and pwv_max = 3"),
        ({"t_atm": 250.0, "t_ground": 260.0}, "t_ground = 260 K has no effect"),
    ],
)
def test_parameters_that_do_not_go_together(towards, parameters, words):
    with pytest.raises(ParameterError, match=words):
        towards(**parameters)


def test_without_a_table_the_shipped_one_that_covers_it_is_used(store):
    scan = PrepareStep().run(LoadsStep().run(str(store)))
    assert AtmosphereStep().run(scan).bands[0].atmosphere.table == "atm_ccat.asdf"


def test_frequencies_that_no_table_covers(tmp_path):
    write_scan(tmp_path / "far.zarr", 1, source={"signal_freq": np.full(4, 9e12), "image_freq": np.full(4, 9.01e12)})
    scan = PrepareStep().run(LoadsStep(clip_tsys=1e4).run(str(tmp_path / "far.zarr")))
    with pytest.raises(FrequencyRangeError, match=r"(?s)scan 1: no shipped atmosphere table covers .*90[01].*atm_ccat"):
        AtmosphereStep().run(scan)


def test_an_ambient_temperature_in_celsius_is_recognised(towards, store):
    rewrite(store, "tamb", [-5.0, 3.0, 3.0, 4.5])
    words = r"tamb of the OFFs is \[-5.0, 4.5\] K, expected temperatures above 100 K .*they look like degrees Celsius"
    with pytest.raises(LayoutError, match=words):
        towards()
    rewrite(store, "tamb", [265.0, 3.0, 3.0, 4.5])
    with pytest.raises(LayoutError, match="tamb of the OFFs") as caught:
        towards()
    assert "look like" not in str(caught.value)


def test_a_pressure_in_hpa_is_recognised_by_the_table_that_it_would_fit(towards, store, tmp_path):
    table = write_test_atm_table(tmp_path / "site.asdf", pressures=(48e3, 54e3))
    rewrite(store, "pamb", np.full(4, 514.6))
    with pytest.raises(FrequencyRangeError, match=r"pamb looks like hPa \(mbar\): 514.6 hPa would fit"):
        towards(override_atm=str(table))
    rewrite(store, "pamb", np.full(4, 100.0))
    with pytest.raises(FrequencyRangeError) as caught:
        towards(override_atm=str(table))
    assert "looks like" not in str(caught.value)
