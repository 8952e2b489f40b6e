"""Comparison of two products of the imager: their arrays, and what they recorded of how these were made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.compare import Comparison, compare_products
from cal_pipeline.core.store.compare_records import (
    ABSENT,
    Fact,
    RecordFormat,
    describe_file,
    describe_record,
    describe_text,
    describe_value,
)
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import Key
from cal_pipeline.core.store.records import ObservationRecord, as_mapping
from cal_pipeline.core.text import add_article
from cal_pipeline.imager.kinds import RAMP, find_kind
from cal_pipeline.imager.product import PRODUCTS, ImageProduct

_FIGURES = {
    "chi² of the ramps": ("ramp_chi2", ""),
    "saturated": ("saturated_fraction", ""),
    "with jumps": ("jump_fraction", ""),
    "bad": ("bad_fraction", ""),
}
"""Results that are compared as numbers; fractions of the pixels but for chi²."""


def compare_image_stores(
    first: str | Path, second: str | Path, wanted: Sequence[Key] | None = None, origins: bool = True
) -> Comparison:
    """Compare two products of one kind: arrays block by block, and what was recorded of their making.

    Parameters
    ----------
    first, second : str or Path
        Stores of rates, of calibrated images or of mosaics: folders, ZIP files or URLs.
    wanted : sequence of int, optional
        Numbers of exposures, or names of mosaics: only these.
    origins : bool
        Whether it is a difference that a parameter of the same value came from elsewhere.

    Returns
    -------
    Comparison
        With the arrays of all integrations.

    Raises
    ------
    StoreError
        If they are no products of one kind, or there is nothing to compare.

    Examples
    --------
    >>> compare_image_stores("rate.zarr", "rate.zarr").status()
    0
    """
    one, two = _open_both(first, second)
    return compare_products(one, two, wanted, origins=origins, form=IMAGE_RECORDS)


def _open_both(first: str | Path, second: str | Path) -> list[ImageProduct]:
    """Open two products of one kind, or say in one sentence what both are."""
    roots = [open_store(store) for store in (first, second)]
    kinds = [find_kind(root) for root in roots]
    kind = kinds[0]
    if kind is None or kinds[1] is not kind or kind.product == RAMP:
        sentence = " and ".join(f"{root} is {_name_kind(root)}" for root in roots)
        raise StoreError(f"{sentence}; two products of one kind are compared")
    return [PRODUCTS[kind.product](store) for store in (first, second)]


def _name_kind(root: StorePath) -> str:
    kind = find_kind(root)
    if kind is not None:
        return add_article(kind.name)
    return "no store of an imager" if root.members() else "not there"


def _describe_image(record: ObservationRecord) -> dict[Fact, str]:
    """Describe what was recorded of an image, by category and name."""
    provenance, attributes = record.provenance, record.attributes
    facts = {
        **describe_record(record),
        ("input", "store"): describe_text(provenance.get("input")),
        ("input", "groups"): _list(provenance.get("input_groups")),
        ("input", "digest"): describe_text(provenance.get("input_digest")),
        ("input", "members"): _list(attributes.get("members")),
    }
    return facts | {("reference files", reftype): text for reftype, text in name_references(provenance).items()}


def name_references(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Name the reference files of an image by type, each with the start of its checksum.

    Parameters
    ----------
    provenance : mapping
        Provenance of the image.

    Examples
    --------
    >>> entry = {"type": "gain", "file": "/refs/gain.asdf", "sha256": "e7e5b5b193d3d5ac"}
    >>> name_references({"reference_files": [entry]})
    {'gain': 'gain.asdf (sha256 e7e5b5b193d3)'}
    """
    files = provenance.get("reference_files")
    entries = [as_mapping(entry) for entry in files] if isinstance(files, list) else []
    return {
        str(entry.get("type")): describe_file(PurePath(str(entry.get("file"))).name, entry.get("sha256"))
        for entry in entries
    }


def _list(value: object) -> str:
    return ABSENT if value is None else describe_value(value)


IMAGE_RECORDS = RecordFormat(_describe_image, _FIGURES)
"""Records of a product of the imager that are compared."""
