"""Whether probabilities of indicators are right: reliability, scores, and tests of calibration."""

import math

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scipy import stats

__all__ = ["Reliability", "reliability"]

_NUM_BINS = 10


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Probabilities of indicators against the values that they had, over all units of B data sets.

    Attributes
    ----------
    edges : numpy.ndarray, shape (M + 1,)
        Of bins of probabilities.
    predicted, observed : numpy.ndarray, shape (M, K)
        Mean probability of each component in each bin, and how often units belonged to it; NaN
        where a bin is empty.
    counts : numpy.ndarray of int, shape (M, K)
        Units in each bin.
    confusion : numpy.ndarray, shape (K, K)
        Share of units of each true component (rows) whose most probable one is which (columns).
    brier : float
        Mean squared distance of probabilities from what was, between 0 and 2.
    log_score : float
        Mean negative log probability of what was, in nats per unit.
    calibration_error : float
        Mean distance of observed from predicted shares over bins, units counting equally.
    bias, slope : numpy.ndarray, shape (K,)
        In standard errors: above 0 where a component is more frequent than is said; below 0 where
        probabilities are too near to 0 and 1.
    p_value : float
        That probabilities are calibrated, from ``bias`` and ``slope`` of all components.
    """

    edges: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    counts: np.ndarray
    confusion: np.ndarray
    brier: float
    log_score: float
    calibration_error: float
    bias: np.ndarray
    slope: np.ndarray
    p_value: float

    def in_words(self) -> str:
        """Say in which way probabilities are wrong, if they are."""
        if np.abs(self.slope).max() >= np.abs(self.bias).max():
            worst = self.slope[np.abs(self.slope).argmax()]
            return "too near to 0 and 1" if worst < 0 else "too far from 0 and 1"
        return f"too small for component {int(self.bias.argmax())}"


def reliability(probabilities: Sequence[np.ndarray], codes: Sequence[np.ndarray]) -> Reliability:
    """Compare probabilities of indicators with their values.

    Units of one data set depend on each other through its parameters, so that tests count data
    sets and not units: where probabilities are right, the sum of ``(z == k) - p`` over units has
    mean zero in each data set, and so has its product with the logit of p.

    Parameters
    ----------
    probabilities : sequence of array, shape (N, K)
        For each data set p(z_i = k given y), or given y and the parameters.
    codes : sequence of array of int, shape (N,)
        For each data set the true values, 0 to K - 1.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> p = rng.random((300, 20))
    >>> codes = (rng.random((300, 20)) < p).astype(int)
    >>> right = reliability([np.stack([1 - q, q], -1) for q in p], codes)
    >>> right.p_value > 0.001
    True
    """
    every, true = np.concatenate(probabilities), np.concatenate(codes)
    num_components = every.shape[1]
    hit = np.eye(num_components)[true]
    edges = np.linspace(0, 1, _NUM_BINS + 1)
    counts, predicted, observed = (np.zeros((_NUM_BINS, num_components)) for _ in range(3))
    places = np.minimum((every * _NUM_BINS).astype(int), _NUM_BINS - 1)
    for k in range(num_components):
        counts[:, k] = np.bincount(places[:, k], minlength=_NUM_BINS)
        predicted[:, k] = np.bincount(places[:, k], every[:, k], _NUM_BINS)
        observed[:, k] = np.bincount(places[:, k], hit[:, k], _NUM_BINS)
    gap = np.abs(observed - predicted).sum() / counts.sum()
    with np.errstate(invalid="ignore"):
        predicted, observed = predicted / counts, observed / counts
    confusion = np.zeros((num_components, num_components))
    np.add.at(confusion, (true, every.argmax(1)), 1)
    bias, slope, p_value = _calibration(probabilities, codes)
    return Reliability(
        edges=edges,
        predicted=predicted,
        observed=observed,
        counts=counts.astype(int),
        confusion=confusion / np.maximum(confusion.sum(1, keepdims=True), 1),
        brier=float(np.square(every - hit).sum(1).mean()),
        log_score=float(-np.log(np.maximum((every * hit).sum(1), 1e-300)).mean()),
        calibration_error=float(gap),
        bias=bias,
        slope=slope,
        p_value=p_value,
    )


def _calibration(
    probabilities: Sequence[np.ndarray], codes: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return t statistics of bias and of slope for each component, and one p-value of all."""
    sums, expected = [], []
    for p, z in zip(probabilities, codes, strict=True):
        excess = np.eye(p.shape[1])[z] - p
        inside = p.clip(1e-6, 1 - 1e-6)
        logit = np.log(inside / (1 - inside))
        sums.append([excess.sum(0), (excess * logit).sum(0)])
        variance = p * (1 - p)
        expected.append([variance.sum(0), (variance * logit**2).sum(0)])
    totals = np.array(sums)  # (B, 2, K)
    # Where errors are so rare that none has been seen, their spread says less than it should: that
    # of independent units, as they are said to be, is a lower bound.
    spread = np.sqrt(np.maximum(totals.var(0, ddof=1), np.mean(expected, axis=0)))
    error, mean = spread / math.sqrt(len(totals)), totals.mean(0)
    t = np.divide(mean, error, out=np.zeros_like(mean), where=error > 0)
    # With two components the second says what the first has said.
    distinct = t[:, : max(1, t.shape[1] - (t.shape[1] == 2))]
    p_values = 2 * stats.t.sf(np.abs(distinct), len(totals) - 1)
    return t[0], t[1], float(min(1.0, p_values.size * p_values.min()))
