"""How far two samples are from each other: a classifier, kernel means, projections."""

import warnings

import numpy as np

__all__ = ["c2st", "mmd", "sliced_wasserstein"]

_FEW = 2_000


def c2st(x: np.ndarray, y: np.ndarray, seed: int = 0) -> float:
    """Return how well a classifier tells samples apart: 0.5 if not at all, 1 if always.

    Cross-validated accuracy of a perceptron on z-scored samples, as in the SBI benchmark [1]_.
    It needs scikit-learn (``pip install pymc_amortized[benchmark]``).

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

    location, scale = x.mean(0), x.std(0)
    data = (np.concatenate([x, y]) - location) / scale
    labels = np.repeat([0, 1], [len(x), len(y)])
    width = 10 * x.shape[1]
    network = MLPClassifier(
        hidden_layer_sizes=(width, width), max_iter=1000, solver="adam", random_state=seed
    )
    folds = KFold(n_splits=5, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        jobs = 2 if len(data) > _FEW else None
        return float(cross_val_score(network, data, labels, cv=folds, n_jobs=jobs).mean())


def mmd(x: np.ndarray, y: np.ndarray, bandwidth: float | None = None) -> float:
    """Return the squared maximum mean discrepancy, unbiased, with a Gaussian kernel [1]_.

    Parameters
    ----------
    x, y : array, shape (S, D)
        Samples, which may be of different sizes.
    bandwidth : float, optional
        Of the kernel. Default: the median distance within the pooled sample.

    References
    ----------
    .. [1] Gretton, A., et al. (2012). A kernel two-sample test. JMLR 13, 723-773.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(2, 500, 2))
    >>> mmd(x, y) < 0.005 < mmd(x, y + 1)
    True
    """
    pooled = np.concatenate([x, y])
    squares = _squared_distances(pooled)
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


def _squared_distances(points: np.ndarray) -> np.ndarray:
    lengths = np.square(points).sum(1)
    return np.maximum(lengths[:, None] + lengths - 2 * points @ points.T, 0)
