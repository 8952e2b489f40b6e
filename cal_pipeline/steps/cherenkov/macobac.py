"""Step ``macobac``: mean concentration of CO2."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from astropy.table import Column, Table

from cal_pipeline.cherenkov.co2 import find_record, read_record, select_last_year
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.base import CherenkovStep


class MacobacStep(CherenkovStep):
    """Average the concentration of CO2 over the last twelve months.

    The input is the monthly in-situ record of the Scripps CO2 Program, or a folder with it. The product
    (MACOBAC: monthly average carbon dioxide over the backward-going calendar year) is returned as a table of one row.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import MacobacStep
    >>> product = MacobacStep.call("night/monthly_in_situ_co2.csv", timestamp="2023-07-10", output_path="products")
    >>> product.meta["months"][0], product.meta["months"][-1]
    ('2022-07', '2023-06')
    """

    class_alias = "macobac"

    spec = """
    timestamp   = string(default=None)            # Time (UTC) of the estimate; now if not given
    output_file = string(default="macobac.ecsv")  # Name of the product, in output_path
    """

    tool = Tool(
        "calibpipe-calculate-macobac",
        "CalculateMACOBAC",
        source="data_path",
        handlers={"CO2DataHandler": {}},
        unused=frozenset({"dataset", "timeout", "request_timeout", "update_tzinfo"}),
    )
    example_input = "monthly_in_situ_co2_mlo.csv"

    timestamp: str | None
    output_file: str

    def make_products(self, source: Any) -> Table:
        """Average the last twelve months of a record."""
        self.refuse_existing(self.output_file)
        path = find_record(self.find_input(source, "the CO2 record"))
        now = datetime.fromisoformat(self.timestamp) if self.timestamp else datetime.now(UTC).replace(tzinfo=None)
        selected, warnings = select_last_year(read_record(path), now.year, now.month)
        for warning in warnings:
            self.warn(warning)
        mean = sum(value.concentration for value in selected) / len(selected)
        product = Table(
            {
                "co2_concentration": Column([mean], unit="ppm"),
                "estimation_date": [now.date().isoformat()],
                "version": ["0.0.0"],
            },
            meta={"months": [str(value) for value in selected]},
        )
        self.write_table(product, self.output_file, [path])
        return product
