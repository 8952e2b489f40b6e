"""Sky exposures that belong to an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cal_pipeline.core.errors import ObservationError
from cal_pipeline.imager.exposure_types import BACKGROUND, ExposureTable
from cal_pipeline.imager.exposures import ExposureStore


def describe_setup(attributes: Mapping[str, Any], with_filter: bool = True) -> dict[str, Any]:
    """Describe detector, filter and subarray, which exposures that are combined have in common.

    Examples
    --------
    >>> describe_setup({"instrument": "IRIS", "detector": "A", "filter": "K"})
    {'instrument': 'IRIS', 'detector': 'A', 'filter': 'K', 'subarray': None}
    """
    names = ("instrument", "detector", *(("filter",) if with_filter else ()))
    window = attributes.get("subarray")
    if isinstance(window, Mapping):
        window = {name: window.get(name) for name in ("xstart", "ystart", "xsize", "ysize")}
    return {**{name: attributes.get(name) for name in names}, "subarray": window}


def find_skies(
    store: ExposureStore, attributes: Mapping[str, Any], selected: Sequence[Any] | str | None, table: ExposureTable
) -> list[int]:
    """Find the sky exposures for an image: those of its detector, filter and subarray.

    Parameters
    ----------
    store : ExposureStore
        Store of the image.
    attributes : mapping
        Attributes of the image.
    selected : sequence, str or None
        Exposures of the store that may be used; all if None.
    table : ExposureTable
        Table of exposure types, which gives skies the role of background.

    Returns
    -------
    list of int
        Ascending; those that cannot be read are left out.
    """
    setup = describe_setup(attributes)
    found = []
    for number in store.select(selected):
        of_sky = store.try_attributes(number)
        if of_sky is None or describe_setup(of_sky) != setup:
            continue
        try:
            rule = table.look_up_exposure(of_sky, f"exposure {number}")
        except ObservationError:  # opening it reports the error
            continue
        if rule.role == BACKGROUND:
            found.append(number)
    return found
