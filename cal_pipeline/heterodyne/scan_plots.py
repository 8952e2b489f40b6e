"""Plots of a calibrated scan: spectra, system temperature, sky."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.velocity import FRAMES
from cal_pipeline.heterodyne.velocity import check_name

if TYPE_CHECKING:
    import xarray
    from astropy.units import Quantity, Unit
    from matplotlib.axes import Axes

    from cal_pipeline.heterodyne.averages import Selection, Weights
    from cal_pipeline.heterodyne.scan_view import Pixels, ScanView, Subscans

Floats = NDArray[np.float64]

_MOST_NAMED = 8
"""Pixels that a legend names and whose curves have colours of their own."""

_FREQUENCY = "frequency"


def plot_spectra(
    scan: ScanView,
    pixels: Pixels,
    subscans: Subscans,
    x: str,
    weights: Weights,
    flags: Selection,
    error: bool,
    axes: Axes | None,
) -> Any:
    """Plot the average spectrum of a scan, of all pixels or of each of those chosen.

    Parameters are those of :meth:`CalibratedScan.plot()
    <cal_pipeline.heterodyne.calibrated_scan.CalibratedScan.plot>`.
    """
    x = check_name(x, {_FREQUENCY: None, **FRAMES}, "x")

    def draw(band: ScanView, on: Axes) -> None:
        abscissa = _find_abscissa(band, x, pixels, subscans)
        mean = band.average(pixels, subscans, weights, flags, each_pixel=pixels is not None)
        if pixels is None:
            _draw_curve(on, abscissa, mean, "all pixels" if len(band.pixels) > 1 else band.pixels[0], error)
        else:
            for name in [pixels] if isinstance(pixels, str) else pixels:
                _draw_curve(on, abscissa, mean.sel(pixel=name), name, error)
        _finish(on, band, x, "$T_A^*$", mean["pixel"].size if pixels is not None else 1)

    return _draw_bands(scan, axes, draw)


def _draw_curve(axes: Axes, abscissa: Quantity, mean: xarray.Dataset, name: str, error: bool) -> None:
    spectrum, sigma, x = mean["spectrum"].values, mean["sigma"].values, abscissa.value
    (line,) = axes.step(x, spectrum, where="mid", lw=1.0, label=_plain(name))
    if error and np.isfinite(sigma).any():
        axes.fill_between(x, spectrum - sigma, spectrum + sigma, step="mid", alpha=0.25, color=line.get_color(), lw=0)


def plot_t_sys(scan: ScanView, pixels: Pixels, axes: Axes | None) -> Any:
    """Plot the system temperature of each pixel over frequency, the median over the ONs.

    Parameters are those of :meth:`CalibratedScan.plot_t_sys()
    <cal_pipeline.heterodyne.calibrated_scan.CalibratedScan.plot_t_sys>`.
    """

    def draw(band: ScanView, on: Axes) -> None:
        part = band.select_part(pixels, None)
        t_sys = _median(part["t_sys"].transpose("pixel", "channel", "subscan").values, axis=-1)
        _draw_pixels(on, band, part["pixel"].values.tolist(), np.where(_find_good(part), t_sys, np.nan))
        _finish(on, band, _FREQUENCY, "$T_{sys}$ (DSB)", part.sizes["pixel"])

    return _draw_bands(scan, axes, draw)


def plot_sky(scan: ScanView, pixels: Pixels) -> Any:
    """Plot the sky observed, the fitted model, and their difference.

    Parameters are those of :meth:`CalibratedScan.plot_sky()
    <cal_pipeline.heterodyne.calibrated_scan.CalibratedScan.plot_sky>`.
    """
    from matplotlib import pyplot as plt

    bands = _divide(scan)
    _, panels = plt.subplots(
        2,
        len(bands),
        sharex="col",
        squeeze=False,
        layout="constrained",
        figsize=(7.0 * len(bands), 5.2),
        height_ratios=(2, 1),
    )
    for band, (top, bottom) in zip(bands, panels.T, strict=True):
        part = band.select_part(pixels, None)
        good, names = _find_good(part), part["pixel"].values.tolist()
        sky, residual = (
            np.where(good, part[name].transpose("pixel", "channel").values, np.nan)
            for name in ("t_sky", "sky_residual")
        )
        _draw_pixels(top, band, names, sky)
        _draw_pixels(bottom, band, names, residual)
        frequency = _find_abscissa(band, _FREQUENCY, None, None)
        top.plot(frequency.value, _median(sky - residual, axis=0), color="k", lw=1.2, label="fit")
        bottom.axhline(0.0, color="k", lw=1.0)
        _finish(bottom, band, _FREQUENCY, "observed - fit", 1)
        _finish(top, band, _FREQUENCY, "sky", len(names) + 1)
        top.set_xlabel("")
        bottom.set_title("")
    return panels[:, 0] if len(bands) == 1 else panels


def _draw_pixels(axes: Axes, scan: ScanView, names: list[str], values: Floats) -> None:
    """Draw a curve for each pixel, values (P, C); of many faint ones, and their median."""
    frequency = _find_abscissa(scan, _FREQUENCY, None, None).value
    many = len(names) > _MOST_NAMED
    for name, curve in zip(names, values, strict=True):
        style: dict[str, Any] = {"color": "0.7", "lw": 0.4} if many else {"lw": 0.8, "label": _plain(name)}
        axes.plot(frequency, curve, **style)
    if many:
        axes.plot(frequency, _median(values, axis=0), color="C0", lw=1.2, label=f"median of {len(names)}")


def _find_good(part: xarray.Dataset) -> NDArray[np.bool_]:
    """Find the channels (P, C) that the loads can calibrate, by the flags of a dump of the first ON."""
    flags = part["flags"].isel(dump=0, subscan=0).transpose("pixel", "channel").values
    return np.asarray((flags & int(Flag.BAD_CHANNEL)) == 0)


def _draw_bands(scan: ScanView, axes: Axes | None, draw: Callable[[ScanView, Axes], None]) -> Any:
    """Draw on the axes given, or on new ones: one for each band."""
    from matplotlib import pyplot as plt

    bands = _divide(scan)
    if axes is not None:
        if len(bands) > 1:
            names = ", ".join(scan.bands)
            raise StoreError(
                f"scan {scan.number} has bands {names}, too many for one pair of axes; choose one with scan.band(…)"
            )
        draw(bands[0], axes)
        return axes
    _, made = plt.subplots(len(bands), squeeze=False, layout="constrained", figsize=(7.5, 4.0 * len(bands)))
    for band, on in zip(bands, made[:, 0], strict=True):
        draw(band, on)
    return made[0, 0] if len(bands) == 1 else made[:, 0]


def _divide(scan: ScanView) -> list[ScanView]:
    return [scan.band(name) for name in scan.bands] if len(scan.bands) > 1 else [scan]


def _find_abscissa(scan: ScanView, x: str, pixels: Pixels, subscans: Subscans) -> Quantity:
    import astropy.units as u

    if x == _FREQUENCY:
        return (scan.dataset["signal_freqs"].values * u.Hz).to(u.GHz)
    return scan.velocity(x, pixels=pixels, subscans=subscans)


def _finish(axes: Axes, scan: ScanView, x: str, ordinate: str, n_curves: int) -> None:
    import astropy.units as u

    name = "sky frequency" if x == _FREQUENCY else f"velocity ({x.upper()}, radio convention)"
    axes.set_xlabel(label_axis(name, u.GHz if x == _FREQUENCY else u.km / u.s))
    axes.set_ylabel(label_axis(ordinate, u.K))
    band = scan.group.partition("/")[2]
    title = f"scan {scan.number} {band}".strip()
    axes.set_title(f"{title}, {_plain(scan.attributes.get('source') or 'no source')}")
    axes.grid(alpha=0.3)
    if n_curves > 1:
        axes.legend(fontsize="small")


def label_axis(name: str, unit: Unit) -> str:
    """Label an axis by name and unit.

    Examples
    --------
    >>> import astropy.units as u
    >>> label_axis("velocity", u.km / u.s)
    'velocity [km/s]'
    """
    return f"{name} [{unit.to_string('fits').replace(' s-1', '/s')}]"


def _median(values: Floats, axis: int) -> Floats:
    """Compute the median of the finite values; NaN without any, and without a warning."""
    from cal_pipeline.heterodyne.physics.averages import median_of_finite

    return median_of_finite(np.asarray(values), axis)


def _plain(name: object) -> str:
    """Escape a name for a figure, in which dollar signs would start a formula and underlines hide a label."""
    text = make_printable(name).replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text
