"""Reference files that pipelines make, as products of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cal_pipeline.core.files.asdf_file import make_builtin, open_asdf
from cal_pipeline.core.store.product import Key
from cal_pipeline.imager.kinds import REFERENCE
from cal_pipeline.imager.reference_files import Reference, read_reference


class ReferenceProduct:
    """Reference file that a pipeline has made.

    Parameters
    ----------
    path : str or Path
        The file, which need not be there.
    reftype : str
        Its type.

    Attributes
    ----------
    path : Path
        The file.
    numbers : list of str
        Its type, if it is there.
    failures : list
        None: a file has no record of failures.
    """

    kind = REFERENCE

    def __init__(self, path: str | Path, reftype: str) -> None:
        self.path, self._reftype = Path(path), reftype
        self.numbers: list[Key] = [reftype] if self.path.is_file() else []
        self.failures: list[dict[str, Any]] = []

    def open(self) -> Reference:
        """Read the file.

        Raises
        ------
        OSError, ValueError, ReferenceFileError
            If it is not there, or cannot be read.
        """
        with open_asdf(self.path) as file:
            n_rows, n_columns = file.tree["data"].shape
            meta = make_builtin(file.tree["meta"])
        return read_reference(self.path, self._reftype, meta, (n_rows, n_columns))

    def __repr__(self) -> str:
        return f"<ReferenceProduct {self.path}: {self._reftype}>"
