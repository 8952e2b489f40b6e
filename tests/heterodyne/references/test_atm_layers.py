import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cal_pipeline.heterodyne.references.atm_layers import emission_weights, layer_offsets, slice_layers
from cal_pipeline.heterodyne.references.atm_recipe import RecipeError

THICKNESS = st.lists(st.floats(0.05, 6.0), min_size=1, max_size=12).map(np.array)
# Thousandths: heights that differ by less than the rounding of their sums are refused as equal.
FRACTIONS = st.sets(st.integers(1, 999), max_size=4).map(lambda parts: [part / 1000 for part in sorted(parts)])


def merge(thickness, tops, opacity):
    slices = slice_layers(np.asarray(thickness), tops)
    return slices.tops(slices.accumulate(np.asarray(opacity, np.float64)))


def test_layers_at_the_tops_stay_whole():
    slices = slice_layers(np.array([1.0, 2.0, 3.0]), [1.0, 3.0])
    assert slices.layer.tolist() == [0, 1, 2]
    assert slices.share.tolist() == [1.0, 1.0, 1.0]
    assert slices.merged.tolist() == [0, 1, 2]


def test_a_cut_layer_shares_its_opacity_by_height():
    np.testing.assert_allclose(merge([1.0, 4.0], [2.0], [[0.1], [0.8]]), [[0.3], [0.9]], rtol=1e-15)


def test_one_layer_is_cut_several_times():
    np.testing.assert_allclose(merge([10.0], [1.0, 3.0], [[1.0]]), [[0.1], [0.3], [1.0]], rtol=1e-15)


def test_no_tops_merge_all():
    np.testing.assert_allclose(merge([1.0, 2.0], [], [[0.25, 1.0], [0.5, 2.0]]), [[0.75, 3.0]], rtol=1e-15)


@pytest.mark.parametrize("thickness", [0.0, -2e-4])
def test_an_empty_layer_stays_whole(thickness):
    """ATM makes one at the junction with its standard atmosphere."""
    np.testing.assert_allclose(merge([1.0, thickness, 2.0], [1.0], [[1.0], [1e-6], [2.0]]), [[1.0], [3.000001]])


@pytest.mark.parametrize("tops", [[3.0], [4.0], [2.0, 1.0], [0.0], [-1.0]])
def test_tops_outside_the_model(tops):
    with pytest.raises(RecipeError, match=r"layer_tops_km is .* top of the model atmosphere, 3 km above"):
        slice_layers(np.array([1.0, 2.0]), tops)


@pytest.mark.slow
@given(thickness=THICKNESS, fractions=FRACTIONS)
def test_each_model_layer_is_shared_out_completely(thickness, fractions):
    slices = slice_layers(thickness, [fraction * thickness.sum() for fraction in fractions])
    np.testing.assert_allclose(np.bincount(slices.layer, slices.share), 1.0, rtol=1e-9)
    assert set(slices.merged) == set(range(len(fractions) + 1))
    assert np.all(np.diff(slices.merged) >= 0)
    assert np.all(np.diff(slices.layer) >= 0)


@pytest.mark.slow
@given(thickness=THICKNESS, fractions=FRACTIONS, seed=st.integers(0, 1000))
def test_the_top_row_is_the_whole_and_rows_ascend(thickness, fractions, seed):
    opacity = np.random.default_rng(seed).exponential(0.3, (len(thickness), 4))
    rows = merge(thickness, [fraction * thickness.sum() for fraction in fractions], opacity)
    np.testing.assert_allclose(rows[-1], opacity.sum(axis=0), rtol=1e-12)
    assert np.all(np.diff(rows, axis=0) >= 0.0)


@pytest.mark.slow
@given(thickness=THICKNESS, fractions=FRACTIONS)
def test_uniform_absorption_grows_with_height(thickness, fractions):
    tops = [fraction * thickness.sum() for fraction in fractions]
    rows = merge(thickness, tops, 0.2 * thickness[:, None])
    np.testing.assert_allclose(rows[:, 0], 0.2 * np.array([*tops, thickness.sum()]), rtol=1e-9)


def test_emission_of_two_layers():
    """tau = ln 2 and ln 3 at airmass 2: transmissions 1/4 and 1/36."""
    weights = emission_weights(np.log([[2.0], [6.0]]), 2.0)
    np.testing.assert_allclose(weights, [3.0 / 4.0, 1.0 / 4.0 - 1.0 / 36.0], rtol=1e-14)


def test_emission_is_summed_over_frequencies():
    opacity = np.array([[0.1, 1.0], [0.3, 5.0]])
    one_by_one = sum(emission_weights(opacity[:, [f]], 1.5) for f in (0, 1))
    np.testing.assert_allclose(emission_weights(opacity, 1.5), one_by_one, rtol=1e-14)


@pytest.mark.slow
@given(thickness=THICKNESS, fractions=FRACTIONS, temperature=st.floats(180.0, 300.0))
def test_isothermal_air_has_no_offsets(thickness, fractions, temperature):
    slices = slice_layers(thickness, [fraction * thickness.sum() for fraction in fractions])
    weights = emission_weights(slices.accumulate(0.1 * thickness[:, None]), 1.5)
    offsets = layer_offsets(slices, weights, np.full(len(thickness), temperature), temperature)
    assert offsets.tolist() == [0.0] * (len(fractions) + 1)


def test_offsets_of_two_layers_merged_to_one():
    slices = slice_layers(np.array([1.0, 1.0]), [])
    weights = emission_weights(slices.accumulate(np.log([[2.0], [3.0]])), 1.0)  # 1/2, then 1/2 - 1/6
    offset = layer_offsets(slices, weights, np.array([270.0, 220.0]), 280.0)
    np.testing.assert_allclose(offset, [(0.5 * -10.0 + (1.0 / 3.0) * -60.0) / (0.5 + 1.0 / 3.0)], rtol=1e-14)


def test_thin_air_weights_by_opacity_and_thick_air_by_nearness():
    thickness, temperature = np.array([1.0, 1.0]), np.array([280.0, 240.0])
    slices = slice_layers(thickness, [])
    for tau, expected in [(1e-6, -20.0), (50.0, 0.0)]:
        weights = emission_weights(slices.accumulate(np.array([[tau], [tau]])), 1.5)
        assert layer_offsets(slices, weights, temperature, 280.0)[0] == pytest.approx(expected, abs=1e-4)


def test_a_layer_behind_opaque_air_has_its_plain_mean():
    slices = slice_layers(np.array([1.0, 1.0, 1.0]), [1.0])
    weights = emission_weights(slices.accumulate(np.array([[1e4], [1.0], [1.0]])), 1.5)
    assert weights.tolist() == [1.0, 0.0, 0.0]
    assert layer_offsets(slices, weights, np.array([280.0, 260.0, 240.0]), 280.0).tolist() == [0.0, -30.0]


def brightness(opacity, temperature, airmass):
    """Emission of layers in the Rayleigh-Jeans limit [K], from opacities up to their tops."""
    transmitted = np.concatenate([np.ones_like(opacity[:1]), np.exp(-airmass * opacity)])
    return -np.diff(transmitted, axis=0).T @ temperature


@pytest.mark.parametrize("airmass", [1.0, 1.5, 2.5])
def test_merged_layers_shine_like_those_of_the_model(airmass):
    """An atmosphere of scale height 1.5 km and -5.6 K/km: 60 layers merged to 6, zenith opacities 0.1 to 5."""
    edges = np.linspace(0.0, 12.0, 61)
    middle, thickness = 0.5 * (edges[1:] + edges[:-1]), np.diff(edges)
    density = np.exp(-middle / 1.5)
    opacity = np.outer(density / density.sum(), np.geomspace(0.1, 5.0, 9))
    temperature = 266.0 - 5.6 * middle
    slices = slice_layers(thickness, [0.25, 0.65, 1.4, 2.5, 5.0])
    accumulated = slices.accumulate(opacity)
    offsets = layer_offsets(slices, emission_weights(accumulated, 1.5), temperature, 266.0)
    merged = brightness(slices.tops(accumulated), 266.0 + offsets, airmass)
    own = brightness(np.cumsum(opacity, axis=0), temperature, airmass)
    np.testing.assert_allclose(merged, own, rtol=1e-3)
    isothermal = brightness(opacity.sum(axis=0)[None], np.array([266.0]), airmass)
    assert np.all(isothermal > own * 1.003)
