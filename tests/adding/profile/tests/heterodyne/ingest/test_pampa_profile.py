"""Files of Pampa."""

import numpy as np
import zarr
from astropy.io import fits

from cal_pipeline.ingest import ingest

COUNTS = np.arange(16, dtype=np.float32).reshape(2, 8)


def test_counts_and_coordinates(tmp_path):
    columns = {
        "POWER": ("8E", COUNTS),
        "STATE": ("4A", ["SRC", "REF"]),
        "T_START": ("D", [60000.0, 60000.5]),
        **{name: ("D", [value] * 2) for name, value in {"INT_MS": 2000.0, "EL": 30.0, "T_AIR": -3.15}.items()},
        **{name: ("D", [value] * 2) for name, value in {"BARO": 1013.25, "F_REF": 230e3, "DF": 1.0}.items()},
        "HORN": ("J", [3, 3]),
    }
    made = [fits.Column(name, form, array=np.array(values)) for name, (form, values) in columns.items()]
    table = fits.BinTableHDU.from_columns(made, name="OBSDATA")
    table.header["TELESCOP"] = "PAMPA"
    table.writeto(tmp_path / "pampa_12.fits")
    assert ingest(tmp_path, tmp_path / "l0.zarr").written == (12,)
    source = zarr.open_group(tmp_path / "l0.zarr", mode="r")["scan_000012/source"]
    np.testing.assert_array_equal(source["data_5d"][:, 0, 0, 0, :].T, COUNTS)
    assert source["sobsmode"][...].tolist() == ["ON", "OFF"]
    np.testing.assert_allclose(source["mjd"][...], [60000.0 + 1.0 / 86400.0, 60000.5 + 1.0 / 86400.0], rtol=1e-14)
    np.testing.assert_allclose(source["pamb"][...], 760.0, rtol=1e-6)
    np.testing.assert_allclose(source["tamb"][...], 270.0, rtol=1e-6)
