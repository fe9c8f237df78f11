"""Relabelling by allocations: equivalence classes, with their pivot given or found."""

from collections.abc import Callable

import numpy as np

from numpy.typing import ArrayLike

from pymc_amortized.labels.algorithms.permutations import best_permutations, one_hot, permute_labels
from pymc_amortized.labels.algorithms.relabelling import (
    Alternation,
    Relabelling,
    evenly_spaced,
    search,
)
from pymc_amortized.memory import MEMORY

__all__ = ["ecr", "ecr_iterative_1", "ecr_iterative_2"]


def ecr(labels: ArrayLike, pivot: ArrayLike, num_labels: int) -> Relabelling:
    """Choose for each draw the permutation under which most units agree with a pivot.

    The method of equivalence classes representatives [1]_.

    Parameters
    ----------
    labels : array of int, shape (S, N)
        Draws of allocations, from 0 to K - 1.
    pivot : array of int, shape (N,)
        One allocation, such as the most probable draw.
    num_labels : int
        K.

    Returns
    -------
    Relabelling
        Its criterion is the number of units, over all draws, that disagree with the pivot.

    References
    ----------
    .. [1] Papastamoulis, P., & Iliopoulos, G. (2010). An artificial allocations based solution to
       the label switching problem in Bayesian analysis of mixtures of distributions. Journal of
       Computational and Graphical Statistics 19, 313-331.

    Examples
    --------
    >>> ecr([[0, 0, 1], [1, 1, 0]], pivot=[0, 0, 1], num_labels=2).permutations.tolist()
    [[0, 1], [1, 0]]
    """
    labels = np.asarray(labels)
    permutations, costs = _assign(labels, np.asarray(pivot), num_labels)
    return Relabelling(permutations, float(costs.sum()), (float(costs.sum()),))


def ecr_iterative_1(
    labels: ArrayLike, num_labels: int, starts: ArrayLike | None = None
) -> Relabelling:
    """Alternate :func:`ecr` with a new pivot: of each unit, its most frequent label [1]_.

    Parameters
    ----------
    labels : array of int, shape (S, N)
        Draws of allocations, from 0 to K - 1.
    num_labels : int
        K.
    starts : array of int, shape (J,), optional
        Draws that serve as first pivots; the best of their ends is gone on with. Default: five,
        evenly spaced.

    Returns
    -------
    Relabelling
        Its criterion is that of :func:`ecr`.

    References
    ----------
    .. [1] Papastamoulis, P. (2016). label.switching: an R package for dealing with the label
       switching problem in MCMC outputs. Journal of Statistical Software 69, Code Snippet 1.
    """
    labels = np.asarray(labels)

    def mode(permutations: np.ndarray, draws: np.ndarray | slice) -> np.ndarray:
        return _most_frequent(permute_labels(labels[draws], permutations), num_labels)

    return _search(labels, mode, num_labels, starts)


def ecr_iterative_2(
    labels: ArrayLike, probabilities: ArrayLike, starts: ArrayLike | None = None
) -> Relabelling:
    """Alternate :func:`ecr` with a new pivot: of each unit, its most probable label [1]_.

    Parameters
    ----------
    labels : array of int, shape (S, N)
        Draws of allocations, from 0 to K - 1.
    probabilities : array, shape (S, K, N)
        Of each unit's component, given the parameters of each draw.
    starts : array of int, shape (J,), optional
        Draws whose allocations serve as first pivots. Default: five, evenly spaced.

    Returns
    -------
    Relabelling
        Its criterion is that of :func:`ecr`.

    References
    ----------
    .. [1] Papastamoulis, P. (2016). label.switching: an R package for dealing with the label
       switching problem in MCMC outputs. Journal of Statistical Software 69, Code Snippet 1.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    num_labels = probabilities.shape[1]

    def most_probable(permutations: np.ndarray, draws: np.ndarray | slice) -> np.ndarray:
        return mean_of(probabilities[draws], permutations).argmax(axis=0)

    return _search(labels, most_probable, num_labels, starts)


def _search(
    labels: np.ndarray,
    pivot: Callable[[np.ndarray, np.ndarray | slice], np.ndarray],
    num_labels: int,
    starts: ArrayLike | None,
) -> Relabelling:
    steps = Alternation(pivot, lambda found, draws: _assign(labels[draws], found, num_labels))
    first = evenly_spaced(len(labels)) if starts is None else np.asarray(starts)
    return search(steps, [labels[i] for i in first], len(labels))


def mean_of(probabilities: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """Return the mean over draws of permuted probabilities (S, K, N): shape (K, N)."""
    flat = probabilities.reshape(-1, probabilities.shape[-1])
    return one_hot(permutations).astype(flat.dtype) @ flat / len(permutations)


def _assign(
    labels: np.ndarray, pivot: np.ndarray, num_labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the best permutations for a pivot, and how many units of each draw disagree."""
    agree = _counts(labels, pivot, num_labels)
    permutations, costs = best_permutations(-agree)
    return permutations, labels.shape[1] + costs


def _counts(labels: np.ndarray, pivot: np.ndarray, num_labels: int) -> np.ndarray:
    """Return (S, K, K): how many units have which label (second axis), and in the pivot which."""
    num_draws, num_units = labels.shape
    size = num_labels * num_labels
    step = MEMORY.at_once(num_units)
    parts = []
    for start in range(0, num_draws, step):
        piece = labels[start : start + step].astype(np.intp)
        cells = piece * num_labels + pivot + size * np.arange(len(piece))[:, None]
        parts.append(np.bincount(cells.ravel(), minlength=size * len(piece)))
    return np.concatenate(parts).reshape(num_draws, num_labels, num_labels)


def _most_frequent(labels: np.ndarray, num_labels: int) -> np.ndarray:
    return np.stack([(labels == k).sum(axis=0) for k in range(num_labels)]).argmax(axis=0)
