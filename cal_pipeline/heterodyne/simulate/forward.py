"""The forward model: from sky and loads to counts, block by block in channels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.physics.constants import TORR
from cal_pipeline.heterodyne.simulate.atmosphere import Opacities
from cal_pipeline.heterodyne.simulate.config import Receiver, SessionConfig
from cal_pipeline.heterodyne.simulate.errors import SimulationError, require
from cal_pipeline.heterodyne.simulate.faults import (
    DeadChannels,
    GainJump,
    MissingDumps,
    NoisyChannels,
    RandomSpurs,
    Spikes,
    Spur,
    pick,
)
from cal_pipeline.heterodyne.simulate.instrument import gain_and_t_rec, random_stream
from cal_pipeline.heterodyne.simulate.layers import AirColumn, Profile
from cal_pipeline.heterodyne.simulate.plan import ScanPlan, Subscan
from cal_pipeline.heterodyne.simulate.sky import SkyBand

Array = NDArray[np.float64]
Fault = TypeVar("Fault", GainJump, MissingDumps, DeadChannels, Spur, RandomSpurs, Spikes, NoisyChannels)

NOISE_BLOCK = 256
"""Channels per random stream; fixed, so that counts do not depend on the chunks."""

FILL = np.iinfo(np.int32).min
"""A missing dump in integer counts."""

GROUPS = ("calibration", "source")


@dataclass(frozen=True, eq=False)
class BandModel:
    """One band of one scan: all that is needed to make its counts.

    Parameters
    ----------
    config : SessionConfig
        The session.
    plan : ScanPlan
        The scan.
    band : int
        Index of the receiver in the scan.
    table : AtmosphereTable or AirColumn
        Zenith opacities.
    """

    config: SessionConfig
    plan: ScanPlan
    band: int
    table: Opacities

    @property
    def receiver(self) -> Receiver:
        """The band's receiver."""
        return self.plan.receivers[self.band]

    @property
    def pixels(self) -> tuple[int, int]:
        """Number of receivers and of arrays (R, A)."""
        return len(self.receiver.pixel_offsets_deg), len(self.receiver.arrays)

    @cached_property
    def instrument(self) -> tuple[Array, Array]:
        """Gain [ct/K] and t_rec_dsb [K], each (C, R, A)."""
        return gain_and_t_rec(self.receiver, self.config.seed, self.band)

    @cached_property
    def sky(self) -> SkyBand:
        """Atmosphere and antenna in the band's sidebands."""
        receiver, atmosphere, telescope = self.receiver, self.plan.atmosphere, self.config.telescope
        nu_s, nu_i = receiver.frequencies()
        pressure = stored_pressure(telescope.pressure_pa) * TORR
        b_s, c_s = self.table.coefficients(nu_s, pressure)
        b_i = c_i = np.full(nu_i.shape, np.nan)
        if np.any(receiver.gains > 0.0):
            b_i, c_i = self.table.coefficients(nu_i, pressure)
        c_s, c_i, ambient = atmosphere.dry_factor * c_s, atmosphere.dry_factor * c_i, self.t_ambient
        profile, image_profile = self._profiles(nu_s, nu_i, pressure)
        t_atm = ambient if atmosphere.t_atm is None else atmosphere.t_atm
        t_spill = ambient if atmosphere.t_spill is None else atmosphere.t_spill
        return SkyBand(
            nu_s,
            nu_i,
            b_s,
            c_s,
            b_i,
            c_i,
            receiver.gains,
            receiver.f_eff,
            receiver.coupling,
            t_atm,
            t_spill,
            profile=profile,
            image_profile=image_profile,
            **self._upper_layers(nu_s, nu_i, c_s, c_i),
        )

    @property
    def t_ambient(self) -> float:
        """Ambient temperature [K] as L0 holds it, rounded to 32 bits."""
        return float(np.float32(self.config.telescope.t_ambient))

    def _profiles(self, nu_s: Array, nu_i: Array, pressure: float) -> tuple[Profile | None, Profile | None]:
        """Return the layers in the signal sideband, and in the image sideband if they differ there."""
        layers = self.plan.atmosphere.layers
        if isinstance(layers, AirColumn):
            return layers.profile(nu_s), layers.profile(nu_i)
        return None if layers is None else layers.profile(self.t_ambient, pressure), None

    def _upper_layers(self, nu_s: Array, nu_i: Array, c_s: Array, c_i: Array) -> dict[str, Any]:
        """Return the layers of narrow lines above the rest of the atmosphere, where there are any."""
        layer, unknown = self.plan.atmosphere.layer, self.plan.atmosphere.unknown
        double = bool(np.any(self.receiver.gains > 0.0))
        result: dict[str, Any] = {}
        if layer is not None:
            image = layer.opacity(nu_i, c_i) if double else np.zeros(nu_i.shape)
            result |= {"layer_s": layer.opacity(nu_s, c_s), "layer_i": image, "t_layer": layer.temperature}
        if unknown is not None:
            image = unknown.opacity(nu_i) if double else np.zeros(nu_i.shape)
            result |= {"unknown_s": unknown.opacity(nu_s), "unknown_i": image, "t_unknown": unknown.temperature}
        return result

    def added(self, subscan: Subscan) -> Array:
        """Return the imperfections of a subscan at the receiver's input [K], shape (C, D)."""
        config, phase = self.config, subscan.phase
        offset = self.sky.nu_s - self.receiver.signal_freq
        total = np.zeros((offset.size, phase.dumps))
        if phase.kind in ("hot", "cold", "zero"):
            return total
        for wave in config.sky_waves:
            total += wave.temperature(offset, subscan.hours)[:, np.newaxis]
        if config.imbalance is not None and phase.kind == "on" and phase.beam:
            sign = 1.0 if phase.beam == "A" else -1.0
            total += sign * config.imbalance.profile(offset)[:, np.newaxis]
        if config.chop_phase_offset is not None and phase.beam:
            total += config.chop_phase_offset.profile(offset)
        return total

    @cached_property
    def line_profiles(self) -> tuple[Array, Array]:
        """Peak T_A* [K] on the sky of each line in signal and image sideband, each (L, C)."""
        lines, centre = self.plan.lines, self.plan.receivers[0].signal_freq
        profiles = []
        for sideband, nu in (("signal", self.sky.nu_s), ("image", self.sky.nu_i)):
            rows = [
                line.profile(nu, centre) if line.sidebands in ("both", sideband) else np.zeros(nu.shape)
                for line in lines
            ]
            profiles.append(np.array(rows).reshape(len(lines), nu.size))
        return profiles[0], profiles[1]

    @cached_property
    def off_amplitude(self) -> Array:
        """Brightness of each line in the OFFs relative to its peak, shape (L,)."""
        return np.array([line.off_amplitude for line in self.plan.lines], dtype=np.float64)

    def amplitudes(self, subscan: Subscan) -> Array:
        """Return the brightness of each line relative to its peak, (L, D, R, A), in an ON or OFF."""
        offsets = np.array(self.receiver.pixel_offsets_deg)
        lon = subscan.phase.lon[:, np.newaxis] + offsets[:, 0]
        lat = subscan.phase.lat[:, np.newaxis] + offsets[:, 1]
        shape = (len(self.plan.lines), *lon.shape, self.pixels[1])
        if subscan.phase.kind == "off":
            return np.broadcast_to(self.off_amplitude[:, np.newaxis, np.newaxis, np.newaxis], shape)
        result = np.ones(shape)
        for row, line in zip(result, self.plan.lines, strict=True):
            if line.source is not None:
                row[:] = line.source.amplitude(lon, lat)[:, :, np.newaxis]
        return result

    def subscans(self, group: str) -> list[Subscan]:
        """Return the subscans of `group` (source or calibration)."""
        return self.plan.groups().get(group, [])

    def missing(self, group: str, index: int) -> NDArray[np.bool_]:
        """Return which samples in time of a subscan are lost, shape (D, R, A)."""
        dumps = self.subscans(group)[index].phase.dumps
        lost = np.zeros((dumps, *self.pixels), dtype=bool)
        faults = self.plan.faults
        if faults.missing_fraction > 0.0 and group == "source":
            stream = random_stream(self.config.seed, 2, *self._key(group, index))
            lost = stream.uniform(size=lost.shape) < faults.missing_fraction
        for fault in self._own(faults.missing):
            if (fault.group, fault.subscan) == (group, index):
                rows = list(range(dumps) if fault.dumps is None else fault.dumps)
                lost[rows, pick(fault.receiver), pick(fault.array)] = True
        return lost

    @cached_property
    def dead(self) -> NDArray[np.bool_]:
        """Channels that deliver nothing, shape (C, R, A)."""
        dead = np.zeros((self.receiver.channels, *self.pixels), dtype=bool)
        for fault in self._own(self.plan.faults.dead):
            dead[fault.start : fault.stop, pick(fault.receiver), pick(fault.array)] = True
        return dead

    @cached_property
    def spurred(self) -> list[NDArray[np.bool_]]:
        """Channels hit by each of the random spurs, (C, R, A) each."""
        return [self._draw_channels(spurs, 3, position) for position, spurs in enumerate(self.plan.faults.random_spurs)]

    @cached_property
    def noise_factor(self) -> Array:
        """Noise of the channels relative to the radiometer equation, shape (C, R, A)."""
        factor = np.ones((self.receiver.channels, *self.pixels))
        for position, noisy in enumerate(self.plan.faults.noisy):
            hit = self._draw_channels(noisy, 4, position)
            hit[: noisy.start] = False
            hit[self.receiver.channels if noisy.stop is None else noisy.stop :] = False
            factor[hit] *= noisy.factor
        return factor

    def counts(self, group: str, index: int, start: int, stop: int) -> Array:
        """Return counts (C, D, R, A) of channels start ≤ c < stop of a subscan; NaN if missing."""
        first = start // NOISE_BLOCK
        parts = []
        for block in range(first, -(-stop // NOISE_BLOCK)):
            low, high = block * NOISE_BLOCK, min((block + 1) * NOISE_BLOCK, self.receiver.channels)
            part = self._block(group, index, block, low, high)
            parts.append(part[max(start - low, 0) : stop - low])
        counts = parts[0] if len(parts) == 1 else np.concatenate(parts)
        if self.plan.faults.saturation_counts is not None:
            np.minimum(counts, self.plan.faults.saturation_counts, out=counts)
        if self.plan.faults.dead:
            np.copyto(counts, 0.0, where=self.dead[start:stop, np.newaxis])
        counts[:, self.missing(group, index)] = np.nan
        return counts

    def check(self) -> None:
        """Raise `SimulationError` if the band cannot be simulated, before anything is written."""
        receiver, kinds = self.receiver, {subscan.phase.kind for subscan in self.plan.calibration}
        where = f"scan {self.plan.number}, {receiver.name}"
        require(float(self.sky.nu_s.min()) > 0.0, f"{where}: signal frequencies must be positive")
        silent = receiver.zero_level == 0.0 or "zero" in kinds
        require(silent, f"{where}: zero_level needs a ZERO among the loads")
        chop = self.config.chop_phase_offset
        phases = len(chop.temperatures) if chop is not None else None
        for subscan in self.plan.observed:
            fits = phases in (None, subscan.phase.dumps) or not subscan.phase.beam
            require(fits, f"{where}: {phases} chop phase offsets for {subscan.phase.dumps} dumps")
            dry = min(self._water(subscan)) < 0.0
            require(not dry, f"{where}: pwv_per_deg makes the PWV of a pixel negative")
        self._check_loads(where)
        faults = self.plan.faults
        for dead in self._own(faults.dead):
            self._check_fault(where, dead.stop - 1, dead.receiver, dead.array)
        for spur in self._own(faults.spurs):
            self._check_fault(where, spur.channel + spur.width - 1, spur.receiver, spur.array)
        for noisy in self._own(faults.noisy):
            self._check_fault(where, noisy.start if noisy.stop is None else noisy.stop - 1, noisy.receiver, noisy.array)
        for spurs in self._own(faults.random_spurs):
            self._check_fault(where, 0, spurs.receiver, spurs.array)
        for spikes in self._own(faults.spikes):
            self._check_fault(where, 0, spikes.receiver, spikes.array)
        for jump in self._own(faults.gain_jumps):
            self._check_fault(where, 0, jump.receiver, jump.array)
        for missing in self._own(faults.missing):
            self._check_fault(where, 0, missing.receiver, missing.array)
            subscans, root = self.subscans(missing.group), f"({missing.group} {missing.subscan})"
            if subscans:  # else another scan's group is meant
                known = 0 <= missing.subscan < len(subscans)
                require(known, f"{where}: missing dumps in a subscan of {len(subscans)} {root}")
                dumps = subscans[missing.subscan].phase.dumps
                inside = all(0 <= dump < dumps for dump in missing.dumps or ())
                require(inside, f"{where}: missing dumps {missing.dumps} of {dumps} {root}")

    def _check_loads(self, where: str) -> None:
        """Check that loads given for each array are given for all of them."""
        for kind in ("hot", "cold"):
            for values in self.plan.loads.true_load(kind):
                fits = values.size in (1, self.pixels[1])
                require(fits, f"{where}: {kind} load of {values.size} arrays, the receiver has {self.pixels[1]}")

    @cached_property
    def _adds(self) -> bool:
        config = self.config
        return bool(config.sky_waves) or config.imbalance is not None or config.chop_phase_offset is not None

    def _own(self, faults: tuple[Fault, ...]) -> list[Fault]:
        """Return the faults that concern this band."""
        return [fault for fault in faults if fault.band in (None, self.band)]

    def _check_fault(self, where: str, channel: int, receiver: int | None, array: int | None) -> None:
        for axis, number, length in (
            ("channel", channel, self.receiver.channels),
            ("receiver", receiver, self.pixels[0]),
            ("array", array, self.pixels[1]),
        ):
            inside = number is None or 0 <= number < length
            require(inside, f"{where}: a fault in {axis} {number} of {length}")

    def _draw_channels(self, fault: RandomSpurs | NoisyChannels, purpose: int, position: int) -> NDArray[np.bool_]:
        """Draw the channels that a fault hits, (C, R, A); they are those of every scan."""
        shape = (self.receiver.channels, *self.pixels)
        if fault.band not in (None, self.band):
            return np.zeros(shape, dtype=bool)
        hit = random_stream(self.config.seed, purpose, self.band, position).uniform(size=shape) < fault.fraction
        return np.asarray(hit & self._chosen_pixels(fault))

    def _chosen_pixels(self, fault: RandomSpurs | NoisyChannels | Spikes) -> NDArray[np.bool_]:
        """Return the pixels that a fault concerns, shape (R, A)."""
        chosen = np.zeros(self.pixels, dtype=bool)
        chosen[pick(fault.receiver), pick(fault.array)] = True
        return chosen

    def _key(self, group: str, index: int) -> tuple[int, int, int, int]:
        return self.plan.number, self.band, GROUPS.index(group), index

    def _block(self, group: str, index: int, block: int, low: int, high: int) -> Array:
        subscan = self.subscans(group)[index]
        gain, t_rec = (values[low:high, np.newaxis] for values in self.instrument)
        drift, hours = self.config.drift, self._hours(subscan)
        total = np.zeros((high - low, subscan.phase.dumps, *self.pixels))
        if subscan.phase.kind != "zero":
            total += t_rec + self._input(subscan, low, high)
            self._add_spurs(total, subscan, index, low, high)
            self._add_random_spurs(total, group, index, block)
        factor = 1.0 + drift.gain_per_hour * hours
        require(bool(np.all(factor > 0.0)), f"gain_per_hour makes the gain negative in scan {self.plan.number}")
        if self.plan.faults.gain_jumps:
            factor = factor * self._jumps(group, index)
        counts = gain * (factor * total + drift.offset_per_hour * hours) + self.receiver.zero_level
        if self.config.noise:
            bandwidth = abs(self.receiver.freq_res)
            root = np.sqrt(bandwidth * np.float64(np.float32(subscan.phase.exptime)))
            stream = random_stream(self.config.seed, 1, *self._key(group, index), block)
            total *= stream.standard_normal(total.shape)
            if self.plan.faults.noisy:
                total *= self.noise_factor[low:high, np.newaxis]
            counts += gain * (factor / root) * total
        return np.asarray(counts)

    def _jumps(self, group: str, index: int) -> Array:
        """Return the gain of a subscan relative to that before all jumps, shape (R, A)."""
        now = (GROUPS.index(group), index)
        factor = np.ones(self.pixels)
        for jump in self._own(self.plan.faults.gain_jumps):
            if now >= (GROUPS.index(jump.group), jump.subscan):
                factor[pick(jump.receiver), pick(jump.array)] *= 1.0 + jump.change
        return factor

    def _hours(self, subscan: Subscan) -> Array:
        """Return the time of each dump since the session's start [h], shape (D, 1, 1)."""
        dumps = subscan.phase.dumps
        hours = np.full(dumps, subscan.hours)
        if self.config.drift.per_dump:
            hours += (np.arange(dumps) - (dumps - 1) / 2.0) * float(np.float32(subscan.phase.exptime)) / 3600.0
        return hours[:, np.newaxis, np.newaxis]

    def _input(self, subscan: Subscan, low: int, high: int) -> Array:
        """T_in [K] of a subscan, broadcastable to (C, D, R, A)."""
        sky, kind, loads = self.sky.channels(low, high), subscan.phase.kind, self.plan.loads
        if kind in ("hot", "cold"):
            physical, share = loads.true_load(kind)
            seen = sky.load(physical)
            if np.any(share < 1.0):
                seen = share * seen + (1.0 - share) * sky.load(self.t_ambient)
            return seen[:, np.newaxis, np.newaxis, :]
        water = self._water(subscan)
        result = np.stack([sky.sky(pwv, subscan.airmass, subscan.grey) for pwv in water], axis=1)[:, np.newaxis]
        if self._adds:
            result = result + self.added(subscan)[low:high, :, np.newaxis, np.newaxis]
        if self.plan.lines and (kind == "on" or (kind == "off" and np.any(self.off_amplitude))):
            amplitude = self.amplitudes(subscan)
            responses = [sky.line_response(pwv, subscan.airmass, subscan.grey) for pwv in water]
            for profile, factors in zip(self.line_profiles, zip(*responses, strict=True), strict=True):
                source = np.einsum("lc,ldra->cdra", profile[:, low:high], amplitude)
                result = result + np.stack(factors, axis=1)[:, np.newaxis] * source
        return result

    def _water(self, subscan: Subscan) -> list[float]:
        """Return the water vapour [mm] that each receiver sees, or one that all see."""
        slope = self.plan.atmosphere.pwv_per_deg
        if slope == 0.0:
            return [subscan.pwv]
        return [subscan.pwv + slope * lon for lon, _ in self.receiver.pixel_offsets_deg]

    def _add_spurs(self, total: Array, subscan: Subscan, index: int, low: int, high: int) -> None:
        for spur in self._own(self.plan.faults.spurs):
            wanted = _concerns(spur, subscan) and spur.subscan in (None, index)
            start, stop = max(spur.channel, low), min(spur.channel + spur.width, high)
            if wanted and start < stop:
                rows = list(range(total.shape[1]) if spur.dumps is None else spur.dumps)
                for channel in range(start - low, stop - low):
                    total[channel][rows, pick(spur.receiver), pick(spur.array)] += spur.temperature

    def _add_random_spurs(self, total: Array, group: str, index: int, block: int) -> None:
        """Add random spurs and spikes to the input of a block of channels, (C, D, R, A)."""
        subscan, seed, key = self.subscans(group)[index], self.config.seed, (*self._key(group, index), block)
        low, faults = block * NOISE_BLOCK, self.plan.faults
        for position, spurs in enumerate(faults.random_spurs):
            hit = self.spurred[position][low : low + total.shape[0]]
            if _concerns(spurs, subscan) and hit.any():
                strength = random_stream(seed, 5, *key, position).standard_exponential(hit.shape)
                total += (spurs.temperature * strength * hit)[:, np.newaxis]
        for position, spikes in enumerate(faults.spikes):
            if _concerns(spikes, subscan) and spikes.band in (None, self.band):
                stream = random_stream(seed, 6, *key, position)
                struck = (stream.uniform(size=total.shape) < spikes.fraction) & self._chosen_pixels(spikes)
                total[struck] += spikes.temperature * stream.standard_exponential(np.count_nonzero(struck))


def _concerns(fault: Spur | RandomSpurs | Spikes, subscan: Subscan) -> bool:
    return fault.kinds is None or subscan.phase.kind in fault.kinds


def stored_pressure(pressure_pa: float) -> float:
    """Return the ambient pressure [Torr] as L0 holds it, rounded to 32 bits."""
    return float(np.float32(pressure_pa / TORR))


def to_integers(counts: Array, where: str) -> NDArray[np.int32]:
    """Round counts to 32-bit integers; NaN becomes the fill value.

    Raises
    ------
    SimulationError
        If a count does not fit; `where` names the scan in its message.
    """
    rounded = np.rint(counts)
    missing = np.isnan(rounded)
    rounded[missing] = 0.0
    if rounded.size and max(rounded.max(), -rounded.min()) >= -float(FILL):
        raise SimulationError(
            f"{where}: counts up to {np.abs(rounded).max():.3g} do not fit in 32 bits; lower counts_per_kelvin"
        )
    integers = rounded.astype(np.int32)
    integers[missing] = FILL
    return integers
