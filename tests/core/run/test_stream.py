"""Samples pass once through a list of operations, whatever these do and however the samples are stored."""

from __future__ import annotations

import doctest
import threading
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import pytest

from cal_pipeline.core.run import stream as stream_module
from cal_pipeline.core.run.clock import StageClock
from cal_pipeline.core.run.stream import Block, Operation, Stream
from cal_pipeline.core.run.threads import BlockThreads
from cal_pipeline.core.store.local_path import LocalStorePath

VALUES = np.arange(10 * 3 * 6).reshape(10, 3, 6)


class Numbers:
    """Numbers (10, 3, 6) in chunks of two rows and some indexes, which remember what is read."""

    def __init__(self, indexes_in_chunk=1, step=4):
        self.shape = VALUES.shape
        self.indexes_in_chunk = indexes_in_chunk
        self.step = step
        self.read_at = []

    def read_ahead(self, blocks):
        return nullcontext()

    def row_step(self, target_samples):
        return self.step

    def blocks(self, indexes, rows):
        for chunk in sorted({index // self.indexes_in_chunk for index in indexes}):
            yield slice(0, rows), [index for index in indexes if index // self.indexes_in_chunk == chunk]

    def read(self, rows, indexes):
        self.read_at.append((rows.start, indexes[0] // self.indexes_in_chunk))
        return VALUES[rows][..., indexes]


@dataclass
class SumBlock(Block):
    total: np.ndarray | None = None


class Doubling(Operation[SumBlock]):
    """Doubles all samples that others need."""

    def apply(self, block):
        for index, samples in block.samples.items():
            block.samples[index] = 2 * samples


class Summing(Operation[SumBlock]):
    """Sums the samples of an output and counts them."""

    def __init__(self, needed):
        self.needed, self.memory, self.order = needed, {}, []
        self.results = np.full((10, 3, len(needed)), -1.0)

    def indexes(self, output):
        return self.needed[output]

    def begin(self, target):
        self.order.append("begin")
        self.counted = np.zeros(target.n_blocks, int)
        assert target.shape == VALUES.shape
        assert target.present == {"other"}

    def apply(self, block):
        assert set(block.samples) == set(self.needed[block.output])
        total = block.memory("total", block.samples[self.needed[block.output][0]].shape)
        self.memory.setdefault((threading.get_ident(), total.shape), set()).add(total.ctypes.data)
        total[...] = 0.0
        for samples in block.samples.values():
            total += samples
        block.total = total

    def write(self, block):
        self.results[block.rows, :, block.output] = block.total
        self.counted[block.number] += block.total.size

    def conclude(self):
        self.order.append("conclude")
        return {"n_samples": int(self.counted.sum())}


def run(tmp_path, source, operations, n_outputs, others=(), threads=2):
    clock = StageClock()
    stream = Stream(source, n_outputs, operations, SumBlock, clock, "work")
    with BlockThreads(threads) as pool:
        learnt = pool.run(stream.run, LocalStorePath(tmp_path), {"other"}, others)
    return learnt, clock


NEEDED = [[0, 1], [1, 4], [5], [2]]


@pytest.mark.parametrize("indexes_in_chunk", [1, 2, 3, 6])
@pytest.mark.parametrize("step", [1, 4, 10])
@pytest.mark.parametrize("threads", [1, 2])
def test_operations_are_applied_in_order_however_the_samples_are_stored(tmp_path, indexes_in_chunk, step, threads):
    source, summing = Numbers(indexes_in_chunk, step), Summing(NEEDED)
    learnt, clock = run(tmp_path, source, [Doubling(), summing], len(NEEDED), threads=threads)
    expected = np.stack([2 * VALUES[..., needed].sum(axis=-1) for needed in NEEDED], axis=-1)
    np.testing.assert_array_equal(summing.results, expected)
    assert learnt == {"n_samples": 10 * 3 * len(NEEDED)}
    assert summing.order == ["begin", "conclude"]
    assert set(clock.seconds) == {"work", "write"}


@pytest.mark.parametrize("indexes_in_chunk", [1, 2, 3, 6])
def test_each_chunk_is_read_once(tmp_path, indexes_in_chunk):
    source = Numbers(indexes_in_chunk)
    run(tmp_path, source, [Summing(NEEDED)], len(NEEDED))
    assert len(source.read_at) == len(set(source.read_at))
    assert {chunk for _, chunk in source.read_at} == {index // indexes_in_chunk for index in (0, 1, 2, 4, 5)}


def test_samples_that_outputs_share_are_not_changed_for_others(tmp_path):
    summing = Summing([[3], [3], [3]])
    run(tmp_path, Numbers(), [Doubling(), Doubling(), summing], 3)
    for output in range(3):
        np.testing.assert_array_equal(summing.results[..., output], 4 * VALUES[..., 3])


def test_memory_is_reused_by_each_thread(tmp_path):
    summing = Summing(NEEDED)
    run(tmp_path, Numbers(step=5), [summing], len(NEEDED))
    assert {len(addresses) for addresses in summing.memory.values()} == {1}


def test_without_outputs_only_the_other_tasks_run(tmp_path):
    done, source = [], Numbers()
    learnt, _ = run(tmp_path, source, [], 0, [lambda: done.append(1), lambda: done.append(2)])
    assert (learnt, sorted(done), source.read_at) == ({}, [1, 2], [])


def test_an_error_of_an_operation_ends_the_stream(tmp_path):
    class Failing(Operation[SumBlock]):
        def indexes(self, output):
            return [output]

        def apply(self, block):
            raise ValueError(f"output {block.output}")

        def conclude(self):
            raise AssertionError("concluded after an error")

    with pytest.raises(ValueError, match="output 0"):
        run(tmp_path, Numbers(), [Failing()], 1)


def test_the_examples_are_true():
    assert doctest.testmod(stream_module).failed == 0
