"""Parameter files for the data of imagers."""

from __future__ import annotations

from pathlib import Path

from cal_pipeline.core.files import selection
from cal_pipeline.core.files.selection import ChoiceTable

CHOICES = ChoiceTable(("pipeline", "instrument", "detector", "exp_type"), file="selection_imager.toml")
"""Table that maps pipelines, by their aliases, and exposures to parameter files."""


def choose_parameter_file(
    pipeline: str, instrument: str | None = None, detector: str | None = None, exp_type: str | None = None
) -> Path | None:
    """Find the parameter file of a pipeline for an exposure.

    Parameters
    ----------
    pipeline : str
        Alias of the pipeline, such as ``"detector1"``.
    instrument, detector, exp_type : str or None
        As recorded in the attributes of the exposure.

    Returns
    -------
    Path or None
        The ASDF file; None where the defaults of the steps are meant.
    """
    exposure = {"instrument": instrument, "detector": detector, "exp_type": exp_type}
    return selection.choose_parameter_file(CHOICES, {"pipeline": pipeline, **exposure})
