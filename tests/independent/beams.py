"""Dual beam switch (section 5) and differences of skies (section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .basics import divide


def partners(result: dict[str, Any]) -> dict[int, int]:
    """For each A group, by its place among the ONs, the B group that it is merged with."""
    beams, mjd = result["_beam"], result["mjd"]
    a, b = ([i for i, name in enumerate(beams) if name == wanted] for wanted in "AB")
    found: dict[int, int] = {}
    while a and b:
        # CHOICE: the nearest two first; the distance in whole milliseconds, so that rounding of MJD decides nothing.
        best = min((round(abs(mjd[i] - mjd[j]) * 86400e3), mjd[i], mjd[j], i, j) for i in a for j in b)
        found[best[3]] = best[4]
        a.remove(best[3])
        b.remove(best[4])
    return found


def couple(result: dict[str, Any]) -> dict[str, Any]:
    """Merge the beams of a chopped scan as DBS does."""
    pairs = partners(result)
    stay = [i for i in range(len(result["_ons"])) if i not in pairs.values()]
    out = {name: np.array(values[..., stay]) for name, values in result.items() if name in ON_ARRAYS}
    for name in ("tau_signal", "tau_image", "pwv", "pwv_err", "pwv_err_model", "pwv_chi2"):
        if result[name].ndim == (4 if name.startswith("tau") else 3):
            out[name] = result[name][..., stay]
    for position, i in enumerate(stay):
        if i in pairs:
            j = pairs[i]
            out["spectra"][..., position] = 0.5 * (result["spectra"][..., i] + result["spectra"][..., j])
            out["flags"][..., position] = result["flags"][..., i] | result["flags"][..., j]
            out["t_sys"][..., position] = 0.5 * (result["t_sys"][..., i] + result["t_sys"][..., j])
            sigma_a, sigma_b = result["sigma"][..., i], result["sigma"][..., j]
            out["sigma"][..., position] = 0.5 * np.sqrt(sigma_a**2 + sigma_b**2)
            part = np.nanmedian(sigma_a**2 / (sigma_a**2 + sigma_b**2), axis=0)
            for slot, on, of_beam in ((0, i, part), (1, j, 1 - part)):
                out["ref_off"][slot, ..., position] = result["ref_off"][0, ..., on]
                out["ref_share"][slot, ..., position] = of_beam * result["ref_share"][0, ..., on]
            out["t_int"][position] = result["t_int"][i] + result["t_int"][j]
    return {**result, **out}


ON_ARRAYS = (
    "spectra",
    "t_sys",
    "sigma",
    "t_int",
    "flags",
    "mjd",
    "elevation",
    "otf_lon",
    "otf_lat",
    "otf_airmass",
    "ref_share",
    "ref_off",
)


def sky_entries(result: dict[str, Any], coupled: bool) -> list[tuple[int, float, np.ndarray]]:
    """Subscan, MJD and S_obs (C, R, A) of each sky that SKYDIFF compares."""
    mjd, offs = result["_all_mjd"], sorted(result["_offs"], key=lambda k: result["_all_mjd"][k])
    if not result["_chopped"]:
        return [(k, mjd[k], s_obs(result, [k])) for k in offs]
    pairs = partners(result) if coupled else {}
    entries = []
    for i, k in enumerate(result["_group_off"]):
        if i not in pairs.values():
            both = [k, result["_group_off"][pairs[i]]] if i in pairs else [k]
            entries.append((k, float(np.mean([mjd[x] for x in both])), s_obs(result, both)))
    return entries


def s_obs(result: dict[str, Any], offs: list[int]) -> np.ndarray:
    out = np.full(result["gamma"].shape, np.nan)
    for (r, a), load in result["_loads"].items():
        mean = sum(result["_off_mean"][r, a, k] for k in offs) / len(offs)
        out[:, r, a] = np.where(load.bad, np.nan, divide(mean - load.hot, load.gamma))
    return out


def chop_differences(result: dict[str, Any], coupled: bool) -> dict[str, np.ndarray]:
    """Every ``spectrum_<on>_<j>`` (C, R, A) of SKYCHOPDIFF."""
    pairs = partners(result) if coupled else {}
    counts, out = result["_counts"], {}
    for i, on in enumerate(result["_ons"]):
        if i in pairs.values():
            continue
        both = [result["_group_off"][i]] + ([result["_group_off"][pairs[i]]] if i in pairs else [])
        sky = sum(counts[..., k] for k in both) / len(both)
        for j in range(1, counts.shape[1]):
            spectrum = np.full(result["gamma"].shape, np.nan)
            for r, a in result["_loads"]:
                spectrum[:, r, a] = (sky[:, 0, r, a] - sky[:, j, r, a]) * result["_factors"][r, a, on]
            out[f"spectrum_{on}_{j}"] = spectrum
    return out
