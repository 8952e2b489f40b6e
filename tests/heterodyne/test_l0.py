"""Reading the groups of a session: what was recorded, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from helpers_l0 import FILL, MJD, loads_counts, write_array, write_group, write_scan

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.errors import LayoutError
from cal_pipeline.heterodyne.l0 import CalibrationGroup, LoadRules, pixel_ids, read_coordinates
from cal_pipeline.heterodyne.physics.constants import TORR

SHAPE = (4, 2, 2, 1, 4)


@pytest.fixture
def source(tmp_path):
    return write_scan(tmp_path / "s.zarr", 1)["source"]


def coordinates(tmp_path):
    return read_coordinates(LocalStorePath(tmp_path / "s.zarr"), "scan_000001/source", SHAPE)


def test_numbers_are_doubles_and_text_is_text(tmp_path, source):
    write_array(source, "sobsmode", ["OFF ", " ON", "ON", "OFF"])
    write_array(source, "exptime", np.array([2, 2, 2, 2], np.int16))
    at = coordinates(tmp_path)
    assert at.sobsmode.tolist() == ["OFF", "ON", "ON", "OFF"]
    assert at.exptime.dtype == np.float64
    assert at.exptime.tolist() == [2.0] * 4
    assert at.pixel.tolist() == [["PX00"], ["PX01"]]


def test_pressure_comes_in_torr(tmp_path, source):
    write_array(source, "pamb", np.full(4, 760.0))
    np.testing.assert_allclose(coordinates(tmp_path).pamb, 101325.0, rtol=1e-15)
    assert pytest.approx(101325.0 / 760.0) == TORR


def test_offsets_of_a_subscan_hold_for_all_its_dumps(tmp_path, source):
    write_array(source, "otf_lon", np.array([0.0, 1.0, 2.0, 3.0]))
    write_array(source, "otf_lat", np.arange(8.0).reshape(2, 4))
    at = coordinates(tmp_path)
    assert at.otf_lon.tolist() == [[0.0, 1.0, 2.0, 3.0]] * 2
    assert at.otf_lat.tolist() == [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]


def test_what_is_optional_may_be_absent(tmp_path, source):
    at = coordinates(tmp_path)
    assert at.otf_lon is None
    assert at.lloadsn is None


@pytest.mark.parametrize("name", ["sobsmode", "mjd", "exptime", "elevation", "pamb", "tamb", "freq_off"])
def test_what_is_required_may_not(tmp_path, source, name):
    del source[name]
    with pytest.raises(LayoutError, match=f"lacks {name}; it holds data_5d"):
        coordinates(tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("mjd", np.zeros(5), r"mjd has shape \(5,\), expected \(4,\)"),
        ("otf_lon", np.zeros((4, 2)), r"expected \(4,\) or \(2, 4\)"),
        ("tamb", np.array(["warm"] * 4), "expected numbers"),
        ("frontend_backends", np.array(["A", "B", "C"]), "frontend_backends has shape"),
    ],
)
def test_wrong_shapes_and_types_say_what_was_expected(tmp_path, source, name, values, words):
    write_array(source, name, values)
    with pytest.raises(LayoutError, match=words):
        coordinates(tmp_path)


class TestPixelIds:
    def test_one_a_pixel_runs_over_arrays_first(self):
        ids = pixel_ids(np.array(["H0", "V0", "H1", "V1"]), 2, 2)
        assert ids.tolist() == [["H0", "V0"], ["H1", "V1"]]

    def test_one_for_all_subscans_is_numbered(self):
        assert pixel_ids(np.array(["X"] * 5), 2, 1).tolist() == [["X_0"], ["X_1"]]

    def test_one_for_all_subscans_of_one_pixel_stays(self):
        assert pixel_ids(np.array(["X"] * 5), 1, 1).tolist() == [["X"]]

    def test_one_a_subscan_that_names_every_pixel_in_turn(self):
        assert pixel_ids(np.array(["A", "A", "B", "B", "A"]), 2, 1).tolist() == [["A"], ["B"]]

    def test_other_numbers_are_refused(self):
        with pytest.raises(LayoutError, match=r"names 3 pixels .*expected 2"):
            pixel_ids(np.array(["A", "B", "C", "A"]), 2, 1)


class TestLoads:
    """The ``calibration`` group."""

    pixel = np.array([["PX00"], ["PX01"]])

    def group(self, tmp_path, phases, counts=None, **changes):
        store = tmp_path / "s.zarr"
        group = zarr.open_group(store, mode="a").create_group("calibration")
        if counts is None:
            counts = loads_counts(np.ones((4, 2, 1)), 0.0, [10.0 * (k + 1) for k in range(len(phases))])
        write_group(group, counts, phases, **changes)
        return CalibrationGroup(LocalStorePath(store), "calibration", 7)

    def means(self, group, pixel=None):
        counts = group.means(self.pixel if pixel is None else pixel, StageClock(), LoadRules(1e6))
        return counts.means, counts.zero

    def test_several_are_averaged_with_their_temperatures(self, tmp_path):
        thot, tcold = np.array([290.0, 1.0, 300.0, 1.0]), np.array([1.0, 76.0, 1.0, 78.0])
        group = self.group(tmp_path, ["HOT", "COL", "HOT", "COLD"], thot=thot, tcold=tcold)
        means, zero = self.means(group)
        assert zero is None
        assert (means.hot == 20.0).all()
        assert (means.cold == 30.0).all()
        assert (means.hot_input.physical, means.cold_input.physical) == (295.0, 77.0)
        assert (means.hot_time == 2 * 2 * 2.0).all()

    def test_those_of_unknown_phase_are_left_out_with_a_warning(self, tmp_path, caplog):
        means, _ = self.means(self.group(tmp_path, ["HOT", "COL", "HTO", "SKY"]))
        assert (means.hot == 10.0).all()
        assert "calibration: 1 subscan of phase HTO left out, expected COL, COLD, HOT, SKY, ZERO" in caplog.text

    def test_missing_dumps_do_not_count(self, tmp_path):
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [100.0, 10.0])
        counts[:, 0, 1, 0, 0] = FILL
        counts[:, 1, 1, 0, 0] = 300
        means, _ = self.means(self.group(tmp_path, ["HOT", "COL"], counts))
        assert (means.hot[:, 0] == 100.0).all()
        assert (means.hot[:, 1] == 300.0).all()
        assert (means.hot_time[:, 1] == 2.0).all()

    def test_a_pixel_without_any_dump_has_no_mean(self, tmp_path):
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [100.0, 10.0])
        counts[:, :, 1, 0, 1] = FILL
        means, _ = self.means(self.group(tmp_path, ["HOT", "COL"], counts))
        assert np.isnan(means.cold[:, 1]).all()
        assert np.isfinite(means.cold[:, 0]).all()

    def test_zero_is_taken_off(self, tmp_path):
        means, zero = self.means(self.group(tmp_path, ["ZERO", "HOT", "COL", "ZERO"]))
        assert (zero == 25.0).all()
        assert (means.hot == 20.0 - 25.0).all()
        assert (means.cold == 30.0 - 25.0).all()

    def test_pixels_are_brought_into_the_order_of_the_scan(self, tmp_path):
        gain = np.array([1.0, 2.0])[None, :, None] * np.ones((4, 1, 1))
        group = self.group(tmp_path, ["HOT", "COL"], loads_counts(gain, 0.0, [100.0, 10.0]))
        means, _ = self.means(group, self.pixel[::-1])
        assert means.hot[0, :, 0].tolist() == [200.0, 100.0]

    def test_time_is_that_of_hot_and_cold(self, tmp_path):
        group = self.group(tmp_path, ["SKY", "HOT", "COL"], mjd=np.array([1.0, 5.0, 7.0]))
        assert group.mjd == 6.0

    @pytest.mark.parametrize("value", [0.0, -5.0, np.nan])
    def test_a_temperature_that_is_none_is_refused(self, tmp_path, value):
        group = self.group(tmp_path, ["HOT", "COL"], tcold=np.full(2, value))
        with pytest.raises(LayoutError, match=r"tcold is .*expected temperatures above 0 K"):
            self.means(group)

    @pytest.mark.parametrize("value", [0.0, np.nan])
    def test_what_is_known_of_the_telescope_stands_in_for_a_cold_load_that_was_not_recorded(
        self, tmp_path, value, caplog
    ):
        group = self.group(tmp_path, ["HOT", "COL"], tcold=np.full(2, value))
        found = group.means(self.pixel, StageClock(), LoadRules(1e6, t_cold_default=90.0))
        assert (found.means.cold_input.physical, found.t_cold_assumed) == (90.0, True)
        assert "tcold was not recorded; 90 K is assumed" in caplog.text

    def test_times_are_those_of_each_load(self, tmp_path):
        group = self.group(tmp_path, ["HOT", "COL", "HOT"], mjd=MJD + np.array([0.1, 0.5, 0.3]))
        means, _ = self.means(group)
        assert (means.hot_mjd, means.cold_mjd) == (MJD + 0.2, MJD + 0.5)

    def test_instability_is_that_of_the_less_stable_load(self, tmp_path):
        counts = np.full((4, 2, 2, 1, 2), 100)
        counts[:, 1, 1, 0, 1] = 102
        counts[:, 1, 0, 0, 0] = FILL
        found = self.group(tmp_path, ["HOT", "COL"], counts).means(self.pixel, StageClock(), LoadRules(1e6)).instability
        assert found[1, 0] == pytest.approx(np.std([100, 102], ddof=1) / 101, rel=0.5)
        assert not found[0, 0] > 0

    def test_spikes_are_told_by_all_subscans_of_a_load(self, tmp_path):
        # Two dumps each are too few by themselves.
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [100.0, 10.0, 100.0, 10.0])
        counts[3, 1, 1, 0, 2] = 500
        counts[2, 0, 0, 0, 1] = 50
        found = self.group(tmp_path, ["HOT", "COL", "HOT", "COL"], counts).means(
            self.pixel[::-1], StageClock(), LoadRules(1e6)
        )
        assert found.spikes.tolist() == [[1], [1]]
        assert (found.means.hot == 100.0).all()
        assert (found.means.cold == 10.0).all()
        assert np.argwhere(found.means.hot_time != 4 * 2.0).tolist() == [[3, 0, 0]]
        assert found.means.hot_time[3, 0, 0] == 3 * 2.0

    def test_spikes_of_zero_are_not_looked_for(self, tmp_path):
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [100.0, 10.0, 4.0, 4.0])
        counts[0, 0, 0, 0, 2] = 44
        found = self.group(tmp_path, ["HOT", "COL", "ZERO", "ZERO"], counts).means(
            self.pixel, StageClock(), LoadRules(1e6)
        )
        assert found.zero[0, 0, 0] == 14.0
        assert not found.spikes.any()

    def test_rules_of_one_reading_do_not_outlast_it(self, tmp_path):
        group = self.group(tmp_path, ["HOT", "COL"])
        limited = group.means(self.pixel, StageClock(), LoadRules(1e6, saturation_counts=15.0)).means
        assert np.isnan(limited.cold).all()
        assert (limited.hot == 10.0).all()
        again, _ = self.means(group)
        assert (again.cold == 20.0).all()

    def test_objections(self, tmp_path):
        group = self.group(tmp_path, ["HOT", "COL"])
        assert group.objection(SHAPE, self.pixel) is None
        assert group.objection(SHAPE, self.pixel[::-1]) is None
        assert "has [4, 2, 1] channels" in group.objection((5, *SHAPE[1:]), self.pixel)
        assert "expected ['A', 'B']" in group.objection(SHAPE, np.array([["A"], ["B"]]))

    def test_no_cold_is_an_objection(self, tmp_path):
        assert "has no COLD (it has ['HOT', 'SKY'])" in self.group(tmp_path, ["HOT", "SKY"]).objection(
            SHAPE, self.pixel
        )
