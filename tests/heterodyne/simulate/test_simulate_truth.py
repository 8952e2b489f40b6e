from dataclasses import fields, replace

import numpy as np
import pytest
import zarr

from cal_pipeline.heterodyne.simulate.faults import DeadChannels, Faults
from cal_pipeline.simulate import (
    Bandpass,
    GaussianSource,
    Line,
    Loads,
    MissingDumps,
    Otf,
    Scan,
    SimulationError,
    StandingWave,
    preset,
    read_truth,
    simulate,
    truth_path,
)


@pytest.fixture
def rich(config):
    """A map of a Gaussian source with lines in both sidebands and a receiver that is not flat."""
    receiver = replace(
        config.receivers[0],
        bandpass=Bandpass(),
        gain_spread=0.2,
        t_rec_spread=0.1,
        t_rec_slope=0.1,
        image_gain=0.8,
        standing_waves=(StandingWave(period_hz=2e8, t_rec_amplitude=2.0),),
    )
    nu_s, nu_i = receiver.frequencies()
    lines = (
        Line(20.0, freq_hz=float(nu_s[8]), fwhm_hz=1.5e8, source=GaussianSource(0.02)),
        Line(7.0, freq_hz=float(nu_i[15]), fwhm_hz=1.0e8, source=GaussianSource(0.03, lon_deg=0.004)),
        Line(0.4),
    )
    sequence = Otf(rows=3, dumps=4, step_deg=0.006, row_step_deg=0.01, off_exptime=2.0)
    return replace(config, receivers=(receiver,), lines=lines, sequence=sequence)


def counts(path, group="source"):
    return zarr.open_group(path, mode="r")[f"scan_000001/{group}/data_5d"][:]


@pytest.mark.slow
def test_on_minus_off_with_the_known_gain_is_the_known_source(rich, tmp_path):
    written = simulate(rich, tmp_path / "s.zarr")
    truth = read_truth(written.session, 1)
    data = counts(written.session)
    difference = data[..., truth.on_indices] - data[..., :1]  # the elevation is constant: all OFFs are alike
    w_s, _ = truth.sky.weights
    t_s, _ = truth.transmission()
    factor = (w_s * truth.sky.coupling * truth.sky.forward_efficiency)[:, None] * t_s[:, None, None, None, :]
    measured = difference / truth.gain[:, None, :, :, None] / factor
    np.testing.assert_allclose(measured, truth.t_a_star(), atol=1e-8)
    assert measured.max() > 15.0


@pytest.mark.slow
def test_without_the_image_only_the_signal_sideband_is_left(rich, tmp_path):
    simulate(rich, tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    both, signal = truth.t_a_star(), truth.t_a_star(image=False)
    assert np.argmax((both - signal)[:, 1, 0, 0, 1]) == 15
    assert signal[8].max() == pytest.approx(20.4, rel=0.1)
    np.testing.assert_allclose(truth.t_a_star(slice(5, 9)), both[5:9])


@pytest.mark.slow
def test_amplitudes_follow_the_map_and_the_pixels(rich, tmp_path):
    simulate(rich, tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    source = zarr.open_group(tmp_path / "s.zarr", path="scan_000001/source", mode="r")
    lon = source["otf_lon"][:][:, None, None, :] + source["pixel_offset_lon"][:][None]
    lat = source["otf_lat"][:][:, None, None, :] + source["pixel_offset_lat"][:][None]
    distance = np.hypot(lon, lat)[..., truth.on_indices]
    # A Gaussian of full width w falls to 2^-(2 r/w)².
    np.testing.assert_allclose(truth.amplitude[0], 2.0 ** -((2.0 * distance / 0.02) ** 2), rtol=1e-9)
    assert np.unique(truth.amplitude[0]).size > 8


@pytest.mark.slow
def test_the_loads_give_gain_and_receiver_temperature(rich, tmp_path):
    simulate(rich, tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    hot, cold = np.moveaxis(counts(tmp_path / "s.zarr", "calibration")[:, 0], -1, 0)
    t_hot, t_cold = (truth.sky.load(t)[:, None, :] for t in (truth.t_hot, truth.t_cold))
    gamma = (hot - cold) / (t_hot - t_cold)
    np.testing.assert_allclose(gamma, truth.gain, rtol=1e-9)
    np.testing.assert_allclose(cold / gamma - t_cold, truth.t_rec_dsb, rtol=1e-7)
    np.testing.assert_allclose(truth.t_rec_ssb, 1.8 * truth.t_rec_dsb)


@pytest.mark.slow
def test_an_on_without_a_source_measures_the_system_temperature(rich, tmp_path):
    simulate(replace(rich, lines=()), tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    ons = counts(tmp_path / "s.zarr")[:, 0][..., truth.on_indices]
    np.testing.assert_allclose(ons / truth.gain[..., None], truth.t_sys(), rtol=1e-12)
    assert not truth.t_a_star().any()
    assert truth.t_a_star().shape == (24, 4, 2, 2, 3)


@pytest.mark.slow
def test_water_vapour_and_opacity(rich, tmp_path):
    drifting = replace(rich, atmosphere=replace(rich.atmosphere, pwv_per_hour=2.0))
    simulate(drifting, tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    np.testing.assert_allclose(truth.pwv, 0.5 + 2.0 * (truth.mjd - truth.mjd_start) * 24.0, atol=1e-6)
    assert truth.pwv_mm == pytest.approx(truth.pwv[~truth.on].mean())
    t_s, t_i = truth.transmission()
    on = truth.on_indices[1]
    tau = truth.sky.b_s * truth.pwv[on] + truth.sky.c_s
    np.testing.assert_allclose(-np.log(t_s[:, 1]) / truth.airmass[on], tau)
    assert t_i.shape == t_s.shape == (24, 3)
    assert truth.tau_signal.shape == truth.tau_image.shape == (24,)


@pytest.mark.slow
def test_what_is_read_is_what_was_true(rich, table, tmp_path):
    from cal_pipeline.heterodyne.simulate.forward import BandModel
    from cal_pipeline.heterodyne.simulate.plan import plan_session
    from cal_pipeline.heterodyne.simulate.truth import true_values

    faults = Faults(missing=(MissingDumps(1, dumps=(0,)),), dead=(DeadChannels(0, 2),))
    config = replace(rich, faults=faults)
    simulate(config, tmp_path / "s.zarr")
    read = read_truth(truth_path(tmp_path / "s.zarr"), 1)
    made = true_values(BandModel(config, plan_session(config)[0], 0, table))
    for part, other in ((read, made), (read.sky, made.sky)):
        for entry in fields(part):
            if entry.name == "profile":
                for share in fields(made.sky.profile):
                    ours, theirs = (getattr(sky.profile, share.name) for sky in (read.sky, made.sky))
                    np.testing.assert_array_equal(ours, theirs, share.name)
            elif entry.name != "sky":
                np.testing.assert_array_equal(getattr(part, entry.name), getattr(other, entry.name), entry.name)
    assert read.missing[0, :, :, 1].all()
    assert read.dead[:2].all()
    assert not read.dead[2:].any()


@pytest.mark.slow
def test_a_calibration_scan_has_a_truth_without_subscans(config, tmp_path):
    simulate(replace(config, scans=(Scan(calibration_only=True),)), tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    assert truth.on_indices.size == 0
    assert truth.t_sys().shape == (24, 2, 2, 0)
    assert truth.transmission()[0].shape == (24, 0)
    assert np.isnan(truth.pwv_mm)
    assert truth.gain.shape == (24, 2, 2)


@pytest.mark.slow
def test_bands_have_truths_of_their_own(config, receiver, tmp_path):
    other = replace(receiver, signal_freq=470e9, image_freq=482e9, channels=8)
    simulate(replace(config, receivers=(receiver, other)), tmp_path / "s.zarr")
    assert read_truth(tmp_path / "s.zarr", 1, band=1).gain.shape == (8, 2, 2)


@pytest.mark.slow
def test_an_unknown_scan_names_the_known_ones(config, tmp_path):
    simulate(config, tmp_path / "s.zarr")
    with pytest.raises(SimulationError, match=r"no scan_000009/band_0; it holds scan_000001/band_0"):
        read_truth(tmp_path / "s.zarr", 9)


@pytest.mark.slow
def test_single_sideband_truth(tmp_path, table_path, config):
    receiver = replace(config.receivers[0], image_gain=0.0)
    simulate(replace(config, receivers=(receiver,), lines=(Line(2.0),), loads=Loads()), tmp_path / "s.zarr")
    truth = read_truth(tmp_path / "s.zarr", 1)
    np.testing.assert_allclose(truth.t_a_star(), 2.0)
    assert np.isnan(truth.tau_image).all()
    assert np.isfinite(truth.t_sys()).all()
    assert preset("gbt_wband").receivers[0].image_gain == 0.0
