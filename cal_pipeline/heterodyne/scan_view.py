"""Interface of a calibrated scan for averages and plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, SupportsIndex

if TYPE_CHECKING:
    import xarray
    from astropy.units import Quantity

    from cal_pipeline.heterodyne.averages import Selection, Weights

Pixels = str | Sequence[str] | None
"""Names of pixels; None for all."""

Subscans = SupportsIndex | Sequence[SupportsIndex] | slice | None
"""Positions among the ONs; None for all."""


class ScanView(Protocol):
    """Calibrated scan, or one band of it."""

    number: int
    group: str

    @property
    def bands(self) -> list[str]:
        """Names of the bands; empty for a scan with one frequency axis."""

    def band(self, band: SupportsIndex | str) -> ScanView:
        """Return one band of a scan that has several."""

    @property
    def attributes(self) -> dict[str, Any]:
        """Attributes as recorded."""

    @property
    def dataset(self) -> xarray.Dataset:
        """Arrays with the axes of L1."""

    @property
    def pixels(self) -> list[str]:
        """Names of the pixels."""

    def select_part(self, pixels: Pixels = None, subscans: Subscans = None) -> xarray.Dataset:
        """Select pixels and ONs, with one axis of named pixels."""

    def velocity(
        self,
        frame: str = "lsrk",
        convention: str = "radio",
        rest_frequency: float | Quantity | None = None,
        pixels: Pixels = None,
        subscans: Subscans = None,
    ) -> Quantity:
        """Compute the velocity of each channel in a standard of rest."""

    def average(
        self,
        pixels: Pixels = None,
        subscans: Subscans = None,
        weights: Weights = "sigma",
        flags: Selection = "good",
        each_pixel: bool = False,
    ) -> xarray.Dataset:
        """Average the spectra over dumps, and over the subscans and pixels chosen."""
