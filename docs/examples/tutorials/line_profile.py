"""
From L0 to a line profile
=========================

This lesson goes the whole way once: simulate a session of raw counts, calibrate it, look at what
came out, average with an error that is true, and draw the line over the velocity relative to the
local standard of rest (LSR). It takes a minute and needs nothing but the package.
"""

# %%
# Simulate a session
# ------------------
#
# L0 is a Zarr store with the raw counts of ONs, OFFs and loads. The simulator writes one whose
# truth is known: three on-the-fly maps of CO(4-3) with four pixels of CHAI on CCAT/FYST.

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from cal_pipeline import CalibrationPipeline, open_l0, open_l1
from cal_pipeline.simulate import preset, read_truth, simulate

folder = TemporaryDirectory()
work = Path(folder.name)
config = preset("ccat_chai", channels=2048, pixels=4, mode="otf", scans=3, seed=1)
simulated = simulate(config, work / "session.zarr")

# %%
# A session is a mapping of scans, and nothing is read before it is used. The table has a row for
# each scan.

raw = open_l0(simulated.session)
print(raw.table()["scan", "source", "mode"])

# %%
# Calibrate it
# ------------
#
# One call takes the session through all steps and writes the product, L1. Parameters that are not
# given come from the file for telescope, frontend and mode, here that of CHAI's maps. On the
# command line the same is ``calibrate session.zarr --output l1.zarr``.

CalibrationPipeline.call(str(simulated.session), output_file=str(work / "l1.zarr"), configure_log=False)
session = open_l1(work / "l1.zarr")
session.table()["scan", "mode", "pwv", "pwv_err", "t_sys", "verdict"].pprint()

# %%
# The simulated sky has 0.5 mm of water. ``pwv_err`` is the total error, in which the uncertainty of
# the opacities dominates. The verdict sums up the quality figures (:doc:`/quality`): it never stops
# a scan, and tells which ones to look at before they are used.
#
# Look at a scan
# --------------

scan = session[1]
print(scan)

# %%
# Average with a true error
# -------------------------
#
# The map passes over a source of which each pixel sees another part. The average of one pixel over
# all dumps and ONs of the scan:

pixel = scan.pixels[3]
mean = scan.average(pixels=pixel)
print(f"{float(mean.n_samples.max()):.0f} samples, noise {float(mean.sigma.median()):.3f} K in a channel")

# %%
# Is the error true? Channels without a line scatter by the noise alone, and differences of
# neighbours see nothing of the baseline. Their scatter over the expected one, the pull, is 1 for a
# true error, here to 4 %, as it comes from some hundred channels. Noise that dumps share because
# they subtract one OFF is part of ``sigma``. Without it, as if all samples were independent, the
# error would be too low.

data = scan.to_xarray().sel(pixel=pixel)
good = (data.flags == 0) & np.isfinite(data.spectra)
naive = (1 / (good / data.sigma**2).sum(("dump", "subscan"))) ** 0.5
empty = np.abs(scan.velocity("topocent").value) > 40
step = mean.spectrum.diff("channel").values[empty[1:]] / np.sqrt(2)
scatter = 1.4826 * np.nanmedian(np.abs(step))
for name, error in (("true", mean.sigma), ("as if independent", naive)):
    print(f"{name:>18}: {float(error.median()):.3f} K, pull {scatter / float(error.median()):.2f}")

# %%
# :doc:`/explanation/noise_budget` derives both. The shares of each OFF are in L1, so that averages
# over pixels, ONs and scans have true errors too. For the average of all scans call ``average`` of
# the session, or of a selection of it:

all_scans = session.select(verdict="pass").average(pixels=pixel)
print(f"noise {float(all_scans.sigma.median()):.3f} K with {len(session)} scans")

# %%
# Velocity relative to the LSR
# ----------------------------
#
# Frequencies of L1 are topocentric: they are those at the telescope, which moves with the Earth. L1
# records site, time and position, so that velocities in other standards of rest follow.

for frame in ("topocent", "barycent", "lsrk"):
    velocity = scan.velocity(frame)
    peak = velocity[np.nanargmax(mean.spectrum.values)]
    print(f"{frame:>9}: line at {peak:+.1f}")

# %%
# The simulated source rests relative to the telescope, so that in the LSR it moves as the telescope
# does. A source in the sky keeps its velocity in the LSR, and its topocentric one changes with day
# and season. The peak is one channel of the noisy line, up to a kilometre per second from its
# centre.
#
# Draw the profile
# ----------------
#
# ``plot`` draws the average with its error. The truth of the simulation goes through the same
# average: it is known for each dump of the pixel.

axes = session.select(verdict="pass")[1].plot(pixels=[pixel], x="lsrk")
truth = read_truth(simulated.session, scan=1).t_a_star(slice(None))[:, :, 3, 0].mean(axis=(1, 2))
axes.plot(scan.velocity("lsrk"), truth, color="black", ls="--", label="truth")
axes.set_xlim(-75, 25)
axes.legend()

# %%
# The strength of the line
# ------------------------
#
# The integral over the line has two errors: that of the noise, and that of the scale, which is
# common to all channels and does not average down. ``scale_error`` is its relative 1-sigma value,
# from the errors of loads, efficiency, atmosphere and gain.

width = float(np.abs(np.median(np.diff(scan.velocity("lsrk").value))))
line = np.abs(scan.velocity("topocent").value) < 15
area = width * float(mean.spectrum[line].sum())
noise = width * float((mean.sigma[line] ** 2).sum()) ** 0.5
scale = area * float(data.scale_error[line].median())
true_area = width * truth[line].sum()
print(f"integral {area:.2f} ± {noise:.2f} (noise) ± {scale:.2f} (scale) K km/s; put in: {true_area:.2f}")

# %%
# Where to go from here
# ---------------------
#
# * :doc:`atmosphere` looks at the sky behind the numbers.
# * :doc:`/formats` describes the arrays of L1, :doc:`/quality` the verdicts.
# * :doc:`/howto/own_data` puts data of another instrument into L0.

folder.cleanup()
