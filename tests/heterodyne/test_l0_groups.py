"""Pixel ids, loads and attributes of a scan as people write them."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import zarr
from helpers_coordinates import PAGE, NaN, read, store_with_zarr
from helpers_l0 import MJD, SECOND, loads_counts, write_array, write_group, write_scan

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.errors import LayoutError
from cal_pipeline.heterodyne.l0 import CalibrationGroup, LoadRules, pixel_ids, time_of_loads
from cal_pipeline.heterodyne.phases import COLD, HOT
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import LoadsStep


class TestPixelIds:
    """Ids are unique, whatever stands in the store."""

    @pytest.mark.parametrize(
        ("recorded", "n_receivers", "n_arrays", "ids"),
        [
            (["H0", "V0", "H1", "V1"], 2, 2, ["H0", "V0", "H1", "V1"]),
            (["X"] * 7, 7, 1, [f"X_{i}" for i in range(7)]),
            (["X", "Y", "X", "Z"], 4, 1, ["X_0", "Y", "X_1", "Z"]),
            (["X", "X", "X_0"], 3, 1, ["X_1", "X_2", "X_0"]),
            (["B", "B", "A", "A", "B"], 2, 1, ["B", "A"]),
            (["X"] * 3, 2, 2, ["X_0", "X_1", "X_2", "X_3"]),
            (["X"] * 3, 1, 1, ["X"]),
        ],
    )
    def test_are_made_for_each_pixel(self, recorded, n_receivers, n_arrays, ids):
        found = pixel_ids(np.array(recorded), n_receivers, n_arrays)
        assert found.ravel().tolist() == ids
        assert found.shape == (n_receivers, n_arrays)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("source", "calibration"),
        [
            (["X"] * 4, ["X"] * 2),  # one a subscan and R·A of the same name
            (["X"] * 2, ["X"] * 2),
            (["X_0", "X_1"], ["X"] * 2),
            (["B", "A"], ["A", "B"]),
        ],
    )
    @pytest.mark.parametrize("loads_of", [1, 2], ids=["own loads", "loads of another scan"])
    def test_that_were_made_belong_to_those_of_the_loads(self, tmp_path, source, calibration, loads_of):
        store = tmp_path / "s.zarr"
        write_scan(store, 1, source={"frontend_backends": source}, calibration=False)
        if loads_of == 1:
            # Written by hand: one group of the scan has ids of other lengths than the other.
            counts = loads_counts(np.full((4, 2, 1), 1e5), 90.0, [293.0, 77.0])
            group = zarr.open_group(store, path="scan_000001", mode="r+").create_group("calibration")
            write_group(group, counts, ["HOT", "COL"], frontend_backends=calibration)
        else:
            write_scan(store, 2, source=False, calibration={"frontend_backends": calibration})
        band = Session(store).open_scan(1).bands[0]
        group = Session(store).find_loads(band, 3600.0).group
        assert group.scan_number == loads_of

    @pytest.mark.parametrize("recorded", [["X", "X"], ["X", "X", "X"]])
    def test_that_repeat_are_warned_of(self, recorded, caplog):
        pixel_ids(np.array(recorded), 2, 1, "s.zarr/scan_000001/source")
        assert "scan_000001/source/frontend_backends repeats X; its pixels are called X_0, X_1" in caplog.text
        assert "its pixels are called" in PAGE

    @pytest.mark.parametrize(("recorded", "n"), [(["X"] * 4, 1), (["A", "A", "B", "B"], 2), (["A", "B"], 2)])
    def test_that_are_recorded_for_each_subscan_are_no_repetition(self, recorded, n, caplog):
        pixel_ids(np.array(recorded), n, 1)
        assert caplog.text == ""

    def test_of_two_names_for_three_pixels_are_refused(self):
        with pytest.raises(LayoutError, match=r"names 2 pixels .*expected 3 .*or one id for all subscans"):
            pixel_ids(np.array(["A", "B", "A", "B"]), 3, 1)
        assert "or one id for all subscans" in PAGE

    def test_of_another_length_are_refused(self, tmp_path, source):
        write_array(source, "frontend_backends", ["A", "B", "C"])
        with pytest.raises(LayoutError, match=r"frontend_backends has shape \(3,\), expected \(2,\) or \(4,\)"):
            read(tmp_path)

    def test_of_loads_are_made_as_those_of_the_scan(self, tmp_path):
        one_name = {"source": {"frontend_backends": ["HFAV"] * 4}, "calibration": {"frontend_backends": ["HFAV"] * 2}}
        write_scan(tmp_path / "s.zarr", 1, **one_name)
        session = Session(tmp_path / "s.zarr")
        (band,) = session.open_scan(1).bands
        assert band.coordinates.pixel.tolist() == [["HFAV_0"], ["HFAV_1"]]
        assert session.find_loads(band, 3600.0).reason == "own"


class TestLoads:
    def group(self, tmp_path, **changes):
        group = zarr.open_group(tmp_path / "l.zarr", mode="w").create_group("calibration")
        phases = ["HOT", "COL", "SKY"]
        write_group(group, loads_counts(np.ones((4, 2, 1)), 0.0, [300.0, 80.0, 90.0]), phases, **changes)
        return CalibrationGroup(LocalStorePath(tmp_path / "l.zarr"), "calibration", 7)

    def means(self, tmp_path, default=None, **changes):
        pixel = np.array([["PX00"], ["PX01"]])
        rules = LoadRules(1e6, t_cold_default=default)
        return self.group(tmp_path, **changes).means(pixel, StageClock(), rules).means

    @pytest.mark.parametrize(
        ("name", "values", "words"),
        [
            (
                "thot",
                [20.0, 1.0, 1.0],
                r"thot is \[20.0\] K, expected temperatures above 80 K .*they look like degrees C",
            ),
            (
                "tcold",
                [1.0, -196.0, 1.0],
                r"tcold is \[-196.0\] K, .*they look like degrees Celsius: convert them to K",
            ),
            ("tcold", [1.0, 790.0, 1.0], r"tcold is \[790.0\] K, expected temperatures above 0 K and below 400 K"),
            ("thot", [np.inf, 1.0, 1.0], r"thot is \[inf\] K"),
            ("tcold", [1.0, np.inf, 1.0], r"tcold is \[inf\] K"),
            ("thot", [0.0, 1.0, 1.0], r"thot is \[0.0\] K"),
            ("exptime", [2.0, -1.0, 2.0], r"exptime of subscans \[1\] is \[-1.0\] s"),
            ("exptime", [5000.0, 5000.0, 5000.0], "they look like milliseconds"),
            ("mjd", [2460000.5, 2460000.5, 0.0], "they look like Julian dates"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, tmp_path, name, values, words):
        with pytest.raises(LayoutError, match=words):
            self.means(tmp_path, default=77.0, **{name: np.array(values)})

    def test_only_its_own_phase_tells_a_temperature(self, tmp_path):
        means = self.means(tmp_path, thot=np.array([290.0, NaN, 20.0]), tcold=np.array([-1.0, 77.0, 0.0]))
        assert (means.hot_input.physical, means.cold_input.physical) == (290.0, 77.0)

    @pytest.mark.parametrize("value", [0.0, NaN])
    def test_a_cold_load_that_was_not_recorded_once_does_not_count(self, tmp_path, value):
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [300.0, 80.0, 80.0])
        phases, tcold = ["HOT", "COL", "COL"], np.array([0.0, 77.0, value])
        group = zarr.open_group(tmp_path / "l.zarr", mode="w").create_group("calibration")
        write_group(group, counts, phases, tcold=tcold)
        loads = CalibrationGroup(LocalStorePath(tmp_path / "l.zarr"), "calibration", 7)
        rules = LoadRules(1e6, t_cold_default=90.0)
        found = loads.means(np.array([["PX00"], ["PX01"]]), StageClock(), rules)
        assert (found.means.cold_input.physical, found.t_cold_assumed) == (77.0, False)

    @pytest.mark.parametrize(
        ("tamb", "at_hot", "at_cold"),
        [
            ([270.0, 272.0, 10.0], 270.0, 272.0),
            ([NaN, 272.0, 275.0], 260.0, 272.0),
            (None, 260.0, 260.0),
            ([NaN, NaN, NaN], 260.0, 260.0),
        ],
    )
    def test_ambient_temperature_is_that_at_the_load_or_else_of_the_scan(self, tmp_path, tamb, at_hot, at_cold):
        loads = self.group(tmp_path, tamb=None if tamb is None else np.array(tamb))
        of_scan = np.array([259.0, NaN, 261.0, 3.0])
        assert (loads.read_ambient(HOT, of_scan), loads.read_ambient(COLD, of_scan)) == (at_hot, at_cold)

    def test_ambient_temperature_is_a_mean(self, tmp_path):
        group = zarr.open_group(tmp_path / "l.zarr", mode="w").create_group("calibration")
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [300.0, 80.0, 300.0, 300.0])
        write_group(group, counts, ["HOT", "COL", "HOT", "HOT"], tamb=np.array([270.0, 200.0, 274.0, NaN]))
        assert (
            CalibrationGroup(LocalStorePath(tmp_path / "l.zarr"), "calibration", 7).read_ambient(HOT, np.ones(1))
            == 272.0
        )

    def test_ambient_temperature_in_celsius_gives_way_to_that_of_the_scan(self, tmp_path, caplog):
        loads = self.group(tmp_path, tamb=np.full(3, -5.0))
        assert loads.read_ambient(HOT, np.array([268.0])) == 268.0
        assert "calibration/tamb at HOT is [-5.0] K, expected temperatures above 100 K and below 400 K" in caplog.text
        with pytest.raises(
            LayoutError,
            match=r"calibration/tamb at COLD is \[-5.0\] K, and tamb of the scan \[-4.0\] K; expected temperatures "
            "above 100 K and below 400 K in either.*they look like degrees Celsius",
        ):
            loads.read_ambient(COLD, np.array([-4.0]))

    @pytest.mark.parametrize("value", [0.0, NaN])
    def test_an_integration_time_may_be_unknown(self, tmp_path, value):
        assert np.isfinite(self.means(tmp_path, exptime=np.full(3, value)).hot).all()

    @pytest.mark.parametrize("fill", [0.0, NaN])
    def test_integration_times_of_which_no_chunk_is_stored_are_unknown(self, tmp_path, fill):
        calibration = write_scan(tmp_path / "s.zarr", 1)["calibration"]
        store_with_zarr(calibration, "exptime", np.full(2, fill), fill_value=fill)
        loads = LoadsStep().run(str(tmp_path / "s.zarr/scan_000001")).bands[0].loads
        assert np.isfinite(loads.solution.gamma).all()
        assert not (loads.means.hot_time > 0.0).any()

    def test_integration_times_of_which_no_chunk_is_stored_are_no_number_of_seconds(self, tmp_path):
        calibration = write_scan(tmp_path / "s.zarr", 1)["calibration"]
        store_with_zarr(calibration, "exptime", np.full(2, 5.0), fill_value=5.0)
        with pytest.raises(LayoutError, match=r"calibration/exptime: 1 of its chunks are not stored, .* value 5.0;"):
            LoadsStep().run(str(tmp_path / "s.zarr/scan_000001"))

    def test_counts_that_cannot_be_read_after_a_scan_do_not_fail_it(self, tmp_path, caplog):
        write_scan(tmp_path / "s.zarr", 1)
        write_scan(tmp_path / "s.zarr", 2, source=False, calibration={"mjd": MJD + SECOND * np.array([100.0, 110.0])})
        (tmp_path / "s.zarr/scan_000002/calibration/data_5d/c/0/0/0/0/0").write_bytes(b"too short")
        assert LoadsStep().run(str(tmp_path / "s.zarr/scan_000001")).bands[0].loads.following is None
        assert "loads of scan 2, which follow it, are passed over" in caplog.text

    def test_those_that_follow_a_scan_do_not_fail_it(self, tmp_path, caplog):
        write_scan(tmp_path / "s.zarr", 1)
        later = {"mjd": MJD + SECOND * np.array([100.0, 110.0]), "thot": np.full(2, 20.0)}
        write_scan(tmp_path / "s.zarr", 2, source=False, calibration=later)
        loads = LoadsStep().run(str(tmp_path / "s.zarr/scan_000001")).bands[0].loads
        assert (loads.following, loads.following_scan) == (None, None)
        assert "loads of scan 2, which follow it, are passed over" in caplog.text
        assert "they look like degrees Celsius" in caplog.text

    def test_a_zero_level_without_a_valid_dump_is_refused(self, tmp_path):
        group = zarr.open_group(tmp_path / "l.zarr", mode="w").create_group("calibration")
        counts = loads_counts(np.ones((4, 2, 1)), 0.0, [300.0, 80.0, 0.0])
        counts[..., 2] = -(2**31)
        write_group(group, counts, ["HOT", "COL", "ZERO"])
        loads = CalibrationGroup(LocalStorePath(tmp_path / "l.zarr"), "calibration", 7)
        with pytest.raises(LayoutError, match="no dump of ZERO is valid in any pixel"):
            loads.means(np.array([["PX00"], ["PX01"]]), StageClock(), LoadRules(1e6))

    def test_a_time_that_is_unknown_is_no_time(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1, calibration={"mjd": np.array([NaN, MJD])})
        assert np.isnan(time_of_loads(LocalStorePath(tmp_path / "s.zarr"), "scan_000001/calibration"))


class TestAttributesOfAScan:
    @pytest.mark.parametrize("value", ["1", None, True, 1.5, [1], {"n": 1}])
    def test_another_number_is_refused(self, tmp_path, value):
        write_scan(tmp_path / "s.zarr", 1).attrs["scan_number"] = value
        with pytest.raises(LayoutError, match=f"attribute scan_number is {re.escape(repr(value))}, expected 1"):
            Session(tmp_path / "s.zarr").open_scan(1)

    @pytest.mark.parametrize("name", ["instmode", "telescope", "frontend"])
    def test_what_decides_must_be_text(self, tmp_path, name):
        write_scan(tmp_path / "s.zarr", 1).attrs[name] = 5
        with pytest.raises(LayoutError, match=f"attribute {name} is 5, expected text"):
            Session(tmp_path / "s.zarr").open_scan(1)
        assert "expected text" in PAGE

    @pytest.mark.parametrize("value", ["461 GHz", [461e9], True])
    def test_a_rest_frequency_that_is_no_number_is_left_out(self, tmp_path, value, caplog):
        write_scan(tmp_path / "s.zarr", 1).attrs["rest_freq_hz"] = value
        assert Session(tmp_path / "s.zarr").open_scan(1).attributes["rest_freq_hz"] is None
        assert "expected a number [Hz]; it is left out" in caplog.text
        assert "it is left out" in PAGE

    @pytest.mark.parametrize("value", [[], "none", 3])
    @pytest.mark.parametrize("where", ["scan_000001", "scan_000001/source/mjd"])
    def test_no_mapping_is_refused(self, tmp_path, where, value):
        write_scan(tmp_path / "s.zarr", 1)
        path = tmp_path / "s.zarr" / where / "zarr.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"attributes": value}))
        with pytest.raises(LayoutError, match=r"attributes are .*, expected a mapping"):
            Session(tmp_path / "s.zarr").open_scan(1)
        assert "expected a mapping" in PAGE
