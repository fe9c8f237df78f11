"""Calibration of parameters: right posteriors, and wrong ones."""

import numpy as np
import pytest

from pymc_amortized.diagnostics import (
    expected_coverage,
    pit_values,
    recovery,
    tarp,
    uniformity,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def conjugate(rng, num_datasets=300, num_draws=500, scale=1.0, shift=0.0):
    """True values and draws of the exact posterior of a normal mean, stretched and moved."""
    mu = rng.normal(0, 2, num_datasets)
    y = rng.normal(mu[:, None], 1, (num_datasets, 5))
    sd = np.sqrt(1 / (1 / 4 + 5))
    noise = rng.normal(size=(num_draws, num_datasets))
    return mu, sd**2 * y.sum(1) + sd * (scale * noise + shift)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({}, None),
        ({"scale": 0.8}, "too narrow"),
        ({"scale": 1.25}, "too wide"),
        ({"shift": 0.3}, "too high"),
        ({"shift": -0.3}, "too low"),
    ],
)
def test_ranks_tell_what_is_wrong(fault, words):
    caught = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth, draws = conjugate(rng, **fault)
        found = uniformity(pit_values(draws, truth, rng))
        caught += found.p_value < 0.01
        assert words is None or found.in_words() == words
    assert caught <= 1 if words is None else caught >= 19


def test_coverage_is_counted_for_each_quantity():
    pit = np.stack([np.linspace(0.005, 0.995, 100), np.full(100, 0.5)], axis=1)
    found = expected_coverage(pit, np.array([0.1, 0.5]))
    assert np.allclose(found, [[0.1, 1], [0.5, 1]])


def test_tarp_sees_what_marginals_do_not():
    """Draws with the right margins and without their correlation."""
    rng = np.random.default_rng(0)
    cov = np.array([[1, 0.95], [0.95, 1]])
    truth = rng.multivariate_normal([0, 0], cov, 400)
    references = rng.permutation(truth)
    right = rng.multivariate_normal([0, 0], cov, (500, 400))
    wrong = rng.normal(size=(500, 400, 2))
    assert uniformity(tarp(right, truth, references)).p_value > 0.01
    assert uniformity(tarp(wrong, truth, references)).p_value < 0.001
    for d in range(2):
        assert uniformity(pit_values(wrong[..., d], truth[:, d], rng)).p_value > 0.001


def test_recovery_is_computed_over_data_sets():
    truth, draws = conjugate(np.random.default_rng(1), 400, 800)
    found = recovery(draws, truth)
    variance = 1 / (1 / 4 + 5)
    assert found.contraction == pytest.approx(1 - variance / truth.var(), abs=0.005)
    assert found.correlation > 0.95
    assert abs(found.z_score.std() - 1) < 0.15
    inside = (found.low < truth) & (truth < found.high)
    assert abs(inside.mean() - 0.9) < 3.5 * np.sqrt(0.09 / 400)
