"""Records of each band in an L1 store: parameters, reference files, loads, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.store.metadata import group_attributes
from cal_pipeline.heterodyne.l1_content import json_ready
from cal_pipeline.heterodyne.product import CalibratedSession

OF_ONE_RUN = frozenset(
    {
        "input_dir",
        "output_dir",
        "output_ext",
        "output_file",
        "output_use_index",
        "output_use_model",
        "overwrite",
        "post_hooks",
        "pre_hooks",
        "save_results",
        "scans",
        "scheduler",
        "search_output_file",
        "suffix",
        "threads",
        "timing",
        "workers",
    }
)
"""Parameters about the output location and execution of a run, without effect on results."""

DEFAULT = "default"
"""Origin of a parameter without a recorded origin."""


@dataclass(frozen=True)
class RecordedBand:
    """Record of a band of an L1 scan; missing entries are None or empty.

    Parameters
    ----------
    path : str
        Path in the store, ``scan_NNNNNN`` or ``scan_NNNNNN/band_B``.
    attributes : dict
        Attributes of that group.
    """

    path: str
    attributes: Mapping[str, Any]

    @property
    def scan(self) -> int:
        """Scan number."""
        return int(self.path[5:11])

    @property
    def band(self) -> str:
        """Name of the band; empty where the scan is not divided."""
        return self.path.partition("/")[2]

    @property
    def label(self) -> str:
        """Name in messages, such as ``"scan 1 band_0"``."""
        return f"scan {self.scan} {self.band}".rstrip()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Provenance of the band."""
        return _mapping(self.attributes.get("provenance"))

    @property
    def quality(self) -> Mapping[str, Any]:
        """Figures and verdicts."""
        return _mapping(self.attributes.get("qa"))

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters with an effect on results, by their name on the command line."""
        return dict(_flat(_mapping(self.provenance.get("parameters"))))

    def origin(self, parameter: str) -> str:
        """Origin of a parameter."""
        return str(_mapping(self.provenance.get("parameter_origins")).get(parameter, DEFAULT))

    @property
    def parameter_files(self) -> list[str]:
        """Files that parameters came from."""
        origins = _mapping(self.provenance.get("parameter_origins")).values()
        return sorted({str(origin) for origin in origins if str(origin).startswith(("cfg/", "file "))})

    @property
    def loads(self) -> str:
        """Scan numbers of the loads used, with the reason for the choice."""
        scans = self.provenance.get("calibration_scans")
        if not isinstance(scans, Sequence) or isinstance(scans, str) or not scans:
            return ""
        return f"{'+'.join(map(str, scans))} ({self.provenance.get('calibration_reason') or 'no reason recorded'})"

    @property
    def verdict(self) -> str:
        """Verdict; empty where none was recorded."""
        return str(self.quality.get("verdict") or "")

    @property
    def checks(self) -> list[str]:
        """Checks that were not passed."""
        verdicts = self.quality.get("verdicts")
        found = verdicts if isinstance(verdicts, list) else []
        return [str(_mapping(item).get("name")) for item in found]

    def figure(self, name: str) -> float | None:
        """Look up a number among the quality figures or the attributes; None if unknown."""
        value = self.quality.get(name, self.attributes.get(name))
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def recorded_bands(product: CalibratedSession, scans: Sequence[int] | None = None) -> list[RecordedBand]:
    """Read the records of an L1 store; concurrently on high-latency stores.

    Parameters
    ----------
    product : CalibratedSession
        L1 store.
    scans : sequence of int, optional
        Only these scans, of those that there are.

    Returns
    -------
    list of RecordedBand
        In the order of scan and band.
    """
    wanted = [number for number in product.numbers if scans is None or number in scans]
    paths = [path for bands in product.root.each(product.bands, wanted) for path in bands]
    attributes = product.root.each(lambda path: group_attributes(product.root, path), paths)
    return [RecordedBand(path, found) for path, found in zip(paths, attributes, strict=True)]


def _flat(parameters: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """Nested parameters by their full names, without those of one run."""
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{start}{name}.")
        elif name not in OF_ONE_RUN:
            yield f"{start}{name}", json_ready(value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
