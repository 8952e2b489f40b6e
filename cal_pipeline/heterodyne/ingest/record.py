"""Record of an ingest: the files and the profile that each scan of a session was made from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.output import check_complete
from cal_pipeline.core.store.product import Product
from cal_pipeline.core.text import list_few
from cal_pipeline.heterodyne.kinds import INGESTED, identify

DIGEST = "ingest_digest"
"""Attribute of a scan with the digest of its inputs."""

_SHORT = 8
"""Characters of a digest in messages."""


@dataclass(frozen=True)
class InputFile:
    """File that a scan is made from.

    Parameters
    ----------
    name : str
        Name, without folders.
    size : int
        Size [bytes].
    sha256 : str
        Digest of its content.
    """

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ScanInputs:
    """Inputs of a scan, by which it is known again.

    Parameters
    ----------
    profile, profile_sha256 : str
        Name and digest of the profile.
    files : tuple of InputFile
        The files.

    Examples
    --------
    >>> inputs = ScanInputs("gbt_wband", "0" * 64, (InputFile("m82.fits", 2880, "1" * 64),))
    >>> inputs.digest[:8]
    '309b9ff8'
    >>> inputs.as_entry(["one dump is missing"])["files"]
    [{'name': 'm82.fits', 'size': 2880, 'sha256': '1111111111111111111111111111111111111111111111111111111111111111'}]
    """

    profile: str
    profile_sha256: str
    files: tuple[InputFile, ...]

    @property
    def digest(self) -> str:
        """SHA-256 digest of profile and files, whatever the order of the files and their folders."""
        identity = [self.profile_sha256, sorted([file.name, file.sha256] for file in self.files)]
        return hashlib.sha256(json.dumps(identity, separators=(",", ":")).encode()).hexdigest()

    def as_entry(self, warnings: Sequence[str]) -> dict[str, Any]:
        """Return the entry of the scan in the record.

        Parameters
        ----------
        warnings : sequence of str
            Warnings about parts of the scan that are filled or left out.
        """
        files = sorted(self.files, key=lambda file: (file.name, file.sha256))
        return {
            "profile": {"name": self.profile, "sha256": self.profile_sha256},
            "files": [{"name": file.name, "size": file.size, "sha256": file.sha256} for file in files],
            "warnings": list(warnings),
        }

    def describe_difference(self, entry: Any) -> str:
        """Describe how these inputs differ from those of a recorded scan.

        Parameters
        ----------
        entry : object
            Entry of the scan in the record; anything else is taken for none.

        Examples
        --------
        >>> inputs = ScanInputs("gbt_wband", "0" * 64, (InputFile("m82.fits", 2880, "1" * 64),))
        >>> entry = ScanInputs("gbt_wband", "0" * 64, (InputFile("m82.fits", 2880, "2" * 64),)).as_entry([])
        >>> inputs.describe_difference(entry)
        'm82.fits (SHA-256 11111111…, expected 22222222…)'
        """
        try:
            profile = str(entry["profile"]["name"]), str(entry["profile"]["sha256"])
            recorded = {(str(file["name"]), str(file["sha256"])) for file in entry["files"]}
        except (KeyError, TypeError):
            return f"inputs that {INGESTED.ledger} does not tell"
        parts = []
        if profile[1] != self.profile_sha256:
            now = f"profile {self.profile} (SHA-256 {self.profile_sha256[:_SHORT]}…"
            parts.append(f"{now}, expected {profile[0]}, {profile[1][:_SHORT]}…)")
        files = {(file.name, file.sha256) for file in self.files}
        parts += _describe_files(files - recorded, recorded - files)
        return "; ".join(parts) or "inputs that are those of its record, but not those of its digest"


def _describe_files(found: set[tuple[str, str]], expected: set[tuple[str, str]]) -> list[str]:
    """Describe files that differ: those of one name by their digests, others by their names."""
    before = dict(sorted(expected))
    changed = [(name, sha256) for name, sha256 in sorted(found) if name in before]
    new = sorted(name for name, _ in found if name not in before)
    gone = sorted(set(before) - {name for name, _ in found})
    parts = []
    if changed:
        name, sha256 = changed[0]
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        parts.append(f"{name} (SHA-256 {sha256[:_SHORT]}…, expected {before[name][:_SHORT]}…){more}")
    parts += [f"further files: {list_few(new)}"] if new else []
    parts += [f"without the files {list_few(gone)}"] if gone else []
    return parts


class IngestedSession(Product):
    """L0 session that was made from a telescope's files, with its record.

    Parameters
    ----------
    path : str or Path
        Folder or URL.

    Raises
    ------
    StoreError
        If there is no such session.
    """

    kind = INGESTED

    def inspect(self, number: int) -> tuple[str, bool]:
        """Return the digest of the inputs of a scan, empty without any, and whether the scan is whole.

        Parameters
        ----------
        number : int
            Scan number.
        """
        digest = None
        try:
            digest = self.attributes(number).get(DIGEST)
            check_complete(self.root.child(self.kind.group_name(number)))
            is_whole = True
        except (CalibrationError, OSError, ValueError, TypeError, KeyError, AttributeError):
            is_whole = False
        return digest if isinstance(digest, str) else "", is_whole

    def read_entries(self) -> Mapping[str, Any]:
        """Read the entries of the record by scan number, as text; none of a damaged record."""
        try:
            entries: Mapping[str, Any] = self.read_ledger()[self.kind.plural]
        except StoreError:
            return {}
        return entries

    def _read_failures(self) -> list[dict[str, Any]]:
        """Read the failures of the last run; none of a damaged record, which the next run writes anew."""
        try:
            return super()._read_failures()
        except StoreError:
            return []


def open_present(where: str) -> IngestedSession | None:
    """Open the session that an ingest adds to, if there is one.

    Parameters
    ----------
    where : str
        Folder or URL of the session.

    Returns
    -------
    IngestedSession or None
        None if nothing is there yet.

    Raises
    ------
    StoreError
        If something else is there: only sessions that were made from a telescope's files are added to.
    """
    root = open_store(where, write=True)
    if root.exists("zarr.json"):
        try:
            return IngestedSession(where)
        except StoreError as error:
            raise _refusal(where) from error
    path = Path(where)
    if path.is_file() or (path.is_dir() and next(path.iterdir(), None) is not None):
        raise _refusal(where)
    return None


def _refusal(where: str) -> StoreError:
    return StoreError(
        f"output {where} is {identify(where).description}, expected nothing there, or a session that calibrate ingest "
        "made: others are never written into; name another output"
    )
