"""Tables as text: the same bytes that astropy writes."""

from __future__ import annotations

import io
import math

import pytest
from astropy.table import Table

from cal_pipeline.heterodyne.quality_rows import PIXEL_ROWS
from cal_pipeline.imager.quality_rows import EXPOSURE_ROWS
from cal_pipeline.report.ecsv import format_ecsv

TEXTS = ["-", "plain", "two words", "a 'quote'", 'a "quote"', "comma, colon: #", "grüße", "nan", "1", "#", "a\\tb"]
NUMBERS = [0, 1, -0.0, 0.1, 1 / 3, 1e-300, 1e22, 1e16, 123456789012345678, math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("form", [PIXEL_ROWS, EXPOSURE_ROWS], ids=["pixels", "exposures"])
@pytest.mark.parametrize("store", ["l1.zarr", "two%20words.zarr", "1", "a" * 200, "yes"])
def test_is_what_astropy_writes(form, store):
    first = form.names[0]
    rows = [
        {name: number if name in form.columns else text for name in form.all_names} | {first: index}
        for index, (text, number) in enumerate(zip(TEXTS + TEXTS[:1], NUMBERS, strict=True))
    ]
    table = Table({name: [row[name] for row in rows] for name in form.all_names})
    for name, (unit, meaning) in form.columns.items():
        table[name] = table[name].astype(float)
        table[name].unit = unit or None
        table[name].description = meaning
    table.meta["quality_figures_of"] = store
    expected = io.StringIO()
    table.write(expected, format="ascii.ecsv")
    assert format_ecsv(form.all_names, form.columns, rows, {"quality_figures_of": store}) == expected.getvalue()
