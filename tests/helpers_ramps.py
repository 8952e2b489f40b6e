"""Ramps from single reads, and fits with full matrices: what ramp fit and jump detection are compared with.

Everything begins with reads. The electrons of two reads at times t and t' have a covariance of rate·min(t, t'), and
each read has its own noise; groups are averages of reads, and differences follow by matrix products.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.linalg import inv

SATURATED, DO_NOT_USE, JUMP_DET = 2, 1, 4

SINGLE = [[k] for k in range(1, 11)]
EVEN = [list(range(1 + 4 * g, 5 + 4 * g)) for g in range(6)]
UNEVEN = [[1], [2, 3], [5, 6, 7, 8], [10], [12, 13], [15, 16, 17], [20], [22, 25, 26]]
PATTERNS = {"single": SINGLE, "even": EVEN, "uneven": UNEVEN}


class Reads:
    """Matrices from reads to groups and to differences of groups."""

    def __init__(self, pattern, frame_time):
        n = pattern[-1][-1]
        self.times = frame_time * np.arange(1, n + 1)
        self.average = np.zeros((len(pattern), n))
        for g, reads in enumerate(pattern):
            self.average[g, np.array(reads) - 1] = 1.0 / len(reads)
        self.differ = np.diff(self.average, axis=0)
        self.interval = self.differ @ self.times

    def covariance(self, rate, noise):
        return self.differ @ self.of_reads(rate, noise) @ self.differ.T

    def of_reads(self, rate, noise):
        return rate * np.minimum.outer(self.times, self.times) + noise**2 * np.eye(len(self.times))

    def simulate(self, rng, rate, noise, shape, hits=None):
        """Groups [e] of ramps, (*shape[:1], G, *shape[1:]); hits are electrons that arrive before each read."""
        arrived = rng.poisson(rate * self.times[0], (len(self.times), *shape)).astype(np.float64)
        if hits is not None:
            arrived += hits
        reads = np.cumsum(arrived, axis=0) + rng.normal(0.0, noise, arrived.shape)
        return np.moveaxis(np.tensordot(self.average, reads, 1), 0, 1)


def is_usable(flags):
    """Usable differences of a ramp, (G,) flags."""
    return np.array(
        [
            not ((before | after) & (SATURATED | DO_NOT_USE)) and not after & JUMP_DET
            for before, after in pairwise(flags)
        ],
        bool,
    )


def fit(reads, ramps, flags, noise):
    """Fit (I, G) electrons: rate, err, var_poisson, var_rnoise, chi2, number of differences."""
    used = np.array([is_usable(f) for f in flags])
    d = np.concatenate([(np.diff(ramp))[u] for ramp, u in zip(ramps, used, strict=True)])
    if not d.size:
        return [np.nan] * 5 + [0]
    x = np.concatenate([reads.interval[u] for u in used])

    def whole(rate, noise):
        matrix, start = np.zeros((d.size, d.size)), 0
        for u in used:
            n = u.sum()
            matrix[start : start + n, start : start + n] = reads.covariance(rate, noise)[np.ix_(u, u)]
            start += n
        return matrix

    rate = d.sum() / x.sum()
    for _ in range(100):
        weights = inv(whole(max(rate, 0.0), noise)) @ x
        rate = weights @ d / (weights @ x)
    w = weights / (weights @ x)
    var_poisson, var_rnoise = w @ whole(max(rate, 0.0), 0.0) @ w, w @ whole(0.0, noise) @ w
    residual = d - rate * x
    chi2 = residual @ inv(whole(max(rate, 0.0), noise)) @ residual
    return [rate, np.sqrt(var_poisson + var_rnoise), var_poisson, var_rnoise, chi2, d.size]


def find_steps(reads, ramp, flags, noise, threshold):
    """Search one ramp (G,) for jumps by fits with a step in each usable difference; return groups that jump."""
    used, found = is_usable(flags), []
    while used.sum() >= 3:
        d, x = np.diff(ramp)[used], reads.interval[used]
        rate = max(np.median(d / x), 0.0)
        information = inv(reads.covariance(rate, noise)[np.ix_(used, used)])
        scores = []
        for k in range(len(d)):
            design = np.stack([x, np.arange(len(d)) == k], axis=1)
            errors = inv(design.T @ information @ design)
            height = (errors @ design.T @ information @ d)[1]
            scores.append(abs(height) / np.sqrt(errors[1, 1]))
        if max(scores) <= threshold:
            break
        found.append(np.flatnonzero(used)[np.argmax(scores)])
        used[found[-1]] = False
    return found
