"""Spectra rounded to their noise: 32-bit floats within 1 % of sigma of the exact ones, and nothing else changed."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from cal_pipeline.core.store.compare import EQUAL
from cal_pipeline.heterodyne.compare import compare_l1_stores
from cal_pipeline.heterodyne.physics.calibration import antenna_temperature
from cal_pipeline.heterodyne.physics.noise import rounding_shift

ROUNDED = {"precision": "radiometric"}


@pytest.mark.parametrize(
    ("mode", "steps"),
    [
        ("otf", {}),
        pytest.param("total_power", {"atmosphere": {"strategy": "per_pair"}}, marks=pytest.mark.slow),
        pytest.param("otf_chopped", {}, marks=pytest.mark.slow),
        ("otf_chopped", {"dbs": {"skip": False}}),
    ],
)
def test_the_error_is_below_one_percent_of_sigma(make_session, calibrate, mode, steps):
    session = make_session(mode=mode)
    exact, rounded = calibrate(session, "a.zarr", **steps), calibrate(session, "b.zarr", calibrate=ROUNDED, **steps)
    one, two = (zarr.open_group(product.path, mode="r")["scan_000001"] for product in (exact, rounded))
    assert one["spectra"].dtype == np.float64
    assert two["spectra"].dtype == np.float32
    sigma = one["sigma"][...][:, None]
    error = np.abs(two["spectra"][...].astype(np.float64) - one["spectra"][...])
    assert 0.004 < np.nanmax(error / sigma) <= 0.01
    np.testing.assert_array_equal(np.isnan(two["spectra"][...]), np.isnan(one["spectra"][...]))
    for name in set(one.array_keys()) - {"spectra"}:
        np.testing.assert_array_equal(two[name][...], one[name][...], err_msg=name)
    size = {p.path: sum(f.stat().st_size for f in (p.path / "scan_000001/spectra").iterdir()) for p in (exact, rounded)}
    assert size[rounded.path] < 0.4 * size[exact.path]


@pytest.mark.slow
def test_the_two_are_compared_as_numbers_and_equal_none_but_themselves(make_session, calibrate):
    session = make_session(channels=16)
    exact, rounded = calibrate(session, "a.zarr"), calibrate(session, "b.zarr", calibrate=ROUNDED)
    (spectra,) = (item for item in compare_l1_stores(exact.path, rounded.path).arrays if item.path.endswith("/spectra"))
    assert not spectra.problem
    assert 0.0 < spectra.largest < 0.01 * float(exact.open_scan(1).sigma.max())
    again = calibrate(session, "c.zarr", calibrate=ROUNDED)
    assert compare_l1_stores(rounded.path, again.path, origins=False).status(0.0) == EQUAL


class TestInOneLoop:
    """Rounding while counts are calibrated."""

    def calibrated(self, counts, dtype):
        one = np.ones((1, 1, 1))
        out, shift = np.empty(counts.shape, dtype), rounding_shift(np.full((1, 1, 1), 0.5, np.float32))
        return antenna_temperature(counts, 1000.0 * one, 0.004 * one, one < 0.0, out, shift)

    @pytest.mark.slow
    def test_multiples_of_the_step_are_exact_in_32_bits(self):
        counts = np.random.default_rng(1).normal(1000.0, 1e5, (1, 1000, 1, 1))
        wide, narrow = (self.calibrated(counts, dtype)[0] for dtype in (np.float64, np.float32))
        np.testing.assert_array_equal(wide, narrow)
        assert np.abs(narrow - 0.004 * (counts - 1000.0)).max() <= 0.005

    def test_what_32_bits_cannot_hold_is_missing(self):
        counts = np.array([1e41, 1e30, np.nan, -1e41]).reshape(1, 4, 1, 1)
        spectra, flags, missing = self.calibrated(counts, np.float32)
        assert missing.ravel().tolist() == [True, False, True, True]
        assert flags.ravel().tolist() == [2, 0, 2, 2]
        np.testing.assert_array_equal(np.isnan(spectra), missing)

    def test_numbers_to_round_with_of_another_shape_are_refused(self):
        one = np.ones((1, 1, 1))
        with pytest.raises(ValueError, match=r"have shape \(2, 1\), expected \(1, 1\)"):
            antenna_temperature(np.ones((1, 2, 1, 1)), one, one, one < 0.0, shift=np.ones((2, 1)))
