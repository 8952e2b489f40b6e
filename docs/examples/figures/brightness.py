"""Brightness temperature of a load over its physical temperature."""

import matplotlib.pyplot as plt
import numpy as np

from cal_pipeline.heterodyne.physics.planck import EXACT

frequency = np.linspace(50e9, 2000e9, 400)
figure, axes = plt.subplots()
for name, temperature in {"hot load": 293.0, "air": 268.0, "cold load": 77.0, "cosmic background": 2.725}.items():
    share = EXACT.brightness(frequency, temperature) / temperature
    axes.plot(frequency / 1e9, share, label=f"{name}, {temperature:g} K")
for receiver, gigahertz in {"W band": 87.0, "CHAI": 461.0, "upGREAT": 1900.0}.items():
    axes.axvline(gigahertz, color="0.6", lw=0.8, ls=":")
    axes.annotate(receiver, (gigahertz, 0.03), rotation=90, ha="right", color="0.4")
axes.set(xlabel="frequency [GHz]", ylabel="J(nu, T) / T", ylim=(0, 1.02), xlim=(50, 2000))
axes.legend(loc=(0.48, 0.12))
