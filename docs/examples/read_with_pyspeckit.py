"""Read spectra of exported files with pyspeckit."""

import numpy as np
import pyspeckit
from astropy.io import fits


def read_row(path, row, column):
    """Read one spectrum, and the rest of its row as a header."""
    with fits.open(path) as file:
        table = file[1]
        values = {name: table.data[name][row] for name in table.columns.names}
    data = np.array(values.pop(column), float)
    header = fits.Header()
    for name, value in values.items():
        # A header has no place for arrays, such as FLAGS, and none for NaN.
        if np.ndim(value) == 0 and value == value:
            header[name] = value if isinstance(value, str) else value.item()
    return data, header


def read_sdfits(path, row):
    """Read a spectrum of SDFITS, with topocentric frequencies."""
    data, header = read_row(path, row, "DATA")
    return pyspeckit.Spectrum(fits.PrimaryHDU(data, header), filetype="pyfits")


def read_class(path, row):
    """Read a spectrum of CLASS's FITS, with frequencies in the frame of the source."""
    data, header = read_row(path, row, "SPECTRUM")
    data[data == fits.getval(path, "BLANK", 1)] = np.nan
    # By these pyspeckit knows the frequency axis of CLASS.
    header.update({"ORIGIN": "CLASS-Grenoble", "CTYPE1": "FREQ", "CUNIT1": "Hz"})
    return pyspeckit.Spectrum(fits.PrimaryHDU(data, header), filetype="pyfits")
