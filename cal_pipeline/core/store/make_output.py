"""Where a product is written: in a folder, at a URL or as a file, by one process or many."""

from __future__ import annotations

from pathlib import Path

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.store.file_output import FileOutput
from cal_pipeline.core.store.local_output import LocalOutput, local_staging_path
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import STORE_SUFFIX, ProductKind
from cal_pipeline.core.text import add_article


def make_output(where: str, overwrite: bool, source: str, kind: ProductKind, resume: bool = False) -> OutputStore:
    """Create a product, in a folder, at a URL or as a file, and lock it for this run.

    Parameters
    ----------
    where : str
        Folder or URL.
    overwrite : bool
        Whether an existing store may be replaced.
    source : str
        The input; empty for inputs that the caller judges.
    kind : ProductKind
        Kind of the product.
    resume : bool
        Whether an existing store is continued in place.

    Raises
    ------
    StoreError
        If something exists there and may not be replaced.
    StoreLockedError
        If another run is writing it.
    """
    where = normalize_location(where)
    if kind.suffix != STORE_SUFFIX:
        if is_url(where):
            raise StoreError(f"output {where} is remote; {add_article(kind.name)} is written to a local folder")
        return FileOutput(Path(where), overwrite, source, kind)
    if is_url(where):
        from cal_pipeline.core.store.remote_output import RemoteOutput  # and zarr with it

        return RemoteOutput(where, overwrite, source, kind, resume)
    return LocalOutput(Path(where), overwrite, source, kind, resume)


def staging_path(store: str | StorePath, run: str, name: str) -> StorePath:
    """Return the staging path of an observation, identical in all processes that write to the store.

    Parameters
    ----------
    store : str or StorePath
        The product, or its name; workers pass the store that they opened once for all jobs.
    run : str
        Id of the run.
    name : str
        Name of the observation's group, such as ``scan_NNNNNN``.
    """
    root = open_store(store, write=True) if isinstance(store, str) else store
    if isinstance(root, LocalStorePath):
        return local_staging_path(root.path, run, name)
    from cal_pipeline.core.store.remote_output import remote_staging_path

    return remote_staging_path(root, run, name)
