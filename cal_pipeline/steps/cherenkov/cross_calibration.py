"""Step ``cross_calibration``: scaling factors between telescope types."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.array import Events, Layout, calculate_ratios, count_telescopes, find_cross_pairs
from cal_pipeline.cherenkov.errors import (
    ConfigurationError,
    CorruptedInputError,
    MissingInputError,
    TooFewEventsError,
)
from cal_pipeline.cherenkov.physics.cross_calibration import (
    ScalingFactor,
    calculate_factor,
    scale_throughputs,
    weight_by_participation,
)
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.array import HANDLERS, UNUSED, ArrayEventStep

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]

INTER = "/dl2/monitoring/subarray/inter_calibration"
"""Table of the throughputs within each type."""

FACTORS = "/dl2/monitoring/subarray/cross_calibration/scaling_factors"
COEFFICIENTS = "/dl2/monitoring/subarray/cross_calibration/coefficients"


@dataclass(frozen=True)
class _Throughputs:
    """Throughputs of the table, and their places among the telescopes of the layout."""

    tel_type: NDArray[np.str_]
    tel_id: NDArray[np.int64]
    values: Floats
    covariance: Floats
    obs_ids: NDArray[np.int64]

    def arrange(self, layout: Layout) -> tuple[Floats, Floats]:
        """Return values and covariance of the telescopes of a layout; NaN where there are none."""
        size = len(layout.tel_id)
        values, covariance = np.full(size, np.nan), np.full((size, size), np.nan)
        _, here, there = np.intersect1d(layout.tel_id, self.tel_id, return_indices=True)
        values[here] = self.values[there]
        covariance[np.ix_(here, here)] = self.covariance[np.ix_(there, there)]
        return values, covariance


class CrossCalibrationStep(ArrayEventStep):
    """Calculate the factors by which the energies of other telescope types exceed those of a reference type.

    The input is the HDF5 file of the step ``inter_calibration``; the parameter ``input_data_url`` names the folder of
    the files of events. The products are the tables ``/dl2/monitoring/subarray/cross_calibration/scaling_factors``
    and ``…/coefficients`` in the input file; they are returned as a dictionary, ``"scaling_factors"`` and
    ``"coefficients"``. A factor is a geometric mean of ratios of energies: 10 to the mean of their logarithms. Its
    error counts an event with all its ratios as one observation and includes the errors of the throughputs.
    Coefficients of types without a factor are NaN.

    Examples
    --------
    >>> from cal_pipeline.cherenkov.simulate.array import ArrayConfig, simulate_array
    >>> from cal_pipeline.steps.cherenkov import CrossCalibrationStep, EnergyAsymmetryStep, InterCalibrationStep
    >>> events = simulate_array("cross/events/events.dl2.h5", ArrayConfig(n_events=2000), seed=1)
    >>> asymmetries = EnergyAsymmetryStep.call(str(events), output_path="cross/asymmetries")
    >>> references = "LST:1,MST:4,SST:8"
    >>> inter = InterCalibrationStep.call("cross/asymmetries", reference_telescopes=references, output_path="cross")
    >>> file = "cross/monitoring_inter_calibration.h5"
    >>> products = CrossCalibrationStep.call(file, input_data_url="cross/events")
    >>> products["scaling_factors"]["tel_type"].tolist()
    ['LST', 'SST']
    """

    class_alias = "cross_calibration"

    spec = """
    input_data_url = string(default=None)                                   # Folder of the files of events (DL2)
    reference_subsystem = string(default="MST")                             # Type of the reference telescopes
    min_triggered_telescopes_per_subsystem = integer(min=1, default=2)      # Least telescopes of either type in an event, after the cuts
    weighting = option("events", "peer", default="events")                  # Factor and error: of events; peer: as in the published package, biased by the mean throughput of the reference telescopes, with too small errors
    """  # noqa: E501

    tool = Tool(
        "calibpipe-cross-calibration",
        "CalculateCrossCalibration",
        source="input_url",
        handlers=HANDLERS,
        unused=UNUSED | {"event_filters", "output_url"},
    )
    example_input = "monitoring_inter_calibration.h5"

    input_data_url: str | None
    reference_subsystem: str
    min_triggered_telescopes_per_subsystem: int
    weighting: str

    def make_products(self, source: Any) -> dict[str, Table]:
        """Calculate the factors of the other types."""
        from cal_pipeline.cherenkov.array_files import Reconstruction, find_files, read_events, read_layout
        from cal_pipeline.cherenkov.hdf5 import refuse_existing_tables, write_tables

        path = self.find_input(source, "the file of throughputs")
        refuse_existing_tables(path, [FACTORS, COEFFICIENTS], self.overwrite)
        if not self.input_data_url:
            raise ConfigurationError("input_data_url is not given; expected the folder of the files of events")
        files = find_files(self.find_input(self.input_data_url, "the folder of events"), "files of events", path)
        throughputs = self._read_throughputs(path)
        layout = read_layout(files)
        targets = self._find_targets(layout, files[0])
        names = Reconstruction(self.energy_reconstructor, self.gammaness_reconstructor, self.geometry_reconstructor)
        cuts = self.list_cuts(names.make_criteria(self.energy_min, self.gammaness_min))
        events = read_events(files, layout, names, cuts, with_distance=False)
        self._compare_observations(events, throughputs, path)
        factors = self._calculate_factors(events, layout, throughputs, targets)
        products = {
            "scaling_factors": self._tabulate_factors(factors),
            "coefficients": self._tabulate_coefficients(factors, layout, throughputs),
        }
        write_tables(
            path,
            {FACTORS: products["scaling_factors"], COEFFICIENTS: products["coefficients"]},
            self.tool.command,
            self.make_provenance([path, *files]),
            self.overwrite,
        )
        return products

    def _read_throughputs(self, path: Path) -> _Throughputs:
        from cal_pipeline.cherenkov.array_files import require_columns
        from cal_pipeline.cherenkov.hdf5 import read_attributes, read_table

        table, where = read_table(path, INTER), f"{path} table {INTER}"
        require_columns(table, ("tel_type", "tel_id", "value", "error"), where)
        error = np.asarray(table["error"], dtype=float)
        if "covariance" in table.colnames:
            covariance = np.asarray(table["covariance"], dtype=float).reshape(len(table), -1)
        else:
            self.warn(f"{where} has no column covariance; the errors of the throughputs count as independent")
            covariance = np.diag(error**2)
        if covariance.shape != (len(table), len(table)):
            raise CorruptedInputError(
                f"{where}: covariance has {covariance.shape[1]} columns; expected {len(table)}, one a row of the table"
            )
        tel_id, values = np.asarray(table["tel_id"]).astype(np.int64), np.asarray(table["value"], dtype=float)
        if len(np.unique(tel_id)) != len(tel_id) or np.any(values <= 0):
            raise CorruptedInputError(f"{where}: expected each telescope once, with a positive value")
        recorded = read_attributes(path).get("obs_id")
        recorded = table.meta.get("obs_id", table.meta.get("OBS_ID")) if recorded is None else recorded
        if recorded is None:
            raise CorruptedInputError(f"{path} has no attribute obs_id; expected the observations of the throughputs")
        obs_ids = np.unique(np.asarray(recorded).astype(np.int64))
        return _Throughputs(np.asarray(table["tel_type"]).astype(str), tel_id, values, covariance, obs_ids)

    def _find_targets(self, layout: Layout, path: Path) -> list[str]:
        reference = layout.is_of(self.reference_subsystem)
        types = ", ".join(np.unique(layout.tel_type).tolist())
        if not reference.any():
            raise MissingInputError(f"{path} has telescopes {types}; expected some of {self.reference_subsystem}")
        targets = np.unique(layout.tel_type[~reference]).tolist()
        if not targets:
            raise MissingInputError(f"{path} has telescopes {types} only; expected two types")
        return [str(target) for target in targets]

    def _compare_observations(self, events: Events, throughputs: _Throughputs, path: Path) -> None:
        found, expected = np.unique(events.obs_id).tolist(), throughputs.obs_ids.tolist()
        if not found:
            raise MissingInputError(f"{self.input_data_url}: no event passes the cuts; expected some")
        if found != expected:
            raise CorruptedInputError(
                f"{self.input_data_url}: events of observations {_shorten(found)}; expected {_shorten(expected)}, "
                f"those of the throughputs in {path}"
            )

    def _calculate_factors(
        self, events: Events, layout: Layout, throughputs: _Throughputs, targets: list[str]
    ) -> dict[str, ScalingFactor]:
        values, covariance = throughputs.arrange(layout)
        without = layout.tel_id[np.isnan(values) & np.isin(np.arange(len(values)), events.telescope)]
        if len(without):
            self.warn(f"telescopes {', '.join(map(str, without))} have no throughput; they make no ratios")
        reach, reference = self.find_reach(layout), layout.is_of(self.reference_subsystem)
        factors, any_ratios = {}, False
        for target in targets:
            members = layout.tel_type == target
            enough = np.minimum(count_telescopes(events, reference), count_telescopes(events, members))
            used = enough >= self.min_triggered_telescopes_per_subsystem
            pairs = find_cross_pairs(layout, reach, reference, target)
            ratios = calculate_ratios(events, pairs, values, used, self.pair_energy_min)
            any_ratios |= len(ratios.event) > 0
            if len(np.unique(ratios.event)) < 2:
                self.note_too_few(f"{target}: {len(ratios.event)} ratios, of less than two events; it gets no factor")
            elif self.weighting == "peer":
                seen = np.bincount(events.telescope[used], minlength=len(values)).astype(float)
                paired = reference & np.isin(np.arange(len(values)), pairs[:, 0]) & np.isfinite(values)
                errors = np.sqrt(np.diagonal(covariance))
                factors[target] = weight_by_participation(ratios, values, errors, np.where(paired, seen, 0.0))
            else:
                factors[target] = calculate_factor(ratios, values, covariance)
        if not any_ratios:
            raise MissingInputError(
                f"{self.input_data_url}: no event in common of {self.reference_subsystem} and {', '.join(targets)}, "
                f"with {self.min_triggered_telescopes_per_subsystem} telescopes each; expected some"
            )
        if not factors:
            raise TooFewEventsError(f"{self.input_data_url}: one event in common; expected two of a type at least")
        return factors

    def _tabulate_factors(self, factors: dict[str, ScalingFactor]) -> Table:
        return Table(
            {
                "tel_type": list(factors),
                "tel_ref": [self.reference_subsystem] * len(factors),
                "scaling_factor": [factor.value for factor in factors.values()],
                "scaling_factor_uncertainty": [factor.error for factor in factors.values()],
                "n_events": [factor.n_events for factor in factors.values()],
                "n_ratios": [factor.n_ratios for factor in factors.values()],
            }
        )

    def _tabulate_coefficients(
        self, factors: dict[str, ScalingFactor], layout: Layout, throughputs: _Throughputs
    ) -> Table:
        """Scale the throughputs of the other types."""
        values, errors = throughputs.values.copy(), np.sqrt(np.diagonal(throughputs.covariance))
        is_reference = np.char.startswith(throughputs.tel_type, self.reference_subsystem)
        for target in np.unique(throughputs.tel_type[~is_reference]):
            members = throughputs.tel_type == target
            factor = factors.get(str(target))
            if factor is None:
                values[members], errors[members] = np.nan, np.nan
            elif self.weighting == "peer":
                errors[members] = np.hypot(errors[members] * factor.value, values[members] * factor.error)
                values[members] *= factor.value
            else:
                gradient = np.zeros(len(values))
                _, here, there = np.intersect1d(throughputs.tel_id, layout.tel_id, return_indices=True)
                gradient[here] = factor.gradient[there]
                placed = ScalingFactor(factor.value, factor.error, gradient, factor.n_events, factor.n_ratios)
                scaled = scale_throughputs(throughputs.values, throughputs.covariance, placed)
                values[members], errors[members] = scaled[0][members], scaled[1][members]
        return Table({"tel_type": throughputs.tel_type, "tel_id": throughputs.tel_id, "value": values, "error": errors})


def _shorten(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (f", … ({len(numbers)})" if len(numbers) > 5 else "")
