"""Exposures as steps take and return them: ramps and images."""

from __future__ import annotations

import copy
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from cal_pipeline.core.errors import CalibrationError, LayoutError, StoreError
from cal_pipeline.core.files.asdf_file import is_asdf, write_asdf
from cal_pipeline.core.inputs import locate_input
from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.run.threads import map_in_threads
from cal_pipeline.core.store.locations import is_url
from cal_pipeline.imager.exposures import ExposureStore
from cal_pipeline.imager.kinds import RAMP
from cal_pipeline.imager.layout import check_image_arrays, check_ramp_arrays
from cal_pipeline.imager.meta import Meta
from cal_pipeline.imager.model_files import ARRAYS, FORMAT, describe_unreadable, read_tree
from cal_pipeline.imager.ramp_source import Operation, RampBlock, RampInMemory, RampSource, Samples
from cal_pipeline.imager.schema import RATE_UNITS, VARIANCES
from cal_pipeline.imager.subarray import find_subarray

BLOCK_SAMPLES = 2**20
"""Samples of a ramp that a thread works on at a time."""

Result = TypeVar("Result")
Other = TypeVar("Other", bound="ExposureModel")


class ExposureModel(ABC):
    """Exposure with its attributes; base of ramps and images.

    Attributes
    ----------
    meta : Meta
        Attributes.
    clock : StageClock
        Time per stage.
    store : ExposureStore or None
        Store that the exposure was opened from.
    references : dict
        Type, path and SHA-256 digest of the reference files that were used, by type.
    """

    crds_observatory: ClassVar[str] = "cal_pipeline"

    meta: Meta
    clock: StageClock
    store: ExposureStore | None
    references: dict[str, dict[str, str]]

    def __init__(self, meta: Mapping[str, Any] | None) -> None:
        self.meta = meta.copy() if isinstance(meta, Meta) else Meta(meta)
        self.clock = StageClock()
        self.store = None
        self.references = {}

    @property
    def number(self) -> int:
        """Number of the exposure; 0 without one."""
        number = self.meta.get("exposure_number", 0)
        return number if isinstance(number, int) else 0

    def get_crds_parameters(self) -> dict[str, Any]:
        """Return the keys for the choice of reference and parameter files."""
        return {name: self.meta.get(name) for name in ("instrument", "detector", "exp_type")}

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of the data."""

    def copy(self) -> Self:
        """Copy the exposure; arrays are shared, attributes are not."""
        other = copy.copy(self)
        other.meta = self.meta.copy()
        other.references = dict(self.references)
        return other

    def hand_on(self, result: Other) -> Other:
        """Hand attributes, clock, store and references used on to what a step makes of the exposure."""
        result.meta, result.clock = self.meta.copy(), self.clock
        result.store, result.references = self.store, dict(self.references)
        return result

    @abstractmethod
    def _arrays(self) -> dict[str, Any]:
        """Return the arrays to save, by name."""

    def to_tree(self) -> dict[str, Any]:
        """Return the content of a file that the exposure is saved to."""
        return {
            "format": FORMAT,
            "class": type(self).__name__,
            "meta": make_json_ready(self.meta),
            "made_by": make_json_ready(self.meta.made_by),
            **self._arrays(),
        }

    def save(self, path: str, dir_path: str | None = None, **_: Any) -> str:
        """Write the exposure to an ASDF file.

        Parameters
        ----------
        path : str
            File to write; one that exists is replaced.
        dir_path : str, optional
            Folder in place of that of `path`.

        Returns
        -------
        str
            The file that was written.
        """
        target = Path(dir_path) / Path(path).name if dir_path else Path(path)
        write_asdf(target, {"cal_pipeline_exposure": self.to_tree()})
        return str(target)


class RampModel(ExposureModel):
    """Ramps of the pixels of an exposure: groups of reads between resets.

    Parameters
    ----------
    data : array_like, shape (I, G, y, x)
        Counts [adu]: integrations, groups, rows, columns.
    meta : mapping, optional
        Attributes of the exposure, as of L0.
    pixeldq : array_like of uint32, shape (y, x), optional
        Flags of the pixels (:class:`DQ`); none if not given.
    groupdq : array_like of uint8, shape (I, G, y, x), optional
        Flags of the groups: the lowest eight of :class:`DQ`; none if not given.

    Raises
    ------
    LayoutError
        If an array has another shape or type.

    Notes
    -----
    Steps work row by row, and only when their results are asked for: memory for all groups is only
    needed if they are.

    Examples
    --------
    Two groups of a detector of 4 x 4 pixels:

    >>> ramp = RampModel(data=np.ones((1, 2, 4, 4), np.uint16), meta={"exposure_number": 1})
    >>> ramp, ramp.pixeldq.dtype, int(ramp.groupdq.max())
    (<RampModel 1: 1 integration of 2 groups, 4 x 4 pixels>, dtype('uint32'), 0)
    """

    def __init__(
        self,
        data: Any,
        meta: Mapping[str, Any] | None = None,
        pixeldq: Any = None,
        groupdq: Any = None,
    ) -> None:
        super().__init__(meta)
        # Compiled loops take the byte order of the machine; FITS files have the other one.
        counts = np.asarray(data)
        counts = counts.astype(counts.dtype.newbyteorder("="), copy=False)
        given = {"data": counts}
        given |= {} if pixeldq is None else {"pixeldq": np.asarray(pixeldq)}
        given |= {} if groupdq is None else {"groupdq": np.asarray(groupdq)}
        shape = check_ramp_arrays(given, f"exposure {self.number}")
        flags = given.get("groupdq")
        # A broadcast zero takes no memory.
        none = np.broadcast_to(np.uint8(0), shape)
        self._source: RampSource = RampInMemory(counts, none if flags is None else flags.astype(np.uint8, copy=False))
        self._operations: tuple[Operation, ...] = ()
        self._computed: tuple[Samples, NDArray[np.uint8]] | None = None
        flags = given.get("pixeldq")
        self.pixeldq = np.zeros(shape[2:], np.uint32) if flags is None else flags.astype(np.uint32)

    @classmethod
    def from_source(
        cls, source: RampSource, meta: Mapping[str, Any], pixeldq: NDArray[np.uint32] | None = None
    ) -> RampModel:
        """Make a model of counts that are read when they are needed."""
        model = cls.__new__(cls)
        ExposureModel.__init__(model, meta)
        model._source, model._operations, model._computed = source, (), None
        model.pixeldq = np.zeros(source.shape[2:], np.uint32) if pixeldq is None else pixeldq
        return model

    @classmethod
    def open(cls, path: str | Path) -> RampModel:
        """Open a ramp of a store (``visit.zarr/exp_000001``) or of a file that a step wrote (.asdf).

        Parameters
        ----------
        path : str or Path
            Path or URL.

        Raises
        ------
        CalibrationError
            If there is no such ramp.

        Examples
        --------
        >>> ramp = RampModel.open("visit.zarr/exp_000001")
        >>> ramp.meta["exp_type"]
        'DARK'
        """
        return open_exposure(path, cls)

    @classmethod
    def from_store(cls, store: ExposureStore, number: int) -> RampModel:
        """Open a ramp of a store, of whose counts nothing is read yet.

        Raises
        ------
        CalibrationError
            If there is no such exposure, or it is not laid out as the format says.
        """
        attributes = store.attributes(number)
        source, pixeldq = store.open_ramp(number)
        find_subarray(attributes, source.shape[2:], f"{store.path}/{store.group(number)}")
        model = cls.from_source(source, attributes, pixeldq)
        model.store = store
        return model

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Numbers of integrations, groups, rows and columns."""
        return self._source.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the counts as they were given or stored."""
        return self._source.dtype

    @property
    def n_samples(self) -> int:
        """Number of counts."""
        return int(np.prod(self.shape))

    @property
    def data(self) -> Samples:
        """Counts [adu], (I, G, y, x), as the steps passed have left them."""
        return self.compute()[0]

    @property
    def groupdq(self) -> NDArray[np.uint8]:
        """Flags of the groups, (I, G, y, x)."""
        return self.compute()[1]

    def add_operation(self, operation: Operation) -> None:
        """Add the work of a step, which is done when its result is needed."""
        self._operations = (*self._operations, operation)
        self._computed = None

    def add_flags(self, flags: NDArray[np.uint32]) -> None:
        """Add flags of the pixels, in a new array."""
        self.pixeldq = self.pixeldq | flags

    def compute_rows(self, rows: slice) -> RampBlock:
        """Read rows and apply the operations.

        Raises
        ------
        DataReadError
            If they cannot be read.
        """
        if self._computed is not None:
            return RampInMemory(*self._computed).read(rows)
        with self.clock("load"):
            block = self._source.read(rows)
        if self._operations:
            # Integers would wrap around below zero; floats that hold them exactly do not.
            block = block._replace(data=block.data.astype(np.result_type(block.data.dtype, np.float32), copy=False))
        for operation in self._operations:
            block = operation(block)
        return block

    def map_rows(self, function: Callable[[RampBlock], Result]) -> list[Result]:
        """Call a function on all rows, block by block, in the threads of the run.

        Parameters
        ----------
        function : callable
            Function of a block of rows after all operations.

        Returns
        -------
        list
            Results in the order of the rows.
        """
        n_integrations, n_groups, n_rows, n_columns = self.shape
        step = max(BLOCK_SAMPLES // max(n_integrations * n_groups * n_columns, 1), 1)
        chunk = self._source.rows_in_chunk
        step = max(step // chunk, 1) * chunk
        blocks = [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
        return map_in_threads(lambda rows: function(self.compute_rows(rows)), blocks, self.n_samples)

    def compute(self) -> tuple[Samples, NDArray[np.uint8]]:
        """Compute all counts and flags, once.

        Raises
        ------
        DataReadError
            If counts cannot be read.
        """
        if self._computed is None:
            blocks = self.map_rows(lambda block: block)
            data = np.concatenate([block.data for block in blocks], axis=2)
            self._computed = data, np.concatenate([block.groupdq for block in blocks], axis=2)
        return self._computed

    def _arrays(self) -> dict[str, Any]:
        return {"data": self.data, "pixeldq": self.pixeldq, "groupdq": np.ascontiguousarray(self.groupdq)}

    def __repr__(self) -> str:
        n_integrations, n_groups, n_rows, n_columns = self.shape
        of = f"{n_integrations} integration{'s' if n_integrations != 1 else ''} of {n_groups} groups"
        return f"<RampModel {self.number}: {of}, {n_rows} x {n_columns} pixels>"


class ImageModel(ExposureModel):
    """Image: a rate, or what it is calibrated to.

    Parameters
    ----------
    data : array_like, shape (y, x) or (I, y, x)
        Values.
    err : array_like, optional
        Standard deviation; like all others in the shape of `data`, and 0 if not given.
    var_poisson, var_rnoise, var_flat : array_like, optional
        Variances by photon noise, read noise and flat field.
    dq : array_like of uint32, optional
        Flags (:class:`DQ`).
    meta : mapping, optional
        Attributes of the exposure.
    ints : ImageModel, optional
        The same of each integration, (I, y, x).
    units : str
        Unit of the values, as astropy writes it.

    Attributes
    ----------
    weight : ndarray of float32, shape (y, x), or None
        Exposure time by drizzle weight, summed [s], of a mosaic; None of other images.

    Raises
    ------
    LayoutError
        If an array has another shape or type.

    Examples
    --------
    >>> image = ImageModel(data=np.full((4, 4), 5.0), meta={"exposure_number": 1})
    >>> image, image.data.dtype, float(image.err.max())
    (<ImageModel 1: 4 x 4 pixels>, dtype('float32'), 0.0)
    """

    def __init__(
        self,
        data: Any,
        err: Any = None,
        var_poisson: Any = None,
        var_rnoise: Any = None,
        var_flat: Any = None,
        dq: Any = None,
        meta: Mapping[str, Any] | None = None,
        ints: ImageModel | None = None,
        units: str = RATE_UNITS,
    ) -> None:
        super().__init__(meta)
        named = {"data": data, "err": err, "var_poisson": var_poisson, "var_rnoise": var_rnoise, "var_flat": var_flat}
        given = {name: np.asarray(values) for name, values in {**named, "dq": dq}.items() if values is not None}
        axes = ("integration", "y", "x") if given["data"].ndim == 3 else ("y", "x")
        shape = check_image_arrays(given, f"exposure {self.number}", axes)
        zeros = np.zeros(shape, np.float32)
        self.data = given["data"].astype(np.float32, copy=False)
        self.err = given.get("err", zeros).astype(np.float32, copy=False)
        self.var_poisson = given.get("var_poisson", zeros).astype(np.float32, copy=False)
        self.var_rnoise = given.get("var_rnoise", zeros).astype(np.float32, copy=False)
        self.var_flat = given.get("var_flat", zeros).astype(np.float32, copy=False)
        self.dq = given["dq"].astype(np.uint32, copy=False) if "dq" in given else np.zeros(shape, np.uint32)
        if ints is not None and (ints.data.ndim != 3 or ints.shape[1:] != shape):
            raise LayoutError(
                f"exposure {self.number}: ints have shape {ints.shape}, expected (I, {shape[0]}, {shape[1]})"
            )
        self.ints, self.units = ints, units
        self.weight: NDArray[np.float32] | None = None

    @classmethod
    def open(cls, path: str | Path) -> ImageModel:
        """Open an image of a store (``rate.zarr/exp_000001``) or of a file that a step wrote (.asdf).

        Parameters
        ----------
        path : str or Path
            Path or URL.

        Raises
        ------
        CalibrationError
            If there is no such image.

        Examples
        --------
        >>> ImageModel.open("rate.zarr/exp_000001").meta.cal_step.ramp_fit
        'COMPLETE'
        """
        return open_exposure(path, cls)

    @classmethod
    def from_store(cls, store: ExposureStore, number: int, with_ints: bool = True) -> ImageModel:
        """Read an image of a store.

        Parameters
        ----------
        store : ExposureStore
            The store.
        number : int
            Number of the exposure.
        with_ints : bool
            Whether to read the integrations.

        Raises
        ------
        CalibrationError
            If there is no such exposure, or it is not laid out as the format says.
        """
        meta = Meta(store.attributes(number))
        arrays = store.read_image(number, with_ints)
        ints = arrays.pop("ints", None)
        model = cls(**arrays, meta=meta, ints=None if ints is None else ImageModel(**ints, meta=meta))
        model.store = store
        return model

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the arrays."""
        return self.data.shape

    @property
    def n_samples(self) -> int:
        """Number of pixels."""
        return int(self.data.size)

    @property
    def arrays(self) -> dict[str, Samples]:
        """The arrays by name."""
        return {name: getattr(self, name) for name in ("data", "err", *VARIANCES, "dq")}

    def with_arrays(self, **arrays: Any) -> ImageModel:
        """Copy the image with other arrays, converted to the types that are stored."""
        other = self.copy()
        for name, values in arrays.items():
            setattr(other, name, np.asarray(values, np.uint32 if name == "dq" else np.float32))
        return other

    def stack(self, images: Sequence[tuple[Samples, ...]]) -> ImageModel:
        """Copy the integrations with the arrays of others, one image for each.

        Parameters
        ----------
        images : sequence
            Arrays of each integration, in the order of :attr:`arrays`.
        """
        names = list(self.arrays)
        return self.with_arrays(**{name: np.stack([image[i] for image in images]) for i, name in enumerate(names)})

    def _arrays(self) -> dict[str, Any]:
        ints = {} if self.ints is None else {"ints": self.ints.arrays}
        return {"units": self.units, **self.arrays, **ints}

    def __repr__(self) -> str:
        return f"<ImageModel {self.number}: {' x '.join(map(str, self.shape))} pixels>"


def read_model(path: str | Path) -> RampModel | ImageModel:
    """Read an exposure that a step wrote to an ASDF file.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    StoreError
        If it is not such a file.
    LayoutError
        If an array has another shape or type.
    """
    tree = read_tree(path)
    if tree["class"] == "FrameSet":
        raise StoreError(f"{path} holds a set of images, expected one exposure")
    try:
        return restore_model(tree, Path(path).name)
    except (KeyError, TypeError, AttributeError) as error:
        raise describe_unreadable(path, error) from error


def restore_model(tree: Mapping[str, Any], filename: str = "") -> RampModel | ImageModel:
    """Make a model of what it was saved to; `tree` has the arrays of the model by name."""
    meta = Meta(tree["meta"], filename, tree.get("made_by", {}))
    arrays = {name: tree[name] for name in ARRAYS[tree["class"]]}
    if tree["class"] == "RampModel":
        return RampModel(**arrays, meta=meta)
    weight, units = arrays.pop("weight", None), str(tree.get("units", RATE_UNITS))
    ints = ImageModel(**tree["ints"], meta=meta, units=units) if tree.get("ints") else None
    image = ImageModel(**arrays, meta=meta, ints=ints, units=units)
    image.weight = weight
    return image


EXPECTED_INPUT = (
    "the path or URL of an exposure (visit.zarr/exp_000001), of a store with one (visit.zarr), or a file that a step "
    "wrote (.asdf)"
)
"""Description of inputs, for messages."""

_EXPOSURE = re.compile(r"(.+)/exp_([0-9]{6})/*")

Model = TypeVar("Model", RampModel, ImageModel)

_NAMES = {RampModel: "ramps", ImageModel: "images"}


def open_exposure(source: Any, cls: type[Model], input_dir: str = "", first: bool = False) -> Model:
    """Open an exposure.

    Parameters
    ----------
    source : RampModel, ImageModel, str or path-like
        An exposure; the path or URL of one in a store (``visit.zarr/exp_000001``), or of a store
        with one exposure; or a file that a step wrote.
    cls : type
        Class of the exposure that is wanted.
    input_dir : str
        Folder of an input that is given without one.
    first : bool
        Whether the first exposure of a store with several is wanted.

    Raises
    ------
    CalibrationError
        If there is no exposure of the class, or more than one.
    """
    if isinstance(source, (RampModel, ImageModel)):
        return _of_class(source, cls, repr(source))
    where = locate_input(source, input_dir, EXPECTED_INPUT)
    path = Path(where)
    if path.suffix == ".asdf" or (not is_url(where) and path.is_file() and path.suffix != ".zip"):
        return _of_class(_read_file(where), cls, where)
    named = _EXPOSURE.fullmatch(where if is_url(where) else os.path.abspath(where))
    store = ExposureStore(named[1] if named else where)
    numbers = store.select([named[2]] if named else None)
    if len(numbers) != 1 and not first:
        raise CalibrationError(
            f"{where} holds {len(numbers)} exposures and a step takes one; name it, as in {where}/exp_{numbers[0]:06d}"
        )
    found = RampModel if store.product == RAMP else ImageModel
    opened = found.from_store(store, numbers[0])
    return _of_class(opened, cls, where)


def _of_class(model: RampModel | ImageModel, cls: type[Model], where: str) -> Model:
    """Return a model if it is of a class."""
    if not isinstance(model, cls):
        raise CalibrationError(f"{where} holds {_NAMES[type(model)]}, expected {_NAMES[cls]}")
    return model


def _read_file(where: str) -> RampModel | ImageModel:
    if is_url(where):
        raise StoreError(f"{where} is remote; files that a step wrote are read from local folders, copy it first")
    if not os.path.exists(where):
        raise StoreError(f"{where} is not there; expected a file that a step wrote, or an exposure of a store")
    if not is_asdf(where):
        raise StoreError(f"{where} is no file that a step wrote (ASDF); expected {EXPECTED_INPUT}")
    return read_model(where)
