"""Export of an L1 store: which scans and pixels go into a file, and what cannot."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from cal_pipeline.core.errors import OutputExistsError, StoreError, UsageError
from cal_pipeline.core.files.replace import replace_file
from cal_pipeline.core.inputs import select_numbers
from cal_pipeline.core.parameters.messages import suggest
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.core.text import format_count, make_printable
from cal_pipeline.heterodyne.export.fits_table import encode
from cal_pipeline.heterodyne.export.formats import FORMATS, Format, Table, measure_widths
from cal_pipeline.heterodyne.export.header import Header, read_header
from cal_pipeline.heterodyne.export.rows import read_pixel_names, read_rows, select_pixels
from cal_pipeline.heterodyne.product import CalibratedSession

if TYPE_CHECKING:
    import xarray
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

_MB, _GB = 1e6, 1e9


@dataclass(frozen=True)
class Exported:
    """File that was exported.

    Parameters
    ----------
    path : Path
        The file.
    n_spectra : int
        Number of spectra in it.
    failures : dict
        Messages about scans that could not be exported, by scan number; of several bands the others are.
    notes : tuple of str
        What is not known, and what became of it.
    """

    path: Path
    n_spectra: int
    failures: dict[int, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Portion:
    """Band of a scan that is to be exported."""

    dataset: xarray.Dataset
    header: Header
    pixels: NDArray[np.intp]

    @property
    def n_rows(self) -> int:
        return len(self.pixels) * self.dataset.sizes["dump"] * self.dataset.sizes["subscan"]

    def measure_texts(self) -> dict[str, int]:
        """Return the lengths of its texts, encoded."""
        texts = {key: len(encode(text)) for key, text in self.header.text.items()}
        return texts | {"pixel": max(len(encode(name)) for name in read_pixel_names(self.dataset).ravel())}


@dataclass
class _Plan:
    """Bands to export by scan, and scans that cannot be."""

    scans: dict[int, list[_Portion]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)

    @property
    def portions(self) -> list[_Portion]:
        return [portion for found in self.scans.values() for portion in found]

    def estimate_size(self, kind: Format) -> float:
        """Estimate the size of the file [bytes]."""
        sizes = (kind.estimate_size(p.n_rows, p.header.axis.n_channels) for p in self.portions)
        return sum(sizes)

    def measure_texts(self) -> dict[str, int]:
        """Return the lengths of the longest texts."""
        longest: dict[str, int] = {}
        for portion in self.portions:
            for key, length in portion.measure_texts().items():
                longest[key] = max(longest.get(key, 0), length)
        return longest


def export_session(
    location: str | Path | CalibratedSession,
    output: str | Path,
    format: str = "sdfits",  # noqa: A002
    scans: Sequence[Any] | str | None = None,
    pixels: Sequence[str] | None = None,
    rest_frequency: float | None = None,
    flags: str | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write spectra of an L1 store to one file that other programs read, one dump of one pixel a row.

    Parameters
    ----------
    location : str, Path or CalibratedSession
        L1 store.
    output : str or Path
        File to write.
    format : {"sdfits", "class", "csv"}
        Format, in capitals or small letters.
    scans : sequence or str, optional
        Scans to export, as in ``"25650,25660:25670"``; all if not given.
    pixels : sequence of str, optional
        Names of pixels; all if not given.
    rest_frequency : float, optional
        Rest frequency of the line in place of the recorded one [Hz].
    flags : {"column", "blank"}, optional
        Column FLAGS beside the values, or no value where a sample is flagged. SDFITS has both, by default the column;
        the other formats have blanks.
    overwrite : bool
        Whether to replace an existing file.

    Returns
    -------
    Exported
        What was written, and what could not be.

    Raises
    ------
    OutputExistsError
        If the file exists and may not be replaced.
    StoreError
        If there is no such store, scan or pixel, or no scan can be exported; nothing is written then.
    UsageError
        If there is no such format, it has no such flags, or the rest frequency is not positive.

    Notes
    -----
    Memory is that of the spectra of one subscan (6 bytes a sample), however large the file. T_A* has 32 bits,
    frequencies and T_sys have 64. Spectra without any number are left out.

    Examples
    --------
    ``l1.zarr`` is the one in the example of :class:`~cal_pipeline.CalibrationPipeline`:

    >>> exported = export_session("l1.zarr", "spectra.fits", overwrite=True)
    >>> from astropy.io import fits
    >>> with fits.open(exported.path) as file:
    ...     table = file["SINGLE DISH"].data
    ...     len(table) == exported.n_spectra, str(table["OBJECT"][0]), str(table["DATE-OBS"][0])[:10]
    (True, 'SIM-ORION', '2024-01-01')
    """
    name = format.lower()
    if name not in FORMATS:
        raise UsageError(
            f"format is {format!r:.80}, expected one of {', '.join(FORMATS)}{suggest(name, list(FORMATS))}"
        )
    kind = FORMATS[name]
    flags = kind.flags[0] if flags is None else flags
    if flags not in kind.flags:
        raise UsageError(f"flags are {flags!r:.80}, expected {' or '.join(kind.flags)} for the format {name}")
    if rest_frequency is not None and not 0.0 < rest_frequency < np.inf:
        raise UsageError(f"rest_frequency is {rest_frequency!r}, expected a positive number of Hz")
    product = location if isinstance(location, CalibratedSession) else CalibratedSession(location)
    path = _judge_output(output, product, overwrite)
    plan = _make_plan(product, scans, pixels, rest_frequency)
    notes = tuple(note for portion in plan.portions for note in portion.header.notes)
    for note in notes:
        logger.warning("%s", note)
    _announce(plan, kind, path)
    with replace_file(path) as unfinished, open(unfinished, "w+b") as file:
        n_spectra = _write(plan, kind, file, flags)
        if n_spectra == 0:
            raise StoreError(_describe_nothing(product, plan))
    return Exported(path, n_spectra, plan.failures, notes)


def _judge_output(output: str | Path, product: CalibratedSession, overwrite: bool) -> Path:
    """Refuse outputs that cannot be written or may not be replaced."""
    if is_url(str(output)):
        raise StoreError(f"output {output} is remote, expected a file; copy it there afterwards")
    path = Path(output)
    if path.is_dir():
        raise StoreError(f"output {path} is a folder, expected the name of a file")
    if path.exists() and not overwrite:
        raise OutputExistsError(f"output {path} exists; give overwrite=True to replace it")
    if isinstance(product.path, Path):
        store = product.path.resolve()
        if path.resolve() == store or store in path.resolve().parents:
            raise StoreError(f"output {path} is in the L1 store {product.path}; name a file elsewhere")
    return path


def _make_plan(
    product: CalibratedSession,
    scans: Sequence[Any] | str | None,
    pixels: Sequence[str] | None,
    rest_frequency: float | None,
) -> _Plan:
    """Open the scans, and select their pixels."""
    numbers = (
        product.numbers if scans is None else sorted(select_numbers(scans, product.numbers, str(product.path), "scan"))
    )
    wanted = None if pixels is None else frozenset(map(str, pixels))
    plan = _Plan()
    known: set[str] = set()
    for number in numbers:
        try:
            plan.scans[number] = [
                _open(product, number, group, wanted, rest_frequency, known) for group in product.groups(number)
            ]
        except Exception as error:
            _fail(plan, number, error)
    unknown = sorted((wanted or frozenset()) - known)
    if unknown and known:
        raise StoreError(f"pixels: {product.path} has no pixel {unknown[0]!r:.80}{suggest(unknown[0], sorted(known))}")
    return plan


def _open(
    product: CalibratedSession,
    number: int,
    group: str,
    wanted: frozenset[str] | None,
    rest_frequency: float | None,
    known: set[str],
) -> _Portion:
    band = group.rpartition("_")[2] if "/" in group else None
    dataset = product.open_scan(number, band)
    header = read_header(dataset, number, group, rest_frequency)
    known.update(read_pixel_names(dataset).ravel().tolist())
    return _Portion(dataset, header, select_pixels(dataset, wanted))


def _fail(plan: _Plan, number: int, error: Exception) -> None:
    """Record a scan that cannot be exported; running out of memory ends the export."""
    if isinstance(error, MemoryError):
        raise error
    message = str(error) or type(error).__name__
    plan.failures[number] = make_printable(message if f"scan {number}" in message else f"scan {number}: {message}")
    logger.error("%s; it is left out", plan.failures[number])


def _announce(plan: _Plan, kind: Format, path: Path) -> None:
    """Log how much is to be written."""
    size, n_rows = plan.estimate_size(kind), sum(portion.n_rows for portion in plan.portions)
    shown = f"{size / _GB:.1f} GB" if size >= _GB else f"{size / _MB:.1f} MB"
    logger.info("%s: %s at most, about %s", path, format_count(n_rows, "spectrum", "spectra"), shown)
    if size > kind.large:
        logger.warning(
            "%s will have about %s, more than many programs read; select scans and pixels, or take sdfits",
            path,
            shown,
        )


def _write(plan: _Plan, kind: Format, file: BinaryIO, flags: str) -> int:
    """Write all tables; return the number of spectra."""
    file.write(kind.begin())
    widths = measure_widths(kind.columns, plan.measure_texts()) if plan.portions else {}
    sizes = list(dict.fromkeys(portion.header.axis.n_channels for portion in plan.portions))
    groups = [[n] for n in sizes] if kind.separate else [sizes] if sizes else []
    n_spectra = 0
    for group in groups:
        with kind.table(file, max(group), widths, flags) as table:
            _fill(plan, table, group)
        n_spectra += table.n_rows
    return n_spectra


def _fill(plan: _Plan, table: Table, n_channels: Sequence[int]) -> None:
    """Write the spectra with some numbers of channels; a band that fails leaves none behind in the table."""
    chosen = [portion for portion in plan.portions if portion.header.axis.n_channels in n_channels]
    for portion in chosen:
        mark = table.mark()
        try:
            for rows in read_rows(portion.dataset, portion.header, portion.pixels):
                table.append(portion.header, rows)
        except OSError:
            raise
        except Exception as error:
            table.drop_after(mark)
            _fail(plan, portion.header.scan, error)


def _describe_nothing(product: CalibratedSession, plan: _Plan) -> str:
    if plan.failures:
        first = next(iter(plan.failures.values()))
        return f"{product.path}: none of {format_count(len(plan.failures), 'scan')} could be exported; {first}"
    return f"{product.path}: the selected scans hold no spectrum with a number; nothing is written"
