"""Figures of a calibrated scan: the spectrum and the fit of the sky."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.constants import speed_of_light

from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.averages import average_scan

if TYPE_CHECKING:
    import xarray

Floats = NDArray[np.float64]
Convention = Literal["radio", "optical"]

VELOCITY_MARGIN_KMS = 100.0
"""Half width of a velocity plot around the source velocity.

Twice the velocity of the Earth in the LSR, whose share in the topocentric velocity is unknown.
"""


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
        Its 1-sigma error, from the dumps' own noise and that of the OFFs they share [K]; NaN in a scan
        of L1 before version 1.2, with a warning.
    """
    mean = average_scan(scan.isel(receiver=receiver, array=array))
    return mean.spectrum.values, mean.sigma.values


def compute_velocity(
    scan: xarray.Dataset, convention: Convention = "radio", rest_freq_hz: float | None = None
) -> xarray.DataArray:
    """Compute the velocity of each channel relative to the rest frequency of the line.

    Frequencies of L0 and L1 are topocentric, hence velocities too: the motion of the telescope
    relative to the local standard of rest or the Sun is not subtracted.

    Parameters
    ----------
    scan : xarray.Dataset
        An L1 scan.
    convention : {"radio", "optical"}
        ``radio``: c (1 - nu/nu_0); ``optical``: c (nu_0/nu - 1). Both grow with recession.
    rest_freq_hz : float, optional
        Rest frequency nu_0; default the scan's ``rest_freq_hz`` [Hz].

    Returns
    -------
    xarray.DataArray, shape (C,)
        Velocity on the axis ``channel`` with ``long_name`` and ``units`` [km/s].

    Raises
    ------
    ValueError
        If the convention is unknown, or no positive rest frequency is known.

    Examples
    --------
    >>> import numpy, xarray
    >>> frequencies = ("channel", numpy.array([461.0e9, 461.0e9 * (1 - 1e-4)]))
    >>> scan = xarray.Dataset(coords={"signal_freqs": frequencies}, attrs={"rest_freq_hz": 461.0e9})
    >>> compute_velocity(scan).values.round(3).tolist()
    [0.0, 29.979]
    """
    rest = scan.attrs.get("rest_freq_hz") if rest_freq_hz is None else rest_freq_hz
    if rest is None or not 0.0 < rest < np.inf:
        raise ValueError(
            f"scan {scan.attrs.get('scan_number')}: no velocity without the rest frequency of a line (rest_freq_hz is "
            f"{rest}, expected a positive number of Hz); give rest_freq_hz, or draw the frequency axis"
        )
    ratio = scan.signal_freqs / rest
    if convention == "radio":
        shift = 1.0 - ratio
    elif convention == "optical":
        shift = 1.0 / ratio - 1.0
    else:
        raise ValueError(f'velocity convention {convention!r}: choose "radio" or "optical"')
    velocity: xarray.DataArray = (shift * speed_of_light * 1e-3).rename("velocity")
    velocity.attrs = {"long_name": f"topocentric velocity ({convention} convention)", "units": "km/s"}
    return velocity


def plot_spectrum(
    scan: xarray.Dataset,
    receiver: int,
    array: int,
    path: str | Path,
    truth: Floats | None = None,
    smooth: int = 1,
    window: tuple[float, float] | None = None,
    axis: Literal["frequency", "radio", "optical"] = "frequency",
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
        Expected spectrum, drawn as a dashed line [K].
    smooth : int
        Channels to average for the picture.
    window : tuple of float, optional
        Lowest and highest value to draw, in Hz on a frequency axis and in km/s on a velocity axis.
        By default the whole band, or 100 km/s on both sides of ``velocity_source_kms`` where the
        scan has it and covers it.
    axis : {"frequency", "radio", "optical"}
        Sky frequency, or topocentric velocity in the radio or optical convention (see
        `compute_velocity`).

    Raises
    ------
    ValueError
        If the rest frequency is not known for a velocity axis, or the window holds fewer than
        `smooth` channels.
    """
    abscissa, label = _abscissa(scan, axis)
    if window is None:
        window = _velocity_window(scan, abscissa) if axis != "frequency" else None
    elif axis == "frequency":
        window = (window[0] * 1e-9, window[1] * 1e-9)
    low, high = window or (-np.inf, np.inf)
    drawn = (abscissa >= low) & (abscissa <= high)
    if drawn.sum() < smooth:
        raise ValueError(
            f"{_title(scan)}: window {low:g} to {high:g} holds {drawn.sum()} channels, expected at least {smooth} "
            f"(smooth); {label} is {abscissa.min():g} to {abscissa.max():g}"
        )
    with warnings.catch_warnings():
        # The error, unknown in older products, is not drawn.
        warnings.simplefilter("ignore", UserWarning)
        spectrum = mean_spectrum(scan, receiver, array)[0][drawn]
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes = figure.subplots()
    x = _binned(abscissa[drawn], smooth)
    axes.step(x, _binned(spectrum, smooth), where="mid", lw=1.0, label="calibrated")
    if truth is not None:
        axes.plot(abscissa[drawn], truth[drawn], color="C3", lw=1.3, ls="--", label="truth")
        axes.legend()
    axes.set_xlabel(label)
    axes.set_ylabel("$T_A^*$ [K]")
    axes.set_title(_title(scan, receiver, array))
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def _abscissa(scan: xarray.Dataset, axis: Literal["frequency", "radio", "optical"]) -> tuple[Floats, str]:
    """Compute the values of the horizontal axis [GHz or km/s] and its label."""
    if axis == "frequency":
        return scan.signal_freqs.values * 1e-9, "sky frequency [GHz]"
    velocity = compute_velocity(scan, axis)
    rest = scan.attrs["rest_freq_hz"] * 1e-9
    return velocity.values, f"{velocity.long_name}, rest frequency {rest:.6f} GHz [km/s]"


def _velocity_window(scan: xarray.Dataset, velocity: Floats) -> tuple[float, float] | None:
    source = scan.attrs.get("velocity_source_kms")
    if source is None or not velocity.min() <= source <= velocity.max():
        return None
    return source - VELOCITY_MARGIN_KMS, source + VELOCITY_MARGIN_KMS


def plot_sky_fit(scan: xarray.Dataset, path: str | Path) -> None:
    """Plot the sky observed in the OFFs, the fitted model and the residual of every pixel.

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
            label = _plain(scan.pixel.isel(pixel).values) if scan.pixel.size <= 8 else None
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
    title = f"scan {scan.attrs['scan_number']} {_plain(scan.attrs.get('source') or '')}".strip()
    if receiver is None:
        return title
    return f"{title}, {_plain(scan.pixel.isel(receiver=receiver, array=array).values)}"


def _plain(name: object) -> str:
    """Escape a name for a figure, in which dollar signs would start a formula."""
    return make_printable(name).replace("$", r"\$")


def _number(value: Any, digits: int = 4) -> str:
    return "?" if value is None else f"{value:.{digits}g}"


def _binned(values: Floats, width: int) -> Floats:
    """Average groups of `width` channels."""
    whole = len(values) // width * width
    return np.asarray(values[:whole].reshape(-1, width).mean(axis=1))
