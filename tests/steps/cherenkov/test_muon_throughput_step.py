"""Optical throughput of simulated and of real muon rings."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

from cal_pipeline.cherenkov.errors import ConfigurationError, MissingInputError, TooFewEventsError
from cal_pipeline.cherenkov.hdf5 import read_attributes, read_table
from cal_pipeline.cherenkov.muons import THROUGHPUT
from cal_pipeline.cherenkov.simulate.muons import simulate_muons
from cal_pipeline.cli.calibpipe import run_tool
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.steps.cherenkov import MuonThroughputStep

pytestmark = pytest.mark.cherenkov

COMMAND = "calibpipe-calculate-throughput-muon"
NODE = f"{THROUGHPUT}/tel_001"

PUBLISHED = """
CalculateThroughputWithMuons:
    aggregator_type: "SigmaClippingAggregator"

SigmaClippingAggregator:
    chunking_type: SizeChunking
    max_sigma: 3
    iterations: 5

SizeChunking:
    chunk_size: 500
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return simulate_muons(tmp_path / "m.h5", {1: 0.2, 2: 0.25}, n_rings=330, seed=4)


@pytest.fixture
def real(shared: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "real.h5"
    shutil.copyfile(shared / "lst_muons.dl1.h5", copy)
    return copy


class TestTruth:
    def test_two_telescopes_with_equal_event_numbers(self, path: Path) -> None:
        products = MuonThroughputStep.call(str(path), chunk_size=100)
        for tel_id, truth in ((1, 0.2), (2, 0.25)):
            table = products[tel_id]
            assert len(table) == 3
            pull = (table["mean"] - truth) / table["sem"]
            assert abs(pull).max() < 4
            np.testing.assert_allclose(table["sem"], 0.015 / np.sqrt([100, 100, 130]), rtol=0.25)
            seconds = (table["time_start"].mjd - 60135) * 86400 - 1000 * tel_id
            assert seconds.min() > -1e-3
            assert ((table["time_end"].mjd - 60135) * 86400 - 1000 * tel_id).max() < 3600.001
            assert (table["time_start"][1:] > table["time_end"][:-1]).all()
            assert set(table["obs_id"]) == {7}
            assert set(table["method"]) == {"Muon Rings"}

    def test_product_in_the_file(self, path: Path) -> None:
        table = MuonThroughputStep.call(str(path), chunk_size=100)[1]
        written = read_table(path, NODE)
        assert set(written.colnames) == {
            *("mean", "median", "std", "sem", "n_events", "time_start", "time_end", "obs_id", "method")
        }
        np.testing.assert_array_equal(written["mean"], table["mean"])
        np.testing.assert_array_equal(written["time_start"], table["time_start"].tai.mjd)
        provenance = json.loads(read_attributes(path)[f"provenance_{COMMAND}"])
        assert provenance["parameters"]["chunk_size"] == 100

    @pytest.mark.parametrize(
        ("policy", "sizes"),
        [
            ("merge", [100, 100, 130]),
            ("overlap", [100] * 4),
            ("truncate", [100, 100, 100, 30]),
            ("skip", [100] * 3),
        ],
    )
    def test_last_chunk(self, path: Path, policy: str, sizes: list[int]) -> None:
        table = MuonThroughputStep.call(
            str(path), chunk_size=100, last_chunk_policy=policy, aggregator_type="PlainAggregator"
        )[1]
        assert table["n_events"].tolist() == sizes

    def test_bad_rings_are_left_out(self, path: Path) -> None:
        table = MuonThroughputStep.call(str(path), chunk_size=330, aggregator_type="PlainAggregator")[1]
        assert table["n_events"].tolist() == [330]
        near = MuonThroughputStep.call(
            str(path), chunk_size=50, impact_min=2, impact_max=4, aggregator_type="PlainAggregator", overwrite=True
        )[1]
        assert near["n_events"].sum() == pytest.approx(66, abs=25)

    def test_criteria_in_place_of_the_cuts(self, path: Path) -> None:
        criteria = [["valid", "muonefficiency_is_valid"], ["not at limit", "~muonefficiency_parameters_at_limit"]]
        table = MuonThroughputStep.call(
            str(path), chunk_size=330, quality_criteria=criteria, aggregator_type="PlainAggregator"
        )[1]
        # A quarter of the 33 bad rings is bad by its impact parameter alone.
        assert table["n_events"].sum() == 330 + 9
        with pytest.raises(ConfigurationError, match="impact_max given beside quality_criteria"):
            MuonThroughputStep.call(str(path), quality_criteria=criteria, impact_max=5, overwrite=True)

    def test_clipping_parameters(self, path: Path) -> None:
        wide = MuonThroughputStep.call(str(path), chunk_size=330, max_sigma=1, iterations=1)[1]
        narrow = MuonThroughputStep.call(str(path), chunk_size=330, max_sigma=1, iterations=3, overwrite=True)[1]
        assert 330 > wide["n_events"][0] > narrow["n_events"][0]
        assert wide["n_events"][0] == pytest.approx(330 * 0.6827, abs=35)


class TestRealRings:
    """Figures of 30 rings of a large-sized telescope, computed by hand."""

    def test_one_chunk(self, real: Path) -> None:
        (row,) = MuonThroughputStep.call(str(real), chunk_size=24)[1]
        assert (round(row["mean"], 6), round(row["median"], 6), round(row["std"], 6)) == (0.240759, 0.235448, 0.015068)
        assert row["obs_id"] == 69

    def test_overlapping_chunks(self, real: Path) -> None:
        table = MuonThroughputStep.call(str(real), chunk_size=20, last_chunk_policy="overlap")[1]
        np.testing.assert_allclose(table["mean"], [0.239810, 0.242571], atol=6e-7)


class TestFewRings:
    def test_no_telescope(self, path: Path) -> None:
        before = path.read_bytes()
        with pytest.raises(TooFewEventsError, match="no telescope has muon rings for a chunk") as caught:
            MuonThroughputStep.call(str(path))
        assert caught.value.exit_status == 106
        assert path.read_bytes() == before

    def test_one_of_two_telescopes(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        few = simulate_muons(tmp_path / "few.h5", {1: 0.2}, n_rings=20)
        both = simulate_muons(tmp_path / "m.h5", {1: 0.2, 2: 0.3}, n_rings=60)
        self.replace(both, few)
        step = MuonThroughputStep(chunk_size=50)
        with caplog.at_level(logging.WARNING):
            products = step.run(str(both))
        assert list(products) == [2]
        assert step.exit_status == 106
        assert "telescope 1 has 20 selected muon rings of 24; expected a chunk of 50" in caplog.text

    def test_they_are_one_chunk_if_allowed(self, path: Path) -> None:
        table = MuonThroughputStep.call(str(path), allow_undersized_tables=True, aggregator_type="PlainAggregator")[1]
        assert table["n_events"].tolist() == [330]

    @staticmethod
    def replace(path: Path, source: Path) -> None:
        from cal_pipeline.cherenkov.hdf5 import write_tables
        from cal_pipeline.cherenkov.muons import MUONS

        node = f"{MUONS}/tel_001"
        write_tables(path, {node: read_table(source, node)}, "t", {}, overwrite=True)


class TestTelescopes:
    def test_chosen_ones(self, path: Path) -> None:
        for given in ([2], 2, "2", {2}):
            chosen = MuonThroughputStep.call(str(path), chunk_size=50, allowed_tels=given, overwrite=True)
            assert list(chosen) == [2]

    def test_absent_ones(self, path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with pytest.raises(MissingInputError, match=r"muon rings of telescopes 1, 2; expected one of \[9\]"):
            MuonThroughputStep.call(str(path), chunk_size=50, allowed_tels=[9])
        step = MuonThroughputStep(chunk_size=50, allowed_tels=[1, 9])
        with caplog.at_level(logging.WARNING):
            assert list(step.run(str(path))) == [1]
        assert step.exit_status == 106
        assert "no muon rings of telescopes 9, only of 1, 2" in caplog.text


class TestCommand:
    def test_published_configuration(self, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "c.yaml").write_text(PUBLISHED)
        words = ["-c", "c.yaml", "--CalculateThroughputWithMuons.input_url=m.h5"]
        assert run_tool(COMMAND, words) == 106
        assert run_tool(COMMAND, [*words, "--SizeChunking.chunk_size=100"]) == 0
        assert len(read_table(path, NODE)) == 3
        assert run_tool(COMMAND, [*words, "--SizeChunking.chunk_size=100"]) == 102
        assert run_tool(COMMAND, [*words, "--SizeChunking.chunk_sise=100"]) == 101
        assert run_tool(COMMAND, [*words, "--CalculateThroughputWithMuons.aggregator_type=Other"]) == 101
        assert run_tool(COMMAND, ["-c", "c.yaml", "--CalculateThroughputWithMuons.input_url=none.h5"]) == 105
        path.write_bytes(path.read_bytes()[:5000])
        assert run_tool(COMMAND, [*words, "--CalculateThroughputWithMuons.overwrite=true"]) == 104

    def test_existing_table(self, path: Path) -> None:
        MuonThroughputStep.call(str(path), chunk_size=100)
        with pytest.raises(OutputExistsError):
            MuonThroughputStep.call(str(path), chunk_size=100)
        assert len(MuonThroughputStep.call(str(path), chunk_size=50, overwrite=True)[1]) == 6

    @pytest.mark.parametrize(
        ("name", "value"), [("last_chunk_policy", "drop"), ("chunking_type", "TimeChunking"), ("aggregator_type", "x")]
    )
    def test_bad_parameters(self, path: Path, name: str, value: str) -> None:
        with pytest.raises(ConfigurationError, match=f"{name} is '{value}'; expected "):
            MuonThroughputStep.call(str(path), **{name: value})

    def test_empty_range(self, path: Path) -> None:
        with pytest.raises(ConfigurationError, match="impact_min 5 exceeds impact_max 2"):
            MuonThroughputStep.call(str(path), impact_min=5, impact_max=2)
