"""FITS folders of the simulator, read back with astropy: the numbers of L0 in the units of the cards."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.io import fits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cal_pipeline.cli.simulate import main
from cal_pipeline.heterodyne.simulate import fits_folder
from cal_pipeline.heterodyne.simulate.fits_cards import (
    divide_exactly,
    divide_rounded,
    find_start,
    format_card,
    join_cards,
    split_exactly,
)
from cal_pipeline.heterodyne.simulate.fits_headers import GREAT, find_step, offset_cards
from cal_pipeline.heterodyne.simulate.pointing import raster_row
from cal_pipeline.simulate import (
    Faults,
    Loads,
    Otf,
    Scan,
    SimulationError,
    Source,
    Telescope,
    TotalPower,
    simulate,
)

ARCSEC = 1 / 3600


@pytest.fixture
def integers(config):
    return replace(config, dtype="int32")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read(path):
    with fits.open(path, do_not_scale_image_data=True) as file:
        file.verify("exception")
        return file[0].header, file[0].data.astype(np.int32)


def test_counts_and_cards_are_those_of_l0(integers, tmp_path):
    config = replace(integers, faults=Faults(missing_fraction=0.4), source=Source(velocity_kms=-17.3, elevation_deg=50))
    written = simulate(config, tmp_path / "s.zarr", fits=tmp_path / "f")
    assert written.fits == tmp_path / "f"
    assert written.files == len(list(written.fits.iterdir())) == 6 * 4
    source = zarr.open_group(written.session, mode="r")["scan_000001/source"]
    missing = 0
    for s, r, a in np.ndindex(4, 2, 2):
        # The two loads come first.
        header, data = read(written.fits / f"000001_{s + 3:04d}_TEST{'HV'[a]}_PX{r:02d}.fits")
        np.testing.assert_array_equal(data, source["data_5d"][:, :, r, a, s].T)
        missing += int(np.count_nonzero(data == header["BLANK"]))
        assert header["SOBSMODE"] == source["sobsmode"][s]
        assert header["MJD-OBS"] + 3 * header["EXPTIME"] / 2 / 86400 == source["mjd"][s]
        assert header["LAMOFF"] * ARCSEC == source["otf_lon"][s]
        assert header["PIXOFFX"] * ARCSEC == source["pixel_offset_lon"][r, a, s]
        assert np.float32(header["ELEVATIO"] * np.pi / 180) == source["elevation"][s]
        assert np.float32(header["AZIMUTH"] * np.pi / 180) == source["azimuth"][s]
        assert np.float32(header["PAMB"] * 76000 / 101325) == source["pamb"][s]
        assert header["OBSFREQ"] * 1e6 == source["signal_freq"][s]
        assert header["IMAGFREQ"] * 1e6 == source["image_freq"][s]
        assert header["FREQRES"] * 1e6 == source["freq_res"][s]
        assert header["REFCHAN"] - 1 == source["ref_channel"][s]
        assert (header["VLSR"], header["LLOADSN"], header["TAMB"]) == (-17.3, 1, 268.0)
    assert missing % 24 == 0
    assert missing > 0


def test_loads_have_temperatures_and_no_position(integers, tmp_path):
    config = replace(integers, loads=Loads(pattern=("HOT", "COLD", "SKY", "ZERO"), t_hot=293.1), dtype="int32")
    written = simulate(config, tmp_path / "s.zarr", fits=tmp_path / "f")
    headers = [read(written.fits / f"000001_{number:04d}_TESTH_PX00.fits")[0] for number in range(1, 6)]
    assert [header["SOBSMODE"] for header in headers] == ["HOT", "COLD", "SKY", "ZERO", "OFF"]
    # All digits of the 32 bits of L0, though 293.1 would round to them.
    assert headers[0]["THOT"] == np.float32(293.1)
    assert "THOT" not in headers[4]
    assert ["LAMOFF" in header and "PIXOFFX" in header for header in headers] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("name", "offset", "pixel"),
    [("SOFIA", "LAMDEL", "RXDX"), ("NANTEN2", "LAMDEL", "RXDX"), ("FYST", "LAMOFF", "PIXOFFX")],
)
def test_telescopes_have_their_keywords(integers, tmp_path, name, offset, pixel):
    config = replace(integers, telescope=replace(integers.telescope, name=name))
    written = simulate(config, tmp_path / "s.zarr", fits=tmp_path / "f")
    header, _ = read(written.fits / "000001_0003_TESTV_PX01.fits")
    assert header["TELESCOP"] == name
    assert (header[offset], header[pixel]) == (1800.0, 36.0)


def test_tracks_of_a_map(integers, tmp_path):
    config = replace(integers, sequence=Otf(rows=2, dumps=8, step_deg=0.002))
    written = simulate(config, tmp_path / "s.zarr", fits=tmp_path / "f")
    track = zarr.open_group(written.session, mode="r")["scan_000001/source/otf_lon"][:]
    for s in range(4):
        header, _ = read(written.fits / f"000001_{s + 3:04d}_TESTH_PX00.fits")
        start = header["LAMOFF"] * ARCSEC + header["OTFSLAM"] * ARCSEC
        np.testing.assert_array_equal(start + np.arange(8) * (header["OTFVLAM"] * ARCSEC), track[:, s])


def test_bands_are_in_the_file_names(integers, receiver, tmp_path):
    bands = (receiver, replace(receiver, name="HIGH", channels=16, signal_freq=462e9, line="CI"))
    written = simulate(replace(integers, receivers=bands), tmp_path / "s.zarr", fits=tmp_path / "f")
    assert written.files == 2 * 6 * 4
    header, data = read(written.fits / "000001_0004_TESTH-B1_PX01.fits")
    counts = zarr.open_group(written.session, mode="r")["scan_000001/band_1/source/data_5d"]
    np.testing.assert_array_equal(data, counts[:, :, 1, 0, 1].T)
    assert (header["INSTRUME"], header["LINE"]) == ("HIGH", "CI")


@given(number=st.floats(-1e12, 1e12), comment=st.text("abc [/]", max_size=60))
def test_a_card_keeps_all_digits(number, comment):
    card = fits.Card.fromstring(format_card("KEYWORD", number, comment).encode())
    card.verify("exception")
    assert card.value == number


# astropy ends a text at a quote before a blank or a slash, though FITS doubles quotes.
@settings(max_examples=20)
@given(text=st.from_regex(r"(?! )([abXYZ&=]|[ /]|'(?![ /])){0,68}(?<! )", fullmatch=True))
def test_a_card_keeps_text(text):
    assume(len(text.replace("'", "''")) <= 68)
    card = format_card("OBJECT", text, "a comment")
    assert len(card) == 80
    assert fits.Header.fromstring(join_cards([card]).decode())["OBJECT"] == text


@pytest.mark.parametrize("text", ["x" * 69, "'" * 35, " x", "x ", "x\ny", "η"])
def test_text_that_no_card_holds_is_refused(text):
    with pytest.raises(SimulationError, match="at most 68 characters of ASCII") as refused:
        format_card("OBJECT", text)
    assert f"OBJECT = {text!r}" in str(refused.value)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(number):
    with pytest.raises(SimulationError, match=r"VLSR = (nan|inf): a FITS header holds finite numbers only"):
        format_card("VLSR", number)


OFFSETS = st.floats(-2.0, 2.0, allow_subnormal=False).filter(lambda number: abs(number) > 1e-9 or number == 0.0)


@given(target=OFFSETS)
def test_numbers_whose_conversion_gives_the_target(target):
    number, rest = split_exactly(target, ARCSEC)
    assert number * ARCSEC + rest * ARCSEC == target
    assert abs(divide_exactly(target, ARCSEC) * ARCSEC - target) <= np.spacing(abs(target))
    single = float(np.float32(target))
    assert np.float32(divide_rounded(single, np.pi / 180) * (np.pi / 180)) == np.float32(target)


@given(middle=st.floats(40000.0, 80000.0), dumps=st.integers(1, 200), exptime=st.floats(1e-3, 100.0))
def test_the_start_gives_the_middle(middle, dumps, exptime):
    half = dumps * exptime / 2 / 86400
    assert find_start(middle, half) + half == middle


@given(rows=st.integers(1, 9), dumps=st.integers(1, 60), step=st.floats(1e-5, 0.1))
def test_any_row_of_a_raster_has_a_step(rows, dumps, step):
    track, _ = raster_row(rows - 1, rows, dumps, step, 0.004, zigzag=True)
    found = find_step(track) * ARCSEC
    assert np.max(np.abs(track[0] + np.arange(dumps) * found - track)) <= 4 * np.spacing(np.max(np.abs(track)))


def test_a_position_that_takes_two_numbers():
    # No number of 64 bits gives this one when it is multiplied by 1/3600.
    where = 0.007621023553303061
    values = {"otf_lon": np.array([where]), "otf_lat": np.array([0.5])}
    cards = {key: value for key, value, _ in offset_cards(values, 0, GREAT)}
    assert sorted(cards) == ["BETDEL", "LAMDEL", "OTFSLAM"]
    assert cards["LAMDEL"] * ARCSEC + cards["OTFSLAM"] * ARCSEC == where


class Curve(Otf):
    def phases(self):
        return [replace(phase, lon=phase.lon**2) for phase in super().phases()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float64"}, "dtype 'float64': FITS folders hold counts of a spectrometer; choose 'int32'"),
        ({"raw_headers": True}, "raw_headers: FITS folders hold the headers themselves"),
        ({"loads": Loads(pattern=("COL", "HOT"))}, "scan 1: loads in the order COL, HOT; L0 made of FITS files has"),
        ({"sequence": Curve()}, "a track is no straight line in even steps: dump 3 is at 1e-06 deg, "),
        ({"source": Source(name="η Carinae", elevation_deg=50)}, "OBJECT = 'η Carinae': a card of a FITS header"),
        ({"telescope": Telescope("GBT", "gbt", 38.4, 93220.0, 261.0)}, "telescope 'GBT' has no FITS files of one"),
    ],
)
def test_what_does_not_come_back_is_refused(integers, tmp_path, changes, message):
    with pytest.raises(SimulationError, match=message.replace("(", r"\(")):
        simulate(replace(integers, **changes), tmp_path / "s.zarr", fits=tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (("V", "H"), "TEST: arrays V, H; L0 made of FITS files has them sorted by name, each once"),
        (("H", "H"), "arrays H, H"),
        (("10", "9"), "arrays 10, 9"),
        (("a/b",), "TEST: array 'a/b' cannot be part of a file name"),
        (("X-B1",), "array 'X-B1' cannot"),
    ],
)
def test_arrays_that_no_file_name_tells_are_refused(integers, receiver, tmp_path, arrays, message):
    plain = replace(receiver, arrays=arrays, forward_efficiency=0.9)
    with pytest.raises(SimulationError, match=message):
        simulate(replace(integers, receivers=(plain,)), tmp_path / "s.zarr", fits=tmp_path / "f")


def test_arrays_are_sorted_as_numbers_where_all_are(integers, receiver, tmp_path):
    plain = replace(receiver, arrays=("9", "10"), forward_efficiency=0.9)
    assert simulate(replace(integers, receivers=(plain,)), tmp_path / "s.zarr", fits=tmp_path / "f").files == 24


def test_replacing_takes_the_files_of_before_and_nothing_else(integers, tmp_path):
    session, folder = tmp_path / "s.zarr", tmp_path / "f"
    simulate(replace(integers, scans=(Scan(), Scan())), session, fits=folder)
    with pytest.raises(SimulationError, match="f exists; choose another name, or give --overwrite"):
        simulate(integers, tmp_path / "t.zarr", fits=folder)
    assert not (tmp_path / "t.zarr").exists()
    simulate(integers, session, fits=folder, overwrite=True)
    assert {name[:6] for name in contents(folder)} == {"000001"}
    before = contents(folder)
    for foreign in ("notes.txt", "000001_0001_OTHER_PX00.fits"):
        (folder / foreign).write_text("CREATOR = 'somebody'")
        with pytest.raises(
            SimulationError, match=f"{foreign} was not written by cal-simulate, so .*f is never replaced"
        ):
            simulate(replace(integers, seed=1), session, fits=folder, overwrite=True)
        (folder / foreign).unlink()
    assert contents(folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "s.truth.zarr", "s.zarr"]


def test_an_unfinished_folder_never_appears(integers, tmp_path, monkeypatch):
    session, folder = tmp_path / "s.zarr", tmp_path / "f"
    simulate(integers, session, fits=folder)
    before = contents(folder)
    header = fits_folder.SubscanFiles.header
    calls = iter(range(9))

    def failing(self, r, a):
        if next(calls, None) is None:
            raise OSError(28, "No space left on device")
        return header(self, r, a)

    monkeypatch.setattr(fits_folder.SubscanFiles, "header", failing)
    with pytest.raises(OSError, match="No space left"):
        simulate(replace(integers, seed=1), session, fits=folder, overwrite=True)
    assert contents(folder) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "s.truth.zarr", "s.zarr"]


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("s.zarr", "lie in each other"),
        ("s.zarr/fits", "lie in each other"),
        (".", "lie in each other"),
        ("s.truth.zarr", "lie in each other"),
        ("file", "file exists and is no folder"),
    ],
)
def test_folders_that_are_in_the_way(integers, tmp_path, folder, message):
    (tmp_path / "file").touch()
    with pytest.raises(SimulationError, match=message):
        simulate(integers, tmp_path / "s.zarr", fits=tmp_path / folder)


def test_a_url_is_refused(integers, tmp_path):
    with pytest.raises(SimulationError, match="s3://bucket/f is a URL"):
        simulate(integers, tmp_path / "s.zarr", fits="s3://bucket/f")


def test_the_command_tells_of_the_folder(tmp_path, table_path, capsys):
    small = ["--channels", "8", "--pixels", "1", "--cycles", "1", "--atm", str(table_path)]
    assert main(["ccat_chai", str(tmp_path / "s.zarr"), *small, "--fits", str(tmp_path / "night")]) == 0
    assert capsys.readouterr().out.endswith(f"FITS: {tmp_path / 'night'}: 6 files\n")


def test_a_scan_without_loads_and_one_of_loads_only(integers, tmp_path):
    scans = (
        Scan(number=7, calibration_only=True),
        Scan(number=9, loads=Loads(pattern=()), sequence=TotalPower(dumps=2)),
    )
    written = simulate(replace(integers, scans=scans), tmp_path / "s.zarr", fits=tmp_path / "f")
    names = contents(written.fits)
    assert {name[:11] for name in names} == {
        f"{scan}_{n:04d}" for scan, last in (("000007", 2), ("000009", 4)) for n in range(1, last + 1)
    }
    header, data = read(written.fits / "000009_0001_TESTH_PX00.fits")
    assert (header["SCAN"], header["SUBSCAN"], header["LLOADSN"], data.shape) == (9, 1, 7, (2, 24))
    assert read(written.fits / "000007_0001_TESTH_PX00.fits")[0]["OBSMODE"] == "CAL"
