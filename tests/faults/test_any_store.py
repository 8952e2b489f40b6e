"""Any L0 store that follows the format is calibrated right; any other fails with an error that names what is wrong."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from helpers_atm import write_test_atm_table
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import cal_pipeline.errors
from cal_pipeline import CalibratedSession, CalibrationPipeline
from cal_pipeline.core.run.runner import RunFailedError

SECOND = 1.0 / 86400.0
MJD = 60000.0
T_REC, T_HOT, T_COLD, T_AMBIENT = 90.0, 293.0, 77.0, 268.0
PLANCK_OVER_K = 6.62607015e-34 / 1.380649e-23
"""Planck over Boltzmann constant, CODATA 2018 [K/Hz]."""

COUNTS = ("int32", "int64", "uint32", "float32", "float64", "int16", "uint16")
NUMBERS = ("float64", "float32")
PATTERNS = (("OFF", "ON", "ON", "OFF"), ("OFF", "ON"), ("ON", "OFF", "ON"), ("OFF", "ON", "OFF", "ON", "OFF"))
MODES = {"total_power": "{}", "otf": "OTF-{}"}
LOADS = ("own", "before", "after", "named", "none")


@dataclass(frozen=True)
class Store:
    """An L0 store with one scan, or with one scan and another that has its loads.

    Parameters
    ----------
    shape : tuple of int
        (C, D, R, A) of the counts.
    chunks, shards : tuple of int
        Chunks of (C, D, R, A, S) of the counts, and chunks in a shard; (0, …) for no shards.
    dtype, number : str
        Type of the counts, and of the other numbers that may have any.
    scaled : bool
        Whether the counts are packed with ``scale_factor`` and ``add_offset``.
    mode : str
        Observing mode.
    pattern : tuple of str
        Phases in the order of time.
    shuffle : tuple of int
        Order of the subscans in the store.
    bands : int
        Number of bands; 0 for an undivided scan.
    optional : frozenset of str
        Optional arrays that are there.
    loads : str
        Place of the loads.
    missing : tuple of int or None
        Dump and ON of which nothing was recorded.
    strategy : str
        Strategy of the fit of PWV.
    """

    shape: tuple[int, int, int, int]
    chunks: tuple[int, ...]
    shards: tuple[int, ...]
    dtype: str
    number: str
    scaled: bool
    mode: str
    pattern: tuple[str, ...]
    shuffle: tuple[int, ...]
    bands: int
    optional: frozenset[str]
    loads: str
    missing: tuple[int, int] | None
    strategy: str

    @property
    def zero_level(self) -> float:
        """Counts without any power; 0 where they are not recorded [ct]."""
        return 80000.0 if "zero" in self.optional else 0.0

    @property
    def all_missing(self) -> bool:
        """Tell whether nothing at all was recorded of the ONs."""
        return self.missing is not None and self.shape[1] == self.pattern.count("ON") == 1

    @property
    def bands_named(self) -> list[str]:
        """Names of the bands; one empty name for an undivided scan."""
        return [f"band_{band}" for band in range(self.bands)] or [""]


OPTIONAL = ("azimuth", "lloadsn", "otf", "pixel_offset", "raw_fits_headers", "rest_freq_hz", "sky", "zero")


@st.composite
def stores(draw: Any) -> Store:
    """Draw an L0 store that follows the format."""
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 4), st.integers(1, 3), st.integers(1, 2)))
    pattern = draw(st.sampled_from(PATTERNS))
    whole = (*shape, len(pattern))
    chunks = tuple(draw(st.integers(1, n)) for n in whole)
    shards = tuple(draw(st.integers(1, -(-n // c))) for n, c in zip(whole, chunks, strict=True))
    dtype = draw(st.sampled_from(COUNTS))
    n_ons = pattern.count("ON")
    missing = st.none() if dtype.startswith("u") else st.tuples(st.integers(0, shape[1] - 1), st.integers(0, n_ons - 1))
    return Store(
        shape,
        chunks,
        shards if draw(st.booleans()) else (0,) * 5,
        dtype,
        draw(st.sampled_from(NUMBERS)),
        dtype.endswith("16") or draw(st.booleans()),
        draw(st.sampled_from(sorted(MODES))),
        pattern,
        tuple(draw(st.permutations(range(len(pattern))))) if draw(st.booleans()) else tuple(range(len(pattern))),
        draw(st.integers(0, 2)),
        draw(st.frozensets(st.sampled_from(OPTIONAL))),
        draw(st.sampled_from(LOADS)),
        draw(missing),
        draw(st.sampled_from(["fixed", "full", "per_pixel", "per_pair"])),
    )


# The physics, written down once more -----------------------------------------------------------------------


def frequencies(store: Store, band: int) -> tuple[Any, Any]:
    """Frequencies of the channels in both sidebands [Hz]."""
    channel = np.arange(store.shape[0]) - 1.0
    return 461.0e9 + 3e9 * band + 2e6 + 1e6 * channel, 473.0e9 - 2e6 - 1e6 * channel


def seen(nu: tuple[Any, Any], temperature: float) -> Any:
    """Mean brightness temperature of both sidebands [K]."""
    return np.mean([PLANCK_OVER_K * f / np.expm1(PLANCK_OVER_K * f / temperature) for f in nu], axis=0)


def gain(store: Store, band: int) -> Any:
    """Gain of each channel and pixel, (C, R, A) [ct/K]."""
    c, r, a = np.meshgrid(*(np.arange(store.shape[i]) for i in (0, 2, 3)), indexing="ij")
    return 1.0e5 * (1.0 + 0.01 * c + 0.1 * r + 0.2 * a + 0.3 * band)


def excess(store: Store, band: int) -> Any:
    """Input temperature of the ONs above that of the OFFs, (C, D, R, A, S_on) [K]; no two samples are equal."""
    axes = (*store.shape, store.pattern.count("ON"))
    index = np.arange(np.prod(axes)).reshape(axes)
    return 1.0 + 10.0 * index / index.size + 20.0 * band


def write_store(store: Store, path: Path) -> None:
    """Write the store."""
    root = zarr.open_group(path, mode="w")
    at = {"before": (1, -600.0), "after": (3, 600.0), "named": (1, -86400.0)}
    for number in (2, *(() if store.loads not in at else (at[store.loads][0],))):
        scan = root.create_group(f"scan_{number:06d}", attributes={"scan_number": number, "telescope": "X"})
        if "rest_freq_hz" in store.optional:
            scan.attrs["rest_freq_hz"] = 461.0e9
        for band, name in enumerate(store.bands_named):
            group = scan.create_group(name) if name else scan
            if number == 2:
                _write_source(store, band, group.create_group("source"))
            if number != 2 or store.loads == "own":
                shift = -60.0 if number == 2 else at[store.loads][1]
                _write_loads(store, band, group.create_group("calibration"), MJD + shift * SECOND)


def _write_source(store: Store, band: int, group: zarr.Group) -> None:
    n = len(store.pattern)
    nu = frequencies(store, band)
    sky = 100.0 + 0.0 * nu[0]
    power = np.empty((*store.shape, n))
    power[:] = (T_REC + sky)[:, None, None, None, None]
    ons = np.flatnonzero(np.array(store.pattern) == "ON")
    power[..., ons] += excess(store, band)
    counts = store.zero_level + gain(store, band)[:, None, :, :, None] * power
    if store.missing is not None:
        counts[:, store.missing[0], ..., ons[store.missing[1]]] = np.nan
    order = list(store.shuffle)
    _write_counts(store, group, counts[..., order])
    arrays = {
        "sobsmode": np.array([MODES[store.mode].format(phase) for phase in store.pattern]),
        "mjd": MJD + 20.0 * SECOND * np.arange(n),
        "exptime": np.full(n, 2.0, store.number),
        "elevation": np.full(n, 0.9, store.number),
        "pamb": np.full(n, 386.0, store.number),
        "tamb": np.full(n, T_AMBIENT, store.number),
        "signal_freq": np.full(n, 461.0e9 + 3e9 * band),
        "image_freq": np.full(n, 473.0e9),
        "freq_res": np.full(n, 1.0e6),
        "freq_off": np.full(n, 2.0e6),
        "ref_channel": np.full(n, 1.0, store.number),
    }
    if store.mode == "otf" or "otf" in store.optional:
        arrays |= {name: np.zeros(n) for name in ("otf_lon", "otf_lat")}
    if "azimuth" in store.optional:
        arrays["azimuth"] = np.full(n, 1.0, store.number)
    if "lloadsn" in store.optional or store.loads == "named":
        arrays["lloadsn"] = np.full(n, {"named": 1}.get(store.loads, -1), np.int32)
    if "raw_fits_headers" in store.optional:
        arrays["raw_fits_headers"] = np.array(["{}"] * n)
    for name, values in arrays.items():
        _write(group, name, values[order])
    if "pixel_offset" in store.optional:
        for name in ("pixel_offset_lon", "pixel_offset_lat"):
            _write(group, name, np.zeros((*store.shape[2:], n)))
    _write(group, "frontend_backends", _pixels(store))


def _write_loads(store: Store, band: int, group: zarr.Group, mjd: float) -> None:
    nu = frequencies(store, band)
    powers = {"HOT": T_REC + seen(nu, T_HOT), "COLD": T_REC + seen(nu, T_COLD)}
    powers |= {"SKY": T_REC + 100.0 + 0.0 * nu[0]} if "sky" in store.optional else {}
    powers |= {"ZERO": 0.0 * nu[0]} if "zero" in store.optional else {}
    n = len(powers)
    power = np.stack(list(powers.values()), axis=-1)[:, None, None, None, :]
    counts = store.zero_level + np.broadcast_to(gain(store, band)[:, None, :, :, None] * power, (*store.shape, n))
    _write_counts(store, group, counts)
    arrays = {
        "sobsmode": np.array(list(powers)),
        "mjd": mjd + SECOND * np.arange(n),
        "exptime": np.full(n, 2.0, store.number),
        "thot": np.full(n, T_HOT, store.number),
        "tcold": np.full(n, T_COLD, store.number),
        "tamb": np.full(n, T_AMBIENT, store.number),
    }
    for name, values in arrays.items():
        _write(group, name, values)
    _write(group, "frontend_backends", _pixels(store))


def _pixels(store: Store) -> Any:
    return np.array([f"PX{i:02d}" for i in range(store.shape[2] * store.shape[3])])


def _write(group: zarr.Group, name: str, values: Any) -> None:
    dtype = str if values.dtype.kind == "U" else values.dtype
    group.create_array(name, shape=values.shape, dtype=dtype, chunks=values.shape)[...] = values


def _write_counts(store: Store, group: zarr.Group, counts: Any) -> None:
    """Write counts in the type, the packing and the chunks of the store."""
    dtype = np.dtype(store.dtype)
    attributes = {"scale_factor": 2000.0, "add_offset": 0.0} if store.scaled else {}
    # 16 bits hold up to 32767 · 2000 counts.
    values = counts / attributes.get("scale_factor", 1.0)
    if dtype.kind in "iu":
        lowest = np.iinfo(dtype).min if dtype.kind == "i" else 0
        values = np.where(np.isnan(values), lowest, np.round(np.nan_to_num(values))).astype(dtype)
    chunks = tuple(min(c, n) for c, n in zip(store.chunks, counts.shape, strict=True))
    shards = tuple(c * s for c, s in zip(chunks, store.shards, strict=True)) if all(store.shards) else None
    array = group.create_array(
        "data_5d",
        shape=counts.shape,
        dtype=dtype,
        chunks=chunks,
        shards=shards,
        attributes=attributes,
        config={"write_empty_chunks": True},
    )
    array[...] = values


# The properties --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_test_atm_table(tmp_path_factory.mktemp("any") / "atm.asdf")


def calibrate(folder: Path, strategy: str, table: Path) -> CalibratedSession:
    """Calibrate ``session.zarr``; the product also where no scan could be calibrated."""
    steps = {
        "loads": {"forward_efficiency": 0.95, "image_gain": 1.0},
        "atmosphere": {"override_atm": str(table), "strategy": strategy},
    }
    steps["atmosphere"] |= {"pwv": 0.7} if strategy == "fixed" else {}
    settings = {"output_file": str(folder / "l1.zarr"), "steps": steps, "configure_log": False, "threads": 1}
    try:
        return CalibrationPipeline.call(str(folder / "session.zarr"), **settings)
    except RunFailedError as error:
        return error.product


def assert_calibrated(store: Store, product: CalibratedSession) -> None:
    """Check that T_A* is the input temperature through the efficiency and the transmission that the product tells."""
    for band, name in enumerate(store.bands_named):
        group = zarr.open_group(product.path / "scan_000002" / name, mode="r")
        mjd = group["mjd"][:]
        ons = np.flatnonzero(np.array(store.pattern) == "ON")
        time_of_on = MJD + 20.0 * SECOND * ons
        position = [int(np.argmin(np.abs(time_of_on - one))) for one in mjd]
        assert sorted(position) == list(range(len(ons)))
        expected = excess(store, band)[..., position]
        tau = np.asarray(group["tau_signal"][...])
        while tau.ndim < 4:
            tau = tau[..., None]
        transmission = np.exp(-tau[:, None] / np.sin(0.9))
        seen_as = group["spectra"][...] * 0.5 * 0.95 * transmission
        missing = np.zeros(expected.shape, bool)
        if store.missing is not None:
            missing[:, store.missing[0], ..., position.index(store.missing[1])] = True
        assert np.array_equal(np.isnan(seen_as), missing)
        assert np.array_equal(group["flags"][...] & 3 != 0, missing)
        # Half a count of ON and OFF; single precision of the temperatures, and of counts of type float32.
        step = 2000.0 if store.scaled else 1.0
        tolerance = 2.0 * step / 1.0e5 + (2e-4 if "32" in store.dtype + store.number else 0.0)
        np.testing.assert_allclose(seen_as[~missing], expected[~missing], rtol=1e-4, atol=tolerance)
        for array, spec in group.arrays():
            assert spec.metadata.dimension_names is not None, array


def assert_told(product: CalibratedSession, *words: str) -> None:
    """Check that the only scan failed with an error that this package raises, and with words in it."""
    (failure,) = product.failures
    known = {*cal_pipeline.errors.__all__} - {"InternalError"}
    assert failure["error_class"] in known, failure
    assert "scan_000002" in failure["message"] or "scan 2" in failure["message"], failure
    for word in words:
        assert word in failure["message"], failure


# What fails is small enough as it stands; to shrink it takes minutes.
COMMON: dict[str, Any] = {
    "derandomize": True,
    "deadline": None,
    "suppress_health_check": list(HealthCheck),
    "phases": (Phase.explicit, Phase.generate),
}
QUICK = settings(max_examples=6, **COMMON)
SLOW = settings(max_examples=30, **COMMON)


def check_any_store(store: Store, table: Path) -> None:
    """Calibrate a store that follows the format, and check the numbers."""
    with tempfile.TemporaryDirectory() as folder:
        write_store(store, Path(folder) / "session.zarr")
        product = calibrate(Path(folder), store.strategy, table)
        if store.loads == "none":
            assert product.numbers == []
            assert_told(product, "no hot and cold load found")
        elif store.all_missing:
            assert_told(product, "samples of T_A* is a number")
        else:
            assert product.failures == []
            assert product.numbers == [2]
            assert_calibrated(store, product)


@pytest.mark.slow
@QUICK
@given(store=stores())
def test_any_store_that_follows_the_format_is_calibrated_right(store, table):
    check_any_store(store, table)


@pytest.mark.slow
@SLOW
@given(store=stores())
def test_many_stores_that_follow_the_format_are_calibrated_right(store, table):
    check_any_store(store, table)


# Stores that do not follow the format ----------------------------------------------------------------------

ODD_VALUES: tuple[Any, ...] = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e-300, 1e300, 2.0**31, -(2.0**31), 1e5)
ODD_TYPES = ("int8", "uint8", "int16", "int64", "uint64", "float16", "float32", "float64", "bool", "complex64", "text")
ODD_ATTRIBUTES: tuple[dict[str, Any], ...] = (
    {"scale_factor": 0.0},
    {"scale_factor": "two"},
    {"add_offset": 1e300},
    {"_FillValue": 0},
    {"_FillValue": [1, 2]},
    {"units": 7},
    {"units": "parsec"},
)


@st.composite
def damages(draw: Any) -> tuple[str, Any]:
    """Draw what is done to an array: the name of the damage and its argument."""
    return draw(
        st.one_of(
            st.tuples(st.just("value"), st.sampled_from(ODD_VALUES)),
            st.tuples(st.just("all"), st.sampled_from(ODD_VALUES)),
            st.tuples(st.just("type"), st.sampled_from(ODD_TYPES)),
            st.tuples(st.just("shape"), st.lists(st.integers(0, 5), max_size=6).map(tuple)),
            st.tuples(st.just("attributes"), st.sampled_from(ODD_ATTRIBUTES)),
            st.tuples(st.just("texts"), st.lists(st.text(max_size=8), min_size=1, max_size=3)),
            st.tuples(st.just("absent"), st.none()),
            st.tuples(st.just("no chunk"), st.none()),
            st.tuples(st.just("bytes"), st.binary(max_size=40)),
            st.tuples(st.just("metadata"), st.binary(max_size=40)),
        )
    )


def damage(group: zarr.Group, path: Path, what: str, how: Any) -> None:
    """Damage an array of a group."""
    name = path.name
    array = group[name]
    assert isinstance(array, zarr.Array)
    values = np.asarray(array[...])
    if what in ("value", "all") and values.dtype.kind in "iuf":
        with np.errstate(all="ignore"):
            odd = np.array(how).astype(values.dtype)
        array[... if what == "all" else (0,) * values.ndim] = odd
    elif what in ("type", "shape", "texts"):
        texts = values.dtype.kind not in "iufb"
        if what == "type":
            with np.errstate(all="ignore"):
                values = (
                    values.astype(str) if how == "text" else (np.zeros(values.shape) if texts else values).astype(how)
                )
        elif what == "shape":
            values = np.resize(values.astype(str) if texts else values, how)
        else:
            values = np.resize(np.array(how), values.shape)
        shutil.rmtree(path)
        chunks = tuple(max(n, 1) for n in values.shape)
        dtype = str if values.dtype.kind == "U" else values.dtype
        made = group.create_array(name, shape=values.shape, dtype=dtype, chunks=chunks, fill_value=None)
        made[...] = values
    elif what == "attributes":
        array.attrs.update(how)
    elif what == "absent":
        shutil.rmtree(path)
    elif what == "metadata":
        (path / "zarr.json").write_bytes(how)
    else:
        for chunk in (item for item in sorted((path / "c").rglob("*")) if item.is_file()):
            chunk.write_bytes(how) if what == "bytes" else chunk.unlink()


def check_damaged_store(store: Store, data: Any, table: Path) -> None:
    """Calibrate a store with a damaged array: it fails by name, or gives a product that opens."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "session.zarr"
        write_store(store, path)
        inner = f"scan_000002/{store.bands_named[0]}".rstrip("/")
        groups = [f"{inner}/source", *([f"{inner}/calibration"] if store.loads == "own" else [])]
        group = data.draw(st.sampled_from(groups), "group")
        name = data.draw(
            st.sampled_from(sorted(item.name for item in (path / group).iterdir() if item.is_dir())), "array"
        )
        damage(zarr.open_group(path / group, mode="r+"), path / group / name, *data.draw(damages(), "damage"))
        product = calibrate(Path(folder), store.strategy, table)
        if product.failures:
            assert product.numbers == []
            assert_told(product)
        else:
            product.open_scan(2, **({"band": store.bands_named[0]} if store.bands else {})).load()


# An absurd number of seconds or kelvin may overflow where its verdict is formed.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@QUICK
@given(store=stores(), data=st.data())
def test_a_store_with_a_damaged_array_fails_by_name_or_gives_a_product(store, data, table):
    check_damaged_store(store, data, table)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@SLOW
@given(store=stores(), data=st.data())
def test_many_stores_with_a_damaged_array_fail_by_name_or_give_a_product(store, data, table):
    check_damaged_store(store, data, table)
