"""Numbers of planned scans beyond the limits of L0, as where a profile has a wrong unit."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.heterodyne.coordinates import check_values
from cal_pipeline.heterodyne.ingest.rows import BandPlan
from cal_pipeline.heterodyne.schema import CALIBRATION_COORDINATES, SOURCE_COORDINATES

_SCHEMAS = {"source": SOURCE_COORDINATES, "calibration": CALIBRATION_COORDINATES}


def warn_of_limits(bands: Iterable[BandPlan], instmode: str) -> list[str]:
    """Warn of numbers for which calibration refuses a scan, as where the profile has a wrong unit.

    Parameters
    ----------
    bands : iterable of BandPlan
        Bands of the scan.
    instmode : str
        Instrument mode of the scan.

    Returns
    -------
    list of str
        A warning for each array, with the numbers and the unit that they look like.
    """
    warnings = []
    for band in bands:
        for group, plan in band.groups.items():
            values = {name: items for name, (_, items) in plan.coordinates.items()}
            phases = values["sobsmode"].astype(np.str_)
            where = f"{band.name}/{group}" if band.name else group
            for name, wanted in _SCHEMAS[group].items():
                try:
                    check_values(where, {**values, "sobsmode": phases}, {name: wanted}, instmode)
                except LayoutError as error:
                    warnings.append(str(error))
    return list(dict.fromkeys(warnings))
