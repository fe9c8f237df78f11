"""Whether ranks are uniform: tests that hold their level."""

import numpy as np
import pytest

from scipy import stats

from pymc_amortized.diagnostics import (
    band_level,
    pit_values,
    uniformity,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def test_p_values_of_right_posteriors_are_not_too_small():
    p_values = np.array(
        [uniformity(np.random.default_rng(seed).random(100)).p_value for seed in range(400)]
    )
    for level in (0.05, 0.2):
        # At most the level: three tests share it.
        assert (p_values < level).sum() < stats.binom.ppf(0.9995, 400, level)
        assert (p_values < level).sum() > stats.binom.ppf(0.0005, 400, level / 3)


def test_the_simultaneous_band_holds_as_often_as_it_says():
    points, low, high = band_level(80)
    inside = 0
    for seed in range(1_000):
        values = np.sort(np.random.default_rng(seed).random(80))
        share = np.searchsorted(values, points, side="right") / 80
        inside += bool(((low <= share) & (share <= high)).all())
        below = uniformity(values).log_gamma < 0
        if seed < 200:
            assert below != bool(((low <= share) & (share <= high)).all())
    assert abs(inside / 1_000 - 0.95) < 3.5 * np.sqrt(0.95 * 0.05 / 1_000) + 0.005


def test_ranks_of_discrete_quantities_are_uniform():
    """Many draws equal the true value: ties are broken at random."""
    rng = np.random.default_rng(0)
    truth, draws = rng.integers(3, size=2_000), rng.integers(3, size=(9, 2_000))
    values = pit_values(draws, truth, rng)
    assert stats.kstest(values, "uniform").pvalue > 0.001
    # A planted fault: ties counted as below.
    naive = ((draws <= truth).sum(0) + rng.random(2_000)) / 10
    assert stats.kstest(naive, "uniform").pvalue < 0.001
