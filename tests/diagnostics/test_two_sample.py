"""Whether two samples are of one distribution."""

import numpy as np
import pytest

from scipy import stats

from pymc_amortized.diagnostics import (
    c2st,
    mmd,
    sliced_wasserstein,
)

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
