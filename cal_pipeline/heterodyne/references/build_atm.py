"""Build atmosphere tables with the ATM model (Pardo, Cernicharo & Serabyn 2001) of casatools."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.heterodyne.physics.opacity import zenith_opacity
from cal_pipeline.heterodyne.references.atm_file import date_of_creation
from cal_pipeline.heterodyne.references.atm_layers import Slices, emission_weights, layer_offsets, slice_layers
from cal_pipeline.heterodyne.references.atm_recipe import Recipe
from cal_pipeline.heterodyne.references.atm_table import AtmTable

Floats = NDArray[np.float64]

STANDARD_LEVELS = {
    "tropical": (230.2, (319.0, 276.8, 239.1, 186.4, 135.4, 96.13)),
    "midlatsummer": (198.0, (313.9, 272.1, 235.0, 183.3, 133.2, 97.26)),
    "midlatwinter": (300.0, (289.2, 248.0, 212.4, 164.9, 120.6, 88.16)),
    "subarctsummer": (311.0, (300.6, 258.7, 222.3, 173.9, 128.8, 94.95)),
    "subarctwinter": (332.0, (273.1, 233.5, 199.5, 154.6, 113.0, 82.52)),
}
"""Standard atmospheres in ATM: pressure of the junction, and levels above 9 km [hPa]."""

EMISSION_AIRMASS = 1.5
"""Airmass at which the emission of the layers weights their temperatures."""

LAYER_MANTISSA_BITS = 10
"""Mantissa bits kept of b and c below the top of the atmosphere: layers only set the sky's temperature."""


class AtmModelError(CalibrationError, RuntimeError):
    """The ATM model is missing, or did something it should not."""


def standard_atmosphere(pressure_hpa: float) -> tuple[float, float]:
    """Compute altitude and temperature of a pressure in the ICAO standard atmosphere, up to 20 km.

    Parameters
    ----------
    pressure_hpa : float
        Pressure, above 54.7 hPa [hPa].

    Returns
    -------
    altitude : float
        Geopotential altitude [m].
    temperature : float
        Temperature [K].

    References
    ----------
    ICAO Doc 7488 (1993); U.S. Standard Atmosphere, 1976.

    Examples
    --------
    >>> [round(value, 1) for value in standard_atmosphere(226.32)]
    [11000.0, 216.7]
    """
    gas_over_gravity = 287.05287 / 9.80665
    altitude = 288.15 / 0.0065 * (1.0 - (pressure_hpa / 1013.25) ** (gas_over_gravity * 0.0065))
    if altitude <= 11000.0:
        return altitude, 288.15 - 0.0065 * altitude
    return 11000.0 + gas_over_gravity * 216.65 * float(np.log(226.3206 / pressure_hpa)), 216.65


def pressure_ladder(pressure_hpa: float, atmosphere_type: str, layers: int) -> tuple[float, float]:
    """Find a pressure step and growth for which ATM's layers join its standard atmosphere.

    ATM climbs from the telescope in pressure steps and then goes over to the fixed levels of a
    standard atmosphere. Unless the steps are small there and end at one of these levels, levels are
    skipped or the layer at the junction gets a negative thickness, and opacities jump with pressure
    by several per cent.

    Parameters
    ----------
    pressure_hpa : float
        Pressure at the telescope [hPa].
    atmosphere_type : str
        Standard atmosphere, a key of `STANDARD_LEVELS`.
    layers : int
        Number of equal steps down to the first level of the standard atmosphere that is used.

    Returns
    -------
    step : float
        First step [hPa].
    growth : float
        Ratio of successive steps.

    Raises
    ------
    AtmModelError
        If no level of the standard atmosphere lies above the telescope.

    Examples
    --------
    Eight steps up from a telescope at 532 hPa end at a level of the tropical atmosphere, 186.4 hPa:

    >>> step, growth = pressure_ladder(532.0, "tropical", layers=8)
    >>> round(532.0 - 8 * step, 1)
    186.4
    """
    limit, levels = STANDARD_LEVELS[atmosphere_type]
    target = max((level for level in levels if level < min(pressure_hpa, limit)), default=None)
    if target is None:
        raise AtmModelError(f"a telescope at {pressure_hpa:g} hPa is above what ATM models, {levels[-1]:g} hPa")
    return (pressure_hpa - target - 0.01) / layers, 1.0 if layers > 1 else 0.01


def round_mantissa(values: NDArray[np.floating], bits: int) -> NDArray[np.float32]:
    """Round numbers to fewer bits of mantissa, so that they compress.

    Parameters
    ----------
    values : ndarray
        Numbers.
    bits : int
        Bits of mantissa to keep.

    Returns
    -------
    ndarray of float32, shape of `values`
        With a relative error of at most 2^-(bits + 1).

    Examples
    --------
    >>> round_mantissa(np.array([1.0, np.pi]), bits=2).tolist()
    [1.0, 3.0]
    """
    mantissa, exponent = np.frexp(np.asarray(values, np.float64))
    scale = 2.0 ** (bits + 1)
    return np.ldexp(np.round(mantissa * scale) / scale, exponent).astype(np.float32)


def window_frequencies(window: tuple[float, float, float]) -> Floats:
    """Make the frequencies of a window, ends included.

    Parameters
    ----------
    window : tuple of float
        Start, stop and step [GHz].

    Returns
    -------
    ndarray, shape (F,)
        Frequencies, whole numbers [Hz].

    Examples
    --------
    >>> (window_frequencies((453.0, 454.0, 0.5)) / 1e9).tolist()
    [453.0, 453.5, 454.0]
    """
    start, stop, step = window
    n = int(np.ceil((stop - start) / step - 1e-6)) + 1
    return np.round((start + step * np.arange(n)) * 1e9)


class ModelOpacity(NamedTuple):
    """Opacity coefficients of the model's layers and of the whole atmosphere.

    Parameters
    ----------
    layer_b, layer_c : ndarray, shape (N, F)
        Wet [Np/mm] and dry [Np] zenith opacity coefficients of each layer, from the telescope up.
    b, c : ndarray, shape (F,)
        Coefficients of the whole atmosphere.

    Examples
    --------
    >>> parts = np.array([[0.5], [0.25]])
    >>> opacity = ModelOpacity(layer_b=parts, layer_c=parts / 4, b=parts.sum(axis=0), c=parts.sum(axis=0) / 4)
    """

    layer_b: Floats
    layer_c: Floats
    b: Floats
    c: Floats


def model_opacity(recipe: Recipe, pressure_hpa: float, window: tuple[float, float, float]) -> ModelOpacity:
    """Evaluate ATM at one pressure over one frequency window.

    Parameters
    ----------
    recipe : Recipe
        Site and profile.
    pressure_hpa : float
        Pressure at the telescope [hPa].
    window : tuple of float
        Start, stop and step [GHz].

    Returns
    -------
    ModelOpacity
        At `window_frequencies`.

    Raises
    ------
    AtmModelError
        If casatools is not installed, or does something it should not.

    Notes
    -----
    b is the opacity of water lines and water continuum over the water column of the profile, to
    which it is exactly proportional; c that of O2, O3, CO, N2O and the collision-induced dry
    continuum.

    References
    ----------
    Pardo, Cernicharo & Serabyn 2001, IEEE Trans. Antennas Propag. 49, 1683.

    Examples
    --------
    ATM itself is needed (``pip install 'cal_pipeline[atm]'``):

    >>> from cal_pipeline.heterodyne.references.atm_recipe import RECIPES
    >>> opacity = model_opacity(Recipe.read(RECIPES / "ccat.toml"), 532.0, (460.0, 462.0, 0.5))  # doctest: +SKIP
    """
    return _evaluate_model(_with_profile(recipe, pressure_hpa), recipe, window)


def _evaluate_model(atm: Any, recipe: Recipe, window: tuple[float, float, float]) -> ModelOpacity:
    """Evaluate an atmosphere tool over one frequency window."""
    frequencies = window_frequencies(window)
    _set_frequencies(atm, frequencies, window[2])
    column = float(atm.getUserWH2O()["value"][0])
    channels = range(len(frequencies))
    layer_b = _layer_opacities(atm, atm.getAbsTotalWet, channels) / column
    layer_c = _layer_opacities(atm, atm.getAbsTotalDry, channels)
    b = np.array(atm.getWetOpacitySpec(0)[1]["value"], np.float64) / column
    c = np.array(atm.getDryOpacitySpec(0)[1], np.float64)
    limit = recipe.dry_continuum_limit_ghz
    if limit is not None and frequencies[-1] > limit * 1e9:
        beyond = np.flatnonzero(frequencies > limit * 1e9)
        layer_continuum = _layer_opacities(atm, atm.getAbsDryCont, beyond)
        continuum = np.array([atm.getDryContOpacity(int(channel), 0) for channel in beyond])
        _set_frequencies(atm, np.array([limit * 1e9, limit * 1e9 + 1e6]), 1e-3)
        layer_c[:, beyond] += _layer_opacities(atm, atm.getAbsDryCont, [0]) - layer_continuum
        c[beyond] += float(atm.getDryContOpacity(0, 0)) - continuum
    return ModelOpacity(layer_b, np.maximum(layer_c, 0.0), b, np.maximum(c, 0.0))


def _layer_opacities(atm: Any, absorption: Callable[[int, int, int], Any], channels: Iterable[int]) -> Floats:
    """Multiply an absorption coefficient [1/m] of each layer and channel by the layer's thickness: [N, channels]."""
    thickness = np.asarray(atm.getProfile()[1]["value"], np.float64)
    channels = [int(channel) for channel in channels]
    per_metre = [[absorption(n, channel, 0)["value"][0] for channel in channels] for n in range(len(thickness))]
    return np.array(per_metre) * thickness[:, None]


def build_table(recipe: Recipe, workers: int = 1, report: Callable[[str], None] | None = None) -> AtmTable:
    """Build the table that a recipe describes.

    Parameters
    ----------
    recipe : Recipe
        Recipe of the table.
    workers : int
        Number of processes.
    report : callable, optional
        Called with a line of text as each part is done.

    Returns
    -------
    AtmTable
        In memory; the arrays are the same, bit for bit, each time.

    Raises
    ------
    AtmModelError
        If casatools is not installed, or its atmosphere comes out inconsistent.

    Examples
    --------
    ATM itself is needed (``pip install 'cal_pipeline[atm]'``):

    >>> from cal_pipeline.heterodyne.references.atm_recipe import RECIPES
    >>> build_table(Recipe.read(RECIPES / "ccat.toml"), workers=4).write("atm_ccat.asdf")  # doctest: +SKIP
    """
    version = _load_model()().getAtmVersion()
    jobs = [(recipe, pressure, window) for pressure in recipe.pressures_hpa for window in recipe.windows_ghz]
    results = []
    with _mapper(workers) as run:
        for (_, pressure, window), result in zip(jobs, run(_evaluate, jobs), strict=True):
            results.append(result)
            if report is not None:
                report(f"{pressure:g} hPa, {window[0]:g}-{window[1]:g} GHz done")
    n_windows = len(recipe.windows_ghz)
    rows = [results[first : first + n_windows] for first in range(0, len(results), n_windows)]
    table = AtmTable(
        frequency=np.concatenate([window_frequencies(window) for window in recipe.windows_ghz]),
        pressure=np.array(recipe.pressures_hpa) * 100.0,
        b=np.array([np.concatenate([part.b for part in row], axis=-1) for row in rows]),
        c=np.array([np.concatenate([part.c for part in row], axis=-1) for row in rows]),
        meta=_meta(recipe, version),
        name=recipe.output,
        layer_offset=np.array([_offsets(recipe, *row) for row in zip(recipe.pressures_hpa, rows, strict=True)]),
        layer_top_km=np.array([*recipe.layer_tops_km, max(part.top_km for part in results)]),
    )
    _check_windows(table, recipe)
    return table


class _Part(NamedTuple):
    """Coefficients at one pressure in one window, and what the layers' temperatures follow from.

    Parameters
    ----------
    b, c : ndarray of float32, shape (L, F)
        Rounded coefficients up to the top of each merged layer.
    slices : Slices
        Slices of the model's layers.
    weights : ndarray, shape (S,)
        Emission of each slice that reaches the telescope.
    temperature : ndarray, shape (N,)
        Temperature of each of the model's layers [K].
    top_km : float
        Height of the model atmosphere above the telescope [km].
    """

    b: NDArray[np.float32]
    c: NDArray[np.float32]
    slices: Slices
    weights: Floats
    temperature: Floats
    top_km: float


def _evaluate(job: tuple[Recipe, float, tuple[float, float, float]]) -> _Part:
    """Evaluate the model at one pressure in one window, and merge its layers."""
    recipe, pressure_hpa, window = job
    atm = _with_profile(recipe, pressure_hpa)
    _, thickness, temperature, *_ = atm.getProfile()
    thickness_km = np.asarray(thickness["value"], np.float64) / 1e3
    slices = slice_layers(thickness_km, recipe.layer_tops_km)
    found = _evaluate_model(atm, recipe, window)
    b, c = slices.accumulate(found.layer_b), slices.accumulate(found.layer_c)
    return _Part(
        b=_round_layers(slices.tops(b), found.b, recipe.mantissa_bits),
        c=_round_layers(slices.tops(c), found.c, recipe.mantissa_bits),
        slices=slices,
        weights=emission_weights(zenith_opacity(b, c, recipe.emission_pwv_mm), EMISSION_AIRMASS),
        temperature=np.asarray(temperature["value"], np.float64),
        top_km=round(float(thickness_km.sum()), 3),
    )


def _round_layers(tops: Floats, whole: Floats, bits: int) -> NDArray[np.float32]:
    """Round the rows of a coefficient; the last, of the whole atmosphere, is that of the model itself."""
    lower = round_mantissa(tops[:-1], min(bits, LAYER_MANTISSA_BITS))
    return np.concatenate([lower, round_mantissa(whole[None], bits)])


def _offsets(recipe: Recipe, pressure_hpa: float, parts: list[_Part]) -> Floats:
    """Average the temperature of each merged layer over all windows, minus that of the ground."""
    weights = np.sum([part.weights for part in parts], axis=0)
    return layer_offsets(parts[0].slices, weights, parts[0].temperature, _ground(recipe, pressure_hpa)[1])


@contextlib.contextmanager
def _mapper(workers: int) -> Any:
    """Yield a `map` for this process or several spawned ones (casatools must not be forked)."""
    if workers <= 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield pool.map


def _check_windows(table: AtmTable, recipe: Recipe) -> None:
    """Make sure that a reader sees the windows of the recipe, whose steps may differ."""
    if len(table.windows) != len(recipe.windows_ghz):
        raise AtmModelError(
            f"a reader would find {len(table.windows)} windows in place of {len(recipe.windows_ghz)}: a "
            "window ends where an interval exceeds 10 times the median step; make the steps of windows_ghz "
            "more alike, or the gaps between windows wider"
        )


def _meta(recipe: Recipe, version: str) -> dict[str, Any]:
    """Compile the meta data of a table: model, site, profile and units."""
    limit = recipe.dry_continuum_limit_ghz
    altitude = recipe.altitude_m
    return {
        "model": "ATM (Pardo, Cernicharo & Serabyn 2001, IEEE Trans. Antennas Propag. 49, 1683), casatools",
        "version": version,
        "site": recipe.site,
        "altitude_m": altitude
        if altitude is not None
        else [round(standard_atmosphere(p)[0]) for p in recipe.pressures_hpa],
        "temperature_profile": recipe.temperature_profile,
        "created": date_of_creation(),
        "units": {
            "frequency": "Hz",
            "pressure": "Pa",
            "b": "Np/mm",
            "c": "Np",
            "layer_offset": "K",
            "layer_top_km": "km",
        },
        "atmosphere_type": recipe.atmosphere_type,
        "lapse_rate_k_per_km": recipe.lapse_rate_k_per_km,
        "water_scale_height_km": recipe.water_scale_height_km,
        "dry_continuum": "as ATM has it" if limit is None else f"as ATM has it; above {limit:g} GHz as it is there",
        "relative_rounding": 2.0 ** -(recipe.mantissa_bits + 1),
        "emission_pwv_mm": recipe.emission_pwv_mm,
    }


@lru_cache(maxsize=1)
def _load_model() -> Callable[[], Any]:
    """Import the atmosphere tool of casatools.

    On import casatools demands tables of the Earth's rotation; ATM needs none, and an empty folder
    does.
    """
    try:
        from casaconfig import config
    except ImportError as error:
        raise AtmModelError(
            "building a table needs the ATM model of casatools, which is not installed; install it with "
            "pip install 'cal_pipeline[atm]' (640 MB; there are wheels for some Python versions only, "
            "such as 3.11)"
        ) from error
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        (Path(folder) / "geodetic" / "IERSeop2000").mkdir(parents=True)
        config.measurespath = folder
        config.datapath = [folder]
        config.measures_auto_update = False
        config.data_auto_update = False
        config.logfile = os.devnull  # or it leaves a log in the working directory
        try:
            from casatools import atmosphere
        except ImportError as error:
            raise AtmModelError(
                f"casatools cannot be loaded ({error}); install it with pip install 'cal_pipeline[atm]'"
            ) from error
    tool: Callable[[], Any] = atmosphere
    return tool


def _quantity(value: Any, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit}


def _ground(recipe: Recipe, pressure_hpa: float) -> tuple[float, float]:
    """Altitude [m] and temperature [K] at the telescope."""
    if recipe.altitude_m is not None and recipe.ground_temperature_k is not None:
        return recipe.altitude_m, recipe.ground_temperature_k
    return standard_atmosphere(pressure_hpa)


def _with_profile(recipe: Recipe, pressure_hpa: float) -> Any:
    """Make an atmosphere tool that holds the recipe's profile above a pressure."""
    altitude, temperature = _ground(recipe, pressure_hpa)
    step, growth = pressure_ladder(pressure_hpa, recipe.atmosphere_type, recipe.layers)
    atm = _load_model()()
    atm.initAtmProfile(
        altitude=_quantity(altitude, "m"),
        temperature=_quantity(temperature, "K"),
        pressure=_quantity(pressure_hpa, "mbar"),
        maxAltitude=_quantity(recipe.top_km, "km"),
        humidity=20.0,  # only sets the scale of the water column, which b is divided by
        dTem_dh=_quantity(recipe.lapse_rate_k_per_km, "K/km"),
        dP=_quantity(step, "mbar"),
        dPm=growth,
        h0=_quantity(recipe.water_scale_height_km, "km"),
        atmType=recipe.atmosphere_number,
    )
    thickness = np.asarray(atm.getProfile()[1]["value"])
    if np.any(thickness < -0.5):  # an empty layer at the junction may come out below zero by rounding
        raise AtmModelError(
            f"ATM's profile above {pressure_hpa:g} hPa has a layer of {thickness.min():.0f} m; choose "
            "another atmosphere_type or number of layers"
        )
    return atm


def _set_frequencies(atm: Any, frequencies: Floats, step_ghz: float) -> None:
    """Give the atmosphere tool a regular grid [Hz], and make sure that it took it."""
    n = len(frequencies)
    atm.initSpectralWindow(
        1,
        _quantity([0.5e-9 * (frequencies[0] + frequencies[-1])], "GHz"),
        _quantity([(n - 0.5) * step_ghz], "GHz"),  # ATM takes the next whole number of channels
        _quantity([step_ghz], "GHz"),
    )
    got = np.asarray(atm.getSpectralWindow(0)["value"])
    if len(got) != n or np.max(np.abs(got - frequencies)) > 1e-3 * step_ghz * 1e9:
        raise AtmModelError(
            f"ATM made {len(got)} channels from {got[0] / 1e9:.6f} GHz on, of {n} asked for from "
            f"{frequencies[0] / 1e9:.6f} GHz on; choose steps that divide the windows"
        )
