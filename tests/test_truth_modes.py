"""What the chopper, the drift of the receiver, other strategies and the diagnostics are for, against the truth."""

from __future__ import annotations

import dataclasses
import itertools
import runpy
from pathlib import Path

import numpy as np
import pytest
import xarray
from helpers_atm import under_one_layer, write_test_atm_table

from cal_pipeline.simulate import (
    Atmosphere,
    ChopPhaseOffset,
    Drift,
    GaussianSource,
    Imbalance,
    Line,
    OtfChopped,
    Scan,
    SkyWave,
    WarmLayer,
    preset,
    read_truth,
    simulate,
)

LINE = Line(20.0, fwhm_hz=0.4e9, source=GaussianSource(fwhm_deg=0.3))
EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
QUIET = {"noise": False, "dtype": "float64"}
GIVEN = {"strategy": "fixed", "pwv": 0.5}


SLOW = pytest.mark.slow


def slow(*values):
    """Parameters that the quick subset leaves out."""
    return [pytest.param(value, marks=SLOW) for value in values]


@pytest.fixture
def level_source():
    """A source that stays at its elevation, so that the sky of an OFF is exactly that of its ON."""
    return dataclasses.replace(preset("ccat_chai").source, elevation_deg=55.0)


def found_and_true(session, product, scan=1, band=None):
    return product.open_scan(scan, band).load(), read_truth(session, scan, band or 0)


def within_specification(found, true):
    """1e-3 of the truth or 0.02 K, whichever is larger."""
    return np.abs(found - true) <= np.maximum(1e-3 * np.abs(true), 0.02)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair"])
@pytest.mark.parametrize(
    ("mode", "dbs"), [("total_power", False), ("otf", False), ("otf_chopped", False), ("otf_chopped", True)]
)
def test_truth_is_recovered(make_session, calibrate, mode, strategy, dbs):
    session = make_session(channels=64, mode=mode, lines=(LINE,), noise=False)
    product = calibrate(session, atmosphere={"strategy": strategy}, dbs={"skip": not dbs})
    scan, truth = found_and_true(session, product)
    true = truth.t_a_star()
    if dbs:
        true = true[..., ::2]
        assert scan.attrs["dbs"] == {"pairs": [[0, 2], [4, 6], [8, 10]], "unmatched": []}
    assert within_specification(scan.spectra.values, true).all()
    np.testing.assert_allclose(scan.pwv.values, 0.5, rtol=5e-3)
    assert scan.pwv.shape == {"full": (), "per_pixel": (2, 1), "per_pair": (2, 1, scan.sizes["subscan"])}[strategy]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "link"),
    [
        pytest.param("full", False, marks=SLOW),
        ("full", True),
        pytest.param("per_pixel", False, marks=SLOW),
        pytest.param("per_pair", False, marks=SLOW),
    ],
)
def test_two_bands(tmp_path, calibrate, level_source, strategy, link):
    table = write_test_atm_table(tmp_path / "two.asdf", windows=[(450e9, 500e9), (780e9, 820e9)])
    config = under_one_layer(
        preset("ccat_chai_dual", channels=32, pixels=2, mode="otf_chopped", table=str(table), noise=False)
    )
    config = dataclasses.replace(config, source=level_source)
    simulate(config, tmp_path / "dual.zarr")
    atmosphere = {"override_atm": str(table), "strategy": strategy, "link_bands": link}
    product = calibrate(tmp_path / "dual.zarr", atmosphere=atmosphere, dbs={"skip": False}, skydiff={"skip": False})
    for band in (0, 1):
        scan, truth = found_and_true(tmp_path / "dual.zarr", product, band=band)
        assert within_specification(scan.spectra.values, truth.t_a_star()[..., ::2]).all()
        np.testing.assert_allclose(scan.pwv.values, 0.5, rtol=5e-3)


@pytest.mark.slow
def test_strategies_follow_water_that_changes(make_session, calibrate, atm_table):
    session = make_session(
        channels=64,
        noise=False,
        mode="otf_chopped",
        atmosphere=Atmosphere(0.5, pwv_per_hour=6.0, table=str(atm_table)),
        table=None,
    )
    scan, truth = found_and_true(session, calibrate(session, atmosphere={"strategy": "per_pair"}))
    offs = np.flatnonzero(~truth.on)
    np.testing.assert_allclose(scan.pwv.values[0, 0], truth.pwv[offs], rtol=2e-3)
    assert np.ptp(truth.pwv) > 0.05


@pytest.mark.slow
def test_dbs_cancels_what_has_the_opposite_sign_in_the_beams(make_session, calibrate, level_source):
    session = make_session(
        channels=64, mode="otf_chopped", source=level_source, lines=(LINE,), imbalance=Imbalance(1.0, 7e8), **QUIET
    )
    apart, truth = found_and_true(session, calibrate(session, "a.zarr", atmosphere=GIVEN))
    merged, _ = found_and_true(session, calibrate(session, "b.zarr", atmosphere=GIVEN, dbs={"skip": False}))
    assert np.abs(apart.spectra.values - truth.t_a_star()).max() > 2.0
    assert np.abs(merged.spectra.values - truth.t_a_star()[..., ::2]).max() < 1e-10
    np.testing.assert_array_equal(merged.t_int, 2 * apart.t_int[::2].values)
    np.testing.assert_allclose(merged.sigma, apart.sigma[..., ::2] / np.sqrt(2.0), rtol=1e-6)


@pytest.mark.slow
def test_groups_without_a_partner_stay(make_session, calibrate, level_source):
    pattern = ("OTFSWA-ON", "OTFSWA-OFF", "OTFSWB-ON", "OTFSWB-OFF", "OTFSWA-ON")
    sequence = OtfChopped(rows=1, dumps=3, pattern=pattern)
    session = make_session(channels=16, sequence=sequence, mode=None, source=level_source, lines=(LINE,), **QUIET)
    scan, truth = found_and_true(session, calibrate(session, atmosphere=GIVEN, dbs={"skip": False}))
    assert scan.attrs["dbs"] == {"pairs": [[4, 2]], "unmatched": [0]} or scan.attrs["dbs"] == {
        "pairs": [[0, 2]],
        "unmatched": [4],
    }
    assert scan.sizes["subscan"] == 2
    assert np.abs(scan.spectra.values - truth.t_a_star()[..., [0, 2]]).max() < 1e-10


class TestGainDrift:
    """A drift of 3 % between the loads before and after a scan."""

    @pytest.fixture
    def errors(self, make_session, calibrate, level_source):
        def of(drift, mode="otf"):
            session = make_session(
                channels=32,
                mode=mode,
                source=level_source,
                lines=(LINE,),
                scans=(Scan(), Scan(calibration_only=True)),
                drift=drift,
                **QUIET,
            )
            result = {}
            for level in (0, 2, 3):
                gain = {"skip": level == 0} | ({"level": level} if level else {})
                scan, truth = found_and_true(session, calibrate(session, f"{level}.zarr", gain=gain))
                result[level] = np.abs(scan.spectra.values - truth.t_a_star()).max()
                assert scan.attrs["provenance"]["gain_level"] == level
                assert scan.attrs["qa"]["gain_drift_median"] == pytest.approx(
                    drift.gain_per_hour * self.hours(session), rel=0.2, abs=1e-6
                )
            return result

        return of

    @staticmethod
    def hours(session):
        import zarr

        times = [np.mean(zarr.open_array(session, path=f"scan_{n:06d}/calibration/mjd", mode="r")[...]) for n in (1, 2)]
        return 24.0 * (times[1] - times[0])

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", ["total_power", *slow("otf", "otf_chopped")])
    @pytest.mark.parametrize("drift", [*slow(Drift(1.0, 0.0), Drift(0.0, 100.0)), Drift(1.0, 100.0)])
    def test_level_3_removes_it_to_rounding_and_level_2_makes_it_worse(self, errors, drift, mode):
        error = errors(drift, mode)
        assert error[3] < 1e-6
        assert error[0] > 1e-3
        assert error[2] > 2.0 * error[0]


@pytest.mark.slow
def test_without_loads_after_the_scan_counts_are_left_alone(make_session, calibrate, caplog):
    session = make_session(channels=16, drift=Drift(1.0))
    plain = calibrate(session, "a.zarr").open_scan(1).load()
    product = calibrate(session, "b.zarr", gain={"skip": False})
    xarray.testing.assert_equal(product.open_scan(1).load(), plain)
    assert "no loads after the scan" in caplog.text
    assert product.attributes(1)["provenance"]["gain_level"] == 0


class TestTwoLayers:
    """Narrow lines that form in a warmer layer, which the single-layer model knows nothing of."""

    LINES = tuple((nu * 1e9, 6e6, 0.9) for nu in (459.4, 459.9, 460.7, 461.3, 462.2, 462.8, 471.5, 472.6, 474.1))

    @pytest.fixture
    def session(self, tmp_path):
        table = write_test_atm_table(tmp_path / "lines.asdf", lines=self.LINES, step_hz=2e6)
        layer = WarmLayer(330.0, self.LINES)
        receiver = dataclasses.replace(
            preset("ccat_chai").receivers[0], channels=1024, pixel_offsets_deg=((0.0, 0.0), (0.01, 0.0))
        )
        config = preset(
            "ccat_chai",
            mode="otf",
            receivers=(receiver,),
            atmosphere=Atmosphere(0.3, table=str(table), layer=layer),
            seed=2,
        )
        simulate(config, tmp_path / "layers.zarr")
        return tmp_path / "layers.zarr", table

    @pytest.mark.slow
    def test_model_error_keeps_the_water_unbiased(self, session, calibrate):
        store, table = session
        bias, allowed, chi2 = {}, {}, {}
        for robust, error in itertools.product((False, True), (0.0, 0.03, 0.1)):
            atmosphere = {"override_atm": str(table), "model_error": error, "robust": robust}
            scan = calibrate(store, f"{robust}-{error}.zarr", atmosphere=atmosphere).open_scan(1)
            case = robust, error
            bias[case] = abs(float(scan.pwv) - 0.3)
            allowed[case] = float(np.hypot(scan.pwv_err, scan.pwv_err_model))
            chi2[case] = float(scan.pwv_chi2)
        assert bias[False, 0.0] > 100.0 * allowed[False, 0.0]
        assert chi2[False, 0.0] > 100.0
        assert bias[False, 0.03] < 0.4 * bias[False, 0.0]
        assert bias[False, 0.03] < allowed[False, 0.03]
        assert chi2[False, 0.03] < 3.0
        # Without the lines themselves, their wings remain.
        for error in (0.0, 0.03, 0.1):
            assert bias[True, error] < 0.12 * bias[False, 0.0]
            assert chi2[True, error] < 3.0


class TestSkydiff:
    AMPLITUDE = 2.0

    def run(self, make_session, calibrate, level_source, phase_per_hour, **settings):
        wave = SkyWave(8e8, self.AMPLITUDE, phase_per_hour=phase_per_hour)
        session = make_session(channels=64, source=level_source, scans=2, sky_waves=(wave,), **QUIET, **settings)
        product = calibrate(session, skydiff={"skip": False}, atmosphere=GIVEN)
        return session, xarray.open_zarr(product.path, group="scan_000002/skydiff", consolidated=False).load()

    @pytest.mark.slow
    def test_a_wave_that_moves_is_seen_with_its_amplitude(self, make_session, calibrate, level_source):
        session, differences = self.run(make_session, calibrate, level_source, 400.0)
        truth = {n: read_truth(session, n) for n in (1, 2)}
        for k in range(differences.n_diffs):
            now = truth[2].added[:, 0, differences.current_offs[k]]
            before = truth[differences.ref_scans[k]].added[:, 0, differences.ref_offs[k]]
            expected = np.broadcast_to((now - before)[:, None, None], (64, 2, 1))
            np.testing.assert_allclose(differences[f"spectrum_{k}"], expected, atol=1e-8)
        largest = max(float(abs(differences[f"spectrum_{k}"]).max()) for k in range(differences.n_diffs))
        assert self.AMPLITUDE < largest < 2.001 * self.AMPLITUDE

    @pytest.mark.slow
    @pytest.mark.parametrize("mode", ["total_power", *slow("otf", "otf_chopped")])
    def test_a_stable_sky_differs_by_nothing(self, make_session, calibrate, level_source, mode):
        _, differences = self.run(make_session, calibrate, level_source, 0.0, mode=mode)
        for k in range(differences.n_diffs):
            assert float(abs(differences[f"spectrum_{k}"]).max()) < 1e-8

    @pytest.mark.slow
    def test_the_example_of_the_docs(self, make_session, calibrate, level_source, monkeypatch, tmp_path, capsys):
        self.run(make_session, calibrate, level_source, 400.0)
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(EXAMPLES / "read_skydiff.py"))
        assert "OFF 0 against OFF" in capsys.readouterr().out

    @pytest.mark.slow
    def test_scans_that_failed_and_other_layouts_do_not_count(self, make_session, calibrate, level_source, tmp_path):
        receiver = dataclasses.replace(preset("ccat_chai").receivers[0], channels=16, pixel_offsets_deg=((0.0, 0.0),))
        other = dataclasses.replace(receiver, pixel_offsets_deg=((0.0, 0.0), (0.01, 0.0)))
        scans = (Scan(), Scan(receivers=(other,)), Scan(), Scan())
        session = make_session(channels=None, pixels=None, receivers=(receiver,), scans=scans, source=level_source)
        (session / "scan_000003" / "source" / "tamb" / "zarr.json").unlink()
        with pytest.raises(Exception, match="1 of 4 scans"):
            calibrate(session, skydiff={"skip": False, "n": 5})
        found = {n: (tmp_path / f"l1.zarr/scan_{n:06d}/skydiff").exists() for n in (1, 2, 4)}
        assert found == {1: False, 2: False, 4: True}
        differences = xarray.open_zarr(tmp_path / "l1.zarr", group="scan_000004/skydiff", consolidated=False)
        assert set(differences.ref_scans) == {1}
        assert differences.n_diffs == 9
        assert differences.ref_mjds == sorted(differences.ref_mjds[:3], reverse=True) * 3


class TestSkychopdiff:
    def run(self, make_session, calibrate, level_source, chop_phase_offset):
        session = make_session(
            channels=64, mode="otf_chopped", source=level_source, chop_phase_offset=chop_phase_offset, **QUIET
        )
        product = calibrate(session, skychopdiff={"skip": False}, atmosphere=GIVEN)
        return session, xarray.open_zarr(product.path, group="scan_000001/skychopdiff", consolidated=False).load()

    @pytest.mark.slow
    def test_an_offset_of_a_chop_phase_is_seen_with_its_amplitude(self, make_session, calibrate, level_source):
        offset = ChopPhaseOffset((0.0, 1.5, 0.0, -0.5), period_hz=9e8)
        session, differences = self.run(make_session, calibrate, level_source, offset)
        truth = read_truth(session, 1)
        t_r, _ = truth.transmission()
        w_s, _ = truth.sky.weights
        on_scale = w_s * truth.sky.forward_efficiency[0] * t_r[:, 0]
        for on in differences.on_indices:
            added = truth.added[:, :, on]
            for j in (1, 2, 3):
                expected = (added[:, 0] - added[:, j]) / on_scale
                found = differences[f"spectrum_{on}_{j}"].values[:, 0, 0]
                np.testing.assert_allclose(found, expected, atol=1e-8)

    @pytest.mark.slow
    def test_it_cancels_in_the_spectra(self, make_session, calibrate, level_source):
        session, _ = self.run(make_session, calibrate, level_source, ChopPhaseOffset((0.0, 1.5, 0.0, -0.5)))
        scan, truth = found_and_true(session, calibrate(session, "again.zarr", atmosphere=GIVEN))
        assert np.abs(scan.spectra.values - truth.t_a_star()).max() < 1e-9

    @pytest.mark.slow
    def test_a_stable_sky_differs_by_nothing(self, make_session, calibrate, level_source):
        _, differences = self.run(make_session, calibrate, level_source, None)
        for name in differences.data_vars:
            assert float(abs(differences[name]).max()) < 1e-9

    @pytest.mark.slow
    def test_the_example_of_the_docs(self, make_session, calibrate, level_source, monkeypatch, tmp_path, capsys):
        self.run(make_session, calibrate, level_source, ChopPhaseOffset((0.0, 1.0, 0.0, 0.0)))
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(EXAMPLES / "read_skychopdiff.py"))
        assert "phase 0 minus 1: -" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("step", ["dbs", "skychopdiff"])
def test_steps_for_choppers_leave_other_scans_alone(make_session, calibrate, step):
    product = calibrate(make_session(channels=16), **{step: {"skip": False}})
    assert product.attributes(1)["cal_step"][step] == "SKIPPED"
    assert "dbs" not in product.attributes(1)
