"""The figures that the docs give for skies in layers are those of today."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sky_tables import CCAT, DOCS, TABLES, calibrate, error, layers_of_the_table, scan

from cal_pipeline.heterodyne.references.shipped import find_atm_table, open_atm_table
from cal_pipeline.simulate import preset

NUMBER = re.compile(r"[-+]?[0-9.]+")


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_tables_are_those_of_today(name):
    head, measure = TABLES[name]
    cells = [line[7:] for line in (DOCS / name).read_text().splitlines() if line[5:6] == "-"]
    found = [head, *measure()]
    rows = [cells[first : first + len(head)] for first in range(0, len(cells), len(head))]
    assert rows[0] == found[0]
    for old, new in zip(rows[1:], found[1:], strict=True):
        assert old[:2] == new[:2]
        numbers = ([float(NUMBER.match(cell).group()) for cell in row[2:]] for row in (old, new))
        np.testing.assert_allclose(
            *numbers, atol=0.11, err_msg="run python tests/sky_tables.py, and look at the changes"
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", CCAT)
def test_the_sky_that_the_fit_assumes_comes_back(name):
    # So that the table of the ground shows what the ground does, and nothing else.
    column, *_ = layers_of_the_table(name)
    (outcome,) = calibrate(name, [scan(0.8, column)])
    assert abs(error(outcome)) < 0.05
    assert outcome.pwv == pytest.approx(0.8, rel=1e-3)


@pytest.mark.parametrize(("name", "kelvin"), [("ccat_chai", -7.85), ("ccat_chai_810", -7.9)])
def test_mean_temperature_of_the_water_above_ccat(name, kelvin):
    config = preset(name)
    receiver, pressure = config.receivers[0], config.telescope.pressure_pa
    nu = np.array([receiver.signal_freq, receiver.image_freq])
    layers = open_atm_table(Path(find_atm_table([nu], pressure))).layer_coefficients(nu, pressure)
    shares = np.diff(layers.b, axis=0, prepend=0.0) / layers.b[-1]
    mean = (shares * layers.offset[:, None]).sum(axis=0).mean()
    assert mean == pytest.approx(kelvin, abs=0.03)
    # At 5.6 K/km that of opacity with a scale height of 1.4 km.
    assert -mean / 5.6 == pytest.approx(1.4, abs=0.02)
