"""Input of the steps that describe the atmosphere of a night."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cal_pipeline.cherenkov.atmosphere_tables import compute_density_15km
from cal_pipeline.cherenkov.errors import ConfigurationError, MissingInputError
from cal_pipeline.cherenkov.meteo import MeteoSelection, MeteoTable
from cal_pipeline.cherenkov.night import Night, find_night
from cal_pipeline.cherenkov.observatory import Observatory
from cal_pipeline.cherenkov.physics.levels import LevelProfile
from cal_pipeline.cherenkov.request import HANDLERS, Request, make_request
from cal_pipeline.core.errors import NoInputError
from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.steps.cherenkov.base import CherenkovStep
from cal_pipeline.steps.cherenkov.database import DatabaseStep

logger = logging.getLogger(__name__)

REQUEST_FILE = "meteo_request.json"
"""Name of the file that says which data are missing."""


@dataclass(frozen=True)
class NightInput:
    """Meteorological data of a night at an observatory, read once for all steps.

    Attributes
    ----------
    observatory : Observatory
        The observatory.
    night : Night
        Dusk, dawn and evening.
    request : Request
        Times and points that were asked for.
    handler : str
        Name of the handler of the data.
    selection : MeteoSelection or None
        The data; None if they are missing.
    missing : str
        Reason for that.
    files : list of Path
        Files that were read.
    warnings : list of str
        Warnings of the request and of the data, for the provenance of each product.
    """

    observatory: Observatory
    night: Night
    request: Request
    handler: str
    selection: MeteoSelection | None
    missing: str
    files: list[Path]
    warnings: list[str]

    @property
    def provenance(self) -> str:
        """Origin of the data: ``"GDAS"`` or ``"ECMWF"``."""
        return HANDLERS[self.handler].provenance

    def require_profile(self) -> LevelProfile:
        """Return the mean profile of the night.

        Raises
        ------
        MissingInputError
            If the data are missing.
        """
        if self.selection is None:
            raise MissingInputError(self.missing)
        return self.selection.profile

    def density_15km(self) -> float:
        """Compute the number density at 15 km [1/cm3].

        Raises
        ------
        MissingInputError
            If the data are missing.
        CorruptedInputError
            If they do not reach 15 km.
        """
        return compute_density_15km(self.require_profile(), str(self.files[0]))

    def describe(self) -> dict[str, Any]:
        """Return the metadata that all products of the night have."""
        return {
            "night": {"dusk": str(self.night.dusk), "dawn": str(self.night.dawn)},
            "evening": str(self.night.evening),
            "request": self._describe_request(),
            "completeness": self.selection.completeness if self.selection else 0.0,
        }

    def _describe_request(self) -> dict[str, Any]:
        return {
            "times": [str(time) for time in self.request.times],
            "points": [list(point) for point in self.request.points],
        }

    def write_request(self, path: Path) -> None:
        """Write what somebody has to fetch.

        Parameters
        ----------
        path : Path
            JSON file with ``dataset``, ``times``, ``points`` and ``levels``.
        """
        handler = HANDLERS[self.handler]
        content = {"dataset": handler.dataset, **self._describe_request(), "levels": list(handler.levels)}
        with replace_file(path) as unfinished:
            unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


class NightStep(DatabaseStep):
    """Base of the steps that take the meteorological data of a night."""

    spec = """
    timestamp           = string(default=None)   # Time (UTC) within the night
    observatory_name    = string(default=None)   # Name of the observatory in the database
    observatory_version = string(default="1")    # Its version
    meteo_data_handler  = option("GDASDataHandler", "ECMWFDataHandler", default="ECMWFDataHandler")  # Kind of the data
    gridstep            = float(default=None)    # Grid of the data [deg]: 1 for GDAS, 0.25 for ECMWF
    update_frequency    = integer(max=8760, default=None)  # Time between data [h]: 6 for GDAS, 1 for ECMWF
    interpolation       = option("cubic", "log", default="cubic")  # Splines between levels: published, or of ln P, ln N
    """

    conversions: ClassVar[Mapping[str, Callable[[Any], Any]]] = {
        **CherenkovStep.conversions,
        "observatory_version": str,
    }

    products: ClassVar[tuple[str, ...]] = ()
    """Names of the products."""

    timestamp: str | None
    observatory_name: str | None
    observatory_version: str
    meteo_data_handler: str
    gridstep: float | None
    update_frequency: int | None
    interpolation: str

    def check_parameters(self) -> None:
        """Refuse to run without a time and an observatory, or to replace products.

        Raises
        ------
        ConfigurationError
            If one is not given.
        OutputExistsError
            If a product exists and may not be replaced.
        """
        for name in ("timestamp", "observatory_name"):
            if not getattr(self, name):
                raise ConfigurationError(f"{self.class_alias}: no {name} given; expected one, as in --{name}=…")
        self.refuse_existing(*self.products)

    def open_night(self, source: Any) -> NightInput:
        """Read the meteorological data of the night.

        Parameters
        ----------
        source : str, Path or NightInput
            File or folder of meteorological tables.

        Returns
        -------
        NightInput
            Without data where these are missing.

        Raises
        ------
        CherenkovError
            If the time is by day, the observatory unknown, or data contradict each other.
        """
        if isinstance(source, NightInput):
            # They are in the log already.
            self._notices.extend(source.warnings)
            return source
        # check_parameters has refused to run without them.
        assert self.timestamp is not None
        assert self.observatory_name is not None
        observatory = self.open_database().observatory(self.observatory_name, self.observatory_version)
        night = find_night(self.timestamp, observatory.latitude, observatory.longitude)
        request = make_request(night, observatory, self.meteo_data_handler, self.gridstep, self.update_frequency)
        selection, missing, files = None, "", []
        try:
            table = MeteoTable.read(self.find_input(source, "meteorological data"))
            files = table.files
            selection = table.select(request.times, request.points, self.interpolation)
        except (MissingInputError, NoInputError) as error:
            missing = str(error)
        warnings = [*request.warnings, *(selection.warnings if selection else ())]
        for warning in warnings:
            self.warn(warning)
        found = NightInput(observatory, night, request, self.meteo_data_handler, selection, missing, files, warnings)
        if selection is None:
            path = self.product_path(REQUEST_FILE)
            found.write_request(path)
            logger.warning("%s: %s; %s says what to fetch", self.class_alias, missing, path)
        return found
