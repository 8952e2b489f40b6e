"""Read spectra of an exported SDFITS file with dysh: python read_with_dysh.py spectra.fits."""

import json
import sys

from dysh.fits import GBTFITSLoad
from dysh.fits.sdfitsload import SDFITSLoad

ROW = 3

session = GBTFITSLoad(sys.argv[1])
session.summary()

table = SDFITSLoad(sys.argv[1])
spectrum = table.getspec(ROW, setmask=True, observer_location="from_meta")
velocity = spectrum.velocity_axis_to(unit="km/s", toframe="lsrk")
found = {
    "row": ROW,
    "t_a": spectrum.flux.value.tolist(),
    "flagged": spectrum.mask.tolist(),
    "frequency": spectrum.spectral_axis.to_value("Hz").tolist(),
    "velocity": velocity.value.tolist(),
    "unit": str(spectrum.flux.unit),
    "t_sys": spectrum.meta["TSYS"],
    "scans": sorted(int(scan) for scan in table.udata("SCAN")),
}
print(json.dumps(found))
