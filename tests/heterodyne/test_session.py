"""Which scans a session has, and which loads belong to them."""

from __future__ import annotations

import logging
import shutil
import zipfile

import numpy as np
import pytest
import zarr
from helpers_l0 import MJD, SECOND, write_array, write_scan

from cal_pipeline.core.text import make_printable
from cal_pipeline.errors import DataReadError, LayoutError, NoLoadsError, StoreError
from cal_pipeline.heterodyne import session
from cal_pipeline.heterodyne.check import check_store
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import LoadsStep

AFTER_SUBSCANS = 30.0


def loads_at(seconds):
    """A calibration group whose mean time is so long after the scans' first subscan."""
    return {"mjd": MJD + SECOND * np.array([seconds - 5.0, seconds + 5.0])}


def choice(store, number=1, interval=3600.0):
    session = Session(store)
    (band,) = session.open_scan(number).bands
    group, reason, _ = session.find_loads(band, interval)
    return group.scan_number, reason


@pytest.fixture
def store(tmp_path):
    """Scan 1 without loads, names scan 9, which is not there."""
    write_scan(tmp_path / "s.zarr", 1, source={"lloadsn": np.full(4, 9, np.int32)}, calibration=False)
    return tmp_path / "s.zarr"


class TestWhichLoads:
    def test_its_own_before_all_others(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1, source={"lloadsn": np.full(4, 2, np.int32)})
        write_scan(tmp_path / "s.zarr", 2)
        assert choice(tmp_path / "s.zarr") == (1, "own")

    def test_the_named_one_however_old(self, store):
        write_scan(store, 9, source=False, calibration=loads_at(-1e6))
        write_scan(store, 2, source=False, calibration=loads_at(-10.0))
        assert choice(store) == (9, "lloadsn")

    def test_named_is_what_the_first_on_names(self, store):
        write_array(_group(store, 1), "lloadsn", np.array([2, 2, 3, 2], np.int32))
        write_array(_group(store, 1), "mjd", MJD + SECOND * np.array([0.0, 20.0, 10.0, 30.0]))
        for number in (2, 3):
            write_scan(store, number, source=False)
        assert choice(store) == (3, "lloadsn")

    def test_the_nearest_in_the_past_before_any_in_the_future(self, store):
        for number, seconds in ((2, -3000.0), (3, -2000.0), (4, AFTER_SUBSCANS + 1.0)):
            write_scan(store, number, source=False, calibration=loads_at(seconds))
        assert choice(store) == (3, "nearest in the past, 2000 s before")

    def test_the_nearest_in_the_future_when_the_past_has_none(self, store):
        for number, seconds in ((2, -3700.0), (3, 2000.0), (4, 1000.0)):
            write_scan(store, number, source=False, calibration=loads_at(seconds))
        assert choice(store) == (4, "nearest in the future, 1000 s after")

    @pytest.mark.parametrize(("seconds", "within"), [(-99.0, True), (-101.0, False), (99.0, True), (101.0, False)])
    def test_within_the_interval_of_the_first_subscan(self, store, seconds, within):
        write_scan(store, 2, source=False, calibration=loads_at(seconds))
        if within:
            assert choice(store, interval=100.0)[0] == 2
        else:
            with pytest.raises(NoLoadsError):
                choice(store, interval=100.0)

    def test_none_says_where_was_searched(self, store):
        words = (
            r"scan 1 \(own\): no calibration group; scan 9 \(lloadsn\): no .*calibration_interval = 3600 s of MJD 60000"
        )
        with pytest.raises(NoLoadsError, match=words):
            choice(store)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("odd", "words"),
        [
            ({"gain": np.ones((5, 2, 1))}, "5, 2, 1"),
            ({"gain": np.ones((4, 3, 1))}, "4, 3, 1"),
            ({"calibration": {"frontend_backends": ["A", "B"]}}, "pixels ['A', 'B']"),
            ({"calibration": {"phases": ["HOT", "SKY"]}}, "has no COLD"),
            ({"calibration": {"thot": None}}, "lacks thot"),
        ],
    )
    def test_another_layout_is_passed_over_with_a_warning(self, store, caplog, odd, words):
        write_scan(store, 9, source=False, **odd)
        write_scan(store, 2, source=False, calibration=loads_at(-500.0))
        with caplog.at_level(logging.WARNING, "cal_pipeline"):
            assert choice(store)[0] == 2
        assert words in caplog.text

    @pytest.mark.parametrize(
        ("changes", "fits"),
        [
            ({"signal_freq": np.full(2, 462.0e9)}, False),
            ({"freq_off": np.full(2, -1.0e9)}, False),
            ({"freq_res": np.full(2, -1.0e6)}, False),
            ({"signal_freq": np.full(2, 461.2e9)}, True),
            ({"signal_freq": np.full(2, np.nan)}, True),
            ({"signal_freq": np.zeros(2)}, True),
            ({"signal_freq": None, "freq_res": None}, True),
        ],
        ids=["retuned", "offset", "turned over", "Doppler shift", "not known", "zero", "absent"],
    )
    def test_another_tuning_is_passed_over_with_a_warning(self, tmp_path, caplog, changes, fits):
        path = tmp_path / "s.zarr"
        write_scan(path, 1, source=False, calibration={"mjd": MJD - SECOND * np.array([900.0, 890.0])})
        write_scan(path, 2, source=False, calibration=changes)
        write_scan(path, 3, source={"lloadsn": np.full(4, 2, np.int32)}, calibration=False)
        later = {"mjd": MJD + SECOND * np.array([100.0, 110.0])}
        write_scan(path, 4, source=False, calibration=changes | later)
        write_scan(path, 5, source=False, calibration={"mjd": MJD + SECOND * np.array([300.0, 310.0])})
        session = Session(path)
        band = session.open_scan(3).bands[0]
        assert session.find_loads(band, 3600.0).group.scan_number == (2 if fits else 1)
        assert session.find_following(band, 3600.0).scan_number == (4 if fits else 5)
        words = "was observed at 462 to 462.003 GHz, expected 461 to 461.003 GHz as the first ON"
        assert (words in caplog.text) == ("signal_freq" in changes and not fits)

    def test_own_ones_of_another_tuning_are_taken_with_a_warning(self, tmp_path, caplog):
        write_scan(tmp_path / "s.zarr", 1, calibration={"signal_freq": np.full(2, 462.0e9)})
        assert choice(tmp_path / "s.zarr") == (1, "own")
        assert "as the first ON; its own loads are taken all the same" in caplog.text

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["mjd", "sobsmode", "data_5d"])
    @pytest.mark.parametrize("damage", ["a scalar", "metadata that are a folder", "a link to itself"])
    def test_nothing_of_other_scans_ends_a_scan_that_looks_for_loads(self, store, name, damage):
        write_scan(store, 2, source=False, calibration=loads_at(-500.0))
        write_scan(store, 3, source=False, calibration=loads_at(-20.0))
        array = store / "scan_000003/calibration" / name
        chunk = next(path for path in array.glob("c/**/*") if path.is_file())
        if damage == "a scalar":
            values = zarr.open_array(array)[...]
            shutil.rmtree(array)
            write_array(zarr.open_group(array.parent), name, values.ravel()[0])
        elif damage == "metadata that are a folder":
            (array / "zarr.json").unlink()
            (array / "zarr.json").mkdir()
        else:
            chunk.unlink()
            chunk.symlink_to(chunk.name)
        # Counts are read only once the loads are chosen.
        assert choice(store)[0] == (3 if (name, damage) == ("data_5d", "a link to itself") else 2)

    def test_a_fault_of_this_package_in_other_scans_is_warned_of(self, store, monkeypatch, caplog):
        write_scan(store, 2, source=False, calibration=loads_at(-500.0))
        write_scan(store, 3, source=False, calibration=loads_at(-20.0))
        read = session.time_of_loads

        def fail(root, group):
            if "000003" in group:
                raise IndexError("tuple index out of range")
            return read(root, group)

        monkeypatch.setattr(session, "time_of_loads", fail)
        assert choice(store)[0] == 2
        assert "scan 3: its loads cannot be read: IndexError: tuple index out of range" in caplog.text

    def test_pixels_in_another_order_are_the_same_layout(self, store):
        write_scan(store, 9, source=False, calibration={"frontend_backends": ["PX01", "PX00"]})
        assert choice(store) == (9, "lloadsn")

    def test_of_a_band_come_from_the_same_band(self, tmp_path):
        for band in ("band_0", "band_1"):
            write_scan(tmp_path / "s.zarr", 1, band=band, calibration=False)
        write_scan(tmp_path / "s.zarr", 2, band="band_1", source=False, calibration=loads_at(-100.0))
        session = Session(tmp_path / "s.zarr")
        first, second = session.open_scan(1).bands
        assert session.find_loads(second, 3600.0).group.scan_number == 2
        with pytest.raises(NoLoadsError, match="scan 1 band_0"):
            session.find_loads(first, 3600.0)


def _group(store, number):
    import zarr

    return zarr.open_group(store, path=f"scan_{number:06d}/source", mode="r+")


class TestBrokenLoads:
    """Loads that are there and cannot be read."""

    HINT = "on_broken_loads=neighbour"

    @pytest.fixture
    def broken(self, tmp_path):
        """Scan 1 with loads of its own, whose times are text, and scan 2 with sound ones 500 s before."""
        store = tmp_path / "b.zarr"
        write_scan(store, 1, calibration={"mjd": np.array(["late", "later"])})
        write_scan(store, 2, calibration=loads_at(-500.0))
        return store

    def test_own_ones_fail_the_scan_by_name_and_no_other(self, broken):
        with pytest.raises(LayoutError, match=r"scan 1: its own loads .*scan_000001/calibration/mjd is of type") as got:
            choice(broken)
        assert self.HINT in str(got.value)
        assert choice(broken, number=2) == (2, "own")

    def test_or_are_passed_over_when_asked_for(self, broken, caplog):
        session = Session(broken)
        (band,) = session.open_scan(1).bands
        found = session.find_loads(band, 3600.0, "neighbour")
        assert (found.group.scan_number, found.reason) == (2, "nearest in the past, 500 s before")
        (words,) = found.passed_over
        assert words.startswith("scan 1 (own): cannot be read: ")
        assert "calibration/mjd is of type" in words
        assert f"loads of {words.replace(': ', ' are passed over: ', 1)}" in caplog.text

    @pytest.mark.parametrize("damage", ["no metadata", "a file"])
    def test_what_is_there_is_never_said_to_be_absent(self, broken, damage):
        place = broken / "scan_000001/calibration"
        (place / "zarr.json").unlink()
        if damage == "a file":
            shutil.rmtree(place)
            place.write_text("loads: see the log book")
        with pytest.raises(LayoutError, match=r"calibration is there, but has no zarr\.json") as got:
            choice(broken)
        assert "no calibration group" not in str(got.value)

    def test_named_ones_are_those_of_another_scan(self, store, caplog):
        write_scan(store, 9, source=False, calibration={"mjd": np.array(["late", "later"])})
        write_scan(store, 2, source=False, calibration=loads_at(-500.0))
        assert choice(store)[0] == 2
        assert "loads of scan 9 (lloadsn) are passed over: cannot be read" in caplog.text

    def test_named_ones_that_are_not_there_are_said(self, store, caplog):
        write_scan(store, 2, source=False, calibration=loads_at(-500.0))
        assert choice(store)[0] == 2
        assert "loads of scan 9 (lloadsn) are passed over: no such scan in the session" in caplog.text

    def spoil_counts(self, store, number):
        (chunk,) = (p for p in (store / f"scan_{number:06d}/calibration/data_5d/c").glob("**/*") if p.is_file())
        chunk.write_bytes(b"too short")

    def loads(self, store, number, **settings):
        return LoadsStep(**settings).run(str(store / f"scan_{number:06d}")).bands[0].loads

    def test_counts_are_read_before_the_choice(self, tmp_path):
        store = tmp_path / "b.zarr"
        write_scan(store, 1)
        write_scan(store, 2, source=False, calibration=loads_at(-100.0))
        write_scan(store, 3, source=False, calibration=loads_at(-500.0))
        for number in (1, 2):
            self.spoil_counts(store, number)
        with pytest.raises(DataReadError, match=r"its own loads .*scan_000001/calibration/data_5d: .*cannot be read"):
            self.loads(store, 1)
        found = self.loads(store, 1, on_broken_loads="neighbour")
        assert found.scan_numbers == (3,)
        assert [words.partition(":")[0] for words in found.passed_over] == [
            "scan 1 (own)",
            "scan 2 (nearest in the past, 100 s before)",
        ]

    def test_the_first_loads_after_a_scan_that_can_be_read(self, tmp_path, caplog):
        store = tmp_path / "b.zarr"
        write_scan(store, 1)
        for number, seconds in ((2, 100.0), (3, 200.0)):
            write_scan(store, number, source=False, calibration=loads_at(seconds))
        self.spoil_counts(store, 2)
        assert self.loads(store, 1).following_scan == 3
        assert "scan 1: loads of scan 2, which follow it, are passed over: " in caplog.text

    @pytest.mark.slow
    def test_provenance_says_what_was_passed_over(self, broken, calibrate):
        fixed = {"strategy": "fixed", "pwv": 1.0}
        product = calibrate(broken, loads={"on_broken_loads": "neighbour"}, atmosphere=fixed)
        found = product.attributes(1)["provenance"]
        assert found["calibration_scans"] == [2]
        assert "scan 1 (own): cannot be read" in found["calibration_passed_over"][0]
        assert product.attributes(2)["provenance"]["calibration_passed_over"] == []
        passed_over = [product.attributes(number)["qa"]["loads_passed_over"] for number in (1, 2)]
        assert passed_over == [1, 0]
        assert "loads_passed_over" in [item["name"] for item in product.attributes(1)["qa"]["verdicts"]]

    @pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd"), RuntimeError("driver")])
    def test_errors_of_any_kind_in_neighbours_do_not_end_a_scan(self, tmp_path, monkeypatch, error):
        store = tmp_path / "b.zarr"
        write_scan(store, 1)
        write_scan(store, 2, calibration=loads_at(-500.0))
        session = Session(store)
        (band,) = session.open_scan(1).bands
        own, _, _ = session.find_loads(band, 3600.0)
        read, members = session.root.get, session.root.members

        def fail(key, function):
            if "000002" in key:
                raise error
            return function(key)

        monkeypatch.setattr(session.root, "get", lambda key: fail(key, read))
        monkeypatch.setattr(session.root, "members", lambda key="": fail(key, members))
        assert session.has_source(2)
        assert session.describe(2) is None
        assert session.in_order_of_time([2, 1]) == [1, 2]
        assert session.find_following(band, 3600.0) is None
        assert len(session.evaluate_loads(own, band, 3, lambda loads: np.ones(1), "key")) == 1

    def test_attributes_of_earlier_loads_that_cannot_be_read(self, tmp_path):
        store = tmp_path / "b.zarr"
        write_scan(store, 1)
        write_scan(store, 2, calibration=loads_at(-500.0))
        session = Session(store)
        scan = session.open_scan(1)
        (store / "scan_000002/zarr.json").unlink()
        (store / "scan_000002/zarr.json").mkdir()
        own = session.find_loads(scan.bands[0], 3600.0).group
        assert len(session.evaluate_loads(own, scan.bands[0], 3, lambda loads: np.ones(1), "key")) == 2

    @pytest.mark.slow
    def test_loads_of_many_scans_do_not_stay_open(self, tmp_path, monkeypatch):
        store = tmp_path / "b.zarr"
        for number in range(1, 9):
            times = MJD + SECOND * (600.0 * number + 10.0 * np.arange(4))
            write_scan(store, number, source={"mjd": times}, calibration=loads_at(600.0 * number - 60.0))
        found = {}
        for most in (1, 64):
            monkeypatch.setattr(session, "_REMEMBERED_GROUPS", most)
            opened = Session(store)
            for number in opened.numbers:
                (band,) = opened.open_scan(number).bands
                own = opened.find_loads(band, 3600.0).group
                values = opened.evaluate_loads(own, band, 3, lambda loads: np.array([loads.mjd]), "key")
                found[most, number] = np.concatenate(values).tolist()
                assert len(opened._calibration) <= most
        assert [len(found[1, number]) for number in range(1, 9)] == [1, 2, 3, 4, 4, 4, 4, 4]
        assert all(found[1, number] == found[64, number] for number in range(1, 9))


class TestScans:
    def test_numbers_and_what_else_lies_about(self, store):
        write_scan(store, 25650)
        (store / "scan_7").mkdir()
        (store / "notes.txt").write_text("windy")
        assert Session(store).numbers == [1, 25650]

    @pytest.mark.parametrize(
        "name",
        ["scan_25650", "scan_025650 (copy)", "scan_02565\u0660", "scan_000001\n", "Scan_000002", "band_0", "x.txt"],
    )
    def test_members_that_are_no_scans_are_named_once(self, store, caplog, name):
        write_scan(store, 2, source=False)
        shutil.copytree(store / "scan_000002", store / name)
        opened = Session(store)
        assert opened.numbers == [1, 2]
        with caplog.at_level("INFO"):
            assert opened.select(None) == [1]
        opened.open_scan(1)
        told, loads = [record.getMessage() for record in caplog.records]
        assert told == f"{store}: {make_printable(name)} left out, expected groups scan_NNNNNN, six digits"
        assert loads == "calibration-only scans: 2"

    @pytest.mark.parametrize("kind", ["file", "folder", "group", "empty source"])
    def test_scans_with_nothing_in_them_fail_by_name(self, store, kind):
        path = store / "scan_000005"
        if kind == "file":
            path.write_text("")
        elif kind == "group":
            zarr.open_group(store, mode="a").create_group("scan_000005", attributes={"scan_number": 5})
        else:
            (path / "source").mkdir(parents=True) if kind == "empty source" else path.mkdir()
        opened = Session(store)
        assert opened.select(None) == [1, 5]
        words = "has no group 'source' nor 'calibration'" if kind == "group" else "no zarr.json in it"
        with pytest.raises(LayoutError, match=f"scan_000005 .*{words}"):
            opened.open_scan(5)

    def test_bands_and_groups_that_are_left_out_are_named(self, tmp_path, caplog):
        store = tmp_path / "s.zarr"
        group = write_scan(store, 1, band="band_0")
        write_scan(store, 1, source=False, band="band_1")
        group.create_group("band_\u0662")
        scan = Session(store).open_scan(1)
        assert [band.name for band in scan.bands] == ["band_0"]
        (told,) = [record.getMessage() for record in caplog.records]
        assert told.startswith(f"{store}/scan_000001: band_1, band_\u0662 left out, expected source and calibration")
        (store / "scan_000001/calibration").mkdir()
        with pytest.raises(LayoutError, match="holds calibration beside band_0, band_1, expected either"):
            Session(store).open_scan(1)

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_objects_twice_in_a_zip_file_are_named(self, store, caplog):
        packed = shutil.make_archive(str(store), "zip", store)
        with zipfile.ZipFile(packed, "a") as file:
            file.write(store / "scan_000001/zarr.json", "scan_000001/zarr.json")
        assert Session(packed).select(None) == [1]
        (told,) = [record.getMessage() for record in caplog.records]
        assert told == f"{packed} holds scan_000001/zarr.json more than once, expected each once; the last one counts"
        assert [finding.path for finding in check_store(packed).findings] == ["scan_000001/zarr.json"]

    def test_one_with_and_without_bands_is_not_passed_over(self, store):
        (store / "scan_000001/band_7").mkdir()
        opened = Session(store)
        assert opened.select(None) == [1]
        assert opened.in_order_of_time([1]) == [1]
        with pytest.raises(LayoutError, match="scan_000001 holds source beside band_7, expected either"):
            opened.open_scan(1)

    def test_one_that_cannot_be_listed_fails_alone(self, store):
        (store / "scan_000005").symlink_to("scan_000005")
        write_scan(store, 2, source=False, calibration=loads_at(-500.0))
        opened = Session(store)
        assert opened.select(None) == [1, 5]
        assert opened.in_order_of_time([5, 1]) == [1, 5]
        assert choice(store)[0] == 2
        with pytest.raises(DataReadError, match=r"scan_000005.* cannot be (read|listed): OSError"):
            opened.open_scan(5)

    def test_calibration_only_scans_are_not_selected(self, store):
        write_scan(store, 2, source=False)
        write_scan(store, 3)
        session = Session(store)
        assert session.select(None) == [1, 3]
        assert session.select("1:3") == [1, 3]
        with pytest.raises(StoreError, match=r"no scan to calibrate is chosen by scans='2'; it has 1, 3"):
            session.select("2")
        with pytest.raises(LayoutError, match=r"has no group 'source' \(calibration only\)"):
            session.open_scan(2)

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("wanted", "numbers"),
        [("2", [2]), ("2,4:9", [2, 4, 5]), (["1", "3:4"], [1, 3, 4]), ([3, "3"], [3]), (None, [1, 2, 3, 4, 5])],
    )
    def test_numbers_and_ranges(self, tmp_path, wanted, numbers):
        for number in range(1, 6):
            write_scan(tmp_path / "s.zarr", number)
        assert Session(tmp_path / "s.zarr").select(wanted) == numbers

    @pytest.mark.parametrize("wanted", ["1:", "a", "-3", "1;2", [""], "1:2:3"])
    def test_what_is_no_selection(self, store, wanted):
        with pytest.raises(StoreError, match="neither a scan number nor a range like 25660:25670"):
            Session(store).select(wanted)

    def test_bands_are_counted_not_spelt(self, tmp_path):
        for band in ("band_0", "band_2", "band_10"):
            group = write_scan(tmp_path / "s.zarr", 1, band=band)
            group[band].attrs["line"] = band.upper()
        group.attrs.update(line="all", source="M82")
        scan = Session(tmp_path / "s.zarr").open_scan(1)
        assert [band.name for band in scan.bands] == ["band_0", "band_2", "band_10"]
        assert [band.attributes["line"] for band in scan.bands] == ["BAND_0", "BAND_2", "BAND_10"]
        assert scan.bands[0].attributes["source"] == "M82"

    def test_nothing_there(self, tmp_path):
        with pytest.raises(StoreError, match="not there"):
            Session(tmp_path / "s.zarr")
        (tmp_path / "v2.zarr").mkdir()
        with pytest.raises(StoreError, match="no Zarr v3 group"):
            Session(tmp_path / "v2.zarr")

    def test_an_empty_zip_file_is_there(self, tmp_path):
        zipfile.ZipFile(tmp_path / "s.zip", "w").close()
        with pytest.raises(StoreError, match=r"s.zip is no Zarr v3 group \(no zarr.json in it\)"):
            Session(tmp_path / "s.zip")

    def test_no_scan_in_it(self, store):
        shutil.rmtree(store / "scan_000001")
        with pytest.raises(StoreError, match="holds no scan; expected groups"):
            Session(store)
        (store / "scan_7").mkdir()
        with pytest.raises(StoreError, match="holds no scan but scan_7; expected groups"):
            Session(store)

    def test_a_number_that_is_not_there(self, store):
        with pytest.raises(LayoutError, match="has no scan 5"):
            Session(store).open_scan(5)
