"""A sample of the faults; all of them are `python -m tests.faults`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cal_pipeline.heterodyne.schema import CALIBRATION_COORDINATES, SOURCE_COORDINATES

from .children import run_child
from .damages import all_damages
from .disk import WRITING, count_calls
from .table import PARTS, as_markdown, read_table

ROOT = Path(__file__).parents[2]


SHARES = {"kills": 0.002, "disk": 0.001, "corpus": 0.004, "collisions": 0.05, "strangers": 0.1}


def try_faults(shares: dict[str, float]) -> str:
    """Try faults in a process of their own: they are forked from it, which threads of other tests would not survive."""
    arguments = [f"{part}:{share}" for part, share in shares.items()]
    command = [sys.executable, "-m", "tests.faults", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_tried(part: str, text: str) -> None:
    (number,) = re.findall(rf"^{re.escape(PARTS[part])}: (\d+) tried, 0 not as they should be", text, re.MULTILINE)
    assert int(number) > 0


@pytest.fixture(scope="module")
def sample() -> str:
    """Output of a run with a sample of each part, most of them in one session."""
    return try_faults(SHARES)


def test_every_call_to_the_disk_is_seen(tmp_path):
    def use_the_disk() -> int:
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/file").write_text("text")
        descriptor = os.open(tmp_path / "folder", os.O_RDONLY)
        os.fsync(descriptor)
        (tmp_path / "folder/file").rename(tmp_path / "folder/other")
        assert (tmp_path / "folder/other").read_text() == "text"
        shutil.rmtree(tmp_path / "folder")
        return 0

    with open(tmp_path / "calls", "ab", buffering=0) as found:
        ended = run_child(count_calls, tmp_path, WRITING, use_the_disk, found)
    assert ended.status == 0, ended.output
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["mkdir", "create", "write", "fsync", "rename", "remove", "rmdir"]


def test_the_corpus_covers_every_array_that_is_read():
    damages = all_damages()
    assert len(damages) > 600
    for group, coordinates in (("source", SOURCE_COORDINATES), ("calibration", CALIBRATION_COORDINATES)):
        for array in ("data_5d", *coordinates):
            assert sum(damage.name.startswith(f"{group}/{array}: ") for damage in damages) > 40, f"{group}/{array}"


@pytest.mark.slow
@pytest.mark.parametrize("part", SHARES)
def test_a_sample_of_faults(part, sample):
    assert_tried(part, sample)


@pytest.mark.slow
@pytest.mark.server
def test_a_sample_of_servers():
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    assert_tried("network", try_faults({"network": 0.004}))


def test_the_table_of_the_page_has_every_part_and_no_harm():
    rows = read_table()
    assert {row.part for row in rows} == set(PARTS)
    assert [row.kind for row in rows if row.bad] == []
    assert read_table(as_markdown(rows)) == rows
