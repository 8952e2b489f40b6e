"""Results of scans under combinations of parameters, and their differences from the current parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from cal_pipeline.core.quality import SEVERITIES, name_verdict
from cal_pipeline.heterodyne.scan import Band

CALIBRATED, PARTLY, FAILED = "calibrated", "partly", "failed"
"""Status of a combination: for all scans, for some, or for none there are results."""


class TuningFigure(NamedTuple):
    """Figure of a combination: unit, heading and meaning."""

    unit: str
    heading: str
    meaning: str


FIGURES: dict[str, TuningFigure] = {
    "pwv_mm": TuningFigure("mm", "PWV", "precipitable water vapour"),
    "pwv_total_err_mm": TuningFigure("mm", "PWV error", "its total error, statistical and of the opacity model"),
    "pwv_err_mm": TuningFigure("mm", "statistical error", "its statistical error"),
    "pwv_chi2": TuningFigure("", "chi²", "reduced chi-squared of the fit of the sky"),
    "sky_misfit_K": TuningFigure("K", "sky residual", "residual of the fitted sky, rms of the means of channel blocks"),
    "sky_misfit_sigma": TuningFigure("", "sky residual/noise", "residual of the fitted sky over its noise"),
    "noise_ratio": TuningFigure("", "noise ratio", "measured over expected noise"),
    "ripple_K": TuningFigure("K", "ripple", "amplitude of the strongest ripple of the mean spectrum"),
    "ripple_sigma": TuningFigure("", "ripple/noise", "amplitude of the strongest ripple over that of noise"),
    "t_rec_dsb_K": TuningFigure("K", "T_rec DSB", "receiver temperature, double sideband"),
    "t_rec_ssb_K": TuningFigure("K", "T_rec SSB", "receiver temperature, single sideband"),
    "t_sys_K": TuningFigure("K", "T_sys DSB", "system temperature, double sideband"),
    "scale_error": TuningFigure("", "scale error", "relative error of the scale of T_A*"),
}
"""Figures of a combination, medians of the pixels."""

_RECORDED = {"pwv_mm": "pwv_mm", "pwv_err_mm": "pwv_err_mm"}
"""Figures that are attributes of L1; the others are medians among the quality figures."""

_REDUCED = {name: name.removesuffix("_K") + "_median_K" for name in ("t_rec_dsb_K", "t_rec_ssb_K", "t_sys_K")}
"""Names of medians that are not the figure's with ``_median`` after it."""

Figures = Mapping[str, float | None]
"""Values by the names in `FIGURES`, and ``seconds``; None for what is not known."""


@dataclass(frozen=True)
class BandResult:
    """Figures and verdict of a band under a combination.

    Parameters
    ----------
    band : str
        Name of the band; empty for the only one.
    figures : mapping
        Values by the names in `FIGURES`; None for what is not known.
    verdict : str
        Verdict; empty if nothing was judged.
    checks : tuple of str
        Checks that were not passed.
    attributes : mapping
        Attributes as a run records them in L1, without provenance and figures of single pixels.
    """

    band: str
    figures: Figures
    verdict: str
    checks: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def collect(cls, band: Band, attributes: Mapping[str, Any]) -> BandResult:
        """Collect the figures of a calibrated band from its attributes in L1.

        Parameters
        ----------
        band : Band
            The band.
        attributes : mapping
            Its attributes in L1.
        """
        quality = attributes["qa"]
        figures = {name: _finite(quality.get(_REDUCED.get(name, f"{name}_median"))) for name in FIGURES}
        figures |= {name: _finite(attributes.get(key)) for name, key in _RECORDED.items()}
        figures["pwv_total_err_mm"] = _find_total_error(band)
        checks = tuple(map(name_verdict, quality["verdicts"]))
        kept = {name: value for name, value in attributes.items() if name != "provenance"}
        kept["qa"] = {name: value for name, value in quality.items() if name != "pixels"}
        return cls(band.name, figures, str(quality["verdict"]) if quality["checks"] else "", checks, kept)


@dataclass(frozen=True)
class ScanResult:
    """Results of a scan under a combination, or the failure of the scan.

    Parameters
    ----------
    scan : int
        Scan number.
    bands : tuple of BandResult
        Results of its bands; empty after a failure.
    seconds : float
        Time of the steps and of the pass over the samples, those that were shared included [s].
    failed_in, message : str
        Step that failed, and its message; empty otherwise.
    """

    scan: int
    bands: tuple[BandResult, ...] = ()
    seconds: float = 0.0
    failed_in: str = ""
    message: str = ""


@dataclass
class TuningRow:
    """A combination of parameters and its results.

    Parameters
    ----------
    number : int or None
        Number of the row; None for the current parameters where no combination equals them.
    parameters : mapping
        Values of the varied parameters by label, as in ``atmosphere.model_error``.
    is_current : bool
        Whether all parameters of the scans are those without any variation.
    scans : list of ScanResult
        Results of the scans, in the order of the session.

    Examples
    --------
    >>> bands = [(BandResult("", {"pwv_mm": pwv}, "pass"),) for pwv in (0.5, 0.7, 0.6)]
    >>> row = TuningRow(0, {"gain.level": 0}, False, [ScanResult(scan, band) for scan, band in enumerate(bands)])
    >>> row.status, row.verdict, row.figures["pwv_mm"], row.figures["noise_ratio"]
    ('calibrated', 'pass', 0.6, None)
    """

    number: int | None
    parameters: Mapping[str, Any]
    is_current: bool = False
    scans: list[ScanResult] = field(default_factory=list)

    @property
    def status(self) -> str:
        """Status: ``calibrated``, ``partly`` or ``failed``."""
        failed = sum(bool(scan.message) for scan in self.scans)
        return CALIBRATED if not failed else PARTLY if failed < len(self.scans) else FAILED

    @property
    def failures(self) -> list[ScanResult]:
        """Scans that failed."""
        return [scan for scan in self.scans if scan.message]

    @property
    def verdict(self) -> str:
        """Worst verdict of the scans; empty without any."""
        return max((band.verdict for band in self._bands() if band.verdict), key=SEVERITIES.index, default="")

    @property
    def checks(self) -> list[str]:
        """Checks that some scan did not pass, in the order of their first appearance."""
        return list(dict.fromkeys(check for band in self._bands() for check in band.checks))

    @property
    def figures(self) -> Figures:
        """Medians of the figures over scans and bands, and the sum of the ``seconds``."""
        bands = list(self._bands())
        medians = {name: _median(band.figures.get(name) for band in bands) for name in FIGURES}
        return {**medians, "seconds": sum(scan.seconds for scan in self.scans)}

    def _bands(self) -> Iterable[BandResult]:
        return (band for scan in self.scans for band in scan.bands)

    def subtract(self, other: TuningRow) -> Figures:
        """Compute the differences of the figures from those of another combination.

        Parameters
        ----------
        other : TuningRow
            The other combination, of the same scans.

        Returns
        -------
        mapping
            Medians of the differences over the scans and bands of which both are known, so that a scan
            that fails under one of them makes no difference; None without any. The difference of
            ``seconds`` is that of their sums over these scans.
        """
        known = {(scan.scan, band.band): band.figures for scan in other.scans for band in scan.bands}
        pairs = [
            (band.figures, known[scan.scan, band.band])
            for scan in self.scans
            for band in scan.bands
            if (scan.scan, band.band) in known
        ]
        changes: dict[str, float | None] = {
            name: _median(_subtract(own.get(name), others.get(name)) for own, others in pairs) for name in FIGURES
        }
        times = {scan.scan: scan.seconds for scan in other.scans if scan.bands}
        both = [scan.seconds - times[scan.scan] for scan in self.scans if scan.bands and scan.scan in times]
        return {**changes, "seconds": sum(both) if both else None}

    def describe(self, current: TuningRow | None = None, full_names: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Describe the row by plain values, ready for JSON.

        Parameters
        ----------
        current : TuningRow, optional
            The current parameters, for the differences.
        full_names : mapping, optional
            Names of the parameters in the description, by label.
        """
        names = full_names or {}
        described: dict[str, Any] = {
            "row": self.number,
            "parameters": {names.get(label, label): value for label, value in self.parameters.items()},
            "current": self.is_current,
            "status": self.status,
            "verdict": self.verdict or None,
            "checks": self.checks,
            **self.figures,
            "scans": [item for scan in self.scans for item in _describe_scan(scan)],
        }
        if current is not None:
            described["change"] = dict(self.subtract(current))
        return described


def _describe_scan(scan: ScanResult) -> list[dict[str, Any]]:
    """Describe the bands of a scan, or its failure."""
    if scan.message:
        return [{"scan": scan.scan, "failed_in": scan.failed_in, "message": scan.message}]
    return [
        {
            "scan": scan.scan,
            "band": band.band,
            "verdict": band.verdict or None,
            "checks": list(band.checks),
            **band.figures,
            "seconds": scan.seconds,
        }
        for band in scan.bands
    ]


def _find_total_error(band: Band) -> float | None:
    """Compute the median total error of the water vapour [mm]; None if it is not known."""
    if band.atmosphere is None:
        return None
    fit = band.atmosphere.fit
    return _median(np.ravel(np.hypot(fit.error, fit.error_model)).tolist())


def _subtract(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other


def _finite(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _median(values: Iterable[float | None]) -> float | None:
    """Compute the median of the known values; None without any."""
    known: Sequence[float] = [value for value in values if value is not None and math.isfinite(value)]
    return float(np.median(known)) if known else None
