"""The list of mutants keeps up with the code; `python tests/faults/mutants.py` tries them."""

from __future__ import annotations

import pytest

from .mutants import MUTANTS, ROOT, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_text_of_a_mutant_is_there_once(mutant: Mutant):
    assert (ROOT / "cal_pipeline" / mutant.file).read_text().count(mutant.old) == 1
    assert all((ROOT / test).exists() for test in mutant.tests if test.startswith("tests/"))
