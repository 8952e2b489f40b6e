"""Scans are written with all that their steps have made, however L0 is stored."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import zarr
from helpers_l0 import FILL, loads_counts, write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.core.run.stream import Operation
from cal_pipeline.core.store.local_path import LocalStorePath
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.schema import L1_ARRAYS, Described
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import AtmosphereStep, CalibrateStep, LoadsStep, PrepareStep
from cal_pipeline.steps.heterodyne.base import CalibrationStep
from cal_pipeline.steps.heterodyne.block import SpectrumBlock
from cal_pipeline.steps.heterodyne.writing import write_scan as stream_scan

GAIN = 1e5 * (1.0 + 0.05 * np.arange(14.0)).reshape(7, 2, 1)


def source_counts():
    counts = loads_counts(GAIN, 90.0, [100.0, 110.0, 120.0, 101.0], dumps=3)
    counts[:, 1, 0, 0, 2] = FILL
    return counts


STEPS = tuple(CalibrationPipeline.step_defs.values())


@pytest.fixture
def stream(tmp_path, atm_table):
    def run(name, chunks=None, dtype=np.int32, shards=None, skip_calibrate=False, steps=STEPS, mark=lambda band: None):
        store = tmp_path / f"{name}.zarr"
        write_scan(store, 1, gain=GAIN, source={"counts": source_counts()})
        if chunks:
            values = source_counts().astype(dtype)
            if np.dtype(dtype).kind == "f":
                values[values == FILL] = np.nan
            group = zarr.open_group(store, path="scan_000001/source", mode="r+")
            options = {"chunks": chunks, "shards": shards, "fill_value": FILL if values.dtype.kind == "i" else np.nan}
            array = group.create_array("data_5d", shape=values.shape, dtype=dtype, overwrite=True, **options)
            array[...] = values
        scan = Session(store).open_scan(1)
        passed = [LoadsStep(), PrepareStep(), AtmosphereStep(override_atm=str(atm_table)), CalibrateStep()]
        for step in passed[:-1] if skip_calibrate else passed:
            scan = step.run(scan)
        for band in scan.bands:
            mark(band)
        written = stream_scan(scan, LocalStorePath(tmp_path / name), {"engine_version": "x"}, steps)
        return zarr.open_group(tmp_path / name, mode="r"), [band.tally for band in written]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunks", "dtype", "shards"),
    [
        ((7, 3, 2, 1, 1), np.int32, None),
        ((2, 1, 1, 1, 3), np.int32, None),
        ((3, 2, 2, 1, 4), np.int64, None),
        ((1, 3, 1, 1, 2), np.float32, None),
        ((7, 3, 2, 1, 4), np.float64, None),
        ((2, 3, 1, 1, 1), np.int32, (4, 3, 2, 1, 2)),
    ],
)
def test_chunks_and_types_of_l0_leave_no_trace(stream, chunks, dtype, shards):
    plain, _ = stream("plain")
    other, _ = stream("other", chunks, dtype, shards)
    assert {"spectra", "flags", "sigma"} < set(plain.array_keys()) == set(other.array_keys())
    for name in plain.array_keys():
        tolerance = 1e-6 if dtype == np.float32 else 0.0
        one, two = plain[name][...], other[name][...]
        if one.dtype.kind == "f":
            np.testing.assert_allclose(two, one, rtol=tolerance, atol=30 * tolerance, err_msg=name)
        else:
            assert one.tolist() == two.tolist()


@pytest.mark.slow
def test_lines_come_out_and_missing_dumps_stay_where_they_are(stream):
    group, (tally,) = stream("l1")
    spectra, flags = group["spectra"][...], group["flags"][...]
    missing = np.zeros(spectra.shape, bool)
    missing[:, 1, 0, 0, 1] = True
    np.testing.assert_array_equal(np.isnan(spectra), missing)
    np.testing.assert_array_equal(flags, np.where(missing, 2, 0))
    assert tally.flagged[""].tolist() == tally.flagged["FILL_VALUE"].tolist() == missing.sum(axis=(0, 1, 4)).tolist()
    assert tally.n_samples * 2 == missing.size
    np.testing.assert_array_equal(tally.probe, spectra[:, 1].astype(np.float32))
    assert group["t_int"][...].tolist() == [6.0, 6.0]
    ratio = np.nanmean(spectra[..., 1]) / np.nanmean(spectra[..., 0])
    assert ratio == pytest.approx((120 - 100 - 2 / 3) / (110 - 100 - 1 / 3), rel=1e-6)


@pytest.mark.slow
def test_without_calibration_there_is_all_but_spectra(stream):
    group, (tally,) = stream("l1", skip_calibrate=True)
    names = set(group.array_keys())
    assert not names & {"spectra", "flags", "t_sys", "sigma", "t_int"}
    assert {"gamma", "pwv", "tau_signal", "mjd"} <= names
    assert tally.n_samples == 0


def test_attributes_are_strict_json(stream, tmp_path):
    stream("l1")

    def refuse(text):
        raise AssertionError(text)

    metadata = json.loads((tmp_path / "l1" / "zarr.json").read_text(), parse_constant=refuse)
    assert "consolidated_metadata" not in metadata or metadata["consolidated_metadata"] is None
    assert metadata["attributes"]["provenance"]["l0_group"] == "scan_000001"


class DoublingStep(CalibrationStep):
    """A step with an array of its own and some work on samples."""

    @staticmethod
    def operation(band):
        return DoubleKelvin()

    @staticmethod
    def l1_arrays(band):
        return {"zenith_angle": lambda: np.pi / 2 - band.coordinates.elevation[band.require_pairing().on]}


class DoubleKelvin(Operation[SpectrumBlock]):
    def apply(self, block):
        block.dumps = [dumps._replace(kelvin=2.0 * dumps.kelvin) for dumps in block.dumps]

    def conclude(self):
        return {}


@pytest.mark.slow
def test_a_new_step_brings_its_array_and_its_work_on_samples(stream, monkeypatch):
    plain, _ = stream("plain")
    monkeypatch.setitem(L1_ARRAYS, "zenith_angle", replace(L1_ARRAYS["elevation"], long_name="zenith angle"))
    other, _ = stream("other", steps=(*STEPS, DoublingStep))
    np.testing.assert_array_equal(other["spectra"][...], 2.0 * plain["spectra"][...])
    np.testing.assert_allclose(other["zenith_angle"][...], np.pi / 2 - plain["elevation"][...])
    assert other["zenith_angle"].attrs["long_name"] == "zenith angle"
    assert set(other.array_keys()) - set(plain.array_keys()) == {"zenith_angle"}


class ErrorStep(CalibrationStep):
    """A step whose array has attributes that only the step knows."""

    @staticmethod
    def l1_arrays(band):
        terms = np.ones((3, *band.coordinates.pixel.shape))
        return {"scale_error_terms": Described(terms, {"terms": ["load", "sky", "beam"], "units": "1"})}


def test_a_step_gives_attributes_of_an_array(stream):
    group, _ = stream("l1", steps=(*STEPS, ErrorStep))
    array = group["scale_error_terms"]
    assert array.dtype == np.float32
    assert array.metadata.dimension_names == ("term", "receiver", "array")
    assert array.attrs["terms"] == ["load", "sky", "beam"]
    assert array.attrs["units"] == "1"
    assert array.attrs["coordinates"] == "pixel"


def marked(band, outlier, noisy):
    """Channels of a band that later checks object to."""
    band.atmosphere = replace(band.atmosphere, outlier=outlier)
    band.pairing = replace(band.pairing, noisy=noisy)


class TestFlagsOfChannels:
    """They are in every dump, and take no value away."""

    @pytest.fixture
    def masks(self):
        outlier, noisy = np.zeros((2, 7, 2, 1), bool)
        outlier[3, 0] = outlier[4, 0] = True
        noisy[4] = True
        return outlier, noisy

    @pytest.mark.slow
    def test_are_added_to_those_of_samples(self, stream, masks):
        outlier, noisy = masks
        plain, (before,) = stream("plain")
        group, (tally,) = stream("l1", mark=lambda band: marked(band, outlier, noisy))
        added = 256 * outlier.astype(int) + 512 * noisy.astype(int)
        np.testing.assert_array_equal(
            group["flags"][...], plain["flags"][...] | added.astype(np.uint16)[:, None, ..., None]
        )
        np.testing.assert_array_equal(group["spectra"][...], plain["spectra"][...])
        np.testing.assert_array_equal(group["t_int"][...], plain["t_int"][...])
        flags = group["flags"][...]
        for name, counted in tally.flagged.items():
            of_flag = flags & Flag[name] if name else flags
            assert counted.tolist() == np.count_nonzero(of_flag, axis=(0, 1, 4)).tolist(), name
        blank = np.isnan(group["spectra"][...]).sum(axis=(0, 1, 4))
        assert tally.n_blank.tolist() == before.n_blank.tolist() == blank.tolist()

    def test_are_not_counted_where_there_are_none(self, stream, masks):
        nothing = np.zeros_like(masks[0])
        _, (tally,) = stream("l1", mark=lambda band: marked(band, nothing, None))
        assert set(tally.flagged) == {"", "BAD_CHANNEL", "FILL_VALUE"}

    def test_in_every_channel_leave_a_scan(self, stream, masks):
        everywhere = np.ones_like(masks[0])
        group, (tally,) = stream("l1", mark=lambda band: marked(band, ~everywhere, everywhere))
        assert (group["flags"][...] & 512 == 512).all()
        assert tally.flagged[""].tolist() == (np.ones((2, 1), int) * tally.n_samples).tolist()
        assert np.isfinite(group["spectra"][...]).any()

    @pytest.mark.slow
    def test_are_the_same_where_no_sample_is_missing(self, stream, masks):
        # Chunks of one subscan: the first ON lacks no dump, the second does.
        outlier, noisy = masks
        group, _ = stream("l1", (3, 3, 2, 1, 1), mark=lambda band: marked(band, outlier, noisy))
        flags = group["flags"][...]
        np.testing.assert_array_equal(flags[..., 0], np.broadcast_to(flags[:, :1, ..., 0], flags[..., 0].shape))
        np.testing.assert_array_equal(flags[..., 0], flags[..., 1] & ~np.uint16(2))
        assert (flags[..., 1] & 2).any()
