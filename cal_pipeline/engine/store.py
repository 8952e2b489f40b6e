"""The L1 store as it is written: each scan beside it, checked, then renamed into place."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from cal_pipeline._version import __version__
from cal_pipeline.errors import IncompleteWriteError, StoreError
from cal_pipeline.models.scan import Band
from cal_pipeline.models.schema import L1_SCHEMA_VERSION, array_attributes, product_array

ZSTD_LEVEL = 1
"""Calibrated noise does not compress: a higher level costs time and gains nothing."""


class OutputStore:
    """An L1 store that is being made.

    Parameters
    ----------
    path : Path
        The store to make.
    overwrite : bool
        Whether a store that is there may be replaced.
    source : Path
        The L0 session, which is never touched.

    Raises
    ------
    StoreError
        If there is something at `path` that may not be replaced.
    """

    def __init__(self, path: Path, overwrite: bool, source: Path) -> None:
        self.path = path.absolute()
        self.staging = self.path.with_name(self.path.name + ".staging")
        self.failures: list[dict[str, Any]] = []
        if self.path == source or self.path in source.parents or source in self.path.parents:
            raise StoreError(f"output {self.path} and input {source} are one store or lie in each other")
        if self.path.exists():
            if not overwrite:
                raise StoreError(f"output {self.path} exists; give --overwrite=true to replace it")
            self._remove_old()
        shutil.rmtree(self.staging, ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        zarr.create_group(
            self.path,
            attributes={"cal_schema_version": L1_SCHEMA_VERSION, "cal_engine_version": __version__},
        )
        _sync(self.path / "zarr.json")
        self.staging.mkdir()
        self._write_failures()

    def _remove_old(self) -> None:
        """Remove an earlier L1 store, and nothing else."""
        try:
            known = "cal_schema_version" in zarr.open_group(self.path, mode="r").attrs
        except Exception:
            known = False
        if not known:
            raise StoreError(f"output {self.path} exists and is no L1 store; it is not replaced")
        shutil.rmtree(self.path)

    @contextmanager
    def stage(self, name: str) -> Iterator[Path]:
        """A folder for a scan; published when the block ends well, removed when it does not.

        Parameters
        ----------
        name : str
            ``scan_NNNNNN``.

        Yields
        ------
        Path
            Where to write the group.
        """
        folder = self.staging / name
        try:
            yield folder
            check_complete(folder)
            _sync_tree(folder)
            folder.rename(self.path / name)
            _sync(self.path)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def record_failure(self, scan_number: int, step: str, error: BaseException) -> None:
        """Add a scan that failed to ``failures.json``."""
        self.failures.append(
            {
                "scan_number": scan_number,
                "step": step,
                "error_class": type(error).__name__,
                "message": str(error) or repr(error),
            }
        )
        self._write_failures()

    def _write_failures(self) -> None:
        draft = self.staging / "failures.json"
        draft.write_text(json.dumps(self.failures, indent=2) + "\n", encoding="utf-8")
        _sync(draft)
        draft.replace(self.path / "failures.json")

    def close(self) -> None:
        """Remove the staging folder."""
        shutil.rmtree(self.staging, ignore_errors=True)


def create_array(
    group: zarr.Group, name: str, shape: tuple[int, ...], chunks: tuple[int, ...], present: set[str]
) -> zarr.Array[Any]:
    """Create an L1 array in a group, empty.

    Parameters
    ----------
    group : zarr.Group
        The scan or band.
    name : str
        Name of the array in the schema; path from the group where it is part of a diagnostic.
    shape, chunks : tuple of int
        Its shape and chunks.
    present : set of str
        Names of all arrays of the group.
    """
    spec = product_array(name)
    dims = spec.dims_of(len(shape))
    kind = np.dtype(spec.dtype).kind if spec.dtype != "str" else "U"
    fill: Any = {"f": np.nan, "u": 0, "U": ""}[kind]
    return group.create_array(
        name,
        shape=shape,
        dtype=str if kind == "U" else spec.dtype,
        chunks=chunks,
        compressors=ZstdCodec(level=ZSTD_LEVEL, checksum=True),
        fill_value=fill,
        # zarr takes an empty tuple for none given; a scalar has names too, an empty list of them.
        dimension_names=iter(dims),
        attributes=array_attributes(name, dims, present),
        config={"write_empty_chunks": True},
    )


def write_array(group: zarr.Group, name: str, values: NDArray[Any], channel_chunk: int, present: set[str]) -> None:
    """Write a whole L1 array, in chunks of `channel_chunk` where its first axis is the channel."""
    chunks = tuple(max(n, 1) for n in values.shape)
    if values.ndim and product_array(name).dims_of(values.ndim)[0] == "channel":
        chunks = (min(channel_chunk, values.shape[0]), *chunks[1:])
    create_array(group, name, values.shape, chunks, present)[...] = values


def create_diagnostic(band: Band, group: zarr.Group, name: str, channel_chunk: int) -> zarr.Group:
    """Create the group of a diagnostic below that of a band, with the coordinates of its spectra."""
    made = group.create_group(name)
    for coordinate, values in (
        ("signal_freqs", band.require_loads().sidebands.signal),
        ("pixel", band.coordinates.pixel),
    ):
        write_array(group, f"{name}/{coordinate}", values, channel_chunk, set())
    return made


def check_complete(folder: Path) -> None:
    """Check that every chunk of every array below a group is in the store.

    Raises
    ------
    IncompleteWriteError
        If one is not.
    """
    for path in sorted(folder.rglob("zarr.json")):
        if json.loads(path.read_text(encoding="utf-8"))["node_type"] == "array":
            array = zarr.open_array(path.parent, mode="r")
            expected = int(np.prod([-(-n // c) for n, c in zip(array.shape, array.chunks, strict=True)]))
            present = sum(1 for item in path.parent.rglob("*") if item.is_file()) - 1
            if present != expected:
                raise IncompleteWriteError(f"{path.parent} holds {present} chunks, expected {expected}")


def _sync_tree(folder: Path) -> None:
    """Bring a folder and all in it to the disk."""
    for root, _, files in os.walk(folder):
        for file in files:
            _sync(Path(root, file))
        _sync(Path(root))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
