"""The examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import cal_pipeline.core.files
import cal_pipeline.heterodyne.physics
import cal_pipeline.heterodyne.references

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (cal_pipeline.core.files, cal_pipeline.heterodyne.physics, cal_pipeline.heterodyne.references)
    for module in pkgutil.iter_modules(package.__path__)
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


def test_there_are_examples():
    assert sum(doctest.testmod(importlib.import_module(name)).attempted for name in MODULES) >= 5
