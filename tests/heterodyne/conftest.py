"""Fixtures for the tests of what travels between steps."""

from __future__ import annotations

import pytest
from helpers_l0 import write_scan


@pytest.fixture
def source(tmp_path):
    """The group ``source`` of a scan OFF-ON-ON-OFF of two pixels."""
    return write_scan(tmp_path / "s.zarr", 1)["source"]
