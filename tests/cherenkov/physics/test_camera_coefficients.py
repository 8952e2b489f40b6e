"""Camera coefficients of events whose photons, electrons and amplifiers are known."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline.cherenkov.physics.camera_coefficients import (
    CameraCoefficients,
    PixelStatistics,
    SpreadModel,
    compute_coefficients,
    compute_photoelectrons,
    expected_spread,
    extrapolate_channel,
    find_unusual,
)

pytestmark = pytest.mark.cherenkov

PIXELS = 300


def take_statistics(charges: np.ndarray) -> PixelStatistics:
    """Take the statistics of charges of shape (events, pixels) as one chunk of one channel."""
    return PixelStatistics(np.median(charges, axis=0)[None, None], charges.std(axis=0)[None, None])


def simulate_events(
    rng: np.random.Generator, n_pe: np.ndarray, gain: np.ndarray, events: int = 2000, f2: float = 1.222, b: float = 0.0
) -> tuple[PixelStatistics, PixelStatistics]:
    """Simulate charges; each photoelectron is multiplied by a gamma-distributed cascade."""
    noise = rng.normal(4800, 30, (2, events, len(n_pe)))
    electrons = rng.poisson(n_pe * (1 + b * rng.normal(size=(events, len(n_pe)))).clip(0))
    # The sum of n gamma variables of one scale is a gamma variable: its variance is F² - 1 per electron.
    shape = 1 / (f2 - 1)
    charge = gain * rng.gamma(np.maximum(electrons * shape, 1e-9)) / shape
    return take_statistics(noise[0]), take_statistics(noise[1] + charge)


def test_photoelectrons_of_cascades() -> None:
    rng = np.random.default_rng(1)
    truth, gain = rng.uniform(60, 100, PIXELS), rng.uniform(10, 20, PIXELS)
    n_pe, signal = compute_photoelectrons(*simulate_events(rng, truth, gain), 1.222)
    # A variance of 2000 events is known to √(2/2000); the medians take 0.4 % off, see the notes of the function.
    pull = (n_pe[0, 0] / truth - 1 + 0.004) / np.sqrt(2 / 2000)
    assert abs(pull.mean()) < 4 / np.sqrt(PIXELS)
    assert 0.9 < pull.std() < 1.2
    assert (signal[0, 0] / (gain * truth)).mean() == pytest.approx(0.997, abs=0.002)


def test_wrong_excess_noise_factor_shows() -> None:
    rng = np.random.default_rng(2)
    truth, gain = np.full(PIXELS, 80.0), np.full(PIXELS, 15.0)
    events = simulate_events(rng, truth, gain, f2=1.5)
    assert np.median(compute_photoelectrons(*events, 1.5)[0]) == pytest.approx(80, rel=0.02)
    assert np.median(compute_photoelectrons(*events, 1.0)[0]) == pytest.approx(80 / 1.5, rel=0.02)


def test_common_fluctuation_of_the_pulse() -> None:
    rng = np.random.default_rng(3)
    truth, gain = np.full(PIXELS, 80.0), np.full(PIXELS, 15.0)
    events = simulate_events(rng, truth, gain, b=0.08)
    without, _ = compute_photoelectrons(*events, 1.222)
    corrected, _ = compute_photoelectrons(*events, 1.222, np.full((1, PIXELS), 0.08))
    assert np.median(without) < 60
    assert np.median(corrected) == pytest.approx(80, rel=0.03)


def test_factor_flattens_the_camera() -> None:
    rng = np.random.default_rng(4)
    truth, gain = 80 * rng.normal(1, 0.05, PIXELS), 15 * rng.normal(1, 0.1, PIXELS)
    pedestal, flatfield = simulate_events(rng, truth, gain)
    coefficients = compute_coefficients(pedestal, flatfield, np.zeros((1, 1, PIXELS)))
    # All pixels show the same number of photoelectrons, that of the median pixel.
    flat = coefficients.factor * (flatfield.median - pedestal.median)
    assert np.ptp(flat) < 1e-10
    assert flat.mean() == pytest.approx(np.median(truth), rel=0.015)


def make_camera(n_pixels: int = 20, n_chunks: int = 2, n_channels: int = 2) -> dict[str, np.ndarray]:
    """Make the statistics of a camera without noise: 80 photoelectrons everywhere."""
    shape, gain = (n_chunks, n_channels, n_pixels), np.array([15.0, 1.0])[:n_channels, None]
    return {
        "pedestal": np.full(shape, 4800.0),
        "pedestal_std": np.full(shape, 5.0),
        "flatfield": np.zeros(shape) + 4800 + gain * 80,
        "flatfield_std": np.zeros(shape) + np.sqrt(25 + 1.222 * gain**2 * 80),
        "time": np.tile(np.arange(n_pixels, dtype=float), (*shape[:2], 1)),
    }


def compute(camera: dict[str, np.ndarray], **options: object) -> CameraCoefficients:
    return compute_coefficients(
        PixelStatistics(camera["pedestal"], camera["pedestal_std"]),
        PixelStatistics(camera["flatfield"], camera["flatfield_std"]),
        camera["time"],
        **options,  # type: ignore[arg-type]
    )


def test_plain_camera() -> None:
    coefficients = compute(make_camera(), window_width=10)
    np.testing.assert_allclose(coefficients.factor[:, 0], 1 / 15)
    np.testing.assert_allclose(coefficients.factor[:, 1], 1)
    np.testing.assert_array_equal(coefficients.pedestal_offset, 480)
    np.testing.assert_array_equal(coefficients.time_shift[0, 0], np.arange(20) - 9.5)
    assert coefficients.is_valid.all()
    assert not coefficients.outlier_mask.any()
    assert not coefficients.extrapolated_channel_mask.any()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pedestal", np.nan),
        ("flatfield", np.nan),
        ("time", np.nan),
        ("flatfield_std", np.nan),
        ("flatfield", 4800.0),
        ("flatfield", 4000.0),
        ("flatfield_std", 5.0),
        ("flatfield_std", 1.0),
    ],
)
def test_outliers(name: str, value: float) -> None:
    camera = make_camera()
    camera[name][1, 0, 3] = value
    coefficients = compute(camera)
    assert np.argwhere(coefficients.outlier_mask).tolist() == [[1, 0, 3]]
    # The others do not feel it.
    np.testing.assert_allclose(np.delete(coefficients.factor[1, 0], 3), 1 / 15)


def test_negative_numbers_do_not_shift_the_median() -> None:
    camera = make_camera()
    camera["flatfield_std"][:, :, :9] = 1.0
    np.testing.assert_allclose(compute(camera).factor[:, 1], 1)


def test_validity_counts_pixels_with_an_outlier_in_any_channel() -> None:
    camera = make_camera()
    camera["time"][0, 0, 0] = camera["time"][0, 1, 1] = np.nan
    camera["time"][1, :, 5] = np.nan
    assert compute(camera).is_valid.tolist() == [False, True]
    assert compute(camera, faulty_pixels_fraction=0.05).is_valid.tolist() == [False, False]
    assert compute(camera, faulty_pixels_fraction=0.11).is_valid.tolist() == [True, True]


def test_dead_camera() -> None:
    camera = {name: np.full_like(values, np.nan) for name, values in make_camera().items()}
    coefficients = compute(camera, spread=SpreadModel())
    assert np.isnan(coefficients.factor).all()
    assert coefficients.outlier_mask.all()
    assert not coefficients.is_valid.any()


def test_expected_spread() -> None:
    spread = expected_spread(np.full((1, 2, 1), 100.0), SpreadModel())
    np.testing.assert_allclose(spread[0, :, 0], [9.1633, 7.7360], atol=5e-5)
    assert expected_spread(np.full((1, 1, 1), 100.0), SpreadModel(), (1,))[0, 0, 0] == spread[0, 1, 0]
    quiet = SpreadModel(400, 0.1, (0.0,), (0.0,), (0.0,), (0.0,))
    np.testing.assert_allclose(expected_spread(np.full((1, 2, 1), 100.0), quiet), np.sqrt(100 / 400 + 10**2))


def test_unusual_pixels() -> None:
    n_pe = np.full((1, 2, 11), 100.0)
    n_pe[0, 0, 0], n_pe[0, 1, 1], n_pe[0, 0, 2] = 100 + 4 * 9.2, 100 - 6 * 7.8, np.nan
    found = find_unusual(n_pe, SpreadModel())
    assert np.argwhere(found).tolist() == [[0, 1, 1]]
    assert np.argwhere(find_unusual(n_pe, SpreadModel(std_range_factors=(-9, 3)))).tolist() == [[0, 0, 0]]


def test_unusual_pixel_is_masked() -> None:
    camera = make_camera()
    camera["flatfield_std"][:, 1, 4] *= 0.7
    assert not compute(camera).outlier_mask.any()
    found = compute(camera, spread=SpreadModel()).outlier_mask
    assert found[:, 1, 4].all()
    assert found.sum() == 2


@pytest.mark.parametrize("measured", [0, 1])
def test_extrapolation(measured: int) -> None:
    camera = make_camera(n_channels=1)
    camera["time"][1, 0, 3] = np.nan
    one = compute(camera)
    both = extrapolate_channel(one, measured)
    assert both.factor.shape == (2, 2, 20)
    for channel in (0, 1):
        np.testing.assert_array_equal(both.factor[:, channel], one.factor[:, 0])
        np.testing.assert_array_equal(both.time_shift[:, channel], one.time_shift[:, 0])
        np.testing.assert_array_equal(both.outlier_mask[:, channel], one.outlier_mask[:, 0])
    assert both.extrapolated_channel_mask[:, 1 - measured].all()
    assert not both.extrapolated_channel_mask[:, measured].any()
    np.testing.assert_array_equal(both.pedestal_offset[:, measured], one.pedestal_offset[:, 0])
    assert not both.pedestal_offset[:, 1 - measured].any()
    assert both.is_valid is one.is_valid
