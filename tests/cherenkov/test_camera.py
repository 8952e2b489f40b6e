"""Intervals that chunks of several tables cover, and the layout of statistics in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov import camera
from cal_pipeline.cherenkov.errors import CorruptedInputError, MissingInputError
from cal_pipeline.cherenkov.hdf5 import write_tables

pytestmark = pytest.mark.cherenkov

DAY, ZERO = 86400.0, 60000.0


def find(*tables: list[tuple[float, float]], tolerance: float = 1.0) -> tuple[list[tuple[float, float]], list]:
    """Find intervals, all in seconds."""
    chunks = [tuple(ZERO + np.array(edge) / DAY for edge in zip(*table, strict=True)) for table in tables]
    start, end, indices = camera.find_intervals(chunks, tolerance)
    seconds = [tuple(round(float((t - ZERO) * DAY), 3) for t in pair) for pair in zip(start, end, strict=True)]
    return seconds, [index.tolist() for index in indices]


def test_equal_chunks() -> None:
    chunks = [(0.0, 100.0), (100.0, 200.0)]
    assert find(chunks, chunks) == (chunks, [[0, 1], [0, 1]])


def test_chunks_that_do_not_line_up() -> None:
    intervals, indices = find([(0, 150), (150, 300)], [(0, 100), (100, 200), (200, 300)])
    assert intervals == [(0, 100), (100, 150), (150, 200), (200, 300)]
    assert indices == [[0, 0, 1, 1], [0, 1, 1, 2]]


def test_only_what_all_tables_cover() -> None:
    intervals, indices = find([(0, 100), (150, 300)], [(50, 250)])
    assert intervals == [(50, 100), (150, 250)]
    assert indices == [[0, 1], [0, 0]]
    assert find([(0, 100)], [(100, 200)]) == ([], [[], []])
    assert find([(0, 100)], [(300, 400)]) == ([], [[], []])


def test_near_edges_are_one_the_earliest() -> None:
    intervals, indices = find([(0.0, 100.7), (100.7, 200.0)], [(0.5, 100.0), (100.0, 200.3)])
    assert intervals == [(0, 100), (100, 200)]
    assert indices == [[0, 1], [0, 1]]
    # Each edge is compared with the one that is kept, so that edges in a row do not melt into one.
    assert find([(0, 0.8), (0.8, 1.6), (1.6, 9)], [(0, 9)])[0] == [(0, 1.6), (1.6, 9)]


def test_tolerance() -> None:
    tables = [(0.0, 100.0), (100.0, 200.0)], [(0.0, 103.0), (103.0, 200.0)]
    assert find(*tables)[0] == [(0, 100), (100, 103), (103, 200)]
    assert find(*tables, tolerance=5.0)[0] == [(0, 100), (100, 200)]
    assert find(*tables, tolerance=0.0)[0] == [(0, 100), (100, 103), (103, 200)]


def test_order_of_rows_and_overlapping_chunks() -> None:
    assert find([(100, 200), (0, 100)], [(0, 200)]) == ([(0, 100), (100, 200)], [[1, 0], [0, 0]])
    # Of chunks that overlap, the one that starts first counts.
    assert find([(50, 200), (0, 100)], [(0, 200)]) == ([(0, 50), (50, 100), (100, 200)], [[1, 1, 0], [0, 0, 0]])


def test_against_a_search_by_brute_force() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        tables = []
        for _ in range(3):
            edges = np.sort(rng.choice(np.arange(0, 1000, 10), rng.integers(2, 8), replace=False))
            chunks = list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
            tables.append([chunk for chunk in chunks if rng.random() < 0.8] or chunks)
        intervals, indices = find(*tables)
        covered = {second for second in range(1000) if all(any(a <= second < b for a, b in table) for table in tables)}
        assert covered == {second for a, b in intervals for second in range(int(a), int(b))}
        for position, (a, b) in enumerate(intervals):
            for table, index in zip(tables, indices, strict=True):
                assert table[index[position]][0] <= a
                assert table[index[position]][1] >= b


def make_statistics(shape: tuple[int, ...] = (2, 2, 5)) -> Table:
    start = 60000.0 + np.arange(shape[0]) / 864
    return Table(
        {
            "time_start": start,
            "time_end": start + 1 / 864,
            "n_events": [9] * shape[0],
            "median": np.ones(shape),
            "std": np.ones(shape),
        }
    )


def write(path: Path, node: str, table: Table) -> Path:
    write_tables(path, {node: table}, "t", {}, overwrite=True)
    return path


class TestReading:
    def test_missing_tables(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.h5", "/x", make_statistics())
        with pytest.raises(MissingInputError, match=r"s.h5 has no tables .*sky_pedestal_image,flatfield_image"):
            camera.find_cameras(path)

    def test_gain_selected(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.h5", "/x", make_statistics((3, 5)))
        chunks = camera.read_chunks(path, "/x")
        assert chunks.median.shape == (3, 1, 5)
        assert chunks.selected
        assert not camera.read_chunks(write(path, "/y", make_statistics()), "/y").selected

    @pytest.mark.parametrize(
        ("name", "value", "message"),
        [
            ("time_start", [np.nan, 60000.0], "a chunk from nan"),
            ("time_end", [59000.0, 60001.0], "a chunk from 60000.0 to 59000.0"),
            ("median", np.ones((2, 5)), r"median of shape \(5,\), std of shape \(2, 5\)"),
            ("std", ["a", "b"], "std"),
        ],
    )
    def test_bad_columns(self, tmp_path: Path, name: str, value: object, message: str) -> None:
        table = make_statistics()
        table[name] = value
        with pytest.raises(CorruptedInputError, match=rf"s.h5.*{message}"):
            camera.read_chunks(write(tmp_path / "s.h5", "/x", table), "/x")

    def test_no_rows(self, tmp_path: Path) -> None:
        with pytest.raises(CorruptedInputError, match="table /x has no rows"):
            camera.read_chunks(write(tmp_path / "s.h5", "/x", make_statistics()[:0]), "/x")

    def test_different_pixels(self, tmp_path: Path) -> None:
        path = tmp_path / "s.h5"
        nodes = {kind: f"/{kind}" for kind in camera.KINDS}
        for kind, node in nodes.items():
            write(path, node, make_statistics((2, 2, 6 if kind == camera.PEAK_TIME else 5)))
        with pytest.raises(CorruptedInputError, match=r"telescope 4: .*flatfield_peak_time 2 x 6; expected the same"):
            camera.read_camera(path, 4, nodes, 1.0)

    def test_types(self, tmp_path: Path) -> None:
        path = write(tmp_path / "s.h5", "/x", make_statistics())
        assert camera.read_types(path) == {}
        write(path, camera.LAYOUT, Table({"tel_id": [1, 5], "type": ["LST", "MST"]}))
        assert camera.read_types(path) == {1: "LST", 5: "MST"}
        write(path, camera.LAYOUT, Table({"tel_id": [1]}))
        with pytest.raises(CorruptedInputError, match="lacks the column type"):
            camera.read_types(path)

    def test_types_of_a_real_layout(self, shared: Path) -> None:
        assert camera.read_types(shared / "lst_muons.dl1.h5") == {1: "LST_LST_LSTCam"}


class TestSystematicTerm:
    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            (0.1, np.full((2, 3), 0.1)),
            ([0.1, 0.2], [[0.1] * 3, [0.2] * 3]),
            ([0.1, 0.2, 0.3], [[0.1, 0.2, 0.3]] * 2),
            ([[0.1], [0.2]], [[0.1] * 3, [0.2] * 3]),
            (np.arange(6).reshape(2, 3) / 10, np.arange(6).reshape(2, 3) / 10),
        ],
    )
    def test_shapes(self, tmp_path: Path, values: object, expected: object) -> None:
        path = self.write(tmp_path, values)
        np.testing.assert_array_equal(camera.read_b_term(path, (2, 3), (0, 1)), expected)

    def test_measured_channel_is_chosen(self, tmp_path: Path) -> None:
        path = self.write(tmp_path, [[0.1] * 3, [0.2] * 3])
        np.testing.assert_array_equal(camera.read_b_term(path, (1, 3), (1,)), [[0.2] * 3])

    @pytest.mark.parametrize("values", [np.ones((2, 4)), [np.nan, 1.0]])
    def test_bad_values(self, tmp_path: Path, values: object) -> None:
        with pytest.raises(CorruptedInputError, match=r"b.h5: B_term"):
            camera.read_b_term(self.write(tmp_path, values), (2, 3), (0, 1))

    @staticmethod
    def write(folder: Path, values: object) -> Path:
        h5py = pytest.importorskip("h5py")
        with h5py.File(folder / "b.h5", "w") as file:
            file["B_term"] = values
        return folder / "b.h5"
