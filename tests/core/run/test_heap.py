"""Heap that threads share."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

COUNT_HEAPS = """
import ctypes, sys, threading
from cal_pipeline.core.run.heap import share_heap

if sys.argv[1] == "shared":
    share_heap()
libc, allocated = ctypes.CDLL(None), threading.Barrier(4)
libc.fopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]

def allocate():
    memory = bytearray(100_000)
    allocated.wait(60.0)
    allocated.wait(60.0)

threads = [threading.Thread(target=allocate) for _ in range(3)]
for thread in threads:
    thread.start()
allocated.wait(60.0)
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
allocated.wait(60.0)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
@pytest.mark.parametrize(("way", "n_heaps"), [("own", 4), ("shared", 1)])
def test_threads_that_start_later_share_the_heap(tmp_path, way, n_heaps):
    file = tmp_path / "heaps.xml"
    # What the environment may say about heaps would decide.
    env = {name: value for name, value in os.environ.items() if name not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")}
    subprocess.run([sys.executable, "-c", COUNT_HEAPS, way, str(file)], check=True, timeout=120.0, env=env)
    assert file.read_text().count("<heap nr=") == n_heaps
