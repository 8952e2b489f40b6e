"""Absurd sizes are refused at once: metadata that would loop or take memory without end."""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers_l0 import write_scan

SECONDS, MEMORY = 120, 4 * 2**30

BILLION = 10**9


def grid(*chunks):
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}}


SHARDS = {
    "name": "sharding_indexed",
    "configuration": {
        "chunk_shape": [1, 1, 1, 1, 1],
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
    },
}

# Array, its changed metadata, what of its chunks is kept, words of the message.
CASES = {
    "a billion channels": ("source/data_5d", {"shape": [BILLION, 2, 2, 1, 4], "fill_value": 0}, "chunks, expected"),
    "a billion channels in large chunks": (
        "source/data_5d",
        {"shape": [BILLION, 2, 2, 1, 4], **grid(10**6, 2, 2, 1, 4)},
        "1000000000 along channel, expected at most 4194304",
    ),
    "a billion subscans": (
        "source/data_5d",
        {"shape": [4, 2, 2, 1, BILLION], **grid(4, 2, 2, 1, 10**6)},
        "1000000000 along subscan, expected at most 1048576",
    ),
    "all axes long": (
        "source/data_5d",
        {"shape": [2**20, 2, 64, 64, 1000], **grid(2**20, 2, 8, 8, 1)},
        "channels x receivers x arrays x subscans, expected at most 4294967296",
    ),
    "chunks of one sample": (
        "source/data_5d",
        {"shape": [65536, 8, 2, 1, 4], **grid(1, 1, 1, 1, 1)},
        "which makes 4194304 chunks, expected at most 1048576",
    ),
    "a chunk of gigabytes": ("source/mjd", grid(BILLION), "have 8000000000 bytes each, expected at most 2147483648"),
    "a chunk of a gigabyte that is not stored": ("source/freq_off", {**grid(2**27), "fill_value": 0.0}, ""),
    "a billion times": ("source/mjd", {"shape": [BILLION], **grid(10**6)}, "has shape (1000000000,), expected (4,)"),
    "a billion phases": (
        "calibration/sobsmode",
        {"shape": [BILLION], **grid(10**6)},
        "has shape (1000000000,), expected",
    ),
    "a billion chunks of times": ("calibration/mjd", {"shape": [BILLION], **grid(1)}, "1000000000 chunks, expected"),
    "beyond 64 bits": ("source/mjd", {"shape": [10**30], **grid(10**12)}, "chunks, expected at most 1048576"),
    "negative": ("source/mjd", {"shape": [-4]}, "its shape is (-4,)"),
    "chunks of nothing": ("source/mjd", grid(0), "that of its chunks (0,)"),
    "no channel": ("source/data_5d", {"shape": [0, 2, 2, 1, 4]}, "it holds nothing"),
    "shards of a billion chunks": (
        "source/data_5d",
        {"codecs": [SHARDS], **grid(BILLION, 2, 2, 1, 4)},
        "its shards have the shape (1000000000, 2, 2, 1, 4)",
    ),
    "inner chunks of nothing": (
        "source/data_5d",
        {"codecs": [{**SHARDS, "configuration": {**SHARDS["configuration"], "chunk_shape": [0, 1, 1, 1, 1]}}]},
        "with inner chunks [0, 1, 1, 1, 1]",
    ),
}

# Chunk, its bytes, words.
HEADERS = {
    "text of four billion words": ("source/sobsmode/c/0", b"\xff" * 4 + b"\0" * 20, "4294967295 texts, expected (4,)"),
    "a petabyte of zeros": (
        "source/mjd/c/0",
        b"\x28\xb5\x2f\xfd\xe0" + (2**50).to_bytes(8, "little") + b"\1\0\0",
        "a chunk takes more memory than there is, expected (4,)",
    ),
}

SCRIPT = """
import json, sys, time
from cal_pipeline.heterodyne.check import check_store
from cal_pipeline.heterodyne.session import Session
for path in sys.argv[1:]:
    began = time.monotonic()
    try:
        session = Session(path)
        (band,) = session.open_scan(1).bands
        session.find_loads(band, 60.0)
        message = ""
    except Exception as error:
        message = f"{type(error).__name__}: {error}"
    findings = [str(finding) for finding in check_store(path).findings]
    print(json.dumps([message, findings, time.monotonic() - began]), flush=True)
"""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Open and check a store of each case, in one process with limits of time and memory."""
    folder = tmp_path_factory.mktemp("sizes")
    write_scan(folder / "whole.zarr", 1)
    stores: dict[str, Path] = {}
    for number, (name, (array, changes, _)) in enumerate(CASES.items()):
        stores[name] = Path(shutil.copytree(folder / "whole.zarr", folder / f"{number}.zarr"))
        path = stores[name] / "scan_000001" / array / "zarr.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))
        shutil.rmtree(path.parent / "c")
    for number, (name, (chunk, content, _)) in enumerate(HEADERS.items()):
        stores[name] = Path(shutil.copytree(folder / "whole.zarr", folder / f"header{number}.zarr"))
        path = stores[name] / "scan_000001" / chunk
        path.write_bytes(content)
        if "mjd" in chunk:
            document = json.loads((path.parents[1] / "zarr.json").read_text())
            document["codecs"].append({"name": "zstd", "configuration": {"level": 0, "checksum": False}})
            (path.parents[1] / "zarr.json").write_text(json.dumps(document))

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))

    command = [sys.executable, "-c", SCRIPT, *map(str, stores.values())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, preexec_fn=limit, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip(stores, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES, *HEADERS])
def test_an_absurd_size_is_refused_at_once(answers, name):
    array, _, words = (CASES | HEADERS)[name]
    message, findings, seconds = answers[name]
    assert seconds < 20.0
    if not words:
        assert message == ""
        assert findings == []
        return
    assert words in message
    assert array.partition("/c/")[0] in message
    assert any(array.partition("/c/")[0] in finding for finding in findings)
