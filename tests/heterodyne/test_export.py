"""Exported files hold what L1 holds, in the terms of their formats."""

from __future__ import annotations

import csv
import functools
import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from astropy import constants, units
from astropy.coordinates import EarthLocation, SkyCoord, SpectralCoord
from astropy.io import fits
from astropy.table import Table
from astropy.time import Time
from astropy.utils import iers
from astropy.wcs import WCS
from helpers_atm import under_one_layer

from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.errors import CalibrationError, OutputExistsError, StoreError, UsageError
from cal_pipeline.heterodyne.export import export_session
from cal_pipeline.simulate import Faults, preset, simulate

pytestmark = pytest.mark.slow

DOCS = Path(__file__).parents[2] / "docs"

C = constants.c.value


@pytest.fixture(scope="module")
def products(tmp_path_factory: pytest.TempPathFactory, atm_table: Path) -> dict[str, Path]:
    """L1 stores by observing mode, which no test may change."""
    folder = tmp_path_factory.mktemp("exported")
    kinds: dict[str, dict[str, Any]] = {
        "otf": {"mode": "otf", "scans": 2, "channels": 32, "faults": Faults(missing_fraction=0.2)},
        "total_power": {"mode": "total_power", "channels": 16},
        "otf_chopped": {"mode": "otf_chopped", "channels": 16},
    }
    made = {}
    for name, settings in kinds.items():
        session, made[name] = folder / f"{name}.zarr", folder / f"{name}_l1.zarr"
        simulate(under_one_layer(preset("ccat_chai", pixels=3, table=str(atm_table), **settings)), session)
        steps = {
            "loads": {"forward_efficiency": 0.95},
            "atmosphere": {"override_atm": str(atm_table)},
            "dbs": {"skip": name != "otf_chopped"},
        }
        CalibrationPipeline.call(str(session), output_file=str(made[name]), steps=steps, configure_log=False)
        # Other programs may flag as well.
        flags = zarr.open_array(made[name] / "scan_000001" / "flags", mode="r+")
        flags[5:7, :, 1] = flags[5:7, :, 1] | 128
    return made


@pytest.fixture(scope="module")
def sdfits(products: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Export a store once as SDFITS; give its table."""
    folder = tmp_path_factory.mktemp("sdfits")
    return functools.cache(lambda kind: read_table(export_session(products[kind], folder / f"{kind}.fits").path))


@pytest.fixture
def copy(products: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """Copy a store, with other attributes: ``copy("otf", rest_freq_hz=None)``."""

    def make(kind: str = "otf", scan: int = 1, **changes: Any) -> Path:
        path = tmp_path / "copy.zarr"
        if not path.exists():
            shutil.copytree(products[kind], path)
        file = path / f"scan_{scan:06d}" / "zarr.json"
        metadata = json.loads(file.read_text())
        held = metadata["attributes"]
        for name, value in changes.items():
            (held["scan_metadata"] if name in held["scan_metadata"] else held)[name] = value
        file.write_text(json.dumps(metadata))
        return path

    return make


def read_table(path: Path, number: int = 1) -> Any:
    """Read a binary table, strictly."""
    with warnings.catch_warnings(action="error"), fits.open(path) as file:
        file.verify("exception")
        assert path.stat().st_size % 2880 == 0
        for column in file[number].columns:
            units.Unit(column.unit or "", format="fits", parse_strict="raise")
        return file[number].copy()


def frequencies_of(row: Any, n_channels: int) -> Any:
    return row["CRVAL1"] + (np.arange(1, n_channels + 1) - row["CRPIX1"]) * row["CDELT1"]


def at(scan: Any, row: Any) -> dict[str, int]:
    return {"dump": row["DUMP"], "receiver": row["FDNUM"], "array": row["PLNUM"], "subscan": row["SUBSCAN"]}


@pytest.mark.parametrize("kind", ["otf", "total_power", "otf_chopped"])
def test_sdfits_holds_the_samples_of_l1(products, sdfits, kind):
    product, table, n_rows = CalibratedSession(products[kind]), sdfits(kind).data, 0
    for number in product.numbers:
        scan, rows = product.open_scan(number).load(), table[table["SCAN"] == number]
        where = tuple(rows[name] for name in ("DUMP", "FDNUM", "PLNUM", "SUBSCAN"))
        pixel = where[1:]
        # An index of arrays after a slice puts the rows last.
        t_a, flags = (scan[name].values[(slice(None), *where)].T for name in ("spectra", "flags"))
        np.testing.assert_array_equal(rows["DATA"], t_a.astype(np.float32))
        np.testing.assert_array_equal(rows["FLAGS"], flags)
        for row in rows[::9]:
            np.testing.assert_allclose(frequencies_of(row, t_a.shape[1]), scan.signal_freqs, rtol=1e-14)
        t_sys = scan.t_sys.where(np.isfinite(scan.sigma)).median("channel").values
        np.testing.assert_array_equal(rows["TSYS"], t_sys[pixel])
        assert rows["SAMPLER"].tolist() == [str(scan.pixel.values[at]) for at in zip(*where[1:3], strict=True)]
        np.testing.assert_allclose(rows["ELEVATIO"], np.degrees(scan.elevation.values[where[3]]))
        # Each spectrum with a number is there once.
        found = np.zeros(scan.spectra.shape[1:], int)
        np.add.at(found, where, 1)
        np.testing.assert_array_equal(found, np.isfinite(scan.spectra).any("channel"))
        n_rows += len(rows)
        for subscan in range(scan.sizes["subscan"]):
            here = rows[rows["SUBSCAN"] == subscan]
            times = dict(zip(here["DUMP"], here["EXPOSURE"], strict=True))
            assert sum(times.values()) == pytest.approx(float(scan.t_int[subscan]))
    assert n_rows == len(table)
    if kind == "otf":
        assert n_rows < sum(product.open_scan(number).spectra[0].size for number in product.numbers)


def test_values_of_the_scan(sdfits):
    row = sdfits("otf").data[0]
    expected = {
        "OBJECT": "SIM-ORION",
        "TELESCOP": "CCAT",
        "LINE": "CO4-3",
        "FRONTEND": "CHAI_LFA",
        "RESTFREQ": 461040768200.0,
        "CTYPE1": "FREQ-OBS",
        "CTYPE2": "RA",
        "CTYPE3": "DEC",
        "CTYPE4": "STOKES",
        "RADESYS": "ICRS",
        "EQUINOX": 2000.0,
        "VELDEF": "RADI-LSR",
        "TRGTLONG": pytest.approx(83.82),
        "TRGTLAT": pytest.approx(-5.39),
        "FORWEFF": 0.95,
        "IFNUM": 0,
    }
    assert {name: row[name] for name in expected} == expected
    assert abs(row["BANDWID"] - 32 * abs(row["CDELT1"])) < 1.0


def test_dumps_follow_each_other_in_time(products, sdfits):
    """The dumps of a map are evenly spread around the middle of the subscan; chop phases share it."""
    for kind, apart in (("otf", True), ("otf_chopped", False)):
        table = sdfits(kind).data
        scan = CalibratedSession(products[kind]).open_scan(1)
        rows = table[(table["SCAN"] == 1) & (table["SUBSCAN"] == 1)]
        times, middle = Time(rows["DATE-OBS"], scale="utc").mjd, Time(scan.mjd.values[1]).mjd
        steps = (times - times.min()) * 86400 - (rows["DUMP"] - rows["DUMP"].min()) * rows["EXPOSURE"] * apart
        assert np.abs(steps).max() < 2e-3
        assert abs(times - middle).max() * 86400 <= 0.5 * len(set(rows["DUMP"])) * rows["EXPOSURE"][0] + 1e-3 + (
            0.2 * len(set(rows["DUMP"])) * rows["EXPOSURE"][0] * apart
        )


@pytest.mark.parametrize("frame", ["icrs", "galactic", "fk4"])
def test_positions_are_those_of_the_tangential_plane(copy, tmp_path, frame):
    """Offsets are true angles on the plane that touches the sky at the source: projection TAN of FITS."""
    lon, lat = 208.99, -19.38
    path = copy(coord_frame=frame, source_lon_deg=lon, source_lat_deg=lat)
    table = read_table(export_session(path, tmp_path / "x.fits", scans="1").path).data
    scan = CalibratedSession(path).open_scan(1).load()
    plane = WCS(naxis=2)
    plane.wcs.ctype, plane.wcs.crval, plane.wcs.cunit = ["GLON-TAN", "GLAT-TAN"], [lon, lat], ["deg", "deg"]
    for row in table[:: len(table) // 3]:
        here = scan.isel(at(scan, row))
        offsets = float(here.otf_lon + here.pixel_offset_lon), float(here.otf_lat + here.pixel_offset_lat)
        # Pixel 0 of the projection is the source, and a pixel is a degree.
        position = SkyCoord(*plane.wcs_pix2world(*offsets, 1), unit="deg", frame=frame)
        shown = SkyCoord(row["CRVAL2"], row["CRVAL3"], unit="deg", frame=row["RADESYS"].lower())
        shown = shown.transform_to(position.frame) if frame == "galactic" else shown
        # Of the galactic axes, astropy's go by way of FK5, which is 0.02 arcsec from ICRS.
        assert position.separation(shown).arcsec < (0.05 if frame == "galactic" else 1e-3)
    assert {row["RADESYS"] for row in table} == {"FK4" if frame == "fk4" else "ICRS"}


def lsrk_frequencies(row: Any, frequencies: Any) -> Any:
    """Convert topocentric frequencies with astropy alone."""
    place = EarthLocation.from_geodetic(row["SITELONG"], row["SITELAT"], row["SITEELEV"])
    with iers.conf.set_temp("auto_download", False), warnings.catch_warnings(action="ignore"):
        observer = place.get_itrs(obstime=Time(row["DATE-OBS"], scale="utc"))
        target = SkyCoord(row["CRVAL2"] * units.deg, row["CRVAL3"] * units.deg, distance=1 * units.kpc)
        found = SpectralCoord(frequencies, unit="Hz", observer=observer, target=target)
        return found.with_observer_stationary_relative_to("lsrk").to_value("Hz")


def test_velocity_of_the_frame(sdfits):
    table = sdfits("otf").data
    for row in table[:: len(table) // 3]:
        frequencies = frequencies_of(row, 32)
        shifted = frequencies * np.sqrt((C + row["VFRAME"]) / (C - row["VFRAME"]))
        apart = (shifted / lsrk_frequencies(row, frequencies) - 1.0) * C
        assert np.abs(apart).max() < 20.0
        assert abs(row["VFRAME"]) > 1e3


def class_axes(row: Any) -> tuple[Any, Any]:
    """Frequencies and velocities as CLASS makes them."""
    channels = np.arange(1, row["MAXIS1"] + 1) - row["CRPIX1"]
    return row["RESTFREQ"] + row["CRVAL1"] + channels * row["CDELT1"], row["VELO-LSR"] + channels * row["DELTAV"]


@pytest.mark.parametrize("velocity", [0.0, 9.0, 1500.0])
def test_class_axes_are_those_of_source_and_lsr(copy, sdfits, tmp_path, velocity):
    path = copy(velocity_source_kms=velocity)
    hdu = read_table(export_session(path, tmp_path / "x.fits", format="class", scans="1").path)
    table = hdu.data
    assert (hdu.name, hdu.header["MAXIS"], hdu.header["MAXIS1"]) == ("MATRIX", 4, 32)
    assert (hdu.header["CTYPE1"], hdu.columns["SPECTRUM"].format) == ("FREQ", "32E")
    reference = sdfits("otf").data[: len(table)]
    scan = CalibratedSession(path).open_scan(1).load()
    for row, other in list(zip(table, reference, strict=True))[:: len(table) // 2]:
        topocentric = row["OBSFREQ"] + (np.arange(1, 33) - row["OBSPIX"]) * row["FREQRES"]
        np.testing.assert_allclose(topocentric, scan.signal_freqs, rtol=1e-14)
        in_lsr = lsrk_frequencies(other, topocentric)
        rest, velocities = class_axes(row)
        np.testing.assert_allclose(velocities, C * (1.0 - in_lsr / 461040768200.0), atol=20.0)
        # A line at the velocity of the source is at its rest frequency in the frame of the source.
        np.testing.assert_allclose(rest, in_lsr / (1.0 - velocity * 1e3 / C), rtol=20.0 / C)
        assert row["VELO-LSR"] == velocity * 1e3
        image = float(scan.image_freqs[0]) / float(scan.signal_freqs[0]) * rest[0]
        assert row["IMAGFREQ"] + row["RESTFREQ"] == pytest.approx(image + rest[0], rel=1e-9)
        assert (row["OBSTIME"], row["TSYS"], row["TELESCOP"]) == (other["EXPOSURE"], other["TSYS"], other["SAMPLER"])
        assert row["CRVAL2"] == 83.82
        assert row["CDELT2"] == pytest.approx(float(scan.isel(at(scan, other)).otf_lon), abs=0.1)


@pytest.mark.parametrize("kind", ["otf", "otf_chopped"])
def test_flagged_channels_are_blank(products, sdfits, tmp_path, kind):
    """CLASS's FITS has its blanking value there, SDFITS NaN if asked to, and CSV nothing."""
    path = products[kind]
    columns = sdfits(kind)
    flagged = columns.data["FLAGS"] != 0
    assert 0 < flagged.mean() < 1
    expected = np.where(flagged, np.nan, columns.data["DATA"])
    blanks = read_table(export_session(path, tmp_path / "b.fits", flags="blank").path)
    np.testing.assert_array_equal(blanks.data["DATA"], expected)
    assert "FLAGS" not in blanks.columns.names
    spectra = read_table(export_session(path, tmp_path / "c.fits", format="CLASS").path)
    blank = spectra.header["BLANK"]
    np.testing.assert_array_equal(spectra.data["SPECTRUM"], np.where(flagged, blank, columns.data["DATA"]))
    with open(export_session(path, tmp_path / "d.csv", format="csv").path) as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    cells = [[row[f"ch{number}"] for number in range(1, expected.shape[1] + 1)] for row in rows]
    np.testing.assert_array_equal(np.array([[float(c or "nan") for c in row] for row in cells], np.float32), expected)


def test_csv_has_the_columns_of_its_comments(products, sdfits, tmp_path):
    done = export_session(products["total_power"], tmp_path / "x.csv", format="csv")
    text = done.path.read_text().splitlines()
    comments = [line for line in text if line.startswith("#")]
    table = Table.read(done.path, format="ascii.csv", comment="#")
    described = [line.split(":")[0].split("[")[0].strip("# ") for line in comments[1:]]
    assert described[: described.index("ch1, ch2, ...")] == table.colnames[:-16]
    reference = sdfits("total_power").data
    for name, other in {
        "t_sys": "TSYS",
        "sigma": "SIGMA",
        "exposure": "EXPOSURE",
        "lon": "CRVAL2",
        "lat": "CRVAL3",
        "frequency": "CRVAL1",
        "ref_channel": "CRPIX1",
        "step": "CDELT1",
        "rest_frequency": "RESTFREQ",
        "frame_velocity": "VFRAME",
        "date_obs": "DATE-OBS",
        "pixel": "SAMPLER",
        "source": "OBJECT",
    }.items():
        np.testing.assert_array_equal(np.asarray(table[name]), reference[other].tolist())


def test_bands_and_numbers_of_channels(products, tmp_path):
    """Each number of channels has a table of its own, or empty cells at the end of a line."""
    path = tmp_path / "bands.zarr"
    path.mkdir()
    shutil.copy(products["otf"] / "zarr.json", path / "zarr.json")
    scan = path / "scan_000001"
    scan.mkdir()
    (scan / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    shutil.copytree(products["otf"] / "scan_000001", scan / "band_0")
    shutil.copytree(products["total_power"] / "scan_000001", scan / "band_1")
    done = export_session(path, tmp_path / "x.fits")
    first, second = read_table(done.path).data, read_table(done.path, 2).data
    assert (first["DATA"].shape[1], second["DATA"].shape[1]) == (32, 16)
    assert ({*first["IFNUM"]}, {*second["IFNUM"]}) == ({0}, {1})
    assert len(first) + len(second) == done.n_spectra
    lines = export_session(path, tmp_path / "x.csv", format="csv")
    with open(lines.path) as file:
        rows = list(csv.reader(line for line in file if not line.startswith("#")))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert lines.n_spectra == done.n_spectra == len(rows) - 1
    table = Table.read(lines.path, format="ascii.csv", comment="#")
    assert {int(row["channels"]) for row in table} == {16, 32}
    assert np.ma.count_masked(table["ch32"][table["band"] == 1]) == len(second)


UNKNOWN = {
    "rest frequency": ({"rest_freq_hz": None}, "rest frequency is not known", {"RESTFREQ": np.nan}),
    "site": ({"site_lat_deg": None}, "local standard of rest are blank", {"SITELAT": np.nan, "VELDEF": "RADI-OBS"}),
    "direction": ({"coord_frame": None}, "positions are blank", {"CRVAL2": np.nan, "RADESYS": "", "EQUINOX": np.nan}),
    "other frame": ({"coord_frame": "galactik"}, "did you mean 'galactic'", {"CRVAL3": np.nan, "RADESYS": ""}),
    "velocity": ({"velocity_source_kms": None}, "velocity of the source is not known", {"VELOCITY": 0.0}),
    "names": ({"line": None, "telescope": None}, None, {"LINE": "", "TELESCOP": ""}),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_is_blank(copy, tmp_path, name):
    changes, note, expected = UNKNOWN[name]
    path = copy("total_power", **changes)
    done = export_session(path, tmp_path / "x.fits")
    row = read_table(done.path).data[0]
    assert [note] * bool(note) == [note for text in done.notes if note and note in text]
    np.testing.assert_equal({key: row[key] for key in expected}, expected)
    one = read_table(export_session(path, tmp_path / "c.fits", format="class").path).data[0]
    frequencies, velocities = class_axes(one)
    assert np.isfinite(frequencies).all()
    assert np.isfinite(velocities).all() == (name not in ("site", "direction", "other frame"))
    if name in ("site", "direction", "other frame"):
        scan = CalibratedSession(path).open_scan(1)
        np.testing.assert_allclose(frequencies, scan.signal_freqs, rtol=1e-14)
    export_session(path, tmp_path / "x.csv", format="csv")


def test_rest_frequency_may_be_given(copy, tmp_path):
    path = copy(rest_freq_hz=None)
    done = export_session(path, tmp_path / "x.fits", scans=[1], rest_frequency=461.04e9)
    assert {*read_table(done.path).data["RESTFREQ"]} == {461.04e9}
    assert done.notes == ()


def test_names_from_the_data_are_escaped(copy, tmp_path):
    path = copy("total_power", source='=1+"η"\x1b[31m,', line="x" * 100)
    row = read_table(export_session(path, tmp_path / "x.fits").path).data[0]
    assert row["OBJECT"] == '=1+"\\u03b7"\\x1b[31m,'
    assert row["LINE"] == "x" * 100
    with open(export_session(path, tmp_path / "x.csv", format="csv").path, encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert {row["source"] for row in rows} == {'\'=1+"η"\\x1b[31m,'}


def spoil(path: Path, scan: int, subscan: int) -> None:
    """Flip bits in the last chunk of a subscan."""
    *_, chunk = sorted((path / f"scan_{scan:06d}" / "spectra").glob(f"c.*.{subscan}"))
    damaged = bytearray(chunk.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    chunk.write_bytes(damaged)


@pytest.mark.parametrize("kind", ["sdfits", "class", "csv"])
def test_a_scan_that_cannot_be_read_leaves_nothing_behind(copy, tmp_path, kind):
    path = copy()
    whole = export_session(path, tmp_path / "whole", format=kind, scans="2").path.read_bytes()
    spoil(path, 1, 2)
    done = export_session(path, tmp_path / "rest", format=kind)
    assert list(done.failures) == [1]
    assert "scan 1: spectra cannot be read" in done.failures[1]
    assert done.path.read_bytes() == whole
    with pytest.raises(StoreError, match="none of 1 scan could be exported; scan 1: spectra"):
        export_session(path, tmp_path / "none", format=kind, scans="1")
    assert not (tmp_path / "none").exists()


def test_scans_that_cannot_be_opened_or_lack_samples(copy, tmp_path):
    path = copy()
    shutil.rmtree(path / "scan_000001" / "t_sys")
    done = export_session(path, tmp_path / "x.fits")
    assert "scan 1 lacks t_sys, expected the arrays of an L1 scan" in done.failures[1]
    next((path / "scan_000002" / "spectra").glob("c.*.1")).unlink()
    with pytest.raises(StoreError, match="scan 1 lacks t_sys"):
        export_session(path, tmp_path / "y.fits")
    with pytest.raises(StoreError, match="of subscan 1 have neither a value nor a flag"):
        export_session(path, tmp_path / "y.fits", scans=[2])


def test_pixels_are_selected_by_name(products, sdfits, tmp_path):
    done = export_session(products["otf"], tmp_path / "x.fits", pixels=["CHAI_PX01"])
    everything = sdfits("otf").data
    chosen = everything[everything["SAMPLER"] == "CHAI_PX01"]
    assert 0 < done.n_spectra < len(everything)
    # The times of a dump are those with all pixels.
    assert read_table(done.path).data.tobytes() == chosen.tobytes()


REFUSED: dict[str, tuple[dict[str, Any], type[CalibrationError], str]] = {
    "format": ({"format": "sdfit"}, UsageError, "did you mean 'sdfits'"),
    "flags": ({"format": "csv", "flags": "column"}, UsageError, "expected blank for the format csv"),
    "rest frequency": ({"rest_frequency": -1.0}, UsageError, "expected a positive number of Hz"),
    "pixel": ({"pixels": ["CHAI_PX1"]}, StoreError, "did you mean 'CHAI_PX"),
    "scan": ({"scans": "7"}, StoreError, "no scan 7; it has 1, 2"),
    "folder": ({"output": "."}, StoreError, "is a folder"),
    "remote": ({"output": "s3://bucket/x.fits"}, StoreError, "is remote"),
    "existing": ({"output": "there.fits"}, OutputExistsError, "there.fits exists"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(products, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("there.fits").write_text("mine")
    settings, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        export_session(products["otf"], **{"output": "x.fits", **settings})
    assert os.listdir() == ["there.fits"]
    assert Path("there.fits").read_text() == "mine"


def test_no_output_in_the_store(copy, tmp_path):
    path = copy()
    with pytest.raises(StoreError, match="is in the L1 store"):
        export_session(path, path / "x.fits")


def test_existing_files_are_replaced_if_asked_to(products, tmp_path):
    path = tmp_path / "x.fits"
    path.write_text("old")
    export_session(products["total_power"], path, overwrite=True)
    assert len(read_table(path).data)
    assert os.listdir(tmp_path) == ["x.fits"]


def test_a_large_file_is_announced(products, tmp_path, monkeypatch, caplog):
    from cal_pipeline.heterodyne.export import formats

    small = {name: vars(kind) | {"large": 1.0} for name, kind in formats.FORMATS.items()}
    monkeypatch.setitem(formats.FORMATS, "csv", formats.Format(**small["csv"]))
    done = export_session(products["total_power"], tmp_path / "x.csv", format="csv")
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "select scans and pixels" in message
    shown, real = float(message.split("about ")[1].split(" MB")[0]), done.path.stat().st_size / 1e6
    assert shown == pytest.approx(real, abs=0.5 * real + 0.05)


def pyspeckit_example() -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec((DOCS / "examples" / "read_with_pyspeckit.py").read_text(), names)
    return names


@pytest.mark.slow
def test_pyspeckit_reads_both(products, tmp_path):
    pytest.importorskip("pyspeckit", exc_type=ImportError)
    example = pyspeckit_example()
    path = products["total_power"]
    scan = CalibratedSession(path).open_scan(1).load()
    sdfits = export_session(path, tmp_path / "x.fits").path
    spectra = export_session(path, tmp_path / "c.fits", format="class").path
    row = read_table(sdfits).data[5]
    with warnings.catch_warnings(action="ignore"):
        found, other = example["read_sdfits"](sdfits, 5), example["read_class"](spectra, 5)
    t_a = scan.isel(at(scan, row)).spectra.values.astype(np.float32)
    flagged = row["FLAGS"] != 0
    np.testing.assert_array_equal(np.ma.filled(found.data, np.nan), t_a)
    np.testing.assert_allclose(found.xarr.to_value("Hz"), scan.signal_freqs, rtol=1e-14)
    assert found.header["TSYS"] == row["TSYS"]
    assert found.xarr.refX.to_value("Hz") == 461040768200.0
    np.testing.assert_array_equal(np.ma.filled(other.data, np.nan), np.where(flagged, np.nan, t_a))
    np.testing.assert_allclose(other.xarr.to_value("Hz"), class_axes(read_table(spectra).data[5])[0], rtol=1e-12)


DYSH = os.environ.get("CAL_PIPELINE_DYSH_PYTHON", "")
"""Python of an environment with dysh, which needs an older pandas than this one may have."""


@pytest.mark.slow
@pytest.mark.skipif(not DYSH, reason="CAL_PIPELINE_DYSH_PYTHON names no Python with dysh")
def test_dysh_reads_sdfits(products, tmp_path):
    path = products["otf"]
    sdfits = export_session(path, tmp_path / "x.fits").path
    script = (DOCS / "examples" / "read_with_dysh.py").read_text()
    done = subprocess.run([DYSH, "-c", script, str(sdfits)], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    row = read_table(sdfits).data[found["row"]]
    scan = CalibratedSession(path).open_scan(int(row["SCAN"])).load()
    spectrum = scan.isel(at(scan, row))
    np.testing.assert_array_equal(np.array(found["t_a"], np.float32), spectrum.spectra.values.astype(np.float32))
    np.testing.assert_array_equal(found["flagged"], spectrum.flags.values != 0)
    np.testing.assert_allclose(found["frequency"], scan.signal_freqs, rtol=1e-14)
    in_lsr = scan.signal_freqs.values * np.sqrt((C + row["VFRAME"]) / (C - row["VFRAME"]))
    np.testing.assert_allclose(found["velocity"], (1.0 - in_lsr / row["RESTFREQ"]) * C * 1e-3, atol=0.02)
    assert (found["unit"], found["t_sys"], found["scans"]) == ("K", row["TSYS"], [1, 2])
