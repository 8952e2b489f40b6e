"""Places by what they are called: a folder, a ZIP file, a URL."""

from __future__ import annotations

from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.paths import StorePath


def open_store(where: str | Path, write: bool = False) -> StorePath:
    """Open a place by what it is called.

    Every call opens anew: listings, connections and open files belong to the place that is returned
    and to what is below it, and are let go with them.

    Parameters
    ----------
    where : str or Path
        A folder, a ZIP file (to read), or an address such as ``s3://bucket/session.zarr``.
    write : bool
        Whether it is to be written.

    Raises
    ------
    StoreError
        If it is an address of a kind that is not known here or has no driver, a ZIP file to be
        written, or one that holds several stores.
    """
    text = normalize_location(where)
    if is_url(text):
        from cal_pipeline.core.store.remote_opening import open_url  # and zarr with it

        return open_url(text, write)
    path = Path(text).absolute()
    if path.suffix.lower() == ".zip" and path.is_file():
        if write:
            raise StoreError(f"{path} is a ZIP file; they are read only, name a folder")
        from cal_pipeline.core.store.remote_opening import open_zip

        return open_zip(path)
    return LocalStorePath(path)
