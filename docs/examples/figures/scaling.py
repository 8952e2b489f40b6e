"""Cost against the number of channels, pixels, dumps, scans and workers, from the stored figures."""

import matplotlib.pyplot as plt
import numpy as np
from performance_tables import Figures

FIGURES = Figures()
SIDES = {
    "channels": ("long_scaling.Scan.track_channels", "time of a scan [s]"),
    "pixels": ("long_scaling.Scan.track_pixels", "time of a scan [s]"),
    "dumps": ("long_scaling.Scan.track_dumps", "time of a scan [s]"),
    "small scans in one run": ("long_scaling.Session.track_scans", "time of the run [s]"),
    "workers": ("long_scaling.Session.track_workers", "time of a further scan [s]"),
}

figure, panels = plt.subplots(2, 3, figsize=(7.2, 4.8))
for axes, (side, (name, label)) in zip(panels.flat, SIDES.items(), strict=False):
    values = {int(number): value for number, value in FIGURES.get_all(name).items()}
    axes.set(xlabel=side, ylabel=label, xscale="log", yscale="log")
    if values:
        numbers, times = np.array(list(values)), np.array(list(values.values()))
        axes.plot(numbers, times, "o-", ms=4)
        # In proportion to the number, or to its inverse, through the last point.
        power = -1 if side == "workers" else 1
        axes.plot(numbers, times[-1] * (numbers / numbers[-1]) ** float(power), ":", color="0.5")
panels.flat[-1].set_axis_off()
panels.flat[-1].text(0, 0.6, "dotted: in proportion to the number\n(workers: to its inverse)", color="0.4", fontsize=9)
