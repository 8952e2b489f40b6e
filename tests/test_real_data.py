"""Real counts of a real telescope against what an independent package (dysh 1.1.0) finds on them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli import demo
from cal_pipeline.cli.demo_real import PUBLISHED, compare_figures, measure_noise_ratios
from cal_pipeline.heterodyne.physics.loads import receiver_temperature
from cal_pipeline.steps import LoadsStep

REAL_DATA = "CAL_PIPELINE_REAL_DATA"
"""Variable of the environment that names the folder of the real counts."""

FOLDER = Path(os.environ.get(REAL_DATA, Path(__file__).parents[2] / "shared" / "data"))
SESSION = FOLDER / "gbt_wband_m82.zarr"
PARAMETERS = Path(__file__).parents[1] / "cfg" / "gbt_wband.asdf"

pytestmark = pytest.mark.skipif(
    not SESSION.is_dir(), reason=f"the real counts are not there: {SESSION.name}; {REAL_DATA} names their folder"
)

KELVIN_PER_COUNT = (8.811870868732733e-07, 1.176978535348191e-06)
T_REC = (83.0006, 124.4705)
T_SYS = (106.97707617, 141.99053848)


@pytest.fixture(scope="module")
def loads():
    return LoadsStep(image_gain=0.0).run(str(SESSION)).bands[0].loads


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    output = tmp_path_factory.mktemp("gbt") / "l1.zarr"
    return CalibrationPipeline.call(
        str(SESSION), config_file=str(PARAMETERS), output_file=str(output), configure_log=False
    )


def inner(n_channels):
    return slice(n_channels // 10, n_channels - n_channels // 10)


@pytest.mark.slow
@pytest.mark.parametrize("beam", [0, 1])
def test_gain_of_the_independent_package(product, loads, beam):
    # gamma is counts per kelvin of J(T_hot) - J(T_cold), which differs from T_hot - T_cold by 1.2e-4 at 87 GHz.
    gamma = product.open_scan(131).gamma.isel(receiver=beam, array=0)
    assert gamma.units == "ct/K"
    found = 1.0 / float(gamma.isel(channel=inner(gamma.sizes["channel"])).mean())
    assert found == pytest.approx(KELVIN_PER_COUNT[beam], rel=1e-3)
    np.testing.assert_array_equal(loads.solution.gamma[:, beam, 0], gamma)


@pytest.mark.slow
@pytest.mark.parametrize("beam", [0, 1])
def test_receiver_temperature_of_the_independent_package(loads, beam):
    channels = inner(loads.means.hot.shape[0])
    hot, cold = (values[channels, beam : beam + 1] for values in (loads.means.hot, loads.means.cold))
    # That package takes physical temperatures for the brightness temperatures of the loads.
    t_hot, t_cold = (np.full((1, 1, 1), t) for t in (loads.means.hot_input.physical, loads.means.cold_input.physical))
    assert np.median(receiver_temperature(hot, cold, t_hot, t_cold)) == pytest.approx(T_REC[beam], rel=1e-3)


@pytest.mark.parametrize("beam", [0, 1])
def test_receiver_temperature_differs_by_the_quantum_term_only(loads, beam):
    # J(T) = T - h nu/2k to first order: 2.09 K at 87 GHz are taken from both loads and so added to T_rec.
    channels = inner(loads.solution.t_rec_ssb.shape[0])
    found = np.median(loads.solution.t_rec_ssb[channels, beam, 0])
    assert found - 2.093 == pytest.approx(T_REC[beam], rel=1e-3)


@pytest.mark.parametrize("beam", [0, 1])
def test_system_temperature_of_the_independent_package(product, beam):
    scan = product.open_scan(131)
    channels = inner(scan.sizes["channel"])
    # Theirs is the SKY scan of the loads times the gain; ours is what the fitted sky model adds to T_rec. A standing
    # wave of 20 K in the sky and the airmass of the ONs part them by no more than a few percent.
    t_sys = float(scan.t_sys.isel(receiver=beam, array=0, subscan=0, channel=channels).median())
    assert t_sys == pytest.approx(T_SYS[beam], rel=0.06)


def test_water_vapour_is_that_of_a_winter_night_in_west_virginia(product):
    scan = product.open_scan(131)
    assert 1.0 < float(scan.pwv) < 8.0
    assert not scan.attrs["qa"]["pwv_at_bound"]
    # The standing wave is no noise: chi-squared says that the statistical error is not to be believed.
    assert scan.attrs["qa"]["pwv_chi2_median"] > 10
    assert scan.attrs["qa"]["sky_below_cold_load_fraction"] > 0.9


def test_spectra_are_calibrated_in_the_good_channels(product):
    scan = product.open_scan(131).load()
    assert product.failures == []
    assert scan.attrs["qa"]["flagged_fraction"] < 0.05
    spectra = scan.spectra.isel(channel=inner(scan.sizes["channel"]))
    assert np.isfinite(spectra).all()
    # M82 has no continuum of more than a few 0.1 K here, and the radiometer equation holds channel by channel.
    assert abs(float(spectra.mean())) < 0.5
    difference = spectra.isel(dump=0).diff("channel")
    sigma = scan.sigma.isel(channel=inner(scan.sizes["channel"])).isel(channel=slice(1, None))
    rms_over_sigma = float((difference / sigma / np.sqrt(2)).std())
    assert 0.8 < rms_over_sigma < 1.2


@pytest.mark.parametrize("beam", [0, 1])
def test_noise_of_the_mean_is_that_of_the_average(product, beam):
    scan = product.open_scan(131).load()
    # Three ONs of one dump between which and the OFFs a third passed: one OFF serves all, half of its noise stays.
    assert (scan.ref_off[0].values == 3).all()
    assert (scan.ref_off[1].values == -1).all()
    quoted, independent = measure_noise_ratios(scan.isel(receiver=beam, channel=inner(scan.sizes["channel"])))
    assert quoted == pytest.approx(1.0, abs=0.05)
    assert independent > 1.35


@pytest.mark.slow
def test_figures_beside_those_of_the_independent_package(product):
    assert [(one.kelvin_per_count, one.t_rec, one.t_sys) for one in PUBLISHED] == [
        *zip(KELVIN_PER_COUNT, T_REC, T_SYS, strict=True)
    ]
    for figures in compare_figures(SESSION, product):
        assert [figure.expected is not None for figure in figures] == [True, True, False, True, False, True, False]
        assert all(figure.agrees for figure in figures)


@pytest.mark.slow
def test_demo_on_the_real_counts(tmp_path, capsys):
    assert demo.main([str(tmp_path / "demo"), "--real", str(FOLDER)]) == 0
    printed = capsys.readouterr().out
    assert "all agree" in printed
    assert "83.00" in printed
    assert len(list((tmp_path / "demo").glob("*.png"))) == 3
