#!/usr/bin/env bash
# Go the way of a newcomer, from the sdist to a report: tests/newcomer.sh dist/cal_pipeline-….tar.gz [FOLDER]
#
# Everything happens in the current folder, which must be empty. FOLDER (or the variable CAL_PIPELINE_REAL_DATA) holds
# the public W-band counts, gbt_wband_m82.zarr, and the files of the telescope, gbt_sdfits; without it, what needs them is
# left out. Needs bash and python3 (or $PYTHON) with venv; pip takes dependencies from where it is configured to. Ends with
# status 0 if every step did what it should.
set -euo pipefail

[ $# -ge 1 ] && [ $# -le 2 ] || { echo "usage: $0 SDIST [FOLDER of gbt_wband_m82.zarr]" >&2; exit 2; }
[ -f "$1" ] || { echo "$1: no such sdist; build one with: python -m build --sdist" >&2; exit 2; }
sdist=$(realpath "$1")
real=${2:-${CAL_PIPELINE_REAL_DATA:-}}
[ -z "$real" ] || real=$(realpath "$real")
[ -z "$(ls -A)" ] || { echo "$PWD is not empty; go to an empty folder" >&2; exit 2; }
# The package is that of the sdist, never one that lies about.
unset PYTHONPATH CAL_PIPELINE_REAL_DATA

step() { printf '\n== [%3d s] %s\n' "$SECONDS" "$*"; }

# Fail unless a file is there and not empty.
made() {
    local file
    for file in "$@"; do
        [ -s "$file" ] || { echo "$file was not written" >&2; exit 1; }
    done
}

step "Install"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "$sdist"
PATH=$PWD/venv/bin:$PATH

step "Simulate two scans of a map as a telescope would record them, ingest and calibrate them"
cal-simulate ccat_chai truth.zarr --channels 256 --pixels 2 --mode otf --scans 2 --fits raw
calibrate ingest raw -o night.zarr --dry-run
calibrate ingest raw -o night.zarr
made night.zarr/ingest.json
touch ingested
calibrate ingest raw -o night.zarr
[ -z "$(find night.zarr -newer ingested)" ] || { echo "ingesting twice wrote something" >&2; exit 1; }
calibrate night.zarr -o l1.zarr
made l1.zarr/zarr.json

step "Look at them"
calibrate info night.zarr
calibrate info l1.zarr
calibrate check l1.zarr
calibrate report l1.zarr -o report.html
made report.html
grep -qi '</html>' report.html || { echo "report.html is no whole page" >&2; exit 1; }

step "One-liners in Python"
MPLBACKEND=agg python - <<'PYTHON'
import numpy as np
from cal_pipeline import open_l1

night = open_l1("l1.zarr")
print(night)
print(night.table())
mean = night.average()
velocity = night[1].velocity(frame="lsrk")
night.plot_pwv().figure.savefig("pwv.png")
night.plot_t_sys().figure.savefig("t_sys.png")
night[1].plot(pixels=night[1].pixels[:2]).figure.savefig("two_pixels.png")

assert mean.sizes == {"channel": 256}, mean.sizes
assert np.isfinite(mean.sigma).mean() > 0.9, "errors of the average are unknown"
assert velocity.unit == "km/s" and np.isfinite(velocity).all(), velocity
print(f"brightest channel {float(mean.spectrum.max()):.1f} K, noise of a channel {float(mean.sigma.median()):.3f} K")
PYTHON
made pwv.png t_sys.png two_pixels.png

step "For other programs"
calibrate export l1.zarr --format csv -o spectra.csv
calibrate export l1.zarr --format sdfits -o spectra.fits
made spectra.csv spectra.fits

if [ -n "$real" ]; then
    step "Real counts of $real"
    cal-demo m82 --real "$real"
    made m82/gbt_sky.png m82/gbt_spectrum_beam0.png m82/gbt_spectrum_beam1.png
    calibrate report m82/gbt_wband_m82_l1.zarr -o m82.html
    made m82.html
    if [ -d "$real/gbt_sdfits" ]; then
        step "Files of the telescope in $real/gbt_sdfits"
        calibrate ingest "$real/gbt_sdfits/argus_ngc5908" -o argus.zarr
        calibrate argus.zarr -o argus_l1.zarr --set atmosphere.zenith_opacity=0.3
        calibrate report argus_l1.zarr -o argus.html
        made argus.html
    fi
else
    step "Real counts: no folder is named, left out"
fi

step "Done"
