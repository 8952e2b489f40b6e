"""Cost against the number of channels, pixels, dumps, scans and workers, from the stored figures."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import NullFormatter
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
        power = -1.0 if side == "workers" else 1.0
        axes.plot(numbers, times[-1] * (numbers / numbers[-1]) ** power, ":", color="0.5")
        axes.set_xticks(numbers[:: max(len(numbers) // 3, 1)])
        if times.max() < 10.0 * times.min():
            axes.set_yticks(np.round(times[[0, -1]], 3))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter(NullFormatter())
panels.flat[-1].set_axis_off()
panels.flat[-1].text(0, 0.5, "dotted:\nin proportion to the\nnumber; of workers,\nto its inverse", color="0.4")
