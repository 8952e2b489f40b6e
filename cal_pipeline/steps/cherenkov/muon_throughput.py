"""Step ``muon_throughput``: optical throughput of telescopes from muon rings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from astropy.table import Table

from cal_pipeline.cherenkov.errors import ConfigurationError, MissingInputError, TooFewEventsError
from cal_pipeline.cherenkov.hdf5 import refuse_existing_tables, write_tables
from cal_pipeline.cherenkov.muons import (
    THROUGHPUT,
    find_muon_telescopes,
    read_rings,
    read_trigger,
    tabulate_throughput,
)
from cal_pipeline.cherenkov.physics.muon_throughput import LAST_CHUNK_POLICIES, split_chunks, summarise_throughput
from cal_pipeline.cherenkov.quality_criteria import Criterion, convert_criteria, parse_criteria
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.core.parameters.resolved import DEFAULT
from cal_pipeline.steps.cherenkov.base import CherenkovStep

logger = logging.getLogger(__name__)

AGGREGATORS = ("SigmaClippingAggregator", "PlainAggregator")
"""Statistics of a chunk, with and without sigma clipping."""


def convert_muon_criteria(value: Any) -> list[str]:
    """Convert quality criteria to a list; ``~column`` of truth values is the comparison with 0.

    Raises
    ------
    ConfigurationError
        If an expression is no comparison of a column with a number.

    Examples
    --------
    >>> convert_muon_criteria([["not at limit", "~at_limit"], ["near", "impact <= 10"]])
    ['at_limit == 0', 'impact <= 10']
    """
    entries = value if isinstance(value, list | tuple) else [value]
    return convert_criteria([_replace_negation(entry) for entry in entries])


def list_telescope_numbers(value: Any) -> Any:
    """List the numbers of telescopes, given as a list, a set, one number, or text with commas.

    Examples
    --------
    >>> list_telescope_numbers(1), list_telescope_numbers("1, 4"), list_telescope_numbers([2])
    ([1], ['1', '4'], [2])
    """
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int) else list(value)


def _replace_negation(entry: Any) -> Any:
    text = entry[1] if isinstance(entry, list | tuple) and len(entry) == 2 else entry
    column = text.strip().removeprefix("~").strip() if isinstance(text, str) else ""
    return f"{column} == 0" if column.isidentifier() and text.strip() != column else entry


class MuonThroughputStep(CherenkovStep):
    """Calculate the optical throughput of telescopes from muon rings.

    The input is an HDF5 file with parameters of muon rings (DL1) as ctapipe writes them. The product is a table
    ``/dl1/monitoring/telescope/calibration/optical_throughput/muon/tel_NNN`` for each telescope in that file, a row for
    each chunk of rings; the tables are returned by the number of the telescope. Rings are selected, put in the order of
    time, split into chunks, and clipped about the mean. Clipping at three standard deviations takes 1.3 % off ``std``
    and ``sem`` of normally distributed throughputs.

    Examples
    --------
    >>> from cal_pipeline.cherenkov.simulate.muons import simulate_muons
    >>> from cal_pipeline.steps.cherenkov import MuonThroughputStep
    >>> path = simulate_muons("muons.h5", throughputs={1: 0.2}, n_rings=120, seed=1)
    >>> products = MuonThroughputStep.call(str(path), chunk_size=50)
    >>> products[1]["mean"].round(2).tolist()
    [0.2, 0.2]
    """

    class_alias = "muon_throughput"

    spec = """
    allowed_tels      = int_list(default=list())                # Telescopes to use; all if empty
    impact_min        = float(default=0.0)                      # Least impact parameter, in m
    impact_max        = float(default=10.0)                     # Largest impact parameter, in m
    quality_criteria  = list(default=list())                    # Cuts in place of those of validity, limits and impact: comparisons joined by &
    aggregator_type   = string(default="SigmaClippingAggregator")  # Statistics of a chunk: SigmaClippingAggregator or PlainAggregator (no clipping)
    max_sigma         = float(min=0.0, default=3.0)             # Largest deviation from the mean, in standard deviations
    iterations        = integer(min=0, default=5)               # Most repetitions of the clipping
    chunking_type     = string(default="SizeChunking")          # Chunks of equal numbers of rings: SizeChunking
    chunk_size        = integer(min=2, default=500)             # Rings of a chunk
    last_chunk_policy = string(default="merge")                 # Rings after the last full chunk: merge, overlap, truncate or skip
    allow_undersized_tables = boolean(default=False)            # Fewer rings than a chunk are one chunk
    """  # noqa: E501

    conversions = {
        **CherenkovStep.conversions,
        "quality_criteria": convert_muon_criteria,
        "allowed_tels": list_telescope_numbers,
    }

    tool = Tool(
        "calibpipe-calculate-throughput-muon",
        "CalculateThroughputWithMuons",
        source="input_url",
        handlers={"SigmaClippingAggregator": {}, "PlainAggregator": {}, "SizeChunking": {}, "MuonQualityQuery": {}},
        unused=frozenset({"append"}),
    )
    example_input = "muons.dl1.h5"

    allowed_tels: list[int]
    impact_min: float
    impact_max: float
    quality_criteria: list[str]
    aggregator_type: str
    max_sigma: float
    iterations: int
    chunking_type: str
    chunk_size: int
    last_chunk_policy: str
    allow_undersized_tables: bool

    def check_parameters(self) -> None:
        """Refuse names that do not exist, an empty range, and cuts beside the criteria that take their place."""
        for name, allowed in (
            ("aggregator_type", AGGREGATORS),
            ("chunking_type", ("SizeChunking",)),
            ("last_chunk_policy", tuple(LAST_CHUNK_POLICIES)),
        ):
            if getattr(self, name) not in allowed:
                raise ConfigurationError(f"{name} is {getattr(self, name)!r}; expected {' or '.join(allowed)}")
        if self.impact_min > self.impact_max:
            raise ConfigurationError(f"impact_min {self.impact_min:g} exceeds impact_max {self.impact_max:g}")
        given = [name for name in ("impact_min", "impact_max") if self.parameters.origin(name) != DEFAULT]
        if self.quality_criteria and given:
            raise ConfigurationError(
                f"{' and '.join(given)} given beside quality_criteria, which take their place; give one of both"
            )

    def make_products(self, source: Any) -> dict[int, Table]:
        """Calculate the throughputs of all telescopes of a file."""
        path = self.find_input(source, "the file of muon rings")
        telescopes = self._choose_telescopes(path, find_muon_telescopes(path))
        nodes = {tel_id: f"{THROUGHPUT}/tel_{tel_id:03d}" for tel_id in telescopes}
        refuse_existing_tables(path, list(nodes.values()), self.overwrite)
        trigger, products = read_trigger(path), {}
        for tel_id, node in telescopes.items():
            table = self._summarise(path, tel_id, node, trigger)
            if table is not None:
                products[tel_id] = table
        if not products:
            raise TooFewEventsError(f"{path}: no telescope has muon rings for a chunk ({self.chunk_size})")
        written = {nodes[tel_id]: table for tel_id, table in products.items()}
        write_tables(path, written, self.tool.command, self.make_provenance([path]), self.overwrite)
        logger.info("%s: throughputs of telescopes %s written to %s", self.class_alias, sorted(products), path)
        return products

    def _choose_telescopes(self, path: Path, found: dict[int, str]) -> dict[int, str]:
        allowed = set(self.allowed_tels) or set(found)
        chosen = {tel_id: node for tel_id, node in found.items() if tel_id in allowed}
        missing = sorted(set(self.allowed_tels) - set(chosen))
        known = ", ".join(map(str, found))
        if not chosen:
            raise MissingInputError(f"{path} has muon rings of telescopes {known}; expected one of {missing}")
        if missing:
            self.note_too_few(f"{path} has no muon rings of telescopes {', '.join(map(str, missing))}, only of {known}")
        return chosen

    def _list_cuts(self) -> list[Criterion]:
        if self.quality_criteria:
            return parse_criteria(self.quality_criteria)
        return parse_criteria(
            [
                "muonefficiency_is_valid",
                "muonefficiency_parameters_at_limit == 0",
                f"muonefficiency_impact >= {self.impact_min!r} * u.m",
                f"muonefficiency_impact <= {self.impact_max!r} * u.m",
            ]
        )

    def _summarise(self, path: Path, tel_id: int, node: str, trigger: Table) -> Table | None:
        """Summarise the rings of a telescope; None if there are too few."""
        rings = read_rings(path, node, trigger, self._list_cuts())
        number = len(rings.time)
        if rings.timeless:
            self.warn(f"{path}: telescope {tel_id}: {rings.timeless} rings have no trigger of that event; left out")
        chunks = split_chunks(number, self.chunk_size, self.last_chunk_policy)
        if not chunks and number and self.allow_undersized_tables:
            chunks = [(0, number)]
        if not chunks:
            self.note_too_few(
                f"{path}: telescope {tel_id} has {number} selected muon rings of {rings.found}; expected a chunk of "
                f"{self.chunk_size}; left out"
            )
            return None
        iterations = self.iterations if self.aggregator_type == AGGREGATORS[0] else 0
        return tabulate_throughput(
            rings,
            (
                (start, stop, summarise_throughput(rings.throughput[start:stop], self.max_sigma, iterations))
                for start, stop in chunks
            ),
        )
