"""Results of the steps, one class a step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.modes import mode_named
from cal_pipeline.heterodyne.physics.gain import GainDrift
from cal_pipeline.heterodyne.physics.loads import LoadMeans, LoadSolution
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.pwv_fit import PwvFit
from cal_pipeline.heterodyne.physics.scale_error import ScaleError
from cal_pipeline.heterodyne.physics.sky import Opacity
from cal_pipeline.heterodyne.physics.sky_monitors import SkyMonitors
from cal_pipeline.heterodyne.physics.spikes import CLIP_SIGMA
from cal_pipeline.heterodyne.references.telescope import Site

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LoadStage:
    """Result of the step ``loads``: receiver properties, and the loads they were derived from.

    Parameters
    ----------
    sidebands : Sidebands
        Frequencies and weights of the sidebands.
    means : LoadMeans
        Mean counts on the loads.
    solution : LoadSolution
        Gain and receiver temperature.
    zero : ndarray, shape (C, R, A), or None
        Zero level to subtract from all counts [ct].
    forward_efficiency : ndarray, shape (A,)
        Forward efficiency of each array.
    coupling : float
        eta = eta_fss·gain_el_correction.
    scan_numbers : tuple of int
        Scans whose loads were used.
    reason : str
        Reason for the choice of these scans.
    instability : ndarray, shape (R, A)
        Relative change of the band-averaged counts on a load from dump to dump.
    following : LoadMeans or None
        The first loads after the scan.
    following_scan : int or None
        Scan number of `following`.
    telescope : str
        Name of the telescope's profile.
    telescope_sha256 : str
        Its SHA-256 digest.
    forward_efficiency_err : float
        1-sigma error of the forward efficiency.
    t_hot_err, t_cold_err : float
        1-sigma errors of the temperatures of the loads [K].
    image_gain_err : float
        1-sigma error of the logarithm of the image gain.
    assumed : tuple of str
        What nobody gave or recorded and was assumed, of ``forward_efficiency``, ``t_cold`` and
        ``image_gain``.
    site : Site or None
        Location of the telescope; None where the profile knows none.
    clip_sigma : float
        Distance from the median of its dumps beyond which a sample is a spike; 0: none is [sigma].
    load_spikes : ndarray of int, shape (R, A), or None
        Number of samples of the loads that were left out as spikes; None if they were not looked
        for.
    saturation_counts : float or None
        Counts from here on are missing, as the profile of the telescope says [ct].
    dropped_subscans : int
        Number of subscans of the loads that were left out, since their phase is unknown.
    passed_over : tuple of str
        Better candidates for the loads that could not be taken, with the reason against each.
    odd_times : int
        Number of things that are odd about the times of scan and loads.
    t_rec_jump : ndarray, shape (R, A), or None
        Relative change of the receiver temperature against earlier loads, as an absolute value.
    """

    sidebands: Sidebands
    means: LoadMeans
    solution: LoadSolution
    zero: Floats | None
    forward_efficiency: Floats
    coupling: float
    scan_numbers: tuple[int, ...]
    reason: str
    instability: Floats
    following: LoadMeans | None = None
    following_scan: int | None = None
    telescope: str = ""
    telescope_sha256: str = ""
    forward_efficiency_err: float = 0.02
    t_hot_err: float = 1.0
    t_cold_err: float = 2.0
    image_gain_err: float = 0.05
    site: Site | None = None
    assumed: tuple[str, ...] = ()
    clip_sigma: float = CLIP_SIGMA
    load_spikes: NDArray[np.int64] | None = None
    saturation_counts: float | None = None
    dropped_subscans: int = 0
    passed_over: tuple[str, ...] = ()
    odd_times: int = 0
    t_rec_jump: Floats | None = None

    @property
    def kind(self) -> str:
        """Inputs that calibrate the receiver: ``hot_cold``, or ``hot_sky`` where SKY stands for the cold load."""
        return "hot_cold" if self.means.sky_load is None else "hot_sky"


@dataclass(frozen=True)
class GainStage:
    """Result of the step ``gain``: drift of the receiver, and the counts to correct for it.

    Parameters
    ----------
    level : int
        2: correct the ONs; 3: correct ONs and OFFs; 0: no loads to derive a drift from.
    drift : GainDrift or None
        The drift.
    reason : str
        Loads that the drift was derived from, or the reason why there is none.
    unusable : ndarray of bool, shape (C, R, A), or None
        Channels without a drift in pixels that have one; None without a drift.
    """

    level: int
    drift: GainDrift | None
    reason: str
    unusable: NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class PairingStage:
    """Result of the step ``prepare``: pairing of ONs and OFFs, and the mean OFFs.

    Parameters
    ----------
    mode : str
        Observing mode.
    on, off : ndarray of int, shape (S_on,), (O,)
        Zero-based subscans of the ONs and OFFs, in the order of time.
    off_mean : ndarray, shape (C, R, A, O)
        Mean counts of each OFF as recorded, NaN without a valid dump [ct].
    off_dumps : ndarray of int, shape (C, R, A, O)
        Number of valid dumps in each mean.
    weights : ndarray, shape (R, A, S_on, O)
        Weights of the OFFs in the reference of each ON; in a chopped scan 1 for the OFF of the
        reduction group.
    time_weights : ndarray, shape (S_on, O)
        Weights from times (and beams) alone, without regard to missing data in a pixel.
    pair : ndarray of int, shape (R, A, S_on)
        Index into `off` of the OFF paired with each ON; -1 if a pixel has none.
    beam : ndarray of str, shape (S_on,)
        Beam of each ON, ``"A"`` or ``"B"``; empty for an unchopped scan.
    off_spikes : ndarray of int, shape (R, A), or None
        Number of samples of the OFFs that were left out as spikes; None if they were not looked
        for.
    dump_radiometer : ndarray, shape (C, R, A), or None
        Variance of the noise from dump to dump of the OFFs over that of the radiometer equation,
        NaN in bad channels; None if unknown, as in a chopped scan.
    noisy : ndarray of bool, shape (C, R, A), or None
        Channels that are much noisier than the others of their pixel; None if unknown.
    odd_times : int
        Number of things that are odd about the times of the subscans.
    """

    mode: str
    on: NDArray[np.int64]
    off: NDArray[np.int64]
    off_mean: Floats
    off_dumps: NDArray[np.int32]
    weights: Floats
    time_weights: Floats
    pair: NDArray[np.int64]
    beam: NDArray[np.str_]
    off_spikes: NDArray[np.int64] | None = None
    dump_radiometer: Floats | None = None
    noisy: NDArray[np.bool_] | None = None
    odd_times: int = 0

    @property
    def per_dump(self) -> bool:
        """Tell whether the reference of a dump is the same dump of the OFF, not a mean."""
        return mode_named(self.mode).per_dump

    @property
    def has_beams(self) -> bool:
        """Tell whether the ONs were observed in beams."""
        return bool((self.beam != "").any())

    @property
    def reduction_group(self) -> NDArray[np.int64]:
        """Index into `off` of the OFF in the reduction group of each ON of a chopped scan, shape (S_on,)."""
        return np.asarray(self.time_weights.argmax(axis=1))

    def weights_of_gaps(self, on: int) -> list[tuple[Floats, NDArray[np.bool_]]]:
        """Return the weights (O,) of an ON's reference that differ from those by time, with their pixels (R, A).

        They are those of pixels in which an OFF has no valid dump.
        """
        weights = self.weights[:, :, on]
        other = weights.any(axis=-1) & (weights != self.time_weights[on]).any(axis=-1)
        if not other.any():
            return []
        return [(kind, (weights == kind).all(axis=-1)) for kind in np.unique(weights[other], axis=0)]

    def dumps_in_reference(self, off: int) -> NDArray[np.int32]:
        """Return the number of dumps (C, R, A) of the OFF at an index that a reference is the mean of."""
        return np.ones_like(self.off_dumps[..., off]) if self.per_dump else self.off_dumps[..., off]

    def off_of(self, on: int) -> int:
        """Return the zero-based subscan of the OFF in the reduction group of an ON."""
        return int(self.off[self.time_weights[on].argmax()])


@dataclass(frozen=True)
class AtmosphereStage:
    """Result of the step ``atmosphere``: the sky above the scan.

    Parameters
    ----------
    strategy : str
        Name of the PWV strategy.
    fit : PwvFit
        PWV, its errors and the quality of the fit.
    opacity : Opacity
        Opacity against PWV at the pressure of the scan.
    on_airmass : ndarray, shape (S_on,)
        Airmass used to calibrate each ON.
    t_ground, t_spill : ndarray, shape (O,)
        Temperatures of the ground, which those of the layers follow, and of the spillover at each OFF [K].
    t_sky : ndarray, shape (C, R, A)
        Observed input temperature of the sky, mean over the OFFs [K].
    sky_residual : ndarray, shape (C, R, A)
        Observed minus fitted sky, mean over the OFFs [K].
    table : str
        Name of the atmosphere table; empty where the opacity was given.
    table_sha256 : str
        Its SHA-256 digest.
    table_version : int
        Version of its format; 0 without a table.
    scale_error : ScaleError
        Error of the scale of T_A*.
    outlier : ndarray of bool, shape (C, R, A)
        Channels without weight in at least half of the OFFs.
    monitors : SkyMonitors
        What the sky tells beyond the water vapour.
    """

    strategy: str
    fit: PwvFit
    opacity: Opacity
    on_airmass: Floats
    t_ground: Floats
    t_spill: Floats
    t_sky: Floats
    sky_residual: Floats
    table: str
    table_sha256: str
    table_version: int
    scale_error: ScaleError
    outlier: NDArray[np.bool_]
    monitors: SkyMonitors

    @property
    def knows_pwv(self) -> bool:
        """Tell whether the opacity follows from water vapour, rather than being given itself."""
        return self.strategy != "opacity"

    @property
    def water(self) -> Floats:
        """PWV that the opacity is evaluated at, in the shape of the fit; 0 where the opacity was given [mm]."""
        return self.fit.pwv if self.knows_pwv else np.zeros(self.fit.pwv.shape)

    def pwv_at(self, on: int) -> Floats:
        """Return the PWV above each pixel at an ON, shape (R, A), or (1, 1) where all share it [mm]."""
        pwv = self.water
        return np.atleast_2d(pwv if pwv.ndim < 3 else pwv[..., on])

    @property
    def tau_signal(self) -> Floats:
        """Zenith opacity in the signal sideband, shape (C,), (C, R, A) or (C, R, A, S_on) [Np]."""
        return self.opacity.signal(self.water)

    @property
    def tau_image(self) -> Floats:
        """Zenith opacity in the image sideband, shaped like `tau_signal` [Np]."""
        return self.opacity.image(self.water)


@dataclass(frozen=True)
class CalibrationStage:
    """Result of the step ``calibrate``: conversion of counts to kelvin, and expected noise.

    Parameters
    ----------
    factor : ndarray, shape (C, R, A, S_on)
        Kelvin of T_A* per count of ON - REF, NaN in bad channels.
    bad_channel : ndarray of bool, shape (C, R, A, S_on)
        Channels that are not calibrated.
    t_sys : ndarray, shape (C, R, A, S_on)
        Double-sideband system temperature [K].
    sigma : ndarray of float32, shape (C, R, A, S_on)
        Expected 1-sigma noise of one dump [K].
    precision : str
        ``lossless``, or ``radiometric`` for spectra that are rounded to a fraction of their noise.
    """

    factor: Floats
    bad_channel: NDArray[np.bool_]
    t_sys: Floats
    sigma: NDArray[np.float32]
    precision: str = "lossless"


@dataclass(frozen=True)
class CouplingStage:
    """Result of the step ``dbs``: pairs of ONs to average, with their noise and system temperature.

    Parameters
    ----------
    first, second : ndarray of int, shape (S_out,)
        Indices among the ONs for each spectrum: the ON that gives its position and time, and its
        partner of the other beam in the average; -1 without a partner.
    t_sys : ndarray, shape (C, R, A, S_out)
        Double-sideband system temperature, mean of the two [K].
    sigma : ndarray of float32, shape (C, R, A, S_out)
        Expected 1-sigma noise of one dump [K].
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    t_sys: Floats
    sigma: NDArray[np.float32]


@dataclass(frozen=True)
class SkydiffStage:
    """Result of the step ``skydiff``: blank-sky spectra to compare with those of earlier scans.

    Parameters
    ----------
    n : int
        Number of earlier skies to compare with.
    offs : ndarray of int, shape (E,)
        Zero-based subscans of the OFFs.
    mjds : ndarray, shape (E,)
        Times of observation (MJD) [d].
    spectra : ndarray, shape (C, R, A, E)
        S_obs [K].
    """

    n: int
    offs: NDArray[np.int64]
    mjds: Floats
    spectra: Floats


@dataclass(frozen=True)
class ChopStage:
    """Result of the step ``skychopdiff``: the ONs whose OFFs get their chop phases compared.

    Parameters
    ----------
    ons : ndarray of int, shape (G,)
        Indices among the ONs of the tagged ONs.
    partners : ndarray of int, shape (G,)
        Indices among the ONs of their partners of the other beam, -1 without one; the counts of
        both OFFs are averaged.
    """

    ons: NDArray[np.int64]
    partners: NDArray[np.int64]
