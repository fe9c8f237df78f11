"""Weighted draws for a batch of data sets, against a conjugate model."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.weights import weigh
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws, scores_of
from tests.inference.answered import exact_log_evidence, exact_mean
from tests.trained import data

SETS = [data(seed=s) + 1 for s in (0, 5)]
BOTH = torch.tensor([0, 1])


@pytest.fixture
def weighted(trained):
    _, posterior = trained("normal_mean")
    inference = posterior.inference
    datasets = [inference.read({"y": y}) for y in SETS]
    generator = torch.Generator().manual_seed(3)
    return WeightedDraws(inference, datasets, 2_000, generator, AcceptanceRule())


def mu_of(weighted, points, index=BOTH):
    context = weighted.context[index]
    scores, _ = weighted.inference.proposals.to_scores(points, context)
    return weighted.inference.problem.parameters(scores)[1]["mu"]


def test_weighted_draws_have_the_evidence_and_the_mean_of_the_posterior(weighted):
    pool = weighted.from_network(BOTH, 4_000)
    log_evidence, error = weighted.evidence(pool)
    weight = pool.log_weights.softmax(0)
    mean = (weight * mu_of(weighted, pool.points)).sum(0)
    for b, y in enumerate(SETS):
        assert abs(float(log_evidence[b]) - exact_log_evidence(y)) < 5 * float(error[b]) + 1e-9
        exact = exact_mean(y)
        assert abs(float(mean[b]) - exact.mean()) < 6 * exact.std() / math.sqrt(1_000)


def test_resampled_draws_are_those_of_the_posterior(weighted):
    pool = weighted.from_network(BOTH, 8_000)
    draws = weighted.resampled(BOTH, pool, weigh(pool.log_weights), apart=False)
    mu = weighted.inference.problem.parameters(draws.scores)[1]["mu"]
    chosen = draws.chosen
    points, log_target, _ = pool.pick(chosen)
    log_weight = log_target - weighted.inference.proposals.log_prob(points, weighted.context)
    torch.testing.assert_close(draws.log_target - draws.log_q, log_weight)
    for b, y in enumerate(SETS):
        # Draws repeat each other: of the different ones, a thinned part is tested.
        different = mu[:, b].numpy()[np.unique(chosen[:, b], return_index=True)[1]]
        assert stats.kstest(different[::4], exact_mean(y).cdf).pvalue > 1e-4
        assert stats.kstest(different[::4] + 0.2, exact_mean(y).cdf).pvalue < 1e-4


def test_targets_and_proposals_of_some_data_sets_are_their_own(weighted):
    """Positions count within the index that they were made for."""
    index = torch.tensor([1])
    target, network = weighted.target(index), weighted.network(index)
    at = torch.tensor([0])
    points, own = network.sample(50, at)
    torch.testing.assert_close(own, network.log_prob(points, at))
    whole = weighted.inference.log_target_of(
        points, weighted.context[index], weighted.frames.select(index)
    )
    log_target, images = target(points, at)
    torch.testing.assert_close(log_target, whole)
    scores, log_det = weighted.inference.proposals.to_scores(points, weighted.context[index])
    for found, expected in zip(scores_of(images), (scores, log_det), strict=True):
        torch.testing.assert_close(found, expected)
    other, _ = weighted.target(torch.tensor([0]))(points, at)
    assert float((other - whole).abs().max()) > 1e-3
    expected = weighted.inference.proposals.log_prob(points, weighted.context[index])
    torch.testing.assert_close(network.log_prob(points, at), expected)


def test_draws_cannot_be_worth_more_than_are_asked_for(weighted):
    assert weighted.rule_for_weights.ess <= AcceptanceRule().ess
    assert weighted.wanted == 1_500
    assert len(weighted) == 2


def test_draws_are_moved_where_few_are_different(weighted):
    """What is known of moved draws is that of the places where they have gone."""
    pool = weighted.from_network(BOTH, 4_000)
    # Only 900 draws have weight, for the first data set: 2,000 of it repeat each other.
    log_weights = pool.log_weights.clone()
    log_weights[900:, 0] = -math.inf
    weights = weigh(log_weights)
    assert bool(weighted.accepted(weights).all())
    stay, moved = (weighted.resampled(BOTH, pool, weights, apart=apart) for apart in (False, True))

    def num_distinct(draws, b):
        return draws.scores[:, b, 0].unique().numel()

    assert num_distinct(stay, 0) <= 900 < 1_500 < num_distinct(moved, 0)
    num_chosen = moved.chosen[:, 1].unique().numel()
    # In single precision two of 2,000 may have the same value.
    assert num_chosen - 5 <= num_distinct(moved, 1) <= num_chosen
    inference, context = weighted.inference, weighted.context
    log_target = inference.problem.log_target(moved.scores, weighted.frames)
    torch.testing.assert_close(moved.log_target, log_target, rtol=1e-6, atol=1e-4)
    log_q = inference.log_network(moved.scores, context)
    torch.testing.assert_close(moved.log_q, log_q, rtol=1e-3, atol=1e-2)
    for b, y in enumerate(SETS):
        mu = inference.problem.parameters(moved.scores)[1]["mu"][:, b].numpy()
        exact = exact_mean(y)
        # Worth 400 draws at least.
        assert abs(mu.mean() - exact.mean()) < 4.5 * exact.std() / math.sqrt(400)
