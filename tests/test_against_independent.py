"""The pipeline against an independent, straightforward evaluation of the specification."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
import zarr
from helpers_atm import write_test_atm_table
from independent import chop_differences, couple, evaluate_scan, sky_entries, t_rec_jump

from cal_pipeline.heterodyne.references.telescope import find_profile
from cal_pipeline.simulate import (
    ChopPhaseOffset,
    DeadChannels,
    Drift,
    Faults,
    Imbalance,
    Loads,
    Otf,
    OtfChopped,
    RandomSpurs,
    Scan,
    SkyWave,
    Spikes,
    TotalPower,
    preset,
    simulate,
)

SLOW = pytest.mark.slow
# 32-bit arrays of L1; everything else is compared to 1e-9.
SINGLE = ("sigma", "sky_residual", "scale_error", "scale_error_terms", "ref_share")
EFFICIENCY = {"forward_efficiency": 0.95}  # of the fixture `calibrate`
FAULTS = Faults(missing_fraction=0.1, dead=(DeadChannels(17, 19, receiver=1),))
CASES = {
    "otf": {"mode": "otf"},
    "total_power": {"mode": "total_power"},
    "fixed": {"mode": "otf", "atmosphere": {"strategy": "fixed", "pwv": 0.47}},
    "single sideband": {"mode": "otf", "loads": {"image_gain": 0.0}},
    "uneven sidebands": {
        "mode": "otf",
        "loads": {"image_gain": 0.7, "eta_fss": 0.93, "gain_el_correction": 0.98},
    },
    "one airmass": {"mode": "otf", "atmosphere": {"airmass": "scan", "t_atm": 260.0, "t_spill": 280.0}},
    "kalibrate": {"mode": "otf", "loads": {"physics": "kalibrate_compat"}},
    "bad channels": {"mode": "otf", "loads": {"clip_tsys": 13.0}, "calibrate": {"min_transmission": 0.6}},
    "doubtful model": {"mode": "otf", "atmosphere": {"model_error": 0.3, "pwv_grid_steps": 7}},
    "plain fit": {"mode": "otf", "atmosphere": {"robust": False}},
    "warm ground": {"mode": "otf", "atmosphere": {"t_ground": 262.0}},
    "loads": {
        "mode": "otf",
        "loads": {"hot_offset": -1.5, "hot_coupling": 0.97, "cold_offset": 2.0, "cold_coupling": 0.95},
    },
    "errors": {
        "mode": "total_power",
        "loads": {"forward_efficiency_err": 0.03, "t_hot_err": 0.5, "t_cold_err": 4.0, "image_gain_err": 0.1},
        "atmosphere": {"t_ground_err": 5.0, "profile_err": 0.4, "dry_opacity_err": 0.02},
    },
    "error of a given PWV": {
        "mode": "total_power",
        "atmosphere": {"strategy": "fixed", "pwv": 0.47, "pwv_fixed_err": 0.3},
    },
}
# A sky that the model does not know: the simulation's is one layer, with lines of its own in OFFs.
RICH = dataclasses.replace(FAULTS, random_spurs=(RandomSpurs(0.08, 60.0, kinds=("off",)),))
LAYERED_CASES = {
    "full": {},
    "per pixel": {"atmosphere": {"strategy": "per_pixel"}},
    "per pair": {"atmosphere": {"strategy": "per_pair"}},
    "fixed": {"atmosphere": {"strategy": "fixed", "pwv": 0.47}},
    "plain fit": {"atmosphere": {"robust": False}},
    "cold ground and spillover": {"atmosphere": {"t_ground": 255.0, "t_spill": 290.0}},
    "one layer": {"atmosphere": {"t_atm": 255.0}},
    "kalibrate": {"loads": {"physics": "kalibrate_compat"}, "atmosphere": {"t_ground": 240.0}},
    "kalibrate at a temperature": {"loads": {"physics": "kalibrate_compat"}, "atmosphere": {"t_atm": 258.0}},
    "single sideband": {"loads": {"image_gain": 0.0}},
    "one airmass": {"atmosphere": {"airmass": "scan"}},
    "chopped": {"mode": "otf_chopped", "atmosphere": {"strategy": "per_pair"}},
    "total power": {"mode": "total_power", "atmosphere": {"model_error": 0.1}},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_array_agrees(case, make_session, calibrate, atm_table):
    settings = dict(case)
    session = make_session(channels=200, mode=settings.pop("mode"), faults=FAULTS, seed=3)
    product = calibrate(session, **settings)
    options = dict(EFFICIENCY)
    for step in settings.values():
        options |= step
    _compare(product, _evaluate(session, 1, atm_table, **options))


@pytest.fixture(scope="session")
def layered_table(tmp_path_factory):
    """Three layers whose last is the atmosphere of the fixture `atm_table`."""
    return write_test_atm_table(tmp_path_factory.mktemp("atm") / "layers.asdf", layered=True)


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if name == "full" else SLOW) for name, case in LAYERED_CASES.items()],
    ids=LAYERED_CASES.keys(),
)
def test_layers_and_a_sky_that_the_model_does_not_know(case, make_session, calibrate, layered_table):
    settings = dict(case)
    session = make_session(channels=200, mode=settings.pop("mode", "otf"), faults=RICH, seed=4)
    options = dict(EFFICIENCY)
    for step in settings.values():
        options |= step
    atmosphere = settings.pop("atmosphere", {}) | {"override_atm": str(layered_table)}
    product = calibrate(session, atmosphere=atmosphere, **settings)
    expected = _evaluate(session, 1, layered_table, **options)
    assert (expected["flags"] & 256).any() == options.get("robust", True)
    _compare(product, expected)


PER_ARRAY = {
    "image_gain": [1.0, 0.5],
    "hot_offset": [0.5, -1.0],
    "cold_offset": [0.0, 2.0],
    "hot_coupling": [0.98, 1.0],
    "cold_coupling": [0.9, 0.97],
}


@pytest.mark.slow
@pytest.mark.parametrize("gains", [[1.0, 0.5], [0.0, 0.7]])
@pytest.mark.parametrize("strategy", ["full", "per_pixel", "fixed"])
def test_loads_of_each_array(strategy, gains, make_session, calibrate, layered_table):
    receiver = _two_arrays(preset("ccat_chai", channels=140, pixels=2).receivers[0])
    session = make_session(channels=None, pixels=None, receivers=(receiver,), faults=RICH, seed=9)
    loads = PER_ARRAY | {"image_gain": gains, "forward_efficiency": [0.95, 0.9]}
    fit = {"strategy": strategy} | ({"pwv": 0.5} if strategy == "fixed" else {})
    product = calibrate(session, loads=loads, atmosphere=fit | {"override_atm": str(layered_table)})
    options = loads | fit
    _compare(product, _evaluate(session, 1, layered_table, **options))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "clip_sigma"),
    [("total_power", 10.0), ("otf", 10.0), ("otf_chopped", 10.0), ("otf", 4.0), ("total_power", 0.0)],
)
def test_spikes_and_saturated_counts(clip_sigma, mode, make_session, calibrate, layered_table):
    sequence = {
        "total_power": TotalPower(dumps=3, off_exptime=2.0),
        "otf": Otf(rows=3, dumps=3, rows_per_off=2),
        "otf_chopped": OtfChopped(rows=2, dumps=3),
    }[mode]
    faults = dataclasses.replace(FAULTS, spikes=(Spikes(0.02, 300.0),))
    loads = Loads(pattern=("HOT", "COL", "HOT", "COL"), dumps=2)
    session = make_session(channels=140, mode=None, sequence=sequence, loads=loads, faults=faults, seed=11)
    for path in session.glob("scan_*/*/data_5d"):
        counts = zarr.open_array(path, mode="r+")
        values = counts[...]
        values[np.random.default_rng(3).random(values.shape) < 0.001] = np.iinfo(values.dtype).max
        counts[...] = values
    product = calibrate(session, loads={"clip_sigma": clip_sigma}, atmosphere={"override_atm": str(layered_table)})
    options = EFFICIENCY | {"clip_sigma": clip_sigma}
    _compare(product, _evaluate(session, 1, layered_table, **options))


@pytest.mark.slow
def test_counts_above_the_limit_of_the_telescope(make_session, calibrate, layered_table, tmp_path):
    faults = dataclasses.replace(FAULTS, spikes=(Spikes(0.02, 300.0, kinds=("on", "off", "hot", "cold")),))
    session = make_session(channels=140, faults=faults, seed=12)
    counts = zarr.open_array(session / "scan_000001/source/data_5d", mode="r")[...]
    limit = float(np.sort(counts, axis=None)[-40])
    profile = find_profile("CCAT").read_text().replace("[site]", f"saturation_counts = {limit}\n\n[site]")
    (tmp_path / "telescope.toml").write_text(profile)
    product = calibrate(
        session,
        loads={"override_telescope": str(tmp_path / "telescope.toml")},
        atmosphere={"override_atm": str(layered_table)},
    )
    without = _evaluate(session, 1, layered_table, **EFFICIENCY)
    expected = _evaluate(session, 1, layered_table, saturation_counts=limit, **EFFICIENCY)
    assert np.count_nonzero(expected["flags"] & 2) > np.count_nonzero(without["flags"] & 2)
    _compare(product, expected)


@pytest.mark.slow
def test_loads_of_another_scan(make_session, calibrate, layered_table):
    """Loads of another scan, with its pixels in another order, calibrate alike."""
    receiver = _two_arrays(preset("ccat_chai", channels=140, pixels=2).receivers[0])
    session = make_session(
        channels=None,
        pixels=None,
        receivers=(receiver,),
        loads=Loads(pattern=("ZERO", "HOT", "COL", "HOT"), dumps=3),
        scans=(Scan(calibration_only=True), Scan(loads=Loads(pattern=()), gap_s=1200.0)),
        faults=RICH,
        seed=14,
    )
    group = session / "scan_000001/calibration"
    ids = zarr.open_array(group / "frontend_backends", mode="r+")
    ids[:] = ids[:][::-1]
    counts = zarr.open_array(group / "data_5d", mode="r+")
    counts[...] = counts[...][:, :, ::-1, ::-1]
    product = calibrate(
        session,
        loads={"forward_efficiency": [0.95, 0.9]},
        atmosphere={"override_atm": str(layered_table)},
    )
    expected = _evaluate(session, 2, layered_table, loads_of=1, forward_efficiency=[0.95, 0.9])
    _compare(product, expected, scan=2)


@pytest.mark.slow
def test_many_channels(make_session, calibrate, layered_table):
    """From 1024 channels on, every second one tells how much all of them changed from dump to dump."""
    session = make_session(channels=1100, faults=RICH, seed=15)
    product = calibrate(session, atmosphere={"override_atm": str(layered_table)})
    expected = _evaluate(session, 1, layered_table, **EFFICIENCY)
    assert (expected["flags"] & 512).any()
    _compare(product, expected)


@pytest.mark.slow
def test_a_jump_of_the_receiver_temperature(make_session, calibrate, atm_table):
    session = make_session(channels=140, scans=5, faults=FAULTS, seed=16)
    for path in session.glob("scan_000005/*/data_5d"):
        counts = zarr.open_array(path, mode="r+")
        values = counts[...]
        counts[...] = np.where(values > np.iinfo(values.dtype).min, values + 50000, values)
    product = calibrate(session)
    results = [_evaluate(session, n, atm_table, **EFFICIENCY) for n in range(1, 6)]
    for n in range(1, 6):
        found = product.open_scan(n).attrs["qa"]["pixels"]
        ours = np.array([figures["t_rec_jump"] for figures in found.values()], dtype=np.float64)
        # The pipeline compares all loads at frequencies that are rounded to 100 MHz.
        np.testing.assert_allclose(ours, t_rec_jump(results[:n]).ravel(), rtol=0, atol=1e-5)
    assert (ours > 0.01).all()


# Of every mode with every strategy, the quick subset and that of two bands hold each once.
BEAMS = [("total_power", False), ("otf", False), ("otf_chopped", False), ("otf_chopped", True)]
STRATEGIES = ["full", "per_pixel", "per_pair", "fixed"]
QUICK = [
    ("total_power", False, "fixed"),
    ("otf", False, "per_pixel"),
    ("otf_chopped", False, "per_pair"),
    ("otf_chopped", True, "full"),
]


@pytest.mark.parametrize(
    ("mode", "dbs", "strategy", "bands"),
    [
        *(
            pytest.param(*beams, strategy, 1, marks=() if (*beams, strategy) in QUICK else SLOW)
            for beams, strategy in itertools.product(BEAMS, STRATEGIES)
        ),
        *(pytest.param(*chosen, 2, marks=SLOW) for chosen in QUICK),
    ],
)
def test_modes_strategies_bands_and_beams(mode, strategy, bands, dbs, tmp_path, calibrate):
    table = write_test_atm_table(tmp_path / "two.asdf", windows=[(450e9, 500e9), (780e9, 820e9)])
    name = "ccat_chai" if bands == 1 else "ccat_chai_dual"
    sequence = {
        "total_power": TotalPower(dumps=3, off_exptime=2.0),
        "otf": Otf(rows=3, dumps=3, rows_per_off=2),
        "otf_chopped": OtfChopped(rows=2, dumps=3, pattern=("OTFSWB-ON", "OTFSWA-ON", "OTFSWA-OFF", "OTFSWB-OFF")),
    }[mode]
    config = preset(name, channels=140, pixels=3, table=str(table), sequence=sequence, faults=FAULTS, seed=5)
    config = dataclasses.replace(config, receivers=tuple(_two_arrays(receiver) for receiver in config.receivers))
    simulate(config, tmp_path / "s.zarr")
    atmosphere = {"override_atm": str(table), "strategy": strategy} | ({"pwv": 0.6} if strategy == "fixed" else {})
    loads = {"forward_efficiency": [0.95, 0.9]}
    product = calibrate(tmp_path / "s.zarr", atmosphere=atmosphere, loads=loads, dbs={"skip": not dbs})
    options = EFFICIENCY | {name: value for name, value in atmosphere.items() if name != "override_atm"} | loads
    for band in range(bands) if bands > 1 else [None]:
        expected = _evaluate(tmp_path / "s.zarr", 1, table, band=band, **options)
        _compare(product, couple(expected) if dbs else expected, band=band)


def _two_arrays(receiver):
    """A receiver with pixels in two arrays that differ, so that no pixel can pass for another."""
    return dataclasses.replace(receiver, arrays=("ONE", "TWO"), forward_efficiency=(0.95, 0.9))


@pytest.mark.slow
def test_spectra_rounded_to_their_noise(make_session, calibrate, layered_table):
    session = make_session(channels=140, faults=RICH, seed=13)
    fit = {"override_atm": str(layered_table)}
    product = calibrate(session, atmosphere=fit, calibrate={"precision": "radiometric"})
    expected, found = _evaluate(session, 1, layered_table, **EFFICIENCY), product.open_scan(1).load()
    assert found.spectra.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(found.spectra.values), np.isnan(expected["spectra"]))
    error = np.abs(found.spectra.values - expected["spectra"]) / expected["sigma"][:, None]
    assert 1e-4 < np.nanmax(error) < 0.01


@pytest.mark.slow
@pytest.mark.parametrize("layered", [False, True])
def test_linked_bands_share_a_pwv(layered, tmp_path, calibrate):
    table = write_test_atm_table(tmp_path / "two.asdf", windows=[(450e9, 500e9), (780e9, 820e9)], layered=layered)
    config = preset("ccat_chai_dual", channels=140, pixels=2, mode="otf", table=str(table), faults=FAULTS, seed=6)
    simulate(config, tmp_path / "s.zarr")
    product = calibrate(tmp_path / "s.zarr", atmosphere={"override_atm": str(table), "link_bands": True})
    alone = [_evaluate(tmp_path / "s.zarr", 1, table, band=band, **EFFICIENCY)["_sky_data"] for band in (0, 1)]
    for band in (0, 1):
        expected = _evaluate(tmp_path / "s.zarr", 1, table, band=band, linked=alone[1 - band], **EFFICIENCY)
        _compare(product, expected, band=band)
    assert float(product.open_scan(1, 0).pwv) == float(product.open_scan(1, 1).pwv)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "level"), [("total_power", 2), ("total_power", 3), ("otf", 3), ("otf_chopped", 3)])
def test_gain_drift(level, mode, make_session, calibrate, layered_table):
    receiver = dataclasses.replace(
        preset("ccat_chai").receivers[0], channels=140, pixel_offsets_deg=((0, 0), (0.01, 0)), zero_level=5000.0
    )
    later = Loads(pattern=("COL", "ZERO", "HOT"), t_hot=294.5, t_cold=78.0)
    session = make_session(
        mode=mode,
        receivers=(receiver,),
        channels=None,
        pixels=None,
        loads=Loads(pattern=("ZERO", "HOT", "COL")),
        scans=(Scan(), Scan(calibration_only=True, loads=later)),
        drift=Drift(gain_per_hour=0.5, offset_per_hour=30.0),
        faults=dataclasses.replace(FAULTS, missing_fraction=0.1),
        seed=8,
    )
    product = calibrate(session, gain={"skip": False, "level": level}, atmosphere={"override_atm": str(layered_table)})
    _compare(product, _evaluate(session, 1, layered_table, gain_level=level, following=(session, 2), **EFFICIENCY))


@pytest.mark.parametrize(("mode", "dbs"), [("otf", False), ("otf_chopped", False), ("otf_chopped", True)])
@pytest.mark.slow
def test_skydiff_agrees_with_the_independent_engine(mode, dbs, make_session, calibrate, atm_table):
    session = make_session(channels=140, mode=mode, scans=3, faults=FAULTS, sky_waves=(SkyWave(3e8, 2.0, 0.0, 50.0),))
    product = calibrate(session, skydiff={"skip": False, "n": 2}, dbs={"skip": not dbs})
    entries = {n: sky_entries(_evaluate(session, n, atm_table, **EFFICIENCY), dbs) for n in (1, 2, 3)}
    assert not (product.path / "scan_000001" / "skydiff").exists()
    for scan in (2, 3):
        group = zarr.open_group(product.path / f"scan_{scan:06d}" / "skydiff", mode="r")
        earlier = [(n, *entry) for n in range(1, scan) for entry in entries[n]]
        references = sorted(earlier, key=lambda entry: -entry[2])[:2]
        expected = list(itertools.product(entries[scan], references))
        attributes = dict(group.attrs)
        assert attributes.pop("n_diffs") == len(expected)
        assert attributes.pop("current_scan") == scan
        assert attributes == {
            "current_mjds": [mjd for (_, mjd, _), _ in expected],
            "current_offs": [off for (off, _, _), _ in expected],
            "ref_scans": [n for _, (n, _, _, _) in expected],
            "ref_mjds": [mjd for _, (_, _, mjd, _) in expected],
            "ref_offs": [off for _, (_, off, _, _) in expected],
        }
        for k, ((_, _, now), (_, _, _, before)) in enumerate(expected):
            _agree(f"spectrum_{k}", group[f"spectrum_{k}"][...], now - before, scale=300.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "dbs"), [("int32, some missing", False), ("int32, some missing", True), ("uint16", True)]
)
def test_skychopdiff(dbs, counts, make_session, calibrate, atm_table):
    receiver = preset("ccat_chai", channels=140, pixels=2).receivers[0]
    if counts == "uint16":
        # With so much noise of its own even the OFFs fill more than half of the range.
        receiver = dataclasses.replace(receiver, t_rec_dsb=2000.0, gain_spread=0.05)
    session = make_session(
        channels=None,
        pixels=None,
        receivers=(receiver,),
        mode="otf_chopped",
        faults=FAULTS if counts != "uint16" else Faults(),
        chop_phase_offset=ChopPhaseOffset((0.0, 1.0, -2.0, 0.5), 5e8),
        imbalance=Imbalance(1.0),
    )
    if counts == "uint16":
        _as_short_counts(session)
    product = calibrate(session, skychopdiff={"skip": False}, dbs={"skip": not dbs})
    result = _evaluate(session, 1, atm_table, **EFFICIENCY)
    with np.errstate(all="ignore"):
        expected = chop_differences(result, dbs)
    group = zarr.open_group(product.path / "scan_000001" / "skychopdiff", mode="r")
    assert {name for name in group.array_keys() if name.startswith("spectrum_")} == set(expected)
    for name, values in expected.items():
        _agree(name, group[name][...], values, scale=300.0)
    ons = sorted({int(name.split("_")[1]) for name in expected})
    assert ons
    assert group.attrs["on_indices"] == ons
    assert group.attrs["on_mjds"] == [result["_all_mjd"][on] for on in ons]
    assert group.attrs["n_spectra_per_on"] == [3] * len(ons)


def _as_short_counts(session):
    """Store all counts of a session with 16 bits, up to the largest number, so that sums of two do not fit."""
    arrays = {path: zarr.open_array(path, mode="r") for path in session.glob("scan_*/*/data_5d")}
    scale = 65000 / max(array[...].max() for array in arrays.values())
    for path, array in arrays.items():
        values = np.rint(array[...] * scale).astype(np.uint16)
        dims = array.metadata.dimension_names
        short = zarr.create_array(path, data=values, chunks=array.chunks, dimension_names=dims, overwrite=True)
        short.attrs.update(array.attrs.asdict())


def _evaluate(*args, **options):
    """The second opinion; it does not guard against bad channels."""
    with np.errstate(all="ignore"):
        return evaluate_scan(*args, **options)


def _compare(product, expected, band=None, scan=1):
    """Compare every array of a scan, and the figures of its pixels, with what is expected."""
    found = product.open_scan(scan, band).load()
    np.testing.assert_array_equal(found.mjd.values, _as_time(expected["mjd"]))
    compared = [name for name in expected if name in found and name != "mjd"]
    assert {"spectra", "t_sys", "sigma", "flags", "pwv", "tau_signal", "t_int", "sky_residual", "ref_share"} <= set(
        compared
    )
    for name in compared:
        _agree(name, found[name].values, expected[name])
    if "_figures" in expected:
        _compare_figures(found, expected["_figures"])


def _compare_figures(found, expected):
    """Compare the figures of each pixel; those that the pipeline does not have are passed over."""
    of_pixels = found.attrs["qa"]["pixels"]
    for name, values in expected.items():
        ours = [of_pixels[pixel].get(name, "absent") for pixel in found.pixel.values.ravel()]
        if "absent" not in ours:
            ours = np.array(ours, dtype=np.float64)
            np.testing.assert_allclose(ours, values.ravel(), rtol=1e-6, atol=1e-9, err_msg=name)


def _agree(name, found, expected, scale=None):
    expected = np.asarray(expected)
    if expected.dtype.kind in "UTO":
        assert found.tolist() == expected.tolist()
        return
    with np.errstate(over="ignore"):
        expected = expected.astype(found.dtype)
    scale = np.nanmax(np.abs(expected[np.isfinite(expected)]), initial=0.0) if scale is None else scale
    tolerance = 3e-7 if name in SINGLE else 1e-9
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=scale * 1e-9, err_msg=name)


def _as_time(mjd):
    return np.datetime64("1858-11-17", "ns") + np.round(np.asarray(mjd) * 86400e9).astype("timedelta64[ns]")
