"""The second opinion on a sky in layers: scans known by construction, and its derivatives to its inputs."""

from __future__ import annotations

import asdf
import numpy as np
import pytest
import zarr
from independent import PA_PER_TORR, evaluate_scan, read_atmosphere
from test_independent_selfcheck import (
    ELEVATION,
    F_EFF,
    GAIN,
    PWV,
    T_AMB,
    T_COLD,
    T_HOT,
    T_LINE,
    T_REC,
    J,
    frequencies,
    role,
    write_group,
)

MODES = ["OFF", "ON", "OFF"]
B = np.array([0.1, 0.25, 0.4])  # Np/mm up to the top of each layer
C = np.array([0.01, 0.03, 0.05])  # Np, likewise
OFFSET = np.array([-2.0, -15.0, -45.0])  # K
GAINS = [1.0, 0.4]  # of the image band, in each of two arrays
TABLE_PRESSURE = 400.0 * PA_PER_TORR * np.array([0.9, 1.1])
FREE = {"strategy": "full", "forward_efficiency": F_EFF, "image_gain": GAINS}
GIVEN = FREE | {"strategy": "fixed", "pwv": PWV}


def sky_from_above(kind):
    """Brightness [K] at the telescope in both sidebands, followed down through the layers, and the transmission."""
    airmass = 1 / np.sin(np.float32(ELEVATION[kind]))
    depth = np.diff(B * PWV + C, prepend=0.0) * airmass
    seen = []
    for nu in frequencies():
        brightness = J(nu, 2.725)
        for tau, offset in zip(depth[::-1], OFFSET[::-1], strict=True):
            brightness = brightness * np.exp(-tau) + J(nu, T_AMB + offset) * -np.expm1(-tau)
        seen.append(F_EFF * brightness + (1 - F_EFF) * J(nu, T_AMB))
    return seen, np.exp(-depth.sum())


def counts_of(kind, gain):
    weights = 1 / (1 + gain), gain / (1 + gain)
    if kind == "ZERO":
        return np.zeros(len(frequencies()[0]))
    if kind in ("HOT", "COLD"):
        bands = [J(nu, {"HOT": T_HOT, "COLD": T_COLD}[kind]) for nu in frequencies()]
    else:
        bands, _ = sky_from_above("OFF")
        if kind == "ON":
            bands[0] = bands[0] + F_EFF * sky_from_above("ON")[1] * T_LINE
    return GAIN * (T_REC + sum(w * band for w, band in zip(weights, bands, strict=True)))


@pytest.fixture
def session(tmp_path):
    path = tmp_path / "layers.zarr"
    with zarr.config.set({"async.concurrency": 1}):
        scan = zarr.open_group(str(path), mode="w").create_group("scan_000007", attributes={"scan_number": 7})
        for name, modes in (("source", MODES), ("calibration", ["HOT", "COLD", "ZERO"])):
            group = scan.create_group(name)
            write_group(group, modes, pixels=(1, len(GAINS)))
            for s, mode in enumerate(modes):
                for a, gain in enumerate(GAINS):
                    group["data_5d"][:, :, 0, a, s] = counts_of(role(mode), gain)[:, None]
    return path


@pytest.fixture
def table(tmp_path):
    def write(b=B, c=C, offset=OFFSET):
        path = tmp_path / "layers.asdf"
        tree = {
            "version": 2,
            "frequency": {"start": 340e9, "step": 1e9, "n": 21},
            "pressure": TABLE_PRESSURE,
            "b": np.broadcast_to(np.asarray(b, dtype="f4")[None, :, None], (2, len(b), 21)).copy(),
            "c": np.broadcast_to(np.asarray(c, dtype="f4")[None, :, None], (2, len(c), 21)).copy(),
            "layer_offset": np.broadcast_to(offset, (2, len(b))).astype(float).copy(),
            "layer_top_km": np.arange(1.0, len(b) + 1),
        }
        asdf.AsdfFile(tree).write_to(path)
        return path

    return write


def test_layers_and_gains_of_each_array_give_back_what_was_put_in(session, table):
    out = evaluate_scan(session, 7, table(), **FREE)
    np.testing.assert_allclose(out["pwv"], PWV, rtol=1e-6)  # tables and elevations are f32
    np.testing.assert_allclose(out["spectra"], T_LINE, rtol=1e-6)
    np.testing.assert_allclose(out["t_rec_ssb"][0, 0], T_REC * (1 + np.array(GAINS)), rtol=1e-9)
    np.testing.assert_allclose(out["sky_residual"], 0.0, atol=1e-5)


def test_one_layer_takes_a_layered_sky_for_a_clearer_one(session, table):
    """The fault that layers are for: emission of cold air looks like less opacity."""
    isothermal = evaluate_scan(session, 7, table(), **FREE, t_atm=T_AMB)
    assert isothermal["pwv"] < 0.95 * PWV
    assert (isothermal["spectra"] < 0.99 * T_LINE).all()


@pytest.mark.parametrize("physics", ["exact", "kalibrate_compat"])
def test_layers_at_one_temperature_are_one_layer(session, table, physics):
    """However the opacity is divided; kalibrate_compat divides none."""
    offset = OFFSET if physics == "kalibrate_compat" else 0.0 * OFFSET
    many = evaluate_scan(session, 7, table(offset=offset), **FREE, physics=physics)
    one = evaluate_scan(session, 7, table(B[-1:], C[-1:], [0.0]), **FREE, physics=physics)
    for name in ("pwv", "spectra", "t_sys", "sigma", "sky_residual", "pwv_err", "pwv_err_model", "pwv_chi2"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-10, atol=1e-10, err_msg=name)


def test_a_warmer_ground_is_a_shift_of_all_offsets(session, table):
    # Without model_error, whose weight counts from the ground's temperature.
    shifted = evaluate_scan(session, 7, table(offset=OFFSET + 3.0), **FREE, model_error=0.0)
    warmer = evaluate_scan(session, 7, table(), **FREE, model_error=0.0, t_ground=T_AMB + 3.0)
    np.testing.assert_allclose(warmer["pwv"], shifted["pwv"], rtol=1e-12)
    np.testing.assert_allclose(warmer["spectra"], shifted["spectra"], rtol=1e-12)


def test_offsets_are_linear_in_the_logarithm_of_the_pressure(table):
    path = table()
    with asdf.open(path, mode="rw", memmap=False) as file:
        file["layer_offset"] = np.array([[-2.0, -15.0, -45.0], [-4.0, -15.0, -49.0]])
        file["b"][1] = file["b"][1] * 4.0
        file.update()
    middle = float(np.sqrt(TABLE_PRESSURE.prod()))
    b, c, offset = read_atmosphere(path).layers(np.array([345.5e9]), middle)
    np.testing.assert_allclose(offset, [-3.0, -15.0, -47.0], rtol=1e-12)
    np.testing.assert_allclose(b[:, 0], 2 * B, rtol=1e-6)
    np.testing.assert_allclose(c[:, 0], C, rtol=1e-6)


def test_the_slope_is_the_derivative_of_the_sky(session, table):
    for d in evaluate_scan(session, 7, table(), **FREE)["_sky_data"]:
        above, below = (d.model.sky(p, d.airmass, d.t_ground, d.t_spill) for p in (PWV + 1e-5, PWV - 1e-5))
        slope = d.model.sky_slope(PWV, d.airmass, d.t_ground)
        np.testing.assert_allclose(slope, (above - below) / 2e-5, rtol=1e-8)


# ---------- how far T_A* moves with each input: all of the evaluation against the implicit function of the fit


def moved(session, path, options, change):
    """d ln T_A* / d x [A] of the whole evaluation, by central differences; `change(x)` gives its options."""
    step = change.step
    high, low = (evaluate_scan(session, 7, path, **(options | change(sign * step))) for sign in (1, -1))
    return (np.log(high["spectra"] / low["spectra"]) / (2 * step))[0, 0, 0, :, 0]


def expected(session, path, direct, of_residual):
    """Direct effect [A] and what comes by the PWV: airmass b sum(W S' dr/dx) / sum(W S'^2).

    At the minimum sum(W S' r) = 0 for every x. As r = 0 in a scan without noise, W and S' do not move it.
    """
    out = evaluate_scan(session, 7, path, **FREE)
    up = down = 0.0
    for d in out["_sky_data"]:
        response = d.weight(PWV, 0.03) * d.slope(PWV)
        up += np.sum(response * of_residual(d))
        down += np.sum(response * d.slope(PWV))
    return direct(out) + B[-1] / np.sin(ELEVATION["ON"]) * up / down


class Change:
    """Options as a function of a small change of one input."""

    def __init__(self, step, options):
        self.step, self.options = step, options

    def __call__(self, x):
        return self.options(x)


def test_pwv_moves_t_a_star_by_airmass_times_b(session, table):
    change = Change(1e-4, lambda x: {"pwv": PWV + x})
    np.testing.assert_allclose(moved(session, table(), GIVEN, change), B[-1] / np.sin(ELEVATION["ON"]), rtol=1e-6)


def test_forward_efficiency_moves_the_fit_too(session, table):
    change = Change(1e-5, lambda x: {"forward_efficiency": F_EFF + x})

    def of_residual(d):
        sky = sum(s.weight * d.model.emission(s, PWV, d.airmass, d.t_ground) for s in d.model.sidebands)
        return d.model.load(d.t_spill) - sky

    np.testing.assert_allclose(moved(session, table(), GIVEN, change), -1 / F_EFF, rtol=1e-6)
    wanted = expected(session, table(), lambda out: -1 / F_EFF, of_residual)
    np.testing.assert_allclose(moved(session, table(), FREE, change), wanted, rtol=1e-4)


def test_ground_temperature_moves_the_fit_alone(session, table):
    change = Change(1e-3, lambda x: {"t_ground": T_AMB + x})

    def of_residual(d):
        high, low = (d.model.sky(PWV, d.airmass, d.t_ground + x, d.t_spill) for x in (1e-3, -1e-3))
        return -(high - low) / 2e-3

    np.testing.assert_allclose(moved(session, table(), GIVEN, change), 0.0, atol=1e-12)
    wanted = expected(session, table(), lambda out: 0.0, of_residual)
    np.testing.assert_allclose(moved(session, table(), FREE, change), wanted, rtol=1e-4)


@pytest.mark.parametrize("load", ["thot", "tcold"])
def test_temperature_of_a_load_moves_contrast_and_fit(session, table, load):
    """d r / d T'_hot = a and d r / d T'_cold = 1 - a, with a = (OFF - COLD) / (HOT - COLD)."""
    known = {"thot": T_HOT, "tcold": T_COLD}[load]
    slope = [
        sum(
            w * (J(nu, known + 1e-3) - J(nu, known - 1e-3)) / 2e-3 for w, nu in zip(weights, frequencies(), strict=True)
        )
        for weights in ((1 / (1 + g), g / (1 + g)) for g in GAINS)
    ]

    def direct(out):
        sign = 1 if load == "thot" else -1
        return np.array([(sign * s / (L.tp_hot - L.tp_cold))[0] for s, L in zip(slope, loads(out), strict=True)])

    def of_residual(d):
        return slope[d.pixel[2]] * (d.a if load == "thot" else 1 - d.a)

    path, wanted = table(), expected(session, table(), direct, of_residual)
    found = {}
    for sign in (1, -1):
        column = zarr.open_array(session / "scan_000007/calibration" / load, mode="r+")
        column[:] = np.float32(known + sign * 0.0625)  # exact in 32 bits
        found[sign] = np.log(evaluate_scan(session, 7, path, **FREE)["spectra"][0, 0, 0, :, 0])
    np.testing.assert_allclose((found[1] - found[-1]) / 0.125, wanted, rtol=1e-3)


def test_image_gain_moves_weights_contrast_and_fit(session, table):
    """Counts stay; of an array, the loads, the sky and the weight of the signal band follow the gain taken for it."""
    change = Change(1e-5, lambda x: {"image_gain": [g + x for g in GAINS]})

    def by_gain(function, g):
        high, low = (function(1 / (1 + g + x), (g + x) / (1 + g + x)) for x in (1e-5, -1e-5))
        return (high - low) / 2e-5

    def contrast(signal, image):
        return sum(w * (J(nu, T_HOT) - J(nu, T_COLD)) for w, nu in zip((signal, image), frequencies(), strict=True))

    def direct(out):
        return np.array([by_gain(lambda s, i: np.log(contrast(s, i) / s)[0], g) for g in GAINS])

    def of_residual(d):
        def residual(signal, image):
            hot = sum(w * J(nu, T_HOT) for w, nu in zip((signal, image), frequencies(), strict=True))
            sky = sum(w * x for w, x in zip((signal, image), sky_from_above("OFF")[0], strict=True))
            return hot + (d.a - 1) * contrast(signal, image) - sky

        return by_gain(residual, GAINS[d.pixel[2]])

    np.testing.assert_allclose(moved(session, table(), GIVEN, change), direct(None), rtol=1e-6)
    wanted = expected(session, table(), direct, of_residual)
    np.testing.assert_allclose(moved(session, table(), FREE, change), wanted, rtol=1e-4)


def loads(out):
    return [out["_loads"][0, a] for a in range(len(GAINS))]
