"""Kinds of stores of the imager, and how exposures are named in them."""

from __future__ import annotations

from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import PRODUCT, ProductKind, read_marks

SCHEMA_VERSION = "1.0"

EXPOSURE, PREFIX = "exposure", "exp"

RAMP = "ramp"
"""Attribute ``product`` of a store of raw exposures."""

RAMPS = ProductKind(EXPOSURE, "ramp store", SCHEMA_VERSION, "", product=RAMP, prefix=PREFIX)
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

KINDS = {kind.product: kind for kind in (RAMPS, RATE, CAL, MOSAIC)}
"""Kinds of stores by the attribute ``product`` of their root."""


def find_kind(root: StorePath) -> ProductKind | None:
    """Find out the kind of a store of the imager.

    Parameters
    ----------
    root : StorePath
        The store.

    Returns
    -------
    ProductKind or None
        By the attribute ``product`` or, where the root is damaged or lacks it, by the arrays of the
        first exposure; None for other stores.

    Examples
    --------
    >>> from cal_pipeline.core.store.opening import open_store
    >>> find_kind(open_store("visit.zarr")).name
    'ramp store'
    """
    marked = read_marks(root).get(PRODUCT)
    if isinstance(marked, str) and marked in KINDS:
        return KINDS[marked]
    groups = sorted(name for name in root.members() if RAMPS.key_of(name) is not None)
    if not groups:
        return None
    arrays = set(root.members(groups[0]))
    return CAL if "var_flat" in arrays else RATE if "err" in arrays else RAMPS
