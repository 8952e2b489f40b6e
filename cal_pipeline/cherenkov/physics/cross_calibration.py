"""Scaling factors between telescope types, from the energies that they reconstruct for common showers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ratios:
    """Ratios of energies of a target and a reference telescope.

    Attributes
    ----------
    log_ratio : ndarray of float, shape (ratios,)
        log10 of the energy of the target over that of the reference, each divided by its throughput.
    event : ndarray of int, shape (ratios,)
        Number of the event.
    reference, target : ndarray of int, shape (ratios,)
        Indices of both telescopes among the throughputs.
    """

    log_ratio: Floats
    event: Integers
    reference: Integers
    target: Integers


@dataclass(frozen=True)
class ScalingFactor:
    """Factor of a telescope type.

    Attributes
    ----------
    value, error : float
        Factor and its standard error.
    gradient : ndarray of float, shape (telescopes,)
        Derivatives of the logarithm of the factor by the throughputs.
    n_events, n_ratios : int
        Numbers of events and of ratios.
    """

    value: float
    error: float
    gradient: Floats
    n_events: int
    n_ratios: int


def calculate_factor(ratios: Ratios, throughputs: Floats, covariance: Floats) -> ScalingFactor:
    """Calculate the factor by which the energies of a type exceed those of the reference type.

    The factor is 10 to the mean of the logarithms: a geometric mean. Its error counts the ratios of an event as one
    observation, as they share its energies, and adds the errors of the throughputs.

    Parameters
    ----------
    ratios : Ratios
        At least one ratio.
    throughputs : ndarray of float, shape (telescopes,)
        Throughputs by which the energies were divided.
    covariance : ndarray of float, shape (telescopes, telescopes)
        Covariance of the throughputs; only telescopes of `ratios` need finite ones.

    Returns
    -------
    ScalingFactor
        The error is NaN if there is one event only.

    References
    ----------
    Mitchell, A. M. W., Parsons, R. D., Hofmann, W., Bernlöhr, K., 2016, Astropart. Phys. 75, 1.

    Examples
    --------
    >>> import numpy as np
    >>> ratios = Ratios(np.array([0.3, 0.3]), np.array([1, 2]), np.array([0, 0]), np.array([1, 1]))
    >>> factor = calculate_factor(ratios, np.ones(2), np.zeros((2, 2)))
    >>> round(factor.value, 6), factor.error
    (1.995262, 0.0)
    """
    n, mean = len(ratios.log_ratio), float(np.mean(ratios.log_ratio))
    event = np.unique(ratios.event, return_inverse=True)[1].reshape(-1)
    sums = np.bincount(event, ratios.log_ratio - mean)
    m = len(sums)
    # As of any variance about a mean of the data themselves: without it two events make errors 0.61 of the true ones.
    few = m / (m - 1) if m > 1 else np.nan
    of_events = few * (np.log(10) / n) ** 2 * float(np.sum(sums**2))
    gradient = count_participation(ratios, len(throughputs)) / n
    used = gradient != 0
    gradient[used] /= throughputs[used]
    of_throughputs = float(gradient[used] @ covariance[np.ix_(used, used)] @ gradient[used])
    factor = 10.0**mean
    error = factor * float(np.sqrt(of_events + of_throughputs))
    return ScalingFactor(factor, error, gradient, m, n)


def count_participation(ratios: Ratios, size: int) -> Floats:
    """Count the ratios of each telescope.

    Parameters
    ----------
    ratios : Ratios
        The ratios.
    size : int
        Number of telescopes.

    Returns
    -------
    ndarray of float, shape (telescopes,)
        Number of ratios, negative for targets.

    Examples
    --------
    >>> import numpy as np
    >>> count_participation(Ratios(np.zeros(2), np.arange(2), np.array([0, 0]), np.array([1, 2])), 3)
    array([ 2., -1., -1.])
    """
    as_reference = np.bincount(ratios.reference, minlength=size).astype(float)
    return np.asarray(as_reference - np.bincount(ratios.target, minlength=size).astype(float))


def weight_by_participation(
    ratios: Ratios, throughputs: Floats, errors: Floats, participation: Floats
) -> ScalingFactor:
    """Calculate a factor as the published package does, weighted by the events of the reference telescopes.

    The geometric mean of the ratios is multiplied by the mean throughput of the reference telescopes, weighted by
    their numbers of events. That mean biases the factor, and ratios that share events are counted as independent: the
    errors are too small.

    Parameters
    ----------
    ratios : Ratios
        At least one ratio.
    throughputs, errors : ndarray of float, shape (telescopes,)
        Throughputs and their errors.
    participation : ndarray of float, shape (telescopes,)
        Number of events of each reference telescope; 0 for other telescopes.

    Returns
    -------
    ScalingFactor

    Examples
    --------
    >>> import numpy as np
    >>> ratios = Ratios(np.array([0.0, 0.0]), np.array([1, 2]), np.array([0, 0]), np.array([1, 1]))
    >>> weight_by_participation(ratios, np.array([1.5, 1.0]), np.zeros(2), np.array([2.0, 0.0])).value
    1.5
    """
    plain = calculate_factor(ratios, throughputs, np.zeros((len(throughputs), len(throughputs))))
    weight = np.where(participation > 0, participation, 0.0) / np.sum(participation)
    used = weight > 0
    mean = float(weight[used] @ throughputs[used])
    mean_error = float(np.linalg.norm(weight[used] * errors[used]))
    statistical = plain.value * np.log(10) * float(np.std(ratios.log_ratio)) / np.sqrt(plain.n_ratios)
    error = float(np.hypot(statistical * mean, plain.value * mean_error))
    return ScalingFactor(plain.value * mean, error, plain.gradient, plain.n_events, plain.n_ratios)


def scale_throughputs(values: Floats, covariance: Floats, factor: ScalingFactor) -> tuple[Floats, Floats]:
    """Scale the throughputs of a type by its factor.

    The factor was made with the throughputs: both are correlated, and the error is
    v √(C_ii/c_i² + (error/f)² + 2 (C g)_i/c_i), where g is the gradient of ln f.

    Parameters
    ----------
    values : ndarray of float, shape (telescopes,)
        Throughputs of all telescopes.
    covariance : ndarray of float, shape (telescopes, telescopes)
        Covariance of the throughputs.
    factor : ScalingFactor
        Factor of the type.

    Returns
    -------
    values, errors : ndarray of float, shape (telescopes,)
        Products and their standard errors; of meaning for the telescopes of the type.

    Examples
    --------
    >>> import numpy as np
    >>> factor = ScalingFactor(2.0, 0.2, np.zeros(1), 10, 10)
    >>> scale_throughputs(np.array([1.0]), np.array([[0.0]]), factor)
    (array([2.]), array([0.2]))
    """
    used = factor.gradient != 0
    shared = 2 * covariance[:, used] @ factor.gradient[used] / values
    relative = np.diagonal(covariance) / values**2 + (factor.error / factor.value) ** 2 + shared
    # The sum is a variance; rounding may bring a vanishing one below zero.
    return values * factor.value, values * factor.value * np.sqrt(np.maximum(relative, 0.0))
