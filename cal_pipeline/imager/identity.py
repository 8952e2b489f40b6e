"""Reference files that an exposure was made with, as a product recorded them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cal_pipeline.core.store.records import as_mapping


def recorded_references(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return the digests of the reference files that were recorded, by type."""
    files = provenance.get("reference_files")
    entries = [as_mapping(entry) for entry in files] if isinstance(files, list) else []
    return {str(entry.get("type")): entry.get("sha256") for entry in entries}
