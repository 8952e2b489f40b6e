"""How much each chop phase differs from the first, for every ON."""

import xarray

differences = xarray.open_zarr("l1.zarr", group="scan_000001/skychopdiff", consolidated=False)
for on, mjd, n in zip(differences.on_indices, differences.on_mjds, differences.n_spectra_per_on, strict=True):
    for j in range(1, n + 1):
        spectrum = differences[f"spectrum_{on}_{j}"].isel(receiver=0, array=0)
        print(f"ON {on} (MJD {mjd:.5f}), phase 0 minus {j}: {float(spectrum.mean()):+.3f} K")
