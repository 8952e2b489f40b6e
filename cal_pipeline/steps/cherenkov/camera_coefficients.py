"""Step ``camera_coefficients``: calibration coefficients of cameras."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table

from cal_pipeline.cherenkov.camera import (
    COEFFICIENTS,
    KINDS,
    find_cameras,
    read_b_term,
    read_camera,
    read_types,
    tabulate_coefficients,
)
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import refuse_existing_tables, write_tables
from cal_pipeline.cherenkov.mappings import ANY, convert_mapping, find_value, read_mapping, read_numbers
from cal_pipeline.cherenkov.physics.camera_coefficients import (
    CameraCoefficients,
    SpreadModel,
    compute_coefficients,
    extrapolate_channel,
)
from cal_pipeline.cherenkov.tools import Tool
from cal_pipeline.steps.cherenkov.base import CherenkovStep

logger = logging.getLogger(__name__)

EXTRAPOLATOR = "LSTGainChannelExtrapolator"
"""Name of the only rule for the coefficients of a channel without data: those of the other channel."""


def convert_seconds(value: Any) -> float:
    """Convert a duration, as a number of seconds or as text with a unit, to seconds.

    Raises
    ------
    ConfigurationError
        If it is no duration.

    Examples
    --------
    >>> convert_seconds("1.0 second"), convert_seconds("0.5 min"), convert_seconds(2)
    (1.0, 30.0, 2.0)
    """
    try:
        quantity = u.Quantity(value)
        return float(quantity.to_value("s") if quantity.unit != u.one else quantity.value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"{value!r} is no duration; expected seconds, or text such as '1.0 second'") from error


def convert_by_telescope(value: Any) -> list[str]:
    """Convert values by telescope, or a single one for all, to a list of ``"key:value"``.

    Raises
    ------
    ConfigurationError
        If it is neither.

    Examples
    --------
    >>> convert_by_telescope("1"), convert_by_telescope({"LST": 2, "SST": 1})
    (['*:1'], ['LST:2', 'SST:1'])
    """
    single = value[0] if isinstance(value, list | tuple) and len(value) == 1 else value
    if isinstance(single, str) and single and ":" not in single and "," not in single:
        return convert_mapping({ANY: single})
    return convert_mapping(value)


class CameraCoefficientsStep(CherenkovStep):
    """Calculate the calibration coefficients of cameras from pedestal and flat-field events (F-factor method).

    The input is an HDF5 file with statistics of the pixels, in chunks, as ctapipe writes them. The product is a table
    ``/dl1/monitoring/telescope/calibration/camera/coefficients/tel_NNN`` for each telescope in that file, a row for
    each interval that chunks of all kinds of events cover. The tables are returned by the number of the telescope.

    Gain-selected data (without an axis of channels) have the coefficients of one channel; the other one of a camera
    with two channels gets the same, if `gain_channel_extrapolator_type` lists the type of the telescope. The type is
    that of the layout of the array in the file; without a layout, list the number of the telescope
    (``1:LSTGainChannelExtrapolator``) or ``*``.

    Examples
    --------
    >>> from cal_pipeline.steps.cherenkov import CameraCoefficientsStep, CameraTestDataStep
    >>> path, *_ = CameraTestDataStep.call(".", prefix="night", n_pixels=50, aggregation_modes="obslike_same_chunks")
    >>> coefficients = CameraCoefficientsStep.call(str(path))
    >>> coefficients[1]["factor"].shape, coefficients[1]["is_valid"].tolist()
    ((3, 2, 50), [True, True, True])
    """

    class_alias = "camera_coefficients"

    spec = """
    timestamp_tolerance         = float(min=0.0, default=1.0)     # Edges of chunks nearer than this are one, in seconds
    faulty_pixels_fraction      = float(min=0.0, default=0.1)     # An interval is valid if fewer of its pixels are outliers
    squared_excess_noise_factor = float(min=1.0, default=1.222)   # F² = 1 + var(charge of one photoelectron)/mean²
    window_width                = integer(min=1, default=12)      # Samples of a charge
    systematic_correction_path  = string(default=None)            # HDF5 file with the noise in proportion to the signal, B_term [channel, pixel]
    n_channels                  = string_list(default=list())     # Channels of the cameras, by type; those of the data if not given, 2 if gain-selected
    measured_gain_channel       = string_list(default=list("*:0"))  # Channel of gain-selected data, by type: 0 (high gain) or 1
    gain_channel_extrapolator_type = string_list(default=list("LST:LSTGainChannelExtrapolator"))  # Rule for the other channel of gain-selected data, by type
    npe_std_outlier_detector    = boolean(default=False)          # Mask pixels with an unusual number of photoelectrons
    n_events                    = integer(min=1, default=2500)    # Events of a chunk, for the expected spread of photoelectrons
    relative_qe_dispersion      = float(min=0.0, default=0.07)    # Dispersion of the quantum efficiency, likewise
    linear_noise_coeff          = float_list(min=1, max=2, default=list(1.79717813, 1.72458305))        # Noise in proportion to the signal, by channel, likewise
    linear_noise_offset         = float_list(min=1, max=2, default=list(0.0231544, -0.00162036639))     # Its part that does not fall with the number of events
    quadratic_noise_coeff       = float_list(min=1, max=2, default=list(0.000499670969, 0.00142218))    # Second term of such noise
    quadratic_noise_offset      = float_list(min=1, max=2, default=list(0.0000249034290, 0.0001207))    # Its part that does not fall with the number of events
    std_range_factors           = float_list(min=2, max=2, default=list(-5.0, 5.0))  # Limits of the deviation, in units of the expected spread
    """  # noqa: E501

    conversions = {
        **CherenkovStep.conversions,
        "timestamp_tolerance": convert_seconds,
        "n_channels": convert_by_telescope,
        "measured_gain_channel": convert_by_telescope,
        "gain_channel_extrapolator_type": convert_by_telescope,
    }

    tool = Tool(
        "calibpipe-calculate-camcalib-coefficients",
        "CameraCalibratorTool",
        source="input_url",
        handlers={"NpeStdOutlierDetector": {}, "HDF5MonitoringSource": {"input_files": "input_url"}},
        present={"NpeStdOutlierDetector": "npe_std_outlier_detector"},
    )
    example_input = "monitoring.h5"

    timestamp_tolerance: float
    faulty_pixels_fraction: float
    squared_excess_noise_factor: float
    window_width: int
    systematic_correction_path: str | None
    n_channels: list[str]
    measured_gain_channel: list[str]
    gain_channel_extrapolator_type: list[str]
    npe_std_outlier_detector: bool
    n_events: int
    relative_qe_dispersion: float
    linear_noise_coeff: list[float]
    linear_noise_offset: list[float]
    quadratic_noise_coeff: list[float]
    quadratic_noise_offset: list[float]
    std_range_factors: list[float]

    def check_parameters(self) -> None:
        """Refuse channels, rules and limits that do not exist."""
        for name, allowed in (("n_channels", (1, 2)), ("measured_gain_channel", (0, 1))):
            for key, value in read_numbers(getattr(self, name), name).items():
                if value not in allowed:
                    raise ConfigurationError(f"{name} of {key} is {value:g}; expected {allowed[0]} or {allowed[1]}")
        for key, rule in read_mapping(self.gain_channel_extrapolator_type).items():
            if rule not in (EXTRAPOLATOR, "None", "null"):
                raise ConfigurationError(
                    f"gain_channel_extrapolator_type of {key} is {rule!r}; expected {EXTRAPOLATOR} or None"
                )
        if self.std_range_factors[0] >= self.std_range_factors[1]:
            raise ConfigurationError(f"std_range_factors are {self.std_range_factors}; expected the lower limit first")

    def make_products(self, source: Any) -> dict[int, Table]:
        """Calculate the coefficients of all telescopes of a file."""
        path = self.find_input(source, "the file of pixel statistics")
        correction = self._find_correction()
        cameras, types = find_cameras(path), read_types(path)
        nodes = {tel_id: f"{COEFFICIENTS}/tel_{tel_id:03d}" for tel_id in cameras}
        refuse_existing_tables(path, list(nodes.values()), self.overwrite)
        products: dict[int, Table] = {}
        for tel_id, tables in cameras.items():
            missing = [kind for kind in KINDS if kind not in tables]
            if missing:
                self.note_too_few(f"{path}: telescope {tel_id} has no table of {', '.join(missing)}; left out")
                continue
            table = self._calibrate(path, tel_id, tables, types.get(tel_id), correction)
            if table is None:
                self.note_too_few(
                    f"{path}: telescope {tel_id}: there is no time that a chunk of all three tables covers; left out"
                )
            else:
                products[tel_id] = table
        if not products:
            raise MissingInputError(
                f"{path}: no telescope has pedestals, flat fields and pulse times of one time; see the warnings"
            )
        written = {nodes[tel_id]: table for tel_id, table in products.items()}
        inputs = [path, *([correction] if correction else [])]
        write_tables(path, written, self.tool.command, self.make_provenance(inputs), self.overwrite)
        logger.info("%s: coefficients of telescopes %s written to %s", self.class_alias, sorted(products), path)
        return products

    def _find_correction(self) -> Path | None:
        if not self.systematic_correction_path:
            return None
        path = Path(self.systematic_correction_path)
        if not path.is_file():
            raise MissingInputError(f"systematic_correction_path {path} is not there; expected an HDF5 file")
        return path

    def _calibrate(
        self, path: Path, tel_id: int, tables: dict[str, str], tel_type: str | None, correction: Path | None
    ) -> Table | None:
        """Calculate the coefficients of a telescope; None if its tables have no time in common."""
        data = read_camera(path, tel_id, tables, self.timestamp_tolerance)
        if data is None:
            return None
        channels, total = self._find_channels(path, tel_id, tel_type, data.peak_time.shape[1], data.selected)
        shape = (data.peak_time.shape[1], data.peak_time.shape[2])
        coefficients = compute_coefficients(
            data.pedestal,
            data.flatfield,
            data.peak_time,
            self.squared_excess_noise_factor,
            self.window_width,
            read_b_term(correction, shape, channels) if correction else 0.0,
            self.faulty_pixels_fraction,
            self._make_spread() if self.npe_std_outlier_detector else None,
            channels,
        )
        if total > len(channels):
            coefficients = extrapolate_channel(coefficients, channels[0])
        self._report(path, tel_id, coefficients)
        table = tabulate_coefficients(coefficients, data.start, data.end)
        table.meta["MEASURED_GAIN_CHANNELS"] = ",".join(map(str, channels))
        table.meta["GAIN_CHANNEL_EXTRAPOLATOR"] = EXTRAPOLATOR if total > len(channels) else "none"
        return table

    def _find_channels(
        self, path: Path, tel_id: int, tel_type: str | None, found: int, selected: bool
    ) -> tuple[tuple[int, ...], int]:
        """Find the channels of the data, and the number of channels of the camera."""
        name, where = tel_type or "", f"{path}: telescope {tel_id} of {tel_type or 'unknown type'}"
        given = find_value(read_numbers(self.n_channels, "n_channels"), name, tel_id)
        total = int(given) if given is not None else 2 if selected else found
        if found > total:
            raise CorruptedInputError(f"{where} has data of {found} channels; expected {total} (n_channels)")
        if found == total:
            return tuple(range(total)), total
        rule = find_value(read_mapping(self.gain_channel_extrapolator_type), name, tel_id)
        if rule != EXTRAPOLATOR:
            hint = "" if tel_type else f"; the file has no layout of the array, so name it by its number: {tel_id}:…"
            raise ConfigurationError(
                f"{where} has gain-selected data, and gain_channel_extrapolator_type has no rule for the other of its "
                f"{total} channels; list its type with {EXTRAPOLATOR}, or give n_channels 1{hint}"
            )
        measured = find_value(read_numbers(self.measured_gain_channel, "measured_gain_channel"), name, tel_id)
        return (int(measured or 0),), total

    def _make_spread(self) -> SpreadModel:
        return SpreadModel(
            n_events=self.n_events,
            relative_qe_dispersion=self.relative_qe_dispersion,
            linear_noise_coeff=tuple(self.linear_noise_coeff),
            linear_noise_offset=tuple(self.linear_noise_offset),
            quadratic_noise_coeff=tuple(self.quadratic_noise_coeff),
            quadratic_noise_offset=tuple(self.quadratic_noise_offset),
            std_range_factors=tuple(self.std_range_factors),
        )

    def _report(self, path: Path, tel_id: int, coefficients: CameraCoefficients) -> None:
        invalid = int(np.count_nonzero(~coefficients.is_valid))
        if invalid:
            self.warn(
                f"{path}: telescope {tel_id}: {invalid} of {len(coefficients.is_valid)} intervals are not valid: "
                f"{self.faulty_pixels_fraction:.0%} or more of the pixels are outliers"
            )
