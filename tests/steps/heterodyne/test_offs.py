"""Spikes, saturated counts and noise of OFFs and loads, against what was put into simulated sessions."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr

from cal_pipeline import CalibrationPipeline
from cal_pipeline.heterodyne.figures import scan_quality
from cal_pipeline.heterodyne.tally import Tally
from cal_pipeline.simulate import Faults, NoisyChannels, Spur, TotalPower, preset, read_truth, simulate
from cal_pipeline.steps import LoadsStep, PrepareStep
from cal_pipeline.steps.heterodyne import offs

SEQUENCE = TotalPower(pattern=("OFF", "ON", "OFF"), cycles=2, dumps=12)
CHANNELS = 256


def make(path, sequence=SEQUENCE, name="ccat_chai", **settings):
    settings = {"channels": CHANNELS, "pixels": 3, "lines": (), "sequence": sequence} | settings
    simulate(preset(name, **settings), path)
    return str(path)


def prepare(session, **loads):
    """The only band of a session, with loads and OFFs."""
    return PrepareStep.call(LoadsStep.call(session, **loads)).bands[0]


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return make(tmp_path_factory.mktemp("clean") / "s.zarr")


@pytest.fixture(scope="module")
def spiky(tmp_path_factory):
    spikes = (
        Spur(20, 3000.0, width=5, kinds=("off",), dumps=(4,), subscan=2, receiver=1),
        Spur(200, 3000.0, width=1, kinds=("off",), dumps=(0, 11), subscan=0, receiver=0),
        Spur(100, 3000.0, width=7, kinds=("hot",), dumps=(1,), receiver=2),
        Spur(140, 3000.0, width=2, kinds=("cold",), dumps=(0,), receiver=2),
    )
    return make(tmp_path_factory.mktemp("spiky") / "s.zarr", faults=Faults(spurs=spikes))


class TestSpikes:
    def test_they_are_counted_by_pixel(self, spiky):
        band = prepare(spiky)
        assert band.pairing.off_spikes.ravel().tolist() == [2, 5, 0]
        assert band.loads.load_spikes.ravel().tolist() == [0, 0, 9]
        pixels = list(scan_quality(band, Tally())["pixels"].values())
        assert [(pixel["load_spikes"], pixel["off_spikes"]) for pixel in pixels] == [(0, 2), (0, 5), (9, 0)]

    def test_means_are_those_of_the_other_dumps(self, clean, spiky):
        band, expected = prepare(spiky), prepare(clean)
        counts = zarr.open_array(clean, path="scan_000001/source/data_5d")[...].astype(float)
        counts[20:25, 4, 1, 0, 2] = counts[200, [0, 11], 0, 0, 0] = np.nan
        off = band.pairing.off
        np.testing.assert_allclose(band.pairing.off_mean, np.nanmean(counts, axis=1)[..., off], rtol=1e-13)
        np.testing.assert_array_equal(band.pairing.off_dumps, np.isfinite(counts).sum(axis=1)[..., off])
        lost = expected.loads.means.hot_time - band.loads.means.hot_time
        seconds = zarr.open_array(clean, path="scan_000001/calibration/exptime")[...].max()
        assert np.argwhere(lost).tolist() == [[c, 2, 0] for c in range(100, 107)]
        np.testing.assert_allclose(lost[100:107, 2, 0], seconds, rtol=1e-6)
        np.testing.assert_allclose(band.loads.means.hot, expected.loads.means.hot, rtol=2e-3)

    def test_zero_takes_them_for_signal(self, spiky):
        band = prepare(spiky, clip_sigma=0.0)
        assert (band.pairing.off_spikes, band.loads.load_spikes) == (None, None)
        assert (band.pairing.off_dumps == 12).all()
        pixels = scan_quality(band, Tally())["pixels"].values()
        assert {(pixel["load_spikes"], pixel["off_spikes"]) for pixel in pixels} == {(None, None)}

    @pytest.mark.slow
    def test_a_lower_limit_reaches_the_offs(self, clean):
        some, more = (prepare(clean, clip_sigma=limit).pairing.off_spikes.sum() for limit in (3.0, 2.0))
        assert more > some > 0

    def test_without_loads_the_default_applies(self, spiky):
        pairing = PrepareStep.call(spiky).bands[0].pairing
        assert pairing.off_spikes.sum() == 7
        assert pairing.dump_radiometer is None
        assert pairing.noisy is None

    def test_clean_sessions_have_none(self, clean):
        band = prepare(clean)
        assert not band.pairing.off_spikes.any()
        assert not band.loads.load_spikes.any()


class TestSaturation:
    def test_counts_at_the_limit_of_the_profile_are_missing(self, clean, tmp_path):
        counts = zarr.open_array(clean, path="scan_000001/calibration/data_5d")[...]
        limit = float(np.median(counts.max(axis=(1, 2, 3, 4))))  # reached on the hot load in half of the channels
        profile = tmp_path / "mine.toml"
        profile.write_text(
            f'name = "X"\naliases = ["X"]\nfrequency_range_hz = [1e9, 1e13]\nsaturation_counts = {limit}\n'
        )
        band = prepare(clean, override_telescope=str(profile))
        assert band.loads.saturation_counts == limit
        phases = [phase.upper() for phase in zarr.open_array(clean, path="scan_000001/calibration/sobsmode")[...]]
        of_hot = counts[..., [phase == "HOT" for phase in phases]]
        lost = (of_hot >= limit).all(axis=(1, 4))
        assert lost.any()
        np.testing.assert_array_equal(np.isnan(band.loads.means.hot), lost)
        source = zarr.open_array(clean, path="scan_000001/source/data_5d")[...]
        dumps = (source < limit).sum(axis=1)[..., band.pairing.off]
        np.testing.assert_array_equal(band.pairing.off_dumps, dumps)

    @pytest.mark.slow
    def test_a_saturated_sample_is_flagged_and_no_number(self, tmp_path):
        session = make(tmp_path / "s.zarr")
        counts = zarr.open_array(session, path="scan_000001/source/data_5d")
        on = int(np.flatnonzero(zarr.open_array(session, path="scan_000001/source/sobsmode")[...] == "ON")[0])
        counts[30, 3, 1, 0, on] = 2**31 - 1
        scan = CalibrationPipeline.call(session, output_file=str(tmp_path / "l1.zarr")).open_scan(1)
        flagged = np.argwhere(scan.flags.values == 2).tolist()
        assert flagged == [[30, 3, 1, 0, 0]]
        assert np.isnan(scan.spectra.values[30, 3, 1, 0, 0])


class TestNoise:
    def test_a_clean_session_is_as_noisy_as_the_radiometer_equation(self, clean):
        band = prepare(clean)
        of_pixels = np.median(band.pairing.dump_radiometer, axis=0)
        np.testing.assert_allclose(of_pixels, 1.0, atol=0.05)
        assert not band.pairing.noisy.any()
        quality = scan_quality(band, Tally())
        figures = [pixel["dump_radiometer"] for pixel in quality["pixels"].values()]
        np.testing.assert_allclose(figures, of_pixels.ravel())
        assert "dump_radiometer" in quality["checks"]
        assert "dump_radiometer" not in [item["name"] for item in quality["verdicts"]]

    @pytest.mark.slow
    def test_noisy_channels_are_found(self, tmp_path):
        faults = Faults(noisy=(NoisyChannels(5.0, fraction=0.05),))
        session = make(tmp_path / "s.zarr", faults=faults)
        noisy = prepare(session).pairing.noisy
        truth = read_truth(session, 1).noise_factor > 1.0
        assert truth.any()
        np.testing.assert_array_equal(noisy, truth)

    @pytest.mark.slow
    def test_noise_everywhere_shows_in_the_figure_alone(self, tmp_path):
        session = make(tmp_path / "s.zarr", faults=Faults(noisy=(NoisyChannels(1.3),)))
        band = prepare(session)
        assert not band.pairing.noisy.any()
        quality = scan_quality(band, Tally())
        assert quality["dump_radiometer_median"] == pytest.approx(1.69, rel=0.06)
        verdicts = {item["name"]: item["verdict"] for item in quality["verdicts"]}
        assert verdicts["dump_radiometer"] == "questionable"

    @pytest.mark.slow
    def test_of_chopped_offs_it_is_unknown(self, tmp_path):
        simulate(preset("ccat_chai", channels=32, pixels=1, mode="otf_chopped"), tmp_path / "s.zarr")
        band = prepare(str(tmp_path / "s.zarr"))
        assert (band.pairing.off_spikes, band.pairing.dump_radiometer, band.pairing.noisy) == (None, None, None)
        assert [pixel["dump_radiometer"] for pixel in scan_quality(band, Tally())["pixels"].values()] == [None]

    @pytest.mark.slow
    def test_one_dump_has_no_difference(self, tmp_path):
        session = make(tmp_path / "s.zarr", sequence=replace(SEQUENCE, dumps=1))
        assert prepare(session).pairing.dump_radiometer is None


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [(CHANNELS, 12, 3, 1, 1), (7, 5, 2, 1, 1), (64, 12, 3, 1, 4)])
@pytest.mark.parametrize("few", [0, 2**22])
def test_chunks_and_threads_do_not_matter(tmp_path, spiky, chunks, few, monkeypatch):
    expected = prepare(spiky).pairing
    source = zarr.open_array(spiky, path="scan_000001/source/data_5d")
    store = tmp_path / "s.zarr"
    shutil.copytree(spiky, store)
    attributes = dict(source.attrs)
    array = zarr.open_group(store)["scan_000001/source"].create_array(
        "data_5d", data=source[...], chunks=chunks, overwrite=True, dimension_names=source.metadata.dimension_names
    )
    array.attrs.update(attributes)
    monkeypatch.setattr(offs, "FEW_SAMPLES_OF_OFF", few)
    found = prepare(str(store)).pairing
    for name in ("off_mean", "off_dumps", "off_spikes", "dump_radiometer", "noisy"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


def test_of_long_offs_the_first_dumps_tell_the_noise(clean, monkeypatch):
    whole = prepare(clean).pairing
    monkeypatch.setattr(offs, "MOST_HELD_SAMPLES", 0)
    monkeypatch.setattr(offs, "FEWEST_HELD_DUMPS", 6)
    part = prepare(clean).pairing
    np.testing.assert_array_equal(part.off_mean, whole.off_mean)
    assert np.mean(part.dump_radiometer) == pytest.approx(1.0, abs=0.05)
    assert part.dump_radiometer.std() / whole.dump_radiometer.std() == pytest.approx(np.sqrt(11 / 5), rel=0.1)
