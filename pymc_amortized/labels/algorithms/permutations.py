"""Permutations of K labels, one for each of S draws, and the best ones by linear assignment.

A permutation (K,) says for each new label which old one it is: ``x[..., permutation]`` is a
variable (..., K) in new labels.
"""

import itertools

import numpy as np

from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

__all__ = [
    "best_permutations",
    "inverse",
    "one_hot",
    "permute",
    "permute_labels",
]

_ENUMERATED = 5


def inverse(permutations: np.ndarray) -> np.ndarray:
    """Return (S, K): for each old label, which new one it is."""
    return permutations.argsort(axis=1)


def permute(values: ArrayLike, permutations: np.ndarray, axis: int) -> np.ndarray:
    """Bring one axis of length K of values (S, *shape) into new labels, draw by draw.

    Parameters
    ----------
    values : array, shape (S, *shape)
        Of which one axis counts labels.
    permutations : array of int, shape (S, K)
        Of each draw.
    axis : int
        Which axis, not the first.
    """
    values = np.asarray(values)
    axis %= values.ndim
    shape = [1] * values.ndim
    shape[0], shape[axis] = permutations.shape
    return np.take_along_axis(values, permutations.reshape(shape), axis)


def permute_labels(labels: ArrayLike, permutations: np.ndarray) -> np.ndarray:
    """Bring labels (S, *units) from 0 to K - 1 into new ones, draw by draw; same type."""
    labels = np.asarray(labels)
    flat = labels.reshape(len(labels), -1)
    new = inverse(permutations).astype(labels.dtype)
    return np.take_along_axis(new, flat.astype(np.intp), axis=1).reshape(labels.shape)


def one_hot(permutations: np.ndarray) -> np.ndarray:
    """Return permutations as matrices (K new, S * K old) of zeros and ones."""
    num_draws, num_labels = permutations.shape
    matrix = np.zeros((num_labels, num_draws, num_labels))
    draws = np.arange(num_draws)
    for new in range(num_labels):
        matrix[new, draws, permutations[:, new]] = 1.0
    return matrix.reshape(num_labels, -1)


def best_permutations(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimize the sum over labels of what it costs to call an old one new.

    All permutations are tried where there are at most 120 of them. Otherwise the assignment of each
    draw is solved in time K^3 [1]_, so that no number of labels is too large. Among equally good
    permutations of few labels the one that changes least comes first.

    Parameters
    ----------
    costs : array, shape (S, K, K)
        Of calling old label k (second axis) new label j (last axis).

    Returns
    -------
    permutations : array of int, shape (S, K)
        The best ones.
    costs : array, shape (S,)
        What they cost.

    References
    ----------
    .. [1] Crouse, D. F. (2016). On implementing 2D rectangular assignment algorithms. IEEE
       Transactions on Aerospace and Electronic Systems 52, 1679-1696.
    """
    num_labels = costs.shape[-1]
    new = np.arange(num_labels)
    if num_labels <= _ENUMERATED:
        every = np.array(list(itertools.permutations(range(num_labels))))
        totals = sum(costs[:, every[:, j], j] for j in range(num_labels))
        best = totals.argmin(axis=1)
        return every[best], totals[np.arange(len(costs)), best]
    permutations = np.stack([linear_sum_assignment(cost.T)[1] for cost in costs])
    chosen = costs[np.arange(len(costs))[:, None], permutations, new]
    return permutations, chosen.sum(axis=1)
