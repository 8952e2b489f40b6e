"""Keys of a file that are spelt like one that is not there."""

from __future__ import annotations

import difflib

from cal_pipeline.core.text import make_printable
from cal_pipeline.heterodyne.ingest.errors import FitsFileError
from cal_pipeline.heterodyne.ingest.fits_tables import TableLayout
from cal_pipeline.heterodyne.ingest.headers import HeaderUnit, read_headers

_ALIKE = 0.8
"""Likeness from which on a key is taken for a misspelt one: PAMB and TAMB are 0.75 alike."""


def suggest_key(path: str, hdu: int, key: str) -> str:
    """Suggest a key that is spelt like one that is not there.

    Parameters
    ----------
    path : str
        The file.
    hdu : int
        Index of the HDU.
    key : str
        The key.

    Returns
    -------
    str
        As in ``"; did you mean 'EXPOSURE'?"``; empty where no key is alike, or the file cannot be read.

    Examples
    --------
    >>> suggest_key("night_files/000003_barge.fits", 1, "EXPOSUR")
    "; did you mean 'EXPOSURE'?"
    >>> suggest_key("night_files/000003_barge.fits", 1, "PRESSURE")
    ''
    """
    names: dict[str, str] = {}
    try:
        for unit in read_headers(path):
            if unit.index in (0, hdu):
                names |= {name.upper(): name for name in _list_keys(unit)}
            if unit.index >= hdu:
                break
    except (FitsFileError, ValueError):
        return ""
    near = difflib.get_close_matches(key.upper(), names, n=1, cutoff=_ALIKE)
    return f"; did you mean {make_printable(names[near[0]])!r}?" if near else ""


def _list_keys(unit: HeaderUnit) -> list[str]:
    words = [word.decode("latin-1").strip() for word in unit.places]
    columns = [field.name for field in TableLayout(unit).fields] if unit.get("XTENSION") == "BINTABLE" else []
    return [*words, *columns]
