"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""Codes of errors that only writing has."""


@contextmanager
def replace_file(path: str | Path) -> Iterator[Path]:
    """Give the path of a file to write, which replaces another at the end of the block.

    After an error the file to be replaced is as it was, and the unfinished one is removed.

    Parameters
    ----------
    path : str or Path
        The file; missing folders are made.

    Yields
    ------
    Path
        File in the same folder, which the block writes and closes.

    Raises
    ------
    OSError
        If it cannot be written; the error names `path`.

    Examples
    --------
    >>> with replace_file("night/model.txt") as unfinished:
    ...     _ = unfinished.write_text("complete")
    >>> Path("night/model.txt").read_text()
    'complete'
    """
    target = Path(path)
    # The suffix stays: some libraries choose a format by it.
    unfinished = target.with_name(f".{os.getpid()}.{target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        # A file system may otherwise rename before it writes, and an empty file would survive a loss of power.
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        unfinished.replace(target)
    except OSError as error:
        # Users know the file that they asked for, not the unfinished one; writes to a full disk name none.
        if error.filename in (str(unfinished), unfinished) or (error.filename is None and error.errno in _WRITING):
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        # A folder of the path may be a file, or be on a disk that is away.
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
