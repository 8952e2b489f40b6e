"""The second opinion on a sky in layers: scans known by construction, and how far T_A* moves with each input."""

from __future__ import annotations

import itertools

import asdf
import numpy as np
import pytest
import zarr
from independent import PA_PER_TORR, TERMS, evaluate_scan, read_atmosphere
from test_independent_selfcheck import (
    ELEVATION,
    F_EFF,
    GAIN,
    PWV,
    STEP,
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
SLOW = pytest.mark.slow
COUPLING = 0.9  # of the hot load
TABLE_PRESSURE = 400.0 * PA_PER_TORR * np.array([0.9, 1.1])
FREE = {
    "strategy": "full",
    "forward_efficiency": F_EFF,
    "image_gain": GAINS,
    "hot_coupling": COUPLING,
    "pwv_grid_steps": 5,
}
GIVEN = FREE | {"strategy": "fixed", "pwv": PWV}


GRID = 340e9 + 1e9 * np.arange(21)


def shape(nu):
    """Opacity relative to that at 345 GHz."""
    return 1 + 0.02 * (nu - 345e9) / 1e9


def sky_from_above(kind):
    """Brightness [K] at the telescope in both sidebands, followed down through the layers, and the transmissions."""
    airmass = 1 / np.sin(float(np.float32(ELEVATION[kind])))
    depth = np.diff(B * PWV + C, prepend=0.0) * airmass
    seen, through = [], []
    for nu in frequencies():
        brightness = J(nu, 2.725)
        for tau, offset in zip(depth[::-1], OFFSET[::-1], strict=True):
            brightness = brightness * np.exp(-tau * shape(nu)) - J(nu, T_AMB + offset) * np.expm1(-tau * shape(nu))
        seen.append(F_EFF * brightness + (1 - F_EFF) * J(nu, T_AMB))
        through.append(np.exp(-depth.sum() * shape(nu)))
    return seen, through


def counts_of(kind, gain):
    weights = 1 / (1 + gain), gain / (1 + gain)
    if kind == "ZERO":
        return np.zeros(len(frequencies()[0]))
    if kind in ("HOT", "COLD"):
        bands = [J(nu, {"HOT": T_HOT, "COLD": T_COLD}[kind]) for nu in frequencies()]
        if kind == "HOT":
            bands = [COUPLING * x + (1 - COUPLING) * J(nu, T_AMB) for x, nu in zip(bands, frequencies(), strict=True)]
    else:
        bands, _ = sky_from_above("OFF")
        if kind == "ON":
            bands[0] = bands[0] + F_EFF * sky_from_above("ON")[1][0] * T_LINE
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
            "b": np.array([np.outer(b, shape(GRID))] * 2),  # as it is, not rounded to 32 bits
            "c": np.array([np.outer(c, shape(GRID))] * 2),
            "layer_offset": np.broadcast_to(offset, (2, len(b))).astype(float).copy(),
            "layer_top_km": np.arange(1.0, len(b) + 1),
        }
        asdf.AsdfFile(tree).write_to(path)
        return path

    return write


def test_layers_and_gains_of_each_array_give_back_what_was_put_in(session, table):
    out = evaluate_scan(session, 7, table(), **FREE)
    np.testing.assert_allclose(out["pwv"], PWV, rtol=1e-10)
    np.testing.assert_allclose(out["spectra"], T_LINE, rtol=1e-10)
    np.testing.assert_allclose(out["t_rec_ssb"][0, 0], T_REC * (1 + np.array(GAINS)), rtol=1e-9)
    np.testing.assert_allclose(out["sky_residual"], 0.0, atol=1e-8)


@pytest.mark.slow
def test_one_layer_takes_a_layered_sky_for_a_clearer_one(session, table):
    """The fault that layers are for: emission of cold air looks like less opacity."""
    isothermal = evaluate_scan(session, 7, table(), **FREE, t_atm=T_AMB)
    assert isothermal["pwv"] < 0.95 * PWV
    assert (isothermal["spectra"] < 0.99 * T_LINE).all()


@pytest.mark.slow
@pytest.mark.parametrize("physics", ["exact", "kalibrate_compat"])
def test_layers_at_one_temperature_are_one_layer(session, table, physics):
    """However the opacity is divided; kalibrate_compat divides none."""
    offset = OFFSET if physics == "kalibrate_compat" else 0.0 * OFFSET
    many = evaluate_scan(session, 7, table(offset=offset), **FREE, physics=physics)
    one = evaluate_scan(session, 7, table(B[-1:], C[-1:], [0.0]), **FREE, physics=physics)
    for name in ("pwv", "spectra", "t_sys", "sigma", "sky_residual", "pwv_err", "pwv_err_model", "pwv_chi2"):
        np.testing.assert_allclose(many[name], one[name], rtol=1e-10, atol=1e-10, err_msg=name)


@pytest.mark.slow
def test_a_warmer_ground_is_a_shift_of_all_offsets(session, table):
    shifted = evaluate_scan(session, 7, table(offset=OFFSET + 3.0), **FREE)
    warmer = evaluate_scan(session, 7, table(), **FREE, t_ground=T_AMB + 3.0)
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
    np.testing.assert_allclose(b[:, 0], 2 * B * shape(345.5e9), rtol=1e-12)
    np.testing.assert_allclose(c[:, 0], C * shape(345.5e9), rtol=1e-12)


def test_the_slope_is_the_derivative_of_the_sky(session, table):
    for d in evaluate_scan(session, 7, table(), **FREE)["_sky_data"]:
        above, below = (d.model.sky(p, d.airmass, d.t_ground, d.t_spill) for p in (PWV + 1e-5, PWV - 1e-5))
        slope = d.model.sky_slope(PWV, d.airmass, d.t_ground)
        np.testing.assert_allclose(slope, (above - below) / 2e-5, rtol=1e-8)


@pytest.mark.slow
def test_the_model_error_is_the_slope_of_the_sky_to_a_factor_of_all_opacities(session, table):
    """Of the sky's own emission: what is beyond it is left out."""
    changed = {
        x: evaluate_scan(session, 7, table(b=B * (1 + x), c=C * (1 + x)), **FREE)["_sky_data"] for x in (1e-5, -1e-5)
    }
    for above, below in zip(*changed.values(), strict=True):
        skies = []
        for d in (above, below):
            through = d.model.weigh([s.transmission(PWV, d.airmass) * J(s.nu, 2.725) for s in d.model.sidebands])
            skies.append(d.model.sky(PWV, d.airmass, d.t_ground, d.t_spill) - F_EFF * through)
        sigma = above.model.sigma_mod(PWV, above.airmass, above.t_ground, 0.03)
        np.testing.assert_allclose(sigma, 0.03 * (skies[0] - skies[1]) / 2e-5, rtol=1e-4)


# ---------- how far T_A* moves with each input: central differences of the whole evaluation


def with_options(function):
    return lambda session, table, options, x: evaluate_scan(session, 7, table(), **(options | function(x)))


def with_table(function):
    return lambda session, table, options, x: evaluate_scan(session, 7, table(**function(x)), **options)


def with_gain(session, table, options, x):
    """The source measured with another gain than the loads."""
    counts = zarr.open_array(session / "scan_000007/source/data_5d", mode="r+")
    before = counts[...]
    counts[...] = before * (1 + x)
    out = evaluate_scan(session, 7, table(), **options)
    counts[...] = before
    return out


CHANGES = {
    "forward_efficiency": (1e-5, with_options(lambda x: {"forward_efficiency": F_EFF + x})),
    "t_hot": (1e-3, with_options(lambda x: {"hot_offset": x})),
    "t_cold": (1e-3, with_options(lambda x: {"cold_offset": x})),
    "image_gain": (1e-5, with_options(lambda x: {"image_gain": [g * np.exp(x) for g in GAINS]})),
    "t_ground": (1e-3, with_options(lambda x: {"t_ground": T_AMB + x})),
    "profile": (1e-5, with_table(lambda x: {"offset": OFFSET * (1 + x)})),
    "dry_opacity": (1e-5, with_table(lambda x: {"c": C * (1 + x)})),
    "gain": (1e-6, with_gain),
}
INPUTS = {"forward_efficiency": 0.02, "t_hot": 1.0, "t_cold": 2.0, "image_gain": 0.05, "t_ground": 2.0, "profile": 0.2}
INPUTS |= {"dry_opacity": 0.1, "gain": 0.01 * np.sqrt(1e-3 * 86400 / 900 / 2), "load_noise": 1.0}
QUICK = [("image_gain", "full"), ("t_ground", "full"), ("t_hot", "fixed")]
STRATEGIES = {"fixed": GIVEN} | {name: FREE | {"strategy": name} for name in ("full", "per_pixel", "per_pair")}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        pytest.param(name, strategy, marks=() if (name, strategy) in QUICK else SLOW)
        for name, strategy in itertools.product(CHANGES, STRATEGIES)
    ],
)
def test_each_error_is_the_change_of_the_spectra(name, strategy, session, table):
    step, evaluate = CHANGES[name]
    options = STRATEGIES[strategy]
    out = evaluate_scan(session, 7, table(), **options)
    high, low = (evaluate(session, table, options, x) for x in (step, -step))
    slope = (np.log(high["spectra"] / low["spectra"]) / (2 * step))[:, 0, 0, :, 0]
    for a in range(len(GAINS)):
        found = out["_terms"][0, a][TERMS.index(name)] / INPUTS[name]
        np.testing.assert_allclose(found, np.abs(slope[:, a]), rtol=2e-5, atol=1e-9)


@pytest.mark.slow
def test_error_of_the_pwv(session, table):
    for strategy, options in STRATEGIES.items():
        high, low = (evaluate_scan(session, 7, table(), **(GIVEN | {"pwv": PWV + x})) for x in (1e-4, -1e-4))
        slope = (np.log(high["spectra"] / low["spectra"]) / 2e-4)[:, 0, 0, :, 0]
        out = evaluate_scan(session, 7, table(), **options)
        error = 0.1 * PWV if strategy == "fixed" else np.ravel(out["pwv_err"]) * np.ones(len(GAINS))
        found = [out["_terms"][0, a][TERMS.index("pwv")] for a in range(len(GAINS))]
        np.testing.assert_allclose(np.transpose(found), slope * error, rtol=1e-6)


@pytest.mark.slow
def test_noise_of_the_loads(session, table):
    """Each channel's HOT and COLD moved by the noise of a second in a channel, one after the other."""
    out, variance = evaluate_scan(session, 7, table(), **GIVEN), 0.0
    counts = zarr.open_array(session / "scan_000007/calibration/data_5d", mode="r+")
    for s in (0, 1):
        before, spectra = counts[...], []
        for sign in (1e-3, -1e-3):
            after = before.copy()
            after[..., s] *= 1 + sign / np.sqrt(2.0 * STEP)  # two dumps of a second
            counts[...] = after
            spectra.append(evaluate_scan(session, 7, table(), **GIVEN)["spectra"][:, 0, 0, :, 0])
        counts[...] = before
        variance += (np.log(spectra[0] / spectra[1]) / 2e-3) ** 2
    found = [out["_terms"][0, a][TERMS.index("load_noise")] for a in range(len(GAINS))]
    np.testing.assert_allclose(np.transpose(found), np.sqrt(variance), rtol=1e-4)


@pytest.mark.slow
def test_the_error_of_the_scale_is_that_of_its_inputs_together(session, table):
    out = evaluate_scan(session, 7, table(), **FREE)
    assert out["scale_error_terms"].shape == (10, 1, 2)
    for a in range(len(GAINS)):
        assert out["_inputs"][0, a] == pytest.approx(INPUTS | {"pwv": float(out["pwv_err"])})
        terms = out["_terms"][0, a]
        np.testing.assert_allclose(out["scale_error_terms"][:, 0, a], np.median(terms, axis=1), rtol=1e-12)
        np.testing.assert_allclose(out["scale_error"][:, 0, a], np.sqrt((terms**2).sum(axis=0)), rtol=1e-12)


@pytest.mark.slow
def test_what_nobody_gave_is_less_certain(session, table):
    """Likewise one layer at the temperature of the ground, whatever it is said to be."""
    options = {"strategy": "full", "t_atm": T_AMB, "t_hot_err": 3.0, "profile_err": 0.0}
    inputs = evaluate_scan(session, 7, table(), **options)["_inputs"][0, 0]
    assert inputs["forward_efficiency"] == 0.05
    assert inputs["t_ground"] == 10.0
    assert inputs["t_hot"] == 3.0
    assert inputs["profile"] == 0.0
    one = evaluate_scan(session, 7, table(B[-1:], C[-1:], [0.0]), strategy="full")
    assert one["_inputs"][0, 0]["t_ground"] == 10.0
    compatible = evaluate_scan(session, 7, table(), strategy="full", physics="kalibrate_compat", t_ground=250.0)
    assert compatible["_inputs"][0, 0]["t_ground"] == 10.0
    plain = evaluate_scan(session, 7, table(), strategy="full", physics="kalibrate_compat")
    assert compatible["pwv"] == plain["pwv"]
