"""A calibrated scan, for work in Python: datasets, averages, velocities, spectra and plots."""

from __future__ import annotations

import html
import operator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

import numpy as np

from cal_pipeline.core.errors import CalibrationError, StoreError
from cal_pipeline.core.store.metadata import read_group_attributes
from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.core.text import elide_middle, format_count, format_with_error, list_few, make_printable
from cal_pipeline.heterodyne.scan_view import Pixels, Subscans

if TYPE_CHECKING:
    import xarray
    from astropy.units import Quantity
    from matplotlib.axes import Axes
    from specutils import Spectrum

    from cal_pipeline.heterodyne.averages import Selection, Weights

_UNKNOWN = "not known"

_WIDTH = 60
"""Longest name from the data in a title [characters]."""


class ScanSource(Protocol):
    """L1 store that a scan is read from."""

    path: Any
    root: Any

    def bands(self, number: int) -> list[str]:
        """Return the paths of the bands of a scan, or the path of an undivided scan."""

    def open_scan(self, number: SupportsIndex, band: SupportsIndex | str | None = None) -> xarray.Dataset:
        """Open a scan, lazily."""


class CalibratedScan:
    """Scan of an L1 store, or one band of it; arrays are read when they are used.

    ``session[25650]`` makes it.

    Parameters
    ----------
    session : CalibratedSession
        The store.
    number : int
        Scan number.
    group : str, optional
        Path of the band in the store; of a scan with one frequency axis there is only one.

    Attributes
    ----------
    number : int
        Scan number.
    group : str
        Path in the store; that of the whole scan where it has several bands.

    Examples
    --------
    ``l1.zarr`` is the one in the example of :class:`~cal_pipeline.CalibrationPipeline`:

    >>> from cal_pipeline import open_l1
    >>> scan = open_l1("l1.zarr")[1]
    >>> print(str(scan).splitlines()[0])
    <CalibratedScan 1: SIM-ORION, otf, CCAT CO4-3>
    >>> scan.pixels
    ['CHAI_PX00']
    """

    def __init__(self, session: ScanSource, number: int, group: str | None = None) -> None:
        self.number = number
        self._session = session
        groups = [group] if group else session.bands(number)
        self._groups = groups
        self.group = groups[0] if len(groups) == 1 else groups[0].partition("/")[0]

    @property
    def bands(self) -> list[str]:
        """Names of the bands; empty for a scan with one frequency axis."""
        return [name for group in self._groups if (name := group.partition("/")[2])]

    def band(self, band: SupportsIndex | str) -> CalibratedScan:
        """Return one band of a scan that has several.

        Parameters
        ----------
        band : int or str
            Band: 1, ``"1"`` or ``"band_1"``.

        Raises
        ------
        StoreError
            If there is no such band; the message lists them.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> open_l1("l1.zarr")[1].bands  # with two bands ["band_0", "band_1"], of which band(1) is the second
        []
        """
        wanted = band if isinstance(band, str) else str(operator.index(band))
        number = wanted.removeprefix("band_")
        name = f"band_{int(number)}" if number.isascii() and number.isdigit() else wanted
        if name not in self.bands:
            has = f"bands {', '.join(self.bands)}" if self.bands else "one frequency axis and no bands"
            raise StoreError(f"{self._label} has no band {make_printable(wanted)[:80]}; it has {has}")
        group = next(path for path in self._groups if path.endswith(f"/{name}"))
        return CalibratedScan(self._session, self.number, group)

    @property
    def _label(self) -> str:
        return f"{self._session.path}: scan {self.number}"

    def _require_one_band(self) -> str | None:
        """Return the name of the band; None for a scan with one frequency axis."""
        if len(self._groups) > 1:
            first = self.bands[0].removeprefix("band_")
            raise StoreError(f"{self._label} has bands {', '.join(self.bands)}; choose one, as in scan.band({first})")
        return self._groups[0].partition("/")[2] or None

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """Attributes as recorded: source, quality figures, provenance and so on; of the first band of several."""
        return read_group_attributes(self._session.root, self._groups[0])

    @property
    def quality(self) -> dict[str, Any]:
        """Quality figures and verdicts, ``qa`` of L1."""
        return dict(as_mapping(self.attributes.get("qa")))

    @property
    def verdict(self) -> str:
        """Verdict on its quality; empty if none was recorded."""
        return str(self.quality.get("verdict") or "")

    @cached_property
    def dataset(self) -> xarray.Dataset:
        """Arrays with the axes of L1, opened by :meth:`~cal_pipeline.CalibratedSession.open_scan`."""
        return self._session.open_scan(self.number, self._require_one_band())

    @cached_property
    def pixels(self) -> list[str]:
        """Names of the pixels."""
        from cal_pipeline.heterodyne.flat_pixels import name_pixels

        return name_pixels(self.dataset)

    def to_xarray(self, frame: str | None = None) -> xarray.Dataset:
        """Open the scan as a dataset with one axis of named pixels, lazily.

        Parameters
        ----------
        frame : {"lsrk", "lsrd", "barycent", "topocent"}, optional
            Standard of rest of the coordinate ``velocity``. By default that is ``"lsrk"``, and there is
            no such coordinate where L1 lacks what it takes; :meth:`velocity` says what.

        Returns
        -------
        xarray.Dataset
            Arrays with the axes ``channel``, ``dump``, ``pixel``, ``subscan``; ``pixel`` is an index of
            names. Attributes are text and numbers, nested ones JSON, so that ``to_netcdf`` takes them;
            ``mode`` is named ``observing_mode``.

        Raises
        ------
        StoreError
            If the scan has several bands; :meth:`band` chooses one.
        MissingInputError
            If `frame` is given and L1 lacks what it takes.
        ValueError
            If `frame` is unknown.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> scan = open_l1("l1.zarr")[1].to_xarray()
        >>> scan.sel(pixel="CHAI_PX00").spectra.dims
        ('channel', 'dump', 'subscan')
        >>> scan.velocity.attrs["long_name"], scan.velocity.attrs["units"]
        ('velocity (LSRK, radio convention)', 'km/s')
        """
        from cal_pipeline.heterodyne.flat_pixels import flatten_pixels

        return self._with_velocity(flatten_pixels(self.dataset), frame, None, None)

    def _with_velocity(
        self, dataset: xarray.Dataset, frame: str | None, pixels: Pixels, subscans: Subscans
    ) -> xarray.Dataset:
        """Add the coordinate ``velocity``; where it is not asked for and cannot be known, leave it out."""
        try:
            velocity = self.velocity(frame or "lsrk", pixels=pixels, subscans=subscans)
        except (CalibrationError, ValueError):
            if frame is not None:
                raise
            return dataset
        words = {"long_name": f"velocity ({(frame or 'lsrk').upper()}, radio convention)", "units": "km/s"}
        return dataset.assign_coords(velocity=("channel", velocity.value, words))

    def velocity(
        self,
        frame: str = "lsrk",
        convention: str = "radio",
        rest_frequency: float | Quantity | None = None,
        pixels: Pixels = None,
        subscans: Subscans = None,
    ) -> Quantity:
        """Compute the velocity of each channel in a standard of rest.

        Parameters
        ----------
        frame : {"lsrk", "lsrd", "barycent", "topocent"}
            Kinematic or dynamic local standard of rest, barycentre of the solar system, telescope.
        convention : {"radio", "optical", "relativistic"}
            c (1 - nu/nu_0), c (nu_0/nu - 1), or c (nu_0² - nu²)/(nu_0² + nu²).
        rest_frequency : float or Quantity, optional
            Rest frequency of the line, without a unit in Hz; default that of the scan.
        pixels : str or sequence of str, optional
            Pixels whose mean position counts; all if not given.
        subscans : int, sequence of int or slice, optional
            ONs whose mean time and position count; all if not given.

        Returns
        -------
        astropy.units.Quantity, shape (C,)
            Velocities [km/s]; they grow with recession.

        Raises
        ------
        MissingInputError
            If L1 lacks the rest frequency, the site or the direction; the message names the attributes.
        ValueError
            If frame, convention, a pixel or a subscan is unknown.
        StoreError
            If the scan has several bands.

        Notes
        -----
        One velocity holds for the whole scan: that at the mean time and in the mean direction. The
        motion of the telescope changes it by up to 0.12 km/s an hour, and by up to 0.5 km/s a degree.
        The motion is computed without tables of the Earth's rotation; nothing is downloaded.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> scan = open_l1("l1.zarr")[1]
        >>> velocity = scan.velocity()
        >>> velocity.unit, velocity.shape
        (Unit("km / s"), (64,))
        >>> print(f"{(velocity - scan.velocity('topocent')).mean():.1f}")
        -26.1 km / s
        """
        import astropy.units as u

        from cal_pipeline.heterodyne.velocity import find_rest_frequency, find_velocities, read_pointing

        part = self.select_part(pixels, subscans)
        pointing = None if str(frame).lower() == "topocent" else read_pointing(part, self.attributes)
        rest = find_rest_frequency(self.dataset, _in_hertz(rest_frequency))
        return find_velocities(self.dataset["signal_freqs"].values, rest, pointing, frame, convention) * u.km / u.s

    def select_part(self, pixels: Pixels = None, subscans: Subscans = None) -> xarray.Dataset:
        """Select pixels and ONs, lazily.

        Parameters
        ----------
        pixels : str or sequence of str, optional
            Names of the pixels; all if not given.
        subscans : int, sequence of int or slice, optional
            Positions among the ONs; all if not given.

        Returns
        -------
        xarray.Dataset
            As of :meth:`to_xarray`, without ``velocity``.

        Raises
        ------
        ValueError
            If a pixel or subscan is unknown; the message suggests one.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> open_l1("l1.zarr")[1].select_part("CHAI_PX00", slice(2)).spectra.shape
        (64, 8, 1, 2)
        """
        from cal_pipeline.heterodyne.averages import choose_pixels, choose_subscans
        from cal_pipeline.heterodyne.flat_pixels import flatten_pixels

        flat = flatten_pixels(self.dataset)
        label = f"scan {self.number}"
        return flat.isel(
            pixel=choose_pixels(self.pixels, pixels, label),
            subscan=choose_subscans(flat.sizes["subscan"], subscans, label),
        )

    def average(
        self,
        pixels: Pixels = None,
        subscans: Subscans = None,
        weights: Weights = "sigma",
        flags: Selection = "good",
        each_pixel: bool = False,
    ) -> xarray.Dataset:
        """Average the spectra over dumps, and over the subscans and pixels chosen.

        Parameters
        ----------
        pixels : str or sequence of str, optional
            Names of the pixels; all if not given.
        subscans : int, sequence of int or slice, optional
            Positions among the ONs; all if not given.
        weights : {"sigma", "equal"}
            Weight of each sample: 1/sigma², or 1.
        flags : {"good", "all"}
            Samples to average: those without a flag, or all that are numbers.
        each_pixel : bool
            Whether to keep the pixels apart, on the axis ``pixel``.

        Returns
        -------
        xarray.Dataset
            ``spectrum`` and its 1-sigma error ``sigma`` [K] on the axis ``channel``, with ``t_int``,
            ``n_samples`` and ``weight``; the coordinate ``velocity`` in the LSRK where it can be known.

        Raises
        ------
        ValueError
            If a pixel, a subscan, or the kind of weights or flags is unknown.
        StoreError
            If the scan has several bands.

        Notes
        -----
        :func:`cal_pipeline.heterodyne.averages.average_scan` computes it; the noise that dumps share
        through their OFF is part of ``sigma``.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> mean = open_l1("l1.zarr")[1].average(pixels="CHAI_PX00")
        >>> sorted(mean.data_vars), mean.spectrum.dims
        (['n_samples', 'sigma', 'spectrum', 't_int', 'weight'], ('channel',))
        """
        from cal_pipeline.heterodyne.averages import average_scan
        from cal_pipeline.heterodyne.flat_pixels import flatten_pixels, make_attributes_plain

        mean = average_scan(self.dataset, pixels, subscans, weights, flags, each_pixel)
        if each_pixel:
            mean = flatten_pixels(mean).sel(pixel=list(mean.attrs["pixels"])).load()
        else:
            mean.attrs = make_attributes_plain(mean.attrs)
        return self._with_velocity(mean, None, pixels, subscans)

    def to_spectrum(
        self,
        pixels: Pixels = None,
        subscans: Subscans = None,
        weights: Weights = "sigma",
        flags: Selection = "good",
        frame: str = "lsrk",
        convention: str = "radio",
        rest_frequency: float | Quantity | None = None,
    ) -> Spectrum:
        """Average the spectra into a spectrum of specutils (extra ``specutils``).

        Parameters
        ----------
        pixels, subscans, weights, flags
            As of :meth:`average`.
        frame, convention, rest_frequency
            As of :meth:`velocity`.

        Returns
        -------
        specutils.Spectrum
            T_A* [K] with `StdDevUncertainty` and a mask of the channels without a value. The spectral
            axis is the frequency in `frame`, with rest frequency and convention: ``spectrum.velocity``
            is the velocity in that standard of rest.

        Raises
        ------
        ImportError
            If specutils is not installed; the message names the extra.
        MissingInputError, ValueError, StoreError
            As of :meth:`average` and :meth:`velocity`.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> spectrum = open_l1("l1.zarr")[1].to_spectrum(pixels="CHAI_PX00")  # doctest: +SKIP
        >>> spectrum.velocity.unit, spectrum.flux.unit  # doctest: +SKIP
        (Unit("km / s"), Unit("K"))
        """
        from cal_pipeline.heterodyne.spectra import make_spectrum
        from cal_pipeline.heterodyne.velocity import find_rest_frequency

        velocity = self.velocity(frame, convention, rest_frequency, pixels, subscans)
        mean = self.average(pixels, subscans, weights, flags)
        rest = find_rest_frequency(self.dataset, _in_hertz(rest_frequency))
        return make_spectrum(mean, velocity, rest, frame, convention)

    def plot(
        self,
        pixels: Pixels = None,
        subscans: Subscans = None,
        x: str = "frequency",
        weights: Weights = "sigma",
        flags: Selection = "good",
        error: bool = True,
        axes: Axes | None = None,
    ) -> Any:
        """Plot the average spectrum: of all pixels, or of each of those chosen.

        Parameters
        ----------
        pixels : str or sequence of str, optional
            Pixels to overlay, a curve each; one curve of all if not given.
        subscans, weights, flags
            As of :meth:`average`.
        x : {"frequency", "lsrk", "lsrd", "barycent", "topocent"}
            Sky frequency, or velocity in a standard of rest in the radio convention.
        error : bool
            Whether to shade the 1-sigma error.
        axes : matplotlib.axes.Axes, optional
            Axes to draw on; new ones if not given.

        Returns
        -------
        matplotlib.axes.Axes, or ndarray of them
            Axes; one for each band of a scan that has several.

        Raises
        ------
        MissingInputError, ValueError
            As of :meth:`average` and :meth:`velocity`.
        StoreError
            If `axes` are given for a scan with several bands.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> axes = open_l1("l1.zarr")[1].plot(pixels="CHAI_PX00", x="lsrk")
        >>> axes.get_xlabel()
        'velocity (LSRK, radio convention) [km/s]'
        """
        from cal_pipeline.heterodyne.scan_plots import plot_spectra

        return plot_spectra(self, pixels, subscans, x, weights, flags, error, axes)

    def plot_t_sys(self, pixels: Pixels = None, axes: Axes | None = None) -> Any:
        """Plot the system temperature (DSB) of each pixel over frequency, the median over the ONs.

        Parameters
        ----------
        pixels : str or sequence of str, optional
            Names of the pixels; all if not given.
        axes : matplotlib.axes.Axes, optional
            Axes to draw on; new ones if not given.

        Returns
        -------
        matplotlib.axes.Axes, or ndarray of them
            Axes; one for each band of a scan that has several.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> open_l1("l1.zarr")[1].plot_t_sys().get_ylabel()
        '$T_{sys}$ (DSB) [K]'
        """
        from cal_pipeline.heterodyne.scan_plots import plot_t_sys

        return plot_t_sys(self, pixels, axes)

    def plot_sky(self, pixels: Pixels = None) -> Any:
        """Plot the sky observed in the OFFs, the fitted model, and their difference.

        Parameters
        ----------
        pixels : str or sequence of str, optional
            Names of the pixels; all if not given.

        Returns
        -------
        ndarray of matplotlib.axes.Axes, shape (2,) or (2, B)
            Sky above, difference below; a column for each band of a scan that has several.

        Examples
        --------
        >>> from cal_pipeline import open_l1
        >>> sky, difference = open_l1("l1.zarr")[1].plot_sky()
        >>> difference.get_ylabel()
        'observed - fit [K]'
        """
        from cal_pipeline.heterodyne.scan_plots import plot_sky

        return plot_sky(self, pixels)

    def __repr__(self) -> str:
        title, facts = self._describe()
        return "\n".join([title, *(f"  {name:<14}{text}" for name, text in facts.items())])

    def _repr_html_(self) -> str:
        title, facts = self._describe()
        rows = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts.items())
        return f"<p>{html.escape(title)}</p><table>{''.join(rows)}</table>"

    def _describe(self) -> tuple[str, dict[str, str]]:
        """Describe the scan by a line and facts; names from the data are escaped."""
        name = f"{type(self).__name__} {self.number}"
        name += f" {self._groups[0].partition('/')[2]}" if len(self._groups) == 1 and "/" in self._groups[0] else ""
        try:
            attributes = self.attributes
            instrument = " ".join(str(attributes[key]) for key in ("telescope", "line") if attributes.get(key))
            words = [str(attributes.get(key)) for key in ("source", "mode") if attributes.get(key)]
            shown = [elide_middle(make_printable(word), _WIDTH) for word in filter(None, [*words, instrument])]
            title = f"<{name}: {', '.join(shown)}>"
            return title, self._list_facts()
        except MemoryError:
            raise
        except Exception as error:  # a scan must be shown in a debugger even when its store is broken
            return f"<{name}>", {"unreadable": make_printable(f"{type(error).__name__}: {error}")[:200]}

    def _list_facts(self) -> dict[str, str]:
        quality = self.quality
        facts: dict[str, str] = {}
        if len(self._groups) > 1:
            facts["bands"] = ", ".join(self.bands)
        else:
            facts.update(self._list_layout())
            facts["PWV"] = self._format_pwv()
            temperatures = (_format_kelvin(quality.get(f"{name}_median_K")) for name in ("t_sys", "t_rec_dsb"))
            facts["T_sys, T_rec"] = " and ".join(temperatures) + " (DSB)"
        names = [str(as_mapping(item).get("name")) for item in quality.get("verdicts") or []]
        checks = f" ({list_few(names)})" if names else ""
        facts["verdict"] = (make_printable(self.verdict) or _UNKNOWN) + checks
        return facts

    def _list_layout(self) -> dict[str, str]:
        sizes, frequency = self.dataset.sizes, self.dataset["signal_freqs"].values * 1e-9
        nouns = {"channel": "channel", "dump": "dump", "subscan": "ON"}
        span = f"{np.min(frequency):.4f} to {np.max(frequency):.4f} GHz"
        return {
            "layout": ", ".join(format_count(sizes[axis], noun) for axis, noun in nouns.items() if axis in sizes),
            "pixels": f"{len(self.pixels)}: {list_few(self.pixels, 4)}",
            "frequency": span,
        }

    def _format_pwv(self) -> str:
        """Format the water vapour with its total error."""
        value = self.quality.get("pwv_mm_median")
        if not isinstance(value, (int, float)):
            return _UNKNOWN
        if not {"pwv_err", "pwv_err_model"} <= set(self.dataset.variables):
            return f"{value:.4g} mm"
        total = np.hypot(self.dataset["pwv_err"].values, self.dataset["pwv_err_model"].values).ravel()
        known = total[np.isfinite(total)]
        return f"{format_with_error(float(value), float(np.median(known)) if known.size else np.nan)} mm"


def _in_hertz(frequency: float | Quantity | None) -> float | None:
    """Convert a frequency, which without a unit is one in Hz."""
    import astropy.units as u

    return None if frequency is None else float(u.Quantity(frequency, u.Hz).value)


def _format_kelvin(value: Any) -> str:
    return f"{value:.0f} K" if isinstance(value, (int, float)) else _UNKNOWN
