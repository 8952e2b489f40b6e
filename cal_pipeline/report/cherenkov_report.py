"""Report of Cherenkov nights: an overview, and pages on the air, aerosols, cameras, muons and pairs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from cal_pipeline.core.store.records import DEFAULT, RUN_ONLY, as_mapping
from cal_pipeline.core.text import format_count
from cal_pipeline.report.cherenkov_air import AEROSOLS, AIR, describe_aerosols, describe_air, read_night_name
from cal_pipeline.report.cherenkov_files import Night, NightFile, read_nights
from cal_pipeline.report.cherenkov_telescopes import describe_camera, describe_muons, describe_pairs
from cal_pipeline.report.page.blocks import Block, Page, details, facts, link, note, section, table, tiles
from cal_pipeline.report.page.document import LIMIT, ReportDocument
from cal_pipeline.report.runs import FIRST, join_known, show_value

_PAIRS = ("throughputs", "factors", "asymmetries")

_WORDS = {
    "profile": "profile of the air",
    "extinction": "Rayleigh extinction",
    "reference_profile": "reference profile",
    "reference_extinction": "extinction of the reference",
    "density": "number density of the air",
    "co2": "concentration of CO2",
    "lidar": "aerosols above a LIDAR",
    "clear": "assessment of a clear night",
    "cameras": "coefficients of cameras",
    "muons": "throughput from muons",
    "asymmetries": "asymmetries of pairs",
    "throughputs": "throughputs of telescopes",
    "factors": "factors between types",
    "scaled": "scaled throughputs",
}
"""Kinds of products in words."""


class _Plan(NamedTuple):
    """Page to be made: address, title, the files it is made from, and its blocks."""

    address: str
    title: str
    night: Night
    files: Sequence[NightFile]
    build: Callable[[], list[Block]]


def write_report(
    locations: str | Path | Sequence[str | Path], path: str | Path, overwrite: bool = False, limit: int = LIMIT
) -> None:
    """Write the report of Cherenkov nights as one HTML file, which needs no network.

    A folder is a night: its products, ECSV and HDF5, are looked for in it and two levels of folders
    below. Files are one night together. A file that cannot be read gets an entry that says so.

    Parameters
    ----------
    locations : path or sequence of path
        Folders and files.
    path : str or Path
        File to write.
    overwrite : bool
        Whether an existing file may be replaced.
    limit : int
        Largest size of the file [bytes].

    Raises
    ------
    StoreError
        If a path is not there, or a folder has no product.
    OutputExistsError
        If the file exists and may not be replaced.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import ClearNightStep
    >>> table = ClearNightStep.call("night/stars.ecsv", output_path="third")
    >>> write_report("third", "third_report.html")
    >>> Path("third_report.html").read_text().startswith("<!doctype html>")
    True
    """
    given = [locations] if isinstance(locations, (str, Path)) else list(locations)
    nights = read_nights(given)
    plans = [plan for number, night in enumerate(nights, start=1) for plan in _plan_pages(night, number, len(nights))]
    name = str(Path(given[0]).resolve().name) if len(given) == 1 else format_count(len(nights), "night")
    subtitle = ", ".join(str(one) for one in given)
    with ReportDocument(path, f"Report of {name}", subtitle, len(plans), name, limit, overwrite) as report:
        for plan in plans:
            report.add_page(_make_page(plan))
        report.add_overview(list(_describe_nights(nights, plans)))


def _plan_pages(night: Night, number: int, count: int) -> Iterator[_Plan]:
    """Plan the pages of a night."""
    start = f"night-{number}-" if count > 1 else ""
    prefix = f"{read_night_name(night) or night.name}: " if count > 1 else ""

    def plan(address: str, title: str, files: Sequence[NightFile], build: Callable[[], list[Block]]) -> _Plan:
        title = prefix + title if prefix else title[0].upper() + title[1:]
        return _Plan(start + address, title, night, files, build)

    for address, title, kinds, describe in (
        ("atmosphere", "atmosphere", AIR, describe_air),
        ("aerosols", "aerosols", AEROSOLS, describe_aerosols),
    ):
        files = [file for file in night.files if set(kinds) & set(file.kinds)]
        if files:
            yield plan(address, title, files, partial(describe, night))
    for place, file in enumerate(night.find_all("cameras"), start=1):
        several = len(night.find_all("cameras")) > 1
        for tel_id in file.nodes["cameras"]:
            of = f" ({file.path.name})" if several else ""
            yield plan(
                f"camera-{place}-tel-{tel_id}" if several else f"camera-tel-{tel_id}",
                f"camera of telescope {tel_id}{of}",
                [file],
                partial(describe_camera, file, tel_id),
            )
    if muons := night.find_all("muons"):
        yield plan("muons", "muons", muons, partial(describe_muons, night))
    if pairs := [file for file in night.files if set(_PAIRS) & set(file.kinds)]:
        yield plan("pairs", "pairs of telescopes", pairs, partial(describe_pairs, night))


def _make_page(plan: _Plan) -> Page:
    """Make a page; one whose data cannot be used says so."""
    try:
        blocks = plan.build()
    except Exception as error:
        blocks = [note(f"This cannot be shown: {str(error) or repr(error)}", "bad")]
    warnings = [note(f"{file.path.name}: {text}", "warning") for file in plan.files for text in list_warnings(file)]
    subtitle = ", ".join(file.path.name for file in plan.files)
    return Page(plan.address, plan.title, [*warnings, *blocks, _show_provenance(plan.files)], subtitle, judged=False)


def list_warnings(file: NightFile) -> list[str]:
    """List the warnings in the provenance of a file."""
    found = []
    for record in file.records:
        warnings = record.get("warnings")
        found += [str(text) for text in warnings] if isinstance(warnings, list) else []
    return found


def _show_provenance(files: Sequence[NightFile]) -> Block:
    """Show tools, inputs, and parameters with their origins, of each file."""
    blocks = []
    for file in files:
        blocks += [
            details(f"{file.path.name}: {show_value(record.get('tool'))}", *_describe_record(record))
            for record in file.records
        ]
        if not file.records:
            blocks.append(details(file.path.name, note("The file has no provenance.", "warning")))
    return section("Provenance", *blocks)


def _describe_record(record: Mapping[str, Any]) -> list[Block]:
    listed = {name: record.get(name) for name in ("tool", "version", "time")}
    inputs = record.get("inputs")
    sources = [as_mapping(item) for item in inputs] if isinstance(inputs, list) else []
    rows = [[item.get("name"), item.get("sha256")] for item in sources]
    parameters, origins = as_mapping(record.get("parameters")), as_mapping(record.get("parameter_origins"))
    used = [
        [name, show_value(value), str(origins.get(name, DEFAULT))]
        for name, value in sorted(parameters.items(), key=lambda item: (item[0] not in origins, item[0]))
        if name not in RUN_ONLY
    ]
    return [
        facts(listed),
        table(["input", "SHA-256"], rows) if rows else note("No input is recorded."),
        table(["parameter", "value", "where it came from"], used, first=12)
        if used
        else note("No parameter is recorded."),
    ]


def _describe_nights(nights: Sequence[Night], plans: Sequence[_Plan]) -> Iterator[Block]:
    """Make the overview."""
    files = [file for night in nights for file in night.files]
    broken = [file for file in files if file.problem]
    warned = [(file, text) for file in files for text in list_warnings(file)]
    records = [record for file in files for record in file.records]
    yield tiles(
        {
            "Nights": (str(len(nights)), join_known(read_night_name(night) for night in nights) or "date not known"),
            "Products": (str(len(files) - len(broken)), "files that could be read"),
            "Unreadable": (str(len(broken)), "files, see below" if broken else "files"),
            "Warnings": (str(len(warned)), "of the tools"),
            "Tools": (str(len({str(record.get("tool")) for record in records})), "that wrote the products"),
        }
    )
    if broken:
        rows = [[str(file.path), file.problem] for file in broken]
        yield section(f"{format_count(len(broken), 'file')} that cannot be shown", table(["file", "reason"], rows))
    if warned:
        rows = [[file.path.name, text] for file, text in warned]
        yield section("Warnings", table(["file", "warning"], rows, first=FIRST))
    else:
        known = all(file.records for file in files if not file.problem)
        said = "The tools gave no warning." if known else "Warnings of files without provenance are not known."
        yield section("Warnings", note(said, "good" if known and records else "warning"))
    yield section("Pages", table(["page", "files"], [[link(p.title, p.address), _names(p.files)] for p in plans]))
    yield _list_products(nights, plans)


def _names(files: Sequence[NightFile]) -> str:
    return ", ".join(file.path.name for file in files)


def _list_products(nights: Sequence[Night], plans: Sequence[_Plan]) -> Block:
    """List all products with the tools that made them, and the files that are none."""
    rows, others = [], []
    for night in nights:
        for file in night.files:
            page = next((plan for plan in plans if file in plan.files), None)
            times = join_known(record.get("time") for record in file.records)
            tools = join_known(record.get("tool") for record in file.records)
            what = ", ".join(_WORDS[kind] for kind in file.kinds) or "not known"
            shown = link(page.title, page.address) if page is not None else "cannot be shown"
            rows.append([file.path.name, what, tools, times, len(list_warnings(file)), shown])
        others += [[night.name, name] for name in night.left_out]
    titles = ["file", "content", "made by", "at", "warnings", "page"]
    blocks = [table(titles, rows, filters=len(rows) > FIRST, first=FIRST)]
    if others:
        caption = "They have no provenance of a tool: inputs, for example."
        blocks.append(details("Files that are no products", table(["night", "file"], others, caption, first=FIRST)))
    return section("Products", *blocks)
