"""Real inputs that may not be committed, for the tests of the Cherenkov family."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "CAL_PIPELINE_CHERENKOV_DATA"
BESIDE = Path(__file__).parents[3] / "shared" / "data" / "cherenkov"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of real meteorological tables, reference models, muons and pairs, with expected values."""
    folder = Path(os.environ.get(VARIABLE, BESIDE))
    if not folder.is_dir():
        pytest.skip(f"no folder of real data; {VARIABLE} names one")
    return folder
