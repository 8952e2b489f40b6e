"""Verdicts on a band of a scan: figures of its pixels against the limits of one file."""

from __future__ import annotations

import difflib
import hashlib
import math
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.selection import cfg_folder
from cal_pipeline.heterodyne.physics.averages import median_of_finite

Pixels = NDArray[Any]

PASS, QUESTIONABLE, FAIL = "pass", "questionable", "fail"
SEVERITIES = (PASS, QUESTIONABLE, FAIL)
"""Verdicts, the worst last."""


class QualityLimitsError(CalibrationError):
    """The file with the limits cannot be used."""


@dataclass(frozen=True)
class Figures:
    """Quality figures of each pixel of a band, shape (R, A); None if unknown.

    Parameters
    ----------
    t_rec_ssb_K, t_rec_dsb_K, t_sys_K : ndarray
        Median receiver (SSB, DSB) and system temperature (DSB) over the good channels [K].
    pwv_mm, pwv_err_mm, pwv_chi2 : ndarray
        Water vapour, its statistical error [mm] and the reduced chi² of its fit; medians over
        several fits.
    pwv_at_bound, pwv_unconstrained, pwv_converged : ndarray of bool
        Whether any fit ended at a bound, any was unconstrained, and all converged.
    noise_ratio : ndarray
        Measured over expected noise.
    ripple_K : ndarray
        Amplitude of the strongest ripple of the mean spectrum [K].
    load_instability : ndarray
        Relative change of the counts on a load from dump to dump.
    gain_drift : ndarray
        Relative change of the gain between the loads before and after the scan.
    bad_channel_fraction : ndarray
        Fraction of channels that the loads cannot calibrate.
    sky_below_cold_load_fraction : ndarray
        Fraction of channels in which the sky is colder than the cold load.
    flagged_fraction : dict
        Fraction of samples with each flag by its name, ``""`` for any.
    """

    t_rec_ssb_K: Pixels | None = None
    t_rec_dsb_K: Pixels | None = None
    t_sys_K: Pixels | None = None
    pwv_mm: Pixels | None = None
    pwv_err_mm: Pixels | None = None
    pwv_chi2: Pixels | None = None
    pwv_at_bound: Pixels | None = None
    pwv_unconstrained: Pixels | None = None
    pwv_converged: Pixels | None = None
    noise_ratio: Pixels | None = None
    ripple_K: Pixels | None = None
    load_instability: Pixels | None = None
    gain_drift: Pixels | None = None
    bad_channel_fraction: Pixels | None = None
    sky_below_cold_load_fraction: Pixels | None = None
    flagged_fraction: Mapping[str, Pixels] = field(default_factory=dict)

    def by_name(self) -> dict[str, Pixels]:
        """Return all known figures, those of flags under ``flagged_fraction_<FLAG>``."""
        known = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "flagged_fraction"}
        flags = {
            f"flagged_fraction_{name}" if name else "flagged_fraction": v for name, v in self.flagged_fraction.items()
        }
        return {name: values for name, values in (known | flags).items() if values is not None}

    def checked(self) -> dict[str, Pixels]:
        """Return the values that limits apply to, by the name of the check."""
        known = self.by_name()
        checks = {name: known[name] for name in _CHECKED_AS_THEY_ARE if name in known}
        if self.ripple_K is not None and self.t_sys_K is not None:
            checks["ripple_over_t_sys"] = self.ripple_K / self.t_sys_K
        if self.gain_drift is not None:
            checks["gain_drift"] = np.abs(self.gain_drift)
        if self.pwv_converged is not None:
            checks["pwv_not_converged"] = ~self.pwv_converged
        if self.bad_channel_fraction is not None:
            checks["dead_pixel"] = self.bad_channel_fraction >= 1.0
        return checks


_CHECKED_AS_THEY_ARE = (
    "t_rec_ssb_K",
    "pwv_chi2",
    "pwv_at_bound",
    "pwv_unconstrained",
    "noise_ratio",
    "load_instability",
    "flagged_fraction",
)

CHECKS = (*_CHECKED_AS_THEY_ARE, "ripple_over_t_sys", "gain_drift", "pwv_not_converged", "dead_pixel")
"""Names of all checks; each can have limits."""

_SELECTORS = ("telescope", "frontend", "frequency_range_hz")


@dataclass(frozen=True)
class Limit:
    """Limits beyond which a figure is questionable or fails.

    Parameters
    ----------
    explanation : str
        Meaning of the check.
    questionable, fail : float or None
        Upper limits: a larger figure is questionable, or fails.
    questionable_below, fail_below : float or None
        Lower limits: a smaller figure is questionable, or fails.
    """

    explanation: str
    questionable: float | None = None
    fail: float | None = None
    questionable_below: float | None = None
    fail_below: float | None = None

    def severity(self, values: Pixels) -> NDArray[np.int64]:
        """Grade each value: 0 pass, 1 questionable, 2 fail; NaN (unknown) passes."""
        numbers = np.asarray(values, np.float64)
        result = np.zeros(numbers.shape, np.int64)
        for severity, above, below in (
            (1, self.questionable, self.questionable_below),
            (2, self.fail, self.fail_below),
        ):
            if above is not None:
                result[numbers > above] = severity
            if below is not None:
                result[numbers < below] = severity
        return result

    def crossed(self, severity: int) -> list[float]:
        """Return the finite limits of a severity."""
        pair = (self.questionable, self.questionable_below) if severity == 1 else (self.fail, self.fail_below)
        return [limit for limit in pair if limit is not None and math.isfinite(limit)]


@dataclass(frozen=True)
class Limits:
    """Limits for some data.

    Parameters
    ----------
    checks : dict
        Limit of each check by its name.
    file : str
        Name of the limits file.
    sha256 : str
        SHA-256 digest of the file.
    """

    checks: dict[str, Limit]
    file: str
    sha256: str


@dataclass(frozen=True)
class QualityLimits:
    """All that a file of limits holds.

    Parameters
    ----------
    default : dict
        Settings of each check.
    sections : tuple of dict
        Settings for some data only; later sections win.
    file : str
        Name of the file.
    sha256 : str
        SHA-256 digest of the file.
    """

    default: dict[str, dict[str, Any]]
    sections: tuple[dict[str, Any], ...]
    file: str
    sha256: str

    def for_data(self, telescope: str | None, frontend: str | None, frequency: float) -> Limits:
        """Limits for some data.

        Parameters
        ----------
        telescope, frontend : str or None
            As recorded in the attributes of the scan; what is not recorded only suits ``*``.
        frequency : float
            Sky frequency [Hz].

        Returns
        -------
        Limits
            Checks without settings are not made.
        """
        checks = {name: dict(settings) for name, settings in self.default.items()}
        for section in self.sections:
            if _suits(section, telescope or "", frontend or "", frequency):
                for name in CHECKS:
                    checks.setdefault(name, {}).update(section.get(name, {}))
        return Limits(
            {name: Limit(**settings) for name, settings in checks.items() if settings}, self.file, self.sha256
        )


def read_limits(path: Path | None = None) -> QualityLimits:
    """Read a file of limits, once as long as it does not change.

    Parameters
    ----------
    path : Path, optional
        TOML file; ``quality.toml`` in `cfg` if not given.

    Returns
    -------
    QualityLimits

    Raises
    ------
    QualityLimitsError
        If it cannot be read or holds what is not known.
    """
    path = Path(path or cfg_folder() / "quality.toml").absolute()
    try:
        return _read(path, path.stat().st_mtime_ns)
    except (OSError, ValueError) as error:
        raise QualityLimitsError(f"{path} cannot be read: {error}") from error


@lru_cache(maxsize=4)
def _read(path: Path, mtime_ns: int) -> QualityLimits:
    content = path.read_bytes()
    tree = tomllib.loads(content.decode("utf-8"))
    _known(path, tree, {"default", "section"})
    default, sections = tree.get("default", {}), tree.get("section", [])
    _check_settings(path, "default", default, set())
    if not isinstance(sections, list):
        raise QualityLimitsError(f"{path}: section is {type(sections).__name__}, expected entries [[section]]")
    for index, section in enumerate(sections):
        _check_settings(path, f"section[{index}]", section, set(_SELECTORS))
        _check_selectors(path, f"section[{index}]", section)
    _check_explained(path, {"default": default} | {f"section[{i}]": section for i, section in enumerate(sections)})
    return QualityLimits(default, tuple(sections), path.name, hashlib.sha256(content).hexdigest())


def _check_settings(path: Path, where: str, section: Any, selectors: set[str]) -> None:
    _known(path, section, set(CHECKS) | selectors, where)
    names = {f.name for f in fields(Limit)}
    for name, settings in section.items():
        if name in CHECKS:
            _known(path, settings, names, f"{where}.{name}")
            for key, value in settings.items():
                if not (isinstance(value, str) if key == "explanation" else _is_number(value)):
                    raise QualityLimitsError(
                        f"{path}: {where}.{name}.{key} is {value!r}, expected a number (text to explain)"
                    )


def _check_selectors(path: Path, where: str, section: Mapping[str, Any]) -> None:
    for name in ("telescope", "frontend"):
        if not isinstance(section.get(name, ""), str):
            raise QualityLimitsError(f"{path}: {where}.{name} is {section[name]!r}, expected text; '*' is anything")
    window = section.get("frequency_range_hz", [0.0, 1.0])
    ordered = isinstance(window, list) and len(window) == 2 and all(map(_is_number, window)) and window[0] < window[1]
    if not ordered:
        raise QualityLimitsError(f"{path}: {where}.frequency_range_hz is {window!r}, expected [lowest, highest] in Hz")


def _check_explained(path: Path, sections: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Require an explanation of each check, in the default or in the section that adds it."""
    for where, section in sections.items():
        for name in set(section) & set(CHECKS) - set(sections["default"] if where != "default" else ()):
            if not section[name].get("explanation"):
                raise QualityLimitsError(f"{path}: {where}.{name} lacks an explanation")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not math.isnan(value)


def _known(path: Path, section: Any, known: set[str], where: str = "") -> None:
    """Raise an error unless a value is a table with known names only."""
    if not isinstance(section, Mapping):
        raise QualityLimitsError(f"{path}: {where} is {section!r}, expected a table with {', '.join(sorted(known))}")
    where += "." if where else ""
    for key in section:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"expected {', '.join(sorted(known))}"
            raise QualityLimitsError(f"{path}: {where}{key} is not known; {hint}")


def _suits(section: Mapping[str, Any], telescope: str, frontend: str, frequency: float) -> bool:
    low, high = section.get("frequency_range_hz", (0.0, float("inf")))
    return (
        fnmatchcase(telescope.upper(), section.get("telescope", "*").upper())
        and fnmatchcase(frontend.upper(), section.get("frontend", "*").upper())
        and low <= frequency <= high
    )


def quality(figures: Figures, pixel: NDArray[np.str_], limits: Limits) -> dict[str, Any]:
    """Make the figures and verdicts of a band.

    Parameters
    ----------
    figures : Figures
        Measured figures.
    pixel : ndarray of str, shape (R, A)
        Ids of the pixels.
    limits : Limits
        Limits for the checks.

    Returns
    -------
    dict
        Ready for JSON, None for what is not known. Medians over the pixels; ``pixels``, figures by
        pixel; ``verdict``, the worst of all; ``verdicts``, one for each check that some pixel does
        not pass, with these ``pixels`` and, of them, the ``failing_pixels``; ``checks``, all that
        were made; ``thresholds``, where the limits are from.

    Notes
    -----
    A check fails when it fails in more than half of the pixels; when it fails in fewer, it is
    questionable, and the pixels are named. Pixels without any good channel are not judged but for
    being dead.
    """
    checks = {name: values for name, values in figures.checked().items() if name in limits.checks}
    dead = figures.checked().get("dead_pixel", np.zeros(pixel.shape, np.bool_))
    verdicts = [
        verdict
        for name, values in checks.items()
        for verdict in _verdicts(name, values, limits.checks[name], pixel, dead & (name != "dead_pixel"))
    ]
    worst = max((SEVERITIES.index(verdict["verdict"]) for verdict in verdicts), default=0)
    by_name = figures.by_name()
    unknown = {f.name: None for f in fields(figures) if f.name != "flagged_fraction"}
    return {
        **_of_all_pixels(figures),
        "verdict": SEVERITIES[worst],
        "verdicts": verdicts,
        "checks": sorted(checks),
        "thresholds": {"file": limits.file, "sha256": limits.sha256},
        "pixels": {
            str(pixel[index]): unknown | {name: _finite(values[index].item()) for name, values in by_name.items()}
            for index in np.ndindex(pixel.shape)
        },
    }


def _verdicts(
    name: str, values: Pixels, limit: Limit, pixel: NDArray[np.str_], not_judged: NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    """The verdict on one check, where it is not passed."""
    severity = np.where(not_judged, 0, limit.severity(values))
    worst = int(severity.max(initial=0))
    if worst == 0:
        return
    concerned = severity == worst
    judged = max(int((~not_judged).sum()), 1)
    verdict = FAIL if worst == 2 and 2 * concerned.sum() > judged else QUESTIONABLE
    shown = np.asarray(values, np.float64)[concerned]
    yield {
        "name": name,
        "verdict": verdict,
        "value": _finite(float(shown[np.argmax(np.abs(shown - np.median(limit.crossed(worst))))])),
        "limit": limit.crossed(worst),
        "pixels": [str(name) for name in pixel[severity > 0]],
        "failing_pixels": [str(name) for name in pixel[severity == 2]],
        "explanation": limit.explanation,
    }


def _finite(value: Any) -> Any:
    """Return a finite number, or None."""
    return value if math.isfinite(value) else None


def _of_all_pixels(figures: Figures) -> dict[str, Any]:
    """Reduce each figure to one number for the band."""
    known = figures.by_name()
    medians = {
        "t_rec_ssb_K": "t_rec_ssb_median_K",
        "t_rec_dsb_K": "t_rec_dsb_median_K",
        "t_sys_K": "t_sys_median_K",
        "pwv_chi2": "pwv_chi2_median",
    }
    result: dict[str, Any] = {}
    for name, values in known.items():
        if name.startswith("flagged_fraction_"):
            by_flag = result.setdefault("flagged_fraction_by_flag", {})
            by_flag[name.removeprefix("flagged_fraction_")] = _finite(float(np.mean(values)))
        elif values.dtype == np.bool_:
            result[name] = bool(values.all() if name == "pwv_converged" else values.any())
        elif name.endswith("_fraction"):
            result[name] = _finite(float(np.mean(values)))
        else:
            flat = np.asarray(values, np.float64).ravel()
            result[medians.get(name, f"{name}_median")] = _finite(float(median_of_finite(flat, axis=0)))
    return result
