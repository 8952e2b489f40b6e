"""Pictures of a calibrated scan: its spectrum and how the sky was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]


def mean_spectrum(scan: xarray.Dataset, receiver: int, array: int) -> tuple[Floats, Floats]:
    """Average the good samples of a pixel over all dumps and ONs.

    Parameters
    ----------
    scan : xarray.Dataset
        An L1 scan.
    receiver, array : int
        The pixel.

    Returns
    -------
    spectrum : ndarray, shape (C,)
        Mean T_A*, weighted by 1/sigma², NaN where there is no good sample [K].
    error : ndarray, shape (C,)
        Its 1-sigma error, as expected from ``sigma`` if the noise of the samples is independent [K]; the noise
        of a reference is common to the dumps of an ON, so with many dumps it is a lower limit.
    """
    pixel = {"receiver": receiver, "array": array}
    samples = scan.spectra.isel(pixel).transpose("channel", "dump", "subscan").values
    sigma = scan.sigma.isel(pixel).transpose("channel", "subscan").values[:, None, :].astype(np.float64)
    weight = np.where(np.isfinite(samples), 1.0 / sigma**2, 0.0)
    weight[~np.isfinite(weight)] = 0.0
    total = weight.sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        spectrum = (np.nan_to_num(samples) * weight).sum(axis=(1, 2)) / total
        return spectrum, np.sqrt(1.0 / np.where(total > 0, total, np.nan))


def plot_spectrum(
    scan: xarray.Dataset,
    receiver: int,
    array: int,
    path: str | Path,
    truth: Floats | None = None,
    smooth: int = 1,
    window: tuple[float, float] | None = None,
) -> None:
    """Draw the mean spectrum of a pixel.

    Parameters
    ----------
    scan : xarray.Dataset
        An L1 scan.
    receiver, array : int
        The pixel.
    path : str or Path
        Picture to write.
    truth : ndarray, shape (C,), optional
        The spectrum that should come out [K].
    smooth : int
        Channels to average for the picture.
    window : tuple of float, optional
        Lowest and highest frequency to draw; all if not given [Hz].
    """
    spectrum, _ = mean_spectrum(scan, receiver, array)
    frequency = scan.signal_freqs.values * 1e-9
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.step(_binned(frequency, smooth), _binned(spectrum, smooth), where="mid", lw=1.0, label="calibrated")
    if truth is not None:
        axes.plot(frequency, truth, color="C3", lw=1.3, ls="--", label="truth")
        axes.legend()
    if window is not None:
        axes.set_xlim(window[0] * 1e-9, window[1] * 1e-9)
    axes.set_xlabel("sky frequency [GHz]")
    axes.set_ylabel("$T_A^*$ [K]")
    axes.set_title(_title(scan, receiver, array))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def plot_sky_fit(scan: xarray.Dataset, path: str | Path) -> None:
    """Draw the sky seen in the OFFs, the fitted model and what it leaves, for every pixel.

    Parameters
    ----------
    scan : xarray.Dataset
        An L1 scan.
    path : str or Path
        Picture to write.
    """
    good = (scan.flags & 1 == 0).any(("dump", "subscan"))
    observed = scan.t_sky.where(good)
    residual = scan.sky_residual.where(good)
    frequency = scan.signal_freqs.values * 1e-9
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for receiver in range(scan.sizes["receiver"]):
        for array in range(scan.sizes["array"]):
            pixel = {"receiver": receiver, "array": array}
            label = str(scan.pixel.isel(pixel).values) if scan.pixel.size <= 8 else None
            line = top.plot(frequency, observed.isel(pixel), lw=0.4, alpha=0.8, label=label)[0]
            top.plot(frequency, (observed - residual).isel(pixel), color="k", lw=1.0)
            bottom.plot(frequency, residual.isel(pixel), lw=0.4, alpha=0.8, color=line.get_color())
    if scan.pixel.size <= 8:
        top.legend(loc="best", fontsize="small")
    bottom.axhline(0.0, color="k", lw=1.0)
    top.set_ylabel("input temperature of the sky [K]")
    bottom.set_ylabel("observed - model [K]")
    bottom.set_xlabel("sky frequency [GHz]")
    top.set_title(f"{_title(scan)}: PWV {_number(scan.attrs['pwv_mm'])} ± {_number(scan.attrs['pwv_err_mm'], 2)} mm")
    figure.savefig(path, dpi=110)


def _title(scan: xarray.Dataset, receiver: int | None = None, array: int | None = None) -> str:
    title = f"scan {scan.attrs['scan_number']} {scan.attrs.get('source') or ''}".strip()
    if receiver is None:
        return title
    return f"{title}, {scan.pixel.isel(receiver=receiver, array=array).values}"


def _number(value: Any, digits: int = 4) -> str:
    return "?" if value is None else f"{value:.{digits}g}"


def _binned(values: Floats, width: int) -> Floats:
    """Means of groups of `width` channels."""
    whole = len(values) // width * width
    return np.asarray(values[:whole].reshape(-1, width).mean(axis=1))
