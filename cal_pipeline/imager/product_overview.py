"""Overview of a product of the imager: its images, what came out, and what they were made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.overview import (
    UNKNOWN,
    WIDTH,
    format_failures,
    format_properties,
    format_table,
    format_unfinished_run,
    format_verdict,
)
from cal_pipeline.core.store.product import ProductKind
from cal_pipeline.core.store.records import ObservationRecord, read_records
from cal_pipeline.core.text import elide_middle, format_count, make_printable
from cal_pipeline.imager.compare import name_references
from cal_pipeline.imager.product import ImageProduct


@dataclass(frozen=True)
class ImageResult:
    """Results of an image; None where they are not known.

    Parameters
    ----------
    image : int or str
        Number of the exposure; name of the mosaic.
    exp_type, target, filter, detector : str
        Attributes of the exposure.
    steps_done, steps_skipped : tuple of str
        Steps that it has passed.
    ramp_chi2, saturated_fraction, jump_fraction, bad_fraction : float or None
        Quality figures of ``qa``.
    verdict : str
        Verdict on its quality.
    checks : tuple of str
        Checks that it does not pass.
    members : tuple
        Exposures that a mosaic was made from.
    references : dict
        Reference files by type, each with the start of its checksum.
    parameter_files : tuple of str
        Files that parameters came from.
    engine, time, input : str
        Version of the engine, time at which it was made, store it was made from.
    """

    image: int | str
    exp_type: str
    target: str
    filter: str
    detector: str
    steps_done: tuple[str, ...]
    steps_skipped: tuple[str, ...]
    ramp_chi2: float | None
    saturated_fraction: float | None
    jump_fraction: float | None
    bad_fraction: float | None
    verdict: str
    checks: tuple[str, ...]
    members: tuple[Any, ...]
    references: Mapping[str, str]
    parameter_files: tuple[str, ...]
    engine: str
    time: str
    input: str


@dataclass(frozen=True)
class ImagesOverview:
    """Overview of a product.

    Parameters
    ----------
    store : str
        Path or URL.
    schema_version, engine_version : str
        Versions of the format and of the engine that made the store.
    images : tuple of ImageResult
        Results, in the order of numbers or names.
    failures : tuple of dict
        Images that failed: number or name, ``step``, ``error_class``, ``message``.
    run : dict or None
        Record of the run that wrote the store.
    run_state : str
        Its state, running, finished or interrupted; empty if there is no record. A run whose process
        is gone was interrupted, whatever its record says.
    """

    store: str
    schema_version: str
    engine_version: str
    images: tuple[ImageResult, ...]
    failures: tuple[Mapping[str, Any], ...]
    run: Mapping[str, Any] | None = None
    run_state: str = ""


def overview_images(product: ImageProduct) -> ImagesOverview:
    """Describe a product, of which no array is read.

    Parameters
    ----------
    product : ImageProduct
        Store of rates, of calibrated images or of mosaics.

    Examples
    --------
    >>> from cal_pipeline.imager.product import RateProduct
    >>> overview = overview_images(RateProduct("rate.zarr"))
    >>> overview.images[0].verdict, overview.run_state
    ('pass', 'finished')
    """
    attributes = read_group_attributes(product.root, "")
    return ImagesOverview(
        str(product.path),
        str(attributes.get("cal_schema_version") or ""),
        str(attributes.get("cal_engine_version") or ""),
        tuple(map(_result, read_records(product))),
        tuple(product.failures),
        product.run,
        product.run_state,
    )


def _result(record: ObservationRecord) -> ImageResult:
    attributes, provenance = record.attributes, record.provenance
    state = attributes.get("cal_step")
    steps = state if isinstance(state, Mapping) else {}
    members = attributes.get("members")

    def text(values: Mapping[str, Any], name: str) -> str:
        return "" if values.get(name) is None else str(values[name])

    return ImageResult(
        image=record.number,
        **{name: text(attributes, name) for name in ("exp_type", "target", "filter", "detector")},
        steps_done=tuple(name for name, how in steps.items() if how == "COMPLETE"),
        steps_skipped=tuple(name for name, how in steps.items() if how != "COMPLETE"),
        ramp_chi2=record.figure("ramp_chi2"),
        saturated_fraction=record.figure("saturated_fraction"),
        jump_fraction=record.figure("jump_fraction"),
        bad_fraction=record.figure("bad_fraction"),
        verdict=record.verdict,
        checks=tuple(record.checks),
        members=tuple(members) if isinstance(members, list) else (),
        references=name_references(provenance),
        parameter_files=tuple(record.parameter_files),
        engine=text(provenance, "engine_version"),
        time=text(provenance, "time"),
        input=text(provenance, "input"),
    )


def format_images(overview: ImagesOverview, kind: ProductKind) -> str:
    """Write an overview of a product as text.

    Parameters
    ----------
    overview : ImagesOverview
        Overview.
    kind : ProductKind
        Kind of the product.

    Returns
    -------
    str
        Lines of at most 100 characters.
    """
    images = overview.images
    failed = f", {len(overview.failures)} failed" if overview.failures else ""
    types = sorted({reftype for image in images for reftype in image.references})
    properties = {**_PROPERTIES, **{reftype: _reference_of(reftype) for reftype in types}}
    table = _table_of_mosaics(images) if kind.named else _table_of_exposures(images)
    lines = [
        elide_middle(make_printable(overview.store), WIDTH),
        f"{kind.name} of {format_count(len(images), kind.noun)}{failed}; format {overview.schema_version or UNKNOWN}",
        *format_unfinished_run(overview.run, overview.run_state, kind),
        *format_properties(images, properties, lambda image: image.image),
        *table,
    ]
    return "\n".join([*lines, *format_failures(overview.failures, kind)])


_PROPERTIES: dict[str, Callable[[ImageResult], str]] = {
    "engine": lambda image: image.engine,
    "made from": lambda image: image.input,
    "made at": lambda image: image.time.partition("T")[0],
    "steps": lambda image: ", ".join(image.steps_done),
    "skipped": lambda image: ", ".join(image.steps_skipped) or "none",
    "parameters": lambda image: ", ".join(image.parameter_files) or "no file",
}
"""Common properties of images."""


def _reference_of(reftype: str) -> Callable[[ImageResult], str]:
    return lambda image: image.references.get(reftype, "none")


def _table_of_exposures(images: tuple[ImageResult, ...]) -> list[str]:
    titles = ("exposure", "type", "target", "filter", "chi²", "saturated", "jumps", "bad", "verdict")
    rows = [
        (
            str(image.image),
            *(
                elide_middle(make_printable(text or UNKNOWN), 16)
                for text in (image.exp_type, image.target, image.filter)
            ),
            UNKNOWN if image.ramp_chi2 is None else f"{image.ramp_chi2:.3f}",
            *(_percent(value) for value in (image.saturated_fraction, image.jump_fraction, image.bad_fraction)),
            format_verdict(image.verdict, image.checks),
        )
        for image in images
    ]
    return format_table(titles, rows)


def _table_of_mosaics(images: tuple[ImageResult, ...]) -> list[str]:
    rows = [
        (
            make_printable(image.image),
            make_printable(image.target or UNKNOWN),
            make_printable(image.filter or UNKNOWN),
            ", ".join(make_printable(member) for member in image.members) or UNKNOWN,
        )
        for image in images
    ]
    return format_table(("mosaic", "target", "filter", "made from"), rows)


def _percent(value: float | None) -> str:
    return UNKNOWN if value is None else f"{100.0 * value:.2f} %"
