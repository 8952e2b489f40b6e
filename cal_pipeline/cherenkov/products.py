"""Products in ECSV, with provenance."""

from __future__ import annotations

from pathlib import Path

from astropy import units
from astropy.table import Table

from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError, StorageError
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.core.json_values import make_json_ready

PROVENANCE = "provenance"
"""Key of the provenance in the metadata of a table."""

# Concentrations written as quantities have this unit, which astropy does not know by itself.
_PPM = units.def_unit("ppm", 1e-6 * units.dimensionless_unscaled)


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Refuse to write a product that exists.

    Raises
    ------
    OutputExistsError
        If it exists, unless `overwrite`; with the exit status of storage.
    StorageError
        If a folder is in its place.
    """
    if path.is_dir():
        raise StorageError(f"product {path} is a folder; expected a file or nothing there")
    if path.exists() and not overwrite:
        error = OutputExistsError(f"product {path} exists; give overwrite=True to replace it")
        error.exit_status = StorageError.exit_status
        raise error


def write_ecsv(table: Table, path: Path, overwrite: bool = False) -> None:
    """Write a table as an ECSV file, completely or not at all.

    Parameters
    ----------
    table : Table
        The table, with the provenance in its metadata; see :func:`cal_pipeline.core.records.record_product`.
    path : Path
        The file; missing folders are made.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputExistsError
        If the file exists, unless `overwrite`.
    OSError
        If it cannot be written.
    """
    refuse_existing(path, overwrite)
    written = table.copy(copy_data=False)
    written.meta = make_json_ready(table.meta)
    with replace_file(path) as unfinished:
        written.write(unfinished, format="ascii.ecsv", overwrite=True)


def read_ecsv(path: str | Path, noun: str) -> Table:
    """Read a table from an ECSV file.

    Parameters
    ----------
    path : str or Path
        The file.
    noun : str
        Name of its content, for messages.

    Raises
    ------
    MissingInputError
        If there is no such file.
    CorruptedInputError
        If it is no ECSV file.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingInputError(f"{noun} {path} is {'a folder' if path.is_dir() else 'not there'}; expected a file")
    try:
        with units.add_enabled_units(_PPM):
            return Table.read(path, format="ascii.ecsv")
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise CorruptedInputError(f"{noun} {path} cannot be read as ECSV: {reason}") from error
