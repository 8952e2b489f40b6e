"""A scan on its way through the steps: what was recorded, and what each step has made of it."""

from __future__ import annotations

import dataclasses
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asdf
import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import MissingInputError, StoreError
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.paths import StorePath, open_store
from cal_pipeline.core.text import count_of
from cal_pipeline.heterodyne.coordinates import Coordinates
from cal_pipeline.heterodyne.counts import Counts
from cal_pipeline.heterodyne.phases import first_on, is_off, observing_mode
from cal_pipeline.heterodyne.physics.gain import GainDrift
from cal_pipeline.heterodyne.physics.loads import LoadMeans, LoadSolution
from cal_pipeline.heterodyne.physics.planck import CONVENTIONS, Convention, Sidebands
from cal_pipeline.heterodyne.physics.pwv import PwvFit
from cal_pipeline.heterodyne.physics.sky import Opacity

if typing.TYPE_CHECKING:
    from cal_pipeline.heterodyne.session import Session

Floats = NDArray[np.float64]
T = TypeVar("T")


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
    """

    level: int
    drift: GainDrift | None
    reason: str


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

    @property
    def per_dump(self) -> bool:
        """Tell whether the reference of a dump is the same dump of the OFF, not a mean."""
        return self.mode == "otf_chopped"


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
    t_atm, t_spill : ndarray, shape (O,)
        Temperatures of atmosphere and spillover at each OFF [K].
    t_sky : ndarray, shape (C, R, A)
        Observed input temperature of the sky, mean over the OFFs [K].
    sky_residual : ndarray, shape (C, R, A)
        Observed minus fitted sky, mean over the OFFs [K].
    table : str
        Name of the atmosphere table.
    table_sha256 : str
        Its SHA-256 digest.
    """

    strategy: str
    fit: PwvFit
    opacity: Opacity
    on_airmass: Floats
    t_atm: Floats
    t_spill: Floats
    t_sky: Floats
    sky_residual: Floats
    table: str
    table_sha256: str

    @property
    def tau_signal(self) -> Floats:
        """Zenith opacity in the signal sideband, shape (C,), (C, R, A) or (C, R, A, S_on) [Np]."""
        return self.opacity.signal(self.fit.pwv)

    @property
    def tau_image(self) -> Floats:
        """Zenith opacity in the image sideband, shaped like `tau_signal` [Np]."""
        return self.opacity.image(self.fit.pwv)


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


@dataclass
class Band:
    """One frequency axis of a scan.

    Arrays (C, R, A, …) that the steps make are in Fortran order: what is worked out along the
    channels, and the same for all receivers, is then several times faster than with the few pixels
    next to each other.

    Parameters
    ----------
    name : str
        ``"band_0"``, ``"band_1"``, …, or ``""`` for the only one.
    store : str
        The L0 session.
    group : str
        Path of the band in it and in L1.
    scan_number : int
        Number of the scan.
    coordinates : Coordinates
        Coordinates recorded with the counts.
    attributes : dict
        Attributes of the scan, and over them those of the band.
    loads, gain, pairing, atmosphere, calibration, coupling, skydiff, chop : optional
        Results of the steps so far.
    """

    name: str
    store: str
    group: str
    scan_number: int
    coordinates: Coordinates
    attributes: dict[str, Any]
    loads: LoadStage | None = None
    gain: GainStage | None = None
    pairing: PairingStage | None = None
    atmosphere: AtmosphereStage | None = None
    calibration: CalibrationStage | None = None
    coupling: CouplingStage | None = None
    skydiff: SkydiffStage | None = None
    chop: ChopStage | None = None

    def __post_init__(self) -> None:
        # Not fields: they are looked up once and are no results of a step; a saved band opens its session by name.
        self._known_of_counts: dict[str, Any] = {}
        self._place: StorePath | None = None

    def __str__(self) -> str:
        return f"scan {self.scan_number}" + (f" {self.name}" if self.name else "")

    @property
    def channel_width(self) -> float:
        """Noise bandwidth B = |freq_res| of a channel, at the first ON [Hz]."""
        at = self.coordinates
        return float(abs(at.freq_res[first_on(at.sobsmode, at.mjd)]))

    @property
    def signal_frequency(self) -> float:
        """Sky frequency of the reference channel in the signal sideband, at the first ON [Hz]."""
        at = self.coordinates
        return float(at.signal_freq[first_on(at.sobsmode, at.mjd)])

    def require_loads(self) -> LoadStage:
        """Return the result of the step ``loads``; raise an error if missing."""
        return self._require(self.loads, "loads")

    def require_pairing(self) -> PairingStage:
        """Return the result of the step ``prepare``; raise an error if missing."""
        return self._require(self.pairing, "prepare")

    def require_atmosphere(self) -> AtmosphereStage:
        """Return the result of the step ``atmosphere``; raise an error if missing."""
        return self._require(self.atmosphere, "atmosphere")

    def require_calibration(self) -> CalibrationStage:
        """Return the result of the step ``calibrate``; raise an error if missing."""
        return self._require(self.calibration, "calibrate")

    @property
    def outputs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices of the one or two ONs averaged in each spectrum; the second is -1 for one ON."""
        if self.coupling is not None:
            return self.coupling.first, self.coupling.second
        ons = np.arange(self.require_pairing().on.size)
        return ons, np.full(ons.size, -1)

    def corrected(self, counts: NDArray[Any], subscan: int, channels: slice = slice(None)) -> NDArray[Any]:
        """Subtract the zero level and, if the step ``gain`` asks for it, correct receiver drift.

        Parameters
        ----------
        counts : ndarray, shape (c, R, A) or (c, D, R, A)
            Counts of some channels of a subscan [ct].
        subscan : int
            Zero-based subscan.
        channels : slice
            Channels of `counts`; all if not given.
        """
        zero = self.require_loads().zero
        if zero is not None:
            counts = counts - (zero[channels] if counts.ndim == 3 else np.ascontiguousarray(zero[channels])[:, None])
        if self.gain is None or self.gain.drift is None:
            return counts
        at = self.coordinates
        if self.gain.level < 3 and is_off(at.sobsmode)[subscan]:
            return counts
        return self.gain.drift.restore(counts, float(at.mjd[subscan]), channels)

    def mean_offs(self) -> list[Floats]:
        """Compute the corrected mean counts of each OFF, shape (C, R, A) each [ct]."""
        pairing = self.require_pairing()
        return [self.corrected(pairing.off_mean[..., k], int(s)) for k, s in enumerate(pairing.off)]

    def _require(self, result: T | None, step: str) -> T:
        if result is None:
            raise MissingInputError(
                f"{self} in {self.store}: the result of step '{step}' is needed and absent; "
                f"run that step before, do not skip it"
            )
        return result

    def source_counts(self, clock: StageClock) -> Counts:
        """Open the counts of the observing phases; the clock counts reads as ``load``."""
        if self._place is None:
            self._place = open_store(self.store)
        return Counts(self._place, f"{self.group}/source/data_5d", clock, self._known_of_counts)

    def read_from(self, root: StorePath) -> Band:
        """Read counts from a session that is open, instead of opening it by name."""
        self._place = root
        return self


class ScanMeta:
    """File name and step status for stpipe, and provenance of steps that wrote files."""

    def __init__(
        self, filename: str, cal_step: dict[str, str] | None = None, made_by: dict[str, Any] | None = None
    ) -> None:
        self.filename = filename
        self.made_by = made_by or {}
        self.cal_step = types.SimpleNamespace(**(cal_step or {}))


@dataclass
class Scan:
    """One scan: its bands, its attributes, and which steps it has passed.

    Parameters
    ----------
    number : int
        Scan number.
    attributes : dict
        Attributes of the L0 group.
    bands : list of Band
        Its bands; one, named ``""``, for most receivers.
    meta : ScanMeta
        File name and status of the steps, for stpipe.
    clock : StageClock
        Time per stage.
    session : Session, optional
        The session it was opened from, which knows the other scans.
    """

    number: int
    attributes: dict[str, Any]
    bands: list[Band]
    meta: ScanMeta = field(init=False)
    clock: StageClock = field(default_factory=StageClock)
    session: Session | None = None

    crds_observatory: typing.ClassVar[str] = "cal_pipeline"

    def __post_init__(self) -> None:
        self.meta = ScanMeta(f"scan_{self.number:06d}.asdf")

    def __repr__(self) -> str:
        return f"<Scan {self.number}: {count_of(len(self.bands), 'band')}>"

    def get_crds_parameters(self) -> dict[str, Any]:
        """Return the keys for the choice of reference and parameter files."""
        band = self.bands[0]
        mode = observing_mode(band.coordinates.sobsmode, str(band.attributes.get("instmode", "")))
        return {
            "telescope": band.attributes.get("telescope"),
            "frontend": band.attributes.get("frontend"),
            "mode": mode,
        }

    def save(self, path: str, dir_path: str | None = None, **_: Any) -> str:
        """Write everything but the counts to an ASDF file.

        Parameters
        ----------
        path : str
            File to write.
        dir_path : str, optional
            Folder in place of that of `path`.

        Returns
        -------
        str
            The file that was written.
        """
        target = Path(dir_path) / Path(path).name if dir_path else Path(path)
        tree = {
            "scan_number": self.number,
            "attributes": self.attributes,
            "cal_step": vars(self.meta.cal_step),
            "bands": [_to_tree(band) for band in self.bands],
        }
        if self.meta.made_by:
            tree["made_by"] = self.meta.made_by
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            asdf.AsdfFile({"cal_pipeline_scan": tree}).write_to(unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
        return str(target)

    @classmethod
    def open(cls, path: str | Path) -> Scan:
        """Read a scan that :meth:`save` wrote.

        Parameters
        ----------
        path : str or Path
            The ASDF file.

        Returns
        -------
        Scan

        Raises
        ------
        StoreError
            If it is not such a file.
        """
        try:
            with asdf.open(path, lazy_load=False, memmap=False) as file:
                tree = file.tree.get("cal_pipeline_scan")
                if tree is None:
                    raise StoreError(f"{path} holds no 'cal_pipeline_scan': a step did not write it")
                scan = cls(
                    int(tree["scan_number"]),
                    _plain(tree["attributes"]),
                    [_from_tree(Band, band) for band in tree["bands"]],
                )
                scan.meta = ScanMeta(Path(path).name, _plain(tree["cal_step"]), _plain(tree.get("made_by", {})))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path} cannot be read as a scan that a step wrote: {type(error).__name__}: {error}"
            ) from error
        return scan


def _plain(value: Any) -> Any:
    """Convert containers of an ASDF tree to built-in ones."""
    if isinstance(value, typing.Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


_FILE_NAMES = {"pairing": "reference", "time_weights": "moment"}
"""Names in files of fields that have another name since."""


def _to_tree(value: Any) -> Any:
    """Convert a dataclass of arrays, numbers and dataclasses to an ASDF tree."""
    if isinstance(value, Sidebands):
        names = [f.name for f in dataclasses.fields(value)]
        return {n: getattr(value, n) for n in names if n != "convention"} | {"convention": value.convention.name}
    if dataclasses.is_dataclass(value):
        tree = {_FILE_NAMES.get(f.name, f.name): _to_tree(getattr(value, f.name)) for f in dataclasses.fields(value)}
        return {name: item for name, item in tree.items() if item is not None}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in "UOT":
        return value.astype(object).tolist()
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, tuple):
        return list(value)
    return value


def _from_tree(cls: type[T], tree: Any) -> T:
    """Restore the dataclass `cls` from the tree made by :func:`_to_tree`."""
    hints = typing.get_type_hints(cls)
    names = {f.name: _FILE_NAMES.get(f.name, f.name) for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    return cls(**{name: _restore(hints[name], tree[key]) if key in tree else None for name, key in names.items()})


def _restore(hint: Any, item: Any) -> Any:
    """Restore a field of a dataclass from its tree, by its annotation."""
    options = [arg for arg in typing.get_args(hint) if arg is not type(None)]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = options[0]
    if hint is Convention:
        return CONVENTIONS[item]
    if dataclasses.is_dataclass(hint):
        return _from_tree(typing.cast("type[Any]", hint), item)
    if typing.get_origin(hint) is tuple:
        return tuple(item)
    if typing.get_origin(hint) is dict:
        return _plain(item)
    if hint is typing.Any or isinstance(hint, type):
        return item
    # Only arrays are left; their annotation at run time depends on the version of NumPy.
    array = np.asarray(item)
    return array.astype(np.str_) if array.dtype.kind in "UOT" else array
