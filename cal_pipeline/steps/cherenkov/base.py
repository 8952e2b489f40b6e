"""Base of the steps of the Cherenkov family."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from astropy.table import Table
from astropy.time import Time
from erfa import ErfaWarning

from cal_pipeline.cherenkov.database.location import hide_password
from cal_pipeline.cherenkov.errors import (
    CONFIGURATION,
    FALLBACK,
    MISSING,
    STORAGE,
    TOO_FEW,
    ConfigurationError,
    MissingInputError,
    StorageError,
)
from cal_pipeline.cherenkov.offline import without_network
from cal_pipeline.cherenkov.products import PROVENANCE, refuse_existing, write_ecsv
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.core.errors import CalibrationError, NoInputError, StoreError, UsageError
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.origins import Collected, Parameters
from cal_pipeline.core.parameters.specification import find_defaults, parse_specification
from cal_pipeline.core.records import record_product
from cal_pipeline.core.run.garbage import short_collections
from cal_pipeline.core.step import BaseStep
from cal_pipeline.core.store.locations import is_url

logger = logging.getLogger(__name__)

_STATUSES: dict[type[Exception], int] = {
    ParameterError: CONFIGURATION,
    UsageError: CONFIGURATION,
    NoInputError: MISSING,
    StoreError: STORAGE,
}
"""Exit statuses of errors of the core."""


def convert_time(value: Any) -> str:
    """Convert a time, as YAML or Python give one, to ISO text in UTC.

    Parameters
    ----------
    value : str, datetime or Time
        The time; UTC where it has no zone.

    Raises
    ------
    ConfigurationError
        If it is no time.

    Examples
    --------
    >>> convert_time("2023-07-10 00:00:00")
    '2023-07-10T00:00:00.000'
    """
    if isinstance(value, datetime):
        value = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    elif isinstance(value, date):
        value = value.isoformat()
    try:
        with without_network(), warnings.catch_warnings():
            # Years far ahead, whose leap seconds are unknown.
            warnings.simplefilter("ignore", ErfaWarning)
            text: str = Time(value, scale=None if isinstance(value, Time) else "utc").utc.isot
    except Exception as error:
        raise ConfigurationError(f"{value!r} is no time; expected ISO text such as 2023-07-10T00:00:00") from error
    return text


class CherenkovStep(BaseStep):
    """Base of the steps, which make products of an input.

    A subclass gives :attr:`tool` and :meth:`make_products`.
    """

    spec = """
    output_path = string(default="./")     # Folder of the products, made if missing
    overwrite   = boolean(default=False)   # Replace products that exist
    allow_code  = boolean(default=False)   # Let parameter files run code (hooks, classes); of no effect in a file
    """

    conversions: ClassVar[Mapping[str, Callable[[Any], Any]]] = {"timestamp": convert_time}

    tool: ClassVar[Tool]
    """Public names of the step."""

    example_input: ClassVar[str] = "input.ecsv"
    """Name of an input, as in messages; empty if the step takes none."""

    output_path: str
    overwrite: bool
    allow_code: bool

    _notices: list[str]
    """Warnings of the run."""

    @classmethod
    def own_parameters(cls) -> dict[str, Any]:
        """Return the parameters of the tool with their defaults, without those of all steps.

        Returns
        -------
        dict
            By name; the keys of the tool's section of a configuration file.
        """
        common, own = parse_specification(BaseStep), parse_specification(cls)
        return {
            name: value
            for name, value in find_defaults(cls).items()
            if own[name] != common.get(name) and name != "allow_code"
        }

    @classmethod
    def from_configuration(cls, values: Mapping[str, Any], origins: Mapping[str, str]) -> Self:
        """Make a step from the values of a configuration file.

        Parameters
        ----------
        values : mapping
            Parameters by name.
        origins : mapping of str to str
            Origin of each, for the provenance.

        Raises
        ------
        ParameterError
            If a value is refused.
        """
        collected = Collected(cls._plain(values), dict(origins))
        step: Self = cls.from_config_section(Parameters.of(collected))
        return step

    @classmethod
    def grade_error(cls, error: Exception) -> Exception:
        """Give an error the exit status that the commands of the family promise.

        Parameters
        ----------
        error : Exception
            Error that ended a run.

        Returns
        -------
        Exception
            The error, or one of this package with its message.
        """
        if isinstance(error, OSError):
            graded = StorageError(": ".join(str(part) for part in (error.filename, error.strerror or error) if part))
            graded.__cause__ = error
            return graded
        if isinstance(error, CalibrationError) and error.exit_status == CalibrationError.exit_status:
            error.exit_status = next((s for kind, s in _STATUSES.items() if isinstance(error, kind)), error.exit_status)
        return error

    @classmethod
    def _get_crds_parameters(cls, dataset: Any) -> tuple[dict[str, Any], str]:
        """Return nothing: no parameter file is chosen by the data."""
        return {}, ""

    def get_pars(self, full_spec: bool = True) -> dict[str, Any]:
        """Return parameters and their values; of the database's URL without the password."""
        parameters: dict[str, Any] = super().get_pars(full_spec=full_spec)
        if parameters.get("database"):
            parameters["database"] = hide_password(parameters["database"])
        return parameters

    def run(self, *args: Any) -> Any:
        """Run a copy of the step; see `stpipe.Step.run`."""
        # stpipe collects garbage after each step, which takes half of the time of a night.
        with short_collections():
            return super().run(*args)

    def process(self, source: Any = None) -> Any:
        """Make the products of an input.

        Parameters
        ----------
        source : str, Path or object
            The input; see the class.

        Returns
        -------
        object
            The products; see the class.
        """
        self._notices = []
        if self.example_input and (source is None or source == ""):
            raise NoInputError(f"no input given; name one, as in strun {self.class_alias} {self.example_input}")
        with without_network():
            self.check_parameters()
            return self.make_products(source)

    def finalize_result(self, result: Any, reference_files_used: list[tuple[str, str]]) -> None:
        """Record nothing in the result: products carry their provenance already."""

    def check_parameters(self) -> None:
        """Refuse contradictory parameters; overridden by steps that can have some."""

    def make_products(self, source: Any) -> Any:
        """Make the products of an input, write and return them."""
        raise TypeError(f"{type(self).__name__} does not say what it makes")

    def find_input(self, source: Any, noun: str) -> Path:
        """Find the file or folder of an input.

        Parameters
        ----------
        source : str or path-like
            The input.
        noun : str
            Name of what is in it, for messages.

        Raises
        ------
        ConfigurationError
            If it is no path.
        MissingInputError
            If it is not there, or on another machine.
        """
        if isinstance(source, Sequence) and not isinstance(source, str) and len(source) == 1:
            source = source[0]
        if isinstance(source, (int, float, Sequence, Mapping)) and not isinstance(source, str):
            raise ConfigurationError(
                f"input {source!r} is no path; expected that of {noun}, in quotes if it is a number"
            )
        where = locate_input(source, self.input_folder(), f"the path of {noun}")
        if is_url(where):
            raise MissingInputError(f"{noun} {where} is remote; expected a local file, copy it first")
        path = Path(where)
        if not path.exists():
            raise MissingInputError(f"{noun} {path} is not there; expected a file or folder")
        return path

    def warn(self, message: str) -> None:
        """Log a warning, and note it for the provenance of the products written after it."""
        self._notices.append(message)
        logger.warning("%s: %s", self.class_alias, message)

    def note_fallback(self, reason: str) -> None:
        """Note that the products are made by a fallback, which the exit status tells."""
        self.warn(reason)
        self._exit_status = FALLBACK

    def note_too_few(self, reason: str) -> None:
        """Note that a part of the input has too few events for a result, which the exit status tells."""
        self.warn(reason)
        self._exit_status = TOO_FEW

    def product_path(self, name: str) -> Path:
        """Return the path of a product by its name, in the folder of the products."""
        return Path(self.output_path) / name

    def refuse_existing(self, *names: str) -> None:
        """Refuse to begin if a product exists and may not be replaced.

        Parameters
        ----------
        *names : str
            Names of products in the folder of the products.
        """
        for name in names:
            refuse_existing(self.product_path(name), self.overwrite)

    def make_provenance(self, inputs: Iterable[str | Path]) -> dict[str, Any]:
        """Make the provenance of a product.

        Parameters
        ----------
        inputs : iterable of path
            Files that were read.

        Returns
        -------
        dict
            See :func:`cal_pipeline.core.records.record_product`.
        """
        return record_product(self.tool.command, self, inputs, self._notices)

    def write_table(self, table: Table, name: str, inputs: Iterable[str | Path]) -> Path:
        """Write a product as ECSV.

        Parameters
        ----------
        table : Table
            The product; the provenance is added to its metadata.
        name : str
            Name of its file, in the folder of the products.
        inputs : iterable of path
            Files that were read.

        Returns
        -------
        Path
            The file.
        """
        path = self.product_path(name)
        table.meta[PROVENANCE] = self.make_provenance(inputs)
        write_ecsv(table, path, self.overwrite)
        logger.info("%s: %s written", self.class_alias, path)
        return path
