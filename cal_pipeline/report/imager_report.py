"""Report of a store of the imager: an overview, and a page for each exposure or mosaic."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.product import Key
from cal_pipeline.core.store.records import ObservationRecord
from cal_pipeline.core.text import add_article, format_count, make_printable
from cal_pipeline.imager.kinds import RAMP, find_kind
from cal_pipeline.imager.product import PRODUCTS, ImageProduct
from cal_pipeline.report.imager_exposure import describe_exposure, describe_mosaic
from cal_pipeline.report.imager_images import ImageArrays
from cal_pipeline.report.imager_visit import describe_visit
from cal_pipeline.report.page.blocks import Page, note
from cal_pipeline.report.page.document import LIMIT, ReportDocument

logger = logging.getLogger(__name__)


def write_report(
    location: str | Path | ImageProduct,
    path: str | Path,
    wanted: Sequence[Key] | None = None,
    overwrite: bool = False,
    limit: int = LIMIT,
) -> None:
    """Write the report of rates, calibrated images or mosaics as one HTML file, which needs no network.

    Images are read one by one. One that cannot be read gets a page that says so.

    Parameters
    ----------
    location : str, Path or ImageProduct
        The store.
    path : str or Path
        File to write.
    wanted : sequence of int or str, optional
        Exposures by number, or mosaics by name, to show; all if not given.
    overwrite : bool
        Whether an existing file may be replaced.
    limit : int
        Largest size of the file [bytes]; images are reduced to means of blocks of pixels, and flags
        to the weightiest of a block, to meet it.

    Raises
    ------
    StoreError
        If there is no such store, exposure or mosaic, or the store holds raw ramps.
    OutputExistsError
        If the file exists and may not be replaced.

    Examples
    --------
    >>> write_report("rate.zarr", "rate_report.html", overwrite=True)
    >>> Path("rate_report.html").stat().st_size < 20_000_000
    True
    """
    product = location if isinstance(location, ImageProduct) else open_product(location)
    numbers = _choose(product, wanted)
    name = str(product.path).rstrip("/").rsplit("/", 1)[-1]
    kind = product.kind
    subtitle = f"{format_count(len(numbers), kind.noun)} of {product.path}"
    pages = {number: f"{kind.noun}-{_make_address(number, place)}" for place, number in enumerate(numbers, start=1)}
    with ReportDocument(path, f"Report of {name}", subtitle, len(numbers), name, limit, overwrite) as report:
        records: list[ObservationRecord] = []
        unreadable: dict[Key, tuple[str, str]] = {}
        for number, address in pages.items():
            title = f"{kind.noun.capitalize()} {make_printable(number)}"
            try:
                record = _read_record(product, number)
                describe = describe_mosaic if kind.named else describe_exposure
                report.add_page(describe(ImageArrays(product.root, record), title, address))
                records.append(record)
            except Exception as error:
                # Whatever is wrong with an image, the others have their pages.
                logger.debug("%s", address, exc_info=True)
                unreadable[number] = (address, str(error) or repr(error))
                said = f"{title} cannot be read: {unreadable[number][1]}"
                report.add_page(Page(address, title, [note(said, "bad")]))
        report.add_overview(describe_visit(product, records, unreadable, pages))


def open_product(location: str | Path) -> ImageProduct:
    """Open a store of rates, calibrated images or mosaics.

    Raises
    ------
    StoreError
        If it is none.

    Examples
    --------
    >>> open_product("rate.zarr").kind.name
    'rate store'
    """
    kind = find_kind(open_store(location))
    if kind is None:
        raise StoreError(f"{location} is no store of an imager; expected rates, calibrated images or mosaics")
    if kind.product == RAMP:
        raise StoreError(
            f"{location} is {add_article(kind.name)}; the report shows results: run detector1 on it, then make the "
            "report of its rates"
        )
    return PRODUCTS[kind.product](location)


def _choose(product: ImageProduct, wanted: Sequence[Key] | None) -> list[Key]:
    """Choose the images to show.

    Raises
    ------
    StoreError
        If a wanted one is not in the store.
    """
    if wanted is None:
        return list(product.numbers)
    for number in wanted:
        # The product names what it has in its place.
        product.groups(number)
    return [number for number in product.numbers if number in set(wanted)]


def _read_record(product: ImageProduct, number: Any) -> ObservationRecord:
    """Read the record of an image.

    Raises
    ------
    CalibrationError
        If its attributes cannot be read.
    """
    (group,) = product.groups(number)
    return ObservationRecord(group, read_group_attributes(product.root, group), product.kind)


def _make_address(number: Key, place: int) -> str:
    """Make the address of a page: the number or name, with its place where the name is no plain word."""
    text = str(number)
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", text)
    return plain if plain == text else f"{plain}-{place}"
