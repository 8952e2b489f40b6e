"""Overview of a store of raw exposures with the choices made for it, of a file of a step, of a reference file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.files.asdf_file import is_asdf, open_asdf
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.overview import WIDTH
from cal_pipeline.core.text import elide_middle, format_count, make_printable
from cal_pipeline.imager.exposure_types import read_exposure_table
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import RAMPS, find_kind
from cal_pipeline.imager.layout import check_ramp_arrays, determine_read_pattern
from cal_pipeline.imager.models import ExposureModel, RampModel, read_model
from cal_pipeline.imager.parameter_files import choose_parameter_file
from cal_pipeline.imager.product import PRODUCTS
from cal_pipeline.imager.product_overview import format_images, overview_images
from cal_pipeline.imager.reference_files import CONTENTS
from cal_pipeline.imager.references import find_reference, find_references_folder

_EXPOSURE = "cal_pipeline_exposure"
"""Key of the files that steps write."""


@dataclass(frozen=True)
class ExposureOverview:
    """Overview of a raw exposure, made without reading its counts.

    Parameters
    ----------
    exposure : int
        Number of the exposure.
    exp_type, target, instrument, detector, filter, date_obs : str
        Attributes of the exposure.
    tso : bool
        Whether it is a time series.
    shape : tuple of int
        Integrations, groups, rows, columns.
    dtype : str
        Type of the counts.
    reads_per_group : tuple of int
        Number of reads of each group.
    frame_time : float
        Time between reads [s].
    megabytes : float
        Size of the counts in memory [MB].
    pipelines : dict
        Aliases of the pipelines that run on it, by stage.
    parameters : dict
        Parameter files that these would choose, by stage; none for defaults.
    references : dict
        Reference files that these would choose, by type; empty without a folder of them.
    problem : str
        Reason why the exposure cannot be calibrated; what follows from it is unknown.
    """

    exposure: int
    exp_type: str = ""
    target: str = ""
    instrument: str = ""
    detector: str = ""
    filter: str = ""
    date_obs: str = ""
    tso: bool = False
    shape: tuple[int, ...] = ()
    dtype: str = ""
    reads_per_group: tuple[int, ...] = ()
    frame_time: float = 0.0
    megabytes: float = 0.0
    pipelines: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)
    references: Mapping[str, str] = field(default_factory=dict)
    problem: str = ""


def describe(path: str | Path) -> tuple[str, Any]:
    """Describe a store of the imager, a file that a step wrote or a reference file.

    Parameters
    ----------
    path : str or Path
        Folder, file or URL.

    Returns
    -------
    text : str
        For people.
    data : list or dict
        Ready for JSON. Of raw exposures a list with an item for each; else a dict with ``kind``.

    Raises
    ------
    StoreError
        If it is none of these.

    Examples
    --------
    >>> text, exposures = describe("visit.zarr")
    >>> exposures[0]["exp_type"], exposures[0]["shape"]
    ('DARK', [1, 10, 64, 64])
    """
    if str(path).endswith(".asdf"):
        return _describe_file(Path(path))
    kind = find_kind(open_store(path))
    if kind is None:
        raise StoreError(f"{path} is no store of an imager")
    if kind == RAMPS:
        rows = overview_ramps(path)
        return format_ramps(rows), make_json_ready([dataclasses.asdict(row) for row in rows])
    overview = overview_images(PRODUCTS[kind.product](path))
    return format_images(overview, kind), make_json_ready({"kind": kind.name, **dataclasses.asdict(overview)})


def overview_ramps(path: str | Path) -> list[ExposureOverview]:
    """List the exposures of a store of ramps.

    Parameters
    ----------
    path : str or Path
        The store.

    Returns
    -------
    list of ExposureOverview
        In the order of their numbers.

    Raises
    ------
    StoreError
        If there is no such store.
    """
    store = ExposureStore(path)
    return [_overview(store, number) for number in store.numbers]


def _overview(store: ExposureStore, number: int) -> ExposureOverview:
    try:
        attributes = store.attributes(number)
    except CalibrationError as error:
        return ExposureOverview(number, problem=f"{type(error).__name__}: {error}")

    def text(name: str) -> str:
        return str(attributes.get(name) or "")

    found = ExposureOverview(
        number,
        exp_type=text("exp_type"),
        target=text("target"),
        instrument=text("instrument"),
        detector=text("detector"),
        filter=text("filter"),
        date_obs=text("date_obs"),
        tso=bool(attributes.get("tso")),
        frame_time=float(attributes["frame_time"]),
        references=_choose_references(attributes),
    )
    where = f"{store.path}/{store.group(number)}"
    try:
        found = dataclasses.replace(found, **_describe_counts(store, number, attributes))
        rule = read_exposure_table().look_up_exposure(attributes, where)
    except CalibrationError as error:
        return dataclasses.replace(found, problem=f"{type(error).__name__}: {error}")
    keys = {name: attributes.get(name) for name in ("instrument", "detector", "exp_type")}
    files = {stage: choose_parameter_file(alias, **keys) for stage, alias in rule.stages.items()}
    named = {stage: file.name for stage, file in files.items() if file is not None}
    return dataclasses.replace(found, pipelines=rule.stages, parameters=named)


def _describe_counts(store: ExposureStore, number: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the counts and the pattern of reads of an exposure."""
    where = f"{store.path}/{store.group(number)}"
    reader = open_reader(store.root, f"{store.group(number)}/data")
    shape = check_ramp_arrays({"data": reader}, where)
    pattern = determine_read_pattern(attributes, shape[1], where)
    return {
        "shape": shape,
        "dtype": str(reader.dtype),
        "reads_per_group": tuple(map(len, pattern)),
        "megabytes": float(np.prod(shape)) * np.dtype(reader.dtype).itemsize * 1e-6,
    }


def _choose_references(attributes: Mapping[str, Any]) -> dict[str, str]:
    """Choose the reference files of each type in the folder that the environment names."""
    try:
        folder = find_references_folder(None)
        files = {name: None if folder is None else find_reference(folder, name, attributes) for name in CONTENTS}
    except CalibrationError as error:
        return {"problem": str(error)}
    return {name: file.name for name, file in files.items() if file is not None}


def format_ramps(rows: Sequence[ExposureOverview]) -> str:
    """Format the overview of raw exposures."""
    lines = []
    for row in rows:
        named = filter(None, (row.exp_type + ("(tso)" if row.tso else ""), row.target, row.filter))
        camera = f"{row.instrument} {row.detector}".strip()
        title = ", ".join(filter(None, [" ".join(named), camera, row.date_obs]))
        lines.append(make_printable(f"exposure {row.exposure}: {title or row.problem}"))
        details = {key: text for key, text in _details(row).items() if text}
        lines += [f"    {key:11}{elide_middle(make_printable(text), WIDTH - 15)}" for key, text in details.items()]
        lines += [f"    {'problem':11}{make_printable(row.problem)}"] if title and row.problem else []
    return "\n".join(lines)


def _details(row: ExposureOverview) -> dict[str, str]:
    details = {}
    if row.shape:
        n_integrations, n_groups, n_rows, n_columns = row.shape
        pixels = f"{n_rows} x {n_columns} pixels, {row.dtype}, {row.megabytes:.1f} MB"
        details["counts"] = f"{format_count(n_integrations, 'integration')} of {n_groups} groups, {pixels}"
        fewest, most = min(row.reads_per_group), max(row.reads_per_group)
        number = format_count(most, "read") if fewest == most else f"{fewest} to {most} reads"
        details["reads"] = f"{number} a group, {row.frame_time:g} s a read"
    with_files = (
        f"{alias} ({row.parameters[stage]})" if stage in row.parameters else alias
        for stage, alias in row.pipelines.items()
    )
    details["pipelines"] = ", ".join(with_files)
    details["references"] = ", ".join(row.references.values())
    return details


def is_imager_file(path: str | Path) -> bool:
    """Tell whether a file was written by a step of the imager or is a reference file of one.

    Examples
    --------
    >>> is_imager_file("visit.references/gain.asdf"), is_imager_file("nothing.asdf")
    (True, False)
    """
    try:
        if not is_asdf(path):
            return False
        with open_asdf(path) as file:
            return _EXPOSURE in file.tree or _reftype(file.tree) in CONTENTS
    except (OSError, ValueError, RuntimeError, TypeError):
        return False


def _reftype(tree: Mapping[str, Any]) -> str:
    meta = tree.get("meta")
    return str(meta.get("reftype", "")) if isinstance(meta, Mapping) else ""


def _describe_file(path: Path) -> tuple[str, Any]:
    """Describe a file that a step wrote, or a reference file."""
    with open_asdf(path) as file:
        is_exposure, reftype = _EXPOSURE in file.tree, _reftype(file.tree)
    if is_exposure:
        return _describe_exposure(read_model(path))
    return _describe_reference(path, reftype)


def _describe_exposure(model: ExposureModel) -> tuple[str, Any]:
    """Describe an exposure written by a step: its counts or values, and the steps it has passed."""
    noun = "ramps" if isinstance(model, RampModel) else "image"
    done = [name for name, state in model.meta.cal_step.items() if state == "COMPLETE"]
    named = " ".join(str(model.meta[name]) for name in ("exp_type", "target", "filter") if model.meta.get(name))
    lines = [
        make_printable(f"exposure {model.number}: {named}, {noun} written by a step"),
        f"    {'steps done':11}{', '.join(done) or 'none'}",
        f"    {'shape':11}{' x '.join(map(str, model.shape))}",
    ]
    data = {"kind": "result of a step", "exposure": model.number, "holds": noun, "shape": model.shape}
    return "\n".join(lines), make_json_ready({**data, "steps_done": done, "meta": model.meta})


def _describe_reference(path: Path, reftype: str) -> tuple[str, Any]:
    """Describe a reference file: its type, the exposures it is for, and its arrays."""
    with open_asdf(path) as file:
        meta = make_json_ready(dict(file.tree["meta"]))
        shapes = {name: tuple(file.tree[name].shape) for name in CONTENTS[reftype].axes if name in file.tree}
    lines = [f"{PurePath(path).name}: reference file of type {reftype}, {CONTENTS[reftype].meaning}"]
    plain = {name: value for name, value in meta.items() if not isinstance(value, dict) and name != "reftype"}
    lines += [elide_middle(make_printable(f"    {name:11}{value}"), WIDTH) for name, value in plain.items()]
    lines += [f"    {name:11}{' x '.join(map(str, shape))}" for name, shape in shapes.items()]
    return "\n".join(lines), {"kind": "reference file", "meta": meta, "shapes": make_json_ready(shapes)}
