"""Images of the imager, their stores and reference files, of known content."""

from __future__ import annotations

import numpy as np

from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.imager import ImageModel
from cal_pipeline.imager.reference_files import write_reference
from cal_pipeline.imager.writing import write_image

SHAPE = (16, 20)
"""Rows and columns of the images; not square, so that exchanged axes show."""

SETUP = {"instrument": "IRIS", "detector": "A", "filter": "K"}

WCS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 10.5,
    "CRPIX2": 8.5,
    "CD1_1": -1e-5,
    "CD1_2": 0.0,
    "CD2_1": 0.0,
    "CD2_2": 1e-5,
}


def describe(number, exp_type="SCI", **attributes):
    """Make the attributes of an exposure."""
    start = {"exposure_number": number, "exp_type": exp_type, **SETUP, "date_obs": f"2026-11-30T02:{number:02d}:00"}
    return {**start, "frame_time": 5.0, "exposure_time": 50.0, "target": "M42", **attributes}


def make_image(number=1, level=100.0, err=2.0, dq=None, exp_type="SCI", shape=SHAPE, ints=None, **attributes):
    """Make an image of constant level, or of the array `level`."""
    meta = describe(number, exp_type, **attributes)
    arrays = {"data": level, "err": err, "var_poisson": 3.0, "var_rnoise": 1.0}
    filled = {name: np.broadcast_to(np.float32(value), shape).copy() for name, value in arrays.items()}
    flags = np.zeros(shape, np.uint32) if dq is None else dq
    each = None
    if ints is not None:
        each = ImageModel(
            **{name: np.stack([value] * len(ints)) for name, value in filled.items()},
            dq=np.stack([flags] * len(ints)),
            meta=meta,
        )
        each.data = np.stack([np.full(shape, value, np.float32) for value in ints])
    return ImageModel(**filled, dq=flags, meta=meta, ints=each)


def write_store(path, images, product="rate"):
    """Write images as a store of rates or calibrated images."""
    root = open_store(path, write=True)
    write_group(root, "", {"product": product})
    for image in images:
        place = root.child(f"exp_{image.number:06d}")
        write_image(image, place, {}, with_flat=product == "cal", ints=f"{product}ints")
    return path


def write_references(folder, shape=SHAPE, **changed):
    """Write reference files for images; `changed` has others in place of those of a type, None for none.

    Dark 1 ± 0.5 e/s, flat 0.5 ± 0.01, zero point 25 ± 0.02 mag.
    """
    folder.mkdir(exist_ok=True)
    ones, flags = np.ones(shape, np.float32), np.zeros(shape, np.uint32)
    contents = {
        "dark": {"data": ones, "err": 0.5 * ones, "dq": flags},
        "flat": {"data": 0.5 * ones, "err": 0.01 * ones, "dq": flags},
        "photom": {"zero_point": 25.0, "zero_point_err": 0.02},
    }
    for reftype, content in {**contents, **changed}.items():
        if content is not None:
            meta = {**SETUP, "useafter": "2026-01-01"}
            write_reference(folder / f"{reftype}.asdf", reftype, meta, {**contents[reftype], **content})
    return folder
