"""Skies that look alike: more water below colder air."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize_scalar
from site_air import air_of_chai

AIRMASS, TRUE = 1.2, {"t_ground": 268.0, "pwv": 0.5}

air, frequency = air_of_chai(n_channels=96)
observed, true_transmission = air(TRUE["t_ground"], AIRMASS, TRUE["pwv"])


def misfit(t_ground, pwv):
    """Root mean square difference from the observed sky [K]."""
    return float(np.sqrt(np.mean((air(t_ground, AIRMASS, pwv)[0] - observed) ** 2)))


grounds, waters = np.linspace(257.0, 279.0, 23), np.linspace(0.42, 0.6, 31)
valley = np.array([[misfit(ground, pwv) for ground in grounds] for pwv in waters])
figure, (sky, plane) = plt.subplots(1, 2, figsize=(8.4, 4.0))
for ground, colour in ((258.0, "tab:blue"), (263.0, "tab:cyan"), (273.0, "tab:orange"), (278.0, "tab:red")):
    best = minimize_scalar(lambda pwv, ground=ground: misfit(ground, pwv), bounds=(0.3, 0.8), method="bounded").x
    temperature, through = air(ground, AIRMASS, best)
    change = 100.0 * np.median(true_transmission / through - 1.0)
    label = f"{ground:.0f} K, {best:.3f} mm: T_A* {change:+.1f} %"
    sky.plot(frequency / 1e9, (temperature - observed)[:, 0, 0], color=colour, label=label)
    plane.plot(ground, best, "o", color=colour)
sky.set(xlabel="frequency [GHz]", ylabel="model - observed sky [K]", ylim=(-2, 3.2))
sky.legend(fontsize="small", title="t_ground, fitted PWV")
levels = (1, 3, 5)
contours = plane.contour(grounds, waters, valley, levels=levels, cmap="viridis")
plane.clabel(contours, fmt="%g K")
plane.set(xlabel="t_ground [K]", ylabel="PWV [mm]", title="rms misfit of the sky", xticks=range(258, 279, 5))
plane.plot(TRUE["t_ground"], TRUE["pwv"], "k*", ms=10, label="truth")
plane.legend()
