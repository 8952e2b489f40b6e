"""Step ``inter_calibration``: relative throughputs of the telescopes of each type."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, TooFewEventsError
from cal_pipeline.cherenkov.mappings import convert_mapping, find_value, read_mapping, read_numbers
from cal_pipeline.cherenkov.physics.inter_calibration import PairMeans, Throughputs, average_pairs, fit_throughputs
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.base import CherenkovStep

logger = logging.getLogger(__name__)

NODE = "/dl2/monitoring/subarray/inter_calibration"
"""Table of the product."""

DERIVED = tuple(f"/dl2/monitoring/subarray/cross_calibration/{name}" for name in ("scaling_factors", "coefficients"))
"""Tables that are made with the product, in its file."""

FEW_EVENTS = 10
"""Events of a pair below which its error, taken from their spread, is itself uncertain by a quarter and more."""


class InterCalibrationStep(CherenkovStep):
    """Fit the relative throughputs of the telescopes of each type to the asymmetries of their pairs.

    The input is a folder of files of asymmetries (products of the step ``energy_asymmetry``), or one of them. The
    product is the table ``/dl2/monitoring/subarray/inter_calibration`` of an HDF5 file: ``tel_type``, ``tel_id``,
    ``value``, ``error``, ``n_pairs`` and ``covariance``; it is returned as a table. The errors take the pairs as
    independent. Pairs share events, so that the true errors are some 10 % larger after the usual limit of the
    distance asymmetry, and √(K/2) times larger where K telescopes see all events.

    Examples
    --------
    >>> from cal_pipeline.cherenkov.simulate.array import ArrayConfig, simulate_array
    >>> from cal_pipeline.steps.cherenkov import EnergyAsymmetryStep, InterCalibrationStep
    >>> events = simulate_array("inter/events.dl2.h5", ArrayConfig(n_events=2000), seed=1)
    >>> asymmetries = EnergyAsymmetryStep.call(str(events), output_path="inter/asymmetries")
    >>> references = "LST:1,MST:4,SST:8"
    >>> product = InterCalibrationStep.call("inter/asymmetries", reference_telescopes=references, output_path="inter")
    >>> product["value"][:3].round(1).tolist()
    [1.0, 0.9, 1.0]
    """

    class_alias = "inter_calibration"

    spec = """
    output_url = string(default="monitoring_inter_calibration.h5")    # HDF5 file of the product, in output_path
    asymmetry_label = option("energy_asymmetry", "image_asymmetry", default="energy_asymmetry")  # Asymmetry to use
    reference_telescopes = list(default=list())                       # Telescope of each type whose throughput is fixed
    throughput_normalisation = list(default=list("*:1.0"))            # Throughput of the reference telescope of each type
    """  # noqa: E501

    conversions = {"reference_telescopes": convert_mapping, "throughput_normalisation": convert_mapping}

    tool = Tool(
        "calibpipe-inter-calibration",
        "CalculateInterCalibration",
        source="input_url",
        handlers={"RelativeThroughputFitter": {}},
    )
    example_input = "asymmetries"

    output_url: str
    asymmetry_label: str
    reference_telescopes: list[str]
    throughput_normalisation: list[str]

    def check_parameters(self) -> None:
        """Refuse references that are no telescope numbers, and throughputs that are not positive."""
        for name, text in read_mapping(self.reference_telescopes).items():
            if not text.isdigit():
                raise ConfigurationError(f"reference_telescopes of {name} is {text!r}; expected a telescope number")
        for name, value in read_numbers(self.throughput_normalisation, "throughput_normalisation").items():
            if value <= 0:
                raise ConfigurationError(f"throughput_normalisation of {name} is {value}; expected a positive number")

    def make_products(self, source: Any) -> Table:
        """Fit the throughputs to the asymmetries of a folder."""
        from cal_pipeline.cherenkov.array_files import find_files
        from cal_pipeline.cherenkov.hdf5 import has_table, write_tables

        self.refuse_existing(self.output_url)
        folder, product = self.find_input(source, "the folder of asymmetries"), self.product_path(self.output_url)
        files = find_files(folder, "files of asymmetries", apart_from=product)
        asymmetries, obs_ids = self._read_asymmetries(files)
        parts = [self._fit_type(str(kind), asymmetries) for kind in np.unique(asymmetries["tel_type"])]
        table = _stack(parts)
        if product.exists() and any(has_table(product, node) for node in DERIVED):
            self.warn(f"{product} keeps the cross-calibration with the throughputs that are replaced; make it again")
        write_tables(
            product,
            {NODE: table},
            self.tool.command,
            self.make_provenance(files),
            self.overwrite,
            attributes={"obs_id": obs_ids},
        )
        return table

    def _read_asymmetries(self, files: Sequence[Path]) -> tuple[Table, NDArray[np.int64]]:
        """Read the asymmetries of all files, and the observations that they are of."""
        from cal_pipeline.cherenkov.array_files import require_columns
        from cal_pipeline.cherenkov.hdf5 import read_attributes, read_table

        node = f"/{self.asymmetry_label}/events"
        columns: dict[str, list[Any]] = {"tel_type": [], "tel_id_1": [], "tel_id_2": [], self.asymmetry_label: []}
        observations = []
        for path in files:
            table = read_table(path, node)
            require_columns(table, (*columns, "obs_id"), f"{path} table {node}")
            values = np.asarray(table[self.asymmetry_label], dtype=float)
            if not np.all(np.isfinite(values)):
                raise CorruptedInputError(f"{path} table {node}: {self.asymmetry_label} is not finite; expected it")
            for name, parts in columns.items():
                parts.append(np.asarray(table[name]).astype(str) if name == "tel_type" else np.asarray(table[name]))
            recorded = read_attributes(path).get("obs_id")
            observations.append(np.asarray(table["obs_id"] if recorded is None else recorded).astype(np.int64))
        joined = Table({name: np.concatenate(parts) for name, parts in columns.items()})
        if not len(joined):
            raise TooFewEventsError(f"{', '.join(map(str, files))}: no asymmetries; expected some")
        return joined, np.unique(np.concatenate(observations))

    def _fit_type(self, kind: str, asymmetries: Table) -> tuple[str, Throughputs]:
        """Fit the throughputs of the telescopes of a type."""
        rows = asymmetries[asymmetries["tel_type"] == kind]
        means = average_pairs(
            np.asarray(rows["tel_id_1"]), np.asarray(rows["tel_id_2"]), np.asarray(rows[self.asymmetry_label])
        )
        usable = (means.count > 1) & (means.error > 0)
        for first, second in zip(means.tel_1[~usable], means.tel_2[~usable], strict=True):
            self.warn(f"{kind} telescopes {first} and {second}: too few different asymmetries; the pair is left out")
        pairs, reference = means.keep(usable), self._find_reference(kind, means, usable)
        few = int(np.count_nonzero(pairs.count < FEW_EVENTS))
        if few:
            self.warn(
                f"{kind}: {few} of {len(pairs.count)} pairs have fewer than {FEW_EVENTS} events; "
                "errors from so few are uncertain, and those of the throughputs too small"
            )
        normalisation = find_value(
            read_numbers(self.throughput_normalisation, "throughput_normalisation"), kind, reference
        )
        if normalisation is None:
            raise ConfigurationError(f"throughput_normalisation has no value for {kind}; expected one")
        try:
            fit = fit_throughputs(pairs, reference, normalisation)
        except ValueError as error:
            raise CorruptedInputError(f"asymmetries of {kind} telescopes: {error}") from error
        fit = fit.extend(np.union1d(means.tel_1, means.tel_2))
        unlinked = fit.tel_id[np.isnan(fit.value)]
        if len(unlinked):
            self.note_too_few(
                f"{kind} telescopes {', '.join(map(str, unlinked))}: no chain of pairs leads to the reference "
                f"telescope {reference}; they get no throughput"
            )
        logger.info("%s: %s: %d pairs, chi2 %.4g", self.class_alias, kind, len(pairs.mean), fit.chi2)
        return kind, fit

    def _find_reference(self, kind: str, means: PairMeans, usable: NDArray[np.bool_]) -> int:
        there = np.unique([means.tel_1, means.tel_2])
        found = ", ".join(map(str, there))
        text = find_value(read_mapping(self.reference_telescopes), kind, 0)
        if text is None:
            raise ConfigurationError(f"reference_telescopes has no telescope for {kind}; expected one of {found}")
        reference = int(text)
        if reference not in means.tel_1[usable] and reference not in means.tel_2[usable]:
            raise ConfigurationError(f"reference telescope {reference} of {kind} has no pair; expected one of {found}")
        return reference


def _stack(parts: Sequence[tuple[str, Throughputs]]) -> Table:
    """Stack the throughputs of all types, which are independent of each other."""
    size = sum(len(fit.value) for _, fit in parts)
    covariance, first = np.zeros((size, size)), 0
    for _, fit in parts:
        last = first + len(fit.value)
        covariance[first:last, first:last] = fit.covariance
        first = last
    return Table(
        {
            "tel_type": np.concatenate([np.full(len(fit.value), kind) for kind, fit in parts]),
            "tel_id": np.concatenate([fit.tel_id for _, fit in parts]),
            "value": np.concatenate([fit.value for _, fit in parts]),
            "error": np.concatenate([fit.error for _, fit in parts]),
            "n_pairs": np.concatenate([fit.n_pairs for _, fit in parts]),
            "covariance": covariance,
        }
    )
