"""
Tuning a mode
=============

Parameters of an observing mode are chosen by trying: calibrate some scans with several values, and
compare figures. ``calibrate tune``, and the function of this lesson, do that for all combinations
at once. They repeat only what a parameter changes, and write no spectra. :doc:`/tuning` describes
command and function.
"""

# %%
# A session with a fault
# ----------------------
#
# Two pointed scans during which the gain of the receiver rises by some percent, as after a warm-up.
# Each scan begins with the loads, so that those of the second measure the drift during the first.

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt

from cal_pipeline import CalibrationPipeline, open_l1, tune
from cal_pipeline.simulate import Drift, Line, preset, read_truth, simulate

folder = TemporaryDirectory()
work = Path(folder.name)
line = Line(25.0, fwhm_hz=60e6)
config = preset("ccat_chai", channels=512, pixels=2, mode="total_power", scans=2, seed=4, lines=(line,))
config = replace(config, drift=Drift(gain_per_hour=1.5))
simulated = simulate(config, work / "session.zarr")

# %%
# What to vary
# ------------
#
# The drift can be left alone (``level`` 0), taken out of ONs (2), or of ONs and OFFs (3): see
# :doc:`/steps/gain`. The other parameter is the error that is assumed for the opacities, which
# weighs the channels of the fit (:doc:`/steps/atmosphere`). The command for the same is ``calibrate
# tune session.zarr --scans 1 --vary gain.level=0,2,3 --vary atmosphere.model_error=0.01,0.03,0.1``.

tuning = tune(
    simulated.session,
    vary={"gain.level": [0, 2, 3], "atmosphere.model_error": [0.01, 0.03, 0.1]},
    scans=1,
    configure_log=False,
)

# %%
# Each row is a combination, numbered from 0; the figures are medians over the scans that were
# tried. ``tuning.table()`` is an astropy table of all of them, and ``print(tuning)`` prints the
# table of the command.

for row in tuning.rows:
    figures = row.figures
    water = f"PWV {figures['pwv_mm']:.3f} ± {figures['pwv_total_err_mm']:.3f} mm"
    level, error = row.parameters["gain.level"], row.parameters["atmosphere.model_error"]
    print(f"{row.number}: level {level}, model_error {error:<4}: {water}, {row.verdict}; {', '.join(row.checks)}")

# %%
# ``level`` changes PWV: a gain that has risen since the loads makes the sky look brighter, and the
# fit takes that for water. With level 3 the 0.5 mm that were put in come out, and of the checks
# only ``gain_drift`` is left, which tells that a correction was needed. ``model_error`` hardly
# moves PWV. It decides which error is quoted, and should be as large as the opacities are
# uncertain.
#
# Compare as a picture
# --------------------

figure, axes = plt.subplots()
for shift, error in ((-0.08, 0.01), (0.0, 0.03), (0.08, 0.1)):
    rows = [row for row in tuning.rows if row.parameters["atmosphere.model_error"] == error]
    axes.errorbar(
        [row.parameters["gain.level"] + shift for row in rows],
        [row.figures["pwv_mm"] for row in rows],
        [row.figures["pwv_total_err_mm"] for row in rows],
        fmt="o",
        capsize=3,
        label=f"model_error {error}",
    )
axes.axhline(config.atmosphere.pwv_mm, color="black", ls="--", label="truth")
axes.set(xlabel="gain.level", ylabel="PWV [mm]", xticks=[0, 2, 3])
axes.legend()

# %%
# Check against the truth
# -----------------------
#
# At a telescope there is none, and the verdicts have to do. Here T_A* of the line can be compared
# with what was put in. Keep two rows as parameter files, as ``--row 7 --write tuned.asdf`` does,
# and run the pipeline with each:

truth = read_truth(simulated.session, scan=1).t_a_star(slice(None)).mean(axis=(1, 4))[:, 0, 0]
on_line = truth > 0.5 * truth.max()
for number in (1, 7):
    file = tuning.write(number, work / f"row_{number}.asdf")
    output = work / f"row_{number}.zarr"
    CalibrationPipeline.call(
        str(simulated.session), config_file=str(file), output_file=str(output), scans=1, configure_log=False
    )
    scan = open_l1(output)[1]
    mean = scan.average(pixels=scan.pixels[0])
    off = 100 * (float(mean.spectrum[on_line].sum()) / truth[on_line].sum() - 1)
    noise = 100 * float((mean.sigma[on_line] ** 2).sum()) ** 0.5 / truth[on_line].sum()
    print(f"row {number}: strength of the line off by {off:+.1f} %, noise {noise:.1f} %")

# %%
# Use the result
# --------------
#
# ``strun tuned.asdf session.zarr`` takes the file. To have it chosen for all data of the telescope
# and mode, add it to ``cfg/`` with a row in its table (:doc:`/howto/telescope`). L1 records for
# each value that it came from this file (:doc:`/parameters`).

folder.cleanup()
