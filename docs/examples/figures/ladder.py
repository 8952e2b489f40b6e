"""Input of a receiver on its loads, on blank sky and on a source."""

import matplotlib.pyplot as plt
import numpy as np
from site_air import air_of_chai

T_REC, T_HOT, T_COLD, LINE = 90.0, 293.0, 77.0, 25.0

air, frequency = air_of_chai(n_channels=400, width=2e9)
sky, through = (values[:, 0, 0] for values in air(t_ground=268.0, airmass=1.2, pwv=0.5))
line = LINE * np.exp(-0.5 * ((frequency - 461.04e9) / 0.03e9) ** 2)
added = 0.5 * 0.95 * through * line
inputs = {
    "HOT": np.full(frequency.shape, T_HOT),
    "ON": sky + added,
    "OFF": sky,
    "COLD": np.full(frequency.shape, T_COLD),
}
figure, (whole, part) = plt.subplots(1, 2, sharex=True, gridspec_kw={"width_ratios": (3, 2)})
for (name, level), colour in zip(inputs.items(), ("tab:red", "tab:orange", "tab:blue", "tab:cyan"), strict=True):
    whole.plot(frequency / 1e9, T_REC + level, color=colour)
    whole.annotate(name, (frequency[-1] / 1e9, T_REC + level[-1]), xytext=(3, 0), textcoords="offset points",
                   va={"ON": "bottom", "OFF": "top"}.get(name, "center"), color=colour)  # fmt: skip
whole.axhline(T_REC, color="0.5", ls="--")
whole.annotate("receiver alone", (frequency[0] / 1e9, T_REC), va="bottom", color="0.4")
whole.set(xlabel="frequency [GHz]", ylabel="T_rec + T_in [K]", ylim=(0, 410))
part.plot(frequency / 1e9, line, color="tab:gray", ls="--", label="source, T_A*")
part.plot(frequency / 1e9, added, color="tab:orange", label="ON - OFF at the input")
part.set(xlabel="frequency [GHz]", ylabel="[K]")
part.legend(loc="upper left", fontsize="small")
part.set_ylim(-1, 36)
