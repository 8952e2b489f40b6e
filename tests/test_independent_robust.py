"""The second opinion on odd data: sky lines in the fit, spikes, saturated and missing counts, names, later loads."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from independent import evaluate_scan, name_pixels
from independent.basics import leave_out_spikes, nanmean
from independent.counts import is_off, is_on
from independent.dump_noise import measure_dump_noise
from independent.pwv import gauss_newton_step
from test_independent_selfcheck import (
    B_WET,
    ELEVATION,
    F_EFF,
    GAIN,
    PWV,
    STEP,
    T_LINE,
    ZERO,
    C,
    atmosphere,
    session,
    spectrum_of,
    write_group,
)

__all__ = ["atmosphere", "session"]
OPTIONS = {"forward_efficiency": F_EFF, "pwv_grid_steps": 5}
FLAG = 256


def change(path, group="source", **changes):
    """Edit arrays of a scan: each change is a function of the values that returns the new ones."""
    for name, function in changes.items():
        array = zarr.open_array(path / "scan_000007" / group / name, mode="r+")
        array[...] = function(array[...])


def add_to(where, value):
    def function(counts):
        counts[where] += value
        return counts

    return function


@pytest.mark.slow
def test_a_line_in_the_sky_does_not_move_the_fit(session, atmosphere):
    path = session()
    change(path, data_5d=add_to(np.s_[3, :, :, :, [0, 2]], 20 * GAIN))
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS)
    assert out["pwv"] == pytest.approx(PWV, rel=1e-6)
    assert out["pwv_chi2"] == pytest.approx(0.0, abs=1e-3)
    assert np.flatnonzero(out["flags"][:, 0, 0, 0, 0]).tolist() == [3]
    assert (out["flags"][3] == FLAG).all()
    np.testing.assert_allclose(out["spectra"][np.arange(C) != 3], T_LINE, rtol=1e-6)
    assert np.isfinite(out["spectra"][3]).all()
    pulled = evaluate_scan(path, 7, atmosphere(), **OPTIONS, robust=False)
    assert pulled["pwv"] > 1.01 * PWV
    assert not pulled["flags"].any()


@pytest.mark.slow
@pytest.mark.parametrize(("offs", "flagged"), [([0], False), ([0, 2], True), ([0, 2, 4], True)])
def test_an_outlier_is_one_in_half_of_the_offs(offs, flagged, session, atmosphere):
    """Of four; an OFF in which nothing was fitted does not count."""
    path = session(modes=("OFF", "ON", "OFF", "ON", "OFF", "OFF"))
    change(path, data_5d=add_to(np.s_[3, :, :, :, offs], 20 * GAIN))
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS)
    assert (out["flags"][3] == (FLAG if flagged else 0)).all()
    # The other two have no valid dump: now one of two is half.
    change(path, data_5d=add_to(np.s_[..., [4, 5]], np.nan))
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS)
    assert (out["flags"][3] == FLAG).all()


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "per_pair", "fixed"])
def test_every_strategy_knows_outliers(strategy, session, atmosphere):
    path = session(pixels=(2, 1))
    change(path, data_5d=add_to(np.s_[3, :, 1, :, [0, 2]], 20 * GAIN))
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS, strategy=strategy, pwv=PWV)
    assert (out["flags"][3, :, 1] == FLAG).all()
    assert np.count_nonzero(out["flags"]) == out["flags"][3, :, 1].size
    np.testing.assert_allclose(out["pwv"], PWV, rtol=1e-6)


@pytest.mark.slow
def test_weights_of_noise(session, atmosphere):
    """Noise ten times the radiometric one: w counts in the scatter of the OFF itself, about its median."""
    path, rng = session(), np.random.default_rng(1)
    change(path, data_5d=lambda counts: counts + 40.0 * rng.standard_normal(counts.shape) * [1, 1, 3])
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS)
    pwv = float(out["pwv"])
    weight, total = [], 0.0
    for d in out["_sky_data"]:
        z = d.residual(pwv) / np.sqrt(d.variance_rad)
        scatter = 1.4826 * np.median(np.abs(z - np.median(z)))
        assert scatter > 2
        expected = np.clip(1 - ((z - np.median(z)) / (6 * scatter)) ** 2, 0, None) ** 2
        np.testing.assert_allclose(d.tukey(pwv), expected, rtol=1e-12)
        weight.append(expected / (d.variance_rad + d.sigma_mod(pwv, 0.03) ** 2))
        total += np.sum(weight[-1] * d.slope(pwv) * d.residual(pwv))
    # The PWV solves sum(w W S' r) = 0 with these weights.
    curvature = sum(np.sum(x * d.slope(pwv) ** 2) for x, d in zip(weight, out["_sky_data"], strict=True))
    assert abs(total / curvature) < 1e-12
    chi2 = sum(np.sum(x * d.residual(pwv) ** 2) for x, d in zip(weight, out["_sky_data"], strict=True))
    n = sum((x > 0).sum() for x in weight)
    assert 2 * C > n > C
    assert out["pwv_chi2"] == pytest.approx(chi2 / (n - 1), rel=1e-12)


@pytest.mark.slow
def test_every_nth_channel_tells_the_scatter(session, atmosphere):
    """Of 4096 channels the even ones; a sky that is wrong in all odd channels is thrown out."""
    (d, _) = evaluate_scan(session(), 7, atmosphere(), **OPTIONS)["_sky_data"]
    n = 4096
    for name in ("off_minus_hot", "gamma", "gamma_smooth", "a", "var_off", "var_hot", "var_cold", "tp_hot"):
        setattr(d, name, np.full(n, getattr(d, name)[0]))
    for band in d.model.sidebands:
        band.known.clear()
        band.nu = np.full(n, band.nu[0])
        band.b_up_to, band.c_up_to = (np.repeat(x[:, :1], n, axis=1) for x in (band.b_up_to, band.c_up_to))
    d.good = np.ones(n, dtype=bool)
    d.off_minus_hot[1::2] += 100 * GAIN
    w = d.tukey(PWV)
    np.testing.assert_allclose(w[::2], 1.0, rtol=1e-9)
    assert (w[1::2] == 0).all()
    assert d.good.all()


@pytest.mark.slow
def test_the_step_is_clamped_by_the_bounds(session, atmosphere):
    out = evaluate_scan(session(), 7, atmosphere(), **OPTIONS, pwv_max=0.5)
    assert out["pwv"] == 0.5
    free = evaluate_scan(session(), 7, atmosphere(), **OPTIONS)
    step = gauss_newton_step(free["_sky_data"], 0.69, free["_options"])
    assert step == pytest.approx(0.01, rel=0.05)


# ---------- spikes and missing counts


def test_spikes_are_left_out_of_means():
    samples = np.array([[100.0, 101.0, 99.0, 5000.0], [100.0, np.nan, np.nan, 5000.0], [7.0, np.nan, 7.0, 70.0]])
    exptime = np.full(4, 1.0)
    kept = leave_out_spikes(samples, exptime, 1e4, 10.0)
    np.testing.assert_allclose(nanmean(kept, axis=1), [100.0, 2550.0, 7.0])
    assert np.isfinite(kept).sum() == 7
    np.testing.assert_array_equal(leave_out_spikes(samples, exptime, 1e4, 0.0), samples)
    # Equal counts: the noise expected of them is what a spike is compared with, here 1.
    for excess, mean in ((9.9, 103.3), (10.1, 100.0)):
        kept = leave_out_spikes(np.array([[100.0, 100.0, 100.0 + excess]]), np.full(3, 1e4), 1.0, 10.0)
        np.testing.assert_allclose(nanmean(kept, axis=1), mean)


@pytest.mark.slow
@pytest.mark.parametrize("clip_sigma", [10.0, 0.0])
def test_spikes_in_loads_and_offs(clip_sigma, session, atmosphere):
    path = session(modes=("OFF", "ON", "OFF"))
    with zarr.config.set({"async.concurrency": 1}):
        scan = zarr.open_group(path / "scan_000007", mode="r+")
        for name, modes in (("source", ["OFF", "ON", "OFF"]), ("calibration", ["HOT", "HOT", "COLD", "COLD", "ZERO"])):
            del scan[name]
            write_group(scan.create_group(name), modes, dumps=3)
    # One dump of six of the hot load, one of three of an OFF.
    change(path, "calibration", data_5d=add_to(np.s_[2, 0, 0, 0, 1], 1e4))
    change(path, data_5d=add_to(np.s_[5, 1, 0, 0, 2], 1e4))
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS, clip_sigma=clip_sigma)
    if clip_sigma:
        np.testing.assert_allclose(out["spectra"], T_LINE, rtol=1e-6)
        assert out["_loads"][0, 0].spikes == 1
        assert out["_off_spikes"] == {(0, 0): 1}
    else:
        assert abs(out["spectra"][2, 0, 0, 0, 0] / T_LINE - 1) > 0.1
        assert abs(out["spectra"][5, 0, 0, 0, 0] / T_LINE - 1) > 0.1


@pytest.mark.slow
def test_dumps_of_a_chopped_off_are_phases(session, atmosphere):
    """Dumps that differ between the phases are sky, not spikes."""
    path = session(modes=["OTFSWA-OFF", "OTFSWA-ON"])
    with zarr.config.set({"async.concurrency": 1}):
        scan = zarr.open_group(path / "scan_000007", mode="r+")
        del scan["source"]
        write_group(scan.create_group("source"), ["OTFSWA-OFF", "OTFSWA-ON"], dumps=4, step=1000.0)
    out = evaluate_scan(path, 7, atmosphere(), **OPTIONS, robust=False)
    assert out["_off_spikes"] == {(0, 0): 0}
    np.testing.assert_allclose(out["_off_mean"][0, 0, 0], spectrum_of("OFF") - ZERO + 250.0)


@pytest.mark.slow
def test_missing_and_saturated_counts(session, atmosphere):
    path = session(scale=1e-4, dtype="i4")
    array = zarr.open_array(path / "scan_000007/source/data_5d", mode="r+")
    array.attrs["_FillValue"] = 17
    array.attrs["add_offset"] = 0.0
    counts = array[...]
    counts[0][0, 0, 0, 1] = np.iinfo("i4").max
    counts[1][0, 0, 0, 1] = np.iinfo("i4").min
    counts[2][0, 0, 0, 1] = 17
    array[...] = counts
    given = OPTIONS | {"strategy": "fixed", "pwv": PWV}
    out = evaluate_scan(path, 7, atmosphere(), **given)
    assert out["flags"][:, 0, 0, 0, 0].tolist() == [2, 2, 2, 0, 0, 0, 0, 0]
    # A line so strong that the stored counts reach the limit.
    limit = 10**9  # more than the loads give
    counts[5, 0, 0, 0, 1] = limit
    array[...] = counts
    saturated = evaluate_scan(path, 7, atmosphere(), **given, saturation_counts=limit)
    assert saturated["flags"][5, 0, 0, 0, 0] == 2
    above = evaluate_scan(path, 7, atmosphere(), **given, saturation_counts=limit + 1)
    assert above["flags"][5, 0, 0, 0, 0] == 0


def test_names_of_pixels():
    assert name_pixels(["A", "B", "A", "C"], 4, 9).tolist() == ["A_0", "B", "A_1", "C"]
    assert name_pixels(["A", "A", "B", "A"], 2, 4).tolist() == ["A", "B"]
    assert name_pixels(["A"] * 5, 3, 5).tolist() == ["A_0", "A_1", "A_2"]
    assert name_pixels(["A"] * 5, 1, 5).tolist() == ["A"]
    for ids in (["A", "B", "A"], ["A"] * 4):
        with pytest.raises(ValueError, match="pixel ids"):
            name_pixels(ids, 5, 3)


def test_phases_are_exact():
    assert is_on("SWA-ON")
    assert is_on("OTFSWB-ON")
    assert is_off("OTF-OFF")
    for mode in ("MY-ON", "on", "ONE", "PSW-ON", "OFF-ON"):
        assert not is_on(mode)


# ---------- loads after the scan


@pytest.fixture
def later(tmp_path):
    """Loads an hour later, of another gain."""

    def write(drift):
        path = tmp_path / "later.zarr"
        with zarr.config.set({"async.concurrency": 1}):
            scan = zarr.open_group(str(path), mode="w").create_group("scan_000008", attributes={"scan_number": 8})
            write_group(scan.create_group("calibration"), ["HOT", "COLD", "ZERO"])
        for name, values in (("data_5d", lambda x: (x - ZERO) * (1 + drift) + ZERO), ("mjd", lambda x: x + 1 / 24)):
            array = zarr.open_array(path / "scan_000008/calibration" / name, mode="r+")
            array[...] = values(array[...])
        return path, 8

    return write


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "drift", "error"), [(0, -0.05, 0.025), (2, 0.05, 0.025), (3, -0.05, 0.01), (3, 0.001, 0.002)]
)
def test_error_of_the_gain_with_later_loads(level, drift, error, session, later, atmosphere):
    out = evaluate_scan(session(), 7, atmosphere(), **OPTIONS, gain_level=level, following=later(drift))
    assert out["_inputs"][0, 0]["gain"] == pytest.approx(error, rel=1e-9)


@pytest.mark.slow
def test_error_of_the_gain_without_later_loads(session, later, atmosphere):
    """The square root of the time from the loads (HOT at 0, COLD at 86.4 s) to the ON (86.4 s)."""
    out = evaluate_scan(session(), 7, atmosphere(), **OPTIONS)
    assert out["_inputs"][0, 0]["gain"] == pytest.approx(0.01 * np.sqrt(43.2 / 900), rel=1e-6)
    path, scan = later(0.02)
    change_all = zarr.open_array(path / "scan_000008/calibration/data_5d", mode="r+")
    change_all[...] = np.full(change_all.shape, np.nan)
    out = evaluate_scan(session(), 7, atmosphere(), **OPTIONS, gain_level=3, following=(path, scan))
    assert out["_inputs"][0, 0]["gain"] == pytest.approx(0.01 * np.sqrt(43.2 / 900), rel=1e-6)
    assert not out["flags"].any()


@pytest.mark.slow
def test_channels_that_later_loads_cannot_calibrate(session, later, atmosphere):
    path, scan = later(0.02)
    array = zarr.open_array(path / "scan_000008/calibration/data_5d", mode="r+")
    array[4] = np.full(array[4].shape, ZERO)
    for level, bad in ((0, 0), (3, 1)):
        out = evaluate_scan(session(), 7, atmosphere(), **OPTIONS, gain_level=level, following=(path, scan))
        assert (out["flags"][4] == bad).all()
        assert np.isnan(out["scale_error"][4]).all() == bool(bad)
        assert np.isfinite(np.delete(out["scale_error"], 4, axis=0)).all()


def test_scale_error_of_a_scan_in_one_layer(session, atmosphere):
    """By hand for a given PWV: the PWV itself, the loads and the forward efficiency."""
    out = evaluate_scan(session(), 7, atmosphere(), **OPTIONS, strategy="fixed", pwv=PWV)
    wet = 0.1 * PWV * B_WET / np.sin(ELEVATION["ON"])
    assert out["scale_error_terms"][8, 0, 0] == pytest.approx(wet, rel=1e-6)
    assert out["scale_error_terms"][0, 0, 0] == pytest.approx(0.02 / F_EFF, rel=1e-9)
    assert out["scale_error_terms"][4, 0, 0] == 0.0
    assert out["scale_error_terms"][1, 0, 0] == pytest.approx(1 / 220, rel=5e-3)  # almost Rayleigh-Jeans
    assert out["scale_error_terms"][2, 0, 0] == pytest.approx(2 / 220, rel=5e-3)
    assert STEP > 0


# ---------- figures


@pytest.mark.slow
def test_noise_from_dump_to_dump(session, atmosphere):
    """Twice the noise of the radiometer equation in all channels, ten times in one; all change together, too."""
    loads, n, rng = evaluate_scan(session(), 7, atmosphere(), **OPTIONS)["_loads"][0, 0], 400, np.random.default_rng(2)
    level, factor = np.linspace(6000.0, 8000.0, C), np.where(np.arange(C) == 5, 10.0, 2.0)
    common = 50.0 * loads.gamma[:, None] * rng.standard_normal(n)
    offs = [
        level[:, None] * (1 + factor[:, None] * rng.standard_normal((C, n)) / np.sqrt(STEP * seconds)) + common
        for seconds in (1.0, 4.0)
    ]
    offs[1][:, 7] = np.nan
    found = measure_dump_noise(offs, [1.0, 4.0], loads, STEP)
    # All channels have the mean expectation of their neighbours.
    expected = factor**2 * level**2 / np.mean(level**2)
    np.testing.assert_allclose(found.ratio, expected, rtol=0.35)
    assert np.flatnonzero(found.noisy).tolist() == [5]
    assert found.figure == np.median(found.ratio)


@pytest.mark.slow
def test_figures_of_water_and_references(session, atmosphere):
    """The second OFF has 0.01 mm more water than the first; the OFFs are on one side of the second ON."""
    path, step = session(modes=("OFF", "ON", "OFF", "ON")), 0.01
    before = evaluate_scan(path, 7, atmosphere(), **OPTIONS)
    slope = before["_sky_data"][1].slope(PWV)
    change(path, data_5d=add_to(np.s_[..., 2], (GAIN * step * slope)[:, None, None, None]))
    found = evaluate_scan(path, 7, atmosphere(), **OPTIONS)["_figures"]
    opacity = B_WET / np.sin(ELEVATION["ON"])
    np.testing.assert_allclose(found["off_scatter"], opacity * step / np.sqrt(2), rtol=0.01)
    np.testing.assert_allclose(found["off_minus_off"], 0.0, atol=1e-9)
    np.testing.assert_allclose(found["pwv_pixel_spread"], 0.0, atol=1e-9)
    np.testing.assert_allclose(found["ref_extrapolated"], 0.5)
    np.testing.assert_allclose(found["load_age_s"], 3 * 86.4 - 43.2, rtol=1e-6)  # of the last ON
    assert np.isnan(found["sky_misfit_K"]).all()  # too few channels for a block
