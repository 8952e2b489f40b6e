"""Noise of a mean of dumps that share an OFF: formula, simulation, and the noise if dumps were independent."""

import matplotlib.pyplot as plt
import numpy as np

N_TRIALS, OFF_TIME = 4000, 4.0

random = np.random.default_rng(1)
numbers = np.unique(np.geomspace(1, 64, 12).astype(int))
# In units of the noise of one second; each dump is one second long.
off = random.normal(size=(N_TRIALS, 1)) / np.sqrt(OFF_TIME)
dumps = random.normal(size=(N_TRIALS, numbers[-1])) - off
measured = [dumps[:, :n].mean(axis=1).std() for n in numbers]
n = np.geomspace(1, 64, 200)
dump_noise = np.sqrt(1 + 1 / OFF_TIME)
figure, axes = plt.subplots()
axes.loglog(n, dump_noise / np.sqrt(n), color="tab:orange", label="sigma/√n, as if all were independent")
axes.loglog(n, np.sqrt(1 / n + 1 / OFF_TIME), color="tab:blue", label="own noise falls, that of the OFF stays")
axes.axhline(np.sqrt(1 / OFF_TIME), color="tab:blue", ls=":", label="the OFF alone")
axes.loglog(numbers, measured, "ko", ms=4, label=f"scatter of {N_TRIALS} simulated means")
axes.set(xlabel="dumps of 1 s in the mean, with one OFF of 4 s", ylabel="noise over that of 1 s")
axes.set_xticks([1, 2, 4, 8, 16, 32, 64], labels=["1", "2", "4", "8", "16", "32", "64"])
axes.set_yticks([0.2, 0.5, 1.0], labels=["0.2", "0.5", "1"])
axes.minorticks_off()
axes.legend(fontsize="small")
