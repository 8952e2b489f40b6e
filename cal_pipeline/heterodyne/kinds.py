"""Kinds of stores and files, for commands that refuse the wrong one by its name."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import StoreError
from cal_pipeline.core.files.asdf_file import open_asdf
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.locations import is_url, normalize_location
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.store.product import ProductKind
from cal_pipeline.core.text import format_count

INGEST_RECORD = "ingest.json"
"""Record at the root of a session that was made from a telescope's files: files and profile of each scan, failures."""

INGESTED = ProductKind(
    "scan",
    "ingested session",
    "1.0",
    "files of the scan",
    product="l0",
    ledger=INGEST_RECORD,
    verb="ingest",
)
"""L0 sessions that were made from a telescope's files, the only ones that are ever written into."""

_SCAN = re.compile(r"scan_([0-9]{6})")
_BAND = re.compile(r"band_[0-9]+")
_MOST_NAMED = 3
_L0_GROUPS = frozenset({"source", "calibration"})


class Kind(enum.Enum):
    """Kind of a store or file."""

    SESSION = "L0 session"
    PRODUCT = "L1 store"
    STEP_RESULT = "result of a step"
    PARAMETERS = "parameter file"
    OTHER = "other"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Identity:
    """Kind of a store or file, and a description of it.

    Parameters
    ----------
    name : str
        Path or URL.
    kind : Kind
        Kind.
    description : str
        Continuation of "it is …", such as ``"an L0 session of 3 scans"``.
    """

    name: str
    kind: Kind
    description: str


def identify(where: str | Path) -> Identity:
    """Find out the kind of a store or file from its content.

    Parameters
    ----------
    where : str or Path
        Folder, file or URL.

    Returns
    -------
    Identity

    Raises
    ------
    StoreError
        If a remote store or a ZIP file cannot be opened.
    """
    text = normalize_location(where)
    if not is_url(text) and Path(text).is_file() and Path(text).suffix != ".zip":
        return _identify_file(Path(text))
    return identify_store(open_store(where))


def refuse_product(root: StorePath) -> None:
    """Refuse an L1 store where a session is expected: its scans have the same names.

    Parameters
    ----------
    root : StorePath
        The store.

    Raises
    ------
    StoreError
        If it is an L1 store.

    Examples
    --------
    >>> refuse_product(open_store("session.zarr"))
    """
    found = identify_store(root)
    if found.kind is Kind.PRODUCT:
        raise StoreError(f"{root} is {found.description}; expected an L0 session")


def identify_store(root: StorePath) -> Identity:
    """Find out the kind of a store; see :func:`identify`."""
    name = str(root)
    content = root.get("zarr.json")
    if content is None:
        return _without_metadata(root)
    try:
        metadata: Any = json.loads(content)
        node = metadata["node_type"]
        attributes = metadata.get("attributes") or {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return Identity(name, Kind.OTHER, "a folder whose zarr.json is not one of Zarr v3")
    if node != "group":
        return Identity(name, Kind.OTHER, "a single Zarr array")
    names = root.members()
    scans = sorted(member for member in names if _SCAN.fullmatch(member))
    if INGESTED.marks(attributes):
        return Identity(name, Kind.SESSION, f"an L0 session of {format_count(len(scans), 'scan')}")
    if "cal_schema_version" in attributes:
        return Identity(name, Kind.PRODUCT, f"an L1 store of {format_count(len(scans), 'scan')}")
    if scans:
        return identify_scans(root, scans)
    if "provenance" in attributes and "qa" in attributes:
        return Identity(name, Kind.OTHER, "one scan of an L1 store; name the store that holds it")
    if _holds_counts(root, "", names):
        return Identity(name, Kind.OTHER, "one scan of an L0 session; name the session that holds it")
    if not set(names) - {"zarr.json", "failures.json", "run.json"}:
        return Identity(name, Kind.PRODUCT, "a store without scans")
    return Identity(name, Kind.OTHER, "a Zarr group without groups scan_NNNNNN")


def identify_scans(root: StorePath, scans: list[str]) -> Identity:
    """Tell L0 from an L1 store whose root does not say so, by the first scan that holds counts.

    Parameters
    ----------
    root : StorePath
        The store.
    scans : list of str
        Groups of its scans.
    """
    number = format_count(len(scans), "scan")
    if any(_holds_counts(root, scan, root.members(scan)) for scan in scans):
        return Identity(str(root), Kind.SESSION, f"an L0 session of {number}")
    return Identity(str(root), Kind.PRODUCT, f"an L1 store of {number}")


def _holds_counts(root: StorePath, group: str, names: list[str]) -> bool:
    """Tell whether a scan, or its first band, holds the groups of an L0 scan."""
    if _L0_GROUPS & set(names):
        return True
    band = next((name for name in sorted(names) if _BAND.fullmatch(name)), None)
    inner = f"{group}/{band}" if group else band
    return band is not None and bool(_L0_GROUPS & set(root.members(str(inner))))


def _without_metadata(root: StorePath) -> Identity:
    """Describe a folder that has no zarr.json at its top."""
    name, names = str(root), sorted(root.members())
    if not names:
        empty = isinstance(root, LocalStorePath) and root.path.is_dir()
        return Identity(name, Kind.OTHER, "an empty folder") if empty else Identity(name, Kind.NOTHING, "not there")
    if {".zgroup", ".zarray", ".zmetadata"} & set(names):
        return Identity(name, Kind.OTHER, "a Zarr v2 store")
    # Few are asked for: a bucket may hold many thousands.
    likely = [member for member in names if _SCAN.fullmatch(member) or ".zarr" in member][:_MOST_NAMED]
    inner = [member for member in likely if root.exists(f"{member}/zarr.json") or member.endswith(".zip")]
    if any(_SCAN.fullmatch(member) for member in inner):
        return Identity(name, Kind.OTHER, "a folder of scans that lacks its zarr.json")
    holds = f"a folder that holds {', '.join(inner)}" if inner else "a folder without a Zarr store"
    return Identity(name, Kind.OTHER, holds)


def _identify_file(path: Path) -> Identity:
    """Describe a file that is no store."""
    suffix = path.suffix.lower()
    if suffix == ".asdf":
        return _identify_asdf(path)
    if suffix == ".cfg":
        return Identity(str(path), Kind.PARAMETERS, "a parameter file")
    known = {
        ".ecsv": "a table of quality figures (ECSV), to be read with astropy.table.Table.read",
        ".toml": "a TOML file",
        ".fits": "a FITS file",
        ".h5": "an HDF5 file",
        ".nc": "a NetCDF file",
    }
    return Identity(str(path), Kind.OTHER, known.get(suffix, "a file that is no Zarr store"))


def _identify_asdf(path: Path) -> Identity:
    name = str(path)
    try:
        with open_asdf(path) as file:
            keys = set(file.tree)
            scan: Any = file.tree.get("cal_pipeline_scan")
            number = scan.get("scan_number") if isinstance(scan, Mapping) else None
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        return Identity(name, Kind.OTHER, f"an ASDF file that cannot be read ({type(error).__name__}: {error})")
    if "cal_pipeline_scan" in keys:
        return Identity(name, Kind.STEP_RESULT, f"a file that a step wrote of scan {number}")
    if {"class", "parameters"} <= keys:
        return Identity(name, Kind.PARAMETERS, "a parameter file")
    if {"frequency", "pressure", "b", "c"} <= keys:
        return Identity(name, Kind.OTHER, "an atmosphere table (atm-table info describes it)")
    return Identity(name, Kind.OTHER, "an ASDF file of another kind")
