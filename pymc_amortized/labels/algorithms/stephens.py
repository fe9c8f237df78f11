"""Relabelling by membership probabilities."""

import numpy as np

from numpy.typing import ArrayLike

from pymc_amortized.labels.algorithms.by_allocations import mean_of
from pymc_amortized.labels.algorithms.permutations import best_permutations
from pymc_amortized.labels.algorithms.relabelling import (
    Alternation,
    Relabelling,
    evenly_spaced,
    search,
)

__all__ = ["stephens"]

_SMALLEST = 1e-300


def stephens(probabilities: ArrayLike, starts: ArrayLike | None = None) -> Relabelling:
    r"""Make memberships of all draws as alike as possible, by Kullback-Leibler divergence [1]_.

    Alternates between :math:`q_{ik}`, the mean over draws of the permuted probabilities, and the
    permutations that minimize :math:`\sum_i \sum_k p_{ik} \log (p_{ik} / q_{ik})`. Neither step can
    raise the loss.

    Parameters
    ----------
    probabilities : array, shape (S, K, N)
        Of each unit's component, given the parameters of each draw.
    starts : array of int, shape (J,), optional
        Draws whose probabilities serve as the first q; the best of their ends is gone on with.
        Default: five, evenly spaced.

    Returns
    -------
    Relabelling
        Its criterion is the divergence summed over draws and units, in nats.

    References
    ----------
    .. [1] Stephens, M. (2000). Dealing with label switching in mixture models. Journal of the Royal
       Statistical Society B 62, 795-809.

    Examples
    --------
    >>> p = [[[0.9, 0.2], [0.1, 0.8]], [[0.2, 0.7], [0.8, 0.3]]]
    >>> stephens(p).permutations.tolist()
    [[0, 1], [1, 0]]
    """
    probabilities = np.asarray(probabilities)
    negative_entropy = np.array([_sum_of_x_log_x(p) for p in probabilities])

    def mean(permutations: np.ndarray, draws: np.ndarray | slice) -> np.ndarray:
        return mean_of(probabilities[draws], permutations)

    def assign(q: np.ndarray, draws: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        some = probabilities[draws]
        log_q = np.log(np.maximum(q, _SMALLEST)).astype(some.dtype)
        num_draws, num_labels, num_units = some.shape
        cross = some.reshape(-1, num_units) @ log_q.T
        permutations, costs = best_permutations(-cross.reshape(num_draws, num_labels, num_labels))
        return permutations, costs + negative_entropy[draws]

    steps = Alternation(mean, assign)
    first = evenly_spaced(len(probabilities)) if starts is None else np.asarray(starts)
    return search(steps, [_soften(probabilities[i]) for i in first], len(probabilities))


def _soften(p: np.ndarray) -> np.ndarray:
    """Return probabilities away from 0 and 1: one draw knows little about the others."""
    return 0.8 * p + 0.2 / len(p)


def _sum_of_x_log_x(p: np.ndarray) -> float:
    return float((p * np.log(np.maximum(p, _SMALLEST))).sum())
