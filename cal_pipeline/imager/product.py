"""Products of the imager: stores of rates, of calibrated images and of mosaics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.product import Key, Product
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import CAL, MOSAIC, RATE
from cal_pipeline.imager.models import ImageModel
from cal_pipeline.imager.mosaics import MosaicModel
from cal_pipeline.imager.ramp_source import read_whole
from cal_pipeline.imager.schema import RATE_UNITS

if TYPE_CHECKING:
    import xarray


class ImageProduct(Product):
    """Store of images.

    Attributes are those of :class:`~cal_pipeline.core.store.product.Product`.
    """

    def open_dataset(self, number: Key, ints: bool = False) -> xarray.Dataset:
        """Open the arrays of an image, lazily.

        Parameters
        ----------
        number : int or str
            Number of the exposure; name of the mosaic.
        ints : bool
            Whether to open those of the integrations.

        Returns
        -------
        xarray.Dataset
            Nothing is read until it is used.

        Raises
        ------
        StoreError
            If there is no such image.
        KeyError, OSError
            If it has no integrations.
        """
        import xarray

        (group,) = self.groups(number)
        path = f"{group}/{self.kind.product}ints" if ints else group
        where, inner = (self.path, path) if self._is_local else (self.root.child(path).as_zarr(), None)
        dataset: xarray.Dataset = xarray.open_zarr(where, group=inner, consolidated=False, chunks=None)
        return dataset

    def open_image(self, number: int) -> ImageModel:
        """Read an image as steps take it.

        Raises
        ------
        CalibrationError
            If there is no such image, or it cannot be read.
        """
        return ImageModel.from_store(ExposureStore(self.root.name), number)


class RateProduct(ImageProduct):
    """Store of rates, as :class:`~cal_pipeline.Detector1Pipeline` writes it.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL.

    Raises
    ------
    StoreError
        If there is no such store.

    Examples
    --------
    >>> product = RateProduct("rate.zarr")
    >>> sorted(product.open_dataset(product.numbers[0]))
    ['data', 'dq', 'err', 'var_poisson', 'var_rnoise']
    """

    kind = RATE


class CalProduct(ImageProduct):
    """Store of calibrated images, as :class:`~cal_pipeline.Image2Pipeline` writes it.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL.

    Raises
    ------
    StoreError
        If there is no such store.
    """

    kind = CAL


class MosaicProduct(ImageProduct):
    """Store of mosaics, as :class:`~cal_pipeline.Image3Pipeline` writes it.

    Parameters
    ----------
    path : str or Path
        Folder, ZIP file or URL.

    Raises
    ------
    StoreError
        If there is no such store.
    """

    kind = MOSAIC

    def open_image(self, number: Any) -> MosaicModel:
        """Read a mosaic.

        Raises
        ------
        CalibrationError
            If there is no such mosaic, or it cannot be read.
        """
        (group,) = self.groups(number)
        readers = {name: open_reader(self.root, f"{group}/{name}") for name in ("data", "err", "weight", "dq")}
        arrays = {name: read_whole(reader) for name, reader in readers.items()}
        units = str(readers["data"].attributes.get("units", RATE_UNITS))
        return MosaicModel(**arrays, meta=self.attributes(number), units=units)


PRODUCTS: dict[str, type[ImageProduct]] = {
    product.kind.product: product for product in (RateProduct, CalProduct, MosaicProduct)
}
"""Classes of the products by the attribute ``product`` of the root."""
