"""Choice of a reference model: by density, by season, ties, versions."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cal_pipeline.cherenkov.errors import MissingInputError
from cal_pipeline.cherenkov.selection import select_by_density, select_by_season, sort_key

pytestmark = pytest.mark.cherenkov

NIGHT = 4.65e18


@dataclass(frozen=True)
class Model:
    version: str
    season: str
    density: float


WINTER, SUMMER, BETWEEN = (
    Model("1.0.0", "WINTER", 4.50e18),
    Model("1.1.0", "SUMMER", 4.70e18),
    Model("1.2.0", "INTERMEDIATE", 4.60e18),
)


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (4.0e18, WINTER),
        (4.549e18, WINTER),
        (4.551e18, BETWEEN),
        (4.649e18, BETWEEN),
        (4.651e18, SUMMER),
        (9e18, SUMMER),
    ],
)
def test_the_nearest_density_wins_over_the_season(density, expected):
    assert select_by_density([WINTER, SUMMER, BETWEEN], density, "WINTER") is expected


@pytest.mark.parametrize("season", ["SUMMER", "INTERMEDIATE"])
def test_the_season_decides_between_equal_distances(season):
    """One is as much above the night as the other is below."""
    assert select_by_density([SUMMER, BETWEEN], NIGHT, season).season == season
    assert select_by_density([BETWEEN, SUMMER], NIGHT, season).season == season


@pytest.mark.parametrize(("relative", "expected"), [(0.9e-12, "SUMMER"), (1e-10, "WINTER")])
def test_equal_means_a_trillionth(relative, expected):
    near, far = Model("1", "WINTER", NIGHT), Model("2", "SUMMER", NIGHT * (1.0 + relative))
    assert select_by_density([near, far], NIGHT, "SUMMER").season == expected


def test_the_lowest_version_decides_at_last():
    models = [Model(version, "WINTER", NIGHT) for version in ("1.10.0", "1.9.0", "1.9.0-b", "2")]
    assert select_by_density(models, NIGHT, "SUMMER").version == "1.9.0"
    assert select_by_season(models, "WINTER").version == "1.9.0"


def test_the_season_alone_decides_without_data():
    assert select_by_season([WINTER, SUMMER, BETWEEN], "INTERMEDIATE") is BETWEEN


@pytest.mark.parametrize("models", [[], [WINTER, SUMMER]])
def test_no_model_of_the_season(models):
    present = "SUMMER, WINTER" if models else "none"
    with pytest.raises(MissingInputError, match=f"season INTERMEDIATE; there are: {present}"):
        select_by_season(models, "INTERMEDIATE")


def test_no_model_at_all():
    with pytest.raises(MissingInputError, match="no current atmospheric model"):
        select_by_density([], NIGHT, "WINTER")


def test_versions_sort_by_their_numbers_and_text_after():
    versions = ["10", "2", "2.0", "2.x", "1.0.0rc1", "1.0.0", "a"]
    assert sorted(versions, key=sort_key) == ["1.0.0", "1.0.0rc1", "2", "2.0", "2.x", "10", "a"]
