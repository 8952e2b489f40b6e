"""Average of scans that are aligned in a standard of rest."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.text import list_few
from cal_pipeline.heterodyne.averages import Selection, Weights
from cal_pipeline.heterodyne.flat_pixels import make_attributes_plain
from cal_pipeline.heterodyne.physics.velocity import FRAMES
from cal_pipeline.heterodyne.session_averages import average_scans
from cal_pipeline.heterodyne.velocity import check_name, find_rest_frequency, find_velocities, read_pointing

if TYPE_CHECKING:
    import xarray

    from cal_pipeline.heterodyne.scan_view import Pixels, ScanView


def average_aligned(
    scans: Sequence[ScanView],
    pixels: Pixels = None,
    weights: Weights = "sigma",
    flags: Selection = "good",
    frame: str | None = None,
) -> xarray.Dataset:
    """Average scans over dumps, subscans, pixels and scans, aligned in a standard of rest.

    Parameters
    ----------
    scans : sequence of ScanView
        Scans, each with one frequency axis.
    pixels, weights, flags
        As of :func:`~cal_pipeline.heterodyne.averages.average_scan`.
    frame : str, optional
        Standard of rest; ``"lsrk"`` where it can be known, else ``"topocent"`` with a warning.

    Returns
    -------
    xarray.Dataset
        As of :func:`~cal_pipeline.heterodyne.session_averages.average_scans`, on the frequencies of the
        first scan, with the coordinate ``velocity`` unless the frame is ``"topocent"`` by default.

    Raises
    ------
    ValueError
        If there is no scan, or if scans are of several sources.
    MissingInputError
        If `frame` is given and L1 lacks what it takes.

    Warns
    -----
    UserWarning
        If several scans cannot be aligned in the LSRK.

    Examples
    --------
    >>> from cal_pipeline import open_l1
    >>> mean = average_aligned(list(open_l1("l1.zarr").values()))
    >>> mean.velocity.attrs["long_name"]
    'velocity (LSRK, radio convention)'
    """
    _refuse_several_sources(scans)
    ratios, used = _find_ratios(scans, frame)
    moved = (_align(scan, ratio / ratios[0]) for scan, ratio in zip(scans, ratios, strict=True))
    mean = average_scans(moved, pixels, weights, flags)
    mean.attrs = make_attributes_plain(mean.attrs | {"frame": used})
    if used == "topocent" and frame is None:
        return mean
    first = scans[0]
    rest = find_rest_frequency(first.dataset)
    pointing = None if used == "topocent" else read_pointing(first.dataset, first.attributes)
    velocity = find_velocities(mean["signal_freqs"].values, rest, pointing, used)
    words = {"long_name": f"velocity ({used.upper()}, radio convention)", "units": "km/s"}
    return mean.assign_coords(velocity=("channel", velocity, words))


def _refuse_several_sources(scans: Sequence[ScanView]) -> None:
    sources = list(dict.fromkeys(str(scan.attributes.get("source") or "(none)") for scan in scans))
    if len(sources) > 1:
        raise ValueError(
            f"scans are of {len(sources)} sources: {list_few(sources)}; choose one, as in "
            f"session.select(source={sources[0]!r:.80}).average()"
        )


def _find_ratios(scans: Sequence[ScanView], frame: str | None) -> tuple[list[float], str]:
    """Find for each scan the frequency in the frame over that at the telescope, and the frame that is used."""
    used = check_name(frame or "lsrk", FRAMES, "frame")
    if used == "topocent":
        return [1.0] * len(scans), used
    try:
        ratios = [read_pointing(scan.dataset, scan.attributes).find_ratio(used) for scan in scans]
        for scan in scans:
            find_rest_frequency(scan.dataset)
    except (CalibrationError, ValueError) as error:
        if frame is not None:
            raise
        if len(scans) > 1:
            warnings.warn(
                f"scans are averaged at the frequencies of the telescope, where lines move with the Earth: {error}",
                stacklevel=4,
            )
        return [1.0] * len(scans), "topocent"
    return ratios, used


def _align(scan: ScanView, ratio: float) -> xarray.Dataset:
    """Move the frequencies of a scan so that its line is where it would be in the first scan."""
    frequencies = scan.dataset["signal_freqs"]
    if ratio == 1.0:
        return scan.dataset
    shift = float(np.asarray(scan.dataset.attrs["rest_freq_hz"], np.float64)) * (ratio - 1.0)
    # A stretch by the ratio would make channels of another width, which an average of whole channels refuses.
    return scan.dataset.assign_coords(signal_freqs=(frequencies.dims, frequencies.values + shift, frequencies.attrs))
