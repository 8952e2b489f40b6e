"""Sky exposures that belong to an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cal_pipeline.core.errors import ObservationError, StoreError
from cal_pipeline.imager.exposure_types import BACKGROUND, ExposureTable
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.subarray import find_subarray


def describe_setup(attributes: Mapping[str, Any], shape: Sequence[int], with_filter: bool = True) -> dict[str, Any]:
    """Describe detector, filter and subarray, which exposures that are combined have in common.

    Parameters
    ----------
    attributes : mapping
        Attributes of an exposure.
    shape : sequence of int
        Shape of its images, rows and columns last.
    with_filter : bool
        Whether the filter matters.

    Raises
    ------
    LayoutError
        If the attribute ``subarray`` makes no sense.

    Examples
    --------
    >>> setup = describe_setup({"instrument": "IRIS", "detector": "A", "filter": "K"}, (4, 8))
    >>> setup["filter"], str(setup["subarray"])
    ('K', 'columns 1 to 8, rows 1 to 4')
    """
    names = ("instrument", "detector", *(("filter",) if with_filter else ()))
    window = find_subarray(attributes, (shape[-2], shape[-1]), f"exposure {attributes.get('exposure_number')}")
    return {**{name: attributes.get(name) for name in names}, "subarray": window}


def describe_stored(store: ExposureStore, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Describe an exposure of a store: its attributes and its setup; None if they cannot be read.

    The description is kept with the store.
    """

    def describe() -> tuple[dict[str, Any], dict[str, Any]] | None:
        attributes = store.try_attributes(number)
        if attributes is None:
            return None
        try:
            return attributes, describe_setup(attributes, store.image_shape(number))
        except (ObservationError, StoreError):  # opening it reports the error
            return None

    return store.remember(("setup", number), describe)


def find_skies(
    store: ExposureStore,
    attributes: Mapping[str, Any],
    shape: Sequence[int],
    selected: Sequence[Any] | str | None,
    table: ExposureTable,
) -> list[int]:
    """Find the sky exposures for an image: those of its detector, filter and subarray.

    Parameters
    ----------
    store : ExposureStore
        Store of the image.
    attributes : mapping
        Attributes of the image.
    shape : sequence of int
        Shape of the image.
    selected : sequence, str or None
        Exposures of the store that may be used; all if None.
    table : ExposureTable
        Table of exposure types, which gives skies the role of background.

    Returns
    -------
    list of int
        Ascending; those that cannot be read are left out.
    """
    setup = describe_setup(attributes, shape)
    found = []
    for number in store.select(selected):
        sky = describe_stored(store, number)
        if sky is None or sky[1] != setup:
            continue
        try:
            rule = table.look_up_exposure(sky[0], f"exposure {number}")
        except ObservationError:  # opening it reports the error
            continue
        if rule.role == BACKGROUND:
            found.append(number)
    return found


def name_reference_of(number: int, reftype: str) -> str:
    """Return the name under which the reference file of a sky is recorded, if it is not that of the image.

    Examples
    --------
    >>> name_reference_of(7, "dark")
    'dark of exposure 7'
    """
    return f"{reftype} of exposure {number}"
