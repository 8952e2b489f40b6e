"""Log lines of exposures."""

from __future__ import annotations

from cal_pipeline.core.observation import WrittenObservation
from cal_pipeline.core.quality import name_verdict
from cal_pipeline.core.text import make_printable
from cal_pipeline.imager.models import ImageModel

_FIGURES = (
    ("ramp_chi2", "chi² {:.3f}", 1.0),
    ("saturated_fraction", "saturated {:.2f} %", 100.0),
    ("jump_fraction", "jumps {:.2f} %", 100.0),
    ("bad_fraction", "bad {:.2f} %", 100.0),
)

_VALUES = (("ramp_chi2", "chi²", "", 1.0), ("jump_fraction", "jumps", " %", 100.0))
"""Figures for the live view of a run: key, name, unit and factor."""


def summarize_image(image: ImageModel) -> WrittenObservation:
    """Summarize an exposure that was written: log line and verdict.

    Examples
    --------
    >>> qa = {"verdict": "pass", "verdicts": [], "ramp_chi2": 1.002, "jump_fraction": 0.031}
    >>> meta = {"exposure_number": 3, "exp_type": "SCI", "target": "M42", "filter": "K", "qa": qa}
    >>> summarize_image(ImageModel(data=[[1.0]], meta=meta)).summary
    'exposure 3 SCI M42 K, chi² 1.002, jumps 3.10 %, pass'
    """
    meta = image.meta
    named = [make_printable(meta[name]) for name in ("exp_type", "target", "filter") if meta.get(name)]
    qa = meta.get("qa") or {}
    figures = [words.format(factor * qa[name]) for name, words, factor in _FIGURES if qa.get(name) is not None]
    verdict = str(qa.get("verdict", ""))
    checks = [name_verdict(item) for item in qa.get("verdicts", [])]
    ended = f"{verdict}: {', '.join(checks)}" if checks else verdict
    values = {name: f"{factor * qa[key]:.3g}{unit}" for key, name, unit, factor in _VALUES if qa.get(key) is not None}
    return WrittenObservation(
        ", ".join(filter(None, [" ".join([f"exposure {image.number}", *named]), *figures, ended])), verdict, values
    )
