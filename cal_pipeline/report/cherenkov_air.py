"""Pages of the air of a night: profile against reference, extinction, selection; aerosols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from astropy.table import Table
from numpy.typing import NDArray

from cal_pipeline.core.store.records import as_mapping
from cal_pipeline.report.cherenkov_files import Night, NightFile, take_column
from cal_pipeline.report.page.blocks import Block, columns, details, facts, figure, note, section, table, tiles
from cal_pipeline.report.runs import show_value

Floats = NDArray[np.float64]

TOP = 50.0
"""Altitude up to which the air is drawn [km]; above it little is left to scatter light."""

WAVELENGTHS = (350.0, 450.0, 550.0)
"""Wavelengths of the optical depths that are drawn, or the nearest ones [nm]."""

LEAST = {"partial_water_pressure": 1e-6}
"""Values below which a quantity is not drawn: what interpolation leaves where the air is dry [hPa]."""

AIR = ("profile", "extinction", "reference_profile", "reference_extinction", "density", "co2")
"""Kinds of files on the page of the atmosphere."""

AEROSOLS = ("lidar", "clear")
"""Kinds of files on the page of the aerosols."""


def attempt(title: str, build: Callable[[], Block]) -> Block:
    """Make a section; one whose data cannot be used says so, and the others are shown."""
    try:
        return build()
    except Exception as error:
        return section(title, note(f"This cannot be shown: {str(error) or repr(error)}", "bad"))


def describe_air(night: Night) -> list[Block]:
    """Make the blocks on the atmosphere of a night.

    Parameters
    ----------
    night : Night
        Its files.
    """
    found = {kind: night.find(kind) for kind in AIR}
    blocks = [attempt("Night", lambda: _show_night(found))]
    if found["reference_profile"] or found["reference_extinction"]:
        blocks.append(attempt("Selection of the reference model", lambda: _show_selection(found)))
    if found["profile"] or found["reference_profile"]:
        blocks.append(attempt("Profile", lambda: _show_profile(found)))
    if found["extinction"] or found["reference_extinction"]:
        blocks.append(attempt("Rayleigh extinction", lambda: _show_extinction(found)))
    if found["density"]:
        blocks.append(attempt("Number density", lambda: _show_density(found["density"])))
    return blocks


def describe_aerosols(night: Night) -> list[Block]:
    """Make the blocks on the aerosols of a night.

    Parameters
    ----------
    night : Night
        Its files.
    """
    clear = [attempt("Clear night", partial(_show_clear_night, file)) for file in night.find_all("clear")]
    return [*clear, *(attempt("LIDAR", partial(_show_lidar, file)) for file in night.find_all("lidar"))]


def read_night_name(night: Night) -> str | None:
    """Return the date of the evening of a night; None where no product says it."""
    for kind in AIR:
        file = night.find(kind)
        if file is not None and file.table is not None and file.table.meta.get("evening"):
            return str(file.table.meta["evening"])
    return None


def _meta(file: NightFile | None) -> Mapping[str, Any]:
    return {} if file is None or file.table is None else as_mapping(file.table.meta)


def _table(file: NightFile | None) -> Table | None:
    return None if file is None else file.table


def _show_night(found: Mapping[str, NightFile | None]) -> Block:
    meta: dict[str, Any] = {}
    for kind in AIR:
        meta = {**_meta(found[kind]), **meta}
    times, selection = as_mapping(meta.get("night")), as_mapping(meta.get("selection"))
    model = as_mapping(meta.get("reference_model")) or selection
    density, complete = meta.get("number_density_15km"), meta.get("completeness")
    co2 = meta.get("co2_concentration")
    name = " ".join(str(model[key]) for key in ("season", "version") if model.get(key)) or None
    is_number = isinstance(density, (int, float))
    return tiles(
        {
            "Night": (meta.get("evening"), _say_times(times)),
            "Data": (selection.get("provenance"), "meteorological data of the selection"),
            "Completeness": (
                f"{100 * complete:.0f} %" if isinstance(complete, (int, float)) else None,
                "of the columns of time and point were used",
            ),
            "Density at 15 km": (f"{density:.4g} /cm³" if is_number else None, "number density of the night"),
            "Reference model": (name, "season and version"),
            "CO2": (f"{co2:.1f} ppm" if isinstance(co2, (int, float)) else None, "mean of twelve months"),
        }
    )


def _say_times(times: Mapping[str, Any]) -> str:
    if not times.get("dusk") or not times.get("dawn"):
        return "dusk and dawn are not recorded"
    return f"{times['dusk']} to {times['dawn']} UTC"


def _show_selection(found: Mapping[str, NightFile | None]) -> Block:
    """Show which model was selected, and why."""
    meta = _meta(found["reference_profile"]) or _meta(found["reference_extinction"])
    selection = as_mapping(meta.get("selection"))
    if not selection:
        return section("Selection of the reference model", note("The selection is not recorded.", "warning"))
    by = selection.get("by")
    name = f"{selection.get('season', 'not known')} {selection.get('version', '')}".strip()
    candidates = selection.get("candidates")
    if by == "density":
        density = selection.get("number_density_15km", meta.get("number_density_15km"))
        among = f"nearest of {candidates} models" if candidates is not None else "nearest of the models"
        value = f"{density:.5g}" if isinstance(density, (int, float)) else "not known"
        said = note(f"{name}: its density at 15 km is the {among} to that of the night, {value} /cm³.", "good")
    elif by == "season":
        said = note(f"{name}: no meteorological data of the night were there, so the season decided.", "warning")
    else:
        said = note(f"{name}: what decided is not known ({show_value(by)}).", "warning")
    listed = {key: None if value is None else show_value(value) for key, value in selection.items()}
    return section("Selection of the reference model", said, details("As recorded", facts(listed)))


def _line(name: str, x: Floats, y: Floats, colour: str = "@1", dash: str = "solid", **more: Any) -> Block:
    """Make a line of a quantity against altitude."""
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y,
            "line": {"color": colour, "dash": dash, "width": 1.8}, **more}  # fmt: skip


def _against_altitude(traces: list[Block], label: str, title: str, caption: str = "", is_log: bool = False) -> Block:
    # Decades alone: labels of their parts run into each other.
    x: Block = {"title": {"text": label}} | ({"type": "log", "dtick": 1} if is_log else {})
    layout = {"xaxis": x, "yaxis": {"title": {"text": "altitude [km]"}}, "showlegend": len(traces) > 1}
    return figure(traces, layout, title, caption, 420)


def _below_top(altitude: Floats, values: Floats) -> tuple[Floats, Floats]:
    shown = altitude <= TOP
    return values[shown], altitude[shown]


def _show_profile(found: Mapping[str, NightFile | None]) -> Block:
    """Show the profile of the night beside the reference."""
    night, reference = _table(found["profile"]), _table(found["reference_profile"])
    given = [("night", night, "@1", "solid"), ("reference", reference, "@2", "dash")]
    pairs = [(name, some, colour, dash) for name, some, colour, dash in given if some is not None]
    quantities = (
        ("temperature", "K", "temperature [K]", "Temperature", False),
        ("partial_water_pressure", "hPa", "pressure of water vapour [hPa]", "Water vapour", True),
        ("atmospheric_density", "g / cm3", "density [g/cm³]", "Density", True),
    )
    drawn = []
    for column, unit, label, title, is_log in quantities:
        traces = []
        for name, some, colour, dash in pairs:
            values, altitude = _below_top(take_column(some, "altitude", "km"), take_column(some, column, unit))
            values = np.where(values > LEAST.get(column, 0.0), values, np.nan) if is_log else values
            traces.append(_line(name, values, altitude, colour, dash))
        drawn.append(_against_altitude(traces, label, title, is_log=is_log))
    blocks = [columns(*drawn[:2]), drawn[2]]
    if night is not None and reference is not None:
        blocks.insert(0, _show_ratio(night, reference))
    else:
        missing = "reference" if reference is None else "profile of the night"
        blocks.insert(0, note(f"There is no {missing} to compare with.", "info"))
    shown = night if night is not None else reference
    assert shown is not None
    return section("Profile", *blocks, _list_rows(shown), intro=f"Up to {TOP:.0f} km.")


def _show_ratio(night: Table, reference: Table) -> Block:
    """Show density and pressure relative to the reference, whose range of five decades would hide all differences."""
    altitude, known = take_column(night, "altitude", "km"), take_column(reference, "altitude", "km")
    shown = (altitude <= TOP) & (altitude >= known.min()) & (altitude <= known.max())
    traces = []
    for column, unit, name, colour in (
        ("atmospheric_density", "g / cm3", "density", "@1"),
        ("pressure", "hPa", "pressure", "@2"),
    ):
        if column not in night.colnames or column not in reference.colnames:
            continue
        order = np.argsort(known)
        expected = np.exp(np.interp(altitude[shown], known[order], np.log(take_column(reference, column, unit))[order]))
        percent = 100 * (take_column(night, column, unit)[shown] / expected - 1)
        traces.append(_line(name, percent, altitude[shown], colour) | {"mode": "lines+markers"})
    caption = "Night over reference, less 1; the reference is interpolated in its logarithm."
    return _against_altitude(traces, "night over reference - 1 [%]", "Against the reference model", caption)


def _list_rows(rows: Table) -> Block:
    """List a profile as a table."""
    names = [name for name in rows.colnames if np.asarray(rows[name]).dtype.kind in "fiu"]
    titles = [f"{name} [{rows[name].unit}]" if rows[name].unit else name for name in names]
    values = [take_column(rows, name) for name in names]
    listed = [[_round(value) for value in row] for row in zip(*values, strict=True)]
    return details("Numbers of the profile", table(titles, listed, first=15))


def _round(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def find_wavelengths(extinction: Table) -> dict[float, str]:
    """Find the columns of optical depths by their wavelength [nm].

    Examples
    --------
    >>> find_wavelengths(Table({"altitude_max": [1.0], "350.0 nm": [0.1]}))
    {350.0: '350.0 nm'}
    """
    found = {}
    for name in extinction.colnames:
        try:
            found[float(name.removesuffix(" nm"))] = name
        except ValueError:
            continue
    return dict(sorted(found.items()))


def _show_extinction(found: Mapping[str, NightFile | None]) -> Block:
    """Show the optical depth of Rayleigh scattering, and its ratio to the reference."""
    night, reference = _table(found["extinction"]), _table(found["reference_extinction"])
    by_altitude, by_wavelength, totals = [], [], {}
    for name, some, dash in (("night", night, "solid"), ("reference", reference, "dash")):
        if some is None:
            continue
        names, altitude = find_wavelengths(some), take_column(some, "altitude_max", "km")
        if not names:
            raise ValueError(f"the extinction of the {name} has no column of a wavelength; expected '350.0 nm'")
        for number, wanted in enumerate(WAVELENGTHS, start=1):
            wavelength = min(names, key=lambda known, wanted=wanted: abs(known - wanted))  # type: ignore[misc]
            depth, shown = _below_top(altitude, take_column(some, names[wavelength]))
            by_altitude.append(_line(f"{wavelength:g} nm, {name}", depth, shown, f"@{number}", dash))
        # The reference has steps of 25 nm, the night of 1 nm: a bin holds the last row below the top.
        row = int(np.argmax(np.where(altitude <= TOP, altitude, -np.inf)))
        totals[name] = {wavelength: float(take_column(some, column)[row]) for wavelength, column in names.items()}
        x, y = (np.array(list(values), dtype=float) for values in (totals[name].keys(), totals[name].values()))
        by_wavelength.append(_line(name, x, y, "@1" if name == "night" else "@2", dash))
    layout = {"xaxis": {"title": {"text": "wavelength [nm]"}}, "showlegend": len(by_wavelength) > 1,
              "yaxis": {"title": {"text": "optical depth"}, "type": "log"}}  # fmt: skip
    caption = "From the level of the telescopes to the upper edge of each bin."
    blocks = [
        columns(
            _against_altitude(by_altitude, "optical depth", "Optical depth against altitude", caption),
            figure(by_wavelength, layout, f"Optical depth up to {TOP:.0f} km", "Of all wavelengths.", 420),
        )
    ]
    if len(totals) == 2:
        common = [wavelength for wavelength in totals["reference"] if wavelength in totals["night"]]
        if common:
            ratio = np.array([100 * (totals["night"][w] / totals["reference"][w] - 1) for w in common])
            text = f"{np.nanmin(ratio):+.2f} to {np.nanmax(ratio):+.2f} % from {min(common):g} to {max(common):g} nm"
            blocks.append(facts({f"night over reference - 1, up to {TOP:.0f} km": text}))
    listed = {key: _meta(found["extinction"]).get(key) for key in ("observation_level_km", "bin_rule")}
    return section("Rayleigh extinction", *blocks, facts(listed) if night is not None else facts({}))


def _show_density(file: NightFile | None) -> Block:
    rows = _table(file)
    assert rows is not None
    values, altitude = _below_top(take_column(rows, "altitude", "km"), take_column(rows, "number density", "1 / cm3"))
    drawn = _against_altitude([_line("night", values, altitude)], "number density [1/cm³]", "")
    return section("Number density", drawn, _list_rows(rows))


def _show_clear_night(file: NightFile) -> Block:
    """Show the assessment of a night by its aerosols."""
    rows = file.read(str(file.nodes["clear"]))
    wanted = {"wavelength": "wavelength [nm]", "n": "stars", "VAOD": "optical depth", "VAOD_error": "its error",
              "fractional_rms_variability_amplitude": "variability F"}  # fmt: skip
    values = [take_column(rows, name) for name in wanted]
    listed = [[_round(value) for value in row] for row in zip(*values, strict=True)]
    assessments = list(dict.fromkeys(str(value) for value in rows["night_assessment"]))
    said = ", ".join(assessments) or None
    blocks: list[Block] = [
        tiles(
            {
                "Assessment": (said, "by the aerosols towards stars"),
                "Ångström exponent": (
                    _first_of(rows, "angstrom_exponent"),
                    f"error {_first_of(rows, 'angstrom_exponent_error') or 'not known'}",
                ),
            }
        ),
        table(list(wanted.values()), listed, "Vertical optical depth of aerosols by wavelength"),
    ]
    if len(listed) > 1:
        trace = {
            "type": "scatter", "mode": "markers", "x": values[0], "y": values[2], "name": "optical depth",
            "error_y": {"type": "data", "array": np.nan_to_num(values[3])}, "marker": {"color": "@1", "size": 9},
        }  # fmt: skip
        layout = {
            "xaxis": {"title": {"text": "wavelength [nm]"}},
            "yaxis": {"title": {"text": "vertical optical depth"}},
        }
        blocks.append(figure([trace], layout, "Aerosols by wavelength", "", 280))
    return section("Clear night", *blocks, intro=f"From {file.path.name}.")


def _first_of(rows: Table, name: str) -> str | None:
    values = take_column(rows, name) if name in rows.colnames else np.array([])
    finite = values[np.isfinite(values)]
    return f"{finite[0]:.3g}" if finite.size else None


def _show_lidar(file: NightFile) -> Block:
    """Show the inversion of the returns of a LIDAR."""
    rows = file.table
    assert rows is not None
    altitude = take_column(rows, "altitude", "km")
    extinction, backscatter = take_column(rows, "extinction", "1 / km"), take_column(rows, "backscatter", "1 / (Mm sr)")
    depth = take_column(rows, "aod")
    drawn = [
        _against_altitude([_line("aerosols", values, altitude)], label, title)
        for values, label, title in (
            (extinction, "extinction [1/km]", "Extinction of aerosols"),
            (backscatter, "backscatter [1/(Mm sr)]", "Backscatter of aerosols"),
            (depth, "vertical optical depth", "Optical depth from the station"),
        )
    ]
    unknown = int(np.count_nonzero(~np.isfinite(extinction)))
    listed: dict[str, Any] = dict(as_mapping(rows.meta.get("lidar_inversion")))
    listed["ranges without a value"] = unknown
    known = depth[np.isfinite(depth)]
    listed["optical depth at the top"] = _round(float(known[-1])) if known.size else None
    return section("LIDAR", columns(*drawn), facts(listed), intro=f"From {file.path.name}.")
