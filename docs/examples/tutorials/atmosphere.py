"""
Diagnosing an atmosphere
========================

The transmission of the atmosphere scales every spectrum, and it is inferred, not measured. This
lesson looks at the fit behind it, makes it go wrong in two ways, and shows what the quality figures
notice.
:doc:`/explanation/water_and_ground` has the theory.
"""

# %%
# A night with a known sky
# ------------------------
#
# A pointed observation with CHAI on CCAT/FYST of a wide line of 25 K. The simulated air has sixty
# layers of its own, with 0.5 mm of water.

from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np

from cal_pipeline import CalibrationPipeline, open_l1
from cal_pipeline.simulate import Line, preset, read_truth, simulate

folder = TemporaryDirectory()
work = Path(folder.name)
line = Line(25.0, fwhm_hz=60e6)
config = preset("ccat_chai", channels=512, pixels=2, mode="total_power", scans=1, seed=2, lines=(line,))
simulated = simulate(config, work / "session.zarr")
truth = read_truth(simulated.session, scan=1)


def calibrate(name, **atmosphere):
    """Calibrate the session with parameters of the step ``atmosphere``; return the scan."""
    CalibrationPipeline.call(
        str(simulated.session),
        output_file=str(work / f"{name}.zarr"),
        configure_log=False,
        steps={"atmosphere": atmosphere},
    )
    return open_l1(work / f"{name}.zarr")[1]


def describe(name, scan):
    """Print water, transmission and the checks that the scan does not pass."""
    through = np.exp(-scan.dataset.tau_signal / np.sin(scan.dataset.elevation.mean()))
    failed = ", ".join(check["name"] for check in scan.quality["verdicts"]) or "none"
    water = f"PWV {scan.attributes['pwv_mm']:.3f} mm, transmission {float(through.median()):.3f}"
    print(f"{name:>22}: {water}, {scan.verdict}; not passed: {failed}")


good = calibrate("good")
describe("as it should be", good)

# %%
# Look at the sky
# ---------------
#
# The OFFs, over the gain that the loads gave, are the sky in kelvin. One number is fitted, the
# water vapour; the curves below are what the table makes of it in each channel, and the lower panel
# is what is left.

axes = good.plot_sky()

# %%
# The bumps are ozone and water in both sidebands. What is left is 0.2 K over most of the band, and
# up to 2 K in the ozone lines, where the true layers are not those of the table. ``sky_misfit``
# measures such features, in units of the noise and in kelvin. Both have to be large before the
# check fails, as after a long integration every table is wrong by many times the noise:

figures = good.quality["pixels"][good.pixels[0]]
for name in ("sky_misfit_sigma", "sky_misfit_K", "pwv_chi2", "scale_error"):
    print(f"{name:>18}: {figures[name]:.3f}")

# %%
# Is the transmission right?
# --------------------------
#
# The truth knows it. T_A* is inversely proportional to the transmission, so that the curve below is
# the error of T_A* from the atmosphere. The band is ``scale_error``, which holds the other inputs,
# too.

elevation = good.dataset.elevation.mean()
fitted = np.exp(-good.dataset.tau_signal / np.sin(elevation))
true = truth.transmission()[0].mean(axis=1)
error = 100 * (true / fitted - 1)
band = 100 * good.dataset.scale_error.values[:, 0, 0]
frequency = good.dataset.signal_freqs / 1e9

figure, axes = plt.subplots()
axes.fill_between(frequency, -band, band, color="0.9", label="scale_error")
axes.plot(frequency, error, label="error of T_A* from the transmission")
axes.set(xlabel="frequency [GHz]", ylabel="[%]")
axes.legend()

# %%
# A wrong temperature of the ground
# ---------------------------------
#
# Let the weather station read 8 K too much. Warmer air needs less water to look as bright, so that
# the fitted transmission is too high and T_A* too low.

ground = float(config.telescope.t_ambient)
warm = calibrate("warm", t_ground=ground + 8.0)
describe("ground 8 K too warm", warm)
before, after = good.average().spectrum, warm.average().spectrum
on_line = before > 0.5 * before.max()
ratio = after / before
print(f"T_A* of the line changes by {100 * (float(ratio[on_line].median()) - 1):+.1f} %")

# %%
# A wrong model
# -------------
#
# Take the air as one layer at the temperature of the ground, as older engines did. Real air gets
# colder with height, so that this model is wrong in the same direction.

isothermal = calibrate("isothermal", t_atm=ground)
describe("one layer", isothermal)
ratio = isothermal.average().spectrum / before
print(f"T_A* of the line changes by {100 * (float(ratio[on_line].median()) - 1):+.1f} %")

# %%
# Compare what is left of the sky in the three cases. The wrong ground leaves a residual over the
# whole band, which follows the opacity and which ``sky_misfit`` notices. One layer leaves no more
# than the right model does, and passes: the sky does not tell that its T_A* is 2 % too low. Other
# shapes have other reasons: a wave is a standing wave, narrow spikes are lines that the table does
# not hold, and a slope means wrong loads, sidebands or frequencies.

figure, axes = plt.subplots()
for name, scan in (("as it should be", good), ("ground 8 K too warm", warm), ("one layer", isothermal)):
    residual = scan.dataset.sky_residual.values[:, 0, 0]
    axes.plot(frequency[4:-4], np.convolve(residual, np.ones(9) / 9, mode="valid"), label=name)
axes.set(xlabel="frequency [GHz]", ylabel="observed - fitted sky [K]", ylim=(-1.5, 2.2))
axes.legend()

# %%
# Where the error comes from
# --------------------------
#
# ``scale_error_terms`` tells for each input what its 1-sigma error does to T_A*, by itself and by
# way of the fitted water. The largest are worth a measurement.

terms = good.dataset.scale_error_terms
names = terms.attrs["terms"]
values = 100 * np.abs(terms.values[:, 0, 0])
order = np.argsort(values)
figure, axes = plt.subplots()
axes.barh([names[i] for i in order], values[order])
axes.set(xlabel="share of scale_error [%]")

# %%
# What to do
# ----------
#
# * A residual over the whole band: check ``tamb`` against another station, and the forward
#   efficiency against a sky dip; give ``t_ground`` if the station is wrong.
# * Large ``pwv_chi2`` with narrow residuals: ``robust`` takes them out already, as long as
#   ``sky_outlier_fraction`` passes.
# * Pixels that disagree (``pwv_pixel_spread``): ``strategy=per_pixel`` shows which one is off; its
#   loads or its gain are the likely reason.
# * Water known from a radiometer: ``strategy=fixed``. ``pwv_chi2`` then says how well it suits.
#
# :doc:`tuning_a_mode` tries such choices side by side. :doc:`/faults` lists what else can go wrong,
# and what notices it.

folder.cleanup()
