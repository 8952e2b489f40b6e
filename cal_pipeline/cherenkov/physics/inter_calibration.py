"""Relative throughputs of telescopes of one type, from the asymmetries of pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

MAX_ITERATIONS = 200
"""Most Newton steps of a fit; a few are usual."""


@dataclass(frozen=True)
class PairMeans:
    """Mean asymmetries of pairs.

    Attributes
    ----------
    tel_1, tel_2 : ndarray of int, shape (pairs,)
        Telescopes of each pair.
    count : ndarray of int, shape (pairs,)
        Number of events.
    mean : ndarray of float, shape (pairs,)
        Mean asymmetry.
    error : ndarray of float, shape (pairs,)
        Standard error of the mean; NaN for one event.
    """

    tel_1: Integers
    tel_2: Integers
    count: Integers
    mean: Floats
    error: Floats

    def keep(self, kept: NDArray[np.bool_]) -> PairMeans:
        """Return some of the pairs.

        Parameters
        ----------
        kept : ndarray of bool, shape (pairs,)
            True for those to keep.
        """
        return PairMeans(self.tel_1[kept], self.tel_2[kept], self.count[kept], self.mean[kept], self.error[kept])


@dataclass(frozen=True)
class Throughputs:
    """Relative throughputs of telescopes.

    Attributes
    ----------
    tel_id : ndarray of int, shape (telescopes,)
        Telescopes, ascending.
    value : ndarray of float, shape (telescopes,)
        Throughputs; NaN where no chain of pairs leads to the reference.
    covariance : ndarray of float, shape (telescopes, telescopes)
        Covariance of the throughputs, 0 for the reference, NaN where the value is NaN.
    n_pairs : ndarray of int, shape (telescopes,)
        Number of pairs of each telescope.
    chi2 : float
        Sum of squares at the minimum.
    """

    tel_id: Integers
    value: Floats
    covariance: Floats
    n_pairs: Integers
    chi2: float

    @property
    def error(self) -> Floats:
        """Standard errors of the throughputs."""
        return np.sqrt(np.diagonal(self.covariance))

    def extend(self, tel_id: Integers) -> Throughputs:
        """Return the throughputs of more telescopes; those without one get NaN.

        Parameters
        ----------
        tel_id : ndarray of int
            Telescopes, ascending; all of the present ones are among them.
        """
        places = np.searchsorted(tel_id, self.tel_id)
        value, n_pairs = np.full(len(tel_id), np.nan), np.zeros(len(tel_id), dtype=np.int64)
        covariance = np.full((len(tel_id), len(tel_id)), np.nan)
        value[places], n_pairs[places] = self.value, self.n_pairs
        covariance[np.ix_(places, places)] = self.covariance
        return Throughputs(tel_id, value, covariance, n_pairs, self.chi2)


def average_pairs(tel_1: Integers, tel_2: Integers, asymmetry: Floats) -> PairMeans:
    """Average the asymmetries of each pair.

    Parameters
    ----------
    tel_1, tel_2 : ndarray of int, shape (events,)
        Telescopes of each asymmetry.
    asymmetry : ndarray of float, shape (events,)
        Asymmetries.

    Returns
    -------
    PairMeans
        Means with their standard errors std/√n, std with n - 1 degrees of freedom.

    Examples
    --------
    >>> import numpy as np
    >>> means = average_pairs(np.array([1, 1]), np.array([2, 2]), np.array([0.1, 0.3]))
    >>> means.mean.round(6).tolist(), means.error.round(6).tolist()
    ([0.2], [0.1])
    """
    pairs, group = np.unique(np.column_stack([tel_1, tel_2]).astype(np.int64), axis=0, return_inverse=True)
    group = group.reshape(-1)
    count = np.bincount(group, minlength=len(pairs))
    mean = np.bincount(group, asymmetry, len(pairs)) / count
    squares = np.bincount(group, (asymmetry - mean[group]) ** 2, len(pairs))
    several = np.where(count > 1, count, 2)
    error = np.where(count > 1, np.sqrt(squares / (several - 1) / several), np.nan)
    return PairMeans(pairs[:, 0], pairs[:, 1], count.astype(np.int64), mean, error)


def fit_throughputs(pairs: PairMeans, reference: int, normalisation: float = 1.0) -> Throughputs:
    """Fit the throughputs of telescopes to the mean asymmetries of their pairs.

    The sum of squares Σ [a_ij - (c_i - c_j)/(c_i + c_j)]²/s_ij² is minimised over the logarithms x of the
    throughputs c, in which the model is tanh((x_i - x_j)/2), to the precision of the machine. The errors come from the
    second derivatives at the minimum: the sum grows by one at a standard error. They take the pairs as independent. If
    K telescopes see all events, the mean asymmetries of their pairs share events, and the true errors are √(K/2)
    larger.

    Parameters
    ----------
    pairs : PairMeans
        Mean asymmetries, with positive errors.
    reference : int
        Telescope whose throughput is held fixed; it must be in a pair.
    normalisation : float
        Throughput of the reference.

    Returns
    -------
    Throughputs

    Raises
    ------
    ValueError
        If the reference is in no pair, an error is not positive, or the fit does not converge.

    References
    ----------
    Mitchell, A. M. W., Parsons, R. D., Hofmann, W., Bernlöhr, K., 2016, Astropart. Phys. 75, 1.

    Examples
    --------
    >>> import numpy as np
    >>> one = np.array([1])
    >>> fit = fit_throughputs(PairMeans(one, np.array([2]), one, np.array([-0.1]), np.array([0.01])), reference=1)
    >>> (fit.value * 9).round(9).tolist()
    [9.0, 11.0]
    """
    if not np.all(pairs.error > 0) or not np.all(np.isfinite(pairs.mean)):
        raise ValueError("mean asymmetries need finite values and positive errors")
    tel_id, index = np.unique(np.concatenate([pairs.tel_1, pairs.tel_2]), return_inverse=True)
    if reference not in tel_id:
        raise ValueError(f"reference telescope {reference} is in no pair")
    first, second = np.split(index.reshape(-1), 2)
    held = int(np.searchsorted(tel_id, reference))
    graph = coo_array((np.ones(len(first)), (first, second)), shape=(len(tel_id), len(tel_id)))
    component = connected_components(graph, directed=False)[1]
    linked = component == component[held]
    used = linked[first]
    free = np.flatnonzero(linked & (np.arange(len(tel_id)) != held))
    place = np.full(len(tel_id), -1)
    place[free] = np.arange(len(free))
    problem = _Problem(place[first[used]], place[second[used]], pairs.mean[used], pairs.error[used], len(free))
    log_value, hessian, chi2 = _minimise(problem)
    value = np.full(len(tel_id), np.nan)
    value[held], value[free] = normalisation, normalisation * np.exp(log_value)
    covariance = np.full((len(tel_id), len(tel_id)), np.nan)
    covariance[np.ix_(linked, linked)] = 0.0
    inverse = cho_solve(cho_factor(hessian), np.eye(len(free))) if len(free) else hessian
    # The gradient vanishes at the minimum, so that the Hessian transforms as a tensor.
    covariance[np.ix_(free, free)] = 2 * (inverse + inverse.T) / 2 * np.outer(value[free], value[free])
    return Throughputs(tel_id, value, covariance, np.bincount(index.reshape(-1)).astype(np.int64), chi2)


@dataclass(frozen=True)
class _Problem:
    """Pairs of free telescopes; a place of -1 is the reference."""

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    mean: Floats
    error: Floats
    size: int

    def model(self, x: Floats) -> Floats:
        padded = np.append(x, 0.0)  # an index of -1 meets the reference's zero
        return np.asarray(np.tanh((padded[self.first] - padded[self.second]) / 2))

    def chi2(self, x: Floats) -> float:
        return float(np.sum(((self.mean - self.model(x)) / self.error) ** 2))

    def derivatives(self, x: Floats, exact: bool) -> tuple[Floats, Floats]:
        """Return the gradient and the Hessian; not `exact`: without second derivatives of the model."""
        model = self.model(x)
        slope = (1 - model**2) / 2
        weight, residual = 1 / self.error**2, self.mean - model
        by_pair = -2 * weight * residual * slope
        curvature = 2 * weight * slope**2
        if exact:
            curvature = curvature + 2 * weight * residual * model * slope
        gradient = np.zeros(self.size + 1)
        np.add.at(gradient, self.first, by_pair)
        np.add.at(gradient, self.second, -by_pair)
        hessian = np.zeros((self.size + 1, self.size + 1))
        for row, column, sign in ((0, 0, 1), (1, 1, 1), (0, 1, -1), (1, 0, -1)):
            sides = self.first, self.second
            np.add.at(hessian, (sides[row], sides[column]), sign * curvature)
        return gradient[:-1], hessian[:-1, :-1]


def _minimise(problem: _Problem) -> tuple[Floats, Floats, float]:
    """Minimise by Newton steps, halved until the sum falls; return place, Hessian and sum."""
    x, chi2 = np.zeros(problem.size), problem.chi2(np.zeros(problem.size))
    for _ in range(MAX_ITERATIONS if problem.size else 0):
        gradient, step = _find_step(problem, x)
        if np.max(np.abs(step)) <= 4 * np.finfo(float).eps * max(1.0, float(np.max(np.abs(x)))):
            break
        # Rounding hides the fall of the sum near the minimum, where full steps are right.
        allowed = 1e-13 * max(chi2, 1.0)
        while problem.chi2(x + step) > chi2 + allowed and np.max(np.abs(step)) > np.finfo(float).eps:
            step = step / 2
        x = x + step
        chi2 = problem.chi2(x)
        if float(-gradient @ step) <= 1e-30 * max(chi2, 1.0):
            break
    else:
        if problem.size:
            raise ValueError(f"the fit of {problem.size} throughputs did not converge")
    return x, problem.derivatives(x, exact=True)[1], chi2


def _find_step(problem: _Problem, x: Floats) -> tuple[Floats, Floats]:
    """Return the gradient and a Newton step, with the exact Hessian where that is positive."""
    gradient, hessian = problem.derivatives(x, exact=True)
    try:
        return gradient, -cho_solve(cho_factor(hessian), gradient)
    except LinAlgError:
        hessian = problem.derivatives(x, exact=False)[1]
        return gradient, -cho_solve(cho_factor(hessian), gradient)
