"""What may stand beside the counts: limits, units, types, missing chunks, and what is said of all else."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from helpers_coordinates import PAGE, SHAPE, NaN, read, set_attributes, set_metadata, store_with_zarr
from helpers_l0 import MJD, SECOND, loads_counts, write_array, write_scan
from zarr.codecs import ZstdCodec

from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.core.store.packing import Packing
from cal_pipeline.core.store.shards import ShardIndex
from cal_pipeline.errors import DataReadError, LayoutError, ScanError
from cal_pipeline.heterodyne.l0 import read_coordinates, time_of_loads
from cal_pipeline.heterodyne.schema import CALIBRATION_COORDINATES, SOURCE_COORDINATES
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import LoadsStep, PrepareStep

# Name of the array, values (a number stands for all subscans), words of the refusal that stand in the page.
UNITS = {
    "elevation in degrees": ("elevation", [51.5, 51.6, 120.0, 51.7], "they look like degrees"),
    "pressure in hPa": ("pamb", 1013.25, "they look like hPa (mbar)"),
    "pressure in Pa": ("pamb", 50900.0, "they look like Pa"),
    "frequency in GHz": ("signal_freq", 461.04, "they look like GHz"),
    "frequency in MHz": ("signal_freq", 461040.0, "they look like MHz"),
    "frequency in kHz": ("image_freq", 469.04e6, "they look like kHz"),
    "channel width in MHz": ("freq_res", -0.0763, "they look like MHz"),
    "Julian date": ("mjd", 2400000.5 + MJD, "they look like Julian dates (JD = MJD + 2400000.5)"),
    "Unix time": ("mjd", (MJD - 40587.0) * 86400.0, "they look like Unix time in seconds"),
    "Unix time in ms": ("mjd", (MJD - 40587.0) * 86400e3, "they look like Unix time in milliseconds"),
    "MJD in seconds": ("mjd", MJD * 86400.0, "they look like MJD in seconds"),
    "exposure in ms": ("exptime", 2000.0, "they look like milliseconds"),
    "offsets in arcseconds": ("otf_lon", [0.0, 400.0, -1200.0, 30.0], "they look like arcseconds"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "values", "words"), UNITS.values(), ids=UNITS.keys())
def test_another_unit_is_recognised_and_said(tmp_path, source, name, values, words):
    write_array(source, name, np.broadcast_to(np.asarray(values, np.float64), 4).copy())
    with pytest.raises(LayoutError, match=rf"source/{name} of subscans \[.*expected .*{re.escape(words)}"):
        read(tmp_path)
    assert words in PAGE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        (
            "elevation",
            [0.9, 0.9, 51.6, 0.9],
            r"\[2\] is \[51.6\] rad, expected finite numbers above 0 rad and below pi",
        ),
        ("elevation", [0.9, np.inf, 0.9, -0.1], r"\[1, 3\] is \[inf, -0.1\] rad"),
        (
            "pamb",
            [386.0, 386.0, 386.0, NaN],
            r"\[3\] is \[nan\] Torr, expected finite numbers above 0 Torr and below 825",
        ),
        ("mjd", [MJD, 0.0, MJD, MJD], r"\[1\] is \[0.0\] d, expected finite numbers above 30000 d and below 200000 d"),
        ("exptime", [2.0, 2.0, -2.0, 2.0], r"\[2\] is \[-2.0\] s, expected finite numbers above 0 s and below 1000 s"),
        ("freq_res", [1e6, 0.0, 1e6, 1e6], r"\[1\] is \[0.0\] Hz, expected finite numbers in size above 10 Hz"),
        ("freq_off", [0.0, NaN, 0.0, 0.0], r"\[1\] is \[nan\] Hz, expected finite numbers"),
        ("ref_channel", [0.0, 0.0, np.inf, 0.0], r"\[2\] is \[inf\], expected finite numbers"),
        ("signal_freq", [461e9, 0.0, 461e9, 461e9], r"\[1\] is \[0.0\] Hz, expected .*above 5e\+09 Hz"),
        ("otf_lat", [0.0, 0.0, np.inf, 0.0], r"\[2\] is \[inf\] deg, expected .*below 90 deg"),
    ],
)
def test_numbers_beyond_the_limits_are_shown_with_limits_and_unit(tmp_path, source, name, values, words):
    write_array(source, name, np.array(values))
    with pytest.raises(LayoutError, match=f"{name} of subscans {words}") as caught:
        read(tmp_path)
    assert "look like" not in str(caught.value)


def test_a_long_message_is_cut(tmp_path):
    n = 200
    counts = loads_counts(np.ones((4, 2, 1)), 90.0, [100.0] * n)
    write_scan(
        tmp_path / "s.zarr", 1, source={"phases": ["ON", "OFF"] * (n // 2), "counts": counts, "pamb": np.zeros(n)}
    )
    with pytest.raises(LayoutError, match=r"\(200 subscans\)\] is .*\(200 values\)\] Torr") as caught:
        read_coordinates(LocalStorePath(tmp_path / "s.zarr"), "scan_000001/source", (4, 2, 2, 1, n))
    assert len(str(caught.value)) < 600


class TestSubscansThatNoProductNeeds:
    """Only values that go into a product are checked; others that break the limits are NaN."""

    def test_another_phase(self, tmp_path, source):
        write_array(source, "sobsmode", ["OFF", "ON", "SKY", "OFF"])
        for name, value in (("elevation", 51.0), ("mjd", 0.0), ("exptime", NaN), ("pamb", -999.0), ("freq_res", 0.0)):
            values = {"elevation": 0.9, "mjd": MJD, "exptime": 2.0, "pamb": 386.0, "freq_res": 1e6}[name] * np.ones(4)
            values += (name == "mjd") * 10.0 * SECOND * np.arange(4)
            values[2] = value
            write_array(source, name, values)
        at = read(tmp_path)
        assert np.isnan([at.elevation[2], at.mjd[2], at.exptime[2], at.pamb[2], at.freq_res[2]]).all()
        assert at.time_span == (MJD, MJD + 30.0 * SECOND)

    def test_no_beam_in_a_chopped_scan(self, tmp_path, source):
        write_array(source, "sobsmode", ["OFF", "SWA-ON", "SWA-OFF", "ON"])
        write_array(source, "elevation", np.array([90.0, 0.9, 0.9, NaN]))
        assert np.isfinite(read(tmp_path).elevation).tolist() == [False, True, True, False]
        assert PrepareStep().run(str(tmp_path / "s.zarr")).bands[0].pairing.on.tolist() == [1]
        with pytest.raises(LayoutError, match=r"elevation of subscans \[3, 0\] is unknown .*mode 'auto' leaves"):
            PrepareStep(mode="total_power").run(str(tmp_path / "s.zarr"))

    def test_the_frequency_axis_of_an_off(self, tmp_path, source):
        write_array(source, "signal_freq", np.array([0.0, 461e9, 461e9, 461.0]))
        assert np.isfinite(read(tmp_path).signal_freq).tolist() == [False, True, True, False]

    def test_an_on_without_time_is_not_the_first(self, tmp_path, source):
        write_array(source, "sobsmode", ["ON", "SWA-ON", "SWA-OFF", "SWA-OFF"])
        write_array(source, "mjd", np.array([NaN, MJD, MJD + SECOND, MJD + 2.0 * SECOND]))
        write_array(source, "signal_freq", np.array([1.0, 461e9, 461e9, 461e9]))
        (band,) = Session(tmp_path / "s.zarr").open_scan(1).bands
        assert band.signal_frequency == 461e9

    def test_order_of_scans_by_times_that_are_known(self, tmp_path):
        for number, times in ((1, [NaN, 60000.5, 60000.6, 60000.7]), (2, [60000.1] * 4)):
            phases = ["SKY", "ON", "OFF", "OFF"]
            write_scan(tmp_path / "night.zarr", number, source={"phases": phases, "mjd": np.array(times)})
        assert Session(tmp_path / "night.zarr").in_order_of_time([1, 2]) == [2, 1]


class TestTimes:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (np.full(4, MJD, np.float32), "32 bits hold a day only to 6 minutes"),
            (np.full(4, MJD, np.int32), "expected float64"),
            (np.full(4, MJD, np.int64), "whole days do not tell when a subscan was observed"),
        ],
    )
    def test_too_coarse_types_are_refused(self, tmp_path, source, values, words):
        write_array(source, "mjd", values)
        with pytest.raises(LayoutError, match=rf"source/mjd is of type {values.dtype}, expected float64: .*") as caught:
            read(tmp_path)
        assert words in str(caught.value)
        assert words in PAGE

    def test_those_of_loads_too(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1, calibration={"mjd": np.full(2, MJD, np.float32)})
        (band,) = Session(tmp_path / "s.zarr").open_scan(1).bands
        with pytest.raises(LayoutError, match=r"its own loads are there and cannot be read: .*32 bits hold a day"):
            Session(tmp_path / "s.zarr").find_loads(band, 3600.0)

    def test_whole_numbers_with_a_unit_are_times(self, tmp_path, source):
        write_array(source, "mjd", 1_700_000_000 + np.arange(4))
        set_attributes(source, "mjd", units="seconds since 1970-01-01")
        np.testing.assert_allclose(read(tmp_path).mjd, 40587.0 + (1_700_000_000 + np.arange(4)) / 86400.0, rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float16", "float32", ">f8", "int16", "uint8", "int64"])
def test_other_widths_are_read(tmp_path, source, dtype):
    store_with_zarr(source, "exptime", np.full(4, 2, dtype))
    store_with_zarr(source, "tamb", np.full(4, 250, dtype))
    at = read(tmp_path)
    assert at.exptime.tolist() == [2.0] * 4
    assert at.tamb.tolist() == [250.0] * 4
    assert at.tamb.dtype == np.float64


@pytest.mark.parametrize("values", [np.ones(4, bool), np.ones(4, complex), np.array(["2.0"] * 4)])
def test_what_is_no_number_is_refused(tmp_path, source, values):
    store_with_zarr(source, "exptime", values, dtype=str if values.dtype.kind == "U" else None)
    with pytest.raises(LayoutError, match=r"source/exptime is of type .*, expected numbers \(s\)"):
        read(tmp_path)
    assert "expected numbers (" in PAGE


class TestAttributesThatChangeNumbers:
    @pytest.mark.parametrize(
        ("name", "stored", "attributes", "value"),
        [
            ("elevation", 45.0, {"units": "deg"}, np.pi / 4),
            ("elevation", 450, {"units": "degrees", "scale_factor": 0.1}, np.pi / 4),
            ("tamb", -3.15, {"units": "degC"}, 270.0),
            ("signal_freq", 461.0, {"units": "GHz"}, 461e9),
            ("exptime", 500.0, {"units": "ms"}, 0.5),
            ("elevation", 0.5, {"units": "rad", "long_name": "elevation"}, 0.5),
            ("freq_off", 1.0, {"add_offset": 2.0}, 3.0),
        ],
    )
    def test_are_applied(self, tmp_path, source, name, stored, attributes, value):
        write_array(source, name, np.full(4, stored))
        set_attributes(source, name, **attributes)
        np.testing.assert_allclose(getattr(read(tmp_path), name), value, rtol=1e-12)

    @pytest.mark.parametrize(
        ("name", "attributes", "words"),
        [
            ("elevation", {"units": "K"}, "attribute units is 'K', expected rad"),
            ("pamb", {"scale_factor": 0}, "attribute scale_factor is 0, expected one finite number other than 0"),
            ("sobsmode", {"add_offset": 1}, "attribute add_offset is 1, expected none: it is text"),
        ],
    )
    def test_or_refused(self, tmp_path, source, name, attributes, words):
        set_attributes(source, name, **attributes)
        with pytest.raises(LayoutError, match=f"source/{name}: {words}"):
            read(tmp_path)

    def test_a_marked_value_is_unknown_and_refused_where_it_is_needed(self, tmp_path, source):
        write_array(source, "elevation", np.array([0.9, -1.0, 0.9, 0.9]))
        set_attributes(source, "elevation", _FillValue=-1.0)
        with pytest.raises(LayoutError, match=r"elevation of subscans \[1\] is \[nan\] rad"):
            read(tmp_path)

    def test_a_marked_load_of_other_scans_is_unknown(self, tmp_path, source):
        write_array(source, "lloadsn", np.full(4, 999, np.int32))
        set_attributes(source, "lloadsn", _FillValue=999)
        assert read(tmp_path).lloadsn.tolist() == [-1] * 4


class TestOptionalIntegers:
    @pytest.mark.parametrize("values", [[NaN] * 4, [-1.0] * 4, [7.0, NaN, NaN, 7.0], [-9] * 4])
    def test_unknown_is_as_if_absent(self, tmp_path, source, values):
        write_array(source, "lloadsn", np.array(values))
        session = Session(tmp_path / "s.zarr")
        (band,) = session.open_scan(1).bands
        group, reason, _ = session.find_loads(band, 3600.0)
        assert (group.scan_number, reason) == (1, "own")
        assert session._last_load(band) is None

    def test_unknown_without_loads_of_its_own(self, tmp_path):
        write_scan(tmp_path / "s.zarr", 1, source={"lloadsn": np.full(4, NaN)}, calibration=False)
        write_scan(tmp_path / "s.zarr", 2, source=False)
        session = Session(tmp_path / "s.zarr")
        (band,) = session.open_scan(1).bands
        assert session.find_loads(band, 3600.0).reason == "nearest in the past, 55 s before"

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int8, np.uint16])
    def test_any_width(self, tmp_path, source, dtype):
        store_with_zarr(source, "lloadsn", np.full(4, 101, dtype))
        assert read(tmp_path).lloadsn.tolist() == [101] * 4

    @pytest.mark.parametrize("value", [101.5, np.inf, 1e30])
    def test_no_whole_number_is_refused(self, tmp_path, source, value):
        write_array(source, "lloadsn", np.full(4, value))
        with pytest.raises(LayoutError, match=r"source/lloadsn of subscans \[1, 2\] is .*whole numbers"):
            read(tmp_path)
        assert "expected whole numbers" in PAGE


class TestChunksThatAreNotStored:
    @pytest.mark.parametrize("name", ["freq_off", "ref_channel", "lloadsn", "otf_lon", "pixel_offset_lat"])
    def test_none_of_a_legitimate_fill_value_is_a_line_in_the_log(self, tmp_path, source, name, caplog):
        shape = (2, 1, 4) if name.startswith("pixel") else (4,)
        store_with_zarr(source, name, np.zeros(shape))
        with caplog.at_level(logging.INFO, "cal_pipeline"):
            at = read(tmp_path)
        assert (getattr(at, name) == 0.0).all()
        assert f"no chunk is stored of {name}; fill values are taken" in caplog.text
        assert "no chunk is stored of" in PAGE

    def test_all_that_are_filled_share_a_line(self, tmp_path, source, caplog):
        for name in ("freq_off", "ref_channel"):
            store_with_zarr(source, name, np.zeros(4))
        with caplog.at_level(logging.INFO, "cal_pipeline"):
            read(tmp_path)
        assert [r.getMessage().partition("source: ")[2] for r in caplog.records] == [
            "no chunk is stored of freq_off, ref_channel; fill values are taken"
        ]

    @pytest.mark.parametrize(
        ("name", "value"), [("elevation", 0.0), ("tamb", 0.0), ("mjd", NaN), ("signal_freq", 0.0), ("exptime", 0)]
    )
    def test_none_of_another_array_is_refused(self, tmp_path, source, name, value):
        store_with_zarr(source, name, np.full(4, value), fill_value=value)
        with pytest.raises(LayoutError, match=f"source/{name}: 1 of its chunks are not stored, .*expected every chunk"):
            read(tmp_path)
        assert "of its chunks are not stored" in PAGE

    def test_some_are_refused_even_of_a_legitimate_fill_value(self, tmp_path, source):
        store_with_zarr(source, "freq_off", np.array([0.0, 1e6, 1e6, 0.0]), chunks=(1,))
        with pytest.raises(LayoutError, match="source/freq_off: 2 of its chunks are not stored"):
            read(tmp_path)

    def test_inner_chunks_of_a_shard(self, tmp_path, source):
        store_with_zarr(source, "ref_channel", np.array([0.0, 0.0, 3.0, 3.0]), chunks=(1,), shards=(4,))
        with pytest.raises(LayoutError, match="source/ref_channel: 2 of its chunks are not stored"):
            read(tmp_path)

    def test_a_shard_that_holds_all(self, tmp_path, source):
        store_with_zarr(
            source, "ref_channel", [0.0, 0, 3, 3], chunks=(2,), shards=(4,), config={"write_empty_chunks": True}
        )
        assert read(tmp_path).ref_channel.tolist() == [0.0, 0.0, 3.0, 3.0]

    def test_stored_values_that_equal_the_fill_value_are_values(self, tmp_path, source):
        store_with_zarr(source, "tamb", np.full(4, 268.0), fill_value=268.0, config={"write_empty_chunks": True})
        assert read(tmp_path).tamb.tolist() == [268.0] * 4

    def test_absent_chunks_of_text_are_refused(self, tmp_path, source):
        store_with_zarr(source, "sobsmode", ["", "", "", ""], dtype=str)
        with pytest.raises(LayoutError, match="source/sobsmode: 1 of its chunks are not stored"):
            read(tmp_path)

    def test_chunks_that_do_not_decode(self, tmp_path, source):
        source.create_array("tamb", data=np.full(4, 268.0), overwrite=True, compressors=ZstdCodec(checksum=True))
        path = tmp_path / "s.zarr/scan_000001/source/tamb/c/0"
        path.write_bytes(path.read_bytes()[:5])
        with pytest.raises(LayoutError, match="source/tamb cannot be read: "):
            read(tmp_path)


class TestText:
    PHASES = ("OFF", "ON", "ON", "OFF")

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("values", "dtype"),
        [
            (np.array(PHASES, "S12"), None),
            (np.array([p.ljust(8) for p in PHASES], "S12"), None),
            (np.array(PHASES, "U12"), "U12"),
            (np.array([f" {p}\0\0" for p in PHASES], object), str),
            (np.array([p.encode() for p in PHASES], object), "variable_length_bytes"),
        ],
        ids=["bytes", "bytes with blanks", "UTF-32", "NULs", "bytes of any length"],
    )
    def test_of_any_type_is_decoded(self, tmp_path, source, values, dtype):
        store_with_zarr(source, "sobsmode", values, dtype=dtype)
        at = read(tmp_path)
        assert at.sobsmode.tolist() == list(self.PHASES)
        assert at.sobsmode.dtype.kind == "U"

    def test_letters_beyond_ascii(self, tmp_path, source):
        store_with_zarr(source, "frontend_backends", np.array(["Ä0".encode(), "Ä1".encode()], "S8"))
        assert read(tmp_path).pixel.tolist() == [["Ä0"], ["Ä1"]]

    def test_bytes_that_are_no_utf_8_are_refused(self, tmp_path, source):
        store_with_zarr(source, "frontend_backends", np.array([b"PX\xc4", b"PX1"], "S4"))
        with pytest.raises(
            LayoutError, match=r"frontend_backends is of type .*S4 and holds b'PX\\xc4', expected text in U"
        ):
            read(tmp_path)
        assert "expected text in UTF-8" in PAGE

    def test_numbers_are_refused(self, tmp_path, source):
        write_array(source, "sobsmode", np.arange(4))
        with pytest.raises(LayoutError, match="source/sobsmode is of type int64 and holds 0, expected text"):
            read(tmp_path)

    def test_loads_with_bytes_belong_to_a_scan_with_text(self, tmp_path):
        group = write_scan(tmp_path / "s.zarr", 1)["calibration"]
        store_with_zarr(group, "frontend_backends", np.array(["PX00", "PX01"], "S9"))
        store_with_zarr(group, "sobsmode", np.array(["HOT", "COL"], "S9"))
        session = Session(tmp_path / "s.zarr")
        (band,) = session.open_scan(1).bands
        assert session.find_loads(band, 3600.0).reason == "own"
        assert time_of_loads(session.root, "scan_000001/calibration") == pytest.approx(MJD - 55 * SECOND, abs=1e-9)


class TestFrequencyAxis:
    """It is checked before any loads are looked for."""

    def solve(self, tmp_path, **parameters):
        return LoadsStep(**parameters).run(str(tmp_path / "s.zarr")).bands[0].loads

    @pytest.mark.parametrize("value", [0.0, NaN])
    def test_an_image_that_is_unknown_matters_where_there_is_one(self, tmp_path, value):
        write_scan(tmp_path / "s.zarr", 1, source={"image_freq": np.full(4, value)})
        with pytest.raises(LayoutError, match=r"image_freq of the first ON is .*give image_gain = 0"):
            self.solve(tmp_path)
        assert np.isfinite(self.solve(tmp_path, image_gain=0.0).solution.gamma).all()

    @pytest.mark.parametrize(("res", "sideband"), [(-4e11, "signal"), (4e11, "image")])
    def test_channels_below_0_hz_are_refused(self, tmp_path, res, sideband):
        write_scan(
            tmp_path / "s.zarr", 1, source={"freq_res": np.full(4, res / 100), "ref_channel": np.full(4, -150.0)}
        )
        with pytest.raises(
            LayoutError, match=f"frequencies of the {sideband} sideband go from -.*expected all above 0 Hz"
        ):
            self.solve(tmp_path)


class TestThePageOnCounts:
    """The page quotes what is said of counts."""

    @pytest.mark.parametrize(
        ("attributes", "words"),
        [
            ({"BZERO": 32768}, "which would change what the numbers mean"),
            ({"units": "dB"}, "expected counts on a linear scale"),
            ({"scale_factor": 0}, "attribute scale_factor is 0, expected one finite number other than 0"),
        ],
    )
    def test_attributes(self, attributes, words):
        with pytest.raises(LayoutError, match=words):
            Packing.for_counts("data_5d", attributes, np.dtype("int16"))
        assert words in PAGE

    @pytest.mark.parametrize(
        ("counts", "words"),
        [
            (
                np.zeros((4, 2, 2, 1), np.int32),
                "expected the 5 axes channel, dump, receiver, array, subscan of integers",
            ),
            (np.zeros((4, 2, 2, 0, 4), np.int32), "it holds nothing"),
        ],
    )
    def test_counts_of_another_shape_are_refused(self, tmp_path, source, counts, words):
        store_with_zarr(source, "data_5d", counts)
        with pytest.raises(LayoutError, match=words):
            Session(tmp_path / "s.zarr").open_scan(1)
        assert words in PAGE

    def test_shards_within_shards(self):
        inner = {"name": "sharding_indexed", "configuration": {"chunk_shape": [1], "codecs": []}}
        codecs = [{"name": "sharding_indexed", "configuration": {"chunk_shape": [2], "codecs": [inner]}}]
        words = "expected sharding_indexed alone and one level of shards"
        with pytest.raises(ValueError, match=words):
            ShardIndex.from_metadata(codecs, (4,))
        assert words in PAGE


class TestAxes:
    @pytest.mark.parametrize(
        ("name", "names"),
        [
            ("data_5d", ["channel", "dump", "array", "receiver", "subscan"]),
            ("data_5d", ["S", "D", "R", "A", "C"]),
            ("pixel_offset_lon", ["array", "receiver", "subscan"]),
        ],
    )
    def test_that_are_named_in_another_order_are_refused(self, tmp_path, source, name, names):
        write_array(source, "pixel_offset_lon", np.zeros((2, 1, 4)))
        set_metadata(source, name, dimension_names=names)
        with pytest.raises(
            LayoutError, match=f"source/{name}: dimension_names are {', '.join(names).lower()}, expected"
        ):
            Session(tmp_path / "s.zarr").open_scan(1)
        assert "dimension_names are" in PAGE

    @pytest.mark.parametrize("names", [None, ["c", "d", "r", "a", "s"], ["x", None, "receiver", "array", "channel"]])
    def test_of_other_names_are_those_of_the_format(self, tmp_path, source, names):
        set_metadata(source, "data_5d", dimension_names=names)
        assert Session(tmp_path / "s.zarr").open_scan(1).bands[0].coordinates.shape == SHAPE

    @pytest.mark.parametrize(
        "changes",
        [
            {"shape": [4, 2, 2, 1, -4]},
            {"shape": [4, 2, 2, 1]},
            {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 2, 2, 1, 4]}}},
        ],
    )
    def test_of_a_length_that_none_has_are_refused(self, tmp_path, source, changes):
        set_metadata(source, "data_5d", **changes)
        with pytest.raises(LayoutError, match=r"source/data_5d cannot be opened as an array: .*its shape is"):
            Session(tmp_path / "s.zarr").open_scan(1)


def test_a_folder_in_place_of_a_chunk_is_no_chunk_of_zeros(tmp_path, source):
    chunk = tmp_path / "s.zarr/scan_000001/source/data_5d/c/0/0/0/0/0"
    chunk.unlink()
    chunk.mkdir()
    with pytest.raises(DataReadError, match=r"source/data_5d: .* cannot be read: .*is no regular file"):
        PrepareStep().run(str(tmp_path / "s.zarr/scan_000001"))


@pytest.mark.parametrize(("name", "error"), [("tamb", OSError("no answer")), ("sobsmode", RuntimeError("broken"))])
def test_what_a_store_raises_is_an_error_of_the_scan(tmp_path, source, monkeypatch, name, error):
    get = LocalStorePath.get

    def fail(root, key):
        if f"{name}/c/" in key:
            raise error
        return get(root, key)

    monkeypatch.setattr(LocalStorePath, "get", fail)
    with pytest.raises(ScanError, match=f"source/{name} cannot be read: {type(error).__name__}: {error}"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "spec"), {**SOURCE_COORDINATES, **CALIBRATION_COORDINATES}.items())
def test_the_page_names_every_array_and_every_unit_that_is_recognised(name, spec):
    assert f"``{name}``" in PAGE
    for other in spec.lookalikes:
        assert re.sub(r"Unix time in | \((MJD|divide).*", "", other.name) in PAGE
