"""Open the scan that a step is given, wherever it is stored."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session

_SCAN = re.compile(r"(.+)/scan_([0-9]{6})/*")


EXPECTED_INPUT = (
    "the path or URL of a session (session.zarr), of a scan of it (session.zarr/scan_025650) or a file that a step "
    "wrote (.asdf)"
)
"""Description of inputs, for messages."""


def first_scan(source: Any, input_dir: str = "") -> Scan:
    """Open the scan that tells what data there are: the only one, or the first of a session."""
    if isinstance(source, Scan):
        return source
    where = locate_input(source, input_dir, EXPECTED_INPUT)
    if _is_file_of_step(where) or _named_scan(where):
        return open_scan(where)
    session = Session(where)
    return session.open_scan(session.select(None)[0])


def open_scan(source: Any, input_dir: str = "") -> Scan:
    """Open a scan.

    Parameters
    ----------
    source : Scan, str or path-like
        A scan, the path or URL of one in a session (``session.zarr/scan_025650``) or of a session
        with one scan to calibrate, or a file that a step wrote.
    input_dir : str
        Folder of an input that is given without one.

    Raises
    ------
    CalibrationError
        If there is no scan, or more than one.
    """
    if isinstance(source, Scan):
        return source
    where = locate_input(source, input_dir, EXPECTED_INPUT)
    if _is_file_of_step(where):
        return _open_file(where)
    named = _named_scan(where)
    session = Session(named[0] if named else where)
    numbers = session.select([named[1]] if named else None)
    if len(numbers) != 1:
        raise CalibrationError(
            f"{where} holds {len(numbers)} scans and a step takes one; name it, as in {where}/scan_{numbers[0]:06d}"
        )
    return session.open_scan(numbers[0])


def _named_scan(where: str) -> tuple[str, int] | None:
    """Split the path of a scan into session and scan number; None if it is no scan's path."""
    match = _SCAN.fullmatch(where if is_url(where) else os.path.abspath(where))
    return (match[1], int(match[2])) if match else None


def _is_file_of_step(where: str) -> bool:
    """Tell whether an input is a single file, not a store; a ZIP file is a store."""
    path = Path(where)
    return path.suffix == ".asdf" or (not is_url(where) and path.is_file() and path.suffix != ".zip")


def _open_file(where: str) -> Scan:
    if is_url(where):
        raise StoreError(f"{where} is remote; files that a step wrote are read from local folders, copy it first")
    if not os.path.exists(where):
        raise StoreError(f"{where} is not there; expected a file that a step wrote, or a session")
    with open(where, "rb") as file:
        if file.read(5) != b"#ASDF":
            raise StoreError(
                f"{where} is no file that a step wrote (ASDF); expected one, a session (session.zarr) or a scan of it "
                "(session.zarr/scan_025650)"
            )
    return Scan.open(where)
