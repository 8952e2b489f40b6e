"""Writing a simulated session: blocks of channels, one subscan after the other."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from cal_pipeline.heterodyne.simulate.atmosphere import AtmosphereTable, Opacities, shipped_table
from cal_pipeline.heterodyne.simulate.config import SessionConfig
from cal_pipeline.heterodyne.simulate.errors import SimulationError
from cal_pipeline.heterodyne.simulate.fits_folder import FitsFolder
from cal_pipeline.heterodyne.simulate.fits_headers import choose_dialect
from cal_pipeline.heterodyne.simulate.forward import FILL, BandModel, to_integers
from cal_pipeline.heterodyne.simulate.layers import AirColumn
from cal_pipeline.heterodyne.simulate.layout import AXES, band_attributes, coordinates, scan_attributes
from cal_pipeline.heterodyne.simulate.one_chunk import write_small_array
from cal_pipeline.heterodyne.simulate.plan import ScanPlan, plan_session
from cal_pipeline.heterodyne.simulate.truth import true_values, truth_path, write_truth

CHUNK_CHANNELS = 2048
CHUNK_SAMPLES = 1 << 24
"""Samples of the largest default chunk."""

# A Path made of a URL has lost the second slash; a single letter is a drive.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


@dataclass(frozen=True)
class Written:
    """Summary of a written session.

    Parameters
    ----------
    session, truth : Path
        Locations of the stores.
    scans : tuple of int
        Scan numbers.
    samples : int
        Samples of counts in all scans.
    fits : Path or None
        Location of the folder of FITS files, if one was asked for.
    files : int
        Number of FITS files.

    Examples
    --------
    >>> from cal_pipeline.simulate import preset, simulate
    >>> written = simulate(preset("ccat_chai", channels=8, pixels=1, scans=2), "two_scans.zarr")
    >>> written.scans, written.truth.name
    ((1, 2), 'two_scans.truth.zarr')
    """

    session: Path
    truth: Path
    scans: tuple[int, ...]
    samples: int
    fits: Path | None = None
    files: int = 0


def simulate(
    config: SessionConfig, path: str | Path, *, overwrite: bool = False, fits: str | Path | None = None
) -> Written:
    """Write a session and, beside it, its truth (`<name>.truth.zarr`).

    Memory depends on the chunk size, not on the session; for FITS files it holds a subscan. The
    counts follow from `config` alone, not from the chunks.

    Parameters
    ----------
    config : SessionConfig
        Configuration of the simulation.
    path : str or Path
        The store to write.
    overwrite : bool
        Replace a simulated session and its FITS files. Anything else is never replaced.
    fits : str or Path, optional
        Folder to write too, with a FITS file for each subscan and pixel, in the keywords of the
        telescope. The profiles `ccat`, `great` and `nanten2` of :func:`cal_pipeline.ingest.ingest`
        make the session of them again.

    Returns
    -------
    Written

    Raises
    ------
    SimulationError
        If the configuration is impossible or FITS files cannot give it back (found before anything
        is written), or the store or the folder exists.

    Examples
    --------
    Of 6 subscans, 2 are of the loads and 4 of the sky, with 4 dumps each of 8 channels:

    >>> from cal_pipeline.simulate import preset, simulate
    >>> simulate(preset("ccat_chai", channels=8, pixels=1), "tiny.zarr").samples
    192
    """
    if _URL.match(str(path)):
        raise SimulationError(f"{path} is a URL; sessions are simulated into a folder, name its path")
    session, truth = Path(path), truth_path(path)
    plans = plan_session(config)
    opacities = _open_opacities(config, plans)
    for plan, table in zip(plans, opacities, strict=True):
        for band in range(len(plan.receivers)):
            BandModel(config, plan, band, table).check()
    folder = None if fits is None else _plan_folder(config, plans, fits, (session, truth), overwrite)
    _make_room(session, truth, overwrite)
    session_root = zarr.open_group(session, mode="w-", zarr_format=3)
    truth_root = zarr.open_group(truth, mode="w-", zarr_format=3)
    samples = 0
    for plan, table in zip(plans, opacities, strict=True):
        scan = session_root.create_group(plan.name, attributes=scan_attributes(config, plan))
        for band in range(len(plan.receivers)):
            model = BandModel(config, plan, band, table)
            samples += _write_band(scan, model)
            write_truth(truth_root.create_group(f"{plan.name}/band_{band}"), true_values(model))
    numbers = tuple(plan.number for plan in plans)
    if folder is None:
        return Written(session, truth, numbers, samples)
    return Written(session, truth, numbers, samples, folder.path, folder.write(session_root))


def _plan_folder(
    config: SessionConfig, plans: list[ScanPlan], fits: str | Path, stores: tuple[Path, ...], overwrite: bool
) -> FitsFolder:
    if _URL.match(str(fits)):
        raise SimulationError(f"{fits} is a URL; FITS files are simulated into a folder, name its path")
    folder = FitsFolder(Path(fits), config, plans, choose_dialect(config.telescope.name))
    for store in stores:
        one, other = folder.path.resolve(), store.resolve()
        if one.is_relative_to(other) or other.is_relative_to(one):
            raise SimulationError(f"{fits} and {store} lie in each other; choose another folder for the FITS files")
    folder.check(overwrite)
    return folder


def _open_opacities(config: SessionConfig, plans: list[ScanPlan]) -> list[Opacities]:
    """Return the opacities of the sky of each scan; a table is read once."""
    read = lru_cache(AtmosphereTable.read)
    skies = [plan.atmosphere for plan in plans]
    return [
        sky.layers if isinstance(sky.layers, AirColumn) else read(sky.table or shipped_table(config.telescope.table))
        for sky in skies
    ]


def default_chunks(shape: tuple[int, int, int, int, int]) -> tuple[int, int, int, int, int]:
    """Return chunks of one subscan, of at most 2048 channels and 64 MB of integers."""
    channels, dumps, receivers, arrays, _ = shape
    fitting = max(1, CHUNK_SAMPLES // (dumps * receivers * arrays))
    return min(channels, CHUNK_CHANNELS, fitting), dumps, receivers, arrays, 1


def _make_room(session: Path, truth: Path, overwrite: bool) -> None:
    """Remove a simulated session and its truth; refuse to remove anything else."""
    present = [path for path in (session, truth) if path.exists()]
    for path in present:
        if not (path / "zarr.json").is_file():
            raise SimulationError(f"{path} exists and is no Zarr store, so it is never replaced; choose another name")
    if present == [session]:
        raise SimulationError(
            f"{session} exists without {truth.name} beside it: it may be no simulated session, so it is never "
            "replaced; choose another name, or remove it"
        )
    if present and not overwrite:
        raise SimulationError(f"{present[0]} exists; choose another name, or give --overwrite to replace it")
    for path in present:
        shutil.rmtree(path)


def _write_band(scan: zarr.Group, model: BandModel) -> int:
    parent = scan
    if len(model.plan.receivers) > 1:
        parent = scan.create_group(f"band_{model.band}", attributes=band_attributes(model.receiver))
    samples = 0
    for name, subscans in model.plan.groups().items():
        group = parent.create_group(name)
        for key, (dims, values) in coordinates(model.config, model.plan, model.receiver, name, subscans).items():
            write_small_array(group, key, values, dims, model.config.compression, checksum=True)
        samples += _write_counts(group, model, name)
    return samples


def _write_counts(group: zarr.Group, model: BandModel, name: str) -> int:
    """Write data_5d of a group chunk by chunk and return its number of samples."""
    config, subscans = model.config, model.subscans(name)
    shape = (model.receiver.channels, subscans[0].phase.dumps, *model.pixels, len(subscans))
    wanted = default_chunks(shape) if config.chunks is None else config.chunks
    chunks = tuple(min(chunk, length) for chunk, length in zip(wanted, shape, strict=True))
    integers = config.dtype == "int32"
    array = group.create_array(
        "data_5d",
        shape=shape,
        dtype=config.dtype,
        chunks=chunks,
        compressors=ZstdCodec(level=config.compression, checksum=True),
        fill_value=FILL if integers else np.nan,
        dimension_names=AXES,
        config={"write_empty_chunks": True},
    )
    where = f"scan {model.plan.number} {name}"
    for first in range(0, shape[4], chunks[4]):
        last = min(first + chunks[4], shape[4])
        for start in range(0, shape[0], chunks[0]):
            stop = min(start + chunks[0], shape[0])
            block = np.empty((stop - start, *shape[1:4], last - first), dtype=config.dtype)
            for index in range(first, last):
                counts = model.counts(name, index, start, stop)
                block[..., index - first] = to_integers(counts, where) if integers else counts
            array[start:stop, :, :, :, first:last] = block
    return int(np.prod(shape))
