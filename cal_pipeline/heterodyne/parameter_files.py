"""Parameter files for the data of heterodyne receivers."""

from __future__ import annotations

from pathlib import Path

from cal_pipeline.core.files import selection
from cal_pipeline.core.files.selection import ChoiceTable
from cal_pipeline.heterodyne.references.telescope import find_profile, open_profile

CHOICES = ChoiceTable(("telescope", "frontend", "mode"))
"""Table that maps data to parameter files. Its telescope is named as in its profile."""


def choose_parameter_file(
    telescope: str | None = None, frontend: str | None = None, mode: str | None = None
) -> Path | None:
    """Find the parameter file for data of a telescope, frontend and mode.

    Parameters
    ----------
    telescope, frontend : str or None
        As recorded in the attributes of the scan.
    mode : str or None
        Observing mode.

    Returns
    -------
    Path or None
        The ASDF file; None where the defaults of the steps are meant.
    """
    profile = open_profile(find_profile(telescope)).name
    return selection.choose_parameter_file(CHOICES, {"telescope": profile, "frontend": frontend, "mode": mode})
