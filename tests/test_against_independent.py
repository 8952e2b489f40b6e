"""The pipeline against an independent, straightforward evaluation of the specification."""

from __future__ import annotations

import numpy as np
import pytest
from independent import evaluate_scan

from cal_pipeline.simulate import DeadChannels, Faults

# 32-bit arrays of L1; everything else is compared to 1e-9.
SINGLE = ("sigma", "sky_residual")
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
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_every_array_agrees(case, make_session, calibrate, atm_table):
    settings = dict(case)
    faults = Faults(missing_fraction=0.1, dead=(DeadChannels(17, 19, receiver=1),))
    session = make_session(channels=200, mode=settings.pop("mode"), faults=faults, seed=3)
    product = calibrate(session, **settings)
    options = {"forward_efficiency": 0.95}
    for step in settings.values():
        options |= step
    with np.errstate(all="ignore"):
        expected = evaluate_scan(session, 1, atm_table, **options, jacobian="smooth", t_sys_tamb="interpolated")
    found = product.open_scan(1).load()
    mjd = expected.pop("mjd")
    np.testing.assert_array_equal(found.mjd.values, _as_time(mjd))
    if options.get("strategy") == "fixed":
        expected.pop("pwv_chi2")  # The pipeline says how well a given PWV agrees with the sky.
    compared = [name for name in expected if name in found]
    assert {"spectra", "t_sys", "sigma", "flags", "pwv", "tau_signal", "t_int"} <= set(compared)
    for name in compared:
        _agree(name, found[name].values, expected[name])


def _agree(name, found, expected):
    expected = np.asarray(expected)
    if expected.dtype.kind in "UTO":
        assert found.tolist() == expected.tolist()
        return
    with np.errstate(over="ignore"):
        expected = expected.astype(found.dtype)
    scale = np.nanmax(np.abs(expected[np.isfinite(expected)]), initial=0.0) * 1e-9
    tolerance = 3e-7 if name in SINGLE else 1e-9
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=scale, err_msg=name)


def _as_time(mjd):
    return np.datetime64("1858-11-17", "ns") + np.round(np.asarray(mjd) * 86400e9).astype("timedelta64[ns]")
