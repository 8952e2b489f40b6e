"""Opening of what zarr reads for us: ZIP files and URLs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import partial
from pathlib import Path, PurePosixPath

import zarr
from zarr.abc.store import Store

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.driver_errors import translate_driver_errors
from cal_pipeline.core.store.drivers import open_checked
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.remote_path import RemoteStorePath
from cal_pipeline.core.store.s3_driver import set_up_s3
from cal_pipeline.core.store.time_limits import limit_driver

_NUMBERED = re.compile(r"(.*/)?[a-z]+_[0-9]{6}")
"""Paths of groups that hold one observation, of any family."""


def open_zip(path: Path) -> StorePath:
    """Open a ZIP file at the folder of the store that it holds.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    StoreError
        If it holds several stores.
    """
    reopen = partial(_open_zip_store, path)
    store = open_checked(str(path), reopen)
    keys = Counter(RemoteStorePath(store, str(path)).walk())
    opened = RemoteStorePath(store, str(path), _root_of_store(keys, path), n_requests=1)
    opened.repeated = [key for key, number in keys.items() if number > 1]
    return opened


async def _open_zip_store(path: Path) -> Store:
    with translate_driver_errors(str(path), "opened"):
        return await zarr.storage.ZipStore.open(path, mode="r")


def _root_of_store(keys: Iterable[str], path: Path) -> str:
    """Find the folder in a ZIP file that a store lies in: the uppermost one with a ``zarr.json``.

    Programs that pack a folder put its name before every key, and some a folder ``__MACOSX`` beside
    it.
    """
    folders = {PurePosixPath(key).parent for key in keys if PurePosixPath(key).name == "zarr.json"}
    packed = {folder for folder in folders if folder.parts[:1] != ("__MACOSX",)}
    roots = sorted(str(folder) for folder in packed if not packed.intersection(folder.parents))
    if roots and all(_NUMBERED.fullmatch(root) for root in roots):
        # Groups without the zarr.json of their root; opening the root reports it.
        parents = {str(PurePosixPath(root).parent) for root in roots}
        roots = sorted(parents)
    if len(roots) > 1:
        raise StoreError(f"{path} holds {len(roots)} stores: {', '.join(roots)}; expected a ZIP file of one store")
    return "" if not roots or roots[0] == "." else roots[0]


def open_url(url: str, write: bool) -> StorePath:
    """Open the place at a URL.

    Parameters
    ----------
    url : str
        Such as ``s3://bucket/session.zarr``.
    write : bool
        Whether it is to be written.

    Raises
    ------
    StoreError
        If URLs of this kind are not known here, or have no driver.
    """
    reopen = partial(_open_url_store, url, write)
    return RemoteStorePath(open_checked(url, reopen), url)


async def _open_url_store(url: str, write: bool) -> Store:
    """Open the store at a URL with a file system of its own, which has listed nothing yet."""
    scheme = url.partition("://")[0]
    try:
        with translate_driver_errors(url, "opened"):
            options = {"skip_instance_cache": True, **limit_driver(scheme)}
            store = zarr.storage.FsspecStore.from_url(url, storage_options=options, read_only=not write)
            if hasattr(store.fs, "retries"):
                # Requests are repeated by `CheckedStore`, for all drivers in one way.
                store.fs.retries = 1
            if scheme in ("s3", "s3a"):
                set_up_s3(store.fs)
            return store
    except StoreError as error:
        if not isinstance(error.__cause__, (ImportError, ValueError)):
            raise
        raise StoreError(
            f"{url} cannot be opened: {error.__cause__}. Install cal_pipeline[remote] for s3, http and https; "
            f"{scheme}:// may need its own fsspec driver"
        ) from error.__cause__
