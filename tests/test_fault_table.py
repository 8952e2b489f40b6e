"""The table of faults in the docs is that of today's checks, and the clean night stays silent."""

from __future__ import annotations

import pytest
from fault_list import FAULTS
from fault_table import measure, read_table


def test_every_fault_is_in_the_table():
    assert list(read_table()) == [fault.name for fault in FAULTS]
    assert len(FAULTS) > 25


@pytest.mark.slow
def test_the_checks_of_the_table_are_those_of_today(tmp_path):
    listed, found = read_table(), {}
    for number, fault in enumerate(FAULTS):
        folder = tmp_path / str(number)
        folder.mkdir()
        effect = measure(fault, folder)
        found[fault.name] = (effect.verdict, set(effect.checks))
    different = {name: (found[name], listed[name]) for name in found if found[name] != listed[name]}
    assert not different, "run python tests/fault_table.py, and look at what it changes"
