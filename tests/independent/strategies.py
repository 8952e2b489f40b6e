"""One PWV for a scan, for each pixel or for each pair of an ON and its OFF (section 3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .options import Options
from .pwv import Fit, SkyData, fit_pwv, given_pwv
from .references import nearest
from .selection import Selection

Skies = dict[tuple[int, int, int], SkyData]
"""Blank sky of a pixel and an OFF, by (r, a, off)."""


@dataclass
class Fits:
    """The fits in the shape of the strategy, and which of them belongs to an ON or an OFF of a pixel."""

    fits: np.ndarray
    on: dict[tuple[int, int, int], Fit]
    off: dict[tuple[int, int, int], Fit]  # of some ON
    every_off: dict[tuple[int, int, int], Fit]

    def collect(self, name: str, dtype: type = np.float64) -> np.ndarray:
        return np.array([getattr(f, name) for f in self.fits.ravel()], dtype=dtype).reshape(self.fits.shape)

    def opacity(self, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        """Zenith opacity in the shape of the strategy: [C], [C,R,A] or [C,R,A,S]."""
        pwv = self.collect("pwv")
        extra = (slice(None),) + (None,) * pwv.ndim
        return b[extra] * pwv[None] + c[extra]


def fit_scan(
    skies: Skies, shape: tuple[int, int], selection: Selection, options: Options, linked: list[SkyData] | None
) -> Fits:
    """Fit the PWV as the strategy says; `shape` is that of the pixels (R, A)."""
    if options.strategy in ("full", "fixed"):
        return fit_common(skies, shape, selection, options, linked)
    if options.strategy == "per_pixel":
        return fit_pixels(skies, shape, selection, options)
    if options.strategy == "per_pair":
        return fit_pairs(skies, shape, selection, options)
    raise ValueError(f"strategy {options.strategy!r}")


def fit_common(
    skies: Skies, shape: tuple[int, int], selection: Selection, options: Options, linked: list[SkyData] | None
) -> Fits:
    if options.strategy == "full":
        common = fit_pwv(list(skies.values()) + (linked or []), options)
    elif options.pwv is None:
        raise ValueError("strategy fixed needs a pwv")
    else:
        # CHOICE: nothing was fitted, so the errors are NaN; residuals and their weights are those at the PWV.
        common = given_pwv(list(skies.values()), options)
    on = {(*pixel, on): common for pixel in np.ndindex(shape) for on in selection.ons}
    return Fits(np.array(common, dtype=object), on, dict.fromkeys(skies, common), dict.fromkeys(skies, common))


def fit_pixels(skies: Skies, shape: tuple[int, int], selection: Selection, options: Options) -> Fits:
    found = Fits(np.empty(shape, dtype=object), {}, {}, {})
    for pixel in np.ndindex(shape):
        offs = valid_offs(skies, pixel, selection)
        found.fits[pixel] = fit_pwv([skies[(*pixel, k)] for k in offs], options)
        found.on.update({(*pixel, on): found.fits[pixel] for on in selection.ons})
        found.off.update({(*pixel, k): found.fits[pixel] for k in offs})
    found.every_off = found.off
    return found


def fit_pairs(skies: Skies, shape: tuple[int, int], selection: Selection, options: Options) -> Fits:
    found = Fits(np.empty((*shape, len(selection.ons)), dtype=object), {}, {}, {})
    # CHOICE: an OFF that is the nearest of no ON is fitted all the same, for outliers and monitors.
    found.every_off = {key: fit_pwv([data], options) for key, data in skies.items()}
    for pixel in np.ndindex(shape):
        offs = valid_offs(skies, pixel, selection)
        for i, on in enumerate(selection.ons):
            # CHOICE: not chopped, an OFF without a valid dump in the pixel is passed over as for REF.
            k = selection.group_off[on] if selection.chopped else None
            if not selection.chopped and offs:
                k = nearest(offs, selection.mjd, selection.mjd[on])
            key = (*pixel, k)
            found.fits[(*pixel, i)] = found.on[(*pixel, on)] = found.every_off.get(key, Fit(np.nan))
            if key in skies:
                found.off[key] = found.every_off[key]
    return found


def valid_offs(skies: Skies, pixel: tuple[int, ...], selection: Selection) -> list[int]:
    """The OFFs of a pixel with a valid dump."""
    return [k for k in selection.offs if (*pixel, k) in skies]
