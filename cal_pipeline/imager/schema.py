"""Arrays of the imager's products: axes, type, unit and meaning, once."""

from __future__ import annotations

from cal_pipeline.core.store.schema import ProductArray, ProductSchema

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
