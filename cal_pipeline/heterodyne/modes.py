"""Observing modes: which subscans are ONs and OFFs, and how they are paired."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.heterodyne.errors import NoReferenceError
from cal_pipeline.heterodyne.phases import CHOPPED_OFFS, CHOPPED_ONS, OFFS, ONS, Mask, Texts, find_phases
from cal_pipeline.heterodyne.physics.switching import interpolation_weights, nearest_off, reduction_groups

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class Pairing(NamedTuple):
    """OFFs that make up the reference of each ON.

    Parameters
    ----------
    weights : ndarray, shape (R, A, S_on, O)
        Weights of the OFFs in the reference of each ON.
    time_weights : ndarray, shape (S_on, O)
        Weights from times (and beams) alone, without regard to missing data in a pixel.
    pair : ndarray of int, shape (R, A, S_on)
        Position of the OFF paired with each ON; -1 if a pixel has none.
    beam : ndarray of str, shape (S_on,)
        Beam of each ON, ``"A"`` or ``"B"``; empty without beams.

    Examples
    --------
    An ON after a quarter of the time from one OFF to the next, in one pixel:

    >>> phases, mjd, valid = np.array(["OFF", "ON", "OFF"]), np.array([0.0, 1.0, 4.0]), np.ones((1, 1, 2), bool)
    >>> pairing = mode_named("total_power").pair(phases, mjd, np.array([1]), np.array([0, 2]), valid)
    >>> pairing.weights[0, 0].tolist(), pairing.pair[0, 0].tolist()
    ([[0.75, 0.25]], [0])
    """

    weights: Floats
    time_weights: Floats
    pair: Indices
    beam: Texts


class Mode(ABC):
    """Observing mode, without state.

    Attributes
    ----------
    name : str
        Value of the parameter ``prepare.mode`` and of the attribute ``mode`` in L1.
    aliases : tuple of str
        Other names on the command line of ``calibrate``.
    on_phases, off_phases : tuple of str
        Phases (``sobsmode``) of ONs and OFFs, in capitals.
    per_dump : bool
        True if the reference of a dump is the same dump of the paired OFF, not a mean over dumps.
        Each ON then has exactly one OFF.
    has_dump_positions : bool
        True if the telescope moves during an ON: L1 then has a position for every dump.
    reference_strategy : str
        Construction of the reference, as L1 describes it.

    Notes
    -----
    A mode with phases of its own must match the scans that have them: values are checked and the
    first ON is looked for before the step ``prepare``, whose parameter may name another mode.

    Examples
    --------
    >>> mode, phases = mode_named("otf"), np.array(["OTF-OFF", "OTF-ON", "CAL"])
    >>> mode.find_ons(phases).tolist(), mode.find_offs(phases).tolist()
    ([False, True, False], [True, False, False])
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    on_phases: ClassVar[tuple[str, ...]] = ONS
    off_phases: ClassVar[tuple[str, ...]] = OFFS
    per_dump: ClassVar[bool] = False
    has_dump_positions: ClassVar[bool] = False
    reference_strategy: ClassVar[str] = "linear interpolation in MJD between the OFFs before and after"

    @abstractmethod
    def matches(self, phases: Texts, instmode: str) -> bool:
        """Tell whether a scan was observed in this mode.

        Parameters
        ----------
        phases : ndarray of str, shape (S,)
            ``sobsmode`` of its subscans.
        instmode : str
            Instrument mode, as recorded.
        """

    def find_ons(self, phases: Texts) -> Mask:
        """Find the subscans on the source."""
        return find_phases(phases, self.on_phases)

    def find_offs(self, phases: Texts) -> Mask:
        """Find the subscans on blank sky."""
        return find_phases(phases, self.off_phases)

    def find_first_on(self, phases: Texts, mjd: Floats) -> int:
        """Find the zero-based subscan of the earliest ON.

        Raises
        ------
        NoReferenceError
            If there is none.
        """
        ons = np.flatnonzero(self.find_ons(phases))
        if ons.size == 0:
            raise NoReferenceError(
                f"no ON among the phases {sorted(set(phases.tolist()))}, expected at least one for mode {self.name}"
            )
        # Unknown times are NaN, which argmin would take for the earliest.
        return int(ons[np.argmin(np.where(np.isnan(mjd[ons]), np.inf, mjd[ons]))])

    def pair(self, phases: Texts, mjd: Floats, on: Indices, off: Indices, valid: Mask) -> Pairing:
        """Pair ONs and OFFs; by linear interpolation in time between two OFFs unless overridden.

        Parameters
        ----------
        phases : ndarray of str, shape (S,)
            ``sobsmode`` of all subscans.
        mjd : ndarray, shape (S,)
            Times of all subscans (MJD) [d].
        on, off : ndarray of int, shape (S_on,), (O,)
            Subscans of the ONs and OFFs, in time order.
        valid : ndarray of bool, shape (R, A, O)
            Whether an OFF has a valid dump in a pixel.

        Returns
        -------
        Pairing

        Raises
        ------
        NoReferenceError
            If an ON has no OFF.
        """
        return Pairing(
            interpolation_weights(mjd[on], mjd[off], valid),
            interpolation_weights(mjd[on], mjd[off], np.ones((1, 1, off.size), np.bool_))[0, 0],
            nearest_off(mjd[on], mjd[off], valid),
            np.full(on.size, ""),
        )

    def describe_phases(self) -> str:
        """Describe the phases that take part, for messages."""
        if {*self.on_phases, *self.off_phases} <= {*ONS, *OFFS}:
            return "ON, OFF, OTF-ON, OTF-OFF or, with a beam, SWA-ON and the like"
        return ", ".join((*self.on_phases, *self.off_phases))


MODES: dict[str, Mode] = {}
"""Modes by name. A mode registered later is asked earlier whether it matches a scan."""

_Kind = TypeVar("_Kind", bound=type[Mode])


def register_mode(kind: _Kind) -> _Kind:
    """Add a mode to the registry, as a class decorator.

    Parameters
    ----------
    kind : type
        Class of the mode, made without arguments.

    Returns
    -------
    type
        The class.

    Raises
    ------
    ValueError
        If its name is taken.

    Examples
    --------
    >>> @register_mode
    ... class Nod(TotalPower):
    ...     name = "nod"
    ...
    ...     def matches(self, phases, instmode):
    ...         return instmode == "NOD"
    >>> determine_mode(np.array(["ON", "OFF"]), "NOD").name
    'nod'
    >>> del MODES["nod"]  # only for this example
    """
    if kind.name in MODES:
        raise ValueError(f"mode {kind.name!r} of {kind.__qualname__} is that of {type(MODES[kind.name]).__qualname__}")
    MODES[kind.name] = kind()
    return kind


def mode_named(name: str) -> Mode:
    """Return the mode of a name.

    Parameters
    ----------
    name : str
        Key of `MODES`.

    Returns
    -------
    Mode

    Raises
    ------
    CalibrationError
        If no such mode is registered.

    Examples
    --------
    >>> mode_named("otf_chopped").on_phases
    ('SWA-ON', 'SWB-ON', 'OTFSWA-ON', 'OTFSWB-ON')
    """
    if name not in MODES:
        raise CalibrationError(f"observing mode {name!r} is unknown, expected one of {', '.join(MODES)}")
    return MODES[name]


def resolve_alias(name: str) -> str:
    """Return the name of the mode that has an alias, in any case of letters; other names as they are.

    Examples
    --------
    >>> resolve_alias("TP")
    'total_power'
    """
    return next((mode.name for mode in MODES.values() if name.lower() in mode.aliases), name)


def determine_mode(phases: Texts, instmode: str) -> Mode:
    """Determine the observing mode of a scan: the one registered last among those that match.

    Parameters
    ----------
    phases : ndarray of str, shape (S,)
        ``sobsmode`` of its subscans.
    instmode : str
        Instrument mode, as recorded.

    Returns
    -------
    Mode

    Examples
    --------
    >>> determine_mode(np.array(["ON", "OFF"]), "OTF").name
    'otf'
    """
    return next(mode for mode in reversed(MODES.values()) if mode.matches(phases, instmode))


@register_mode
class TotalPower(Mode):
    """Pointed observation with interpolated OFFs: any scan that no other mode matches.

    Examples
    --------
    >>> determine_mode(np.array(["ON", "OFF"]), "unheard of").name
    'total_power'
    """

    name = "total_power"
    aliases = ("tp", "totalpower", "total-power")

    def matches(self, phases: Texts, instmode: str) -> bool:
        """Match every scan: this mode is asked last."""
        return True


@register_mode
class Otf(Mode):
    """Map on the fly, with interpolated OFFs.

    Examples
    --------
    >>> determine_mode(np.array(["OTF-ON", "OTF-OFF"]), "").name
    'otf'
    """

    name = "otf"
    has_dump_positions = True

    def matches(self, phases: Texts, instmode: str) -> bool:
        """Match a scan with any OTF phase or of instrument mode OTF."""
        return instmode.upper() == "OTF" or bool(find_phases(phases, ("OTF-ON", "OTF-OFF")).any())


@register_mode
class OtfChopped(Mode):
    """Chopped scan in one or two beams; the reference of a dump is a dump of an OFF of the same beam.

    Examples
    --------
    >>> determine_mode(np.array(["OTFSWA-ON", "OTFSWA-OFF"]), "OTF").name
    'otf_chopped'
    """

    name = "otf_chopped"
    aliases = ("otf-chopped",)
    on_phases = CHOPPED_ONS
    off_phases = CHOPPED_OFFS
    per_dump = True
    has_dump_positions = True
    reference_strategy = "same dump of the OFF of the same beam nearest in MJD"

    def matches(self, phases: Texts, instmode: str) -> bool:
        """Match a scan with any SWA or SWB phase."""
        return bool(find_phases(phases, (*CHOPPED_ONS, *CHOPPED_OFFS)).any())

    def pair(self, phases: Texts, mjd: Floats, on: Indices, off: Indices, valid: Mask) -> Pairing:
        """Pair each ON with the OFF of its beam nearest in time: its reduction group."""
        beam = np.where(np.char.find(np.char.upper(phases), "SWA") >= 0, "A", "B")
        group = reduction_groups(mjd[on], mjd[off], beam[on], beam[off])
        if (group < 0).any():
            alone = sorted(set(beam[on[group < 0]].tolist()))
            raise NoReferenceError(
                f"no OFF of beam {' and '.join(alone)} among the phases {sorted(set(phases.tolist()))}, "
                "expected at least one for each beam with an ON"
            )
        return pair_with_single_offs(group, beam[on], valid)


def pair_with_single_offs(group: Indices, beam: Texts, valid: Mask) -> Pairing:
    """Make the pairing of ONs that have one OFF each, the same in all pixels.

    Parameters
    ----------
    group : ndarray of int, shape (S_on,)
        Position of the OFF of each ON.
    beam : ndarray of str, shape (S_on,)
        Beam of each ON.
    valid : ndarray of bool, shape (R, A, O)
        Whether an OFF has a valid dump in a pixel; only its shape counts.

    Returns
    -------
    Pairing

    Examples
    --------
    >>> valid = np.ones((1, 1, 2), bool)
    >>> pairing = pair_with_single_offs(np.array([1, 0]), np.array(["A", "B"]), valid)
    >>> pairing.time_weights.tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    *pixels, n_offs = valid.shape
    time_weights = np.zeros((group.size, n_offs))
    time_weights[np.arange(group.size), group] = 1.0
    return Pairing(
        np.broadcast_to(time_weights, (*pixels, *time_weights.shape)),
        time_weights,
        np.broadcast_to(group, (*pixels, group.size)),
        beam,
    )
