"""Argus on the Green Bank Telescope: vane and sky, against figures made by hand and those of a peer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.io import fits

from cal_pipeline import CalibrationPipeline
from cal_pipeline.ingest import ingest

FOLDER = Path(os.environ.get("CAL_PIPELINE_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILES = FOLDER / "gbt_sdfits" / "argus_ngc5908"
VANE, SKY, SCANS = 329, 330, (331, 333)
H_OVER_K = 4.799243073366221e-11
OPACITY, EFFICIENCY = 0.28, 0.98

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILES.is_dir(), reason=f"the files of Argus are not there: {FILES.name}"),
]


@pytest.fixture(scope="module")
def rows():
    """Rows of the files by scan and beam."""
    found = {}
    for path in sorted(FILES.glob("*.fits")):
        with fits.open(path) as file:
            found |= {(int(row["SCAN"]), int(row["FDNUM"])): row for row in file["SINGLE DISH"].data}
    return found


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    path = tmp_path_factory.mktemp("argus") / "argus.zarr"
    ingest([str(FILES)], str(path), "gbt_argus")
    return path


@pytest.fixture(scope="module")
def product(session):
    steps = {"atmosphere": {"zenith_opacity": OPACITY}}
    return CalibrationPipeline.call(str(session), output_file=str(session.parent / "l1.zarr"), steps=steps)


def planck(nu, temperature):
    return H_OVER_K * nu / np.expm1(H_OVER_K * nu / temperature)


def counts(rows, scan, beam):
    return np.ravel(rows[scan, beam]["DATA"]).astype(np.float64)


def transmission(row):
    """Transmission at the elevation of a row, as L0 holds it."""
    return np.exp(-OPACITY / np.sin(float(np.float32(np.deg2rad(row["ELEVATIO"])))))


@pytest.mark.parametrize("scan", SCANS)
def test_antenna_temperature_by_hand(rows, product, scan):
    spectra, on = product.open_scan(scan).spectra.values[:, 0, :, 0, 0], rows[scan, 0]
    nu = on["CRVAL1"] + (np.arange(1024) + 1 - on["CRPIX1"]) * on["CDELT1"]
    ambient = float(np.float32(rows[SKY, 0]["TAMBIENT"]))
    hot, air = planck(nu, float(rows[VANE, 0]["TWARM"]) + 273.15), planck(nu, ambient)
    through = transmission(rows[SKY, 0])
    sky = EFFICIENCY * (air * (1.0 - through) + planck(nu, 2.725) * through) + (1.0 - EFFICIENCY) * air
    kelvin = (hot - sky) / (EFFICIENCY * transmission(on))
    for beam in range(16):
        vane, blank = counts(rows, VANE, beam), counts(rows, SKY, beam)
        expected = (counts(rows, scan, beam) - counts(rows, scan + 1, beam)) / (vane - blank) * kelvin
        good = np.isfinite(spectra[:, beam])
        assert good.mean() > 0.9
        np.testing.assert_allclose(spectra[good, beam], expected[good], rtol=1e-9)


def test_system_temperatures_of_the_peer(session):
    """T_sys of dysh 1.1.0, vanecal(329, sky=330, tcal=272), modes 0 to 2, as the README of the files lists it."""
    lines = (FILES.parent / "README.md").read_text().splitlines()
    table = [[float(part) for part in line.strip("| ").split("|")] for line in lines if line[:3].strip("| ").isdigit()]
    assert [int(beam) for beam, *_ in table] == list(range(16))
    loads = zarr.open_group(session, path=f"scan_{VANE:06d}/calibration", mode="r")
    assert loads["sobsmode"][...].tolist() == ["HOT", "SKY"]
    inner = slice(1024 // 10, 1024 - (1024 // 10 - 1))
    kept = np.ones(1024, bool)
    kept[::32] = False
    kept[512] = True
    for beam, *published in table:
        vane, sky = loads["data_5d"][:, 0, int(beam), 0].astype(np.float64).T
        v, s = (values[inner][kept[inner]] for values in (vane, sky))
        level = np.median(((vane - sky) / sky)[kept])
        found = 272.0 * s.mean() / (v - s).mean(), 272.0 / ((v - s) / s).mean(), 272.0 / level
        np.testing.assert_allclose(found, published, rtol=1e-6)


def test_system_temperature_on_the_scale_of_the_peer(rows, session, product):
    """Ours, at the ON, is at the receiver; over f_eff t_r it is theirs, with t_cal/t_r for their 272 K."""
    scan = product.open_scan(SCANS[0])
    of_star = scan.t_sys.values[:, 0, 0, 0] / (EFFICIENCY * transmission(rows[SCANS[0], 0]))
    vane, blank = counts(rows, VANE, 0), counts(rows, SKY, 0)
    t_cal = scan.t_cal.values[:, 0, 0] / transmission(rows[SKY, 0])
    good = np.isfinite(scan.spectra.values[:, 0, 0, 0, 0])
    # The vane is 3 K warmer than the air, and the ON 0.3 degrees higher than the SKY.
    ratio = of_star[good] / (blank / (vane - blank) * t_cal)[good]
    assert np.median(ratio) == pytest.approx(1.0, abs=0.01)
    assert 255.0 < np.median(t_cal) < 280.0
