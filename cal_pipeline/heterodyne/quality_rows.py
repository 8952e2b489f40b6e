"""Rows of the table of quality figures of an L1 store: one for each pixel of a scan or band."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cal_pipeline.core.quality_rows import NOTHING, QualityRows, judge_elements, list_columns, show_text
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.figures import QUALITY
from cal_pipeline.heterodyne.product import CalibratedSession

COLUMNS = list_columns(QUALITY)
"""Figures of a pixel in the table, with units and descriptions."""


def _list_pixels(product: CalibratedSession) -> Iterator[dict[str, Any]]:
    for number in product.numbers:
        for path in product.bands(number):
            attributes = read_group_attributes(product.root, path)
            for pixel, judged in judge_elements(attributes.get("qa") or {}, QUALITY.elements, COLUMNS):
                yield {
                    "scan": attributes["scan_number"],
                    "source": show_text(attributes, "source"),
                    "band": path.partition("/")[2] or NOTHING,
                    "mode": show_text(attributes, "mode"),
                    "pixel": make_printable(pixel),
                    **judged,
                }


PIXEL_ROWS = QualityRows(("scan", "source", "band", "mode", "pixel"), COLUMNS, _list_pixels)
"""Rows of an L1 store."""
