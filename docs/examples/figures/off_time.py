"""Noise at a given observing time against the time on the OFF."""

import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots()
ratio = np.geomspace(0.3, 30, 300)
for n_ons, colour in ((1, "tab:blue"), (4, "tab:orange"), (16, "tab:green"), (64, "tab:red")):
    # Of N ONs of one second and one OFF: noise of one position, times the root of the time for all.
    noise = np.sqrt((1 + 1 / ratio) * (n_ons + ratio) / n_ons)
    axes.semilogx(ratio, noise, color=colour, label=f"{n_ons} position{'s' * (n_ons > 1)} for each OFF")
    best = np.sqrt(n_ons)
    axes.plot(best, np.sqrt((1 + 1 / best) * (n_ons + best) / n_ons), "o", color=colour)
axes.set(xlabel="time on the OFF over time on one position", ylabel="noise at equal observing time", ylim=(1, 2.6))
axes.set_xticks([0.5, 1, 2, 4, 8, 16], labels=["0.5", "1", "2", "4", "8", "16"])
axes.minorticks_off()
axes.legend(fontsize="small")
