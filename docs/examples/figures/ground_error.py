"""Change of T_A* for a wrong temperature of the ground, against the transmission."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import brentq
from site_air import air_of_chai

from cal_pipeline.heterodyne.physics.planck import EXACT

AIRMASS, T_GROUND, ERROR = 1.2, 268.0, 5.0

air, frequency = air_of_chai(n_channels=16, width=0.2e9)
figure, axes = plt.subplots()
transmissions, changes = [], []
for pwv in np.geomspace(0.1, 2.5, 18):
    observed, true = air(T_GROUND, AIRMASS, pwv)
    # The wrong temperature, and the water that shows the same mean sky.
    fitted = brentq(lambda guess, seen=observed: np.mean(air(T_GROUND + ERROR, AIRMASS, guess)[0] - seen), 0.01, 10.0)
    transmissions.append(np.median(true))
    changes.append(np.median(true / air(T_GROUND + ERROR, AIRMASS, fitted)[1]) - 1.0)
axes.plot(transmissions, 100 * np.array(changes), "o", label="two sidebands, layers of the table")
t = np.linspace(0.08, 0.95, 200)
slope = EXACT.brightness_slope(461e9, T_GROUND) / EXACT.brightness(461e9, T_GROUND)
axes.plot(t, -100 * (1 - t) / t * slope * ERROR, color="0.4", label="one sideband, one layer: -(1 - t)/t · δJ/J")
axes.set(xlabel="transmission at the airmass of the source", ylabel=f"change of T_A* for {ERROR:+g} K [%]")
axes.set(xlim=(0, 1), ylim=(-25, 1))
axes.legend(loc="lower right")
