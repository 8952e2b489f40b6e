"""Step ``calibrate``: what turns counts into antenna temperature, and the noise to expect."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.run.threads import in_threads
from cal_pipeline.heterodyne.physics.calibration import expected_noise, kelvin_per_count
from cal_pipeline.heterodyne.physics.quality import channel_stride
from cal_pipeline.heterodyne.physics.sky import SkyDirection, Surroundings
from cal_pipeline.heterodyne.physics.switching import weighted_sum
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.stages import CalibrationStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.describe import median_of_channels

Floats = NDArray[np.float64]


class CalibrateStep(CalibrationStep):
    """Compute calibration factor, system temperature and expected noise of every ON.

    Spectra are computed block by block while they are written.
    """

    class_alias = "calibrate"

    spec = """
    min_transmission = float(min=0.0, max=1.0, default=0.001) # Bad channel: transmission at the ON below this
    precision        = option('lossless', 'radiometric', default='lossless') # Exact, or rounded to 1 % of sigma
    """

    min_transmission: float
    precision: str

    def describe_result(self, band: Band) -> str:
        """Say how noisy receiver and sky are, and how much is left out."""
        calibration, bad = band.require_calibration(), band.require_loads().solution.bad_channel
        some = slice(None, None, channel_stride(len(bad)))
        t_sys = median_of_channels(calibration.t_sys[some], bad[some])
        return f"T_sys {t_sys:.4g} K DSB (median), bad samples {100 * float(calibration.bad_channel.mean()):.2f} %"

    def process_band(self, band: Band, scan: Scan) -> None:
        """Work out the calibration of every ON of a band."""
        loads, pairing, sky = band.require_loads(), band.require_pairing(), band.require_atmosphere()
        at, solution = band.coordinates, loads.solution
        shape = (*solution.gamma.shape, pairing.on.size)
        factor, t_sys = np.empty(shape, order="F"), np.empty(shape, order="F")
        sigma, bad = np.empty(shape, np.float32, order="F"), np.empty(shape, np.bool_, order="F")

        def variance(off: int) -> Floats:
            # A chopped reference is one dump of its OFF, else it is the mean of all that are valid.
            dumps = np.ones_like(pairing.off_dumps[..., off]) if pairing.per_dump else pairing.off_dumps[..., off]
            with np.errstate(divide="ignore"):
                return np.asarray(1.0 / (dumps * at.exptime[pairing.off[off]]))

        variances = in_threads(variance, range(pairing.off.size), pairing.off_mean.size)
        load_difference = loads.means.hot - loads.means.cold

        def work_out(on: int) -> None:
            subscan = pairing.on[on]
            airmass = float(sky.on_airmass[on])
            pwv = np.atleast_2d(sky.fit.pwv if sky.fit.pwv.ndim < 3 else sky.fit.pwv[..., on])
            direction = SkyDirection.towards(
                loads.sidebands,
                sky.opacity,
                airmass,
                Surroundings(*(float(pairing.time_weights[on] @ sky_t) for sky_t in (sky.t_atm, sky.t_spill))),
                loads.forward_efficiency,
            )
            temperature, t_r = direction.observe(pwv)
            np.logical_or(solution.bad_channel, t_r < self.min_transmission, out=bad[..., on])
            kelvin_per_count(solution.t_cal, load_difference, t_r, bad[..., on], out=factor[..., on])
            np.add(solution.t_rec_dsb, temperature, out=t_sys[..., on])
            line_coupling = loads.sidebands.weight_signal * loads.forward_efficiency * loads.coupling
            expected_noise(
                t_sys[..., on],
                np.multiply(line_coupling, t_r, order="F"),
                band.channel_width,
                float(at.exptime[subscan]),
                weighted_sum(variances, pairing.weights[:, :, on] ** 2),
                out=sigma[..., on],
            )
            np.copyto(sigma[..., on], np.nan, where=bad[..., on])

        in_threads(work_out, range(pairing.on.size), factor.size)
        band.calibration = CalibrationStage(factor, bad, t_sys, sigma, self.precision)
