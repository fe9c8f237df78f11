"""Whether two samples are of one distribution."""

import numpy as np
import pytest

from scipy import stats

from pymc_amortized.diagnostics import (
    c2st,
    mmd,
    sliced_wasserstein,
)
from pymc_amortized.errors import InvalidArgumentError

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def test_two_samples():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 3))
    few = slice(100)
    assert abs(c2st(x[few], y[few]) - 0.5) < 3.5 * 0.5 / np.sqrt(200)
    assert c2st(x[few], y[few] + 1.5) > 0.8
    assert abs(mmd(x, y)) < 0.01 < mmd(x, y + 0.5)
    assert sliced_wasserstein(x, y) < 0.15 < sliced_wasserstein(x, y + 0.5)
    # In one dimension, SciPy's distance.
    found = sliced_wasserstein(x[:, :1], y[:, :1], num_projections=1)
    assert found == pytest.approx(stats.wasserstein_distance(x[:, 0], y[:, 0]))


def test_kernel_means_are_compared_by_their_definition():
    """Of samples of different sizes, pair by pair; a point is not compared with itself."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(7, 2)), rng.normal(0.5, 1, size=(8, 2))

    def kernel(a, b):
        return np.exp(-np.square(a - b).sum() / (2 * 0.8**2))

    within = [
        np.mean([kernel(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j])
        for a in (x, y)
    ]
    between = np.mean([kernel(a, b) for a in x for b in y])
    assert mmd(x, y, bandwidth=0.8) == pytest.approx(sum(within) - 2 * between)
    pooled = np.concatenate([x, y])
    distances = [np.linalg.norm(a - b) for i, a in enumerate(pooled) for b in pooled[:i]]
    assert mmd(x, y) == pytest.approx(mmd(x, y, bandwidth=np.median(distances)))


def test_a_shift_is_seen_by_its_length_along_random_directions():
    """On average over directions of the plane, 2 / π of it."""
    x = np.random.default_rng(0).normal(size=(50, 2))
    found = sliced_wasserstein(x, x + np.array([3, 4]), num_projections=20_000)
    # Along a direction it is |cos| of 5, with a standard deviation of 0.31 times 5.
    assert abs(found - 10 / np.pi) < 3.5 * 0.31 * 5 / np.sqrt(20_000)


def test_kernels_of_bayesflow():
    """Nineteen of them, pair by pair, a point with itself too; samples in blocks."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(601, 2)), rng.normal(0.5, 1, size=(40, 2))
    bandwidths = [10.0**e for e in range(-6, 0)] + [1, 5, 10, 15, 20, 25, 30, 35]
    bandwidths += [10.0**e for e in range(2, 7)]
    assert len(bandwidths) == 19

    def mean(a, b):
        squares = np.square(a[:, None] - b).sum(-1)
        return np.mean(sum(np.exp(-squares / (2 * v)) for v in bandwidths))

    expected = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    assert mmd(x, y, "bayesflow") == pytest.approx(expected, rel=1e-6)
    assert mmd(x, x, "bayesflow") < 1e-9
    with pytest.raises(InvalidArgumentError, match="'bayesflow' or None; got 'median'"):
        mmd(x, y, "median")
