"""Steps of the camera: simulated statistics in, true coefficients out."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.camera import COEFFICIENTS, FLATFIELD, KINDS, LAYOUT, PEAK_TIME, STATISTICS
from cal_pipeline.cherenkov.errors import ConfigurationError, CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import has_table, read_attributes, read_table, write_tables
from cal_pipeline.cherenkov.simulate.camera import TRUTH
from cal_pipeline.cli.calibpipe import run_tool
from cal_pipeline.core.errors import NoInputError, OutputExistsError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.steps.cherenkov import CameraCoefficientsStep, CameraTestDataStep

pytestmark = pytest.mark.cherenkov

COMMAND, DATA_COMMAND = "calibpipe-calculate-camcalib-coefficients", "calibpipe-produce-camcalib-test-data"
NODE = f"{COEFFICIENTS}/tel_001"

PUBLISHED = """
CameraCalibratorTool:
  input_url: camera_sims_single_chunk.h5
  timestamp_tolerance: 1.0 second
  faulty_pixels_fraction: 0.1
  squared_excess_noise_factor: 1.222
  window_width: 12
  measured_gain_channel:
    - ["type", "*", 0]
  gain_channel_extrapolator_type:
    - ["type", "*", null]
    - ["type", "LST*", "LSTGainChannelExtrapolator"]
"""


def make_data(folder: Path, mode: str = "sims_single_chunk", **options: object) -> Path:
    options = {"n_pixels": 120, "n_events": 500, "seed": 3} | options
    (path,) = CameraTestDataStep.call(str(folder), prefix="camera", aggregation_modes=mode, **options)
    return Path(path)


def change(path: Path, **columns: object) -> Path:
    """Replace columns in the statistics of all kinds; a callable makes the new values of the old."""
    for kind in KINDS:
        node = f"{STATISTICS}/{kind}/tel_001"
        table = read_table(path, node)
        for name, value in columns.items():
            table[name] = value(table[name]) if callable(value) else value
        write_tables(path, {node: table}, "t", {}, overwrite=True)
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_data(tmp_path)


@pytest.fixture
def selected(data: Path) -> Path:
    """Gain-selected data: those of the first channel, without an axis of channels."""
    return change(data, median=lambda values: values[:, 0], std=lambda values: values[:, 0])


class TestTruth:
    @pytest.mark.parametrize(
        ("mode", "rows", "edges"),
        [
            ("sims_single_chunk", 1, [0, 300]),
            ("obslike_same_chunks", 3, [0, 100, 200, 300]),
            ("obslike_different_chunks", 3, [0.1, 100, 200, 300]),
        ],
    )
    def test_is_found_again(self, tmp_path: Path, mode: str, rows: int, edges: list[float]) -> None:
        path = make_data(tmp_path, mode, n_pixels=400, n_events=1000, broken_pixels=0.03)
        table = CameraCoefficientsStep.call(str(path))[1]
        (truth,) = read_table(path, TRUTH)
        assert len(table) == rows
        start, end = ((table[name].mjd - 60135) * 86400 for name in ("time", "time_end"))
        np.testing.assert_allclose([*start, end[-1]], edges, atol=1e-3)
        np.testing.assert_array_equal(start[1:], end[:-1])
        assert (table["outlier_mask"] == truth["broken"]).all()
        assert table["is_valid"].all()
        good, events = ~truth["broken"], 1000
        # Expected errors: of medians of charges, and of times; the medians take 0.3 % off the signal.
        truth_factor = np.median(truth["n_pe"][good]) / (truth["gain"] * truth["n_pe"])
        noise = np.sqrt(np.array([900, 64]) + 1.222 * 80 * np.array([15, 1]) ** 2) / (80 * np.array([15, 1]))
        error = np.sqrt(np.pi / 2 / events) * np.hypot(noise, [30 / 1200, 8 / 80])
        # The median number of photoelectrons of the camera; each is a ratio of variances of 1000 events.
        camera_error = np.sqrt(np.pi / 2 * 1.4 * 2 / events / good.sum())
        pull = (table["factor"] / truth_factor - 1)[..., good] / error[None, :, None]
        np.testing.assert_allclose(pull.std(axis=-1), 1, atol=0.2)
        np.testing.assert_allclose((pull * error[None, :, None]).mean(axis=-1), -0.003, atol=4 * camera_error)
        pull = (table["time_shift"] - truth["time_shift"])[..., good] / (0.3 * np.sqrt(np.pi / 2 / events))
        np.testing.assert_allclose(pull.std(axis=-1), 1, atol=0.2)
        offset = (table["pedestal_offset"] - truth["pedestal"])[..., good] * 12 / np.array([[30.0], [8.0]])
        np.testing.assert_allclose(offset.std(axis=-1) / np.sqrt(np.pi / 2 / events), 1, atol=0.2)

    def test_product_in_the_file(self, data: Path) -> None:
        table = CameraCoefficientsStep.call(str(data))[1]
        written = read_table(data, NODE)
        assert written.colnames == [
            "time",
            "time_end",
            "factor",
            "pedestal_offset",
            "time_shift",
            "outlier_mask",
            "extrapolated_channel_mask",
            "is_valid",
        ]
        for name in written.colnames[2:]:
            np.testing.assert_array_equal(written[name], table[name])
        assert written["factor"].shape == (1, 2, 120)
        assert written["outlier_mask"].dtype == bool
        assert has_table(data, TRUTH)
        provenance = json.loads(read_attributes(data)[f"provenance_{COMMAND}"])
        assert provenance["parameters"]["window_width"] == 12
        assert provenance["inputs"][0]["name"] == str(data)

    def test_parameters_matter(self, data: Path) -> None:
        plain = CameraCoefficientsStep.call(str(data))[1]
        other = CameraCoefficientsStep.call(
            str(data), overwrite=True, window_width=6, squared_excess_noise_factor=1.5, faulty_pixels_fraction=0.001
        )[1]
        np.testing.assert_allclose(other["pedestal_offset"], 2 * plain["pedestal_offset"])
        np.testing.assert_allclose(other["factor"], 1.5 / 1.222 * plain["factor"])
        assert not other["is_valid"].any()


class TestGainSelected:
    def test_type_of_the_layout(self, selected: Path) -> None:
        table = CameraCoefficientsStep.call(str(selected))[1]
        assert table["factor"].shape == (1, 2, 120)
        np.testing.assert_array_equal(table["factor"][:, 0], table["factor"][:, 1])
        assert table["extrapolated_channel_mask"][:, 1].all()
        assert not table["pedestal_offset"][:, 1].any()

    def test_low_gain(self, selected: Path) -> None:
        table = CameraCoefficientsStep.call(str(selected), measured_gain_channel="LST:1")[1]
        assert table["extrapolated_channel_mask"][:, 0].all()
        assert table.meta["MEASURED_GAIN_CHANNELS"] == "1"

    def test_other_type(self, selected: Path) -> None:
        write_tables(selected, {LAYOUT: Table({"tel_id": [1], "type": ["MST"]})}, "t", {}, overwrite=True)
        with pytest.raises(ConfigurationError, match="telescope 1 of MST has gain-selected data") as caught:
            CameraCoefficientsStep.call(str(selected))
        assert caught.value.exit_status == 101
        assert not has_table(selected, NODE)
        rule = {"MST": "LSTGainChannelExtrapolator"}
        table = CameraCoefficientsStep.call(str(selected), gain_channel_extrapolator_type=rule)[1]
        assert table["factor"].shape == (1, 2, 120)

    def test_without_layout(self, selected: Path, tmp_path: Path) -> None:
        path = tmp_path / "no_layout.h5"
        nodes = [f"{STATISTICS}/{kind}/tel_001" for kind in KINDS]
        write_tables(path, {node: read_table(selected, node) for node in nodes}, "t", {})
        with pytest.raises(ConfigurationError, match=r"unknown type .* no layout .* number: 1:"):
            CameraCoefficientsStep.call(str(path))
        table = CameraCoefficientsStep.call(str(path), gain_channel_extrapolator_type="1:LSTGainChannelExtrapolator")[1]
        assert table["factor"].shape == (1, 2, 120)

    def test_camera_with_one_channel(self, selected: Path) -> None:
        table = CameraCoefficientsStep.call(str(selected), n_channels="1")[1]
        assert table["factor"].shape == (1, 1, 120)
        assert not table["extrapolated_channel_mask"].any()

    def test_axis_of_one_channel(self, tmp_path: Path) -> None:
        path = str(make_data(tmp_path, n_channels=1))
        assert CameraCoefficientsStep.call(path)[1]["factor"].shape == (1, 1, 120)
        again = CameraCoefficientsStep.call(path, n_channels={"LST": 2}, overwrite=True)[1]
        assert again["factor"].shape == (1, 2, 120)


class TestOutliers:
    def test_pixels_with_unusual_numbers(self, data: Path) -> None:
        node = f"{STATISTICS}/{FLATFIELD}/tel_001"
        table = read_table(data, node)
        (pixel, *_) = np.flatnonzero(~read_table(data, TRUTH)["broken"][0])
        table["std"][0, 0, pixel] *= 0.5
        write_tables(data, {node: table}, "t", {}, overwrite=True)
        plain = CameraCoefficientsStep.call(str(data))[1]
        masked = CameraCoefficientsStep.call(str(data), npe_std_outlier_detector=True, n_events=500, overwrite=True)[1]
        new = masked["outlier_mask"] & ~plain["outlier_mask"]
        assert np.argwhere(new).tolist() == [[0, 0, pixel]]

    def test_systematic_noise(self, data: Path, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "b.h5", "w") as file:
            file["B_term"] = [0.02, 0.0]
        plain = CameraCoefficientsStep.call(str(data))[1]["factor"]
        corrected = CameraCoefficientsStep.call(
            str(data), overwrite=True, systematic_correction_path=str(tmp_path / "b.h5")
        )[1]["factor"]
        np.testing.assert_array_equal(corrected[:, 1], plain[:, 1])
        # Var(S)/S² = F²/n + B²: n rises by n B²/F².
        assert np.nanmedian(corrected[:, 0] / plain[:, 0]) == pytest.approx(1 + 80 * 0.02**2 / 1.222, abs=0.006)
        with pytest.raises(MissingInputError, match="systematic_correction_path"):
            CameraCoefficientsStep.call(str(data), overwrite=True, systematic_correction_path="none.h5")

    def test_invalid_interval_is_written_with_a_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        path = make_data(tmp_path, broken_pixels=0.2)
        with caplog.at_level(logging.WARNING):
            table = CameraCoefficientsStep.call(str(path))[1]
        assert not table["is_valid"].any()
        assert "1 of 1 intervals are not valid" in caplog.text


class TestFailures:
    def test_existing_coefficients(self, data: Path) -> None:
        CameraCoefficientsStep.call(str(data))
        before = data.read_bytes()
        with pytest.raises(OutputExistsError) as caught:
            CameraCoefficientsStep.call(str(data))
        assert caught.value.exit_status == 102
        assert data.read_bytes() == before

    def test_no_common_time(self, data: Path) -> None:
        node = f"{STATISTICS}/{PEAK_TIME}/tel_001"
        table = read_table(data, node)
        table["time_start"] += 1
        table["time_end"] += 1
        write_tables(data, {node: table}, "t", {}, overwrite=True)
        with pytest.raises(MissingInputError, match="no telescope has pedestals, flat fields and pulse times"):
            CameraCoefficientsStep.call(str(data))

    def test_one_telescope_lacks_a_table(self, data: Path, caplog: pytest.LogCaptureFixture) -> None:
        table = read_table(data, f"{STATISTICS}/{FLATFIELD}/tel_001")
        write_tables(data, {f"{STATISTICS}/{FLATFIELD}/tel_002": table}, "t", {})
        with caplog.at_level(logging.WARNING):
            step = CameraCoefficientsStep()
            products = step.run(str(data))
        assert list(products) == [1]
        assert "telescope 2 has no table of sky_pedestal_image, flatfield_peak_time" in caplog.text
        assert step.exit_status == 106

    def test_more_channels_than_the_camera_has(self, data: Path) -> None:
        with pytest.raises(CorruptedInputError, match="has data of 2 channels; expected 1"):
            CameraCoefficientsStep.call(str(data), n_channels=1)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n_channels", 3),
            ("measured_gain_channel", "LST:2"),
            ("measured_gain_channel", "high"),
            ("gain_channel_extrapolator_type", "LST:Other"),
            ("timestamp_tolerance", "1 m"),
            ("timestamp_tolerance", -1),
            ("std_range_factors", [5, -5]),
            ("linear_noise_coeff", [1, 2, 3]),
            ("squared_excess_noise_factor", 0.5),
            ("window_width", 0),
        ],
    )
    def test_bad_parameters(self, data: Path, name: str, value: object) -> None:
        with pytest.raises((ConfigurationError, ParameterError), match=name if name != "timestamp_tolerance" else "1"):
            CameraCoefficientsStep.call(str(data), **{name: value})

    def test_no_input(self) -> None:
        with pytest.raises(NoInputError, match=r"strun camera_coefficients monitoring.h5"):
            CameraCoefficientsStep.call()
        with pytest.raises(MissingInputError):
            CameraCoefficientsStep.call("none.h5")


class TestCommand:
    def test_published_configuration(self, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "c.yaml").write_text(PUBLISHED)
        assert run_tool(COMMAND, ["-c", "c.yaml"]) == 0
        first = read_table(data, NODE)
        assert run_tool(COMMAND, ["-c", "c.yaml"]) == 102
        (tmp_path / "d.yaml").write_text("NpeStdOutlierDetector: {n_events: 500, std_range_factors: [-1, 1]}\n")
        assert run_tool(COMMAND, ["-c", "c.yaml", "-c", "d.yaml", "--CameraCalibratorTool.overwrite=true"]) == 0
        assert read_table(data, NODE)["outlier_mask"].sum() > first["outlier_mask"].sum()
        assert run_tool(COMMAND, ["-c", "c.yaml", "--CameraCalibratorTool.window_with=3"]) == 101
        assert run_tool(COMMAND, ["-c", "c.yaml", "--CameraCalibratorTool.input_url=none.h5"]) == 105
        data.write_bytes(data.read_bytes()[:4000])
        assert run_tool(COMMAND, ["-c", "c.yaml", "--CameraCalibratorTool.overwrite=true"]) == 104

    def test_gain_selected_data(self, selected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "c.yaml").write_text(PUBLISHED)
        assert run_tool(COMMAND, ["-c", "c.yaml"]) == 0
        assert read_table(selected, NODE)["extrapolated_channel_mask"][:, 1].all()
        write_tables(selected, {LAYOUT: Table({"tel_id": [1], "type": ["MST"]})}, "t", {}, overwrite=True)
        assert run_tool(COMMAND, ["-c", "c.yaml", "--CameraCalibratorTool.overwrite=true"]) == 101

    def test_data(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "c.yaml").write_text(
            "CamCalibTestDataTool:\n  output_dir: data\n  prefix: x\n  n_pixels: 10\n  n_events: 20\n"
            "  aggregation_modes: [obslike_same_chunks]\n  n_chunks: 2\n"
        )
        assert run_tool(DATA_COMMAND, ["-c", "c.yaml"]) == 0
        assert [path.name for path in (tmp_path / "data").iterdir()] == ["x_obslike_same_chunks.h5"]
        table = read_table(tmp_path / "data/x_obslike_same_chunks.h5", f"{STATISTICS}/{FLATFIELD}/tel_001")
        assert table["median"].shape == (2, 2, 10)
        assert run_tool(DATA_COMMAND, ["-c", "c.yaml"]) == 102
        assert run_tool(DATA_COMMAND, ["-c", "c.yaml", "--CamCalibTestDataTool.overwrite=true"]) == 0
        assert run_tool(DATA_COMMAND, ["-c", "c.yaml", "--CamCalibTestDataTool.aggregation_modes=[x]"]) == 101
        assert run_tool(DATA_COMMAND, ["-c", "c.yaml", "--CamCalibTestDataTool.gain=[15.0]"]) == 101
