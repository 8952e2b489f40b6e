"""Step ``calibrate``: counts to antenna temperature, with expected noise."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.stream import Operation, Target
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.heterodyne.errors import NotFiniteError
from cal_pipeline.heterodyne.physics.calibration import (
    antenna_temperature,
    blank_channels,
    find_bad_channels,
    kelvin_per_count,
)
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.noise import (
    expected_noise,
    find_without_noise,
    integration_time,
    line_coupling,
    reference_variance,
    round_to_noise,
    rounding_shift,
    system_temperature,
    variance_of_mean,
)
from cal_pipeline.heterodyne.physics.power import (
    PowerLimits,
    count_repeated,
    largest_jump,
    power_limits,
    relative_power,
)
from cal_pipeline.heterodyne.physics.quality import channel_stride
from cal_pipeline.heterodyne.physics.sky import Air, SkyDirection, Surroundings
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import L1, L1Arrays
from cal_pipeline.heterodyne.stages import CalibrationStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import Dumps, SpectrumBlock
from cal_pipeline.steps.heterodyne.describe import median_of_channels
from cal_pipeline.steps.heterodyne.noise_shares import origin_of_noise

Floats = NDArray[np.float64]


class CalibrateStep(CalibrationStep):
    """Compute calibration factor, system temperature and expected noise of every ON.

    Spectra are computed block by block while they are written.

    Examples
    --------
    System temperatures of the session in the example of
    :class:`~cal_pipeline.CalibrationPipeline` agree with the simulated ones to 1 %:

    >>> from cal_pipeline.simulate import read_truth
    >>> from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep
    >>> scan = "session.zarr"
    >>> for step in (LoadsStep, PrepareStep, AtmosphereStep, CalibrateStep):
    ...     scan = step.call(scan)
    >>> t_sys = scan.bands[0].calibration.t_sys
    >>> f"{np.median(t_sys):.0f} K, {abs(t_sys / read_truth('session.zarr', 1).t_sys() - 1.0).max():.2f}"
    '230 K, 0.01'
    """

    class_alias = "calibrate"
    depends_on = ("loads", "gain", "pairing", "atmosphere")

    spec = """
    min_transmission = float(min=0.0, max=1.0, default=0.001) # Bad channel: transmission at the ON below this
    precision        = option('lossless', 'radiometric', default='lossless') # Exact, or rounded to 1 % of sigma
    """

    min_transmission: float
    precision: str

    def describe_result(self, band: Band) -> str:
        """Describe system temperature and bad samples."""
        calibration, bad = band.require_calibration(), band.bad_channel
        some = slice(None, None, channel_stride(len(bad)))
        t_sys = median_of_channels(calibration.t_sys[some], bad[some])
        return f"T_sys {t_sys:.4g} K DSB (median), bad samples {100 * float(calibration.bad_channel.mean()):.2f} %"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Work out the calibration of every ON of a band."""
        loads, pairing, sky = band.require_loads(), band.require_pairing(), band.require_atmosphere()
        at, solution, unsolved = band.coordinates, loads.solution, band.bad_channel
        shape = (*solution.gamma.shape, pairing.on.size)
        factor, t_sys = np.empty(shape, order="F"), np.empty(shape, order="F")
        sigma, bad = np.empty(shape, np.float32, order="F"), np.empty(shape, np.bool_, order="F")

        def variance(off: int) -> Floats:
            return variance_of_mean(pairing.dumps_in_reference(off), at.exptime[pairing.off[off]])

        variances = map_in_threads(variance, range(pairing.off.size), pairing.off_mean.size)
        load_difference = loads.means.difference
        # Mostly the temperatures are those of the ONs before.
        air_around = lru_cache(4)(partial(Air.around, loads.sidebands, sky.opacity, loads.forward_efficiency))

        def look(on: int, weights: Floats) -> tuple[Floats, Floats]:
            air = air_around(Surroundings.average(weights, sky.t_ground, sky.t_spill))
            return SkyDirection(air, float(sky.on_airmass[on])).observe(sky.pwv_at(on))

        changing = any(np.ptp(temperature) > 0.0 for temperature in (sky.t_ground, sky.t_spill))

        def work_out(on: int) -> None:
            temperature, t_r = look(on, pairing.time_weights[on])
            for weights, pixels in pairing.weights_of_gaps(on) if changing else ():
                temperature = np.broadcast_to(temperature, shape[:3]).copy(order="F")
                temperature[:, pixels] = np.broadcast_to(look(on, weights)[0], shape[:3])[:, pixels]
            find_bad_channels(unsolved, t_r, self.min_transmission, out=bad[..., on])
            kelvin_per_count(solution.t_cal, load_difference, t_r, bad[..., on], out=factor[..., on])
            system_temperature(solution.t_rec_dsb, temperature, out=t_sys[..., on])
            expected_noise(
                t_sys[..., on],
                line_coupling(loads.sidebands.weight_signal, loads.forward_efficiency, loads.coupling, t_r),
                band.channel_width,
                float(at.exptime[pairing.on[on]]),
                reference_variance(variances, pairing.weights[:, :, on]),
                out=sigma[..., on],
            )
            blank_channels(sigma[..., on], bad[..., on])

        map_in_threads(work_out, range(pairing.on.size), factor.size)
        band.calibration = CalibrationStage(factor, bad, t_sys, sigma, self.precision)

    @staticmethod
    def operation(band: Band) -> CalibrateDumps | None:
        """Return the work on samples; None without a calibration."""
        return CalibrateDumps(band, band.calibration) if band.calibration is not None else None

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return system temperature and noise of each ON, and the origin of that noise."""
        if band.calibration is None:
            return {}
        return origin_of_noise(band) | {"t_sys": band.calibration.t_sys, "sigma": band.calibration.sigma}


class CalibrateDumps(Operation[SpectrumBlock]):
    """Calibrate dumps to antenna temperature, and write them with their flags."""

    def __init__(self, band: Band, calibration: CalibrationStage) -> None:
        self._band, self._calibration = band, calibration
        self._on = band.require_pairing().on
        last = band.coupling or calibration
        self._t_sys, self._sigma, self._rounds = last.t_sys, last.sigma, calibration.precision == "radiometric"
        # Two beams are rounded once they are averaged.
        self._rounds_at_once = self._rounds and band.coupling is None
        self._without_noise = find_without_noise(last.sigma, last.t_sys)
        self._channel_flags = band.channel_flags

    def indexes(self, output: int) -> Iterable[int]:
        """Return the ONs of a spectrum."""
        return [int(self._on[on]) for on in self._band.ons_of(output)]

    def begin(self, target: Target) -> None:
        """Create the arrays of spectra and flags, and memory for their statistics."""
        n_channels, n_dumps, *pixels, _ = target.shape
        n_spectra = self._sigma.shape[-1]
        shape = (n_channels, n_dumps, *pixels, n_spectra)
        chunks = (min(target.rows, n_channels), *shape[1:4], 1)
        self._target = target
        dtype = "float32" if self._rounds else "float64"
        self._spectra = L1.create_array(target.group, "spectra", shape, chunks, target.present, dtype)
        self._flags = L1.create_array(target.group, "flags", shape, chunks, target.present)
        self._probe = np.full((n_channels, *pixels, n_spectra), np.nan, np.float32, order="F")
        # Blocks of different channels may learn of the same dumps; each has a row of its own.
        self._valid = np.zeros((target.n_blocks, n_dumps, self._on.size), np.bool_)
        of_blocks = (target.n_blocks, *pixels, n_spectra)
        self._missing, self._blank, self._flagged, self._bad = (np.zeros(of_blocks, np.int64) for _ in range(4))
        self._begin_power(n_dumps, pixels)

    def _begin_power(self, n_dumps: int, pixels: list[int]) -> None:
        """Create memory for the power of dumps, which the middle of the band tells."""
        of_ons = (*pixels, self._on.size)
        self._moves = self._band.moves_in_ons
        self._limits: dict[int, PowerLimits] = {}
        self._system: Floats | None = None
        self._implausible, self._repeated = np.zeros((self._target.n_blocks, *of_ons), np.int64), np.zeros(of_ons)
        self._levels = np.full((n_dumps, *of_ons), np.nan)
        self._level_channels = 0
        at = self._band.coordinates
        self._sample_noise = 1.0 / float(np.sqrt(self._band.channel_width * at.exptime[self._on].min()))

    def _find_system(self, channels: slice) -> Floats:
        """Compute the power of the reference on the scale of T_A* in some channels, from some of the ONs [K]."""
        calibration, some = self._calibration, sorted({0, self._on.size // 2, self._on.size - 1})
        system = calibration.t_sys[channels, ..., some] * calibration.factor[channels, ..., some]
        system = np.fmax.reduce(system, axis=-1) * self._band.require_loads().solution.gamma[channels]
        return np.where(np.isfinite(system) & (system > 0.0), system, np.nan)

    def _find_limits(self, block: SpectrumBlock) -> PowerLimits:
        """Return the limits of plausible T_A* in the channels of a block, the same for all ONs."""
        if block.number not in self._limits:
            system = self._find_system(block.rows)
            self._limits[block.number] = power_limits(system, self._sample_noise, self._moves)
        return self._limits[block.number]

    def _judge_power(self, block: SpectrumBlock, on: int, counts: NDArray[Any], dumps: Dumps) -> None:
        """Note the power of each dump of an ON, and dumps that are there twice."""
        if block.number == self._target.n_blocks // 2:
            if self._system is None:
                self._system = self._find_system(block.rows)
            self._levels[..., on], self._level_channels = relative_power(dumps.kelvin, self._system)
            self._repeated[..., on] = count_repeated(counts, self._system)

    def apply(self, block: SpectrumBlock) -> None:
        """Calibrate the ONs of a spectrum; round a single one to its noise if asked to."""
        calibration, channels = self._calibration, block.rows
        for on, reference in zip(self._band.ons_of(block.output), block.references, strict=True):
            counts = block.samples[int(self._on[on])]
            shift = rounding_shift(calibration.sigma[channels, ..., on]) if self._rounds_at_once else None
            dtype = np.float32 if self._rounds_at_once else np.float64
            limits = self._find_limits(block)
            dumps = Dumps(
                *antenna_temperature(
                    counts,
                    reference,
                    calibration.factor[channels, ..., on],
                    calibration.bad_channel[channels, ..., on],
                    block.memory(len(block.dumps), counts.shape, dtype),
                    shift,
                    limits,
                    self._implausible[block.number, ..., on],
                    self._moves,
                )
            )
            self._judge_power(block, on, counts, dumps)
            self._valid[block.number, :, on] = True if dumps.missing is None else ~dumps.missing.all(axis=(0, 2, 3))
            block.dumps.append(dumps)

    def write(self, block: SpectrumBlock) -> None:
        """Count the flags of a spectrum, round merged beams if asked to, and write it."""
        dumps, channels, output = block.dumps[0], block.rows, block.output
        kelvin, ons = dumps.kelvin, self._band.ons_of(output)
        bad = np.logical_or.reduce([self._calibration.bad_channel[channels, ..., on] for on in ons])
        flags = self._count_flags(block, bad)
        self._refuse_without_noise(block, bad, flags)
        with np.errstate(over="ignore"):
            self._probe[channels, ..., output] = kelvin[:, kelvin.shape[1] // 2]
        if self._rounds and not self._rounds_at_once:
            kelvin = block.memory("rounded", kelvin.shape, np.float32)
            round_to_noise(dumps.kelvin, self._sigma[channels, ..., output], kelvin)
        index = (block.number, 0, 0, 0, output)
        self._spectra.write_chunk(index, kelvin[..., None])
        if flags is None:
            self._flags.write_zeros(index)
        elif dumps.missing is None:
            # Bad channels and flags of channels are mostly those of every ON.
            self._flags.write_alike(index, (block.number, bad.tobytes()), flags[..., None])
        else:
            self._flags.write_chunk(index, flags[..., None])

    def _count_flags(self, block: SpectrumBlock, bad: NDArray[np.bool_]) -> NDArray[np.uint16] | None:
        """Count the flags of a spectrum whose bad channels are given, and return them; None without any."""
        dumps, index = block.dumps[0], (block.number, ..., block.output)
        flags, flagged = dumps.flags, bad
        of_channels = None if self._channel_flags is None else self._channel_flags[block.rows]
        if of_channels is not None and of_channels.any():
            flagged = bad | (of_channels != 0)
            # Without missing samples one dump is as good as the other: nothing is copied.
            same = of_channels | bad * np.uint16(Flag.BAD_CHANNEL)
            flags = np.broadcast_to(same[:, None], flags.shape) if dumps.missing is None else flags | same[:, None]
        if dumps.missing is None and not flagged.any():
            return None
        n_dumps = flags.shape[1]
        self._bad[index] = n_dumps * np.count_nonzero(bad, axis=0)
        self._blank[index] = self._bad[index]
        self._flagged[index] = n_dumps * np.count_nonzero(flagged, axis=0)
        if dumps.missing is not None:
            self._missing[index] = dumps.missing.sum(axis=(0, 1))
            self._blank[index] += (dumps.missing & ~bad[:, None]).sum(axis=(0, 1))
            self._flagged[index] += (dumps.missing & ~flagged[:, None]).sum(axis=(0, 1))
        return flags

    def _refuse_without_noise(
        self, block: SpectrumBlock, bad: NDArray[np.bool_], flags: NDArray[np.uint16] | None
    ) -> None:
        """Raise an error for good samples whose noise or system temperature is not finite."""
        if self._without_noise is None:
            return
        channels, output = block.rows, block.output
        lacking = self._without_noise[channels, ..., output] & ~bad
        good = lacking if flags is None else lacking & (flags == 0).any(axis=1)
        if good.any():
            channel, receiver, array = (int(index[0]) for index in np.nonzero(good))
            noise, t_sys = (values[channels, ..., output] for values in (self._sigma, self._t_sys))
            band, at, on = self._band, self._band.coordinates, int(self._on[self._band.ons_of(output)[0]])
            raise NotFiniteError(
                f"{band}: the noise of good samples is no number: of subscan {on}, channel "
                f"{channels.start + channel}, pixel {at.pixel[receiver, array]} sigma is "
                f"{noise[channel, receiver, array]:g} K and t_sys {t_sys[channel, receiver, array]:g} K; expected "
                f"finite ones. Look at freq_res ({band.channel_width:g} Hz), exptime ({at.exptime[on]:g} s) and "
                "the parameters of the step atmosphere"
            )

    def conclude(self) -> dict[str, Any]:
        """Write the integration times; return the statistics of the samples."""
        (first, second), target = self._band.outputs, self._target
        n_channels, n_dumps = target.shape[:2]
        t_int = integration_time(self._valid, self._band.coordinates.exptime[self._on], first, second)
        L1.write_array(target.group, "t_int", t_int, target.rows, target.present)
        bad, missing, blank, flagged = (
            count.sum(axis=(0, -1)) for count in (self._bad, self._missing, self._blank, self._flagged)
        )
        by_flag = {"": flagged, "BAD_CHANNEL": bad, "FILL_VALUE": missing}
        if self._channel_flags is not None:
            for flag in (Flag.SKY_OUTLIER, Flag.NOISY):
                n_channels_flagged = np.count_nonzero(self._channel_flags & flag, axis=0)
                by_flag[str(flag.name)] = n_channels_flagged * n_dumps * first.size
        n_samples = n_channels * n_dumps * first.size
        statistics = {"n_samples": n_samples, "flagged": by_flag, "n_blank": blank, "probe": self._probe}
        return statistics | self._conclude_power()

    def _conclude_power(self) -> dict[str, Any]:
        """Return the statistics of the power of samples and dumps."""
        noise = self._sample_noise / float(np.sqrt(max(self._level_channels, 1)))
        one_position = self._band.coordinates.share_position(self._on)
        return {
            "n_implausible": self._implausible.sum(axis=(0, -1)),
            "n_repeated": self._repeated.sum(axis=-1),
            "dump_jump": largest_jump(self._levels, noise, one_position, self._moves),
        }
