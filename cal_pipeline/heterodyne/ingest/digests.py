"""Sizes, times and SHA-256 digests of files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from io import FileIO

from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.local_path import open_regular
from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.ingest.errors import FitsFileError

_SMALL = 2**20
"""Largest file that is read as a whole to be hashed [bytes]."""


@dataclass(frozen=True)
class FileStamp:
    """Size and time of modification of a file, which tell whether it was written since.

    Parameters
    ----------
    size : int
        Size [bytes].
    mtime_ns : int
        Time of modification [ns].
    """

    size: int
    mtime_ns: int

    def refuse_change(self, path: str, file: FileIO) -> None:
        """Refuse an open file that was written since the stamp was taken.

        Raises
        ------
        FitsFileError
            If size or time of modification differ.
        """
        found = read_stamp(file)
        if found.size != self.size:
            raise refuse(path, f"{path} has {found.size} bytes, expected the {self.size} of when it was listed")
        if found.mtime_ns != self.mtime_ns:
            raise refuse(path, f"{path} was written since it was listed, expected a file that nobody writes to")


@dataclass(frozen=True)
class FileDigest(FileStamp):
    """Stamp of a file, and digest of its bytes.

    Parameters
    ----------
    sha256 : str
        Hexadecimal SHA-256 digest.
    """

    sha256: str


def refuse(path: str, message: str) -> FitsFileError:
    """Make the error of a file, whose name and header may hold any characters."""
    error = FitsFileError(make_printable(message))
    error.file = path
    return error


def open_file(path: str) -> FileIO:
    """Open a regular file to read, without a buffer.

    Raises
    ------
    FitsFileError
        If it cannot be opened, or is no regular file.
    """
    try:
        return FileIO(path, "rb", opener=open_regular)
    except OSError as error:
        raise refuse(
            path, f"{path} cannot be opened: {error.strerror}, expected a file as when it was listed"
        ) from error


def read_stamp(file: FileIO) -> FileStamp:
    """Read size and time of modification of an open file."""
    status = os.fstat(file.fileno())
    return FileStamp(status.st_size, status.st_mtime_ns)


def stamp_files(paths: Iterable[str]) -> dict[str, FileStamp]:
    """Read sizes and times of modification of files; those that cannot be asked for are left out.

    Parameters
    ----------
    paths : iterable of str
        Paths of files.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("counts.fits").write_bytes(b"SIMPLE  =")
    >>> stamps = stamp_files(["counts.fits", "absent.fits"])
    >>> {path: stamp.size for path, stamp in stamps.items()}
    {'counts.fits': 9}
    """
    found = {}
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found[path] = FileStamp(status.st_size, status.st_mtime_ns)
    return found


def digest_file(path: str, stamp: FileStamp | None = None) -> FileDigest:
    """Compute the SHA-256 digest of a file, of which a part at a time is in memory.

    Parameters
    ----------
    path : str
        The file.
    stamp : FileStamp, optional
        Stamp that it must have; the one at its opening if not given.

    Raises
    ------
    FitsFileError
        If it cannot be read, or is written meanwhile.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("counts.fits").write_bytes(b"SIMPLE  =")
    >>> digest_file("counts.fits").sha256[:8]
    '5dc2ad95'
    """
    with open_file(path) as file:
        stamp = stamp or read_stamp(file)
        stamp.refuse_change(path, file)
        try:
            # The buffer of `file_digest` costs more than the hash of a small file.
            small = stamp.size <= _SMALL
            digest = hashlib.sha256(file.read()) if small else hashlib.file_digest(file, "sha256")
        except OSError as error:
            raise refuse(path, f"{path} cannot be read: {error.strerror}, expected {stamp.size} bytes") from error
        stamp.refuse_change(path, file)
    return FileDigest(stamp.size, stamp.mtime_ns, digest.hexdigest())


def digest_files(
    paths: Iterable[str],
    stamps: Mapping[str, FileStamp] | None = None,
    report: Callable[[], object] = lambda: None,
) -> tuple[dict[str, FileDigest], dict[str, FitsFileError]]:
    """Compute the SHA-256 digests of files in the threads of the run, each file once.

    Parameters
    ----------
    paths : iterable of str
        Paths of files; repeated ones count once.
    stamps : mapping of str to FileStamp, optional
        Stamps that the files must have, by path; see :func:`stamp_files`.
    report : callable
        Function that is called after each file, by any thread.

    Returns
    -------
    digests : dict of str to FileDigest
        Digests by path.
    errors : dict of str to FitsFileError
        Errors by path, of files that cannot be read or are written meanwhile.

    Notes
    -----
    Hashing leaves the interpreter to other threads.

    Examples
    --------
    >>> from pathlib import Path
    >>> _ = Path("counts.fits").write_bytes(b"SIMPLE  =")
    >>> digests, errors = digest_files(["counts.fits", "absent.fits", "counts.fits"])
    >>> list(digests), list(errors)
    (['counts.fits'], ['absent.fits'])
    """
    known = stamps or {}

    def digest(path: str) -> FileDigest | FitsFileError:
        try:
            return digest_file(path, known.get(path))
        except FitsFileError as error:
            return error
        finally:
            report()

    wanted = list(dict.fromkeys(paths))
    found = dict(zip(wanted, map_in_threads(digest, wanted), strict=True))
    digests = {path: item for path, item in found.items() if isinstance(item, FileDigest)}
    return digests, {path: item for path, item in found.items() if isinstance(item, FitsFileError)}
