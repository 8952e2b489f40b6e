"""A calibrated scan in Python: bands, averages, spectra of specutils, plots."""

from __future__ import annotations

import builtins
import os
import pickle
import re
import shutil

import astropy.units as u
import matplotlib as mpl
import numpy as np
import pytest
import xarray
from helpers_scans import MJD, PIXELS, REST_HZ, A, C, R, S, place, write_scans
from matplotlib import pyplot as plt

from cal_pipeline import open_l1
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.errors import LayoutError, MissingInputError, StoreError
from cal_pipeline.heterodyne.physics.velocity import C_KMS

pytestmark = pytest.mark.slow

BANDS = ("scan_000003/band_0", "scan_000003/band_1")
FAILURE = {"scan_number": 4, "step": "loads", "error_class": "NoLoadsError", "message": "no hot load"}


@pytest.fixture(autouse=True)
def _close_figures():
    with mpl.rc_context({"figure.max_open_warning": 0}):
        yield
    plt.close("all")


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Two scans with one frequency axis, one of two bands, and one that failed."""
    store = tmp_path_factory.mktemp("scan") / "l1.zarr"
    scans = {"scan_000001": {}, "scan_000002": {"verdict": "questionable"}, **{band: {} for band in BANDS}}
    return open_l1(write_scans(store, scans, [FAILURE]))


class TestStoreThatHasGone:
    @pytest.fixture
    def opened(self, tmp_path):
        store = tmp_path / "l1.zarr"
        session = open_l1(write_scans(store, {"scan_000001": {"source": "ORION"}}))
        scan = session[1]
        dataset = session.open_scan(1)
        flat = scan.to_xarray()
        shutil.rmtree(store)
        return session, scan, dataset, flat

    def test_nothing_is_made_of_arrays_that_are_not_there(self, opened):
        _, scan, dataset, flat = opened
        for read in (scan.average, dataset.t_sys.load, flat.spectra.load):
            with pytest.raises(StoreError, match=r"l1.zarr: array scan_000001/\w+ has gone since it was opened"):
                read()

    def test_a_pickled_dataset_knows_it_too(self, opened):
        with pytest.raises(StoreError, match="has gone"):
            pickle.loads(pickle.dumps(opened[2])).spectra.load()

    def test_the_session_says_so(self, opened):
        session = opened[0]
        assert repr(session).splitlines()[2].split() == ["1", *["-"] * 6, "unreadable"]
        assert session.table()["source"].tolist() == [""]
        with pytest.raises(StoreError, match="has no scan 1 any more"):
            session[1]

    def test_chunks_that_were_never_written_are_the_fill_value(self, tmp_path):
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}})
        array = store / "scan_000001" / "t_sys"
        for name in os.listdir(array):
            if name != "zarr.json":
                shutil.rmtree(array / name) if (array / name).is_dir() else (array / name).unlink()
        assert open_l1(store).open_scan(1).t_sys.load().size


def test_failed_scans_alone_have_no_names(tmp_path):
    session = open_l1(write_scans(tmp_path / "l1.zarr", {}, [FAILURE]))
    assert session.table()["source"].tolist() == session.table()["mode"].tolist() == [""]


def test_broken_metadata_are_told_with_their_file(tmp_path):
    store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}})
    (store / "scan_000001" / "zarr.json").write_text("{")
    with pytest.raises(LayoutError, match=r"l1.zarr/scan_000001/zarr.json cannot be read"):
        open_l1(store).open_scan(1)


def test_long_names_are_shortened_where_a_scan_prints_itself(tmp_path):
    session = open_l1(write_scans(tmp_path / "l1.zarr", {"scan_000001": {"source": "X" * 10_000}}))
    assert max(map(len, repr(session[1]).splitlines())) < 160


class TestScan:
    def test_it_prints_what_it_holds(self, session):
        text = repr(session[1])
        assert text.startswith("<CalibratedScan 1: ORION, otf, CCAT CO4-3>")
        assert "16 channels, 2 dumps, 4 ONs" in text
        assert "0.500 ± 0.050 mm" in text
        assert "120 K and not known (DSB)" in text
        assert re.search(r"pixels +6: P00, P01, P10, P11 and 2 more", text)

    def test_what_is_not_known_is_said(self, tmp_path):
        scan = open_l1(write_scans(tmp_path / "l1.zarr", {"scan_000001": {"pwv": None, "verdict": ""}}))[1]
        assert re.search(r"PWV +not known", repr(scan))
        assert re.search(r"verdict +not known", repr(scan))

    def test_attributes_as_recorded(self, session):
        scan = session[1]
        assert scan.attributes["qa"] == scan.quality
        assert scan.pixels == PIXELS
        assert scan.dataset.spectra.dims[2:4] == ("receiver", "array")

    def test_remote_and_packed_stores_are_read_alike(self, session, tmp_path):
        shutil.make_archive(str(tmp_path / "l1.zarr"), "zip", session.path)
        packed = open_l1(tmp_path / "l1.zarr.zip")
        assert packed.table()["pwv_err"][0].to_value(u.mm) == pytest.approx(0.05)
        part = packed[2].to_xarray().sel(pixel="P11").spectra
        assert float(part[3, 1, 2]) == place(3, 1, 1, 1, 2)
        assert packed[1].average().spectrum.shape == (C,)


class TestBands:
    def test_a_band_by_any_name(self, session):
        scan = session[3]
        assert scan.bands == ["band_0", "band_1"]
        for name in (1, "1", "band_1", np.int64(1), "01"):
            assert scan.band(name).group == "scan_000003/band_1"
        assert "bands" in repr(scan)
        assert repr(scan.band(0)).startswith("<CalibratedScan 3 band_0: ORION")

    @pytest.mark.parametrize("band", [2, "band_2", "two", -1])
    def test_a_band_that_is_not_there(self, session, band):
        with pytest.raises(StoreError, match=r"scan 3 has no band .*; it has bands band_0, band_1"):
            session[3].band(band)
        with pytest.raises(StoreError, match=r"scan 1 has no band .*; it has one frequency axis"):
            session[1].band(band)

    @pytest.mark.parametrize("method", ["to_xarray", "velocity", "average", "to_spectrum"])
    def test_one_must_be_chosen(self, session, method):
        with pytest.raises(StoreError, match=r"scan 3 has bands band_0, band_1; choose one, as in scan\.band\(0\)"):
            getattr(session[3], method)()
        assert session[3].band(1).average().spectrum.shape == (C,)


class TestAverage:
    def test_values_are_means_of_places(self, session):
        mean = session[1].average(pixels=["P10", "P21"], subscans=[1, 2], weights="equal")
        expected = np.mean([place(0, d, r, a, s) for d in (0, 1) for r, a in ((1, 0), (2, 1)) for s in (1, 2)])
        np.testing.assert_allclose(mean.spectrum.values, expected + 1e4 * np.arange(C))
        np.testing.assert_allclose(
            mean.velocity.values, session[1].velocity(pixels=["P10", "P21"], subscans=[1, 2]).value
        )

    def test_each_pixel(self, session):
        each = session[1].average(each_pixel=True, pixels=["P21", "P00"])
        assert set(each.pixel.values.tolist()) == {"P00", "P21"}
        alone = session[1].average(pixels="P21")
        np.testing.assert_allclose(each.sel(pixel="P21").spectrum.values, alone.spectrum.values)
        np.testing.assert_allclose(each.sel(pixel="P21").sigma.values, alone.sigma.values)

    def test_files_take_it(self, session, tmp_path):
        for name, each_pixel in (("mean", False), ("each", True)):
            mean = session[1].average(each_pixel=each_pixel)
            mean.to_netcdf(tmp_path / f"{name}.nc", engine="scipy")
            with xarray.open_dataset(tmp_path / f"{name}.nc", engine="scipy") as found:
                np.testing.assert_array_equal(found.spectrum.values, mean.spectrum.values)
                np.testing.assert_array_equal(found.sigma.values, mean.sigma.values)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"pixels": "P0O"}, "has no pixel 'P0O'"),
            ({"subscans": 9}, "has no subscan 9"),
            ({"weights": "tsys"}, "weights 'tsys'"),
            ({"flags": "bad"}, "flags 'bad'"),
        ],
    )
    def test_unknown_names(self, session, arguments, message):
        with pytest.raises(ValueError, match=message):
            session[1].average(**arguments)


class TestSessionAverage:
    @pytest.fixture
    def nights(self, tmp_path):
        """Two scans some days apart, of a line that is in the middle of the first one's band."""
        store = tmp_path / "l1.zarr"
        frequency = REST_HZ + 2e6 * (np.arange(C) - C / 2)
        times = {"scan_000001": MJD, "scan_000002": MJD + 12.0}
        arrays = {group: {"mjd": mjd + np.arange(S) * 1e-4, "signal_freqs": frequency} for group, mjd in times.items()}
        write_scans(store, {group: {} for group in times}, arrays=arrays)
        session = open_l1(store)
        for group, scan in zip(times, session.values(), strict=True):
            line = np.exp(-0.5 * ((scan.velocity().value - session[1].velocity()[8].value) / 1.3) ** 2)
            arrays[group]["spectra"] = np.broadcast_to(line[:, None, None, None, None], (C, 2, R, A, S))
        shutil.rmtree(store)
        return open_l1(write_scans(store, {group: {} for group in times}, arrays=arrays))

    def test_lines_are_aligned_in_the_lsrk(self, nights):
        # Frequencies of the second scan that belong to the same velocity lie lower: the Earth recedes faster.
        moved = float((nights[2].velocity() - nights[1].velocity())[0].value)
        width = C_KMS * 2e6 / REST_HZ
        assert abs(moved) > 2.5 * width
        mean = nights.average()
        assert [abs(shift) for shift in mean.attrs["channel_shifts"]] == [0, round(abs(moved) / width)]
        peak = int(np.nanargmax(mean.spectrum.values))
        assert peak == 8
        assert float(mean.velocity[peak]) == pytest.approx(nights[1].velocity()[8].value, abs=1e-6)
        # Half a channel is left at most.
        assert float(mean.spectrum[peak]) > 0.93

    def test_of_the_telescope(self, nights):
        mean = nights.average(frame="topocent")
        assert mean.attrs["channel_shifts"] == [0, 0]
        assert float(mean.spectrum.max()) < 0.7

    def test_several_sources_are_refused(self, tmp_path):
        scans = {"scan_000001": {"source": "M82"}, "scan_000002": {"source": "DR21"}}
        session = open_l1(write_scans(tmp_path / "l1.zarr", scans))
        with pytest.raises(ValueError, match=r"scans are of 2 sources: M82, DR21; choose one"):
            session.average()
        assert session.select(source="M82").average().attrs["scan_numbers"] == [1]

    def test_without_a_site(self, tmp_path):
        session = open_l1(write_scans(tmp_path / "l1.zarr", {f"scan_00000{k}": {"site_lon_deg": None} for k in (1, 2)}))
        with pytest.warns(UserWarning, match=r"lines move with the Earth: scan 1: .* without site_lon_deg"):
            mean = session.average()
        assert mean.attrs["frame"] == "topocent"
        assert "velocity" not in mean.coords
        with pytest.raises(MissingInputError, match="site_lon_deg"):
            session.average(frame="lsrk")

    def test_bands(self, session):
        assert session.select(scan=3).average(band=1).spectrum.shape == (C,)
        with pytest.raises(StoreError, match="choose one"):
            session.select(scan=3).average()

    def test_no_scan(self, session):
        with pytest.raises(ValueError, match="there is no scan to average"):
            session.select(verdict="failed").average()

    def test_an_unknown_frame(self, session):
        with pytest.raises(ValueError, match=r"frame is 'lsrx'; did you mean"):
            session.select(scan=1).average(frame="lsrx")


class TestSpectrum:
    def test_axis_uncertainty_and_mask(self, session):
        pytest.importorskip("specutils")
        scan = session[1]
        spectrum = scan.to_spectrum(pixels="P10", frame="barycent", convention="optical")
        mean = scan.average(pixels="P10")
        np.testing.assert_allclose(spectrum.flux.to_value(u.K), mean.spectrum.values)
        np.testing.assert_allclose(spectrum.uncertainty.array, mean.sigma.values)
        assert spectrum.uncertainty.uncertainty_type == "std"
        assert not spectrum.mask.any()
        assert spectrum.rest_value.to_value(u.Hz) == REST_HZ
        expected = scan.velocity("barycent", "optical", pixels="P10").to_value(u.km / u.s)
        np.testing.assert_allclose(spectrum.velocity.to_value(u.km / u.s), expected, atol=1e-6)
        assert spectrum.meta["frame"] == "barycent"

    def test_channels_without_a_value_are_masked(self, tmp_path):
        pytest.importorskip("specutils")
        spectra = np.ones((C, 2, R, A, S))
        spectra[5] = np.nan
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}}, arrays={"scan_000001": {"spectra": spectra}})
        assert np.flatnonzero(open_l1(store)[1].to_spectrum().mask).tolist() == [5]

    def test_another_line(self, session):
        pytest.importorskip("specutils")
        spectrum = session[1].to_spectrum(rest_frequency=460.9 * u.GHz)
        assert spectrum.rest_value == 460.9 * u.GHz

    def test_the_extra_is_named(self, session, monkeypatch):
        imported = builtins.__import__

        def refuse(name, *arguments, **settings):
            if name.startswith("specutils"):
                raise ImportError(name)
            return imported(name, *arguments, **settings)

        monkeypatch.setattr(builtins, "__import__", refuse)
        with pytest.raises(ImportError, match=r"pip install 'cal_pipeline\[specutils\]'"):
            session[1].to_spectrum()


class TestPlots:
    def test_one_curve_of_all_pixels(self, session):
        axes = session[1].plot()
        (line,) = axes.get_lines()
        np.testing.assert_allclose(line.get_ydata(), session[1].average().spectrum.values)
        np.testing.assert_allclose(line.get_xdata(), session[1].dataset.signal_freqs.values * 1e-9)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("sky frequency [GHz]", "$T_A^*$ [K]")
        assert axes.get_title() == "scan 1, ORION"

    @pytest.mark.parametrize("frame", ["lsrk", "lsrd", "barycent", "topocent"])
    def test_pixels_over_velocity(self, session, frame):
        axes = session[1].plot(pixels=["P21", "P00"], x=frame)
        assert axes.get_xlabel() == f"velocity ({frame.upper()}, radio convention) [km/s]"
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["P21", "P00"]
        velocity = session[1].velocity(frame, pixels=["P21", "P00"]).value
        np.testing.assert_allclose(axes.get_lines()[0].get_xdata(), velocity)

    def test_on_axes_that_exist(self, session):
        _, axes = plt.subplots()
        assert session[1].plot(axes=axes) is axes
        assert session[2].plot(axes=axes, error=False) is axes
        assert len(axes.get_lines()) == 2
        assert len(axes.collections) == 1

    def test_a_panel_for_each_band(self, session):
        panels = session[3].plot(pixels="P00")
        assert [axes.get_title() for axes in panels] == ["scan 3 band_0, ORION", "scan 3 band_1, ORION"]
        assert session[3].plot_t_sys().shape == (2,)
        assert session[3].plot_sky().shape == (2, 2)
        with pytest.raises(StoreError, match="too many for one pair of axes"):
            session[3].plot(axes=panels[0])
        assert session[3].band(0).plot(axes=panels[0]) is panels[0]

    def test_system_temperature(self, session):
        axes = session[1].plot_t_sys(pixels=["P10", "P01"])
        heights = {line.get_label(): float(line.get_ydata()[0]) for line in axes.get_lines()}
        assert heights == {"P01": 101.0, "P10": 110.0}
        assert axes.get_ylabel() == "$T_{sys}$ (DSB) [K]"

    def test_sky(self, session):
        top, bottom = session[1].plot_sky()
        *observed, fit = top.get_lines()
        assert sorted({float(line.get_ydata()[0]) for line in observed}) == [60.0, 61.0, 62.0]
        # Observed minus fitted is 0.25 K; the median of pixels at 60, 60, 61, 61, 62 and 62 K is 61 K.
        assert float(fit.get_ydata()[0]) == 60.75
        assert float(bottom.get_lines()[0].get_ydata()[0]) == 0.25

    def test_bad_channels_are_gaps(self, tmp_path):
        flags = np.zeros((C, 2, R, A, S), np.uint16)
        flags[7, :, 1, 0] = 1
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {}}, arrays={"scan_000001": {"flags": flags}})
        gaps = [np.isnan(line.get_ydata()) for line in open_l1(store)[1].plot_t_sys().get_lines()]
        assert [np.flatnonzero(gap).tolist() for gap in gaps] == [[], [], [7], [], [], []]

    def test_names_are_text(self, tmp_path):
        store = write_scans(tmp_path / "l1.zarr", {"scan_000001": {"source": "$x^$"}})
        axes = open_l1(store)[1].plot()
        axes.figure.canvas.draw()
        assert axes.get_title() == r"scan 1, \$x^\$"

    def test_an_unknown_axis(self, session):
        with pytest.raises(ValueError, match=r"x is 'freq'; did you mean 'frequency'\?"):
            session[1].plot(x="freq")

    @pytest.mark.parametrize(
        ("method", "label"),
        [
            ("plot_pwv", "PWV [mm]"),
            ("plot_t_sys", "$T_{sys}$, DSB [K]"),
            ("plot_sky", "rms of sky, observed - fit [K]"),
        ],
    )
    def test_series_of_a_session(self, session, method, label):
        axes = getattr(session, method)()
        assert axes.get_ylabel() == label
        assert axes.get_xlabel() == "time (UTC)"
        axes.figure.canvas.draw()
        if method != "plot_sky":
            labels = [text.get_text() for text in axes.get_legend().get_texts()]
            assert labels == ["pass", "questionable", "band_0 pass", "band_1 pass"]
            assert axes.get_title() == "3 scans, 1 without a value"
        else:
            assert axes.get_title() == "0 scans, 4 without a value"

    def test_the_points_are_where_they_should_be(self, session):
        axes = session.select(scan=[1, 2]).plot_pwv()
        line, _, (bars,) = axes.containers[0]
        assert line.get_ydata().tolist() == [0.5]
        np.testing.assert_allclose(bars.get_segments()[0][:, 1], [0.45, 0.55])
        assert str(line.get_xdata()[0])[:16] == "2024-01-01T06:00"


def test_nothing_but_small_arrays_is_read_for_table_and_print(session, monkeypatch):
    read = []
    kept = LocalStorePath.get

    def watch(path, key, *arguments):
        read.append(key)
        return kept(path, key, *arguments)

    monkeypatch.setattr(LocalStorePath, "get", watch)
    again = open_l1(session.path)
    repr(again)
    again.table()
    again[1].attributes["source"]
    assert read
    assert [key for key in read if re.search(r"spectra|flags|sigma|t_sys", key)] == []
