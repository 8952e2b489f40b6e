"""Kinds of stores of the imager, and how exposures are named in them."""

from __future__ import annotations

from cal_pipeline.core.store.product import ProductKind

SCHEMA_VERSION = "1.0"

EXPOSURE, PREFIX = "exposure", "exp"

RAMP = "ramp"
"""Attribute ``product`` of a store of raw exposures."""

RATE = ProductKind(EXPOSURE, "rate store", SCHEMA_VERSION, "raw exposure", product="rate", prefix=PREFIX)
CAL = ProductKind(EXPOSURE, "cal store", SCHEMA_VERSION, "exposure of rates", product="cal", prefix=PREFIX)
MOSAIC = ProductKind(
    "mosaic",
    "mosaic store",
    SCHEMA_VERSION,
    "calibrated exposure",
    product="mosaic",
    named=True,
    selected_by="exposures",
)
REFERENCE = ProductKind(
    "reference",
    "reference file",
    SCHEMA_VERSION,
    "exposure of rates",
    product="reference",
    named=True,
    selected_by="exposures",
    suffix=".asdf",
)
