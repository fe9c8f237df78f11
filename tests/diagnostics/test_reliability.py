"""Calibration of probabilities of indicators."""

import numpy as np
import pytest

from pymc_amortized.diagnostics import (
    reliability,
)
from tests.diagnostics.right_posteriors import sharpened

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


def memberships(seed, change=lambda p: p, num_datasets=300):
    """Exact probabilities of two components whose weight and distance differ between data sets."""
    rng = np.random.default_rng(seed)
    tables, codes = [], []
    for _ in range(num_datasets):
        w, mu = rng.beta(2, 2), rng.normal(2, 1)
        z = (rng.random(40) < w).astype(int)
        y = rng.normal(mu * z, 1)
        p = 1 / (1 + (1 - w) / w * np.exp(0.5 * (y - mu) ** 2 - 0.5 * y**2))
        tables.append(change(np.stack([1 - p, p], axis=-1)))
        codes.append(z)
    return tables, codes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p, None),
        (sharpened, "too near to 0 and 1"),
        (lambda p: p[:, ::-1], "too near to 0 and 1"),
        (lambda p: 0.8 * p + 0.1, "too far from 0 and 1"),
        (lambda p: p * [1, 0.8] + [0, 0] + p[:, 1:] * [0.2, 0], "too small for component 1"),
    ],
)
def test_probabilities_that_do_not_come_true(change, words):
    caught = 0
    for seed in range(20):
        found = reliability(*memberships(seed, change))
        caught += found.p_value < 0.01
        assert words is None or found.in_words() == words
    assert caught <= 1 if words is None else caught >= 19


def test_scores_of_probabilities():
    p = np.array([[0.8, 0.2], [0.3, 0.7], [0.5, 0.5], [0.9, 0.1]])
    z = np.array([0, 1, 1, 1])
    found = reliability([p, p], [z, z])
    assert found.brier == pytest.approx(np.mean([0.08, 0.18, 0.5, 1.62]))
    assert found.log_score == pytest.approx(-np.log([0.8, 0.7, 0.5, 0.1]).mean())
    assert np.allclose(found.confusion, [[1, 0], [2 / 3, 1 / 3]])
    assert found.counts.sum() == 16
    assert np.nansum(found.predicted * found.counts) == pytest.approx(8)


def test_errors_too_rare_to_be_seen_are_not_an_error():
    """Nobody is misclassified, and that is what probabilities say: their spread is no evidence."""
    p = np.tile([[1 - 1e-4, 1e-4], [1e-4, 1 - 1e-4]], (10, 1))
    assert reliability([p] * 100, [np.tile([0, 1], 10)] * 100).p_value > 0.01
