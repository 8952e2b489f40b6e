"""Writing a simulated visit: raw ramps, their truth and the reference files of the detector."""

from __future__ import annotations

import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from cal_pipeline._version import __version__
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.metadata import write_group
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.schema import ProductArray, ProductSchema
from cal_pipeline.imager.simulate.config import VisitConfig
from cal_pipeline.imager.simulate.detector_maps import make_maps
from cal_pipeline.imager.simulate.errors import VisitError, require
from cal_pipeline.imager.simulate.ramps import ExposureModel, RampBlock, join_hits, model_exposure, simulate_block
from cal_pipeline.imager.simulate.reference_files import write_references
from cal_pipeline.imager.simulate.sky import point_exposure
from cal_pipeline.imager.simulate.truth import exposure_name, truth_path, write_truth

RAMPS = ProductSchema(
    {
        "data": ProductArray(
            (("integration", "group", "y", "x"),), "uint16", "adu", "Mean of the reads of a group", ("int32", "float32")
        )
    }
)

_OVERHEAD = 30.0
"""Time between exposures [s]."""

# A Path made of a URL has lost the second slash; a single letter is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True)
class VisitFiles:
    """Locations of a simulated visit.

    Parameters
    ----------
    visit, truth : Path
        Stores of the raw ramps and of the truth.
    references : Path
        Folder of the reference files.

    Examples
    --------
    >>> [path.name for path in VisitFiles.of("night/visit.zarr").all]
    ['visit.zarr', 'visit.truth.zarr', 'visit.references']
    """

    visit: Path
    truth: Path
    references: Path

    @classmethod
    def of(cls, visit: str | Path) -> VisitFiles:
        """Derive the locations from that of the visit."""
        path = Path(visit)
        stem = path.name.removesuffix(".zarr")
        return cls(path, truth_path(path), path.with_name(f"{stem}.references"))

    @property
    def all(self) -> tuple[Path, Path, Path]:
        """All three."""
        return self.visit, self.truth, self.references


def simulate_visit(config: VisitConfig, path: str | Path, *, overwrite: bool = False, threads: int = 1) -> VisitFiles:
    """Write a visit and beside it its truth and the reference files of its detector.

    All three appear when they are complete. The data follow from `config` alone, not from the
    number of threads. Memory depends on the size of the detector, not on the number of groups,
    integrations or exposures.

    Parameters
    ----------
    config : VisitConfig
        The visit.
    path : str or Path
        Store to write, such as ``visit.zarr``; the others are ``visit.truth.zarr`` and
        ``visit.references``.
    overwrite : bool
        Replace a simulated visit. Anything else is never replaced.
    threads : int
        Number of threads.

    Returns
    -------
    VisitFiles

    Raises
    ------
    VisitError
        If the path is a URL, or occupied by something else than a simulated visit.
    OutputExistsError
        If there is a simulated visit already and it may not be replaced.

    Examples
    --------
    >>> from cal_pipeline.imager.simulate import Detector, ExposurePlan, VisitConfig
    >>> plans = [ExposurePlan("DARK", n_groups=4), ExposurePlan("SCI", n_groups=4)]
    >>> files = simulate_visit(VisitConfig(plans, Detector(size=32)), "small.zarr")
    >>> sorted(file.name for file in files.references.iterdir())[:3]
    ['dark.asdf', 'flat_H.asdf', 'gain.asdf']
    """
    require(not _URL.match(str(path)), f"{path} is a URL; visits are simulated into a folder, name its path")
    require(threads >= 1, f"threads {threads} must be at least 1")
    files = VisitFiles.of(path)
    _refuse_occupied(files, overwrite)
    files.visit.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{files.visit.name}.", dir=files.visit.parent) as folder:
        staged = VisitFiles.of(Path(folder) / files.visit.name)
        _write(config, staged, threads)
        for old in files.all:
            if old.exists():
                shutil.rmtree(old)
        for source, target in zip(staged.all, files.all, strict=True):
            source.rename(target)
    return files


def _refuse_occupied(files: VisitFiles, overwrite: bool) -> None:
    """Refuse to replace anything but a whole simulated visit, and that unless asked to."""
    present = [path for path in files.all if path.exists() or path.is_symlink()]
    if not present:
        return
    stores = all((path / "zarr.json").is_file() for path in (files.visit, files.truth))
    if not stores or not (files.references / "superbias.asdf").is_file():
        raise VisitError(
            f"{present[0]} exists and is no simulated visit with truth and references, so it is never replaced; "
            "choose another name, or remove it"
        )
    if not overwrite:
        raise OutputExistsError(f"{present[0]} exists; choose another name, or give overwrite=True to replace it")


def _write(config: VisitConfig, files: VisitFiles, threads: int) -> None:
    maps = make_maps(config)
    files.references.mkdir()
    write_references(config, maps, files.references)
    ramps, truth = LocalStorePath(files.visit), LocalStorePath(files.truth)
    made = {"seed": config.seed, "made_by": f"cal_pipeline {__version__}"}
    write_group(ramps, "", {"product": "ramp", **made})
    write_group(truth, "", {"product": "truth", **made})
    start = datetime.fromisoformat(config.date)
    with ThreadPoolExecutor(threads) as pool:
        for number in range(1, len(config.exposures) + 1):
            model = model_exposure(config, number, maps)
            _write_exposure(ramps, truth, model, start, pool)
            integrations, last = model.zero_levels.shape[:2]
            start += timedelta(seconds=integrations * last * model.plan.frame_time + _OVERHEAD)


def _write_exposure(
    ramps: StorePath, truth: StorePath, model: ExposureModel, start: datetime, pool: ThreadPoolExecutor
) -> None:
    """Write ramps and truth of an exposure, block by block."""
    name = exposure_name(model.number)
    write_group(ramps, name, exposure_attributes(model, start))
    integrations, groups, ny, nx = model.shape
    rows = model.block_rows
    writer = RAMPS.create_array(
        ramps.child(name), "data", model.shape, (1, groups, rows, nx), {"data"}, model.config.dtype
    )
    first_clipped = np.empty((integrations, ny, nx), np.uint16)

    def write_block(index: tuple[int, int]) -> Any:
        made: RampBlock = simulate_block(model, *index)
        writer.write_chunk((index[0], 0, index[1], 0), made.data[None])
        first_clipped[index[0], index[1] * rows : (index[1] + 1) * rows] = made.first_clipped
        return made.hits

    hits = list(pool.map(write_block, product(range(integrations), range(-(-ny // rows)))))
    write_truth(truth, model, first_clipped, join_hits(hits))


def exposure_attributes(model: ExposureModel, start: datetime) -> dict[str, Any]:
    """Make the attributes of an exposure."""
    config, plan, detector = model.config, model.plan, model.config.detector
    pattern: dict[str, Any] = {"nframes": plan.nframes, "groupgap": plan.groupgap}
    if plan.read_pattern is not None:
        pattern = {"read_pattern": [list(group) for group in plan.read_pattern]}
    window = {} if plan.subarray is None else {"subarray": plan.subarray._asdict()}
    return {
        "exposure_number": model.number,
        "exp_type": plan.exp_type,
        "tso": plan.tso,
        "instrument": config.instrument,
        "detector": config.detector_name,
        "filter": plan.filter,
        "date_obs": start.isoformat(timespec="milliseconds"),
        "frame_time": plan.frame_time,
        **pattern,
        "gain": detector.gain,
        "read_noise": detector.read_noise,
        "amplifiers": detector.amplifiers,
        **window,
        "target": plan.target,
        "airmass": plan.airmass,
        "wcs": point_exposure(config, plan).keywords(),
    }
