"""Truth stored with a simulated session: the results of a perfect calibration."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.errors import SimulationError
from cal_pipeline.heterodyne.simulate.forward import BandModel
from cal_pipeline.heterodyne.simulate.layers import Profile
from cal_pipeline.heterodyne.simulate.one_chunk import LARGEST, write_small_array
from cal_pipeline.heterodyne.simulate.sky import SkyBand

Array = NDArray[np.float64]

_SKY_ARRAYS = {
    **dict.fromkeys(("nu_s", "nu_i", "b_s", "c_s", "b_i", "c_i"), "channel"),
    **dict.fromkeys(("image_gain", "forward_efficiency"), "array"),
    **dict.fromkeys(("layer_s", "layer_i"), "layer"),
    **dict.fromkeys(("unknown_s", "unknown_i"), "unknown"),
}
_SKY_NUMBERS = ("coupling", "t_atm", "t_spill", "t_layer", "t_unknown")
_PROFILE = tuple(entry.name for entry in fields(Profile))
_ARRAYS = {
    "gain": ("channel", "receiver", "array"),
    "t_rec_dsb": ("channel", "receiver", "array"),
    "dead": ("channel", "receiver", "array"),
    "missing": ("dump", "receiver", "array", "subscan"),
    "pwv": ("subscan",),
    "grey": ("subscan",),
    "noise_factor": ("channel", "receiver", "array"),
    "spurred": ("channel", "receiver", "array"),
    "elevation": ("subscan",),
    "mjd": ("subscan",),
    "on": ("subscan",),
    "added": ("channel", "dump", "subscan"),
    "line_signal": ("line", "channel"),
    "line_image": ("line", "channel"),
    "amplitude": ("line", "dump", "receiver", "array", "on_subscan"),
    "off_amplitude": ("line",),
    **dict.fromkeys(("hot_offset", "cold_offset", "hot_coupling", "cold_coupling"), ("array",)),
}
_NUMBERS = (
    "scan_number",
    "band",
    "t_hot",
    "t_cold",
    "t_ambient",
    "zero_level",
    "gain_per_hour",
    "offset_per_hour",
    "mjd_start",
)


@dataclass(frozen=True, eq=False)
class Truth:
    """True values of one band of one scan.

    Subscans are those of the source group, in its order; a calibration-only scan has none.

    Parameters
    ----------
    scan_number, band : int
        Scan number and index of the band.
    sky : SkyBand
        Frequencies, opacity coefficients, efficiencies and temperatures; the rest follows.
    gain, t_rec_dsb : ndarray, shape (C, R, A)
        Gain [ct/K] at the session's start and receiver temperature [K].
    dead : ndarray of bool, shape (C, R, A)
        Channels without signal.
    missing : ndarray of bool, shape (D, R, A, S)
        Lost dumps.
    spurred : ndarray of bool, shape (C, R, A)
        Channels hit by random spurs.
    noise_factor : ndarray, shape (C, R, A)
        Noise relative to the radiometer equation.
    pwv, grey, elevation, mjd : ndarray, shape (S,)
        PWV [mm], zenith opacity of clouds [Np], elevation [rad] and middle (MJD) of each subscan.
    on : ndarray of bool, shape (S,)
        True for ONs.
    added : ndarray, shape (C, D, S)
        Added imperfections at the receiver's input [K].
    line_signal, line_image : ndarray, shape (L, C)
        T_A* [K] of each line at its peak on the sky, in the signal and in the image sideband.
    amplitude : ndarray, shape (L, D, R, A, S_on)
        Brightness of each line relative to its peak, in each dump of the ONs.
    off_amplitude : ndarray, shape (L,)
        The same in the OFFs.
    t_hot, t_cold, t_ambient : float
        Temperatures of the loads and of the surroundings as L0 records them [K].
    hot_offset, cold_offset : ndarray, shape (A,)
        True temperature of a load minus the recorded one [K].
    hot_coupling, cold_coupling : ndarray, shape (A,)
        Share of the beam on a load; the rest is at `t_ambient`.
    zero_level : float
        Counts without input [ct].
    gain_per_hour, offset_per_hour : float
        Drift of the gain [1/h] and of the offset [K/h] since `mjd_start`.
    mjd_start : float
        Start of the session (MJD).
    parameters : dict
        Settings that were simulated: atmosphere, loads, lines, drift, faults, sky_waves, imbalance
        and chop_phase_offset, as nested dicts with the names of the dataclasses' fields.

    Examples
    --------
    The line of 1 K in the example of :class:`~cal_pipeline.CalibrationPipeline`:

    >>> truth = read_truth("session.zarr", scan=1)
    >>> truth.on_indices.tolist(), round(truth.pwv_mm, 3), f"{truth.t_a_star(image=False).max():.2f} K"
    ([1, 2, 4, 5], 0.5, '1.00 K')
    """

    scan_number: int
    band: int
    sky: SkyBand
    gain: Array
    t_rec_dsb: Array
    dead: NDArray[np.bool_]
    missing: NDArray[np.bool_]
    spurred: NDArray[np.bool_]
    noise_factor: Array
    pwv: Array
    grey: Array
    elevation: Array
    mjd: Array
    on: NDArray[np.bool_]
    added: Array
    line_signal: Array
    line_image: Array
    amplitude: Array
    off_amplitude: Array
    t_hot: float
    t_cold: float
    hot_offset: Array
    cold_offset: Array
    hot_coupling: Array
    cold_coupling: Array
    t_ambient: float
    zero_level: float
    gain_per_hour: float
    offset_per_hour: float
    mjd_start: float
    parameters: dict[str, Any]

    @property
    def on_indices(self) -> NDArray[np.int64]:
        """Zero-based positions of the ONs among the scan's subscans, shape (S_on,)."""
        return np.flatnonzero(self.on).astype(np.int64)

    @property
    def airmass(self) -> Array:
        """Airmass of each subscan, shape (S,)."""
        return np.asarray(1.0 / np.sin(self.elevation))

    @property
    def pwv_mm(self) -> float:
        """Mean PWV of the OFFs [mm]; NaN without one."""
        offs = self.pwv[~self.on]
        return float(offs.mean()) if offs.size else float("nan")

    @property
    def grey_opacity(self) -> float:
        """Mean zenith opacity of clouds in the OFFs [Np]; NaN without one."""
        offs = self.grey[~self.on]
        return float(offs.mean()) if offs.size else float("nan")

    @property
    def tau_signal(self) -> Array:
        """Zenith opacity of the signal sideband [Np] at `pwv_mm` and `grey_opacity`, shape (C,)."""
        return self.sky.opacity(self.pwv_mm, self.grey_opacity)[0]

    @property
    def tau_image(self) -> Array:
        """Zenith opacity of the image sideband [Np] at `pwv_mm` and `grey_opacity`, shape (C,)."""
        return self.sky.opacity(self.pwv_mm, self.grey_opacity)[1]

    @property
    def t_rec_ssb(self) -> Array:
        """Single-sideband receiver temperature [K], shape (C, R, A)."""
        return self.t_rec_dsb / self.sky.weights[0]

    def load_input(self, kind: Literal["hot", "cold"]) -> Array:
        """Return the true input temperature [K] at a load, shape (C, A)."""
        recorded, offset, share = (getattr(self, name.format(kind)) for name in ("t_{}", "{}_offset", "{}_coupling"))
        return np.asarray(share * self.sky.load(recorded + offset) + (1.0 - share) * self.sky.load(self.t_ambient))

    def transmission(self) -> tuple[Array, Array]:
        """Return t_r of the signal and the image sideband in the ONs, each (C, S_on)."""
        return self._transmission(self.on_indices)

    def t_sys(self) -> Array:
        """Return the DSB system temperature without the source [K] in the ONs, (C, R, A, S_on)."""
        result = np.empty((*self.t_rec_dsb.shape, self.on_indices.size))
        for position, s in enumerate(self.on_indices):
            sky = self.sky.sky(self.pwv[s], self.airmass[s], self.grey[s])
            result[..., position] = self.t_rec_dsb + sky[:, np.newaxis, :]
        return result

    def t_a_star(self, channels: slice = slice(None), *, image: bool = True) -> Array:
        """Return T_A* of the source in the ONs.

        Parameters
        ----------
        channels : slice
            Channels to evaluate.
        image : bool
            Add what lines in the image sideband leave in a spectrum calibrated for the signal
            sideband, w_i t_r(nu_i)/(w_s t_r(nu_s)) times their own T_A*.

        Returns
        -------
        ndarray, shape (C, D, R, A, S_on)
            [K]; lost dumps and dead channels are filled in all the same.
        """
        result = np.einsum("lc,ldras->cdras", self.line_signal[:, channels], self.amplitude)
        w_s, w_i = self.sky.weights
        if image and self.sky.double and np.any(self.line_image):
            t_s, t_i = (values[channels, np.newaxis] for values in self.transmission())
            ratio = (w_i / w_s)[:, np.newaxis] * t_i / t_s  # [C, A, S_on]
            in_image = np.einsum("lc,ldras->cdras", self.line_image[:, channels], self.amplitude)
            result += ratio[:, np.newaxis, np.newaxis] * in_image
        return np.asarray(result)

    def t_a_star_off(self, *, image: bool = True) -> Array:
        """Return T_A* of the source in the OFFs [K], (C, A, S_off); `image` as for `t_a_star`."""
        offs = np.flatnonzero(~self.on)
        own = (self.off_amplitude @ self.line_signal)[:, np.newaxis, np.newaxis]
        w_s, w_i = self.sky.weights
        result = np.tile(own, (1, w_s.size, offs.size))
        if image and self.sky.double:
            t_s, t_i = self._transmission(offs)
            from_image = t_i / t_s * (self.off_amplitude @ self.line_image)[:, np.newaxis]
            result += (w_i / w_s)[:, np.newaxis] * from_image[:, np.newaxis]
        return result

    def _transmission(self, subscans: NDArray[np.int64]) -> tuple[Array, Array]:
        """Return t_r of the signal and the image sideband in some subscans, each (C, len(subscans))."""
        signal = np.empty((self.sky.nu_s.size, subscans.size))
        image = np.empty_like(signal)
        for position, s in enumerate(subscans):
            t_r = self.sky.transmission(self.pwv[s], self.airmass[s], self.grey[s])
            signal[:, position], image[:, position] = t_r
        return signal, image


def truth_path(session: str | Path) -> Path:
    """Return the path of the truth of a session: `<name>.truth.zarr` beside it.

    Parameters
    ----------
    session : str or Path
        The session's store.

    Returns
    -------
    Path

    Examples
    --------
    >>> truth_path("night/session.zarr").as_posix()
    'night/session.truth.zarr'
    """
    session = Path(session)
    return session.with_name(session.name.removesuffix(".zarr") + ".truth.zarr")


def true_values(model: BandModel) -> Truth:
    """Collect the truth of a band of a scan."""
    subscans, drift, loads = model.plan.observed, model.config.drift, model.plan.loads
    ons = [subscan for subscan in subscans if subscan.phase.kind == "on"]
    dumps = subscans[0].phase.dumps if subscans else 0
    amplitude = np.zeros((len(model.plan.lines), dumps, *model.pixels, len(ons)))
    missing = np.zeros((dumps, *model.pixels, len(subscans)), dtype=bool)
    for position, subscan in enumerate(ons):
        amplitude[..., position] = model.amplitudes(subscan)
    for position in range(len(subscans)):
        missing[..., position] = model.missing("source", position)
    return Truth(
        scan_number=model.plan.number,
        band=model.band,
        sky=model.sky,
        gain=model.instrument[0],
        t_rec_dsb=model.instrument[1],
        dead=model.dead,
        missing=missing,
        spurred=np.logical_or.reduce(model.spurred, axis=0) if model.spurred else np.zeros_like(model.dead),
        noise_factor=model.noise_factor,
        pwv=np.array([subscan.pwv for subscan in subscans]),
        grey=np.array([subscan.grey for subscan in subscans]),
        elevation=np.array([subscan.elevation for subscan in subscans]),
        mjd=np.array([subscan.mjd for subscan in subscans]),
        on=np.array([subscan.phase.kind == "on" for subscan in subscans], dtype=bool),
        added=np.stack([model.added(subscan) for subscan in subscans], axis=-1)
        if subscans
        else np.zeros((model.receiver.channels, 0, 0)),
        line_signal=model.line_profiles[0],
        line_image=model.line_profiles[1],
        amplitude=amplitude,
        off_amplitude=model.off_amplitude,
        t_hot=loads.stored_t_hot,
        t_cold=loads.stored_t_cold,
        **_true_loads(model),
        t_ambient=model.t_ambient,
        zero_level=model.receiver.zero_level,
        gain_per_hour=drift.gain_per_hour,
        offset_per_hour=drift.offset_per_hour,
        mjd_start=model.config.mjd_start,
        parameters=_parameters(model),
    )


def _true_loads(model: BandModel) -> dict[str, Array]:
    """Return how the loads differ from what L0 says of them, each (A,)."""
    names = ("hot_offset", "cold_offset", "hot_coupling", "cold_coupling")
    given = {name: np.asarray(getattr(model.plan.loads, name), np.float64) for name in names}
    return {name: np.array(np.broadcast_to(values, model.pixels[1])) for name, values in given.items()}


def _parameters(model: BandModel) -> dict[str, Any]:
    """Return the simulated settings as JSON holds them."""
    config, plan = model.config, model.plan
    settings = {
        "atmosphere": asdict(plan.atmosphere),
        "loads": asdict(plan.loads),
        "lines": [asdict(line) for line in plan.lines],
        "drift": asdict(config.drift),
        "faults": asdict(plan.faults),
        "sky_waves": [asdict(wave) for wave in config.sky_waves],
        "imbalance": None if config.imbalance is None else asdict(config.imbalance),
        "chop_phase_offset": None if config.chop_phase_offset is None else asdict(config.chop_phase_offset),
    }
    return dict(json.loads(json.dumps(settings, default=_shape)))


def _shape(array: Array) -> str:
    """Return what stands in the settings for an array, whose values are stored as such."""
    return f"array of shape {array.shape}"


def write_truth(group: zarr.Group, truth: Truth) -> None:
    """Write the truth of a band into an empty Zarr group."""
    arrays: dict[str, tuple[tuple[str, ...], Any]] = {
        name: (dims, getattr(truth, name)) for name, dims in _ARRAYS.items()
    }
    for name, axis in _SKY_ARRAYS.items():
        arrays[f"sky_{name}"] = ((axis,), getattr(truth.sky, name))
    for kind in ("profile", "image_profile"):
        profile = getattr(truth.sky, kind)
        if profile is not None:
            shares = {name: getattr(profile, name) for name in _PROFILE}
            arrays |= {f"{kind}_{name}": (("layer", "channel")[: v.ndim], v) for name, v in shares.items()}
    for name, (dims, values) in arrays.items():
        array = np.ascontiguousarray(values).reshape(np.shape(values))
        if 0 < array.nbytes < LARGEST:
            write_small_array(group, name, array, dims)
        else:
            group.create_array(name, data=array, dimension_names=dims)
    numbers = {name: getattr(truth, name) for name in _NUMBERS}
    numbers |= {f"sky_{name}": getattr(truth.sky, name) for name in _SKY_NUMBERS}
    group.update_attributes(numbers | {"parameters": truth.parameters})


def read_truth(session: str | Path, scan: int, band: int = 0) -> Truth:
    """Read the truth of a band of a scan.

    Parameters
    ----------
    session : str or Path
        The session's store, or that of its truth.
    scan, band : int
        Scan number and index of the band.

    Returns
    -------
    Truth

    Raises
    ------
    SimulationError
        If there is no truth for the band.

    Examples
    --------
    >>> truth = read_truth("session.zarr", scan=1)
    >>> truth.t_hot, truth.t_cold, truth.gain.shape
    (293.0, 77.0, (64, 1, 1))
    """
    path = Path(session)
    path = path if path.name.endswith(".truth.zarr") else truth_path(path)
    name = f"scan_{scan:06d}/band_{band}"
    if not (path / name).is_dir():
        known = sorted(str(p.relative_to(path)) for p in path.glob("scan_*/band_*"))
        raise SimulationError(f"{path} holds no {name}; it holds {', '.join(known) or 'nothing'}")
    group = zarr.open_group(path, path=name, mode="r")
    values = _read_arrays(group, "", _ARRAYS)
    sky = _read_arrays(group, "sky_", _SKY_ARRAYS) | {key: group.attrs[f"sky_{key}"] for key in _SKY_NUMBERS}
    for kind in ("profile", "image_profile"):
        if f"{kind}_{_PROFILE[0]}" in group:
            sky[kind] = Profile(**_read_arrays(group, f"{kind}_", _PROFILE))
    numbers: dict[str, Any] = {key: group.attrs[key] for key in (*_NUMBERS, "parameters")}
    return Truth(sky=SkyBand(**sky), **values, **numbers)


def _read_arrays(group: zarr.Group, prefix: str, names: Iterable[str]) -> dict[str, Any]:
    return {name: np.asarray(cast("zarr.Array[Any]", group[prefix + name])[...]) for name in names}
