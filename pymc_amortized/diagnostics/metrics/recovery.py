"""What posteriors say of true values: recovery, contraction, and z-scores."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Recovery", "recovery"]


@dataclass(frozen=True, slots=True, eq=False)
class Recovery:
    """Posteriors of B data sets against true values.

    Attributes
    ----------
    truth, mean, sd, low, high : numpy.ndarray, shape (B, *shape)
        True values; mean, standard deviation and 90 % interval of the posterior.
    contraction : numpy.ndarray, shape (*shape)
        1 less the mean variance of posteriors over the variance of the prior: 1 where data say
        everything, 0 where they say nothing.
    z_score : numpy.ndarray, shape (B, *shape)
        Mean less true value, in standard deviations of the posterior.
    correlation : numpy.ndarray, shape (*shape)
        Of means with true values.
    """

    truth: np.ndarray
    mean: np.ndarray
    sd: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def contraction(self) -> np.ndarray:
        """1 less the mean variance of posteriors over the variance of the prior."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return 1 - np.square(self.sd).mean(0) / self.truth.var(0)

    @property
    def z_score(self) -> np.ndarray:
        """Mean less true value, in standard deviations of the posterior."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return (self.mean - self.truth) / self.sd

    @property
    def correlation(self) -> np.ndarray:
        """Of means with true values."""
        x, y = self.mean - self.mean.mean(0), self.truth - self.truth.mean(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (x * y).mean(0) / (x.std(0) * y.std(0))


def recovery(draws: np.ndarray, truth: np.ndarray) -> Recovery:
    """Compare posteriors with the values that data were simulated from.

    Parameters
    ----------
    draws : array, shape (S, B, *shape)
        Of the posterior of each of B data sets.
    truth : array, shape (B, *shape)
        True values, drawn from the prior.

    References
    ----------
    .. [1] Schad, D. J., Betancourt, M., & Vasishth, S. (2021). Toward a principled Bayesian
       workflow in cognitive science. Psychological Methods 26(1). arXiv:1904.12765

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.normal(size=200)
    >>> found = recovery(truth + 0.1 * rng.normal(size=(500, 200)), truth)
    >>> found.contraction.round(1)
    np.float64(1.0)
    """
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    return Recovery(np.asarray(truth), draws.mean(0), draws.std(0), low, high)
