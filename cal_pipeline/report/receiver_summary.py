"""Summary of a band of an L1 scan: the figures of a report's overview."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.quality import NOT_KNOWN, SEVERITIES
from cal_pipeline.core.store.records import DEFAULT, ObservationRecord, as_mapping
from cal_pipeline.core.text import format_with_error
from cal_pipeline.report.receiver_band import BandArrays

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Warned:
    """A check that a band does not pass.

    Parameters
    ----------
    name, verdict, explanation : str
        Check, verdict and explanation.
    value, limit : object
        Worst value, and the limit that it crosses.
    pixels : tuple of str
        Pixels concerned.
    """

    name: str
    verdict: str
    explanation: str
    value: Any
    limit: Any
    pixels: tuple[str, ...]


@dataclass(frozen=True)
class BandSummary:
    """Summary of a band; None where something is not known.

    Parameters
    ----------
    number : int
        Scan.
    page : str
        Address of its page.
    band : str
        Name of the band; empty where the scan is not divided.
    record : ObservationRecord
        Its record.
    start, end : numpy.datetime64 or None
        Start of the first ON and end of the last.
    pwv, pwv_err, pwv_err_model : float or None
        Water vapour, its statistical error and that from the model, medians [mm].
    terms : dict
        Parts of the error of the scale, medians over pixels, by name.
    t_sys, t_rec : ndarray, shape (P,)
        System and receiver temperature (DSB) of the pixels; NaN where not known [K].
    pixels : tuple of str
        Names of the pixels.
    offsets : tuple of ndarray or None
        Offsets of the pixels [deg].
    t_int : float or None
        Integration time on source [s].
    frequency : float or None
        Middle of the band [Hz].
    problems : dict
        Arrays that could not be read, with the reason.
    """

    number: Any
    page: str
    band: str
    record: ObservationRecord
    start: np.datetime64 | None
    end: np.datetime64 | None
    pwv: float | None
    pwv_err: float | None
    pwv_err_model: float | None
    terms: Mapping[str, float]
    t_sys: Floats
    t_rec: Floats
    pixels: tuple[str, ...]
    offsets: tuple[Floats, Floats] | None
    t_int: float | None
    frequency: float | None
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def pwv_total(self) -> float | None:
        """Total error of the water vapour [mm]."""
        if self.pwv_err is None or self.pwv_err_model is None:
            return None
        return math.hypot(self.pwv_err, self.pwv_err_model)

    @property
    def verdict(self) -> str:
        """Verdict; empty where it is not known."""
        return self.record.verdict if self.record.verdict in SEVERITIES else ""

    def text(self, name: str) -> str | None:
        """Look up an attribute as text; None where it is not known."""
        value = self.record.attributes.get(name, as_mapping(self.record.attributes.get("scan_metadata")).get(name))
        return None if value is None or value == "" else str(value)

    @property
    def warnings(self) -> list[Warned]:
        """Checks that are not passed, the failed ones first."""
        verdicts = self.record.quality.get("verdicts")
        found = [_read_warning(as_mapping(item)) for item in verdicts] if isinstance(verdicts, list) else []
        return sorted(found, key=lambda warned: (-rank(warned.verdict), warned.name))

    @property
    def label(self) -> str:
        """Name of scan and band."""
        return f"{self.number} {self.band}".rstrip()


def rank(verdict: str) -> int:
    """Return the severity of a verdict; -1 where it is not known.

    Examples
    --------
    >>> rank("fail") > rank("pass") > rank("")
    True
    """
    return SEVERITIES.index(verdict) if verdict in SEVERITIES else -1


def worst_verdict(verdicts: Iterable[str]) -> str:
    """Return the worst of verdicts; an unknown one beside passed ones leaves the whole unknown.

    Examples
    --------
    >>> worst_verdict(["pass", "questionable"]), worst_verdict(["pass", ""])
    ('questionable', '')
    """
    found = list(verdicts)
    worst = max(found, key=rank, default="")
    return "" if worst == SEVERITIES[0] and "" in found else worst


def summarize_band(arrays: BandArrays, page: str) -> BandSummary:
    """Summarize a band.

    Parameters
    ----------
    arrays : BandArrays
        The band.
    page : str
        Address of its page.

    Returns
    -------
    BandSummary
    """
    record = arrays.record
    by_pixel = as_mapping(record.quality.get("pixels"))
    t_int = arrays.read("t_int")
    start, end = _find_span(arrays.times(), t_int)
    frequency = arrays.frequency
    return BandSummary(
        number=record.number,
        page=page,
        band=record.part,
        record=record,
        start=start,
        end=end,
        pwv=_median(arrays.read("pwv")),
        pwv_err=_median(arrays.read("pwv_err")),
        pwv_err_model=_median(arrays.read("pwv_err_model")),
        terms=read_terms(arrays),
        t_sys=_figures(by_pixel, "t_sys_K", len(arrays.pixels)),
        t_rec=_figures(by_pixel, "t_rec_dsb_K", len(arrays.pixels)),
        pixels=tuple(arrays.pixels),
        offsets=arrays.offsets(),
        t_int=None if t_int is None else float(np.nansum(t_int)),
        frequency=None if frequency is None or not len(frequency) else float(frequency[len(frequency) // 2]),
        problems=arrays.problems,
    )


def _find_span(times: NDArray[Any] | None, t_int: Floats | None) -> tuple[np.datetime64 | None, np.datetime64 | None]:
    """Find the start of the first ON and the end of the last, from the middles and the times on source [s]."""
    if times is None:
        return None, None
    known = t_int is not None and t_int.shape == times.shape and bool(np.isfinite(t_int).all())
    half = np.rint(500.0 * t_int).astype("timedelta64[ms]") if known and t_int is not None else np.timedelta64(0, "ms")
    return (times - half).min(), (times + half).max()


def read_terms(arrays: BandArrays) -> dict[str, float]:
    """Read the parts of the error of the scale, medians over pixels; empty where they are not known.

    Parameters
    ----------
    arrays : BandArrays
        The band.
    """
    reader, values = arrays.open("scale_error_terms"), arrays.read("scale_error_terms")
    names = reader.attributes.get("terms") if reader is not None else None
    if values is None or not isinstance(names, Sequence) or len(names) != len(values):
        return {}
    medians = [_median(value) for value in values]
    return {str(name): value for name, value in zip(names, medians, strict=True) if value is not None}


def with_error(value: float | None, error: float | None) -> str | float | None:
    """Format a value with its error, or alone; None where it is not known.

    Examples
    --------
    >>> with_error(0.5, 0.016), with_error(None, 1.0)
    ('0.500 ± 0.016', None)
    """
    if value is None or error is None:
        return value
    return format_with_error(value, error)


def list_parameters(record: ObservationRecord) -> dict[str, tuple[Any, str]]:
    """List the parameters of a band with their origins, those that are no defaults first.

    Parameters
    ----------
    record : ObservationRecord
        Its record.
    """
    listed = {name: (value, record.origin(name)) for name, value in record.parameters.items()}
    return dict(sorted(listed.items(), key=lambda item: (item[1][1] == DEFAULT, item[0])))


def _read_warning(verdict: Mapping[str, Any]) -> Warned:
    explanation = str(verdict.get("explanation") or "")
    pixels = verdict.get("pixels")
    return Warned(
        str(verdict.get("name")),
        str(verdict.get("verdict") or ""),
        "the value is not known" if explanation == NOT_KNOWN else explanation,
        verdict.get("value"),
        verdict.get("limit"),
        tuple(map(str, pixels)) if isinstance(pixels, list) else (),
    )


def _figures(by_pixel: Mapping[str, Any], name: str, count: int) -> Floats:
    """Look up a figure of all pixels; NaN where it is not known."""
    values = [as_mapping(figures).get(name) for figures in by_pixel.values()]
    found = [float(value) if isinstance(value, (int, float)) else math.nan for value in values]
    return np.array(found) if len(found) == count else np.full(count, np.nan)


def _median(values: Any) -> float | None:
    if values is None:
        return None
    finite = values[np.isfinite(values)]
    return float(np.median(finite)) if finite.size else None
