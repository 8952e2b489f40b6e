"""Step ``atmosphere``: its parameters, its table, what it records."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from helpers_atm import b_at, c_at, layer_b_at, layer_offset_at, write_test_atm_table
from helpers_l0 import write_array, write_scan

from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.errors import FrequencyRangeError, LayoutError
from cal_pipeline.heterodyne.physics.scale_error import TERMS
from cal_pipeline.simulate import Faults, Spur
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"strategy": "fixed"}, "needs pwv"),
        ({"pwv_min": 0.0}, "0 < pwv_min < pwv_max"),
        ({"pwv_min": 3.0, "pwv_max": 3.0}, "pwv_min = 3 and pwv_max = 3"),
        ({"t_atm": 250.0, "t_ground": 260.0}, "t_ground = 260.0 .* has no effect with t_atm = 250.0"),
    ],
)
def test_parameters_that_do_not_go_together(towards, parameters, words):
    with pytest.raises(ParameterError, match=words):
        towards(**parameters)


@pytest.mark.slow
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


@pytest.fixture
def layers(tmp_path):
    """A table with three layers, whose last is the atmosphere of `atm_table`."""
    return write_test_atm_table(tmp_path / "layers.asdf", layered=True)


def test_a_table_with_layers_gives_layers(towards, layers):
    sky = towards(override_atm=str(layers))
    pressure, nu = 386.0 * 101325.0 / 760.0, 461e9 + 1e6 * np.arange(4)
    assert sky.opacity.b.shape == (2, 3, 4)
    np.testing.assert_allclose(sky.opacity.b[0], layer_b_at(nu, pressure), rtol=1e-4)
    np.testing.assert_allclose(sky.opacity.offset, layer_offset_at(pressure), rtol=1e-12)
    assert sky.table_version == 2
    # All of it dims what is behind.
    np.testing.assert_allclose(sky.tau_signal, float(sky.fit.pwv) * b_at(nu, pressure) + c_at(nu, pressure), rtol=1e-4)


@pytest.mark.slow
def test_a_temperature_of_the_atmosphere_makes_it_one_layer(towards, layers, atm_table):
    several, one, of_version_1 = (
        towards(override_atm=str(table), **given)
        for table, given in ((layers, {}), (layers, {"t_atm": 261.0}), (atm_table, {"t_atm": 261.0}))
    )
    assert one.opacity.isothermal
    assert of_version_1.table_version == 1
    assert one.fit.pwv == of_version_1.fit.pwv
    np.testing.assert_array_equal(one.sky_residual, of_version_1.sky_residual)
    assert abs(float(several.fit.pwv) / float(one.fit.pwv) - 1.0) > 0.01


@pytest.mark.slow
def test_the_older_engine_s_way_is_one_layer_whose_temperature_t_ground_is_not(store, layers):
    scan = PrepareStep().run(LoadsStep(physics="kalibrate_compat").run(str(store)))

    def fit(**parameters):
        return AtmosphereStep(override_atm=str(layers), **parameters).run(scan).bands[0].atmosphere

    sky = fit()
    assert sky.opacity.isothermal
    assert sky.t_ground.tolist() == [268.0] * 2
    assert fit(t_ground=240.0).fit.pwv == sky.fit.pwv
    assert fit(t_atm=260.0).fit.pwv != sky.fit.pwv


@pytest.mark.slow
@pytest.mark.parametrize(
    ("table", "parameters", "expected"),
    [
        ("layers", {}, 2.0),
        ("atm_table", {}, 10.0),
        ("layers", {"t_atm": 260.0}, 10.0),
        ("layers", {"t_ground_err": 5.0}, 5.0),
    ],
)
def test_error_of_the_ground_with_and_without_layers(towards, request, table, parameters, expected):
    sky = towards(override_atm=str(request.getfixturevalue(table)), **parameters)
    number = TERMS.index("t_ground")
    assert sky.scale_error.inputs[number] == expected
    other = towards(override_atm=str(request.getfixturevalue(table)), **parameters | {"t_ground_err": 1.0})
    np.testing.assert_allclose(sky.scale_error.terms[number], expected * other.scale_error.terms[number], rtol=1e-6)


def test_errors_of_the_inputs_are_parameters(towards, layers):
    given = {"profile_err": 0.4, "dry_opacity_err": 0.3}
    sky = towards(override_atm=str(layers), **given)
    inputs = dict(zip(TERMS, sky.scale_error.inputs, strict=True))
    assert (inputs["profile"], inputs["dry_opacity"]) == (0.4, 0.3)
    assert (inputs["forward_efficiency"], inputs["t_hot"], inputs["t_cold"]) == (0.05, 1.0, 2.0)
    assert (inputs["image_gain"], inputs["load_noise"]) == (0.05, 1.0)
    # From the mean time of the loads, 54 s before the scan, to that of its two ONs 15 s into it.
    assert inputs["gain"] == pytest.approx(0.01 * np.sqrt((55.0 + 15.0) / 900.0), rel=1e-3)
    assert inputs["pwv"] == pytest.approx(float(sky.fit.error), rel=1e-12)
    fixed = towards(override_atm=str(layers), strategy="fixed", pwv=0.5, pwv_fixed_err=0.2)
    assert fixed.scale_error.inputs[TERMS.index("pwv")] == pytest.approx(0.1)
    assert (fixed.scale_error.terms[TERMS.index("t_ground")] == 0.0).all()


def test_a_spur_counts_only_without_robust_weights(tmp_path, atm_table):
    # 64 channels, one of which is 30 K too bright in the OFFs.
    write_scan(tmp_path / "s.zarr", 1, gain=np.full((64, 1, 1), 1.0e5))
    source = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r+")
    counts = source["data_5d"][...]
    counts[20, ..., [0, 3]] += 3_000_000
    write_array(source, "data_5d", counts)
    scan = PrepareStep().run(LoadsStep().run(str(tmp_path / "s.zarr")))
    robust, plain = (
        AtmosphereStep(override_atm=str(atm_table), robust=choice).run(scan).bands[0].atmosphere
        for choice in (True, False)
    )
    assert np.flatnonzero(robust.outlier[:, 0, 0]).tolist() == [20]
    assert not plain.outlier.any()
    assert int(robust.fit.n_samples) == 2 * 63
    assert float(plain.fit.chi2) > 100.0 * float(robust.fit.chi2)


@pytest.fixture
def spurred(make_session):
    """A session of two pixels with a spur in the OFFs of the first."""
    spur = Spur(channel=99, temperature=80.0, kinds=("off",), receiver=0)
    return make_session(mode="total_power", channels=256, faults=Faults(spurs=(spur,)), seed=1)


@pytest.mark.slow
def test_what_l1_holds_of_the_error_of_the_scale_and_of_outliers(spurred, calibrate, layers):
    product = calibrate(spurred, atmosphere={"override_atm": str(layers)})
    scan = zarr.open_group(product.path, mode="r")["scan_000001"]
    terms = scan["scale_error_terms"]
    assert terms.attrs["terms"] == list(TERMS)
    sigmas = dict(zip(TERMS, terms.attrs["sigma_inputs"], strict=True))
    assert (sigmas["t_ground"], sigmas["profile"], sigmas["forward_efficiency"]) == (2.0, 0.2, 0.02)
    assert terms.shape == (len(TERMS), 2, 1)
    total = scan["scale_error"][...]
    assert total.dtype == terms.dtype == np.float32
    good = np.isfinite(total)
    assert scan.attrs["scale_error"] == pytest.approx(float(np.median(total[good])), rel=1e-6)
    # The median of each term, and of their root mean square, where they change little along the band.
    together = np.sqrt((terms[...].astype(float) ** 2).sum(axis=0))
    np.testing.assert_allclose(together, np.nanmedian(total, axis=0), rtol=0.05)
    flags = scan["flags"][...]
    assert (flags[99, :, 0] & 256 == 256).all()
    assert np.isfinite(scan["spectra"][99, :, 0]).all()
    assert (flags & 256 > 0).sum() == flags[99, :, 0].size


@pytest.mark.slow
def test_sigma_of_an_input_that_differs_between_pixels_is_null(spurred, calibrate, layers):
    fit = {"override_atm": str(layers), "strategy": "per_pixel"}
    scan = zarr.open_group(calibrate(spurred, atmosphere=fit).path, mode="r")["scan_000001"]
    sigmas = dict(zip(TERMS, scan["scale_error_terms"].attrs["sigma_inputs"], strict=True))
    assert sigmas["pwv"] is None
    assert sigmas["t_ground"] == 2.0
    assert scan["pwv"].shape == (2, 1)


def test_linked_bands_share_the_errors_of_their_water(tmp_path, layers):
    for band, frequency in (("band_0", 461e9), ("band_1", 457e9)):
        changes = {"signal_freq": np.full(4, frequency), "image_freq": np.full(4, frequency + 12e9)}
        of_loads = {name: values[:2] for name, values in changes.items()}
        write_scan(tmp_path / "two.zarr", 1, band=band, source=changes, calibration=of_loads)
    scan = PrepareStep().run(LoadsStep().run(str(tmp_path / "two.zarr")))

    def shifts(**parameters):
        bands = AtmosphereStep(override_atm=str(layers), t_ground_err=1.0, **parameters).run(scan).bands
        skies = [band.atmosphere for band in bands]
        wet = [np.median(sky.opacity.b[0, -1]) for sky in skies]
        terms = [float(sky.scale_error.terms[TERMS.index("t_ground"), 0, 0]) for sky in skies]
        return [float(sky.fit.pwv) for sky in skies], [term / b for term, b in zip(terms, wet, strict=True)]

    pwv, shift = shifts(link_bands=True)
    assert pwv[0] == pwv[1]
    assert shift[0] == pytest.approx(shift[1], rel=1e-5)
    pwv, alone = shifts()
    assert pwv[0] != pwv[1]
    assert min(alone) < shift[0] < max(alone)
