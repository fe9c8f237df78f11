"""How often intervals and regions of the posterior hold the true values, against their level."""

import numpy as np

__all__ = ["expected_coverage", "tarp"]


def expected_coverage(pit: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Return how often central intervals of given levels hold the true value.

    Parameters
    ----------
    pit : array, shape (B, *shape)
        Probability integral transforms; see :func:`pit_values`.
    levels : array, shape (L,)
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray, shape (L, *shape)
        Shares of data sets; equal to the levels, up to chance, where the posterior is right.

    Examples
    --------
    >>> expected_coverage(np.linspace(0.005, 0.995, 100), np.array([0.5, 0.9]))
    array([0.5, 0.9])
    """
    central = np.abs(2 * np.asarray(pit) - 1)
    spread = np.asarray(levels).reshape(-1, *(1,) * central.ndim)
    return (central <= spread).mean(1)


def tarp(draws: np.ndarray, truth: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Return the share of draws that lie nearer to a reference than the true values do.

    Uniform if the joint posterior is right, whatever the references are, as long as they do not
    depend on the true values but through the data [1]_. Unlike ranks, it sees all parameters at
    once.

    Parameters
    ----------
    draws : array, shape (S, B, D)
        Of the posterior, on scales that can be compared.
    truth, references : array, shape (B, D)
        True values, and points to measure distances from.

    Returns
    -------
    numpy.ndarray, shape (B,)
        Shares; they can be used as :func:`pit_values` are.

    References
    ----------
    .. [1] Lemos, P., Coogan, A., Hezaveh, Y., & Perreault-Levasseur, L. (2023). Sampling-based
       accuracy testing of posterior estimators for general inference. ICML. arXiv:2302.03026

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws, truth, references = (rng.normal(size=s) for s in ((99, 500, 3), (500, 3), (500, 3)))
    >>> tarp(draws, truth, references).mean().round(1)
    np.float64(0.5)
    """
    near = np.square(draws - references).sum(-1) < np.square(truth - references).sum(-1)
    return (near.sum(0) + 0.5) / (len(draws) + 1)
