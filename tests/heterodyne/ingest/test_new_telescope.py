"""A new telescope needs one profile and no code: the guide on it, on files whose answer is known by construction."""

from __future__ import annotations

import json
import shlex
import textwrap
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.io import fits

from cal_pipeline import open_l1
from cal_pipeline.cli import calibrate

# [the files]
CHANNELS, DUMPS, HORNS, POLARISATIONS = 256, 3, (1, 2, 3), ("X", "Y")
F_REF, DF, PIX_REF = 97980.953, -0.5, 129  # MHz, MHz, and the number of a channel counted from 1
OPACITY, FORWARD_EFFICIENCY = 0.11, 0.92
AIR, BACKGROUND = 281.05, 2.725  # K
SEQUENCE = ("VANE", "BLANK", "SLEW", "REF", "SRC", "SLEW", "REF", "SRC", "REF")
ELEVATION = {"VANE": 40.0, "BLANK": 64.0, "SLEW": 58.0}  # deg
SOURCE_ELEVATION = 52.0  # deg, of all others


def brightness(temperature):
    """Temperature on the Rayleigh-Jeans scale in each channel [K]."""
    hertz = 1e6 * (F_REF + DF * (np.arange(1, CHANNELS + 1) - PIX_REF))
    quantum = 6.62607015e-34 * hertz / 1.380649e-23
    return quantum / np.expm1(quantum / temperature)


def antenna_temperature():
    """T_A* of the source in each channel [K]: a continuum and a line."""
    return 1.5 + 6.0 * np.exp(-0.5 * ((np.arange(CHANNELS) - 100) / 9.0) ** 2)


def received(state, vane):
    """Temperature at the input of the receiver [K]."""
    if state == "VANE":
        return brightness(vane)
    through = np.exp(-OPACITY / np.sin(np.deg2rad(ELEVATION.get(state, SOURCE_ELEVATION))))
    sky = through * brightness(BACKGROUND) + (1.0 - through) * brightness(AIR)
    source = antenna_temperature() if state == "SRC" else 0.0
    return FORWARD_EFFICIENCY * (sky + through * source) + (1.0 - FORWARD_EFFICIENCY) * brightness(AIR)


def write_file(folder, scan, vane, states=SEQUENCE, vane_reading=None):
    """Write the file of a scan: the rows of all pixels of a dump follow each other."""
    rng = np.random.default_rng(scan)
    pixels = [(horn, polarisation) for horn in HORNS for polarisation in POLARISATIONS]
    gains = 1000.0 * rng.uniform(0.5, 2.0, (len(pixels), 1)) * rng.uniform(0.9, 1.1, CHANNELS)
    receivers = rng.uniform(60.0, 90.0, len(pixels))  # receiver temperatures [K]
    clock, rows = datetime(2026, 11, 14, 3, scan), []
    for state in states:
        for _ in range(DUMPS):
            for (horn, polarisation), gain, t_rec in zip(pixels, gains, receivers, strict=True):
                noise = 1.0 + 1e-5 * rng.normal(size=CHANNELS)
                power = gain * (t_rec + received(state, vane)) * noise
                rows.append((power, state, horn, polarisation, clock.isoformat(timespec="milliseconds")))
            clock += timedelta(seconds=2.0)
        clock += timedelta(seconds=5.0)
    power, state, horn, polarisation, start = zip(*rows, strict=True)
    alike = {
        "INT_MS": 2000.0,
        "AZ": 131.0,
        "T_AIR": AIR - 273.15,
        "T_VANE": vane - 273.15 if vane_reading is None else vane_reading,
        "BARO": 640.0,
        "F_REF": F_REF,
        "DF": DF,
        "PIX_REF": PIX_REF,
    }
    columns = [
        fits.Column("POWER", f"{CHANNELS}E", array=np.array(power)),
        fits.Column("STATE", "8A", array=np.array(state)),
        fits.Column("HORN", "I", array=np.array(horn)),
        fits.Column("POL", "1A", array=np.array(polarisation)),
        fits.Column("T_START", "23A", array=np.array(start)),
        fits.Column("EL", "D", array=np.array([ELEVATION.get(name, SOURCE_ELEVATION) for name in state])),
        *(fits.Column(name, "D", array=np.full(len(rows), value)) for name, value in alike.items()),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="OBSDATA")
    table.header.update(TELESCOP="PAMPA 12m", RX="HORNS3", TARGET="Orion KL", LINE="CS2-1", OBSERVER="A. Nyone")
    table.header.update(RESTGHZ=97.9809533, VSRC=9000.0, RA=83.809 / 15.0, DEC=-5.3724)
    table.writeto(folder / f"pampa_20261114_{scan:04d}.fits")


# [end of the files]

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "own_files.rst"


def read_block(language):
    """Read the only block of a language on the page."""
    _, after = PAGE.read_text(encoding="utf-8").split(f".. code-block:: {language}\n\n")
    lines = after.split("\n")
    end = next(i for i, line in enumerate(lines) if line and not line.startswith("   "))
    return textwrap.dedent("\n".join(lines[:end]))


def read_commands():
    return [shlex.split(line) for line in read_block("bash").replace("\\\n", " ").splitlines() if line]


def run_commands(folder, commands):
    """Run commands of the page in a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, *arguments in commands:
            assert name == "calibrate"
            assert calibrate.main(arguments) == 0, arguments
            assert (folder / "pampa.zarr").exists() != ("--dry-run" in arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which the commands of the page were run, but for the last."""
    folder = tmp_path_factory.mktemp("pampa")
    (folder / "raw").mkdir()
    (folder / "pampa.toml").write_text(read_block("toml"), encoding="utf-8")
    write_file(folder / "raw", 42, vane=284.05)
    # The sensor of this vane does not answer: its temperature is that of the air.
    write_file(folder / "raw", 43, vane=AIR, vane_reading=-999.0)
    run_commands(folder, read_commands()[:-1])
    return folder


@pytest.fixture(scope="module")
def product(folder):
    """The calibrated session, by the last command of the page."""
    run_commands(folder, read_commands()[-1:])
    return open_l1(folder / "pampa_l1.zarr")


def test_dry_run_tells_what_becomes_of_the_files(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    (dry,) = [arguments for _, *arguments in read_commands() if "--dry-run" in arguments]
    capsys.readouterr()
    assert calibrate.main(dry) == 0
    printed = capsys.readouterr().out
    assert "SLEW" in printed
    assert all(f"pampa_20261114_00{scan}.fits" in printed for scan in (42, 43))


def test_units_times_and_pixels_are_those_of_l0(folder):
    source, loads = (
        zarr.open_group(folder / "pampa.zarr" / f"scan_000042/{name}") for name in ("source", "calibration")
    )
    assert source["data_5d"].shape == (CHANNELS, DUMPS, len(HORNS), len(POLARISATIONS), 5)
    assert source["data_5d"].dtype == np.float32
    assert source["sobsmode"][:].tolist() == ["OFF", "ON", "OFF", "ON", "OFF"]
    assert loads["sobsmode"][:].tolist() == ["HOT", "SKY"]
    assert source["frontend_backends"][:].tolist() == [f"PAMPA_{p}{h:02d}" for h in HORNS for p in POLARISATIONS]
    for name, expected in {
        "exptime": 2.0,
        "elevation": np.deg2rad(SOURCE_ELEVATION),
        "azimuth": np.deg2rad(131.0),
        "tamb": AIR,
        "pamb": 640.0 * 100.0 / 133.322368,
        "signal_freq": 1e6 * F_REF,
        "image_freq": 1e6 * F_REF,
        "freq_res": 1e6 * DF,
        "ref_channel": PIX_REF - 1,
    }.items():
        np.testing.assert_allclose(source[name][:], expected, rtol=3e-7, err_msg=name)
    np.testing.assert_allclose(loads["thot"][:], 284.05)
    # The scan begins at 3:42; six of eleven seconds of a subscan are its dumps. L0 has the middle.
    starts = 60 * (3 * 60 + 42) + 11.0 * np.arange(len(SEQUENCE))
    middles = 61358 + (starts + 3.0) / 86400.0
    np.testing.assert_allclose(source["mjd"][:], middles[[3, 4, 6, 7, 8]], rtol=0, atol=1e-8)
    np.testing.assert_allclose(loads["mjd"][:], middles[:2], rtol=0, atol=1e-8)


def test_attributes_of_the_scan_are_those_of_the_files(folder):
    attributes = dict(zarr.open_group(folder / "pampa.zarr" / "scan_000042").attrs)
    for name, expected in {
        "scan_number": 42,
        "source": "Orion KL",
        "telescope": "PAMPA",
        "frontend": "HORNS3",
        "line": "CS2-1",
        "rest_freq_hz": 97.9809533e9,
        "velocity_source_kms": 9.0,
        "coord_frame": "icrs",
        "source_lon_deg": pytest.approx(83.809, abs=1e-9),
        "source_lat_deg": -5.3724,
        "observer": "A. Nyone",
    }.items():
        assert attributes[name] == expected, name
    assert str(attributes["night"]) == "20261114"
    assert attributes["date_obs"].startswith("2026-11-14T03:42:33")


@pytest.mark.slow
@pytest.mark.parametrize("number", [42, 43])
def test_antenna_temperature_is_that_of_the_source(product, number):
    scan = product[number]
    expected = antenna_temperature()
    assert len(scan.pixels) == 6
    for pixel in scan.pixels:
        found = scan.average(pixels=[pixel]).spectrum.values
        # Noise is a hundredth of what the radiometer equation says: T_A* of 1 to 8 K, system of 200 K.
        np.testing.assert_allclose(found, expected, atol=0.02, err_msg=pixel)
        assert (found @ expected) / (expected @ expected) == pytest.approx(1.0, abs=2e-4), pixel
    assert dict(scan.attributes["scan_metadata"])["observer"] == "A. Nyone"


def test_rule_that_fails_names_its_reason_and_costs_no_other_scan(folder, tmp_path):
    write_file(tmp_path, 44, vane=284.05)
    write_file(tmp_path, 45, vane=284.05, states=("VANE", "BLANK", "FSW"))
    write_file(tmp_path, 46, vane=284.05, states=("VANE", "BLANK", "REF", "DANCE"))
    session = tmp_path / "s.zarr"
    profile = str(folder / "pampa.toml")
    assert calibrate.main(["ingest", str(tmp_path), "-o", str(session), "--profile", profile]) == 2
    record = json.loads((session / "ingest.json").read_text(encoding="utf-8"))
    assert list(record["scans"]) == ["44"]
    switched, unknown = sorted(record["failures"], key=lambda failure: failure["scan_number"])
    assert switched["scan_number"] == 45
    assert "frequency switching is not calibrated" in switched["message"]
    assert unknown["scan_number"] == 46
    assert "DANCE" in unknown["message"]
    assert "pampa_20261114_0046.fits" in unknown["message"] + unknown["file"]
