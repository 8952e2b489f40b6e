"""The pipeline ``molecular_atmosphere``: density profile, reference model and atmospheric model of a night."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from astropy.table import Table
from stpipe import Pipeline

from cal_pipeline.cherenkov.errors import MissingInputError
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov import AtmosphericModelStep, DensityProfileStep, SelectModelStep
from cal_pipeline.steps.cherenkov.atmospheric_model import AtmosphericModel
from cal_pipeline.steps.cherenkov.density_profile import HANDLERS
from cal_pipeline.steps.cherenkov.night_input import NightStep
from cal_pipeline.steps.cherenkov.select_model import Selection

logger = logging.getLogger(__name__)

REPORT = "molecular_atmosphere_report.html"
"""Name of the report, in the folder of the products."""


class NightAtmosphere(NamedTuple):
    """Products of :class:`MolecularAtmospherePipeline`; None for a step that was skipped.

    Attributes
    ----------
    density_profile : Table or None
        Number density of the air.
    selected_model : Selection or None
        Reference model.
    atmospheric_model : AtmosphericModel or None
        Profile and extinction.
    """

    density_profile: Table | None
    selected_model: Selection | None
    atmospheric_model: AtmosphericModel | None


class MolecularAtmospherePipeline(NightStep, Pipeline):  # type: ignore[misc]
    """Describe the atmosphere of a night from meteorological data, which are read once.

    Steps take time, observatory, data handler, database and output folder from the pipeline, unless they have values
    of their own.

    Examples
    --------
    >>> from cal_pipeline import MolecularAtmospherePipeline
    >>> night = MolecularAtmospherePipeline.call(
    ...     "night/meteo_era5.ecsv", timestamp="2023-07-10", observatory_name="EXAMPLE-RIDGE",
    ...     database="sqlite:///night/calibpipe.db", output_path="products",
    ...     steps={"atmospheric_model": {"macobac12_table_path": "night/models/macobac.ecsv"}},
    ... )
    >>> night.selected_model.profile.meta["selection"]["by"]
    'density'
    """

    class_alias = "molecular_atmosphere"

    spec = """
    report = boolean(default=False)   # Write a report of the products beside them, as one HTML file
    """

    step_defs = {
        "density_profile": DensityProfileStep,
        "select_model": SelectModelStep,
        "atmospheric_model": AtmosphericModelStep,
    }

    tool = Tool("molecular_atmosphere", "MolecularAtmosphere", source="data_path", handlers=HANDLERS)
    example_input = "meteo.ecsv"

    report: bool

    def check_parameters(self) -> None:
        """Hand the parameters of the pipeline down to its steps, and refuse what one of them refuses."""
        super().check_parameters()
        for step in self._active_steps().values():
            self._hand_down(step)
            step.check_parameters()
        if self.report:
            self.refuse_existing(REPORT)

    def make_products(self, source: Any) -> NightAtmosphere:
        """Run the steps on one reading of the data.

        Without data the reference model is selected by the season, and nothing else can be made.
        """
        night = self.open_night(source)
        steps = self._active_steps()
        if night.selection is None:
            if "select_model" not in steps:
                raise MissingInputError(night.missing)
            for name in steps.keys() - {"select_model"}:
                self.warn(f"{name} is not made: {night.missing}")
            steps = {"select_model": steps["select_model"]}
        made = {}
        for name, step in steps.items():
            made[name] = step.run(night)
            self._exit_status = self._exit_status or step.exit_status
        if self.report:
            self._write_report({name: step for name, step in steps.items() if name in made})
        return NightAtmosphere(made.get("density_profile"), made.get("select_model"), made.get("atmospheric_model"))

    def _write_report(self, steps: Mapping[str, NightStep]) -> None:
        """Write the report of the products of steps."""
        from cal_pipeline.report.cherenkov_report import write_report

        products = [step.product_path(name) for step in steps.values() for name in step.products]
        path = self.product_path(REPORT)
        write_report([product for product in products if product.is_file()], path, self.overwrite)
        logger.info("%s: report: %s", self.class_alias, path)

    def _active_steps(self) -> dict[str, NightStep]:
        """Return the steps that are not skipped, in processing order."""
        steps = {name: getattr(self, name) for name in self.step_defs}
        return {name: step for name, step in steps.items() if not step.skip}

    def _hand_down(self, step: NightStep) -> None:
        """Give a step the parameters of the pipeline that it has no value of its own for."""
        own, resolved = self.parameters, step.parameters
        for name in self.own_parameters().keys() & resolved.values.keys():
            if name in own.origins and name not in resolved.origins:
                resolved = resolved.override({name: own.values[name]}, own.origins[name])
        step._adopt_resolved(resolved)
