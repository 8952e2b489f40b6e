"""Sets of images that are combined: frames of a reference file, or of a mosaic."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cal_pipeline.core.errors import LayoutError
from cal_pipeline.core.files.asdf_file import is_asdf
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.text import format_count, format_ranges
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import CAL, RATE
from cal_pipeline.imager.layout import check_attributes
from cal_pipeline.imager.meta import Meta, Status
from cal_pipeline.imager.model_files import read_tree
from cal_pipeline.imager.models import ExposureModel, ImageModel, open_exposure, restore_model
from cal_pipeline.imager.physics.image import Image
from cal_pipeline.imager.physics.mosaic import GridMask
from cal_pipeline.imager.physics.outlier import OutlierLimits
from cal_pipeline.imager.times import parse_time

Loader = Callable[[], ImageModel]
ImageOperation = Callable[[ImageModel], ImageModel]


def combine_status(headers: Sequence[Meta]) -> Status:
    """Combine the status of steps: one is COMPLETE if it is for all exposures.

    Examples
    --------
    >>> combine_status([Meta({"cal_step": {"jump": "COMPLETE"}}), Meta({"cal_step": {"jump": "SKIPPED"}})])
    {'jump': 'SKIPPED'}
    """
    names = {name: None for header in headers for name in header.cal_step}
    done = {name: all(header.cal_step.get(name) == "COMPLETE" for header in headers) for name in names}
    return Status({name: "COMPLETE" if is_done else "SKIPPED" for name, is_done in done.items()})


class FrameSet(ExposureModel):
    """Images that are combined, each read when it is needed.

    Parameters
    ----------
    images : sequence of ImageModel
        The images, of at least one exposure.
    name : str
        Name of what they are combined to, and of its files.

    Attributes
    ----------
    meta : Meta
        Attributes of the exposure with the lowest number, and ``members``, the numbers of all;
        ``date_obs`` is the earliest, and a step is COMPLETE if it is for all.
    headers : list of Meta
        Attributes of each exposure.
    outliers : list of GridMask, OutlierLimits or None
        Samples on the grid of the mosaic that the step `outlier` has found; in a pipeline the
        limits by which the step `mosaic` finds them, so that images are resampled once.
    plain : list of Image, or None
        Arrays of the images, once they have been read for a mosaic.
    units : str
        Their unit, then.

    Raises
    ------
    LayoutError
        Without any image, or if the time of one is none.

    Examples
    --------
    >>> images = [ImageModel(data=np.ones((4, 4)), meta={"exposure_number": n}) for n in (2, 1)]
    >>> frames = FrameSet(images)
    >>> frames, frames.meta["members"]
    (<FrameSet frames: 2 images of exposures 1, 2>, [1, 2])
    """

    headers: list[Meta]
    outliers: list[GridMask] | OutlierLimits | None
    plain: list[Image] | None
    units: str

    _loaders: list[Loader]
    _operations: tuple[ImageOperation, ...]

    def __init__(self, images: Sequence[ImageModel], name: str = "frames") -> None:
        ordered = sorted(images, key=lambda image: image.number)
        loaders: list[Loader] = [lambda image=image: image for image in ordered]  # type: ignore[misc]
        self._begin(loaders, [image.meta for image in ordered], name)

    def _begin(self, loaders: list[Loader], metas: Sequence[Mapping[str, Any]], name: str) -> None:
        if not loaders:
            raise LayoutError(f"{name}: found no image, expected at least one")
        meta = Meta(metas[0])
        meta.pop("provenance", None)
        meta.pop("qa", None)
        super().__init__(meta)
        self.meta.pop("exposure_number", None)
        self.meta["members"] = [number for one in metas if isinstance(number := one.get("exposure_number"), int)]
        for one in metas:
            check_attributes({"date_obs": one.get("date_obs")}, f"exposure {one.get('exposure_number')}")
        dates = [str(one["date_obs"]) for one in metas if one.get("date_obs")]
        if dates:
            self.meta["date_obs"] = min(dates, key=parse_time)
        self.meta.filename = f"{name}.asdf"
        self.headers = [Meta(one) for one in metas]
        self.meta["cal_step"] = combine_status(self.headers)
        self.name, self.outliers, self.plain, self.units = name, None, None, ""
        self._loaders, self._operations = loaders, ()

    @classmethod
    def from_store(cls, store: ExposureStore, numbers: Sequence[int], name: str = "frames") -> FrameSet:
        """Make a set of exposures of a store, of which only the attributes are read yet.

        Raises
        ------
        CalibrationError
            If the attributes of one cannot be read.
        """
        frames = cls.__new__(cls)
        ordered = sorted(numbers)
        loaders: list[Loader] = [lambda n=n: ImageModel.from_store(store, n, False) for n in ordered]  # type: ignore[misc]
        frames._begin(loaders, [store.attributes(number) for number in ordered], name)
        frames.store = store
        return frames

    @classmethod
    def open(cls, source: Any, input_dir: str = "", name_of: Callable[[Meta], str] | None = None) -> FrameSet:
        """Open a set of images.

        Parameters
        ----------
        source : FrameSet, sequence or path
            A set, or a file that one was saved to; images or locations of images; or a store, of which
            all exposures are taken.
        input_dir : str
            Folder of an input that is given without one.
        name_of : callable, optional
            Function of the attributes of an exposure that names what the images are combined to.

        Raises
        ------
        CalibrationError
            If there is no such set.
        """
        if isinstance(source, FrameSet):
            return source
        frames = cls._open(source, input_dir)
        if name_of is not None:
            frames.name = name_of(frames.headers[0])
            frames.meta.filename = f"{frames.name}.asdf"
        return frames

    @classmethod
    def _open(cls, source: Any, input_dir: str) -> FrameSet:
        if isinstance(source, (list, tuple)):
            return cls([open_exposure(item, ImageModel, input_dir) for item in source])
        if isinstance(source, ImageModel):
            return cls([source])
        where = locate_input(source, input_dir, "images, or the path or URL of a store of them (rate.zarr)")
        if RATE.key_of(Path(where).name) is not None:
            return cls([ImageModel.open(where)])
        if Path(where).suffix == ".asdf":
            return cls.from_file(where)
        store = ExposureStore(where, (RATE.product, CAL.product))
        return cls.from_store(store, store.numbers)

    @property
    def number(self) -> Any:
        """Name of what the images are combined to."""
        return self.name

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first image."""
        if self.store is None:
            return self.load(0).shape
        return self.store.image_shape(self.members[0])

    @property
    def n_samples(self) -> int:
        """Number of pixels of all images, if they are as large as the first."""
        return len(self) * int(np.prod(self.shape))

    @property
    def members(self) -> list[int]:
        """Numbers of the exposures."""
        members: list[int] = self.meta["members"]
        return members

    def add_operation(self, operation: ImageOperation) -> None:
        """Add the work of a step, which is done on each image when it is read."""
        self._operations = (*self._operations, operation)
        self.outliers, self.plain = None, None

    def load(self, position: int) -> ImageModel:
        """Read an image and apply the operations.

        Raises
        ------
        CalibrationError
            If it cannot be read; the message names the exposure.
        """
        image = self._loaders[position]()
        for operation in self._operations:
            image = operation(image)
        return image

    def __len__(self) -> int:
        return len(self._loaders)

    def __iter__(self) -> Iterator[ImageModel]:
        return map(self.load, range(len(self)))

    @property
    def images(self) -> list[ImageModel]:
        """All images."""
        return list(self)

    def _arrays(self) -> dict[str, Any]:
        """Return images and outliers as they are saved; limits are not: nothing was found by them."""
        masks = self.outliers if isinstance(self.outliers, list) else None
        return {
            "name": self.name,
            "images": [image.to_tree() for image in self],
            "outliers": None
            if masks is None
            else [
                {"rows": [rows.start, rows.stop], "columns": [columns.start, columns.stop], "mask": mask}
                for rows, columns, mask in masks
            ],
        }

    @classmethod
    def from_file(cls, path: str) -> FrameSet:
        """Read a set, or a single image, from a file that a step wrote.

        Raises
        ------
        StoreError
            If it is not such a file.
        """
        tree = read_tree(path) if os.path.isfile(path) and is_asdf(path) else {}
        if tree.get("class") != "FrameSet":
            return cls([ImageModel.open(path)])
        images = [image for item in tree["images"] if isinstance(image := restore_model(item), ImageModel)]
        frames = cls(images, tree["name"])
        frames.meta = Meta(tree["meta"], Path(path).name, tree["made_by"])
        if tree["outliers"] is not None:
            frames.outliers = [
                GridMask(slice(*item["rows"]), slice(*item["columns"]), item["mask"]) for item in tree["outliers"]
            ]
        return frames

    def __repr__(self) -> str:
        of = f"{format_count(len(self), 'image')} of exposures {format_ranges(self.members)}"
        return f"<FrameSet {self.name}: {of}>"
