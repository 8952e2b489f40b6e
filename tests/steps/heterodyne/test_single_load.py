"""One load and the sky: sessions with HOT and SKY, whose opacity is known beforehand."""

from __future__ import annotations

import shutil
from dataclasses import replace

import asdf
import numpy as np
import pytest
import zarr
from helpers_atm import under_one_layer
from helpers_l0 import MJD, SECOND, write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.heterodyne.scan import Scan as OpenScan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.pipelines.reuse import StepReuse
from cal_pipeline.simulate import Drift, GaussianSource, Line, Loads, Scan, preset, read_truth, simulate
from cal_pipeline.steps import AtmosphereStep, LoadsStep, PrepareStep

LINE = Line(20.0, fwhm_hz=0.4e9, source=GaussianSource(fwhm_deg=0.3))
TAU = 0.25
"""Zenith opacity of the flat table [Np], exact in 32 bits."""

H_OVER_K = 4.799243073366221e-11
BACKGROUND = 2.725
GAINS, EFFICIENCIES = [1.0, 0.25], [0.95, 0.9]
"""Image gain and forward efficiency of the two arrays of the simulated receiver."""

SINGLE = {"single_load": True, "image_gain": GAINS, "forward_efficiency": EFFICIENCIES}
KNOWN = {"strategy": "opacity", "zenith_opacity": TAU}


@pytest.fixture(scope="module")
def flat_table(tmp_path_factory):
    """An atmosphere whose opacity is the same in all channels and sidebands, and does not depend on water."""
    nu = {"start": 450.0e9, "step": 1.0e9, "n": 51}
    rows = np.ones((2, 51), np.float32)
    tree = {"frequency": nu, "pressure": np.array([4e4, 6e4]), "b": np.float32(1e-20) * rows, "c": TAU * rows}
    meta = {"model": "flat", "version": "1", "site": "made up", "altitude_m": 5612.0}
    path = tmp_path_factory.mktemp("flat") / "flat.asdf"
    asdf.AsdfFile(tree | {"meta": meta | {"temperature_profile": "none", "created": "2024"}}).write_to(path)
    return path


def make_night(table, **changes):
    """A scan of loads at an elevation of 70° and one of ONs and OFFs at 35°, of two unlike arrays."""
    settings = {"channels": 24, "pixels": 2, "mode": "total_power", "noise": False, "dtype": "float64"} | changes
    night = under_one_layer(preset("ccat_chai", table=str(table), lines=(LINE,), **settings))
    receiver = replace(
        night.receivers[0],
        arrays=("CHAIH", "CHAIV"),
        image_gain=tuple(GAINS),
        forward_efficiency=tuple(EFFICIENCIES),
    )
    scans = (
        Scan(calibration_only=True, source=replace(night.source, elevation_deg=70.0)),
        Scan(loads=Loads(pattern=())),
    )
    source = replace(night.source, elevation_deg=35.0)
    return replace(night, receivers=(receiver,), scans=scans, source=source, loads=with_pattern(night, "HOT", "SKY"))


def with_pattern(night, *phases):
    return replace(night.loads, pattern=phases)


def calibrate(session, output, loads=None, atmosphere=None, **settings):
    steps = {"loads": SINGLE | (loads or {}), "atmosphere": atmosphere or KNOWN}
    steps |= {name: settings.pop(name) for name in ("gain",) if name in settings}
    return CalibrationPipeline.call(str(session), output_file=str(output), steps=steps, configure_log=False, **settings)


@pytest.fixture(scope="module")
def whole_night(tmp_path_factory, flat_table):
    """A session that no test may change."""
    path = tmp_path_factory.mktemp("night") / "s.zarr"
    simulate(make_night(flat_table), path)
    return path


@pytest.fixture
def night(tmp_path, whole_night):
    """A copy of it."""
    return shutil.copytree(whole_night, tmp_path / "s.zarr")


@pytest.fixture(scope="module")
def calibrated(whole_night, tmp_path_factory):
    """Its scan, calibrated with the true opacity."""
    return calibrate(whole_night, tmp_path_factory.mktemp("l1") / "l1.zarr").open_scan(2).load()


def planck(nu, temperature):
    return H_OVER_K * nu / np.expm1(H_OVER_K * nu / temperature)


class TestTruth:
    def test_sky_at_another_elevation_than_the_ons(self, calibrated, whole_night):
        scan, truth = calibrated, read_truth(whole_night, 2)
        assert truth.t_a_star().max() > 1.0
        np.testing.assert_allclose(scan.spectra, truth.t_a_star(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(scan.t_rec_ssb, truth.t_rec_ssb, rtol=1e-6)
        np.testing.assert_allclose(scan.t_sys, truth.t_sys(), rtol=1e-6)
        np.testing.assert_array_equal(scan.tau_signal, TAU)
        np.testing.assert_array_equal(scan.tau_image, TAU)
        assert scan.attrs["provenance"]["loads_kind"] == "hot_sky"

    @pytest.mark.slow
    def test_water_known_beforehand(self, tmp_path, atm_table):
        simulate(make_night(atm_table, pwv=0.6), tmp_path / "s.zarr")
        known = {"strategy": "fixed", "pwv": 0.6, "override_atm": str(atm_table)}
        scan = calibrate(tmp_path / "s.zarr", tmp_path / "l1.zarr", atmosphere=known).open_scan(2).load()
        truth = read_truth(tmp_path / "s.zarr", 2)
        np.testing.assert_allclose(scan.spectra, truth.t_a_star(), rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(scan.t_rec_ssb, truth.t_rec_ssb, rtol=1e-4)
        assert float(scan.pwv) == 0.6

    @pytest.mark.slow
    @pytest.mark.parametrize(("pwv", "elevation"), [(0.3, 60.0), (0.8, 35.0)])
    def test_a_sky_of_many_layers(self, tmp_path, pwv, elevation):
        # Sixty layers with ozone and a lapse rate are more than those of the table know of.
        night = preset("ccat_chai", channels=48, pixels=1, mode="total_power", noise=False, dtype="float64", pwv=pwv)
        scans = (
            Scan(calibration_only=True, source=replace(night.source, elevation_deg=70.0)),
            Scan(loads=Loads(pattern=())),
        )
        source = replace(night.source, elevation_deg=elevation)
        changes = {"lines": (LINE,), "scans": scans, "source": source, "loads": with_pattern(night, "HOT", "SKY")}
        simulate(replace(night, **changes), tmp_path / "s.zarr")
        known = {"strategy": "fixed", "pwv": pwv}
        loads = {"image_gain": 1.0, "forward_efficiency": 0.95}
        scan = calibrate(tmp_path / "s.zarr", tmp_path / "l1.zarr", loads, known).open_scan(2).load()
        true = read_truth(tmp_path / "s.zarr", 2).t_a_star()
        bright = true > 0.3 * true.max()
        off = np.abs(scan.spectra.values / true - 1.0)
        assert off[bright].max() < float(scan.scale_error.median())
        assert np.median(off[bright]) < 0.01

    @pytest.mark.slow
    def test_to_the_noise(self, tmp_path, flat_table):
        noisy = make_night(flat_table, noise=True, dtype="int32", channels=128)
        long = replace(with_pattern(noisy, "ZERO", "SKY", "HOT", "SKY"), dumps=20)
        receiver, scans = (
            replace(noisy.receivers[0], zero_level=1e4),
            (noisy.scans[0], replace(noisy.scans[1], loads=None)),
        )
        simulate(replace(noisy, loads=long, receivers=(receiver,), scans=scans), tmp_path / "s.zarr")
        scan = calibrate(tmp_path / "s.zarr", tmp_path / "l1.zarr").open_scan(2).load()
        deviation = scan.spectra.values - read_truth(tmp_path / "s.zarr", 2).t_a_star()
        pulls = deviation / scan.sigma.values[:, None]
        # A line of 20 K of which the source's own noise is not in sigma lies in a few channels.
        assert pulls.std() == pytest.approx(1.0, abs=0.03)
        assert abs(pulls.mean()) < 0.05

    @pytest.mark.slow
    def test_opacity_with_hot_and_cold_load(self, tmp_path, flat_table):
        night = make_night(flat_table)
        simulate(replace(night, loads=with_pattern(night, "HOT", "COL", "SKY")), tmp_path / "s.zarr")
        both = [
            calibrate(tmp_path / "s.zarr", tmp_path / f"{single}.zarr", {"single_load": single}).open_scan(2).load()
            for single in (False, True)
        ]
        truth = read_truth(tmp_path / "s.zarr", 2)
        np.testing.assert_allclose(both[0].spectra, truth.t_a_star(), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(both[0].sky_residual, 0.0, atol=1e-3)
        # Where there is a COLD, it counts.
        np.testing.assert_array_equal(*(scan.spectra for scan in both))
        assert both[1].attrs["provenance"]["loads_kind"] == "hot_cold"

    @pytest.mark.slow
    def test_drift_between_two_loads(self, tmp_path, flat_table):
        night = make_night(flat_table)
        night = replace(night, scans=(*night.scans, night.scans[0]), drift=Drift(gain_per_hour=0.2))
        simulate(night, tmp_path / "s.zarr")
        product = calibrate(tmp_path / "s.zarr", tmp_path / "l1.zarr", gain={"level": 3})
        np.testing.assert_allclose(
            product.open_scan(2).spectra, read_truth(tmp_path / "s.zarr", 2).t_a_star(), rtol=1e-4, atol=1e-3
        )

    @pytest.mark.slow
    def test_receiver_temperatures_of_a_night_agree(self, tmp_path, flat_table):
        night = make_night(flat_table)
        scans = []
        for elevation in (30.0, 40.0, 50.0, 60.0):
            source = replace(night.source, elevation_deg=elevation)
            scans.append(replace(night.scans[0], source=source))
        simulate(replace(night, scans=(*scans, night.scans[1])), tmp_path / "s.zarr")
        scan = calibrate(tmp_path / "s.zarr", tmp_path / "l1.zarr").open_scan(5)
        jumps = [pixel["t_rec_jump"] for pixel in scan.attrs["qa"]["pixels"].values()]
        assert max(jumps) < 1e-5


class TestTwoSkies:
    """SKY of 3 dumps at 70° and of 1 valid dump at 25°: the mean count is the sum of 3 parts and 1 part."""

    ELEVATIONS, DUMPS = np.radians([70.0, 25.0]), np.array([3, 1])

    @pytest.fixture
    def skies(self, tmp_path):
        counts = np.full((2, 3, 3, 2, 3), 4e6)
        for sky, n_dumps in enumerate(self.DUMPS):
            counts[..., sky + 1] = 3e6
            counts[:, n_dumps:, ..., sky + 1] = np.nan
        calibration = {
            "phases": ["HOT", "SKY", "SKY"], "counts": counts, "mjd": MJD - SECOND * np.array([60.0, 50.0, 40.0]),
            "elevation": np.append(1.0, self.ELEVATIONS).astype(np.float32), "tamb": np.full(3, 262.0, np.float32),
            "thot": np.full(3, 262.0),
        }  # fmt: skip
        write_scan(tmp_path / "s.zarr", 2, source={"counts": np.full((2, 3, 3, 2, 4), 3e6)}, calibration=calibration)
        return tmp_path / "s.zarr"

    def test_weigh_as_much_as_in_the_counts(self, skies, caplog):
        sky = run_loads(skies).bands[0].loads.means.sky_load
        sidebands = run_loads(skies).bands[0].loads.sidebands
        shares = 1.0 / (1.0 + np.array(GAINS)), np.array(GAINS) / (1.0 + np.array(GAINS))
        for array, f_eff in enumerate(EFFICIENCIES):
            expected = 0.0
            for nu, share in zip(sidebands.frequencies, shares, strict=True):
                air, ground = planck(nu, 262.0), planck(nu, BACKGROUND)
                through = np.exp(-TAU / np.sin(self.ELEVATIONS))
                emitted = air[:, None] - (air - ground)[:, None] * through
                expected += share[array] * (f_eff * emitted @ (self.DUMPS / 4.0) + (1.0 - f_eff) * air)
            np.testing.assert_allclose(sky.t_input[:, 0, array], expected, rtol=1e-6)
        assert "SKY" not in caplog.text

    def test_that_are_missing_in_one_pixel_are_told(self, skies, caplog):
        counts = zarr.open_group(skies, path="scan_000002/calibration", mode="r+")["data_5d"]
        counts[:, :, 1, :, 1] = np.nan
        run_loads(skies)
        assert "pixels differ in the SKYs that they have dumps of" in caplog.text


@pytest.fixture
def random_counts(tmp_path):
    """HOT, SKY, OFF, ON, ON, OFF of numbers without any meaning, of 3 receivers and 2 arrays, at one elevation."""
    rng = np.random.default_rng(14)
    hot, sky = 4e6 + 1e5 * rng.random((2, 3, 2)), 3e6 + 1e5 * rng.random((2, 3, 2))
    source = 3e6 + 1e5 * rng.random((2, 1, 3, 2, 4))
    source[..., 3] = source[..., 0]
    loads = np.stack([hot, sky], axis=-1)[:, None]
    temperatures = {"tamb": np.full(2, 262.0, np.float32), "thot": np.full(2, 262.0)}
    calibration = {"phases": ["HOT", "SKY"], "counts": loads, "mjd": MJD - SECOND * np.array([60.0, 50.0])}
    write_scan(tmp_path / "s.zarr", 1, source={"counts": source}, calibration=calibration | temperatures)
    return tmp_path / "s.zarr", (source[..., 1:3] - source[..., :1]) / (hot - sky)[:, None, :, :, None]


class TestChopperWheel:
    """With air and spillover as warm as the load, at the airmass of the SKY, the opacity cancels."""

    @pytest.mark.parametrize(
        ("gain", "opacity", "efficiency"),
        [(0.0, 0.0, 0.9), ([1.0, 0.3], 0.3, [1.0, 0.5]), ([1.0, 0.3], 0.6, [0.9, 0.99])],
    )
    def test_no_opacity_and_no_efficiency_is_left(self, random_counts, tmp_path, gain, opacity, efficiency):
        session, ratio = random_counts
        loads = {"image_gain": gain, "forward_efficiency": efficiency, "clip_tsys": 1e9}
        atmosphere = {"strategy": "opacity", "zenith_opacity": opacity, "t_atm": 262.0, "t_spill": 262.0}
        scan = calibrate(session, tmp_path / "l1.zarr", loads, atmosphere).open_scan(1)
        nu = scan.signal_freqs.values, scan.image_freqs.values
        of_signal, of_image = (planck(each, 262.0) - planck(each, BACKGROUND) for each in nu)
        scale = of_signal[:, None] + np.broadcast_to(gain, 2) * of_image[:, None]
        np.testing.assert_allclose(scan.spectra, ratio * scale[:, None, None, :, None], rtol=1e-9)

    def test_the_scale_error_knows(self, random_counts, tmp_path):
        session, _ = random_counts
        loads = {"image_gain": 0.0, "forward_efficiency": 0.9, "clip_tsys": 1e9}
        atmosphere = {"strategy": "opacity", "zenith_opacity": 0.3, "t_atm": 262.0, "t_spill": 262.0}
        terms = calibrate(session, tmp_path / "l1.zarr", loads, atmosphere).open_scan(1).scale_error_terms
        of = dict(zip(terms.attrs["terms"], terms.values[:, 0, 0].tolist(), strict=True))
        assert max(of[name] for name in ("forward_efficiency", "dry_opacity", "pwv", "profile", "t_cold")) < 1e-6
        assert of["t_ground"] > 0.005  # 10 K, and 0.3 Np is in the way


def test_unknown_is_not_passed(calibrated):
    scan = calibrated
    qa, attributes = scan.attrs["qa"], scan.attrs
    no_fit = {"pwv_at_bound", "pwv_unconstrained", "pwv_not_converged", "off_scatter", "off_minus_off"}
    no_check = {"pwv_chi2", "pwv_pixel_spread", "sky_outlier_fraction"}
    assert no_fit | no_check <= set(qa["unknown"])
    assert not (no_fit | no_check) & set(qa["checks"])
    assert ("sky_misfit", "not known") in [(item["name"], item["explanation"]) for item in qa["verdicts"]]
    assert (attributes["pwv_mm"], attributes["pwv_err_mm"]) == (None, None)
    assert attributes["cal_strategy"] == "opacity"
    assert attributes["provenance"]["atm_file"] is None
    for name in ("pwv", "pwv_err", "pwv_err_model", "pwv_chi2"):
        assert np.isnan(scan[name]).all()
    assert {name: figure for name, figure in next(iter(qa["pixels"].values())).items() if name.startswith("pwv")} == {
        "pwv_mm": None,
        "pwv_err_mm": None,
        "pwv_chi2": None,
        "pwv_at_bound": None,
        "pwv_unconstrained": None,
        "pwv_converged": None,
        "pwv_pixel_spread": None,
    }
    assert np.isfinite(scan.scale_error).all()
    assert np.isfinite(scan.sigma).all()


def run_loads(session, loads=None, atmosphere=None):
    """Run the step loads of a pipeline on a scan, and return the scan."""
    pipeline = CalibrationPipeline(steps={"loads": SINGLE | (loads or {}), "atmosphere": atmosphere or KNOWN})
    scan = Session(session).open_scan(2)
    return pipeline.make_for(scan)._steps()["loads"].run(scan)


def message_of(session, **changes):
    with pytest.raises(CalibrationError) as failed:
        run_loads(session, **changes)
    return str(failed.value)


class TestFailures:
    def test_without_single_load(self, whole_night):
        message = message_of(whole_night, loads={"single_load": False})
        assert "has no COLD (it has ['HOT', 'SKY']); to let its SKY stand for COLD give" in message
        assert "--steps.loads.single_load=true" in message

    @pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
    def test_an_opacity_that_is_to_be_fitted(self, whole_night, strategy):
        message = message_of(whole_night, atmosphere={"strategy": strategy})
        assert f"strategy is '{strategy}'" in message
        assert "--steps.atmosphere.zenith_opacity=" in message

    @pytest.mark.parametrize(
        ("name", "values", "expected"),
        [
            (
                "elevation",
                None,
                "calibration/elevation is absent, expected finite numbers above 0 rad and below pi rad",
            ),
            ("elevation", 70.0, "calibration/elevation of SKY is [70.0] rad"),
            ("tamb", None, "calibration/tamb of SKY is [nan] K"),
            ("tamb", 12.0, "they look like degrees Celsius"),
        ],
    )
    def test_conditions_of_the_sky(self, night, name, values, expected):
        group = zarr.open_group(night, path="scan_000001/calibration", mode="r+")
        if values is None:
            del group[name]
        else:
            group[name][...] = values
        assert expected in message_of(night)

    def test_ambient_temperature_that_is_not_needed(self, night):
        del zarr.open_group(night, path="scan_000001/calibration", mode="r+")["tamb"]
        given = KNOWN | {"t_atm": 268.0, "t_spill": 268.0}
        assert run_loads(night, atmosphere=given).bands[0].loads.kind == "hot_sky"

    def test_pressure_in_another_unit(self, tmp_path, atm_table):
        simulate(make_night(atm_table, pwv=0.6), tmp_path / "s.zarr")
        known = {"strategy": "fixed", "pwv": 0.6, "override_atm": str(atm_table)}
        group = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/calibration", mode="r+")
        group["pamb"][...] = 1013.0
        message = message_of(tmp_path / "s.zarr", atmosphere=known)
        assert "calibration/pamb of SKY is [1013.0] Torr" in message
        assert "hPa" in message
        # The pressure of the scan stands in for one that is absent.
        del group["pamb"]
        assert run_loads(tmp_path / "s.zarr", atmosphere=known).bands[0].loads.kind == "hot_sky"

    def test_no_sky_either(self, night):
        phases = zarr.open_group(night, path="scan_000001/calibration", mode="r+")["sobsmode"]
        phases[...] = np.array(["HOT", "ZERO"], object)
        assert "has no COLD (it has ['HOT', 'ZERO'])" in message_of(night)

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ({"strategy": "opacity"}, "needs zenith_opacity, in Np: give --steps.atmosphere.zenith_opacity=0.1"),
            ({"strategy": "fixed", "pwv": 1.0, "zenith_opacity": 0.1}, "zenith_opacity = 0.1"),
            (KNOWN | {"pwv": 1.0}, "pwv = 1.0"),
            (KNOWN | {"t_ground": 270.0}, "t_ground = 270.0"),
            (KNOWN | {"pwv_max": 5.0}, "pwv_max = 5.0"),
            (KNOWN | {"link_bands": True}, "link_bands = True"),
        ],
    )
    def test_parameters_of_another_strategy(self, whole_night, given, expected):
        with pytest.raises(ParameterError, match=expected):
            run_loads(whole_night, atmosphere=given)

    def test_an_opacity_without_its_strategy(self, tmp_path, flat_table, caplog):
        simulate(replace(make_night(flat_table), loads=Loads(dumps=2)), tmp_path / "cold.zarr")
        steps = {"atmosphere": {"zenith_opacity": 0.1}}
        product = tmp_path / "l1.zarr"
        with pytest.raises(RunFailedError):
            CalibrationPipeline.call(str(tmp_path / "cold.zarr"), output_file=str(product), steps=steps)
        assert "zenith_opacity = 0.1 (argument) has no effect with strategy = 'full' (default)" in caplog.text

    def test_the_step_alone(self, whole_night):
        with pytest.raises(ParameterError, match="run CalibrationPipeline"):
            LoadsStep(**SINGLE).run(f"{whole_night}/scan_000002")


def test_a_saved_scan_keeps_its_sky(whole_night, tmp_path):
    scan = PrepareStep().run(OpenScan.open(run_loads(whole_night).save(str(tmp_path / "loads.asdf"))))
    assert scan.bands[0].loads.kind == "hot_sky"
    assert AtmosphereStep(**KNOWN).run(scan).bands[0].atmosphere.strategy == "opacity"
    with pytest.raises(ParameterError, match=r"solved with zenith_opacity = 0.25 Np.*found zenith_opacity = 0.3 Np"):
        AtmosphereStep(**KNOWN | {"zenith_opacity": 0.3}).run(scan)
    with pytest.raises(ParameterError, match="found strategy = 'full'"):
        AtmosphereStep().run(scan)


def test_combinations_solve_the_loads_anew(whole_night):
    scan = Session(whole_night).open_scan(2)
    reuse, found = StepReuse(scan), []
    for opacity in (0.25, 0.3, 0.25):
        steps = {"loads": SINGLE, "atmosphere": KNOWN | {"zenith_opacity": opacity}}
        done, _ = reuse.apply({"loads": CalibrationPipeline(steps=steps).make_for(scan)._steps()["loads"]})
        found.append(done.bands[0].loads)
    assert found[0].solution.t_rec_dsb.mean() != found[1].solution.t_rec_dsb.mean()
    assert found[0] is found[2]


def test_parameters_of_cold_loads_have_no_effect(whole_night, caplog):
    run_loads(whole_night, {"cold_offset": 3.0})
    assert "cold_offset has no effect where SKY stands for COLD" in caplog.text


def test_argus_asks_for_the_opacity(night, tmp_path, caplog):
    for name in ("scan_000001", "scan_000002"):
        zarr.open_group(night, path=name, mode="r+").attrs.update(telescope="NRAO_GBT", frontend="RcvrArray75_115")
    with pytest.raises(RunFailedError):
        CalibrationPipeline.call(str(night), output_file=str(tmp_path / "l1.zarr"), configure_log=False)
    assert "give --steps.atmosphere.zenith_opacity=0.1" in caplog.text
    given = {"atmosphere": {"zenith_opacity": TAU}}
    product = CalibrationPipeline.call(
        str(night), output_file=str(tmp_path / "l1.zarr"), steps=given, configure_log=False, overwrite=True
    )
    provenance = product.open_scan(2).attrs["provenance"]
    assert (provenance["loads_kind"], provenance["telescope_profile"]) == ("hot_sky", "GBT")
    assert provenance["forward_efficiency"] == [0.98, 0.98]
