"""How far two samples are from each other: a classifier, kernel means, projections."""

import warnings

from typing import Literal

import numpy as np

from pymc_amortized.errors import InvalidArgumentError

__all__ = ["c2st", "mmd", "sliced_wasserstein"]

_FEW = 2_000
_ROWS_AT_ONCE = 500
_BANDWIDTHS = np.array(  # squared, of BayesFlow 1
    [
        *(1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 5, 10, 15, 20, 25, 30, 35),
        *(100, 1e3, 1e4, 1e5, 1e6),
    ]
)


def c2st(x: np.ndarray, y: np.ndarray, seed: int = 1) -> float:
    """Return how well a classifier tells samples apart: 0.5 if not at all, 1 if always.

    Cross-validated accuracy of a perceptron with two layers of 10 D, on samples z-scored by the
    first, as in ``sbibm.metrics.c2st`` [1]_, which takes the reference for the first. It needs
    scikit-learn (``pip install pymc_amortized[benchmark]``).

    Parameters
    ----------
    x, y : array, shape (S, D)
        Samples; C2ST is fair where they are of the same size.
    seed : int
        Of the classifier and of the folds.

    References
    ----------
    .. [1] Lueckmann, J.-M., et al. (2021). Benchmarking simulation-based inference. AISTATS.
       arXiv:2101.04653
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    location, scale = x.mean(0), x.std(0, ddof=1)
    data = ((np.concatenate([x, y]) - location) / scale).astype(np.float32)
    labels = np.repeat([0, 1], [len(x), len(y)])
    width = 10 * x.shape[1]
    network = MLPClassifier(
        hidden_layer_sizes=(width, width), max_iter=10_000, solver="adam", random_state=seed
    )
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        jobs = 2 if len(data) > _FEW else None
        return float(cross_val_score(network, data, labels, cv=folds, n_jobs=jobs).mean())


def mmd(
    x: np.ndarray, y: np.ndarray, bandwidth: float | Literal["bayesflow"] | None = None
) -> float:
    """Return the squared maximum mean discrepancy, unbiased, with a Gaussian kernel [1]_.

    Parameters
    ----------
    x, y : array, shape (S, D)
        Samples, which may be of different sizes.
    bandwidth : float or "bayesflow", optional
        Of the kernel. Default: the median distance within the pooled sample. ``"bayesflow"`` is the
        biased estimate of BayesFlow 1 with the sum of 19 kernels, for tables that were made by it:
        its values can be above 2, and depend on the units of samples.

    Raises
    ------
    InvalidArgumentError
        If the bandwidth is neither.

    References
    ----------
    .. [1] Gretton, A., et al. (2012). A kernel two-sample test. JMLR 13, 723-773.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500, 2))
    >>> mmd(x, y) < 0.005 < mmd(x, y + 1)
    True
    >>> mmd(x, y, "bayesflow") < 0.05 < 1 < mmd(x, y + 1, "bayesflow")
    True
    """
    if isinstance(bandwidth, str):
        if bandwidth != "bayesflow":
            raise InvalidArgumentError(
                f"Expected bandwidth to be a number, 'bayesflow' or None; got {bandwidth!r}."
            )
        within, between = _mean_of_kernels(x, x) + _mean_of_kernels(y, y), _mean_of_kernels(x, y)
        return max(0.0, within - 2 * between)
    pooled = np.concatenate([x, y])
    squares = _squared_distances(pooled, pooled)
    if bandwidth is None:
        bandwidth = float(np.sqrt(np.median(squares[np.triu_indices(len(pooled), 1)])))
    kernel = np.exp(-squares / (2 * bandwidth**2))
    m, n = len(x), len(y)
    within_x = (kernel[:m, :m].sum() - m) / (m * (m - 1))
    within_y = (kernel[m:, m:].sum() - n) / (n * (n - 1))
    return float(within_x + within_y - 2 * kernel[:m, m:].mean())


def sliced_wasserstein(
    x: np.ndarray, y: np.ndarray, num_projections: int = 200, seed: int = 0
) -> float:
    """Return the mean distance between samples along random directions [1]_.

    Parameters
    ----------
    x, y : array, shape (S, D)
        Samples of the same size.
    num_projections, seed : int
        How many directions, and their seed.

    References
    ----------
    .. [1] Bonneel, N., et al. (2015). Sliced and Radon Wasserstein barycenters of measures. Journal
       of Mathematical Imaging and Vision 51, 22-45.

    Examples
    --------
    In one dimension it is the shift of one sample against the other.

    >>> x = np.random.default_rng(0).normal(size=(500, 1))
    >>> round(sliced_wasserstein(x, x + 0.25), 3)
    0.25
    """
    directions = np.random.default_rng(seed).normal(size=(x.shape[1], num_projections))
    directions /= np.linalg.norm(directions, axis=0)
    along_x, along_y = np.sort(x @ directions, axis=0), np.sort(y @ directions, axis=0)
    return float(np.abs(along_x - along_y).mean())


def _mean_of_kernels(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean over all pairs of the sum of BayesFlow's kernels."""
    total = 0.0
    for start in range(0, len(x), _ROWS_AT_ONCE):
        squares = _squared_distances(x[start : start + _ROWS_AT_ONCE], y)
        total += sum(float(np.exp(-squares / (2 * b)).sum()) for b in _BANDWIDTHS)
    return total / (len(x) * len(y))


def _squared_distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    lengths = np.square(x).sum(1)[:, None] + np.square(y).sum(1)
    return np.maximum(lengths - 2 * x @ y.T, 0)
