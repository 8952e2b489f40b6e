"""A scan on its way through the steps: what was recorded, and what each step has made of it."""

from __future__ import annotations

import copy
import math
import types
import typing
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import MissingInputError, StoreError
from cal_pipeline.core.files.asdf_file import make_builtin, open_asdf, write_asdf
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.core.store.paths import StorePath
from cal_pipeline.core.text import format_count
from cal_pipeline.heterodyne.coordinates import Coordinates
from cal_pipeline.heterodyne.counts import CountMemory, Counts
from cal_pipeline.heterodyne.errors import NoReferenceError
from cal_pipeline.heterodyne.l0 import CalibrationGroup, LoadChoice, LoadCounts, LoadRules
from cal_pipeline.heterodyne.modes import Mode, determine_mode, mode_named
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.physics.loads import gain_of_loads
from cal_pipeline.heterodyne.physics.quality import gain_change
from cal_pipeline.heterodyne.references.telescope import find_profile, open_profile
from cal_pipeline.heterodyne.saved_stages import (
    FIELDS,
    MAPPING,
    PLAIN,
    from_tree,
    make_nested_converter,
    to_tree,
)
from cal_pipeline.heterodyne.stages import (
    AtmosphereStage,
    CalibrationStage,
    ChopStage,
    CouplingStage,
    GainStage,
    LoadStage,
    PairingStage,
    SkydiffStage,
)

Floats = NDArray[np.float64]
T = TypeVar("T")


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

    Examples
    --------
    >>> from cal_pipeline.heterodyne.session import Session
    >>> band = Session("session.zarr").open_scan(1).bands[0]
    >>> band.mode.name, band.first_on, band.channel_width / 1e6  # 4 GHz in 64 channels
    ('otf', 1, 62.5)
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
        self._memory: CountMemory | None = None

    def __str__(self) -> str:
        return f"scan {self.scan_number}" + (f" {self.name}" if self.name else "")

    @property
    def mode(self) -> Mode:
        """Observing mode, determined from phases and instrument mode."""
        return determine_mode(self.coordinates.sobsmode, str(self.attributes.get("instmode", "")))

    @cached_property
    def first_on(self) -> int:
        """Zero-based subscan of the earliest ON."""
        try:
            return self.mode.find_first_on(self.coordinates.sobsmode, self.coordinates.mjd)
        except NoReferenceError as error:
            raise NoReferenceError(f"{self.store}/{self.group}/source/sobsmode: {error}") from error

    @property
    def channel_width(self) -> float:
        """Noise bandwidth of a channel: the absolute value of ``freq_res`` at the first ON [Hz]."""
        return float(abs(self.coordinates.freq_res[self.first_on]))

    @property
    def signal_frequency(self) -> float:
        """Sky frequency of the reference channel in the signal sideband, at the first ON [Hz]."""
        return float(self.coordinates.signal_freq[self.first_on])

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

    def ons_of(self, output: int) -> list[int]:
        """Return the indices of the one or two ONs averaged in a spectrum."""
        if self.coupling is None:
            return [output]
        return [int(ons[output]) for ons in self.outputs if ons[output] >= 0]

    @property
    def bad_channel(self) -> NDArray[np.bool_]:
        """Channels (C, R, A) that the loads before or after the scan cannot calibrate."""
        bad = self.require_loads().solution.bad_channel
        unusable = self.gain.unusable if self.gain is not None else None
        return bad if unusable is None else np.asarray(bad | unusable)

    @property
    def moves_in_ons(self) -> bool:
        """Tell whether the telescope moves during an ON, as the mode or the recorded offsets say."""
        pairing = self.require_pairing()
        return mode_named(pairing.mode).has_dump_positions or self.coordinates.moves_within(pairing.on)

    @property
    def gain_drift(self) -> Floats | None:
        """Relative change of the gain between the loads before and after, (R, A); None without loads after."""
        loads = self.require_loads()
        if loads.following is None:
            return None
        difference = loads.following.input_difference(loads.sidebands)
        return gain_change(loads.solution.gamma, gain_of_loads(loads.following, difference), self.bad_channel)

    @property
    def load_groups(self) -> list[str]:
        """Paths in the session of the groups whose loads are used, before and after the scan."""
        if self.loads is None:
            return []
        inner = self.group.partition("/")[2]
        following = () if self.loads.following_scan is None else (self.loads.following_scan,)
        scans = [f"scan_{number:06d}" for number in (*self.loads.scan_numbers, *following)]
        return [f"{scan}/{inner}/calibration" if inner else f"{scan}/calibration" for scan in scans]

    @property
    def channel_flags(self) -> NDArray[np.uint16] | None:
        """Flags (C, R, A) of channels that keep their values at every ON; None without any."""
        masks = (
            (Flag.SKY_OUTLIER, self.atmosphere.outlier if self.atmosphere is not None else None),
            (Flag.NOISY, self.pairing.noisy if self.pairing is not None else None),
        )
        flags = None
        for flag, mask in masks:
            if mask is not None and mask.any():
                of_mask = mask * np.uint16(flag)
                flags = of_mask if flags is None else flags | of_mask
        return flags

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
        if self.gain.level < 3 and subscan in self.require_pairing().off:
            return counts
        return self.gain.drift.restore(counts, float(self.coordinates.mjd[subscan]), channels)

    def without_drift(self, counts: NDArray[Any], subscan: int, channels: slice) -> NDArray[Any]:
        """Correct counts like `corrected`; unchanged without drift, since the zero level cancels in ON - OFF."""
        drifts = self.gain is not None and self.gain.drift is not None
        return self.corrected(counts, subscan, channels) if drifts else counts

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

    def open_session(self) -> StorePath:
        """Open the L0 session, once."""
        if self._place is None:
            self._place = open_store(self.store)
        return self._place

    def source_counts(self, clock: StageClock) -> Counts:
        """Open the counts of the observing phases; the clock counts reads as ``load``."""
        path = f"{self.group}/source/data_5d"
        counts = Counts(self.open_session(), path, clock, self._known_of_counts, self._memory)
        return counts.saturate_at(self._saturation_counts)

    @property
    def n_bytes(self) -> int:
        """Size of the counts, decoded [B]; 0 before they were opened."""
        return math.prod(self.coordinates.shape) * int(self._known_of_counts.get("itemsize", 0))

    @property
    def _saturation_counts(self) -> float | None:
        """Limit of the profile that the step ``loads`` took; before it, of that of the telescope."""
        if self.loads is not None:
            return self.loads.saturation_counts
        return open_profile(find_profile(self.attributes.get("telescope"))).saturation_counts

    def remember_counts(self, memory: CountMemory | None) -> None:
        """Keep counts that are read from now on, for further passes; None to keep no more."""
        self._memory = memory

    def read_from(self, root: StorePath) -> Band:
        """Read counts from a session that is open, instead of opening it by name."""
        self._place = root
        return self


_FORMAT = 2
"""Format of saved scans; in format 1 the atmosphere was one layer."""

FIELDS[Band] = {
    **dict.fromkeys(("name", "store", "group", "scan_number"), PLAIN),
    "coordinates": make_nested_converter(Coordinates),
    "attributes": MAPPING,
    "loads": make_nested_converter(LoadStage),
    "gain": make_nested_converter(GainStage),
    "pairing": make_nested_converter(PairingStage),
    "atmosphere": make_nested_converter(AtmosphereStage),
    "calibration": make_nested_converter(CalibrationStage),
    "coupling": make_nested_converter(CouplingStage),
    "skydiff": make_nested_converter(SkydiffStage),
    "chop": make_nested_converter(ChopStage),
}


class ScanMeta:
    """File name and step status for stpipe, and provenance of steps that wrote files."""

    def __init__(
        self, filename: str, cal_step: dict[str, str] | None = None, made_by: dict[str, Any] | None = None
    ) -> None:
        self.filename = filename
        self.made_by = made_by or {}
        self.cal_step = types.SimpleNamespace(**(cal_step or {}))


class LoadSource(Protocol):
    """Source of the loads of other scans: the session that a scan was opened from."""

    def find_loads(
        self,
        band: Band,
        interval: float,
        on_broken: str = "fail",
        read: Callable[[CalibrationGroup], object] | None = None,
        single_load: bool = False,
    ) -> LoadChoice:
        """Find the hot and cold load that belong to a band of a scan, and the reason."""

    def find_following(
        self,
        band: Band,
        interval: float,
        read: Callable[[CalibrationGroup], object] | None = None,
        single_load: bool = False,
    ) -> CalibrationGroup | None:
        """Find the first loads after a scan; None where there are none that fit."""

    def times_around(self, band: Band) -> tuple[float, float] | None:
        """Return the times (MJD) of the loads of the scans with the next lower and higher number [d]."""

    def read_loads(self, group: CalibrationGroup, band: Band, clock: StageClock, rules: LoadRules) -> LoadCounts:
        """Read the counts on the loads of a scan, in a band's pixel order."""

    def evaluate_loads(
        self,
        loads: CalibrationGroup,
        band: Band,
        n: int,
        evaluate: Callable[[CalibrationGroup], Floats],
        key: Hashable,
        single_load: bool = False,
    ) -> list[Floats]:
        """Evaluate loads and the nearest ones before them that fit the band, each once for every key."""


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
    session : LoadSource, optional
        The session it was opened from, which knows the loads of all scans.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.session import Session
    >>> scan = Session("session.zarr").open_scan(1)
    >>> scan, scan.n_samples  # 64 channels, 8 dumps, 7 subscans
    (<Scan 1: 1 band>, 3584)
    """

    number: int
    attributes: dict[str, Any]
    bands: list[Band]
    meta: ScanMeta = field(init=False)
    clock: StageClock = field(default_factory=StageClock)
    session: LoadSource | None = None

    crds_observatory: typing.ClassVar[str] = "cal_pipeline"

    def __post_init__(self) -> None:
        self.meta = ScanMeta(f"scan_{self.number:06d}.asdf")

    def __repr__(self) -> str:
        return f"<Scan {self.number}: {format_count(len(self.bands), 'band')}>"

    def fork(self) -> Scan:
        """Copy the scan: further steps leave this one alone, and results so far are shared, not copied.

        Examples
        --------
        >>> from cal_pipeline.steps import LoadsStep
        >>> scan = LoadsStep.call("session.zarr")
        >>> other = scan.fork()
        >>> other.bands[0].loads = None
        >>> scan.bands[0].loads is None
        False
        """
        other = copy.copy(self)
        other.bands = [copy.copy(band) for band in self.bands]
        other.meta = ScanMeta(self.meta.filename, dict(vars(self.meta.cal_step)), dict(self.meta.made_by))
        other.clock = StageClock()
        return other

    @property
    def n_samples(self) -> int:
        """Number of count samples."""
        return sum(math.prod(band.coordinates.shape) for band in self.bands)

    @property
    def n_bytes(self) -> int:
        """Size of the counts, decoded [B]."""
        return sum(band.n_bytes for band in self.bands)

    @property
    def used_groups(self) -> set[str]:
        """Paths in the session of the scan and of the groups whose loads are used."""
        own = {band.group.partition("/")[0] for band in self.bands}
        return own.union(*(band.load_groups for band in self.bands))

    def get_crds_parameters(self) -> dict[str, Any]:
        """Return the keys for the choice of reference and parameter files."""
        band = self.bands[0]
        return {
            "telescope": band.attributes.get("telescope"),
            "frontend": band.attributes.get("frontend"),
            "mode": band.mode.name,
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

        Examples
        --------
        >>> from cal_pipeline.steps import LoadsStep
        >>> file = LoadsStep.call("session.zarr").save("scan_000001_loads.asdf")
        >>> Scan.open(file).meta.cal_step
        namespace(loads='COMPLETE')
        """
        target = Path(dir_path) / Path(path).name if dir_path else Path(path)
        tree = {
            "format": _FORMAT,
            "scan_number": self.number,
            "attributes": self.attributes,
            "cal_step": vars(self.meta.cal_step),
            "bands": [to_tree(band) for band in self.bands],
        }
        if self.meta.made_by:
            tree["made_by"] = self.meta.made_by
        write_asdf(target, {"cal_pipeline_scan": tree})
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
            with open_asdf(path, lazy_load=False, memmap=False) as file:
                tree = file.tree.get("cal_pipeline_scan")
                if tree is None:
                    raise StoreError(f"{path} holds no 'cal_pipeline_scan': a step did not write it")
                if tree.get("format", 1) != _FORMAT and any("atmosphere" in band for band in tree["bands"]):
                    raise StoreError(
                        f"{path} holds an atmosphere of format {tree.get('format', 1)}, expected {_FORMAT}, in layers: "
                        "another release wrote it; run the step atmosphere and those after it anew"
                    )
                scan = cls(
                    int(tree["scan_number"]),
                    make_builtin(tree["attributes"]),
                    [from_tree(Band, band) for band in tree["bands"]],
                )
                scan.meta = ScanMeta(
                    Path(path).name, make_builtin(tree["cal_step"]), make_builtin(tree.get("made_by", {}))
                )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path} cannot be read as a scan that a step wrote: {type(error).__name__}: {error}"
            ) from error
        return scan
