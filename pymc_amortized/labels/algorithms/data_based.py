"""Relabelling by the data of each component."""

import numpy as np

from numpy.typing import ArrayLike

from pymc_amortized.labels.algorithms.permutations import best_permutations, permute
from pymc_amortized.labels.algorithms.relabelling import (
    Alternation,
    Relabelling,
    evenly_spaced,
    search,
)

__all__ = ["data_based"]

Clusters = tuple[np.ndarray, np.ndarray]


def data_based(
    labels: ArrayLike, data: ArrayLike, num_labels: int, starts: ArrayLike | None = None
) -> Relabelling:
    r"""Make the clusters of data that allocations form as alike as possible, as in k-means [1]_.

    Alternates between centres :math:`m_k` and dispersions :math:`s_k`, the means over draws of the
    mean and the standard deviation of the data in each cluster, and the permutations that minimize
    :math:`\sum_i \lVert (x_i - m_{z_i}) / s_{z_i} \rVert^2 / 2 + \log s_{z_i}`. The logarithm,
    which the original does without, keeps wide clusters from attracting everything.

    Parameters
    ----------
    labels : array of int, shape (S, N)
        Draws of allocations, from 0 to K - 1.
    data : array, shape (N,) or (N, J)
        What was observed of each unit.
    num_labels : int
        K.
    starts : array of int, shape (J,), optional
        Draws whose clusters serve as the first ones; the best of their ends is gone on with.
        Default: five, evenly spaced.

    Returns
    -------
    Relabelling
        Its criterion is the sum over draws and units.

    References
    ----------
    .. [1] Rodríguez, C. E., & Walker, S. G. (2014). Label switching in Bayesian mixture models:
       deterministic relabeling strategies. Journal of Computational and Graphical Statistics 23,
       25-45.

    Examples
    --------
    >>> data_based([[0, 0, 1], [1, 1, 0]], [1.0, 1.2, 9.0], 2).permutations.tolist()
    [[0, 1], [1, 0]]
    """
    labels, data = np.asarray(labels), np.asarray(data, dtype=float)
    data = data.reshape(len(data), -1)
    data = (data - data.mean(axis=0)) / np.where(data.std(axis=0) > 0, data.std(axis=0), 1.0)
    counts, sums, squares = _moments(labels, data, num_labels)
    some = np.maximum(counts, 1)[..., None]
    means = sums / some
    spreads = np.sqrt(np.maximum(squares / some - np.square(means), 0))
    # A cluster of a point or two has hardly any spread, and none can be told from none.
    smallest = data.std(axis=0) / num_labels / 10

    def clusters(permutations: np.ndarray, draws: np.ndarray | slice) -> Clusters:
        there = permute(counts[draws] > 0, permutations, 1)[..., None]
        number = np.maximum(there.sum(axis=0), 1)
        centres, widths = (
            (permute(x[draws], permutations, 1) * there).sum(axis=0) / number
            for x in (means, spreads)
        )
        return centres, np.maximum(widths, smallest)

    def assign(pivot: Clusters, draws: np.ndarray | slice) -> tuple[np.ndarray, np.ndarray]:
        centre, width = pivot
        costs = 0.0
        for j in range(data.shape[1]):
            m, s = centre[:, j], width[:, j]
            n, x, xx = (v[draws][:, :, None] for v in (counts, sums[..., j], squares[..., j]))
            costs = costs + (xx - 2 * m * x + m**2 * n) / (2 * s**2) + n * np.log(s)
        return best_permutations(costs)

    steps = Alternation(clusters, assign)
    first = evenly_spaced(len(labels)) if starts is None else np.asarray(starts)
    unchanged = np.arange(num_labels)[None]
    begin = [clusters(unchanged, np.array([i])) for i in first]
    return search(steps, begin, len(labels))


def _moments(
    labels: np.ndarray, data: np.ndarray, num_labels: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sizes (S, K), sums and sums of squares (S, K, J) of the clusters of each draw."""
    columns = np.concatenate([np.ones((len(data), 1)), data, np.square(data)], axis=1)
    totals = np.stack([(labels == k).astype(float) @ columns for k in range(num_labels)], axis=1)
    size = data.shape[1]
    return totals[..., 0], totals[..., 1 : 1 + size], totals[..., 1 + size :]
