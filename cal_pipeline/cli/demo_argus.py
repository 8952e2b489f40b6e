"""Real counts of 16 beams with one load: NGC 5908 with Argus, beside the figures of an independent package."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.product import CalibratedSession

Floats = NDArray[np.float64]

LOADS_SCAN = 329
"""Scan with the vane and the sky."""

SCAN = 331
"""First scan on the source."""

ZENITH_OPACITY = 0.3
"""Opacity towards the zenith that the demo assumes at 114 GHz [Np]; nobody recorded one."""

PUBLISHED_T_CAL = 272.0
"""Temperature of the vane above the sky, at the input of the atmosphere, that the independent package was given [K]."""

TOLERANCE = 1e-6
"""Relative difference of system temperatures that is allowed."""

_VANE, _SKY = 0, 1
_SPUR_STEP, _CENTRE = 32, 512


class SystemTemperatures(NamedTuple):
    """System temperature of a beam on the scale of T_A*, from the counts on vane and sky.

    Parameters
    ----------
    of_means : float
        T_cal·mean(S)/mean(V - S) over the inner 80 % of the channels, mode 0 of dysh [K].
    mean : float
        T_cal/mean((V - S)/S) over these, mode 1 [K].
    median : float
        T_cal/median((V - S)/S) over all channels, mode 2 [K].
    """

    of_means: float
    mean: float
    median: float


PUBLISHED = (
    SystemTemperatures(245.277300686, 251.495872846, 243.223441418),
    SystemTemperatures(217.174186469, 222.162270525, 221.590585519),
    SystemTemperatures(213.225585733, 216.551620800, 207.800842292),
    SystemTemperatures(181.073388837, 181.532438212, 184.877704472),
    SystemTemperatures(194.756212257, 197.931151836, 198.011147368),
    SystemTemperatures(239.450832639, 242.444945939, 234.274780152),
    SystemTemperatures(212.249045739, 215.711461894, 216.318645492),
    SystemTemperatures(198.243577494, 197.938019970, 202.235074255),
    SystemTemperatures(199.325280697, 206.931152988, 209.387456491),
    SystemTemperatures(199.166415821, 204.646721471, 201.276078706),
    SystemTemperatures(205.948104331, 209.114583847, 205.598572455),
    SystemTemperatures(200.558408199, 206.004523018, 221.406999977),
    SystemTemperatures(194.111907343, 198.681132295, 192.244007866),
    SystemTemperatures(215.775299459, 212.147561841, 221.864215149),
    SystemTemperatures(182.303154184, 184.143573271, 183.820088522),
    SystemTemperatures(190.564460713, 198.192882587, 193.653889165),
)
"""Those of the 16 beams, by dysh 1.1.0: ``vanecal(329, sky=330, tcal=272)``."""


class BeamFigures(NamedTuple):
    """System temperatures of a beam.

    Parameters
    ----------
    published : SystemTemperatures
        Those of the independent package [K].
    found : SystemTemperatures
        The same from the counts in L0 [K].
    t_sys : float
        System temperature of L1 at the input of the receiver, median [K].
    scale : float
        T_A* of the vane less the sky in L1, what stands for the 272 K of the independent package, median [K].
    t_sys_rescaled : float
        `t_sys` above the atmosphere, with 272 K in place of `scale`, median over the channels of mode 2 [K].
    """

    published: SystemTemperatures
    found: SystemTemperatures
    t_sys: float
    scale: float
    t_sys_rescaled: float

    @property
    def difference(self) -> float:
        """Largest relative difference to the independent package."""
        return float(np.abs(np.divide(self.found, self.published) - 1.0).max())

    @property
    def agrees(self) -> bool:
        """Tell whether all of them agree."""
        return self.difference <= TOLERANCE


def find_channels(n_channels: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Find the channels that the independent package uses.

    Parameters
    ----------
    n_channels : int
        Number of channels.

    Returns
    -------
    usable : ndarray, shape (C,)
        Channels without the spurs in each 32nd channel, of which that in the centre is none.
    inner : ndarray, shape (C,)
        Those among the inner 80 %.

    Examples
    --------
    >>> usable, inner = find_channels(1024)
    >>> int(usable.sum()), int(inner.sum())
    (993, 797)
    """
    channel = np.arange(n_channels)
    usable = (channel % _SPUR_STEP != 0) | (channel == _CENTRE)
    edge = n_channels // 10
    return usable, usable & (channel >= edge) & (channel < n_channels - (edge - 1))


def measure_system_temperatures(vane: Floats, sky: Floats, t_cal: float) -> SystemTemperatures:
    """Measure the system temperature from the counts on the vane and on the sky.

    Parameters
    ----------
    vane, sky : ndarray, shape (C,)
        Counts.
    t_cal : float
        Temperature of the vane above the sky, corrected for the atmosphere [K].

    Returns
    -------
    SystemTemperatures

    Examples
    --------
    >>> measure_system_temperatures(np.full(1024, 3.0), np.full(1024, 2.0), 100.0)
    SystemTemperatures(of_means=200.0, mean=200.0, median=200.0)
    """
    usable, inner = find_channels(vane.shape[0])
    ratio = (vane - sky) / sky
    return SystemTemperatures(
        float(t_cal * sky[inner].mean() / (vane - sky)[inner].mean()),
        float(t_cal / ratio[inner].mean()),
        float(t_cal / np.median(ratio[usable])),
    )


def compare_beams(session: Path, product: CalibratedSession) -> list[BeamFigures]:
    """Compare the system temperatures of all beams with those of the independent package.

    Parameters
    ----------
    session : Path
        The counts, as ingested.
    product : CalibratedSession
        The calibrated session.

    Returns
    -------
    list of BeamFigures
        One a beam.
    """
    counts = Counts(open_store(session), f"scan_{LOADS_SCAN:06d}/calibration/data_5d", StageClock())
    loads = counts.read(slice(0, counts.shape[0]), [_VANE, _SKY]).mean(axis=1, dtype=np.float64)
    scan = product.open_scan(SCAN).isel(subscan=0, array=0).load()
    usable, _ = find_channels(counts.shape[0])
    figures = []
    for beam, published in enumerate(PUBLISHED):
        vane, sky = loads[:, beam, 0, _VANE], loads[:, beam, 0, _SKY]
        pixel = scan.isel(receiver=beam)
        # T_A* = scale·(ON - OFF)/(V - S), and t_sys·gamma is the count that L1 expects on the sky towards the ON.
        scale = (pixel.t_cal / np.exp(-pixel.tau_signal / np.sin(pixel.elevation))).values
        on_their_scale = (pixel.t_sys * pixel.gamma).values * PUBLISHED_T_CAL / (vane - sky)
        figures.append(
            BeamFigures(
                published,
                measure_system_temperatures(vane, sky, PUBLISHED_T_CAL),
                float(np.median(pixel.t_sys.values)),
                float(np.median(scale)),
                float(np.median(on_their_scale[usable])),
            )
        )
    return figures
