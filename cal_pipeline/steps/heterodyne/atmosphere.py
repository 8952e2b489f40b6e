"""Step ``atmosphere``: water vapour and opacity from the sky in the OFFs."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError, LayoutError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.parameters.resolved import DEFAULT
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.heterodyne.coordinates import find_observed, refuse
from cal_pipeline.heterodyne.errors import FrequencyRangeError, NotFiniteError
from cal_pipeline.heterodyne.physics.constants import SECONDS_A_DAY, TORR
from cal_pipeline.heterodyne.physics.loads import SkyLoad
from cal_pipeline.heterodyne.physics.observed_sky import observed_sky
from cal_pipeline.heterodyne.physics.opacity import airmass
from cal_pipeline.heterodyne.physics.planck import Sidebands
from cal_pipeline.heterodyne.physics.pwv import PwvSearch
from cal_pipeline.heterodyne.physics.pwv_fit import PwvFit
from cal_pipeline.heterodyne.physics.scale_error import (
    FITTED,
    TERMS,
    Inputs,
    LoadSlopes,
    ScaleError,
    assess_scale,
    gain_error,
    mean_of_valid,
    respond_to_inputs,
    shift_pwv,
)
from cal_pipeline.heterodyne.physics.sky import Air, ModelledSky, Opacity, SkyDirection, Surroundings
from cal_pipeline.heterodyne.physics.sky_load import model_sky_load
from cal_pipeline.heterodyne.physics.sky_monitors import monitor_sky
from cal_pipeline.heterodyne.physics.sky_observation import SkyObservation, view_sky
from cal_pipeline.heterodyne.physics.strategies import KNOWN_BEFOREHAND, STRATEGIES, FitSettings, Water
from cal_pipeline.heterodyne.references.atm_table import AtmRangeError, AtmTable
from cal_pipeline.heterodyne.references.shipped import find_atm_table, open_atm_table
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.schema import SOURCE_COORDINATES, TAMB, Described, L1Arrays
from cal_pipeline.heterodyne.sky_record import SkyRecord
from cal_pipeline.heterodyne.stages import AtmosphereStage, LoadStage, PairingStage
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.describe import median_of_pixels

logger = logging.getLogger(__name__)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Sky:
    """SkyObservation of the sky in a band, for the fit of the water vapour, and its ingredients."""

    band: Band
    table: AtmTable | None
    opacity: Opacity
    surroundings: list[Surroundings]
    off: list[NDArray[np.float64]]
    observation: SkyObservation

    @property
    def samples(self) -> int:
        """Number of samples in the means of the OFFs."""
        return self.band.require_pairing().off_mean.size

    @property
    def on_airmass(self) -> float:
        """Mean airmass of the ONs."""
        return float(airmass(self.band.coordinates.elevation[self.band.require_pairing().on]).mean())

    @property
    def opacity_per_mm(self) -> float:
        """Opacity that a mm of water vapour adds towards the ONs in the signal sideband, a median [Np/mm]."""
        return self.on_airmass * float(np.median(self.opacity.b[0, -1]))


def _require_ambient(value: float) -> float:
    """Return a temperature that occurs outside a telescope [K]; raise ValueError for any other."""
    number = np.array([value], np.float64)
    if TAMB.find_unsound(number).any():
        raise ValueError(f"{TAMB.expected}{TAMB.guess_unit(number)}")
    return value


class AtmosphereStep(CalibrationStep):
    """Fit precipitable water vapour to the OFFs and compute the opacity.

    Examples
    --------
    The water in the example of :class:`~cal_pipeline.CalibrationPipeline`, with the error that 3 % of
    error in the opacity bring:

    >>> from cal_pipeline.steps import AtmosphereStep, LoadsStep, PrepareStep
    >>> scan = PrepareStep.call(LoadsStep.call("session.zarr"))
    >>> fit = AtmosphereStep.call(scan).bands[0].atmosphere.fit
    >>> f"{fit.pwv:.2f} ± {fit.error_model:.2f} mm"
    '0.50 ± 0.02 mm'
    """

    class_alias = "atmosphere"
    depends_on = ("loads", "gain", "pairing")
    reference_file_types = ["atm"]

    spec = f"""
    link_bands     = boolean(default=False)                   # One PWV for all bands of a scan
    strategy       = option({", ".join(repr(name) for name in STRATEGIES)}, default='full') # How PWV is found
    pwv            = float(min=0.0, default=None)             # Given PWV, for strategy 'fixed' [mm]
    zenith_opacity = float(min=0.0, default=None)             # Given zenith opacity, for strategy 'opacity' [Np]
    pwv_min        = float(min=0.0, default=0.001)            # Smallest PWV [mm]
    pwv_max        = float(min=0.0, default=10.0)             # Largest PWV [mm]
    pwv_grid_steps = integer(min=2, default=100)              # Points of the grid that the fit starts from
    model_error    = float(min=0.0, default=0.03)             # Fractional error of the opacity model
    airmass        = option('subscan', 'scan', default='subscan') # Airmass of each ON, or the mean of the scan
    t_ground       = float(min=0.0, default=None)             # Temperature of the air at the telescope (tamb) [K]
    t_spill        = float(min=0.0, default=None)             # Temperature of the spillover (tamb of the OFF) [K]
    t_atm          = float(min=0.0, default=None)             # One layer of this temperature instead of layers [K]
    robust         = boolean(default=True)                    # Take weight from channels that the model does not fit
    t_ground_err   = float(min=0.0, default=None)             # Error of t_ground (2, or 10 without layers) [K]
    profile_err    = float(min=0.0, default=0.2)              # Relative error of the layers' temperature offsets
    dry_opacity_err = float(min=0.0, default=0.1)             # Relative error of dry or given opacity
    pwv_fixed_err  = float(min=0.0, default=0.1)              # Relative error of a given PWV
    """

    coercions = dict.fromkeys(("t_atm", "t_ground", "t_spill"), _require_ambient)

    link_bands: bool
    strategy: str
    pwv: float | None
    zenith_opacity: float | None
    pwv_min: float
    pwv_max: float
    pwv_grid_steps: int
    model_error: float
    airmass: str
    t_ground: float | None
    t_spill: float | None
    t_atm: float | None
    robust: bool
    t_ground_err: float | None
    profile_err: float
    dry_opacity_err: float
    pwv_fixed_err: float

    def check_parameters(self) -> None:
        """Refuse bounds that are none, and the strategy ``fixed`` without a PWV."""
        if not 0.0 < self.pwv_min < self.pwv_max:
            raise ParameterError(
                f"atmosphere: pwv_min = {self.pwv_min:g} and pwv_max = {self.pwv_max:g} mm, "
                "expected 0 < pwv_min < pwv_max"
            )
        if self.strategy == "fixed" and self.pwv is None:
            raise ParameterError("atmosphere: strategy 'fixed' needs pwv, in mm")
        if self.strategy == "opacity" and self.zenith_opacity is None:
            raise ParameterError(
                "atmosphere: strategy 'opacity' needs zenith_opacity, in Np: give "
                "--steps.atmosphere.zenith_opacity=0.1, with the opacity at the zenith in place of 0.1"
            )
        self._refuse_idle_of_strategy()
        if self.t_atm is not None:
            self.refuse_idle("t_ground", "t_atm", "which makes the atmosphere one layer; leave one of them out")
        if self.link_bands and self.strategy not in ("full", *KNOWN_BEFOREHAND):
            raise ParameterError(
                f"atmosphere: link_bands makes the bands share one PWV, strategy {self.strategy!r} gives each pixel "
                "its own; expected strategy 'full'"
            )

    def _refuse_idle_of_strategy(self) -> None:
        """Refuse parameters that have no effect with the strategy."""
        given = self.given_or_default("strategy")
        if self.strategy == "fixed" or given == "opacity":
            for name in ("pwv_min", "pwv_max", "pwv_grid_steps"):
                self.refuse_idle(name, "strategy", "leave it out, or choose a strategy that fits PWV")
        if given == "opacity":
            for name in ("t_ground", "profile_err", "link_bands", "robust"):
                self.refuse_idle(name, "strategy", "which takes one layer at t_atm and fits nothing; leave it out")
        if given != "fixed":
            for name in ("pwv", "pwv_fixed_err"):
                self.refuse_idle(name, "strategy", f"give strategy = 'fixed' with it, or leave {name} out")
        # Before a scan is there, the file for its data may still choose the strategy.
        if self.parameters.origin("strategy") != DEFAULT:
            self._refuse_idle_opacity()

    def _refuse_idle_opacity(self) -> None:
        """Refuse a zenith opacity that no strategy takes."""
        if self.strategy != "opacity":
            self.refuse_idle("zenith_opacity", "strategy", "give strategy = 'opacity' with it, or leave it out")

    def open_reference(self, path: Path) -> object:
        """Open an atmosphere table."""
        return open_atm_table(path)

    def describe_result(self, band: Band) -> str:
        """Describe the water vapour and its errors."""
        sky = band.require_atmosphere()
        if not sky.knows_pwv:
            return f"zenith opacity {self.zenith_opacity:.4g} Np (given), strategy {sky.strategy}, PWV not known"
        pwv, error, model, chi2 = (
            median_of_pixels(getattr(sky.fit, name)) for name in ("pwv", "error", "error_model", "chi2")
        )
        errors = "mm (given)" if sky.strategy == "fixed" else f"± {error:.2g} (statistical) ± {model:.2g} (model) mm"
        median = " (medians)" if np.size(sky.fit.pwv) > 1 else ""
        bounds = ", at a bound" if np.any(sky.fit.at_bound) else ""
        return f"PWV {pwv:.4g} {errors}, chi² {chi2:.3g}{median}{bounds}, strategy {sky.strategy}, table {sky.table}"

    def process_scan(self, scan: Scan) -> None:
        """Find PWV and opacity for the bands of a scan."""
        self._refuse_idle_opacity()
        samples = sum(band.require_pairing().off_mean.size for band in scan.bands)
        each = partial(map_in_threads, samples=samples)
        search = PwvSearch((self.pwv_min, self.pwv_max), self.pwv_grid_steps, self.robust)
        settings = FitSettings(search, self.pwv, each)
        skies = [self._observe_sky(band) for band in scan.bands]
        for linked in [skies] if self.link_bands else [[sky] for sky in skies]:
            observations = [sky.observation for sky in linked]
            pairs = [sky.band.require_pairing().pair for sky in linked]
            waters = STRATEGIES[self.strategy](observations, pairs, settings)
            for sky, water in zip(linked, waters, strict=True):
                if self.strategy != "opacity" and not np.isfinite(water.fit.pwv).any():
                    raise NotFiniteError(self._why_no_pwv(sky, linked))
            errors = self._scale_errors(linked, waters)
            for sky, water, error in zip(linked, waters, errors, strict=True):
                sky.band.atmosphere = self._conclude(sky, water, error)

    @staticmethod
    def l1_arrays(band: Band) -> L1Arrays:
        """Return PWV and opacity; values per pair are taken at the ON of a spectrum's position."""
        sky = band.atmosphere
        if sky is None:
            return {}
        arrays = {
            "pwv": sky.fit.pwv,
            "pwv_err": sky.fit.error,
            "pwv_err_model": sky.fit.error_model,
            "pwv_chi2": sky.fit.chi2,
        }
        if sky.fit.pwv.ndim == 3 and band.pairing is not None:
            arrays = {name: values[..., band.outputs[0]] for name, values in arrays.items()}
        pwv = arrays["pwv"] if sky.knows_pwv else sky.water
        opacities = {"tau_signal": partial(sky.opacity.signal, pwv), "tau_image": partial(sky.opacity.image, pwv)}
        return {
            **arrays,
            **opacities,
            "t_sky": sky.t_sky,
            "sky_residual": sky.sky_residual,
            "scale_error": sky.scale_error.total,
            "scale_error_terms": Described(
                sky.scale_error.terms, {"terms": list(TERMS), "sigma_inputs": list(sky.scale_error.inputs)}
            ),
        }

    def _why_no_pwv(self, sky: _Sky, linked: list[_Sky]) -> str:
        """Say why the water vapour of a band came out as no number."""
        names = " and ".join(str(one.band) for one in linked) if self.link_bands else str(sky.band)
        if self.strategy == "fixed":
            return f"{names}: pwv is {self.pwv} mm, expected a finite number (parameter pwv of the step atmosphere)"
        reasons = [reason for one in linked for reason in _missing_weights(one)]
        remedy = "mend that, or give a PWV (strategy='fixed', pwv=… of the step atmosphere)"
        if not reasons:
            return f"{names}: the fit of the water vapour to the OFFs ended without a number, expected mm; {remedy}"
        return f"{names}: the water vapour cannot be fitted to the OFFs: {'; '.join(reasons)}; {remedy}"

    def _observe_sky(self, band: Band) -> _Sky:
        """Prepare the observation of the sky in a band for the fit of the water vapour."""
        loads, pairing, at = band.require_loads(), band.require_pairing(), band.coordinates
        self._refuse_other_sky(band, loads.means.sky_load)
        pressure = float(at.pamb[np.concatenate([pairing.on, pairing.off])].mean())
        table, opacity = self._opacity(band, loads.sidebands, pressure, pairing.off_mean.size)
        surroundings = self._surroundings_of_offs(band, loads, at.tamb[pairing.off])
        off = band.mean_offs()
        path = airmass(at.elevation[pairing.off])
        each = partial(map_in_threads, samples=pairing.off_mean.size)
        # OFFs at the same temperatures share their air.
        apart = list(dict.fromkeys(surroundings))
        around = partial(Air.around, loads.sidebands, opacity, loads.forward_efficiency)
        hot = loads.solution.t_hot_input
        airs = dict(zip(apart, each(lambda one: around(one).against(hot), apart), strict=True))
        directions = [
            SkyDirection(airs[one], airmass) for one, airmass in zip(surroundings, path.tolist(), strict=True)
        ]
        load_view, sky = view_sky(
            off,
            [pairing.off_dumps[..., k] for k in range(len(off))],
            at.exptime[pairing.off].tolist(),
            directions,
            loads.means,
            replace(loads.solution, bad_channel=band.bad_channel),
            band.channel_width,
            each,
        )
        return _Sky(band, table, opacity, surroundings, off, SkyObservation(load_view, sky, self.model_error))

    def model_sky(self, band: Band, sidebands: Sidebands, forward_efficiency: Floats, record: SkyRecord) -> SkyLoad:
        """Model the sky that stands for the cold load, before the OFFs are looked at.

        Parameters
        ----------
        band : Band
            The band to calibrate.
        sidebands : Sidebands
            Frequencies and weights of the sidebands.
        forward_efficiency : ndarray, shape (A,)
            Forward efficiency of each array.
        record : SkyRecord
            Conditions of the SKYs.

        Returns
        -------
        SkyLoad

        Raises
        ------
        ParameterError
            If the strategy derives the opacity from the OFFs.
        LayoutError
            If an ambient temperature is needed and makes no sense.
        """
        self.check_parameters()
        if self.strategy not in KNOWN_BEFOREHAND:
            raise ParameterError(
                f"{band}: {record.name} has no COLD, and SKY can stand for it only where the opacity is known "
                f"beforehand, but strategy is {self.strategy!r}; give --steps.atmosphere.strategy=opacity with "
                "--steps.atmosphere.zenith_opacity=0.1 (Np, the opacity at the zenith in place of 0.1), or "
                "--steps.atmosphere.strategy=fixed with --steps.atmosphere.pwv=1 (mm)"
            )
        _, opacity = self._opacity(band, sidebands, self._pressure_at(band, record), sidebands.signal.size)
        around = self._surroundings(band, sidebands, record.tamb, f"{record.name}/tamb of SKY")
        directions = [
            SkyDirection(Air.around(sidebands, opacity, forward_efficiency, each), float(path))
            for each, path in zip(around, airmass(record.elevation), strict=True)
        ]
        ambient = float(record.tamb.mean())
        return model_sky_load(directions, self.pwv or 0.0, self._known_opacity, ambient, record.dumps)

    def _pressure_at(self, band: Band, record: SkyRecord) -> float:
        """Return the mean pressure at the SKYs, where none was recorded at the subscans to calibrate [Pa]."""
        if self.strategy == "opacity":
            return math.nan  # of no effect on a given opacity
        if np.isnan(record.pamb).all():
            at = band.coordinates
            return float(at.pamb[find_observed(at.sobsmode, str(band.attributes.get("instmode", "")))].mean())
        spec = SOURCE_COORDINATES["pamb"]
        unsound = spec.find_unsound(record.pamb)
        if unsound.any():
            refuse(f"{record.name}/pamb of SKY", spec, record.pamb[unsound], record.pamb)
        return float(record.pamb.mean()) * TORR

    @property
    def _known_opacity(self) -> str:
        """Describe the opacity that is known beforehand."""
        return f"pwv = {self.pwv} mm" if self.strategy == "fixed" else f"zenith_opacity = {self.zenith_opacity} Np"

    def _refuse_other_sky(self, band: Band, sky: SkyLoad | None) -> None:
        """Refuse an opacity other than that of the sky which the step ``loads`` took for the cold load."""
        own = self._known_opacity if self.strategy in KNOWN_BEFOREHAND else f"strategy = {self.strategy!r}"
        if sky is not None and own != sky.known:
            raise ParameterError(
                f"{band}: its loads were solved with {sky.known}, SKY standing for COLD, expected the same here, "
                f"found {own}; give it, or run the step loads anew"
            )

    def _scale_errors(self, linked: list[_Sky], waters: list[Water]) -> list[ScaleError]:
        """Compute the errors of the scale of T_A* of bands that may share their PWV."""
        slopes = [_load_slopes(sky.band.require_loads()) for sky in linked]
        given = self.strategy in KNOWN_BEFOREHAND
        responses = [
            respond_to_inputs(sky.observation, water.match, slope, partial(map_in_threads, samples=sky.samples))
            for sky, water, slope in zip(linked, waters, slopes, strict=True)
            if not given
        ]
        errors = []
        for sky, water, slope in zip(linked, waters, slopes, strict=True):
            loads, pairing = sky.band.require_loads(), sky.band.require_pairing()
            shift = np.zeros((len(FITTED), 1, 1))
            if not given:
                sharing = [responses[k] for k in water.shared_by], [waters[k].match for k in water.shared_by]
                per = {0: "scan", 2: "pixel", 3: "pair"}[water.fit.pwv.ndim]
                shift = shift_pwv(*sharing, per, pairing.pair if per == "pair" else None)
            inputs = Inputs(
                sky.observation,
                slope,
                loads.sidebands.image_gain,
                loads.forward_efficiency,
                sky.opacity.b[0, -1],
                sky.opacity.c[0, -1],
                sky.on_airmass,
                sky.band.bad_channel,
                loads.means.sky_load,
            )
            errors.append(assess_scale(inputs, shift, self._sigmas(sky, water.fit)))
        return errors

    def _sigmas(self, sky: _Sky, fit: PwvFit) -> dict[str, float | NDArray[np.float64]]:
        """Collect the 1-sigma errors of what the scale of T_A* depends on."""
        band, loads = sky.band, sky.band.require_loads()
        on = band.coordinates.mjd[band.require_pairing().on]
        age = SECONDS_A_DAY * abs(float(on.mean()) - 0.5 * (loads.means.hot_mjd + loads.means.cold_mjd))
        corrected = band.gain is not None and band.gain.drift is not None and band.gain.level >= 3
        t_ground_err = 10.0 if sky.opacity.isothermal else 2.0
        pwv_err = self.pwv_fixed_err * fit.pwv if self.strategy == "fixed" else fit.error
        if self.strategy == "opacity":
            pwv_err = np.zeros(fit.pwv.shape)  # its opacity counts as dry
        return {
            "forward_efficiency": loads.forward_efficiency_err,
            "t_hot": loads.t_hot_err,
            "t_cold": loads.t_cold_err,
            "image_gain": loads.image_gain_err,
            "t_ground": t_ground_err if self.t_ground_err is None else self.t_ground_err,
            "profile": self.profile_err,
            "dry_opacity": self.dry_opacity_err,
            "gain": gain_error(band.gain_drift, corrected, age),
            "pwv": mean_of_valid(pwv_err) if pwv_err.ndim == 3 else pwv_err,
        }

    def _conclude(self, sky: _Sky, water: Water, scale_error: ScaleError) -> AtmosphereStage:
        """Make the result of a band from the fitted water vapour."""
        band = sky.band
        loads, pairing = band.require_loads(), band.require_pairing()
        solution = loads.solution
        views = sky.observation.sky
        each = partial(map_in_threads, samples=pairing.off_mean.size)
        skies = each(lambda k: ModelledSky(views[k].direction, water.at_off[k]), range(len(views)))
        t_sky, residual = observed_sky(sky.off, loads.means.hot, solution.gamma, solution.t_hot_input, skies, each)
        monitors = monitor_sky(sky.observation, skies, water.at_off, residual, water.match, sky.opacity_per_mm, each)
        if loads.means.sky_load is not None:
            # The model set the gain: a sky that agrees with it confirms nothing.
            monitors = monitors.without("misfit_sigma", "misfit_kelvin", "pwv_pixel_spread")
            water = replace(water, fit=replace(water.fit, chi2=np.full(water.fit.pwv.shape, np.nan)))
        if self.strategy == "opacity":
            monitors = monitors.without("off_minus_off", "off_scatter", "pwv_pixel_spread")
        return AtmosphereStage(
            strategy=self.strategy,
            fit=water.fit,
            opacity=sky.opacity,
            on_airmass=self._on_airmass(band, loads, pairing),
            t_ground=np.array([around.t_ground for around in sky.surroundings]),
            t_spill=np.array([around.t_spill for around in sky.surroundings]),
            t_sky=t_sky,
            sky_residual=residual,
            table=sky.table.name if sky.table else "",
            table_sha256=sky.table.sha256 or "" if sky.table else "",
            table_version=sky.table.version if sky.table else 0,
            scale_error=scale_error,
            outlier=water.match.outlier,
            monitors=monitors,
        )

    def _opacity(
        self, band: Band, sidebands: Sidebands, pressure: float, samples: int
    ) -> tuple[AtmTable | None, Opacity]:
        """Look up the opacity against PWV at the frequencies of a band and a pressure [Pa]; no table of a given one."""
        wanted = list(sidebands.frequencies)
        if self.strategy == "opacity":
            return None, Opacity.of_zenith(float(self.zenith_opacity or 0.0), len(wanted), wanted[0].size)
        try:
            path = self.reference_path("atm", lambda: Path(find_atm_table(wanted, pressure)))
            table = open_atm_table(path)
            if self._one_layer(sidebands):
                whole = map_in_threads(lambda nu: table.coefficients(nu, pressure), wanted, samples)
                b, c = (np.stack(values)[:, None] for values in zip(*whole, strict=True))
                return table, Opacity(b, c, np.zeros(1))
            layers = map_in_threads(lambda nu: table.layer_coefficients(nu, pressure), wanted, samples)
        except AtmRangeError as error:
            raise FrequencyRangeError(f"{band}: {error}{self._pressure_hint(wanted, pressure)}") from error
        b, c = (np.stack([getattr(one, name) for one in layers]) for name in ("b", "c"))
        return table, Opacity(b, c, layers[0].offset)

    def _one_layer(self, sidebands: Sidebands) -> bool:
        """Tell whether the atmosphere is one layer: ``t_atm`` or its opacity is given, or the older way asked for."""
        return self.t_atm is not None or self.strategy == "opacity" or sidebands.convention.one_layer

    def _pressure_hint(self, frequencies: list[NDArray[np.float64]], pressure: float) -> str:
        """Tell where the pressure comes from, or hint at ``pamb`` in hPa if it would then fit a table.

        The limits of ``pamb`` itself cannot detect this mistake.
        """
        other = pressure / TORR * 100.0
        try:
            path = self.reference_path("atm", lambda: Path(find_atm_table(frequencies, other)))
            fits = all(open_atm_table(path).covers(nu, other) for nu in frequencies)
        except (AtmRangeError, CalibrationError):
            fits = False
        hint = f"; pamb looks like hPa (mbar): {pressure / TORR:.6g} hPa would fit, convert it to Torr"
        return hint if fits else "; the pressure is the mean of pamb at the ONs and OFFs"

    def _surroundings_of_offs(self, band: Band, loads: LoadStage, ambient: Floats) -> list[Surroundings]:
        """Collect the temperatures of ground and spillover at each OFF [K].

        A layer of given opacity is as warm as it is towards a SKY that stands for the cold load.
        """
        sky = loads.means.sky_load
        t_air = sky.ambient if sky is not None and self.strategy == "opacity" else None
        return self._surroundings(band, loads.sidebands, ambient, "tamb of the OFFs", t_air)

    def _surroundings(
        self, band: Band, sidebands: Sidebands, ambient: Floats, where: str, t_air: float | None = None
    ) -> list[Surroundings]:
        """Collect the temperatures of ground and spillover at OFFs or SKYs, those of the air by default `t_air` [K]."""
        ground = "t_atm" if self._one_layer(sidebands) else "t_ground"
        if ground == "t_atm" and self.t_ground:
            self.warn_once(
                logger,
                "%s: t_ground = %g K has no effect: t_atm, strategy = 'opacity' or physics = 'kalibrate_compat' makes "
                "the atmosphere one layer",
                band,
                self.t_ground,
            )
        given = {ground: getattr(self, ground) or t_air, "t_spill": self.t_spill}
        unsound = TAMB.find_unsound(ambient)
        for name, value in given.items():
            if not value and unsound.any():
                raise LayoutError(
                    f"{band}: {where} is {TAMB.describe(ambient)}, expected {TAMB.expected}"
                    f"{TAMB.guess_unit(ambient)}; else give the parameter {name} of the step atmosphere"
                )
        t_ground, t_spill = (np.full(ambient.shape, value) if value else ambient for value in given.values())
        return [Surroundings(float(g), float(s)) for g, s in zip(t_ground, t_spill, strict=True)]

    def _on_airmass(
        self, band: Band, loads: LoadStage, pairing: PairingStage
    ) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        """Compute the airmass used to calibrate each ON, shape (S_on,)."""
        own = airmass(band.coordinates.elevation[pairing.on])
        if self.airmass == "scan" or loads.sidebands.convention.airmass_of_scan:
            return np.full(own.shape, own.mean())
        return own


def _load_slopes(loads: LoadStage) -> LoadSlopes:
    """Compute how the input temperatures of the loads respond to errors."""
    seen = (loads.means.hot_input, loads.means.cold_input)
    return LoadSlopes(
        *(load.temperature_slope(loads.sidebands) for load in seen),
        *(load.image_gain_slope(loads.sidebands) for load in seen),
    )


def _missing_weights(sky: _Sky) -> list[str]:
    """List the reasons why no channel of a band has weight in the fit; empty without any."""
    band, observation = sky.band, sky.observation
    loads, pairing, at = band.require_loads(), band.require_pairing(), band.coordinates
    seen = ~band.bad_channel
    reasons = []
    for name, time in (("HOT", loads.means.hot_time), (loads.means.cold_name, loads.means.cold_time)):
        if not (np.isfinite(time[seen]) & (time[seen] > 0.0)).any():
            reasons.append(
                f"exptime of the loads (scan {loads.scan_numbers[0]}, {name}) adds up to {time[seen][0]:g} s, "
                "expected above 0 s"
            )
    if not (np.isfinite(band.channel_width) and band.channel_width > 0.0):
        reasons.append(f"freq_res is {band.channel_width:g} Hz, expected finite and not 0 Hz")
    exptime = at.exptime[pairing.off]
    if not (np.isfinite(exptime) & (exptime > 0.0)).any():
        reasons.append(f"exptime of the OFFs is {exptime.tolist()} s, expected above 0 s")
    if not (np.isfinite(np.stack(sky.off, axis=-1)).any(axis=-1) & seen).any():
        reasons.append("no channel that the loads can calibrate has a valid dump in an OFF")
    elif not reasons and not any(np.isfinite(view.variance).any() for view in observation.sky):
        reasons.append("no channel of an OFF has a finite noise")
    return reasons
