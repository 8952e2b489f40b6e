"""The largest change of the empty sky between this scan and the ones before it."""

import xarray

differences = xarray.open_zarr("l1.zarr", group="scan_000002/skydiff", consolidated=False)
for k in range(differences.n_diffs):
    spectrum = abs(differences[f"spectrum_{k}"].isel(receiver=0, array=0))
    frequency = float(spectrum.signal_freqs[int(spectrum.argmax("channel"))])
    print(
        f"OFF {differences.current_offs[k]} against OFF {differences.ref_offs[k]} of scan {differences.ref_scans[k]}, "
        f"{(differences.current_mjds[k] - differences.ref_mjds[k]) * 1440:.1f} min before: "
        f"{float(spectrum.max()):.3f} K at {frequency / 1e9:.3f} GHz"
    )
