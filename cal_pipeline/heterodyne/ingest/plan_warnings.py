"""Warnings about scans that are planned, beside what is filled in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.ingest.checks import name_row
from cal_pipeline.heterodyne.ingest.load_scans import ScanOutline
from cal_pipeline.heterodyne.ingest.pixels import MISSING
from cal_pipeline.heterodyne.ingest.rows import BandPlan, Floats, GroupPlan, Integers, RowTable, ScanPlan
from cal_pipeline.heterodyne.ingest.sorting import DEFAULTS
from cal_pipeline.heterodyne.load_axes import Axis, are_tuned_alike, describe_axis, find_axis
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY

Mask = NDArray[np.bool_]

_PAUSE = 3600.0
"""Time between rows of one scan above which they may be two scans of one number [s]."""

_AT_SOURCE = 0.2
"""Distance from the source in OFFs over that in ONs, below which the OFFs are at the source."""

_SHOWN = 3
"""Pixels that a warning names."""


def warn_of_pause(mjd: Floats) -> list[str]:
    """Warn of a long pause within a scan, as where a folder holds two nights that count from 1.

    Parameters
    ----------
    mjd : ndarray, shape (N,)
        Middle of each row [d].

    Returns
    -------
    list of str
        A warning if two successive rows are more than an hour apart.

    Examples
    --------
    >>> warn_of_pause(np.array([60000.0, 60001.0]))
    ['rows pause for 24.0 h: two scans may have the same number']
    """
    longest = float(np.diff(np.sort(mjd)).max(initial=0.0)) * SECONDS_A_DAY
    if longest <= _PAUSE:
        return []
    return [f"rows pause for {longest / 3600.0:.1f} h: two scans may have the same number"]


def warn_of_defaults(rows: RowTable, absent: Mapping[str, Mask], index: Integers) -> list[str]:
    """Warn of numbers that the profile declares and rows do not have, which decide on the frequencies.

    Parameters
    ----------
    rows : RowTable
        The table.
    absent : mapping of str to ndarray of bool, shape (N,)
        Rows without a number that is declared, by its name.
    index : ndarray, shape (n,)
        Rows of the scan.

    Returns
    -------
    list of str
        A warning for each number, with the first row in order of time.
    """
    warnings = []
    for name, default in DEFAULTS.items():
        lacking = index[absent[name][index]] if name in absent else index[:0]
        if lacking.size:
            warnings.append(
                f"no {name} in {lacking.size} of {format_count(index.size, 'row')}"
                f" (first: {name_row(rows, int(lacking.min()))}): {default} taken"
            )
    return warnings


def warn_of_other_bands(bands: Sequence[str], loads: ScanOutline) -> list[str]:
    """Warn of loads with other bands: the groups of bands are numbered within each scan.

    Parameters
    ----------
    bands : sequence of str
        Bands of a scan as recorded.
    loads : ScanOutline
        Scan with its loads.

    Returns
    -------
    list of str
        A warning if the bands of the loads are others.

    Examples
    --------
    >>> loads = ScanOutline(7, 60000.0, 60000.0, 60000.1, True, True, frozenset(), {"0": 1024, "1": 1024, "2": 1024})
    >>> warn_of_other_bands(["1", "2"], loads)
    ["loads of scan 7 are of the bands '0', '1', '2', expected '1', '2': band_0, ... of both scans do not correspond"]
    >>> warn_of_other_bands(["2", "1", "0"], loads)
    []
    """
    own, others = sorted(set(bands)), sorted(loads.channels)
    if own == others:
        return []
    found, expected = (", ".join(map(repr, names)) for names in (others, own))
    return [
        f"loads of scan {loads.number} are of the bands {found}, expected {expected}: band_0, ... of both scans do not"
        " correspond"
    ]


def warn_of_reversed_pixels(source: GroupPlan) -> list[str]:
    """Warn of pixels that look at the source in OFFs, and beside it in ONs, as the second beam of a nod.

    Parameters
    ----------
    source : GroupPlan
        Group ``source`` with offsets that start from the source.

    Returns
    -------
    list of str
        A warning with their ids, if there are any; ONs and OFFs of maps do not count.
    """
    found = {name: values for name, (_, values) in source.coordinates.items()}
    if any(name not in found for name in ("otf_lon", "otf_lat", "pixel_offset_lon", "pixel_offset_lat")):
        return []
    lon, lat = (found[f"otf_{axis}"][:, None, None] + found[f"pixel_offset_{axis}"] for axis in ("lon", "lat"))
    distance = np.fmin.reduce(np.hypot(lon, lat)).reshape(-1, len(found["sobsmode"]))
    in_ons, in_offs = (
        np.fmin.reduce(distance[:, found["sobsmode"] == phase], axis=1, initial=np.inf) for phase in ("ON", "OFF")
    )
    known = np.isfinite(in_ons) & np.isfinite(in_offs)
    reversed_ones, upright = known & (in_offs < _AT_SOURCE * in_ons), in_ons < _AT_SOURCE * in_offs
    # A pixel of neither kind may be near the source by chance.
    if not reversed_ones.any() or not (upright[known].any() or reversed_ones[known].all()):
        return []
    names = _list_pixels([str(found["frontend_backends"][pixel]) for pixel in np.flatnonzero(reversed_ones)])
    return [f"the source is in the OFFs of {names}, not in the ONs: lines come out negative"]


def warn_of_others(plans: Mapping[int, ScanPlan]) -> dict[int, ScanPlan]:
    """Warn of pixels that other scans have, and of loads that do not fit.

    Parameters
    ----------
    plans : mapping of int to ScanPlan
        All scans, in order of time.

    Returns
    -------
    dict of int to ScanPlan
        The scans with what they lack among their warnings.
    """
    owners = _find_owners(plans)
    warned = {}
    for number, plan in plans.items():
        warnings = list(plan.warnings)
        for band in plan.bands:
            doubts = [*_find_lost_pixels(band, owners), *_find_odd_loads(band, plans)]
            warnings += [f"{band.name}: {doubt}" if band.name else doubt for doubt in doubts]
        warned[number] = replace(plan, warnings=tuple(warnings))
    return warned


_Owners = dict[tuple[str, frozenset[str]], int]
"""First scan with each name of a band and set of pixels."""


def _find_owners(plans: Mapping[int, ScanPlan]) -> _Owners:
    owners: _Owners = {}
    for number, plan in plans.items():
        for band in plan.bands:
            owners.setdefault((band.name, frozenset(_pixels_of(band))), number)
    return owners


def _pixels_of(band: BandPlan) -> list[str]:
    group = next(iter(band.groups.values()))
    return [str(text) for text in group.coordinates["frontend_backends"][1]]


def _find_lost_pixels(band: BandPlan, owners: _Owners) -> list[str]:
    """Find pixels of scans that have a pixel of the band, too; those of other receivers do not count."""
    own = frozenset(_pixels_of(band))
    lost: dict[str, int] = {}
    for (name, pixels), number in owners.items():
        if name == band.name and not own.isdisjoint(pixels):
            known = {pixel for pixel in pixels - own if not pixel.startswith(MISSING)}
            lost = dict.fromkeys(known, number) | lost
    if not lost:
        return []
    return [f"no rows of {_list_pixels(sorted(lost))}, which scan {lost[min(lost)]} has"]


def _list_pixels(pixels: list[str]) -> str:
    more = f" and {format_count(len(pixels) - _SHOWN, 'more pixel')}" if len(pixels) > _SHOWN else ""
    return ", ".join(map(repr, pixels[:_SHOWN])) + more


def _find_odd_loads(band: BandPlan, plans: Mapping[int, ScanPlan]) -> list[str]:
    """Find loads that calibration does not take, as channels or pixels differ, or should not, as the tuning does."""
    source = band.groups.get("source")
    if source is None:
        return []
    number = int(source.coordinates["lloadsn"][1][0])
    loads = {other.name: other for other in plans[number].bands}.get(band.name) if number in plans else None
    if "calibration" in band.groups:
        return _find_odd_tuning(source, band.groups["calibration"], "its own loads", "T_A* is wrong with them")
    if loads is None or "calibration" not in loads.groups:
        return []
    own, others = _pixels_of(band), _pixels_of(loads)
    n_channels = loads.groups["calibration"].shape[0]
    if source.shape[0] != n_channels:
        found = f"{format_count(n_channels, 'channel')}, expected {source.shape[0]}"
    elif set(own) != set(others):
        found = f"{format_count(len(others), 'pixel')}, expected the {len(own)} of this scan"
    else:
        name = f"loads of scan {number}"
        return _find_odd_tuning(source, loads.groups["calibration"], name, "calibration takes others")
    return [f"loads of scan {number} have {found}: calibration takes others"]


def _find_odd_tuning(source: GroupPlan, loads: GroupPlan, name: str, effect: str) -> list[str]:
    """Find loads of another tuning, whose gains are those of other frequencies."""
    own, other = _find_axis(source), _find_axis(loads)
    if are_tuned_alike(own, other):
        return []
    found, expected = describe_axis(other), describe_axis(own)
    return [f"{name} were observed at {found}, expected {expected} as the source: {effect}"]


def _find_axis(group: GroupPlan) -> Axis:
    """Find the frequency axis of the first subscan of a group."""
    names = ("signal_freq", "freq_off", "ref_channel", "freq_res")
    return find_axis(group.shape[0], *(float(group.coordinates[name][1][0]) for name in names))
