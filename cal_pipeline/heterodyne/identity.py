"""Identity of what a scan is calibrated from, and whether it is still what a product recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.records import digest_file
from cal_pipeline.core.store.fingerprint import list_objects
from cal_pipeline.core.store.identity import Identity, are_same_groups, identify_groups
from cal_pipeline.core.store.paths import Stamp
from cal_pipeline.core.store.records import ObservationRecord, as_mapping
from cal_pipeline.heterodyne.figures import digest_lines, read_band_limits
from cal_pipeline.heterodyne.references.shipped import shipped_atm_tables
from cal_pipeline.heterodyne.scan import Band, Scan


def list_input(scan: Scan) -> dict[str, Stamp]:
    """List the L0 objects of a scan and of the loads used, with their sizes and stamps.

    Parameters
    ----------
    scan : Scan
        The scan, after the step ``loads``.

    Raises
    ------
    DataReadError
        If an object cannot be listed.

    Examples
    --------
    >>> from cal_pipeline.steps import LoadsStep
    >>> "scan_000001/source/data_5d/zarr.json" in list_input(LoadsStep.call("session.zarr"))
    True
    """
    return list_objects(scan.bands[0].open_session(), scan.used_groups)


def identify_input(scan: Scan, with_digest: bool, objects: Mapping[str, Stamp] | None = None) -> Identity:
    """Compute fingerprint and digest of the L0 objects of a scan and of the loads used, as provenance.

    Parameters
    ----------
    scan : Scan
        The scan, after the step ``loads``.
    with_digest : bool
        Whether to read all objects for the digest.
    objects : mapping, optional
        Listing from before the samples were read, by :func:`list_input`; made now if not given.

    Returns
    -------
    dict
        ``l0_fingerprint`` and, if asked for, ``l0_digest``.

    Raises
    ------
    DataReadError
        If an object cannot be listed or read.

    Examples
    --------
    >>> from cal_pipeline.steps import LoadsStep
    >>> scan = LoadsStep.call("session.zarr")
    >>> sorted(identify_input(scan, with_digest=True))
    ['l0_digest', 'l0_fingerprint']
    """
    return identify_groups(scan.bands[0].open_session(), scan.used_groups, "l0", with_digest, objects)


def find_changes(scan: Scan, records: Sequence[ObservationRecord]) -> list[str]:
    """Name what a scan is calibrated from that is no longer as recorded.

    Parameters
    ----------
    scan : Scan
        The scan, after the step ``loads``: with the loads that are chosen now.
    records : sequence of ObservationRecord
        Records of its bands in a product.

    Returns
    -------
    list of str
        Such as ``["L0 changed"]``; empty if nothing has changed. L0 is compared by its fingerprint,
        and by its digest where the fingerprints differ and a digest was recorded.

    Raises
    ------
    DataReadError
        If an object of L0 cannot be listed or read.

    Examples
    --------
    >>> from cal_pipeline import CalibratedSession
    >>> from cal_pipeline.core.store.records import read_records
    >>> from cal_pipeline.steps import LoadsStep
    >>> records = read_records(CalibratedSession("l1.zarr"))
    >>> find_changes(LoadsStep.call("session.zarr", image_gain=1.0), records)
    []
    """
    found = {record.part: record for record in records}
    if found.keys() != {band.name for band in scan.bands}:
        return ["bands are others"]
    changes = dict.fromkeys(change for band in scan.bands for change in _changes_of_band(band, found[band.name]))
    recorded = records[0].provenance
    if not changes and not are_same_groups(scan.bands[0].open_session(), scan.used_groups, "l0", recorded):
        return ["L0 changed"]
    return list(changes)


def _changes_of_band(band: Band, record: ObservationRecord) -> list[str]:
    loads, recorded = band.require_loads(), record.provenance
    chosen = {
        "calibration_scans": list(loads.scan_numbers),
        "calibration_reason": loads.reason,
        "calibration_passed_over": list(loads.passed_over),
    }
    limits = as_mapping(record.quality.get("thresholds")).get("sha256")
    same = {
        "loads are others": chosen == {name: recorded.get(name) for name in chosen},
        "odd times changed": loads.odd_times == recorded.get("calibration_odd_times"),
        "earlier loads changed": _jumps(band) == _recorded_jumps(record),
        "telescope profile changed": loads.telescope_sha256 == recorded.get("telescope_sha256"),
        "atmosphere table changed": _digest_of_table(recorded) == recorded.get("atm_sha256"),
        "limits of quality changed": read_band_limits(band).sha256 == limits,
        "lines changed": digest_lines(band) == record.quality.get("lines_sha256"),
    }
    return [words for words, is_same in same.items() if not is_same]


def _jumps(band: Band) -> dict[str, Any]:
    """Return the receiver temperatures against those on earlier loads by pixel, as they are recorded."""
    values, pixels = band.require_loads().t_rec_jump, band.coordinates.pixel.ravel().tolist()
    jumps = [None] * len(pixels) if values is None else make_json_ready(values.ravel())
    return dict(zip(pixels, jumps, strict=True))


def _recorded_jumps(record: ObservationRecord) -> dict[str, Any]:
    pixels = as_mapping(record.quality.get("pixels"))
    return {pixel: as_mapping(figures).get("t_rec_jump") for pixel, figures in pixels.items()}


def _digest_of_table(recorded: Mapping[str, Any]) -> str | None:
    """Compute the digest of the atmosphere table that recorded parameters lead to now; None without any.

    Among the shipped tables the choice follows from the parameters and L0.
    """
    name, section = recorded.get("atm_file"), recorded.get("parameters")
    for key in ("steps", "atmosphere"):
        section = as_mapping(section).get(key)
    given = as_mapping(section).get("override_atm")
    shipped = {path.name: path for path in shipped_atm_tables()}
    path = given or shipped.get(str(name))
    return None if name is None or path is None else digest_file(path)
