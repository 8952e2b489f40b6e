"""Monitors of faults that calibrated data do not show by themselves, and that a good night is silent."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import zarr

from cal_pipeline import CalibrationPipeline
from cal_pipeline.heterodyne.figures import QUALITY, scan_quality
from cal_pipeline.heterodyne.references.shipped import find_atm_table, open_atm_table
from cal_pipeline.heterodyne.tally import Tally
from cal_pipeline.simulate import (
    PRESETS,
    Atmosphere,
    Cloud,
    DeadChannels,
    Faults,
    Layers,
    Line,
    Loads,
    MissingDumps,
    RandomSpurs,
    Scan,
    SkyWave,
    Source,
    TotalPower,
    WarmLayer,
    preset,
    simulate,
)
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep

DAY = 86400.0
C_KMS = 299792.458
BOTH = ["CHAI_PX00", "CHAI_PX01"]
SKIES = {
    "ccat": Layers(lapse_rate=5.6, wet_scale_km=1.4, ozone_fraction=0.8),
    "sofia": Layers(lapse_rate=-0.27, tropopause_km=30.0, wet_scale_km=3.5, dry_scale_km=3.9),
    "gbt": Layers(lapse_rate=5.6, wet_scale_km=1.75),
}
"""Skies in finer layers than those of the shipped tables, with about their temperatures, by table."""


def verdicts_of(qa):
    return {item["name"]: item["verdict"] for item in qa["verdicts"]}


@pytest.fixture
def qa(make_session, calibrate):
    """Simulate a session, change it, and calibrate its scans; the figures of one of them."""

    def of(scan=1, change=None, steps=None, output="l1.zarr", **settings):
        session = make_session(**({"channels": 512, "scans": (Scan(), Scan(calibration_only=True))} | settings))
        if change is not None:
            change(zarr.open_group(session, mode="r+", use_consolidated=False))
        return calibrate(session, output, **(steps or {})).attributes(scan)["qa"]

    return of


@pytest.fixture
def band_after(make_session, atm_table):
    """The band of a scan after the steps."""

    def of(*, loads=None, **settings):
        session = make_session(**({"channels": 512} | settings))
        scan = LoadsStep.call(str(session), forward_efficiency=[0.95], **(loads or {}))
        scan = PrepareStep.call(scan)
        scan = AtmosphereStep.call(scan, override_atm=str(atm_table))
        return CalibrateStep.call(scan).bands[0]

    return of


def shift_loads(seconds, scan=1):
    def change(root):
        mjd = root[f"scan_{scan:06d}/calibration/mjd"]
        mjd[:] = mjd[:] - seconds / DAY

    return change


def without_attribute(name):
    def change(root):
        del root["scan_000001"].attrs[name]

    return change


class TestLoads:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("earlier", "verdict"), [(0.0, None), (800.0, None), (1000.0, "questionable"), (4000.0, "fail")]
    )
    def test_the_age_of_the_loads(self, qa, make_session, earlier, verdict):
        age = []

        def change(root):
            shift_loads(earlier)(root)
            scan = root["scan_000001"]
            ons = np.array([str(mode).endswith("ON") for mode in scan["source/sobsmode"][:]])
            age.append(DAY * (scan["source/mjd"][:][ons].max() - scan["calibration/mjd"][:].mean()))

        found = qa(change=change, channels=16)
        assert found["load_age_s_median"] == pytest.approx(age[0], abs=1e-3)
        assert verdicts_of(found).get("load_age_s") == verdict

    @pytest.mark.slow
    def test_loads_after_the_scan_have_an_age_too(self, qa):
        found = qa(channels=16, scans=(Scan(loads=Loads(pattern=())), Scan(calibration_only=True, gap_s=1200.0)))
        assert 1200.0 < found["load_age_s_median"] < 1400.0
        assert verdicts_of(found)["load_age_s"] == "questionable"

    def test_an_unknown_time_of_the_loads_is_questionable(self, band_after):
        band = band_after(channels=16)
        means = replace(band.loads.means, hot_mjd=float("nan"))
        band.loads = replace(band.loads, means=means)
        found = scan_quality(band, Tally())
        told = {item["name"]: item for item in found["verdicts"]}
        assert told["load_age_s"]["unknown_pixels"] == BOTH
        assert told["load_age_s"]["explanation"] == "not known"
        assert "gain_unknown" in found["unknown"]

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("earlier", "later", "unknown"), [(400.0, False, True), (0.0, False, False), (400.0, True, False)]
    )
    def test_old_loads_with_none_after_the_scan(self, qa, earlier, later, unknown):
        scans = (Scan(), Scan(calibration_only=True)) if later else (Scan(),)
        found = qa(change=shift_loads(earlier), channels=16, scans=scans)
        assert found["gain_unknown"] is unknown
        assert verdicts_of(found).get("gain_unknown") == ("questionable" if unknown else None)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("name", "check"), [("forward_efficiency", "assumed_f_eff"), ("t_cold", "assumed_t_cold"), ("image_gain", "")]
    )
    def test_what_is_assumed_is_questionable(self, band_after, name, check):
        band = band_after(channels=16)
        assert not {"assumed_f_eff", "assumed_t_cold"} & set(verdicts_of(scan_quality(band, Tally())))
        band.loads = replace(band.loads, assumed=(name,))
        found = verdicts_of(scan_quality(band, Tally()))
        assert {n for n in found if n.startswith("assumed")} == ({check} if check else set())


class TestReceiverTemperature:
    def scans(self, factors):
        receiver = preset("ccat_chai", channels=64, pixels=2).receivers[0]
        return tuple(Scan(receivers=(replace(receiver, t_rec_dsb=90.0 * factor),)) for factor in factors)

    @pytest.mark.slow
    def test_a_jump_against_the_median_of_earlier_loads(self, qa):
        scans = self.scans([1.0, 1.4, 1.0, 1.0, 1.25])
        found = qa(scan=5, channels=64, noise=False, scans=scans)
        assert found["t_rec_jump_median"] == pytest.approx(0.25, abs=1e-3)
        assert verdicts_of(found)["t_rec_jump"] == "fail"

    @pytest.mark.slow
    @pytest.mark.parametrize(("factor", "verdict"), [(1.02, None), (0.95, "questionable"), (1.12, "fail")])
    def test_a_receiver_that_got_noisier_or_better(self, qa, factor, verdict):
        found = qa(scan=4, channels=64, noise=False, scans=self.scans([1.0, 1.0, 1.0, factor]))
        assert verdicts_of(found).get("t_rec_jump") == verdict

    @pytest.mark.slow
    def test_three_earlier_loads_are_needed(self, make_session, calibrate):
        product = calibrate(make_session(channels=64, scans=self.scans([1.0, 1.0, 1.5, 1.5])))
        jumps = [product.attributes(number)["qa"]["t_rec_jump_median"] for number in (1, 2, 3, 4)]
        assert jumps[:3] == [None] * 3
        assert jumps[3] == pytest.approx(0.5, abs=0.01)
        assert "t_rec_jump" in product.attributes(3)["qa"]["unknown"]

    @pytest.mark.slow
    def test_ten_earlier_loads_count(self, qa):
        factors = [2.0, 2.0, 2.0, *[1.0] * 5, *[1.5] * 5, 1.0]
        found = qa(scan=14, channels=16, noise=False, scans=self.scans(factors))
        # The ten before: five of each.
        assert found["t_rec_jump_median"] == pytest.approx(1.0 - 1.0 / 1.25, abs=1e-3)

    @pytest.mark.slow
    @pytest.mark.parametrize("run", [{"scans": "5"}, {"workers": 2}, {"scans": "3,5"}])
    def test_it_does_not_depend_on_how_the_session_is_calibrated(self, make_session, calibrate, run):
        session = make_session(channels=64, scans=self.scans([1.0, 1.1, 1.3, 0.9, 1.2]))
        whole, other = calibrate(session, "whole.zarr"), calibrate(session, "other.zarr", **run)
        for product in (whole, other):
            assert product.attributes(5)["qa"]["t_rec_jump_median"] > 0.05
        assert whole.attributes(5)["qa"]["pixels"] == other.attributes(5)["qa"]["pixels"]

    @pytest.mark.slow
    @pytest.mark.parametrize(("rest", "known"), [(461.0407682e9, True), (492.160651e9, False), (None, True)])
    def test_only_loads_at_the_frequency_count(self, make_session, calibrate, rest, known):
        session = make_session(channels=64, scans=self.scans([1.0] * 4))
        root = zarr.open_group(session, mode="r+", use_consolidated=False)
        for number in (1, 2, 3):
            root[f"scan_{number:06d}"].attrs["rest_freq_hz"] = rest
        jump = calibrate(session).attributes(4)["qa"]["t_rec_jump_median"]
        assert (jump is not None) is known

    @pytest.mark.slow
    def test_loads_that_cannot_be_read_are_passed_over(self, make_session, calibrate):
        session = make_session(channels=64, scans=self.scans([1.5, 1.0, 1.0, 1.0, 1.0]))
        chunk = next(path for path in (session / "scan_000001/calibration/data_5d/c").rglob("*") if path.is_file())
        chunk.write_bytes(b"not counts")
        product = calibrate(session, scans="5")
        assert product.attributes(5)["qa"]["t_rec_jump_median"] < 0.01

    @pytest.mark.slow
    def test_a_changing_velocity_of_the_observer_makes_no_difference(self, make_session, calibrate):
        session = make_session(channels=64, noise=False, scans=self.scans([1.0] * 5))
        root = zarr.open_group(session, mode="r+", use_consolidated=False)
        for number in range(1, 6):
            for name, sign in (("signal_freq", 1.0), ("image_freq", -1.0)):
                array = root[f"scan_{number:06d}/source/{name}"]
                array[:] = array[:] + sign * 1e6 * number
        assert calibrate(session).attributes(5)["qa"]["t_rec_jump_median"] < 1e-6


class TestReferences:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("pattern", "share"), [(("OFF", "ON", "ON", "OFF"), 0.0), (("OFF", "ON"), 0.5), (("ON", "OFF"), 0.5)]
    )
    def test_ons_that_no_off_follows_or_precedes(self, qa, pattern, share):
        found = qa(channels=16, mode=None, sequence=TotalPower(pattern=pattern, cycles=2 if len(pattern) == 2 else 1))
        assert found["ref_extrapolated"] == share
        assert verdicts_of(found).get("ref_extrapolated") == ("questionable" if share else None)

    @pytest.mark.slow
    def test_an_off_that_is_lost_in_one_pixel(self, qa):
        faults = Faults(missing=(MissingDumps(subscan=0, receiver=1),))
        found = qa(channels=16, faults=faults)
        assert [found["pixels"][name]["ref_extrapolated"] for name in BOTH] == [0.0, 0.5]
        (told,) = [item for item in found["verdicts"] if item["name"] == "ref_extrapolated"]
        assert told["pixels"] == BOTH[1:]

    @pytest.mark.slow
    def test_a_chopped_scan_extrapolates_nothing(self, qa):
        found = qa(channels=16, mode="otf_chopped")
        assert "ref_extrapolated" in found["unknown"]


class TestMeanSpectrum:
    def line(self, centre=461.0407682e9, **settings):
        return Line(4.0, freq_hz=centre, fwhm_hz=60e6, **settings)

    @pytest.mark.slow
    def test_a_source_in_the_off(self, qa):
        clean = qa(name="clean.zarr", output="l1_clean.zarr", lines=(self.line(),))
        found = qa(lines=(self.line(off_amplitude=2.0),))
        assert "negative_line" in clean["checks"]
        assert "negative_line" not in verdicts_of(clean)
        assert clean["negative_line_median"] < 6.0
        assert verdicts_of(found)["negative_line"] in ("questionable", "fail")

    @pytest.mark.slow
    def test_its_significance_is_that_of_the_spectrum(self, make_session, calibrate):
        session = make_session(channels=4096, lines=(self.line(off_amplitude=2.0),))
        scan = calibrate(session).open_scan(1)
        spectra = scan.spectra.values[:, scan.sizes["dump"] // 2].mean(axis=-1)
        channel = np.arange(len(spectra))
        line = np.abs(channel - spectra[:, 0, 0].argmin()) < 400
        noise = (np.diff(np.where(line[:, None, None], np.nan, spectra), axis=0) / np.sqrt(2.0)).std(
            axis=0, where=~line[1:, None, None] & ~line[:-1, None, None]
        )
        # The line is 60 channels wide: of 64 around its middle the mean is 0.79 of the peak, 128 channels beside it 0.
        depth = -np.nanmean(np.where((np.abs(channel - 2048) <= 32)[:, None, None], spectra, np.nan), axis=0)
        expected = depth * 8.0 / noise
        found = scan.attrs["qa"]["pixels"]
        for receiver, name in enumerate(BOTH):
            assert found[name]["negative_line"] == pytest.approx(expected[receiver, 0], rel=0.2)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("velocity", "offset_kms", "told"), [(0.0, 0.0, True), (0.0, 250.0, False), (250.0, 250.0, True)]
    )
    def test_a_line_of_the_image_sideband(self, qa, velocity, offset_kms, told):
        receiver = replace(
            preset("ccat_chai", channels=512, pixels=2).receivers[0], signal_freq=473.0e9, image_freq=461.0e9
        )
        line = self.line(461.0407682e9 * (1.0 - offset_kms / C_KMS), sidebands="image")
        found = qa(receivers=(receiver,), lines=(line,), source=Source(velocity_kms=velocity))
        assert verdicts_of(found).get("image_line") == ("questionable" if told else None)
        assert "image_line" in found["checks"]
        assert (found["image_line_median"] > 8.0) is told

    @pytest.mark.slow
    def test_an_unknown_velocity_of_the_source(self, qa):
        found = qa(change=without_attribute("velocity_source_kms"))
        assert found["pixels"][BOTH[0]]["image_line"] is None
        assert "image_line" in found["unknown"]
        assert found["verdict"] == "pass"

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("in_sigma", "in_t_sys", "verdict"),
        [
            (4.0, 0.05, None),
            (40.0, 5e-4, None),
            (8.0, 0.002, "questionable"),
            (40.0, 0.002, "questionable"),
            (40.0, 0.02, "fail"),
        ],
    )
    def test_a_ripple_must_be_above_noise_and_above_a_part_of_t_sys(self, band_after, in_sigma, in_t_sys, verdict):
        band = band_after(channels=2048)
        quiet = scan_quality(
            band, Tally(1, {"": np.zeros(band.coordinates.pixel.shape)}, probe=self.probe(band, 0.0, 1.0))
        )
        t_sys = quiet["t_sys_median_K"]
        amplitude = in_t_sys * t_sys
        # What noise the mean spectrum is to have, and is expected to have, for the ripple to be as strong as that.
        expected = quiet["ripple_K_median"] / quiet["ripple_sigma_median"]
        scale = amplitude / in_sigma / expected
        band.calibration = replace(band.calibration, sigma=(band.calibration.sigma * np.float32(scale)))
        found = scan_quality(
            band, Tally(1, {"": np.zeros(band.coordinates.pixel.shape)}, probe=self.probe(band, amplitude, 1.0))
        )
        assert found["ripple_over_t_sys_median"] == pytest.approx(in_t_sys, rel=0.25)
        assert found["ripple_sigma_median"] == pytest.approx(in_sigma, rel=0.25)
        assert verdicts_of(found).get("ripple") == verdict

    def probe(self, band, amplitude, noise):
        """Spectra with the expected noise, and a ripple in all of them."""
        sigma = band.calibration.sigma
        x = np.arange(len(sigma))[:, None, None, None]
        wave = amplitude * np.cos(2.0 * np.pi * x / 60.0)
        return (wave + noise * sigma * np.random.default_rng(7).normal(size=sigma.shape)).astype(np.float32)


class TestUnknown:
    def test_what_is_required_and_not_known(self, band_after):
        found = scan_quality(band_after(channels=16), Tally())
        told = {item["name"]: item for item in found["verdicts"]}
        assert found["verdict"] == "questionable"
        assert told["noise_ratio"]["value"] is None
        assert told["noise_ratio"]["unknown_pixels"] == BOTH
        assert {"ripple", "negative_line", "image_line"} <= set(found["unknown"])

    @pytest.mark.slow
    def test_of_a_dead_pixel_nothing_is_required(self, qa):
        found = qa(faults=Faults(dead=(DeadChannels(0, 512, receiver=1),)))
        assert [item["pixels"] for item in found["verdicts"]] == [[BOTH[1]]]
        assert found["verdicts"][0]["name"] == "dead_pixel"

    @pytest.mark.slow
    def test_checks_are_made_or_not_known(self, qa):
        found = qa()
        assert sorted([*found["checks"], *found["unknown"]]) == sorted(QUALITY.checks)
        assert found["unknown"] == ["t_rec_jump"]


class TestSky:
    """Faults of a sky in finer layers than those of the shipped table, which CCAT looks at with four pixels."""

    SKY = Atmosphere(pwv_mm=0.5, layers=SKIES["ccat"])
    NIGHT = preset(
        "ccat_chai",
        channels=512,
        pixels=4,
        scans=(Scan(), Scan(calibration_only=True)),
        atmosphere=SKY,
        source=Source(elevation_deg=55.0),
        sequence=TotalPower(pattern=("OFF", "ON", "ON", "OFF"), cycles=2, dumps=4),
        lines=(),
        seed=14,
    )

    @pytest.fixture
    def night(self, tmp_path, simulate_once):
        """The figures of the first scan of the night, with changes."""

        def of(strategy="full", **changes):
            session = simulate_once(replace(self.NIGHT, **changes))
            settings = {
                "steps": {"loads": {"forward_efficiency": 0.95}, "atmosphere": {"strategy": strategy}},
                "output_file": str(tmp_path / "l1.zarr"),
                "overwrite": True,
                "configure_log": False,
            }
            return CalibrationPipeline.call(str(session), **settings).attributes(1)["qa"]

        return of

    @pytest.fixture
    def offs_and_opacity(self, simulate_once):
        """Times of the OFFs after the start [s], and the opacity per mm towards the ONs, from the table itself."""
        at = zarr.open_group(simulate_once(self.NIGHT), mode="r")["scan_000001/source"]
        off = np.array([str(mode) == "OFF" for mode in at["sobsmode"][:]])
        table = open_atm_table(find_atm_table([np.array([461e9])], 51500.0))
        receiver = self.NIGHT.receivers[0]
        band = receiver.signal_freq + receiver.bandwidth * np.linspace(-0.5, 0.5, 512)
        b, _ = table.coefficients(band, 51500.0)
        times = DAY * (at["mjd"][:][off] - self.NIGHT.mjd_start)
        return times, np.median(b) * np.mean(1.0 / np.sin(at["elevation"][:][~off]))

    @pytest.mark.slow
    @pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
    def test_a_clean_night(self, night, strategy):
        found = night(strategy)
        assert verdicts_of(found) == {}
        assert found["off_scatter_median"] < 1e-3
        assert found["pwv_pixel_spread_median"] < 1e-3

    @pytest.mark.slow
    @pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
    @pytest.mark.parametrize(("jump", "verdict"), [(0.01, None), (0.04, "questionable"), (0.2, "fail")])
    def test_water_that_jumps_between_offs(self, night, offs_and_opacity, strategy, jump, verdict):
        times, opacity = offs_and_opacity
        middle = 0.5 * (times[1] + times[2])
        found = night(strategy, atmosphere=replace(self.SKY, clouds=(Cloud(middle, pwv_mm=jump),)))
        expected = opacity * np.std(0.5 + jump * (times > middle), ddof=1)
        # One Gauss-Newton step leads close to the water vapour of an OFF.
        assert found["off_scatter_median"] == pytest.approx(expected, rel=0.1)
        assert verdicts_of(found).get("off_scatter") == verdict
        assert "off_minus_off" not in verdicts_of(found)

    @pytest.mark.slow
    @pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
    @pytest.mark.parametrize(("per_pixel", "verdict"), [(0.004, None), (0.03, "questionable")])
    def test_water_that_grows_over_the_pixels(self, night, offs_and_opacity, strategy, per_pixel, verdict):
        offset = np.array([lon for lon, _ in self.NIGHT.receivers[0].pixel_offsets_deg])
        step = np.ptp(offset) / (len(offset) - 1)
        found = night(strategy, atmosphere=replace(self.SKY, pwv_per_deg=per_pixel / step))
        pwv = per_pixel * offset / step
        expected = offs_and_opacity[1] * np.abs(pwv - np.median(pwv))
        spread = [pixel["pwv_pixel_spread"] for pixel in found["pixels"].values()]
        np.testing.assert_allclose(spread, expected, rtol=0.1, atol=3e-4)
        assert verdicts_of(found).get("pwv_pixel_spread") == verdict

    @pytest.mark.slow
    def test_lines_that_the_table_does_not_hold(self, night):
        lines = tuple((461.04e9 + 1e6 * offset, 60e6, 0.3) for offset in range(-1800, 2000, 400))
        found = night(atmosphere=replace(self.SKY, unknown=WarmLayer(220.0, lines)))
        assert verdicts_of(found)["sky_misfit"] in ("questionable", "fail")

    @pytest.mark.slow
    def test_a_standing_wave_that_changes_between_offs(self, night):
        wave = SkyWave(200e6, 1.0)
        steady = verdicts_of(night(sky_waves=(wave,)))
        assert "off_minus_off" not in steady
        found = night(sky_waves=(replace(wave, phase_per_hour=200.0),))
        assert verdicts_of(found)["off_minus_off"] in ("questionable", "fail")

    @pytest.mark.slow
    @pytest.mark.parametrize(("fraction", "verdict"), [(0.02, None), (0.25, "questionable")])
    def test_spurs(self, night, fraction, verdict):
        found = night(faults=Faults(random_spurs=(RandomSpurs(fraction, 50.0, kinds=("on", "off")),)))
        assert found["sky_outlier_fraction"] == pytest.approx(fraction, rel=0.2)
        assert verdicts_of(found).get("sky_outlier_fraction") == verdict

    @pytest.mark.slow
    def test_a_sky_of_low_transmission(self, night):
        found = night(atmosphere=replace(self.SKY, pwv_mm=2.0), source=Source(elevation_deg=30.0))
        assert verdicts_of(found)["scale_error"] in ("questionable", "fail")

    @pytest.mark.slow
    def test_a_single_off_has_no_scatter(self, night):
        found = night(sequence=TotalPower(pattern=("OFF", "ON"), cycles=1, dumps=4))
        assert {"off_scatter", "off_minus_off"} <= set(found["unknown"])
        assert found["pixels"][BOTH[0]]["off_scatter"] is None


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["total_power", "otf", "otf_chopped"])
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_good_night_is_silent(tmp_path, name, mode):
    scans = (*[Scan()] * 5, Scan(calibration_only=True))
    config = preset(name, channels=2048, pixels=3, mode=mode, scans=scans)
    config = replace(config, atmosphere=replace(config.atmosphere, layers=SKIES[config.telescope.table]))
    simulate(config, tmp_path / "session.zarr")
    session, target = str(tmp_path / "session.zarr"), str(tmp_path / "l1.zarr")
    product = CalibrationPipeline.call(session, output_file=target, configure_log=False)
    for number in product.numbers:
        for path in product.bands(number):
            found = zarr.open_group(product.path, path=path, mode="r").attrs["qa"]
            assert verdicts_of(found) == {}
            assert "t_rec_jump" in found["checks" if number > 3 else "unknown"]
