"""Choice of a reference model of the atmosphere for a night."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from cal_pipeline.cherenkov.errors import MissingInputError

_EQUAL = 1e-12
"""Relative difference of densities that are equal."""


class Candidate(Protocol):
    """Reference model to choose from."""

    @property
    def version(self) -> str:
        """Version of the model."""

    @property
    def season(self) -> str:
        """Season of the model."""

    @property
    def density(self) -> float:
        """Number density at 15 km [1/cm3]."""


Model = TypeVar("Model", bound=Candidate)


def select_by_density(candidates: Sequence[Model], density: float, season: str) -> Model:
    """Select the model whose density is nearest.

    Of models equally near, one of the season is preferred, then the lowest version.

    Parameters
    ----------
    candidates : sequence
        Current models of an observatory.
    density : float
        Number density of the night at 15 km [1/cm3].
    season : str
        Season of the calendar, as models name it.

    Raises
    ------
    MissingInputError
        If there is no candidate.
    """
    if not candidates:
        raise MissingInputError("the database holds no current atmospheric model of the observatory; upload one")
    least = min(abs(model.density - density) for model in candidates)
    nearest = [model for model in candidates if abs(model.density - density) - least <= _EQUAL * density]
    return min(nearest, key=lambda model: (model.season != season, sort_key(model.version)))


def select_by_season(candidates: Sequence[Model], season: str) -> Model:
    """Select the model of a season, of several the one of the lowest version.

    Parameters
    ----------
    candidates : sequence
        Current models of an observatory.
    season : str
        Season of the calendar, as models name it.

    Raises
    ------
    MissingInputError
        If there is none.
    """
    suitable = [model for model in candidates if model.season == season]
    if not suitable:
        present = ", ".join(sorted({model.season for model in candidates})) or "none"
        raise MissingInputError(
            f"no meteorological data, and no current atmospheric model of the season {season}; there are: {present}"
        )
    return min(suitable, key=lambda model: sort_key(model.version))


def sort_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key that sorts versions by their numbers.

    Examples
    --------
    >>> sorted(["1.10.0", "1.9.0", "1.9.0b"], key=sort_key)
    ['1.9.0', '1.9.0b', '1.10.0']
    """
    parts = version.split(".")
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
