"""Configuration of a simulation: telescope, receivers, atmosphere, lines, scans; all frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.heterodyne.simulate.conditions import Atmosphere
from cal_pipeline.heterodyne.simulate.errors import require
from cal_pipeline.heterodyne.simulate.faults import Drift, Faults
from cal_pipeline.heterodyne.simulate.imperfections import ChopPhaseOffset, Imbalance, SkyWave
from cal_pipeline.heterodyne.simulate.sequence import Loads, Sequence, TotalPower

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Telescope:
    """Name, location and surroundings of the telescope.

    Parameters
    ----------
    name : str
        Name in L0.
    table : str
        Name of the shipped atmosphere table: ccat, sofia or gbt.
    latitude_deg : float
        Geographic latitude.
    pressure_pa, t_ambient : float
        Ambient pressure [Pa] and temperature [K].

    Examples
    --------
    Another telescope below the atmosphere of the shipped table of CCAT:

    >>> from cal_pipeline.simulate import Telescope, preset
    >>> site = Telescope("APEX", "ccat", latitude_deg=-23.0, pressure_pa=55000.0, t_ambient=270.0)
    >>> preset("ccat_chai", telescope=site).telescope.name
    'APEX'
    """

    name: str
    table: str
    latitude_deg: float
    pressure_pa: float
    t_ambient: float


@dataclass(frozen=True)
class Bandpass:
    """Shape of the gain over the band; x runs from -1 to 1.

    Parameters
    ----------
    tilt, curvature : float
        Shape 1 + tilt·x - curvature·x².
    ripple, ripple_cycles : float
        Amplitude and number of periods over the band of a cosine on top.
    edge_width : float
        Fraction of the band over which each edge rolls off (0: not at all).
    edge_level : float
        Gain at the very edge, as a fraction of the gain inside.

    Examples
    --------
    >>> from cal_pipeline.heterodyne.simulate.instrument import bandpass_shape
    >>> bandpass = Bandpass(tilt=0.25, curvature=0.0, ripple=0.0, edge_width=0.0)
    >>> bandpass_shape(bandpass, 3, np.zeros((1, 1))).ravel().tolist()
    [0.75, 1.0, 1.25]
    """

    tilt: float = 0.15
    curvature: float = 0.2
    ripple: float = 0.05
    ripple_cycles: float = 2.5
    edge_width: float = 0.03
    edge_level: float = 0.1

    def __post_init__(self) -> None:
        require(0.0 < self.edge_level <= 1.0, f"edge_level {self.edge_level} must be above 0 and at most 1")
        require(0.0 <= self.edge_width <= 0.5, f"edge_width {self.edge_width} must be between 0 and 0.5")
        require(
            abs(self.tilt) + max(self.curvature, 0.0) + abs(self.ripple) < 1.0,
            "tilt + curvature + ripple must stay below 1, or the gain would not be positive",
        )


FLAT_BANDPASS = Bandpass(tilt=0.0, curvature=0.0, ripple=0.0, edge_width=0.0)
"""Bandpass with equal gain in every channel."""


@dataclass(frozen=True)
class StandingWave:
    """A reflection between two optical surfaces: a cosine in frequency, the same in every pixel.

    Parameters
    ----------
    period_hz : float
        c/(2·distance) [Hz].
    gain_amplitude : float
        Relative amplitude on the gain.
    t_rec_amplitude : float
        Additive amplitude on t_rec_dsb [K].
    phase_rad : float
        Phase at the reference frequency of the signal sideband.

    Examples
    --------
    Mirrors 1.25 m apart:

    >>> wave = StandingWave(period_hz=299792458.0 / (2.0 * 1.25))
    >>> f"{wave.period_hz / 1e6:.0f} MHz"
    '120 MHz'
    """

    period_hz: float
    gain_amplitude: float = 0.02
    t_rec_amplitude: float = 0.0
    phase_rad: float = 0.0

    def __post_init__(self) -> None:
        require(self.period_hz > 0.0, f"period_hz {self.period_hz} must be positive")
        require(abs(self.gain_amplitude) < 1.0, f"gain_amplitude {self.gain_amplitude} must be below 1")


@dataclass(frozen=True)
class Receiver:
    """A receiver array with its spectrometers: one frequency axis, R pixels times A arrays.

    Parameters
    ----------
    name : str
        Name of the frontend.
    arrays : tuple of str
        Prefix of the pixel ids of each array (A), e.g. ("LFAH", "LFAV").
    pixel_offsets_deg : tuple of (float, float)
        Longitude and latitude offset of each pixel [deg] (R).
    signal_freq, image_freq : float
        Topocentric frequency of the reference channel in the signal and image sideband [Hz].
    bandwidth : float
        Width of all channels together [Hz]; negative: frequency falls with the channel number.
    channels : int
        Number of channels (C).
    freq_off : float
        Offset of the reference channel [Hz].
    rest_freq : float or None
        Rest frequency of the line [Hz]; None: `signal_freq`.
    line : str
        Name of the line.
    image_gain : float or tuple of float
        Gain image/signal, one for all arrays or one each: 1 double sideband, 0 single sideband.
    forward_efficiency : float or tuple of float
        f_eff, one for all arrays or one each.
    coupling : float
        eta, what else of a line is lost.
    t_rec_dsb : float
        Receiver temperature in mid-band [K].
    t_rec_slope, t_rec_spread : float
        Relative change of t_rec_dsb from mid-band to the last channel; largest relative deviation
        of a pixel.
    counts_per_kelvin : float
        Gain in mid-band [ct/K].
    gain_spread : float
        Largest relative deviation of a pixel's gain.
    bandpass : Bandpass
        Shape of the gain.
    standing_waves : tuple of StandingWave
        Ripples on gain and receiver temperature.
    zero_level : float
        Counts of a spectrometer without input [ct]; needs a ZERO in the loads.

    Examples
    --------
    The sidebands are mirrored at the local oscillator, here at 467 GHz:

    >>> receiver = Receiver("SIM", ("A",), ((0.0, 0.0),), 461e9, 473e9, bandwidth=4e9, channels=4)
    >>> signal, image = receiver.frequencies()
    >>> (signal / 1e9).tolist(), ((signal + image) / 2e9).tolist()
    ([459.5, 460.5, 461.5, 462.5], [467.0, 467.0, 467.0, 467.0])
    """

    name: str
    arrays: tuple[str, ...]
    pixel_offsets_deg: tuple[tuple[float, float], ...]
    signal_freq: float
    image_freq: float
    bandwidth: float
    channels: int = 1024
    freq_off: float = 0.0
    rest_freq: float | None = None
    line: str = ""
    image_gain: float | tuple[float, ...] = 1.0
    forward_efficiency: float | tuple[float, ...] = 1.0
    coupling: float = 1.0
    t_rec_dsb: float = 200.0
    t_rec_slope: float = 0.1
    t_rec_spread: float = 0.1
    counts_per_kelvin: float = 20000.0
    gain_spread: float = 0.2
    bandpass: Bandpass = field(default_factory=Bandpass)
    standing_waves: tuple[StandingWave, ...] = ()
    zero_level: float = 0.0

    def __post_init__(self) -> None:
        require(
            self.channels > 0 and bool(self.arrays) and bool(self.pixel_offsets_deg),
            f"{self.name} is empty: at least 1 channel, 1 pixel and 1 array are needed",
        )
        require(self.bandwidth != 0.0, f"{self.name}: bandwidth must not be 0")
        for name in ("image_gain", "forward_efficiency"):
            fits = np.size(getattr(self, name)) in (1, len(self.arrays))
            require(fits, f"{self.name}: {name} must be one number or one per array")
        require(bool(np.all(self.gains >= 0.0)), f"{self.name}: image_gain {self.image_gain} must not be negative")
        f_eff = self.f_eff
        require(bool(np.all((f_eff > 0) & (f_eff <= 1))), f"{self.name}: forward_efficiency must be in (0, 1]")
        require(0.0 < self.coupling <= 1.0, f"{self.name}: coupling {self.coupling} must be in (0, 1]")
        require(
            self.t_rec_dsb > 0.0 and self.counts_per_kelvin > 0.0,
            f"{self.name}: t_rec and gain must be positive",
        )
        require(
            max(abs(self.t_rec_slope), abs(self.t_rec_spread), abs(self.gain_spread)) < 1.0,
            f"{self.name}: t_rec_slope, t_rec_spread and gain_spread must be below 1",
        )

    @property
    def freq_res(self) -> float:
        """Distance of two channels [Hz], signed."""
        return self.bandwidth / self.channels

    @property
    def ref_channel(self) -> float:
        """Zero-based reference channel, exact in 32 bits."""
        return float(np.float32((self.channels - 1) / 2.0))

    @property
    def f_eff(self) -> Array:
        """Forward efficiency of each array, shape (A,)."""
        return np.array(np.broadcast_to(self.forward_efficiency, len(self.arrays)), dtype=np.float64)

    @property
    def gains(self) -> Array:
        """Gain image/signal of each array, shape (A,)."""
        return np.array(np.broadcast_to(self.image_gain, len(self.arrays)), dtype=np.float64)

    @property
    def pixel_ids(self) -> list[str]:
        """Pixel ids, index r·A + a."""
        return [f"{name}_PX{r:02d}" for r in range(len(self.pixel_offsets_deg)) for name in self.arrays]

    def frequencies(self) -> tuple[Array, Array]:
        """Return signal and image frequency of the channels [Hz], shape (C,)."""
        offset = self.freq_off + (np.arange(self.channels) - self.ref_channel) * self.freq_res
        return np.asarray(self.signal_freq + offset), np.asarray(self.image_freq - offset)


@dataclass(frozen=True)
class Source:
    """The direction that is observed.

    Parameters
    ----------
    name : str
        Name in L0.
    ra_deg, dec_deg : float
        Position, ICRS [deg].
    hour_angle_h : float
        Hour angle at the session's start [h].
    velocity_kms : float
        Source velocity, only recorded [km/s].
    elevation_deg : float or None
        Keep this elevation instead of following the sky.

    Examples
    --------
    At an elevation of 30° there are two airmasses:

    >>> from cal_pipeline.simulate import preset, read_truth, simulate
    >>> night = preset("ccat_chai", channels=8, pixels=1, source=Source(elevation_deg=30.0))
    >>> truth = read_truth(simulate(night, "low.zarr").session, scan=1)
    >>> truth.airmass.round(3).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """

    name: str = "SIM"
    ra_deg: float = 83.8
    dec_deg: float = -5.4
    hour_angle_h: float = -1.5
    velocity_kms: float = 0.0
    elevation_deg: float | None = None


@dataclass(frozen=True)
class GaussianSource:
    """A round source on the sky, as wide as the beam makes it.

    Parameters
    ----------
    fwhm_deg : float
        Full width at half maximum [deg].
    lon_deg, lat_deg : float
        Offset of the peak from the source position [deg].

    Examples
    --------
    At half its width from the peak a source is half as bright:

    >>> GaussianSource(fwhm_deg=0.02).amplitude(np.array([0.0, 0.01]), np.zeros(2)).round(6).tolist()
    [1.0, 0.5]
    """

    fwhm_deg: float
    lon_deg: float = 0.0
    lat_deg: float = 0.0

    def __post_init__(self) -> None:
        require(self.fwhm_deg > 0.0, f"fwhm_deg {self.fwhm_deg} must be positive")

    def amplitude(self, lon: Array, lat: Array) -> Array:
        """Return the brightness relative to the peak at offsets `lon`, `lat` [deg]."""
        squared = (lon - self.lon_deg) ** 2 + (lat - self.lat_deg) ** 2
        return np.asarray(np.exp(-4.0 * np.log(2.0) * squared / self.fwhm_deg**2))


@dataclass(frozen=True)
class Line:
    """A spectral line or a continuum of the source.

    Parameters
    ----------
    t_peak : float
        Peak of T_A* [K].
    freq_hz : float or None
        Sky frequency of the line's centre; None: the reference frequency of the first receiver. It
        shows in whichever sideband of whichever receiver holds it.
    fwhm_hz : float or None
        Full width at half maximum; None: a continuum, the same at all frequencies.
    source : GaussianSource or None
        Its shape on the sky; None: the same in all ONs.
    sidebands : {"both", "signal", "image"}
        Leave a sideband out, as no real source would.
    off_amplitude : float
        Brightness in every OFF, relative to the peak.

    Examples
    --------
    >>> line = Line(t_peak=10.0, freq_hz=461e9, fwhm_hz=20e6)
    >>> line.profile(np.array([461e9, 461.01e9]), default_freq=461e9).round(6).tolist()
    [10.0, 5.0]
    """

    t_peak: float
    freq_hz: float | None = None
    fwhm_hz: float | None = None
    source: GaussianSource | None = None
    sidebands: Literal["both", "signal", "image"] = "both"
    off_amplitude: float = 0.0

    def __post_init__(self) -> None:
        require(self.fwhm_hz is None or self.fwhm_hz > 0.0, f"fwhm_hz {self.fwhm_hz} must be positive")
        require(self.sidebands in ("both", "signal", "image"), f"sidebands {self.sidebands!r} is unknown")

    def profile(self, nu: Array, default_freq: float) -> Array:
        """Return T_A* [K] at the peak of the source, shape (C,), at frequencies `nu` [Hz]."""
        if self.fwhm_hz is None:
            return np.full(nu.shape, self.t_peak)
        centre = default_freq if self.freq_hz is None else self.freq_hz
        return np.asarray(self.t_peak * np.exp(-4.0 * np.log(2.0) * ((nu - centre) / self.fwhm_hz) ** 2))


@dataclass(frozen=True)
class Scan:
    """One scan; what is None is as in the session.

    Parameters
    ----------
    number : int or None
        Scan number; None: one more than the scan before.
    sequence : Sequence or None
        What is observed.
    calibration_only : bool
        Only loads, no source group.
    loads : Loads or None
        Its loads; `Loads(pattern=())`: none of its own.
    lloadsn : int or None
        Scan of the last load as L0 names it (-1: none); None: the truth.
    gap_s : float
        Idle time before the scan [s].
    atmosphere : Atmosphere or None
        Another sky.
    pwv_mm : float or None
        PWV at the session's start that this scan sees [mm].
    source : Source or None
        Another source.
    receivers : tuple of Receiver or None
        Another set-up.
    lines : tuple of Line or None
        Other lines.
    faults : Faults or None
        Its faults.

    Examples
    --------
    Loads alone, and a scan without loads that names them as its last ones:

    >>> from cal_pipeline.heterodyne.session import Session
    >>> from cal_pipeline.simulate import Loads, Scan, preset, simulate
    >>> scans = (Scan(number=7, calibration_only=True), Scan(loads=Loads(pattern=())))
    >>> written = simulate(preset("ccat_chai", channels=8, pixels=1, scans=scans), "shared_loads.zarr")
    >>> session = Session("shared_loads.zarr")
    >>> session.numbers, session.select(None)
    ([7, 8], [8])
    >>> session.find_loads(session.open_scan(8).bands[0], interval=3600.0).reason
    'lloadsn'
    """

    number: int | None = None
    sequence: Sequence | None = None
    calibration_only: bool = False
    loads: Loads | None = None
    lloadsn: int | None = None
    gap_s: float = 0.0
    atmosphere: Atmosphere | None = None
    pwv_mm: float | None = None
    source: Source | None = None
    receivers: tuple[Receiver, ...] | None = None
    lines: tuple[Line, ...] | None = None
    faults: Faults | None = None


@dataclass(frozen=True)
class SessionConfig:
    """A session: one store of scans.

    Parameters
    ----------
    telescope : Telescope
        Site.
    receivers : tuple of Receiver
        One, or several observing at the same time: the bands of each scan.
    source, sequence, loads, atmosphere, lines, faults : object
        What is observed and how; a `Scan` can override most of it.
    scans : tuple of Scan
        The scans in time order.
    drift : Drift
        Instability of gain and offset.
    sky_waves : tuple of SkyWave
        Standing waves on what comes from the sky.
    imbalance : Imbalance or None
        Difference between the beams of a chopper.
    chop_phase_offset : ChopPhaseOffset or None
        Differences between the phases of a chop.
    mjd_start : float
        Start of the session (MJD, UTC).
    overhead_s : float
        Time between two subscans [s].
    noise : bool
        Radiometer noise.
    dtype : {"int32", "float64"}
        Counts rounded to integers as a spectrometer delivers them, or unrounded.
    seed : int
        Everything random follows from it.
    chunks : tuple of int or None
        Chunks of data_5d [C, D, R, A, S]; None: one subscan, as many channels (at most 2048) as fit
        in 64 MB.
    compression : int
        zstd level.
    raw_headers : bool
        Write `raw_fits_headers`.
    attributes : mapping
        Further attributes of the scan groups.

    Examples
    --------
    >>> from cal_pipeline.simulate import preset
    >>> config = preset("ccat_chai")
    >>> len(config.receivers[0].pixel_offsets_deg), config.receivers[0].channels, config.atmosphere.pwv_mm
    (64, 8192, 0.5)
    """

    telescope: Telescope
    receivers: tuple[Receiver, ...]
    source: Source = field(default_factory=Source)
    sequence: Sequence = field(default_factory=TotalPower)
    loads: Loads = field(default_factory=Loads)
    atmosphere: Atmosphere = field(default_factory=Atmosphere)
    lines: tuple[Line, ...] = ()
    faults: Faults = field(default_factory=Faults)
    scans: tuple[Scan, ...] = field(default_factory=lambda: (Scan(),))
    drift: Drift = field(default_factory=Drift)
    sky_waves: tuple[SkyWave, ...] = ()
    imbalance: Imbalance | None = None
    chop_phase_offset: ChopPhaseOffset | None = None
    mjd_start: float = 60310.25
    overhead_s: float = 3.0
    noise: bool = True
    dtype: Literal["int32", "float64"] = "int32"
    seed: int = 0
    chunks: tuple[int, int, int, int, int] | None = None
    compression: int = 1
    raw_headers: bool = False
    attributes: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.scans), "a session needs at least one scan")
        require(bool(self.receivers), "a session needs at least one receiver")
        require(self.dtype in ("int32", "float64"), f'dtype {self.dtype!r}: choose "int32" or "float64"')
        require(self.seed >= 0, f"seed {self.seed} must not be negative")
        require(self.chunks is None or min(self.chunks) > 0, f"chunks {self.chunks} must be positive")
