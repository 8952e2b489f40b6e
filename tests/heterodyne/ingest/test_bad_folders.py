"""Nights of simulated files in which every scan has another fault: each costs its scan, and no other."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.io import fits
from helpers_atm import write_test_atm_table
from helpers_fits import forbid_reading

import cal_pipeline.heterodyne.ingest
from cal_pipeline.core.run.runner import RunFailedError
from cal_pipeline.errors import CalibrationError
from cal_pipeline.ingest import ingest
from cal_pipeline.simulate import Loads, TotalPower, preset, simulate

PROFILE_TEXT = (Path(cal_pipeline.heterodyne.ingest.__file__).parent / "profiles" / "ccat.toml").read_text()

CHANNELS, DUMPS = 8, 2
HEADER = 5760
"""Bytes of the headers of the simulator; 64 bytes of counts follow, filled up to 2880."""


def name_file(scan: int, subscan: int = 4, pixel: int = 1) -> str:
    return f"{scan:06d}_{subscan:04d}_CHAI_PX{pixel:02d}.fits"


def cut(size: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, size)


def rewrite(data: Callable | None = None, *without: str, **cards: object) -> Callable[[Path], None]:
    """Write a file anew with other counts, without some cards, with other ones."""

    def change(path: Path) -> None:
        with fits.open(path, do_not_scale_image_data=True) as file:
            header, counts = file[0].header.copy(), file[0].data.astype(np.int32)
        for key in without:
            del header[key]
        header.update({key.replace("_", "-"): value for key, value in cards.items()})
        image = counts if data is None else data(counts)
        fits.PrimaryHDU(image, header).writeto(path, overwrite=True, output_verify="ignore")

    return change


def put_card(key: str, value: str, instead_of: str | None = None) -> Callable[[Path], None]:
    """Put a value into a header that astropy would not write."""

    def change(path: Path) -> None:
        content = path.read_bytes()
        start = content.index(f"{instead_of or key:<8}=".encode())
        path.write_bytes(content[:start] + f"{key:<8}= {value}".ljust(80).encode("latin-1") + content[start + 80 :])

    return change


def in_all(change: Callable[[Path], None]) -> Callable[[Path], object]:
    """Change all files of the scan."""
    return lambda path: [change(file) for file in path.parent.glob(f"{path.name[:6]}*")]


def with_byte(path: Path) -> None:
    """Give the file a name that is no UTF-8."""
    os.rename(path, os.fsencode(path.parent) + b"/" + path.name.encode().replace(b"CHAI", b"CH\xffI"))


def as_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def as_copy(subscan: int, copy: int) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        scan = int(path.name[:6])
        shutil.copy(path.with_name(name_file(scan, subscan)), path.with_name(name_file(scan, copy)))

    return change


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "header only": (cut(HEADER), r"HDU 0 is truncated: found 0 bytes of data, expected 64"),
    "within the counts": (cut(HEADER + 20), r"HDU 0 is truncated: found 20 bytes of data, expected 64"),
    "within the header": (cut(2000), r"ends within the header of HDU 0: no END in 2000 bytes"),
    "empty": (cut(0), r"is no FITS file: it starts with '', expected 'SIMPLE  ='"),
    "text": (lambda path: path.write_text("hello\n" * 999), r"is no FITS file: it starts with 'hello.*', expected"),
    "dangling link": (as_link, r"cannot be read: .*No such file"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), r"cannot be read: .*no regular file"),
    "no image": (rewrite(lambda counts: None), r"HDU 0 is IMAGE of axes \[\], expected an image of \[channels\]"),
    "cube": (rewrite(lambda counts: np.stack([counts, counts])), r"HDU 0 is IMAGE of axes \[8, 2, 2\], expected"),
    "channels": (rewrite(lambda counts: counts[:, :4]), r"found 4 channels, expected 8 as in .*_PX00\.fits"),
    "huge": (put_card("NAXIS1", "1000000000000"), r"HDU 0 is truncated: found 2880 bytes .*, expected 8000000000000"),
    "negative": (put_card("NAXIS1", "-8"), r"HDU 0: NAXIS1 is -8, expected a whole number from 0"),
    "length in quotes": (put_card("NAXIS1", "'8'"), r"HDU 0: NAXIS1 is '8', expected a whole number from 0"),
    "axes": (put_card("NAXIS", "1000000000"), r"HDU 0: NAXIS is 1000000000, expected a whole number from 0 to 999"),
    "BITPIX": (put_card("BITPIX", "7"), r"HDU 0, keyword BITPIX is 7, expected one of 8, 16, 32, 64, -32, -64"),
    "two files": (
        as_copy(4, 99),
        r"_0099_.* are both ON of receiver '01', array 'CHAI' at MJD 60310.25.*: found two rows for one pixel and",
    ),
    "two loads": (as_copy(1, 98), r"_0001_.*_0098_.* are both HOT of receiver '01'"),
    "no EXPTIME": (rewrite(None, "EXPTIME"), r"no exptime: EXPTIME is not there; expected a number from 1e-06"),
    "no ELEVATIO": (rewrite(None, "ELEVATIO"), r"no elevation: ELEVATIO is not there; expected a number from 0 to"),
    "no PAMB": (rewrite(None, "PAMB"), r"no pamb: PAMB is not there; expected a number from 10 to 850 \[Torr\]"),
    "no TAMB": (rewrite(None, "TAMB"), r"no tamb: TAMB is not there; expected a number from 150 to 350 \[K\]"),
    "no OBSFREQ": (rewrite(None, "OBSFREQ"), r"no signal_freq: OBSFREQ is not there; expected a number.* \[Hz\]"),
    "no FREQRES": (rewrite(None, "FREQRES"), r"no freq_res: FREQRES is not there; expected a number \[Hz\]"),
    "no SOBSMODE": (rewrite(None, "SOBSMODE"), r"no \[\[phase\]\] holds, found SOBSMODE is not there"),
    "no time": (rewrite(None, "MJD-OBS", "DATE-OBS"), r"no mjd: MJD-OBS is not there, DATE-OBS is not there; expected"),
    "text for a number": (rewrite(TAMB="warm"), r"no tamb: TAMB is 'warm'; expected a number from 150 to 350 \[K\]"),
    "text for a reference channel": (rewrite(REFCHAN="x"), r"no ref_channel: REFCHAN is 'x'; expected a number"),
    "text for an offset": (rewrite(FREQOFFS="x"), r"no freq_off: FREQOFFS is 'x'; expected a number \[Hz\]"),
    "text for an image": (rewrite(IMAGFREQ="x"), r"no image_freq: IMAGFREQ is 'x'; expected a number \[Hz\]"),
    "text for a position": (rewrite(LAMOFF="x"), r"no otf_lon: LAMOFF is 'x', .*; expected a number \[deg\]"),
    "text for a pixel": (rewrite(PIXOFFX="x"), r"no pixel_offset_lon: PIXOFFX is 'x'.*; expected a number \[deg\]"),
    "text for a load": (rewrite(THOT="x"), r"no thot: THOT is 'x'; expected a number from 0.1 to 1000 \[K\]"),
    "text for a line": (rewrite(RESTFREQ="x"), r"no rest_freq_hz: RESTFREQ is 'x'; expected a number \[Hz\]"),
    "half a scan": (rewrite(LLOADSN=1.5), r"no lloadsn: LLOADSN is 1.5; expected a whole number"),
    "no frequency": (rewrite(OBSFREQ=0.0), r"no signal_freq: OBSFREQ is 0; expected a number from 1e\+09 to 2e\+13"),
    "text for a scale": (
        put_card("BSCALE", "'two'", instead_of="BUNIT"),
        r"HDU 0, keyword BSCALE is 'two', expected a finite number",
    ),
    "scaled beyond 32 bits": (put_card("BSCALE", "1E9", instead_of="BUNIT"), r"channel 0 .* holds .*, expected -2147"),
    "name that is no text": (with_byte, r"_CH\\udcffI_PX01.fits: the name is no UTF-8"),
    "true for a number": (rewrite(TAMB=True), r"no tamb: TAMB is 'T'; expected a number"),
    "number for a phase": (rewrite(SOBSMODE=3), r"no \[\[phase\]\] holds, found SOBSMODE is 3"),
    "no number at all": (put_card("TAMB", "###"), r"no tamb: TAMB is '###'; expected a number"),
    "NaN": (put_card("TAMB", "NaN"), r"no tamb: TAMB is blank or NaN; expected a number"),
    "infinite": (put_card("TAMB", "Inf"), r"no tamb: TAMB is inf; expected a number"),
    "out of range": (rewrite(TAMB=20.0), r"no tamb: TAMB is 20; expected a number from 150 to 350 \[K\]"),
    "channels of no width": (
        in_all(rewrite(FREQRES=0.0)),
        r"freq_res = 0, expected the width of a channel \[Hz\], which is not 0",
    ),
    "no duration": (rewrite(EXPTIME=0.0), r"no exptime: EXPTIME is 0; expected a number from 1e-06 to 100000 \[s\]"),
    "phase": (rewrite(SOBSMODE="SKYDIP"), r"no \[\[phase\]\] holds, found SOBSMODE is 'SKYDIP'"),
    "small letters": (rewrite(SOBSMODE="on"), r"no \[\[phase\]\] holds, found SOBSMODE is 'on'"),
    "control characters": (put_card("SOBSMODE", "'a\x1b[31m'"), r"found SOBSMODE is 'a\\x1b\[31m'"),
    "beyond 32 bits": (
        rewrite(lambda counts: counts + np.int64(2**40), "BLANK"),
        r"HDU 0, dump 0, channel 0 \(from 0\) holds 10995.*, expected -2147483648 to 2147483647 \(i32\)",
    ),
    "floats beyond 32 bits": (
        rewrite(lambda counts: counts * 0 + np.float32(3e9), "BLANK"),
        r"HDU 0, dump 0, channel 0 \(from 0\) holds 3000000000.*, expected -2147483648 to 2147483647",
    ),
    "infinite counts": (rewrite(lambda counts: counts * np.float32(np.inf), "BLANK"), r"channel 0 .* holds inf"),
    "date of another form": (
        rewrite(None, "MJD-OBS", DATE_OBS="01/02/24"),
        r"no mjd: MJD-OBS is not there, DATE-OBS is '01/02/24'; expected a date in ISO 8601",
    ),
    "no such date": (rewrite(None, "MJD-OBS", DATE_OBS="2024-13-45T99:00:00"), r"DATE-OBS is '2024-13-45T99:00:00'"),
    "number for a date": (rewrite(None, "MJD-OBS", DATE_OBS=5), r"DATE-OBS is 5; expected a date in ISO 8601"),
    "time is NaN": (
        lambda path: (rewrite(None, "DATE-OBS")(path), put_card("MJD-OBS", "NaN")(path)),
        r"no mjd: MJD-OBS is blank or NaN, DATE-OBS is not there; expected",
    ),
    "time before the telescope": (
        lambda path: (rewrite(None, "DATE-OBS")(path), put_card("MJD-OBS", "5.0")(path)),
        r"no mjd: MJD-OBS is 5, DATE-OBS is not there; expected",
    ),
}
"""Changes to the file of the ON of pixel 1 that make its scan fail, and the message after the file's name."""

FILLED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing file": (os.unlink, "source: 1 of 4 pixels x subscans have no row (first: subscan 1 (ON), receiver '01'"),
    "another telescope": (rewrite(TELESCOP="SOFIA"), "source: 1 of 4 pixels x subscans have no row"),
    "short": (
        rewrite(lambda counts: counts[:1]),
        "source: 1 of 4 pixels x subscans have fewer than 2 dumps (first: subscan 1",
    ),
    "one dump without its axis": (
        rewrite(lambda counts: counts[0]),
        "source: 1 of 4 pixels x subscans have fewer than 2 dumps",
    ),
}
"""Changes to that file after which counts are missing, and the warning."""

DOUBTFUL: dict[str, tuple[Callable[[Path], object], str]] = {
    "no REFCHAN": (in_all(rewrite(None, "REFCHAN")), "no ref_channel in 8 of 8 rows (first: "),
    "no IMAGFREQ": (in_all(rewrite(None, "IMAGFREQ")), "no image_freq in 8 of 8 rows (first: "),
    "one pixel at another frequency": (
        rewrite(OBSFREQ=462e3),
        "source: frequencies of receiver '01', array 'CHAI' are ",
    ),
}
"""Changes after which the counts are as they were, and the warning."""

SOUND: dict[str, Callable[[Path], object]] = {
    "first": lambda path: None,
    "no padding": cut(HEADER + 64),
    "more behind": lambda path: path.write_bytes(path.read_bytes() + b"xyz" * 1000),
    "date alone": rewrite(None, "MJD-OBS"),
    "impossible number and a date": rewrite(MJD_OBS=1e300),
    "exponent of Fortran": put_card("TAMB", "2.68D2"),
    "degree sign": put_card("TAMB", "268.0 / [K], not [\xb0]"),
    "scale of one": put_card("BSCALE", "1.0", instead_of="BUNIT"),
    "64 bits": rewrite(lambda counts: counts.astype(np.int64), "BLANK"),
    "floats of whole numbers": rewrite(lambda counts: counts.astype(np.float64), "BLANK"),
    "cube of one plane": rewrite(lambda counts: counts[np.newaxis]),
    "last": lambda path: None,
}
"""Changes after which the scan is as it was."""

NUMBERS = {name: number for number, name in enumerate([*SOUND, *BROKEN, *FILLED, *DOUBTFUL], 10)}
"""Scan of each change."""


@dataclass
class Night:
    """Folder of many scans, and the session that they became in one run."""

    folder: Path
    session: zarr.Group
    error: RunFailedError

    def failures(self, name: str) -> list[dict]:
        return [item for item in self.error.product.failures if item["scan_number"] == NUMBERS[name]]

    def scan(self, name: str) -> zarr.Group:
        return self.session[f"scan_{NUMBERS[name]:06d}"]


@pytest.fixture(scope="module")
def one_scan(tmp_path_factory):
    """A simulated scan and its 8 files: HOT, COL, OFF, ON of two pixels."""
    folder = tmp_path_factory.mktemp("one")
    table = write_test_atm_table(folder / "atm.asdf")
    config = preset(
        "ccat_chai",
        channels=CHANNELS,
        pixels=2,
        table=str(table),
        sequence=TotalPower(pattern=("OFF", "ON"), dumps=DUMPS),
        loads=Loads(dumps=DUMPS),
    )
    return simulate(config, folder / "one.zarr", fits=folder / "one")


def put_scan(files: Path, folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    for file in files.iterdir():
        shutil.copy(file, folder / f"{number:06d}{file.name[6:]}")


@pytest.fixture(scope="module")
def night(one_scan, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    changes = SOUND | {name: change for name, (change, _) in (BROKEN | FILLED | DOUBTFUL).items()}
    for name, change in changes.items():
        put_scan(one_scan.fits, folder / "night", NUMBERS[name])
        change(folder / "night" / name_file(NUMBERS[name]))
    with pytest.raises(RunFailedError) as failed:
        ingest(folder / "night", folder / "s.zarr", profile="ccat")
    return Night(folder / "night", zarr.open_group(folder / "s.zarr", mode="r"), failed.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_file_costs_its_scan_and_says_why(night, name):
    (failure,) = night.failures(name)
    message = failure["message"]
    assert re.search(BROKEN[name][1], message)
    assert f"{NUMBERS[name]:06d}_" in message
    assert message.isprintable()
    assert f"scan_{NUMBERS[name]:06d}" not in night.session


@pytest.mark.slow
def test_the_status_tells_that_some_scans_are_there(night):
    assert night.error.exit_status == 2
    assert night.error.product.written == tuple(sorted(NUMBERS[name] for name in (*SOUND, *FILLED, *DOUBTFUL)))
    assert {item["scan_number"] for item in night.error.product.failures} == {NUMBERS[name] for name in BROKEN}


@pytest.mark.slow
@pytest.mark.parametrize("name", SOUND)
def test_no_other_scan_is_lost(night, one_scan, name):
    truth = zarr.open_group(one_scan.session, mode="r")["scan_000001"]
    for group in ("source", "calibration"):
        found = night.scan(name)[group]
        assert sorted(found.array_keys()) == sorted(truth[group].array_keys())
        for key in ("data_5d", "mjd", "tamb"):
            values = truth[f"{group}/{key}"][...]
            if (name, key) == ("date alone", "mjd"):
                # DATE-OBS is rounded to a millisecond.
                np.testing.assert_allclose(found[key][...], values, rtol=0, atol=0.6e-3 / 86400)
            else:
                np.testing.assert_array_equal(found[key][...], values, err_msg=f"{group}/{key}")


@pytest.mark.slow
@pytest.mark.parametrize("name", FILLED)
def test_what_a_pixel_lacks_is_filled(night, one_scan, name):
    truth = zarr.open_group(one_scan.session, mode="r")["scan_000001/source/data_5d"][...]
    kept = 1 if "fewer" in FILLED[name][1] else 0
    truth[:, kept:, 1, 0, 1] = np.iinfo(np.int32).min
    np.testing.assert_array_equal(night.scan(name)["source/data_5d"][...], truth)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILLED | DOUBTFUL)
def test_what_is_filled_or_assumed_is_warned_of(night, name):
    record = json.loads((night.folder.parent / "s.zarr" / "ingest.json").read_text())
    (warning,) = record["scans"][str(NUMBERS[name])]["warnings"]
    assert warning.startswith((FILLED | DOUBTFUL)[name][1])


def failures_of(paths, session, **settings) -> list[tuple[int | None, str]]:
    with pytest.raises(RunFailedError) as failed:
        ingest(paths, session, **settings)
    return [(item["scan_number"], item["message"]) for item in failed.value.product.failures]


def test_a_file_whose_name_does_not_match_is_listed_without_a_scan(one_scan, tmp_path):
    put_scan(one_scan.fits, tmp_path / "night", 5)
    stray = tmp_path / "night" / "pointing-3.fits"
    shutil.copy(tmp_path / "night" / name_file(5), stray)
    ((number, message),) = failures_of(tmp_path / "night", tmp_path / "s.zarr")
    assert number is None
    assert message.startswith(
        f"{stray}: HDU 0: no scan number: scan is not there, as the name does not match file_name"
    )
    assert [path.name for path in (tmp_path / "s.zarr").glob("scan_*")] == ["scan_000005"]


@pytest.mark.parametrize(("hdu", "missing"), [("1", "1"), ('"COUNTS"', "'COUNTS'")])
def test_no_such_extension(one_scan, tmp_path, hdu, missing):
    profile = tmp_path / "other.toml"
    profile.write_text(PROFILE_TEXT.replace("hdu = 0", f"hdu = {hdu}"))
    ((number, message),) = failures_of(one_scan.fits, tmp_path / "s.zarr", profile=profile)
    assert number == 1
    assert f"{one_scan.fits / name_file(1, 1, 0)}: no HDU {missing}, found HDU 0" in message


def test_one_file_without_the_extension_that_all_others_have(one_scan, tmp_path):
    profile = tmp_path / "other.toml"
    profile.write_text(PROFILE_TEXT.replace("hdu = 0", 'hdu = "COUNTS"'))
    for number in (5, 6):
        put_scan(one_scan.fits, tmp_path / "night", number)
    for path in (tmp_path / "night").iterdir():
        header, counts = fits.getheader(path), fits.getdata(path, do_not_scale_image_data=True)
        name = "SPECTRUM" if path.name == name_file(6) else "COUNTS"
        image = fits.ImageHDU(counts, name=name)
        # A key of the primary header counts where the extension has none.
        fits.HDUList([fits.PrimaryHDU(None, header), image]).writeto(path, overwrite=True)
    ((number, message),) = failures_of(tmp_path / "night", tmp_path / "s.zarr", profile=profile)
    assert number == 6
    assert re.search(rf"{name_file(6)}: no HDU 'COUNTS', found HDU 0.*'SPECTRUM'", message)
    found = zarr.open_group(tmp_path / "s.zarr", mode="r")["scan_000005/source/data_5d"][...]
    np.testing.assert_array_equal(found, zarr.open_group(one_scan.session, mode="r")["scan_000001/source/data_5d"][...])


@pytest.mark.parametrize(
    ("profile", "message"),
    [
        ("great", r"found no scan in 8 files with the profile great, .* TELESCOP is 'CCAT', expected 'SOFIA\*'"),
        ("gret", "there is no profile 'gret'; did you mean 'great'"),
    ],
)
def test_a_profile_of_other_files(one_scan, tmp_path, profile, message):
    with pytest.raises(CalibrationError, match=message):
        ingest(one_scan.fits, tmp_path / "s.zarr", profile=profile)
    assert not (tmp_path / "s.zarr").exists()


@pytest.mark.parametrize(("profile", "files"), [("ccat", "of profile ccat"), ("auto", "of a profile of this package")])
def test_a_folder_without_files(tmp_path, profile, files):
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / "notes.txt").touch()
    with pytest.raises(CalibrationError, match=rf"night holds no file {files}, expected names like \*\.fits"):
        ingest(tmp_path / "night", tmp_path / "s.zarr", profile=profile)


def test_files_that_fit_no_profile(one_scan, tmp_path):
    shutil.copytree(one_scan.fits, tmp_path / "night")
    for path in (tmp_path / "night").iterdir():
        rewrite(TELESCOP="APEX")(path)
    with pytest.raises(
        CalibrationError, match=r"fits none of the profiles .*ccat: TELESCOP is 'APEX', expected CCAT\*"
    ):
        ingest(tmp_path / "night", tmp_path / "s.zarr")


def test_a_file_that_may_not_be_read(one_scan, tmp_path, monkeypatch):
    for number in (5, 6):
        put_scan(one_scan.fits, tmp_path / "night", number)
    secret = tmp_path / "night" / name_file(6)
    forbid_reading(secret, monkeypatch)
    ((number, message),) = failures_of(tmp_path / "night", tmp_path / "s.zarr")
    assert number == 6
    assert f"{secret} cannot be read: " in message
    assert "Permission denied" in message
