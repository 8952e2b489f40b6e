"""Lines that may come from the image sideband."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.heterodyne import lines
from cal_pipeline.heterodyne.lines import LinesError, find_lines, read_lines


def test_frequencies_of_molecules_are_those_of_a_rotor():
    # nu = 2 B J - 4 D J³ + ... holds for wrong digits in no line of a molecule.
    file = lines.read_declared(lines.cfg_folder() / "lines.toml", lines.Lines, LinesError)
    for species in file.species:
        if species.name in ("CO", "13CO", "C18O"):
            upper = np.arange(1.0, 1.0 + len(species.rest_freq_hz))
            terms = np.stack([upper, upper**3, upper**3 * (3 * upper**2 + 1)], axis=1)
            fitted = terms @ np.linalg.lstsq(terms, np.array(species.rest_freq_hz), rcond=None)[0]
            np.testing.assert_allclose(species.rest_freq_hz, fitted, atol=1e4)


def test_every_line_is_listed_once():
    known = read_lines().rest_freq_hz
    assert np.unique(known).size == known.size
    assert known.min() > 1e11
    assert known.max() < 5e12


@pytest.mark.parametrize("velocity", [-300.0, 0.0, 40.0])
def test_channels_within_100_km_s_of_the_source(velocity):
    frequencies = np.linspace(455e9, 467e9, 4001)
    near = find_lines(np.array([115e9, 461.0407682e9, 800e9]), frequencies, velocity)
    velocities = 299792.458 * (461.0407682e9 - frequencies) / 461.0407682e9
    np.testing.assert_array_equal(near, abs(velocities - velocity) < 100.0)
    assert near.sum() == pytest.approx(200.0 / 299792.458 * 461.04e9 / 3e6, abs=2)


def test_a_file_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "cfg_folder", lambda: tmp_path)
    with pytest.raises(LinesError, match=r"lines.toml"):
        read_lines()
    (tmp_path / "lines.toml").write_text('[[species]]\nname = "CO"\nrest_freq_hz = [115e9]\n')
    with pytest.raises(LinesError, match=r"reference is missing"):
        read_lines()
