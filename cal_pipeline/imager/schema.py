"""Arrays of the imager's products: axes, type, unit and meaning, once."""

from __future__ import annotations

from typing import Any

from astropy import units

from cal_pipeline.core.store.schema import ProductArray, ProductSchema
from cal_pipeline.imager.dq import DQ

RATE_UNITS = "electron / s"

VARIANCES = ("var_poisson", "var_rnoise", "var_flat")

_AXES = (("y", "x"), ("integration", "y", "x"))

IMAGES = ProductSchema(
    {
        "data": ProductArray(_AXES, "float32", RATE_UNITS, "rate, or flux of a calibrated image"),
        "err": ProductArray(_AXES, "float32", RATE_UNITS, "standard deviation of data"),
        "var_poisson": ProductArray(_AXES, "float32", "electron2 / s2", "variance of data by photon noise"),
        "var_rnoise": ProductArray(_AXES, "float32", "electron2 / s2", "variance of data by read noise"),
        "var_flat": ProductArray(_AXES, "float32", "electron2 / s2", "variance of data by the flat field"),
        "dq": ProductArray(_AXES, "uint32", "", "data quality, bits of cal_pipeline.imager.DQ"),
        "weight": ProductArray((("y", "x"),), "float32", "s", "exposure time by drizzle weight, summed"),
    },
)
"""Arrays of images: rates, calibrated images and mosaics."""

FLAGS = {
    "flag_masks": [int(flag) for flag in DQ],
    "flag_meanings": " ".join(str(flag.name) for flag in DQ),
}
"""Bits of ``dq``, as CF names them."""


def describe_array(name: str, unit: str) -> dict[str, Any]:
    """Make the attributes of an array that depend on the unit of the values, and those of flags.

    Parameters
    ----------
    name : str
        Name of the array.
    unit : str
        Unit of the values and of their errors.

    Examples
    --------
    >>> describe_array("err", "uJy"), describe_array("var_flat", "electron / s"), describe_array("weight", "uJy")
    ({'units': 'uJy'}, {'units': 'electron2 / s2'}, {})
    """
    if name in VARIANCES:
        return {"units": str((units.Unit(unit) ** 2).to_string())}
    return {"units": unit} if name in ("data", "err") else FLAGS if name == "dq" else {}
