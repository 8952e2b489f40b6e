"""Step ``energy_asymmetry``: asymmetries of the energies of pairs of telescopes."""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy.table import Table

from cal_pipeline.cherenkov.array import find_type_pairs, tabulate_asymmetries
from cal_pipeline.cherenkov.errors import TooFewEventsError
from cal_pipeline.cherenkov.mappings import convert_mapping, read_numbers
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.array import HANDLERS, UNUSED, ArrayEventStep

NODE = "/energy_asymmetry/events"
"""Table of the product."""


_WELL_ABOVE, _MANY = 2.0, 0.1
"""Energy of a pair over the cut on single energies from which on the cut does not matter; share of pairs below it
that a warning is due to."""


class EnergyAsymmetryStep(ArrayEventStep):
    """Calculate the asymmetries of the energies that pairs of telescopes of one type reconstruct.

    The input is an HDF5 file with reconstructed events (DL2) as ctapipe writes them. The product is the table
    ``/energy_asymmetry/events`` of an HDF5 file, a row for each event of each pair; it is returned as a table.
    Mean asymmetries shrink by the fraction s²/4, where s is the relative spread of the energies of one shower, and by
    more if `energy_min` cuts a steep spectrum: set `pair_energy_min` to twice `energy_min` then.

    Examples
    --------
    >>> from cal_pipeline.cherenkov.simulate.array import ArrayConfig, simulate_array
    >>> from cal_pipeline.steps.cherenkov import EnergyAsymmetryStep
    >>> events = simulate_array("pairs/events.dl2.h5", ArrayConfig(n_events=500), seed=1)
    >>> product = EnergyAsymmetryStep.call(str(events), output_path="pairs")
    >>> bool((abs(product["energy_asymmetry"]) < 1).all())
    True
    """

    class_alias = "energy_asymmetry"

    spec = """
    output_url = string(default="asymmetry.h5")        # HDF5 file of the product, in output_path
    max_distance_asymmetry = list(default=list("*:0.05"))  # Limit of the asymmetry of the impact distances, by type
    """

    conversions = {**ArrayEventStep.conversions, "max_distance_asymmetry": convert_mapping}

    tool = Tool(
        "calibpipe-energy-asymmetry-estimation",
        "CalculateEnergyAsymmetry",
        source="input_url",
        handlers={**HANDLERS, "event_filters": {}},
        unused=UNUSED,
    )

    output_url: str
    max_distance_asymmetry: list[str]

    def check_parameters(self) -> None:
        """Refuse contradictory cuts and limits that are no numbers."""
        super().check_parameters()
        read_numbers(self.max_distance_asymmetry, "max_distance_asymmetry")

    def make_products(self, source: Any) -> Table:
        """Calculate the asymmetries of a file."""
        from cal_pipeline.cherenkov.array_files import Reconstruction, read_events, read_layout
        from cal_pipeline.cherenkov.hdf5 import write_tables

        self.refuse_existing(self.output_url)
        path = self.find_input(source, "the file of events")
        names = Reconstruction(self.energy_reconstructor, self.gammaness_reconstructor, self.geometry_reconstructor)
        layout = read_layout([path])
        cuts = self.list_cuts(names.make_criteria(self.energy_min, self.gammaness_min))
        events = read_events([path], layout, names, cuts, with_distance=True)
        pairs = find_type_pairs(layout, self.find_reach(layout))
        limits = layout.look_up(read_numbers(self.max_distance_asymmetry, "max_distance_asymmetry"))
        table = tabulate_asymmetries(events, layout, pairs, limits, names.energy_column, self.pair_energy_min)
        if not len(table):
            raise TooFewEventsError(
                f"{path}: no event of a pair passes the cuts ({len(events)} events of single telescopes do, and "
                f"{len(pairs)} pairs are near enough); expected some"
            )
        mean = np.sqrt(table[f"{names.energy_column}_1"] * table[f"{names.energy_column}_2"])
        self._warn_of_threshold(float(np.mean(mean < _WELL_ABOVE * self.energy_min)))
        write_tables(
            self.product_path(self.output_url),
            {NODE: table},
            self.tool.command,
            self.make_provenance([path]),
            self.overwrite,
            attributes={"obs_id": np.unique(events.obs_id)},
        )
        return table

    def _warn_of_threshold(self, share: float) -> None:
        """Warn if the cut on single energies shapes many pairs, which hides differences of throughput.

        Parameters
        ----------
        share : float
            Share of pairs whose mean energy is near the cut.
        """
        if share > _MANY and not self.quality_criteria and self.pair_energy_min < _WELL_ABOVE * self.energy_min:
            self.warn(
                f"{100 * share:.0f} % of the pairs have mean energies below {_WELL_ABOVE * self.energy_min:g} TeV, "
                f"near energy_min = {self.energy_min:g} TeV, which shrinks asymmetries by some 20 %; "
                f"pair_energy_min={_WELL_ABOVE * self.energy_min:g} avoids that"
            )
