"""Base of the steps that read the events of an array."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.cherenkov.array import Layout
from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.mappings import convert_mapping, read_numbers
from cal_pipeline.cherenkov.quality_criteria import Criterion, convert_criteria, parse_criteria
from cal_pipeline.core.parameters.resolved import DEFAULT
from cal_pipeline.steps.cherenkov.base import CherenkovStep

HANDLERS: dict[str, dict[str, str]] = {"QualityQuery": {}, "PairFinder": {}}
"""Further sections of the configuration of these steps."""

UNUSED = frozenset({"chunk_size", "energy_column_suffix", "energy_uncertainty_column_suffix"})
"""Keys of the published package for its reader of files and for names of columns, which the reconstructor gives."""


class ArrayEventStep(CherenkovStep):
    """Base of the steps that read the events of an array."""

    spec = """
    energy_reconstructor = string(default="RandomForestRegressor")      # Reconstructor of the energies
    gammaness_reconstructor = string(default="RandomForestClassifier")  # Classifier of the particles
    geometry_reconstructor = string(default="HillasReconstructor")      # Reconstructor of the impact distances
    energy_min = float(min=0.0, default=0.05)                           # Energies above it are used [TeV]
    pair_energy_min = float(min=0.0, default=0.0)                       # Geometric mean of the energies of a pair, above which it is used [TeV]
    gammaness_min = float(default=0.5)                                  # Events with a larger gammaness are used
    quality_criteria = list(default=list())                             # Cuts in place of those of energy, gammaness and validity: comparisons joined by &
    max_impact_distance = list(default=list("LST:125","MST:125","SST:225"))  # Largest distance of a telescope of a pair from the shower, by type [m]
    """  # noqa: E501

    conversions = {"quality_criteria": convert_criteria, "max_impact_distance": convert_mapping}

    example_input: ClassVar[str] = "events.dl2.h5"

    energy_reconstructor: str
    gammaness_reconstructor: str
    geometry_reconstructor: str
    energy_min: float
    pair_energy_min: float
    gammaness_min: float
    quality_criteria: list[str]
    max_impact_distance: list[str]

    def check_parameters(self) -> None:
        """Refuse plain cuts beside the criteria that take their place."""
        given = [name for name in ("energy_min", "gammaness_min") if self.parameters.origin(name) != DEFAULT]
        if self.quality_criteria and given:
            raise ConfigurationError(
                f"{' and '.join(given)} given beside quality_criteria, which take their place; give one of both"
            )
        read_numbers(self.max_impact_distance, "max_impact_distance")

    def find_reach(self, layout: Layout) -> NDArray[np.float64]:
        """Find the largest impact distance of each telescope, in metres; warn of types without one."""
        reach = layout.look_up(read_numbers(self.max_impact_distance, "max_impact_distance"))
        without = sorted(set(layout.tel_type[np.isnan(reach)].tolist()))
        if without:
            self.warn(f"max_impact_distance has no value for {', '.join(without)}; these telescopes make no pairs")
        return reach

    def list_cuts(self, plain: list[Criterion]) -> list[Criterion]:
        """Return the quality criteria, or the plain cuts if there are none."""
        return parse_criteria(self.quality_criteria) if self.quality_criteria else plain
