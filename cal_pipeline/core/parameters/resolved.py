"""Parameters of a step as they are used, each with its origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

DEFAULT = "default"
"""Origin of a parameter that nobody gave."""

GIVEN = "argument"
"""Origin of parameters given on the command line, as keywords or as attributes."""

RECORDED = "recorded"
"""First word of the origin of parameters recorded in a product."""

RECORDED_DEFAULT = f"{RECORDED} default"
"""First words of the origin of parameters recorded in a product that nobody had given."""

_CHOSEN = "cfg/"
"""First characters of the origin of parameters from a file that was chosen by the data."""


@dataclass(frozen=True)
class ResolvedParameters:
    """Values of all parameters of a step or pipeline, with the origins of those that are given.

    Parameters
    ----------
    values : mapping
        Values by name, those of steps left out.
    origins : mapping
        Origins of the values that are not defaults: ``argument``, ``file …``, ``recorded in …``,
        ``recorded default in …`` or ``cfg/…`` for a file that was chosen by the data.
    file : Path or None
        Parameter file that was chosen by the data.
    steps : mapping
        Parameters of the steps of a pipeline.
    """

    values: Mapping[str, Any]
    origins: Mapping[str, str] = field(default_factory=dict)
    file: Path | None = None
    steps: Mapping[str, ResolvedParameters] = field(default_factory=dict)

    def override(self, values: Mapping[str, Any], origin: str) -> ResolvedParameters:
        """Return these parameters with other values for some of them.

        Parameters
        ----------
        values : mapping
            The other values.
        origin : str
            Their origin.
        """
        return replace(
            self, values={**self.values, **values}, origins={**self.origins, **dict.fromkeys(values, origin)}
        )

    def adopt(self, values: Mapping[str, Any], file: Path) -> ResolvedParameters:
        """Return these parameters with values from a file that was chosen by the data.

        Parameters
        ----------
        values : mapping
            Values of parameters that are not given.
        file : Path
            The file.
        """
        return replace(self.override(values, f"{_CHOSEN}{file.name}"), file=file)

    def origin(self, name: str) -> str:
        """Return the origin of a parameter, without regard to files that are chosen by the data."""
        origin = self.origins.get(name, DEFAULT)
        return DEFAULT if origin.startswith(_CHOSEN) else origin

    def is_default(self, name: str) -> bool:
        """Tell whether nobody gave a parameter: no user, no file, and none of a product that recorded it."""
        return self.origins.get(name, DEFAULT).startswith((DEFAULT, RECORDED_DEFAULT))

    def flat_origins(self) -> dict[str, str]:
        """Return the origins by the names of parameters on the command line."""
        nested = {
            f"steps.{step}.{name}": origin
            for step, parameters in self.steps.items()
            for name, origin in parameters.origins.items()
        }
        return {**self.origins, **nested}

    def flat_values(self) -> dict[str, Any]:
        """Return the values by the names of parameters on the command line."""
        nested = {
            f"steps.{step}.{name}": value
            for step, parameters in self.steps.items()
            for name, value in parameters.values.items()
        }
        return {**self.values, **nested}
