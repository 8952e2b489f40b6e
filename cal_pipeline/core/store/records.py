"""Records of each observation in a product: parameters, reference files, results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.quality import name_verdict
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.product import Key, Product, ProductKind

RUN_ONLY = frozenset(
    {
        "allow_code",
        "follow",
        "follow_settling",
        "follow_timeout",
        "input_dir",
        "output_dir",
        "output_ext",
        "output_file",
        "output_use_index",
        "output_use_model",
        "overwrite",
        "post_hooks",
        "pre_hooks",
        "report",
        "resume",
        "save_results",
        "scheduler",
        "search_output_file",
        "suffix",
        "threads",
        "timing",
        "verify",
        "workers",
    }
)
"""Parameters about the output location and execution of a run, without effect on results."""

DEFAULT = "default"
"""Origin of a parameter without a recorded origin."""


@dataclass(frozen=True)
class ObservationRecord:
    """Record of an observation, or of a part of one; missing entries are None or empty.

    Parameters
    ----------
    path : str
        Path in the product, such as ``scan_NNNNNN`` or ``scan_NNNNNN/band_B``.
    attributes : dict
        Attributes of that group.
    kind : ProductKind
        Kind of the product.
    """

    path: str
    attributes: Mapping[str, Any]
    kind: ProductKind

    @property
    def number(self) -> Key:
        """Number of the observation."""
        number = self.kind.key_of(self.path.partition("/")[0])
        assert number is not None
        return number

    @property
    def part(self) -> str:
        """Name of the part; empty where the observation is not divided."""
        return self.path.partition("/")[2]

    @property
    def label(self) -> str:
        """Name in messages, such as ``"scan 1 band_0"``."""
        return f"{self.kind.noun} {self.number} {self.part}".rstrip()

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Provenance of the results."""
        return as_mapping(self.attributes.get("provenance"))

    @property
    def quality(self) -> Mapping[str, Any]:
        """Figures and verdicts."""
        return as_mapping(self.attributes.get("qa"))

    @property
    def parameters(self) -> dict[str, Any]:
        """Parameters with an effect on results, by their name on the command line."""
        parameters = dict(flatten_parameters(as_mapping(self.provenance.get("parameters"))))
        parameters.pop(self.kind.selection, None)
        return parameters

    def origin(self, parameter: str) -> str:
        """Origin of a parameter."""
        return str(as_mapping(self.provenance.get("parameter_origins")).get(parameter, DEFAULT))

    @property
    def parameter_files(self) -> list[str]:
        """Files that parameters came from."""
        origins = as_mapping(self.provenance.get("parameter_origins")).values()
        return sorted({str(origin) for origin in origins if str(origin).startswith(("cfg/", "file "))})

    @property
    def verdict(self) -> str:
        """Verdict; empty where none was recorded."""
        return str(self.quality.get("verdict") or "")

    @property
    def checks(self) -> list[str]:
        """Checks that were not passed; of what is not known, the name says so."""
        verdicts = self.quality.get("verdicts")
        found = verdicts if isinstance(verdicts, list) else []
        return [name_verdict(as_mapping(item)) for item in found]

    def figure(self, name: str) -> float | None:
        """Look up a number among the quality figures or the attributes; None if unknown."""
        value = self.quality.get(name, self.attributes.get(name))
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def read_records(product: Product, numbers: Sequence[Key] | None = None) -> list[ObservationRecord]:
    """Read the records of a product; concurrently on high-latency stores.

    Parameters
    ----------
    product : Product
        The product.
    numbers : sequence of int, optional
        Only these observations, of those that there are.

    Returns
    -------
    list of ObservationRecord
        In the order of observation and part.
    """
    wanted = [number for number in product.numbers if numbers is None or number in numbers]
    paths = [path for parts in product.root.each(product.groups, wanted) for path in parts]
    attributes = product.root.each(lambda path: read_group_attributes(product.root, path), paths)
    return [ObservationRecord(path, found, product.kind) for path, found in zip(paths, attributes, strict=True)]


def flatten_parameters(parameters: Mapping[str, Any], start: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested parameters by their full names, without those of one run.

    Parameters
    ----------
    parameters : mapping
        Parameters of a pipeline and, in mappings, of its steps.
    start : str
        Start of the names.
    """
    for name, value in parameters.items():
        if isinstance(value, Mapping):
            yield from flatten_parameters(value, f"{start}{name}.")
        elif name not in RUN_ONLY:
            yield f"{start}{name}", make_json_ready(value)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping, or an empty one for anything else that an attribute may hold."""
    return value if isinstance(value, Mapping) else {}
