"""Simulation-based calibration: ranks of true values among draws, and whether they are uniform."""

import functools
import math

from dataclasses import dataclass

import numpy as np

from scipy import stats

__all__ = ["Uniformity", "band_level", "pit_values", "uniformity"]

_NUM_POINTS = 100
_NUM_NULL = 20_000


def pit_values(
    draws: np.ndarray, truth: np.ndarray, rng: np.random.Generator | int | None = None
) -> np.ndarray:
    """Return where true values lie among draws of the posterior: uniform on (0, 1) if it is right.

    Parameters
    ----------
    draws : array, shape (S, *shape)
        Draws given the data that were simulated from the true values.
    truth : array, shape (*shape)
        True values, drawn from the prior.
    rng : numpy.random.Generator or int, optional
        Ranks are spread over the interval that they stand for, and draws that equal the true value
        are put below or above it at random, so that discrete quantities are uniform too.

    Returns
    -------
    numpy.ndarray, shape (*shape)
        Probability integral transforms.

    References
    ----------
    .. [1] Talts, S., et al. (2018). Validating Bayesian inference algorithms with simulation-based
       calibration. arXiv:1804.06788

    Examples
    --------
    >>> pit_values(np.arange(99.0), np.float64(49.5), 0).round(1)
    np.float64(0.5)
    """
    rng = np.random.default_rng(rng)
    below, ties = (draws < truth).sum(0), (draws == truth).sum(0)
    return (below + rng.random(np.shape(truth)) * (ties + 1)) / (len(draws) + 1)


@dataclass(frozen=True, slots=True)
class Uniformity:
    """Whether B values are draws of the uniform distribution, and how they differ from it.

    Attributes
    ----------
    log_gamma : float
        Log of the smallest tail probability of the empirical distribution function, over its 5 %
        quantile [1]_: below 0 where the function leaves the simultaneous 95 % band.
    shift : float
        Mean of the normal scores, in standard errors: above 0 where true values tend to lie above
        the draws, so that the posterior is too low.
    spread : float
        Mean square of the normal scores, less 1, in standard errors: above 0 where true values are
        too often in the tails, so that the posterior is too narrow.
    p_value : float
        Of all three together.

    References
    ----------
    .. [1] Säilynoja, T., Bürkner, P.-C., & Vehtari, A. (2022). Graphical test for discrete
       uniformity and its applications in goodness-of-fit evaluation and multiple sample
       comparison. Statistics and Computing 32. arXiv:2103.10522
    """

    log_gamma: float
    shift: float
    spread: float
    p_value: float

    def in_words(self) -> str:
        """Say in which way the posterior is wrong, if it is."""
        if max(abs(self.shift), abs(self.spread)) < 2:
            return "of another shape"
        if abs(self.shift) > abs(self.spread):
            return "too low" if self.shift > 0 else "too high"
        return "too narrow" if self.spread > 0 else "too wide"


def uniformity(values: np.ndarray) -> Uniformity:
    """Test values (B,) for uniformity on (0, 1).

    Parameters
    ----------
    values : array, shape (B,)
        Probability integral transforms of independent data sets.

    Examples
    --------
    >>> uniformity(np.linspace(0.005, 0.995, 100)).log_gamma > 0
    True
    >>> uniformity(np.linspace(0.3, 0.7, 100)).in_words()
    'too wide'
    """
    values = np.asarray(values, dtype=float)
    num = len(values)
    points = _points(num)
    counts = np.searchsorted(np.sort(values), points, side="right")
    gamma = _gamma(counts[None], num)[0]
    null = _null_gamma(num)
    scores = stats.norm.ppf(values.clip(1e-12, 1 - 1e-12))
    squares = float((scores**2).sum())
    shift = float(scores.mean() * math.sqrt(num))
    p_values = (
        (1 + np.searchsorted(null, gamma, side="right")) / (len(null) + 1),
        2 * stats.norm.sf(abs(shift)),
        2 * min(stats.chi2.sf(squares, num), stats.chi2.cdf(squares, num)),
    )
    return Uniformity(
        log_gamma=float(np.log(max(gamma, 1e-300)) - np.log(np.quantile(null, 0.05))),
        shift=shift,
        spread=(squares - num) / math.sqrt(2 * num),
        p_value=float(min(1.0, len(p_values) * min(p_values))),
    )


def band_level(num_values: int, prob: float = 0.95) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a band in which the whole empirical distribution function lies with a probability.

    Parameters
    ----------
    num_values : int
        B.
    prob : float
        Of uniform values.

    Returns
    -------
    points, low, high : numpy.ndarray
        The band at points between 0 and 1, as shares.
    """
    points = _points(num_values)
    gamma = np.quantile(_null_gamma(num_values), 1 - prob)
    low = stats.binom.ppf(gamma / 2, num_values, points) / num_values
    high = stats.binom.ppf(1 - gamma / 2, num_values, points) / num_values
    return points, low, high


def _points(num_values: int) -> np.ndarray:
    count = min(num_values, _NUM_POINTS)
    return np.arange(1, count) / count


def _gamma(counts: np.ndarray, num_values: int) -> np.ndarray:
    """Return twice the smallest tail probability of counts (R, points) below points."""
    points = _points(num_values)
    every = np.arange(num_values + 1)[:, None]
    below = stats.binom.cdf(every, num_values, points)
    above = stats.binom.sf(every - 1, num_values, points)
    tails = np.minimum(below, above)
    return 2 * tails[counts, np.arange(len(points))].min(1)


@functools.lru_cache(maxsize=32)
def _null_gamma(num_values: int) -> np.ndarray:
    """Return the statistic of simulated uniform values, in order."""
    cells = len(_points(num_values)) + 1
    rng = np.random.default_rng(0)
    counts = rng.multinomial(num_values, np.full(cells, 1 / cells), size=_NUM_NULL)
    return np.sort(_gamma(counts.cumsum(1)[:, :-1], num_values))
