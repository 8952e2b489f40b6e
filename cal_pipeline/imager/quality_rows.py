"""Rows of the table of quality figures of rates or calibrated images: one for each exposure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cal_pipeline.core.quality_rows import QualityRows, judge_elements, list_columns, show_text
from cal_pipeline.core.store.records import read_records
from cal_pipeline.core.text import make_printable
from cal_pipeline.imager.figures import RATE_QUALITY
from cal_pipeline.imager.product import ImageProduct

COLUMNS = list_columns(RATE_QUALITY)
"""Figures of an exposure in the table, with units and descriptions."""


def _list_exposures(product: ImageProduct) -> Iterator[dict[str, Any]]:
    for record in read_records(product):
        for detector, judged in judge_elements(record.quality, RATE_QUALITY.elements, COLUMNS):
            yield {
                "exposure": record.number,
                **{name: show_text(record.attributes, name) for name in ("exp_type", "target", "filter")},
                "detector": make_printable(detector),
                **judged,
            }


EXPOSURE_ROWS = QualityRows(("exposure", "exp_type", "target", "filter", "detector"), COLUMNS, _list_exposures)
"""Rows of a store of rates or calibrated images."""
