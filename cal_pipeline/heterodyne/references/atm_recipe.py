"""Recipes of atmosphere tables in TOML: site, atmospheric profile, pressures and frequencies."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Annotated

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.files.declared import Each, Number, Row, Text, WholeNumber, read_declared

RECIPES = Path(__file__).parent / "recipes"
"""Directory of the recipes of the shipped tables."""

ATMOSPHERE_TYPES = ("tropical", "midlatsummer", "midlatwinter", "subarctsummer", "subarctwinter")
"""Standard atmospheres of ATM, in the order of its type numbers 1 to 5."""


_WINDOW = Row(("start", "stop", "step"), Number(unit="GHz"))


class RecipeError(CalibrationError, ValueError):
    """A recipe that does not say what is needed."""


@dataclass(frozen=True)
class Recipe:
    """Recipe of an atmosphere table.

    Parameters
    ----------
    output : str
        File name of the table.
    site : str
        Name of the site.
    temperature_profile : str
        Description of the profile, for the table's meta.
    atmosphere_type : str
        Standard atmosphere above the tropopause, one of `ATMOSPHERE_TYPES`.
    lapse_rate_k_per_km : float
        Change of temperature with height below the tropopause, negative [K/km].
    water_scale_height_km : float
        Scale height of the water vapour density [km].
    pressures_hpa : tuple of float
        Pressures at the telescope, ascending [hPa].
    windows_ghz : tuple of (float, float, float)
        Start, stop and step of each frequency window, ascending [GHz].
    altitude_m : float or None
        Altitude of the telescope [m]; None for an aircraft, at the altitude of each pressure in the
        standard atmosphere.
    ground_temperature_k : float or None
        Air temperature at the telescope [K]; None for an aircraft, as above.
    layers : int
        Number of layers, equal in pressure, between the telescope and the tropopause; below 40 hPa
        each.
    top_km : float
        Height at which the model atmosphere ends [km].
    layer_tops_km : tuple of float
        Tops of the layers that the table keeps, above the telescope, ascending [km]. The topmost
        layer, which ends with the model atmosphere, is added; none: a single layer.
    emission_pwv_mm : float
        Water vapour at which the emission of the model's layers weights their temperatures [mm].
    dry_continuum_limit_ghz : float or None
        Frequency above which the dry continuum is held constant [GHz]; None: never.
    mantissa_bits : int
        Mantissa bits kept of b and c of the whole atmosphere, so that they compress; relative error
        up to 2^-(bits + 1). Up to the tops of lower layers they keep at most 10.

    Examples
    --------
    >>> recipe = Recipe.read(RECIPES / "ccat.toml")
    >>> recipe.altitude_m, recipe.windows_ghz[0]
    (5612.0, (453.0, 497.0, 0.002))
    """

    output: Annotated[str, Text()]
    site: Annotated[str, Text()]
    temperature_profile: Annotated[str, Text()]
    atmosphere_type: Annotated[str, Text()]
    lapse_rate_k_per_km: Annotated[float, Number(unit="K/km")]
    water_scale_height_km: Annotated[float, Number(unit="km")]
    pressures_hpa: Annotated[tuple[float, ...], Each(Number(unit="hPa"))]
    windows_ghz: Annotated[tuple[tuple[float, float, float], ...], Each(_WINDOW)]
    altitude_m: Annotated[float | None, Number(unit="m")] = None
    ground_temperature_k: Annotated[float | None, Number(unit="K")] = None
    layers: Annotated[int, WholeNumber()] = 12
    top_km: Annotated[float, Number(unit="km")] = 48.0
    layer_tops_km: Annotated[tuple[float, ...], Each(Number(above=0.0, unit="km"))] = ()
    emission_pwv_mm: Annotated[float, Number(at_least=0.0, unit="mm")] = 1.0
    dry_continuum_limit_ghz: Annotated[float | None, Number(unit="GHz")] = None
    mantissa_bits: Annotated[int, WholeNumber()] = 23

    def __post_init__(self) -> None:
        problems = [text for wrong, text in self._checks() if wrong]
        if problems:
            raise RecipeError("; ".join(problems))

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Recipe:
        """Read a recipe.

        Parameters
        ----------
        path : path
            TOML file with the fields of this class as keys.

        Raises
        ------
        RecipeError
            If the file cannot be read or is no TOML, a key is missing or unknown, or a value makes no sense.
        """
        return read_declared(path, cls, RecipeError, "recipe")

    @property
    def atmosphere_number(self) -> int:
        """ATM's number of the standard atmosphere."""
        return ATMOSPHERE_TYPES.index(self.atmosphere_type) + 1

    def _checks(self) -> list[tuple[bool, str]]:
        pressures, windows, tops = self.pressures_hpa, self.windows_ghz, self.layer_tops_km
        edges = [edge for start, stop, _ in windows for edge in (start, stop)]
        return [
            (
                self.atmosphere_type not in ATMOSPHERE_TYPES,
                f"atmosphere_type is {self.atmosphere_type!r}, expected one of {', '.join(ATMOSPHERE_TYPES)}",
            ),
            (
                not pressures or list(pressures) != sorted(set(pressures)) or pressures[0] <= 0.0,
                "pressures_hpa must ascend from above 0",
            ),
            (
                not windows or edges != sorted(set(edges)) or edges[0] <= 0.0,
                "windows_ghz must be separate and ascend from above 0",
            ),
            (any(step <= 0.0 for _, _, step in windows), "the steps of windows_ghz must be above 0"),
            (
                (self.altitude_m is None) != (self.ground_temperature_k is None),
                "give both altitude_m and ground_temperature_k, or neither for the standard atmosphere",
            ),
            (
                list(tops) != sorted(set(tops)) or min(tops, default=1.0) <= 0.0,
                f"layer_tops_km is {list(tops)}, expected heights above the telescope that ascend from above 0",
            ),
            (self.emission_pwv_mm < 0.0, f"emission_pwv_mm is {self.emission_pwv_mm:g}, expected 0 or more"),
            (self.layers < 1, f"layers is {self.layers}, expected 1 or more"),
            (not 8 <= self.mantissa_bits <= 23, f"mantissa_bits is {self.mantissa_bits}, expected 8 to 23"),
        ]
