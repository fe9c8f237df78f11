"""Relabelling by parameters: an order, one that is chosen, or a pivot to be near to."""

import numpy as np

from numpy.typing import ArrayLike

from pymc_amortized.labels.algorithms.permutations import best_permutations, permute
from pymc_amortized.labels.algorithms.relabelling import (
    Alternation,
    Relabelling,
    evenly_spaced,
    search,
)

__all__ = ["aic", "nearest_to_mean", "ordering", "pra"]


def ordering(values: ArrayLike) -> Relabelling:
    """Order components by one variable.

    Parameters
    ----------
    values : array, shape (S, K)
        By what to order, upwards.

    Returns
    -------
    Relabelling
        Its criterion is 0: the order holds in all draws.

    Examples
    --------
    >>> ordering([[1.0, 2.0], [3.0, 0.0]]).permutations.tolist()
    [[0, 1], [1, 0]]
    """
    return Relabelling(np.asarray(values).argsort(axis=1, kind="stable"), 0.0, (0.0,))


def aic(parameters: ArrayLike) -> Relabelling:
    """Order components by the parameter that separates them best.

    An artificial identifiability constraint [1]_, chosen as the one under which all parameters,
    standardized, vary least within components.

    Parameters
    ----------
    parameters : array, shape (S, K, J)
        J parameters of each component.

    Returns
    -------
    Relabelling
        Its criterion is the sum of the variances within components of all standardized parameters.

    References
    ----------
    .. [1] Richardson, S., & Green, P. J. (1997). On Bayesian analysis of mixtures with an unknown
       number of components. Journal of the Royal Statistical Society B 59, 731-792.
    """
    standardized = _standardize(parameters)
    found = []
    for j in range(standardized.shape[-1]):
        permutations = ordering(standardized[..., j]).permutations
        spread = float(permute(standardized, permutations, 1).var(axis=0).sum())
        found.append(Relabelling(permutations, spread, (spread,)))
    return min(found, key=lambda relabelling: relabelling.criterion)


def pra(parameters: ArrayLike, pivot: int) -> Relabelling:
    """Choose for each draw the permutation that brings it nearest to one draw, the pivot [1]_.

    Pivotal reordering: the scalar product with the pivot is as large as possible, and so the
    distance as small. The units of parameters would matter; here each is measured by its standard
    deviation within components, as :func:`aic` finds them, so that those that do not tell
    components apart weigh little.

    Parameters
    ----------
    parameters : array, shape (S, K, J)
        J parameters of each component.
    pivot : int
        The draw that others are compared with: the most probable one.

    Returns
    -------
    Relabelling
        Its criterion is the sum of squared distances from the pivot.

    References
    ----------
    .. [1] Marin, J.-M., Mengersen, K., & Robert, C. P. (2005). Bayesian modelling and inference on
       mixtures of distributions. Handbook of Statistics 25, 459-507.

    Examples
    --------
    >>> pra([[[0.0], [4.0]], [[4.1], [0.1]]], pivot=0).permutations.tolist()
    [[0, 1], [1, 0]]
    """
    scaled = scaled_within(parameters)
    permutations, distances = _nearest(scaled, scaled[pivot])
    criterion = float(distances.sum())
    return Relabelling(permutations, criterion, (criterion,))


def nearest_to_mean(parameters: ArrayLike) -> Relabelling:
    """Alternate between the mean of relabelled draws and the permutations nearest to it.

    As :func:`pra`, with the mean for a pivot.

    Parameters
    ----------
    parameters : array, shape (S, K, J)
        J parameters of each component.

    Returns
    -------
    Relabelling
        Its criterion is the sum of squared distances from the mean.
    """
    scaled = scaled_within(parameters)
    steps = Alternation(
        lambda permutations, draws: permute(scaled[draws], permutations, 1).mean(axis=0),
        lambda centre, draws: _nearest(scaled[draws], centre),
    )
    starts = [scaled[i] for i in evenly_spaced(len(scaled))]
    return search(steps, starts, len(scaled))


def scaled_within(parameters: ArrayLike) -> np.ndarray:
    """Return parameters (S, K, J) in standard deviations within components, from their mean.

    Components are those of :func:`aic`.
    """
    standardized = _standardize(parameters)
    labelled = permute(standardized, aic(parameters).permutations, 1)
    sd = np.sqrt(labelled.var(axis=0).mean(axis=0))
    return standardized / np.where(sd > 0, sd, 1.0)


def _nearest(scaled: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the permutations nearest to a centre (K, J), and squared distances from it (S,)."""
    permutations, costs = best_permutations(-np.einsum("skj,lj->skl", scaled, centre))
    squares = np.square(scaled).sum(axis=(1, 2)) + np.square(centre).sum()
    return permutations, squares + 2 * costs


def _standardize(parameters: ArrayLike) -> np.ndarray:
    parameters = np.asarray(parameters, dtype=float)
    sd = parameters.std(axis=(0, 1))
    return (parameters - parameters.mean(axis=(0, 1))) / np.where(sd > 0, sd, 1.0)
