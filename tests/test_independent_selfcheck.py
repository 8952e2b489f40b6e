"""The second opinion must itself be right: tiny scans whose calibrated values are known by construction."""

from __future__ import annotations

import dataclasses

import asdf
import numpy as np
import pytest
import zarr
from helpers_l0 import write_array
from independent import (
    I32_MIN,
    PA_PER_TORR,
    PHYSICS,
    Options,
    evaluate_scan,
    interpolation_weights,
    look_up,
    running_mean,
)

from cal_pipeline import CalibrationPipeline

C, D = 8, 2
T_HOT, T_COLD, T_AMB, T_REC, GAIN, ZERO = 295.0, 75.0, 270.0, 150.0, 40.0, 1000.0
F_EFF, PWV, T_LINE = 0.94, 0.7, 1.5
ELEVATION = {"ON": 0.9, "OFF": 1.1}
NU_S, NU_I, STEP = 345.0e9, 357.0e9, 1.0e6
EXPTIME = {"ON": 2.0, "OFF": 3.0, "HOT": 1.0, "COLD": 1.0, "ZERO": 1.0}
B_WET, C_DRY = 0.4, 0.05


def J(nu, temperature):  # noqa: N802
    x = 6.62607015e-34 * nu / 1.380649e-23
    return x / np.expm1(x / temperature)


def sky(kind):
    """Antenna-side input of blank sky, equal in both sidebands' opacity."""
    t = np.exp(-(B_WET * PWV + C_DRY) / np.sin(np.float32(ELEVATION[kind])))
    total = 0.0
    for nu in frequencies():
        forward = F_EFF * (J(nu, T_AMB) * (1 - t) + J(nu, 2.725) * t)
        total = total + 0.5 * (forward + (1 - F_EFF) * J(nu, T_AMB))
    return total, t


def frequencies():
    shift = 2e6 + (np.arange(C) - 3) * STEP
    return NU_S + shift, NU_I - shift


def role(mode):
    return mode.rsplit("-")[-1]


def spectrum_of(kind):
    if kind == "ZERO":
        return np.full(C, ZERO)
    if kind in ("HOT", "COLD"):
        load = {"HOT": T_HOT, "COLD": T_COLD}[kind]
        t_in = sum(0.5 * J(nu, load) for nu in frequencies())
    else:
        # an ON sees the OFF's sky: only the line differs, attenuated along the ON's line of sight
        t_in, _ = sky("OFF")
        if kind == "ON":
            t_in = t_in + 0.5 * F_EFF * sky("ON")[1] * T_LINE
    return ZERO + GAIN * (T_REC + t_in)


def write_group(group, modes, scale=1.0, dtype="f8", missing=(), pixels=(1, 1), step=0.0, dumps=D):
    S = len(modes)
    data = np.empty((C, dumps, *pixels, S))
    for s, kind in enumerate(modes):
        data[..., s] = spectrum_of(role(kind))[:, None, None, None] / scale
        if kind.startswith("OTFSW"):
            data[:, 1, :, :, s] += step  # the second chop phase sees something else, ON and OFF alike
    data = data.astype(dtype)
    for d, s in missing:
        data[:, d, :, :, s] = I32_MIN
    write_array(group, "data_5d", data)
    if scale != 1:
        group["data_5d"].attrs["scale_factor"] = scale
    columns = {
        "mjd": (60000.0 + np.arange(S) * 1e-3, "f8"),
        "exptime": ([EXPTIME[role(m)] for m in modes], "f4"),
        "elevation": ([ELEVATION.get(role(m), 1.0) for m in modes], "f4"),
        "pamb": ([400.0] * S, "f4"),
        "tamb": ([T_AMB] * S, "f4"),
        "signal_freq": ([NU_S] * S, "f8"),
        "image_freq": ([NU_I] * S, "f8"),
        "freq_res": ([STEP] * S, "f8"),
        "freq_off": ([2e6] * S, "f8"),
        "ref_channel": ([3.0] * S, "f4"),
        "thot": ([T_HOT] * S, "f4"),
        "tcold": ([T_COLD] * S, "f4"),
        "otf_lon": (np.arange(S) * 0.1, "f8"),
    }
    for name, (values, kind) in columns.items():
        write_array(group, name, np.asarray(values, dtype=kind))
    ids = [f"HFAV_PX{i:02d}" for i in range(pixels[0] * pixels[1])]
    write_array(group, "sobsmode", modes)
    write_array(group, "frontend_backends", ids)


@pytest.fixture
def atmosphere(tmp_path):
    def write(c_dry=C_DRY):
        path = tmp_path / f"atm_{c_dry}.asdf"
        tree = {
            "frequency": {"start": 340e9, "step": 1e9, "n": 21},
            "pressure": np.array([400.0 * PA_PER_TORR * 0.9, 400.0 * PA_PER_TORR * 1.1]),
            "b": np.full((2, 21), B_WET, dtype="f4"),
            "c": np.full((2, 21), c_dry, dtype="f4"),
        }
        asdf.AsdfFile(tree).write_to(path)
        return path

    return write


@pytest.fixture
def session(tmp_path):
    def write(modes=("OFF", "ON", "OFF"), **kwargs):
        path = tmp_path / "session.zarr"
        with zarr.config.set({"async.concurrency": 1}):
            root = zarr.open_group(str(path), mode="w")
            scan = root.create_group("scan_000007", attributes={"scan_number": 7})
            write_group(scan.create_group("source"), list(modes), **kwargs)
            write_group(scan.create_group("calibration"), ["HOT", "COLD", "ZERO"], **kwargs)
        return path

    return write


@pytest.mark.parametrize(
    "strategy", ["full", *(pytest.param(s, marks=pytest.mark.slow) for s in ("per_pixel", "per_pair"))]
)
def test_noiseless_scan_gives_back_what_was_put_in(session, atmosphere, strategy):
    out = evaluate_scan(session(), 7, atmosphere(), forward_efficiency=F_EFF, strategy=strategy)
    shape = {"full": (), "per_pixel": (1, 1), "per_pair": (1, 1, 1)}[strategy]
    assert out["pwv"].shape == shape
    np.testing.assert_allclose(out["pwv"], PWV, rtol=1e-6)  # tables and elevations are f32
    np.testing.assert_allclose(out["spectra"], T_LINE, rtol=1e-6)
    np.testing.assert_allclose(out["t_rec_ssb"], 2 * T_REC, rtol=1e-9)
    np.testing.assert_allclose(out["gamma"], GAIN, rtol=1e-9)
    np.testing.assert_allclose(out["t_sky"][:, 0, 0], sky("OFF")[0], rtol=1e-9)
    np.testing.assert_allclose(out["sky_residual"], 0.0, atol=1e-3)
    t_sys = T_REC + sky("ON")[0]
    np.testing.assert_allclose(out["t_sys"][:, 0, 0, 0], t_sys, rtol=1e-6)
    # two OFFs of two dumps of 3 s, each counted half: 12 s in all; the ON's dump 2 s
    scale = t_sys / (0.5 * F_EFF * sky("ON")[1])
    expected = scale * np.sqrt((1 / 2.0 + 1 / 12.0) / STEP)
    np.testing.assert_allclose(out["sigma"][:, 0, 0, 0], expected, rtol=1e-6)
    assert out["t_int"] == pytest.approx([4.0])
    assert not out["flags"].any()
    assert out["pwv_converged"].all()


@pytest.mark.slow
def test_chopped_phases_are_referred_to_the_same_phase_of_the_beam_s_off(session, atmosphere):
    modes = ["OTFSWA-OFF", "OTFSWA-ON", "OTFSWB-ON", "OTFSWB-OFF", "OTFSWA-ON"]
    path = session(modes=modes, pixels=(2, 3), step=0.1)
    out = evaluate_scan(path, 7, atmosphere(), forward_efficiency=[F_EFF] * 3, strategy="per_pair")
    assert out["spectra"].shape == (C, D, 2, 3, 3)
    np.testing.assert_allclose(out["spectra"], T_LINE, rtol=1e-3)  # the step shifts the mean sky a little
    assert out["tau_signal"].shape == (C, 2, 3, 3)
    assert out["pixel"][1, 0] == "HFAV_PX03"
    np.testing.assert_allclose(out["otf_lon"], [[0.1, 0.2, 0.4]] * D)
    t_sys = out["t_sys"] / (0.5 * F_EFF * np.exp(-out["tau_signal"] / np.sin(ELEVATION["ON"])))
    np.testing.assert_allclose(out["sigma"], t_sys * np.sqrt((1 / 2 + 1 / 3) / STEP), rtol=1e-6)


@pytest.mark.slow
def test_integer_counts_and_a_missing_dump(session, atmosphere):
    path = session(scale=1e-4, dtype="i4", missing=[(1, 1)])
    out = evaluate_scan(path, 7, atmosphere(), forward_efficiency=F_EFF, strategy="fixed", pwv=PWV)
    assert (out["flags"][:, 1] == 2).all()
    assert np.isnan(out["spectra"][:, 1]).all()
    np.testing.assert_allclose(out["spectra"][:, 0], T_LINE, rtol=1e-4)
    assert out["t_int"] == pytest.approx([2.0])


@pytest.mark.slow
def test_opacity_below_the_limit_makes_the_channel_bad_at_the_on(session, atmosphere):
    out = evaluate_scan(session(), 7, atmosphere(), min_transmission=0.999, strategy="fixed", pwv=PWV)
    assert (out["flags"] == 1).all()
    assert np.isnan(out["sigma"]).all()
    assert np.isfinite(out["t_cal"]).all()


@pytest.mark.slow
def test_wet_opacity_error_is_that_error_in_pwv(session, atmosphere):
    """Without dry opacity and background a wrong b by 3 % is a PWV wrong by 3 %, in every channel alike."""
    out = evaluate_scan(session(), 7, atmosphere(0.0), forward_efficiency=F_EFF, physics="kalibrate_compat")
    assert out["pwv_err_model"] == pytest.approx(0.03 * out["pwv"], rel=1e-9)


@pytest.mark.slow
def test_pwv_error_of_a_single_off(session, atmosphere):
    """One OFF, flat spectra, no model error: the error of the mean over channels, divided by the slope."""
    path, c = session(modes=("OFF", "ON")), C
    out = evaluate_scan(path, 7, atmosphere(), forward_efficiency=F_EFF, model_error=0.0)
    t_in, _ = sky("OFF")
    hot, cold = (sum(0.5 * J(nu, t) for nu in frequencies()) for t in (T_HOT, T_COLD))
    a = (t_in - cold) / (hot - cold)
    variance = (T_REC + t_in) ** 2 / 6.0 + (a * (T_REC + hot)) ** 2 / 2.0
    variance = variance + ((1 - a) * (T_REC + cold)) ** 2 / 2.0
    air = 1 / np.sin(ELEVATION["OFF"])
    t = np.exp(-(B_WET * PWV + C_DRY) * air)
    contrast = sum(0.5 * (J(nu, T_AMB) - J(nu, 2.725)) for nu in frequencies())
    slope = F_EFF * contrast * air * B_WET * t
    expected = np.sqrt(np.mean(variance) / STEP / c) / np.mean(slope)
    assert out["pwv_err"] == pytest.approx(expected, rel=1e-4)


@pytest.mark.slow
def test_single_sideband(session, atmosphere):
    out = evaluate_scan(session(), 7, atmosphere(), image_gain=0.0, strategy="fixed", pwv=PWV)
    assert np.isnan(out["tau_image"]).all()
    hot, cold = J(out["signal_freqs"], T_HOT), J(out["signal_freqs"], T_COLD)
    np.testing.assert_allclose(out["t_cal"][:, 0, 0], hot - cold, rtol=1e-12)


@pytest.mark.slow
def test_frequencies(session, atmosphere):
    out = evaluate_scan(session(), 7, atmosphere(), strategy="fixed", pwv=PWV)
    assert out["signal_freqs"][3] == NU_S + 2e6
    assert out["image_freqs"][3] == NU_I - 2e6
    np.testing.assert_allclose(out["signal_freqs"] + out["image_freqs"], NU_S + NU_I, rtol=1e-15)


def test_interpolation_weights():
    mjd = np.array([0.0, 1.0, 4.0, 6.0])
    assert interpolation_weights(1, [0, 2, 3], mjd) == {0: 0.75, 2: 0.25}
    assert interpolation_weights(3, [0, 2], mjd) == {2: 1.0}
    assert interpolation_weights(1, [], mjd) == {}


def test_running_mean_skips_nan_and_is_cut_at_the_edges():
    values = np.arange(300.0)
    smooth = running_mean(values)
    assert smooth[150] == 150.0
    assert smooth[0] == 32.0  # channels 0 to 64
    values[10] = np.nan
    assert running_mean(values)[0] == pytest.approx((65 * 32 - 10) / 64)


def test_table_is_linear_in_frequency_and_logarithmic_in_pressure():
    grid, pressures = np.array([1.0, 2.0]), np.array([1.0, np.e**2])
    table = np.array([[1.0, 3.0], [4.0, 12.0]])
    assert look_up(table, grid, pressures, np.array([1.5]), np.e) == pytest.approx(4.0)  # sqrt(2 * 8)
    table[0] = 0.0
    assert look_up(table, grid, pressures, np.array([1.5]), np.e) == pytest.approx(4.0)  # (0 + 8) / 2
    with pytest.raises(ValueError, match="outside"):
        look_up(table, grid, pressures, np.array([2.1]), np.e)


def test_rayleigh_jeans_limit():
    x = PHYSICS["exact"].h_over_k * 1e9
    assert PHYSICS["exact"].J(np.array([1e9]), 300.0)[0] == pytest.approx(300.0 - x / 2, rel=1e-8)


def test_parameters_have_the_defaults_of_the_pipeline():
    steps = [CalibrationPipeline.step_defs[name] for name in ("loads", "gain", "prepare", "atmosphere", "calibrate")]
    theirs = {name: getattr(step, name) for step in (cls() for cls in steps) for name in type(step).load_spec_file()}
    theirs["gain_level"] = theirs["level"]
    mine = dataclasses.asdict(Options())
    del mine["saturation_counts"], mine["profile_t_cold"]  # These are of the telescope's profile.
    assert {name: theirs[name] for name in mine} == mine
