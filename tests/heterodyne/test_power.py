"""Samples that no sky makes: none of them passes without a word."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

from cal_pipeline.heterodyne.physics.power import (
    count_implausible,
    count_repeated,
    largest_jump,
    power_limits,
    relative_power,
)


class TestFormulas:
    def test_limits_leave_room_for_noise(self):
        limits = power_limits(np.array([100.0, np.nan, 0.0]).reshape(3, 1, 1), 0.05)
        assert limits.low[:, 0].tolist()[0] == pytest.approx(-100.0)
        assert limits.high[:, 0].tolist()[0] == pytest.approx(250.0)
        assert (limits.high[1:] > 1e18).all()
        assert (limits.low[1:] < -1e18).all()
        assert limits.low.dtype == limits.high.dtype == np.float32
        assert limits.low.nbytes + limits.high.nbytes == 8 * 3

    def test_unknown_noise_limits_nothing(self):
        limits = power_limits(np.full((1, 1, 1), 100.0), np.nan)
        assert limits.high.item() > 1e18

    def test_power_is_a_mean_over_known_channels(self):
        kelvin = np.array([[10.0, 20.0], [30.0, np.nan], [np.nan, np.nan], [1e9, 5.0]]).reshape(4, 2, 1, 1)
        system = np.array([100.0, 100.0, 100.0, np.nan]).reshape(4, 1, 1)
        level, n_channels = relative_power(kelvin, system)
        assert level.ravel() == pytest.approx([0.2, 0.2])
        assert n_channels == 4

    @pytest.mark.parametrize(
        ("levels", "jump"),
        [
            ([0.0, 1.0], 1.0),
            ([0.0, 0.0, 0.0], 0.0),
            ([0.0, 0.0, -1.0, 0.0], 1.0),
            ([0.0, 1.0, 2.0, 1.0, 0.0], 0.5),
            ([0.0, np.nan, 0.3, 0.0], 0.3),
            ([1.0, 0.0, 0.0], 1.0),
            ([0.5], np.nan),
            ([np.nan, np.nan], np.nan),
        ],
    )
    def test_jumps(self, levels, jump):
        series = np.array(levels).reshape(-1, 1, 1, 1)
        assert largest_jump(series, 0.0).item() == pytest.approx(jump, nan_ok=True)
        assert largest_jump(np.moveaxis(series, 0, -1), 0.0).item() == pytest.approx(jump, nan_ok=True)

    def test_a_whole_on_of_a_map(self):
        levels = np.zeros((4, 1, 1, 3))
        levels[..., 1] = 1.0
        assert largest_jump(levels, 0.0).item() == pytest.approx(1.0)
        assert largest_jump(levels, 0.05).item() == pytest.approx(1.0 - 0.5 * np.sqrt(2.0))

    @pytest.mark.parametrize(
        ("dumps", "moves", "number"),
        [
            ([900.0, 880.0, 910.0], False, 0),  # a maser
            ([6000.0, 6010.0, 5990.0], False, 0),  # the Sun
            ([900.0, np.nan, 910.0], False, 0),
            ([900.0, -100.0, 910.0], False, 1),  # an empty dump
            ([900.0, 880.0, 1800.0], False, 1),  # a dump of it twice
            ([900.0, 0.0, 910.0], False, 2),  # interference
            ([0.0, 0.0, 900.0], False, 1),
            ([1.7e5, 1.7e5, 1.7e5], False, 3),  # saturation
            ([1e30, 1e30, 1e30], False, 3),
            ([900.0], False, 0),
            ([1.7e5], False, 1),
            ([900.0], True, 0),
            ([1.7e5], True, 1),
            ([0.0, 450.0, 900.0, 450.0, 0.0], True, 0),
            ([0.0, 0.0, 900.0, 0.0, 0.0], True, 1),
            ([1.7e5, 1.7e5, 1.7e5], True, 3),
        ],
    )
    def test_bright_sources_are_plausible(self, dumps, moves, number):
        kelvin = np.array(dumps).reshape(1, -1, 1, 1)
        limits = power_limits(np.full((1, 1, 1), 100.0), 0.001, moves)
        assert count_implausible(kelvin, np.isnan(kelvin), limits, moves).item() == number

    @pytest.mark.parametrize("levels", [[0.0, 0.0, 0.6, 0.0, 0.0], [0.5, 0.0, 0.5, 0.0]])
    @pytest.mark.parametrize("moves", [False, True])
    def test_ons_at_several_positions_are_not_compared(self, levels, moves):
        one = np.array(levels).reshape(1, 1, 1, -1)
        assert largest_jump(one, 0.0, True).item() >= 0.5
        assert np.isnan(largest_jump(one, 0.0, False, moves).item())
        several = np.repeat(one, 5, axis=0)
        several[3] += 0.1
        assert largest_jump(several, 0.0, False).item() == pytest.approx(0.1)

    def test_rows_of_a_map_cross_a_source_but_are_not_on_it(self):
        rows = np.zeros((8, 1, 1, 3))
        rows[2:6, ..., 1] = np.array([0.4, 0.8, 0.8, 0.4])[:, None, None]
        assert largest_jump(rows, 0.0, False, True).item() == pytest.approx(0.4 / 1.8)
        rows[..., 1] = 2.0 * rows[..., 1] + 1.0
        assert largest_jump(rows, 0.0, False, True).item() == pytest.approx(1.0)

    def test_one_position_of_some_pixels(self):
        levels = np.zeros((2, 2, 1, 3))
        levels[..., 1] = 1.0
        jumps = largest_jump(levels, 0.0, np.array([[True], [False]]))
        assert jumps.ravel().tolist() == [1.0, 0.0]

    def test_few_channels_repeat_by_chance(self):
        assert count_repeated(np.ones((8, 3, 1, 1), np.int32), np.ones((8, 1, 1))).item() == 0
        assert count_repeated(np.ones((16, 3, 1, 1), np.int32), np.ones((16, 1, 1))).item() == 2
        unknown = np.full((16, 1, 1), np.nan)
        assert count_repeated(np.ones((16, 3, 1, 1), np.int32), unknown).item() == 0


ON, DUMP, PIXEL = 1, 3, 0


def scaled(values, factor, *index):
    values[index] = (factor * values[index].astype(np.float64)).astype(values.dtype)


WRONG = {
    "a saturated sample": (lambda on, load: on.__setitem__((20, DUMP), 2**30), "implausible_fraction"),
    "an empty sample": (lambda on, load: on.__setitem__((20, DUMP), 0), "implausible_fraction"),
    "a dump counted twice": (lambda on, load: scaled(on, 2.0, slice(None), DUMP), "dump_jump"),
    "a halved dump": (lambda on, load: scaled(on, 0.5, slice(None), DUMP), "dump_jump"),
    "an empty dump": (lambda on, load: on.__setitem__((slice(None), DUMP), 0), "dump_jump"),
    "an ON counted twice": (lambda on, load: scaled(on, 2.0, slice(None)), "dump_jump"),
    "a dump written twice": (lambda on, load: on.__setitem__((slice(None), DUMP), on[:, DUMP - 1]), "repeated_dumps"),
    "a hot load x 1.3": (lambda on, load: scaled(load, 1.3, slice(None)), "sky_misfit"),
    "a dump of a hot load x 1.3": (lambda on, load: scaled(load, 1.3, slice(None), 1), "load_instability"),
}


def damage(session, change):
    """Change counts of one pixel, of an ON (C, D) and of the hot load (C, D)."""
    source, calibration = (
        zarr.open_array(session / f"scan_000001/{name}/data_5d", mode="r+") for name in ("source", "calibration")
    )
    on, load = source[:, :, PIXEL, 0, ON], calibration[:, :, PIXEL, 0, 0]
    change(on, load)
    source[:, :, PIXEL, 0, ON], calibration[:, :, PIXEL, 0, 0] = on, load


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["otf", "total_power"])
def test_nothing_of_it_is_silent(make_session, calibrate, tmp_path, mode):
    whole = make_session("whole.zarr", channels=512, mode=mode)
    for number, (kind, (change, name)) in enumerate({"nothing": (lambda on, load: None, ""), **WRONG}.items()):
        session = shutil.copytree(whole, tmp_path / f"{number}.zarr")
        damage(session, change)
        qa = calibrate(session, f"{number}_l1.zarr", overwrite=True).attributes(1)["qa"]
        told = {verdict["name"] for verdict in qa["verdicts"]}
        assert name in told if name else not {"implausible_fraction", "dump_jump", "repeated_dumps"} & told, kind


@pytest.mark.slow
def test_a_dump_at_rest_may_not_change_by_a_tenth(make_session, calibrate):
    session = make_session(channels=512, mode="total_power")
    damage(session, lambda on, load: scaled(on, 1.1, slice(None), DUMP))
    qa = calibrate(session).attributes(1)["qa"]
    (told,) = [verdict for verdict in qa["verdicts"] if verdict["name"] == "dump_jump"]
    assert told["verdict"] == "questionable"
    assert 0.05 < told["value"] < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "told"), [(20.0, False), (1e4, True)])
def test_a_maser_is_plausible_and_saturation_is_not(make_session, calibrate, factor, told):
    session = make_session(channels=512, mode="total_power", dtype="float64")
    damage(session, lambda on, load: scaled(on, factor, slice(20, 22)))
    qa = calibrate(session).attributes(1)["qa"]
    assert ("implausible_fraction" in {verdict["name"] for verdict in qa["verdicts"]}) == told


@pytest.mark.slow
@pytest.mark.parametrize("array", ["otf_lon", "pixel_offset_lat", None])
def test_a_pointing_on_a_planet_is_no_jump(make_session, calibrate, array):
    session = make_session(channels=512, mode="total_power")
    damage(session, lambda on, load: scaled(on, 1.6, slice(None)))
    source = zarr.open_group(session / "scan_000001/source", mode="r+")
    if array is not None:
        offsets = source[array][...]
        offsets[..., ON] += 0.01
        source[array][...] = offsets
    qa = calibrate(session).attributes(1)["qa"]
    assert ("dump_jump" in {verdict["name"] for verdict in qa["verdicts"]}) == (array is None)


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_floats_that_are_no_numbers_are_missing(make_session, calibrate, value):
    config = {"channels": 64, "dtype": "float64"}
    session = make_session(**config)
    source, loads = (
        zarr.open_array(session / f"scan_000001/{name}/data_5d", mode="r+") for name in ("source", "calibration")
    )
    source[20, DUMP, 0, 0, ON] = value
    source[30, DUMP, 0, 0, 0] = value
    loads[40, 1, 0, 0, 0] = value
    scan = calibrate(session).open_scan(1)
    assert np.argwhere(scan.flags.values != 0).tolist() == [[20, DUMP, 0, 0, 0]]
    assert np.isfinite(scan.spectra.values).sum() == scan.spectra.size - 1
    assert scan.attrs["qa"]["verdict"] == "pass"
