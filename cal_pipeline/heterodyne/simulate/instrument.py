"""Properties of the receiver: gain and receiver temperature of every channel and pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.config import Bandpass, Receiver

Array = NDArray[np.float64]


def random_stream(seed: int, *key: int) -> np.random.Generator:
    """Return the generator that belongs to a place in the session, independent of all others.

    Parameters
    ----------
    seed : int
        Seed of the session.
    key : int
        What the numbers are for, as non-negative integers.
    """
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(seed, spawn_key=key)))


def band_position(channels: int) -> Array:
    """Return the relative position of each channel in the band, from -1 to 1, shape (C,)."""
    return np.linspace(-1.0, 1.0, channels) if channels > 1 else np.zeros(1)


def bandpass_shape(bandpass: Bandpass, channels: int, ripple_phase: Array) -> Array:
    """Return the relative gain, (C, R, A), of pixels with a `ripple_phase` (R, A) [rad]."""
    x = band_position(channels)
    smooth = 1.0 + bandpass.tilt * x - bandpass.curvature * x**2
    cycles = np.pi * bandpass.ripple_cycles * x[:, np.newaxis, np.newaxis]
    shape = smooth[:, np.newaxis, np.newaxis] + bandpass.ripple * np.cos(cycles + ripple_phase)
    if bandpass.edge_width > 0.0:
        inside = np.minimum((1.0 - np.abs(x)) / 2.0 / bandpass.edge_width, 1.0)
        edge = bandpass.edge_level + (1.0 - bandpass.edge_level) * np.sin(np.pi / 2.0 * inside) ** 2
        shape *= edge[:, np.newaxis, np.newaxis]
    return np.asarray(shape)


def gain_and_t_rec(receiver: Receiver, seed: int, band: int) -> tuple[Array, Array]:
    """Return gain [ct/K] and t_rec_dsb [K], each (C, R, A).

    Pixels differ by draws that depend on `seed` and `band` only, so all scans of a session share
    them.
    """
    pixels = (len(receiver.pixel_offsets_deg), len(receiver.arrays))
    stream = random_stream(seed, 0, band)
    pixel_gain = 1.0 + receiver.gain_spread * stream.uniform(-1.0, 1.0, pixels)
    pixel_t_rec = 1.0 + receiver.t_rec_spread * stream.uniform(-1.0, 1.0, pixels)
    ripple_phase = stream.uniform(0.0, 2.0 * np.pi, pixels)
    x = band_position(receiver.channels)[:, np.newaxis, np.newaxis]
    gain = receiver.counts_per_kelvin * pixel_gain * bandpass_shape(receiver.bandpass, receiver.channels, ripple_phase)
    t_rec = receiver.t_rec_dsb * pixel_t_rec * (1.0 + receiver.t_rec_slope * x)
    offset = receiver.frequencies()[0] - receiver.signal_freq
    for wave in receiver.standing_waves:
        cosine = np.cos(2.0 * np.pi * offset / wave.period_hz + wave.phase_rad)[:, np.newaxis, np.newaxis]
        gain *= 1.0 + wave.gain_amplitude * cosine
        t_rec = t_rec + wave.t_rec_amplitude * cosine
    return gain, t_rec
