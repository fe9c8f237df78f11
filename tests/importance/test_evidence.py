"""Integrals from draws on both sides, where importance weights do not reach."""

import math

import pytest
import torch

from pymc_amortized.importance.evidence import bridge_sampling, joint_log_weights, log_mean_weight

SIZE, NUM_DRAWS, REPEATS = 8, 2_000, 60
LOG_INTEGRAL = 2.5


def log_normal(x, scale):
    return -((x / scale).square() + math.log(2 * math.pi * scale**2)).sum(-1) / 2


def log_ratio(x, scale):
    """Of a standard normal target of known integral, and a proposal of another width."""
    return LOG_INTEGRAL + log_normal(x, 1.0) - log_normal(x, scale)


def draws(scale, seed, number=NUM_DRAWS):
    """Many data sets at once are as many repetitions."""
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(number, REPEATS, SIZE, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_integrals_are_right_and_their_errors_too(scale):
    """Narrow proposals as well as wide ones."""
    target, proposal = log_ratio(draws(1.0, 1), scale), log_ratio(draws(scale, 2), scale)
    found, error = bridge_sampling(target, proposal, NUM_DRAWS)
    z = (found - LOG_INTEGRAL) / error.clamp(min=1e-9)
    if scale == 1.0:
        assert bool((found - LOG_INTEGRAL).abs().max() < 1e-9)
        return
    # The mean of sixty standard normal values, and their standard deviation.
    assert abs(float(z.mean())) < 3.3 / math.sqrt(REPEATS) + 0.1
    assert 0.7 < float(z.std()) < 1.35


def test_a_narrow_proposal_needs_draws_of_the_target():
    """Importance weights alone are too low by more than their errors, more often than not."""
    target, proposal = log_ratio(draws(1.0, 1), 0.5), log_ratio(draws(0.5, 2), 0.5)
    found, _ = bridge_sampling(target, proposal, NUM_DRAWS)
    alone, _ = log_mean_weight(proposal)
    assert abs(float(found.median()) - LOG_INTEGRAL) < 0.05
    assert float(alone.median()) < LOG_INTEGRAL - 0.25


def test_draws_that_depend_on_each_other_count_as_fewer():
    """Each of five hundred four times: the error is that of five hundred."""
    repeated = draws(1.0, 1, NUM_DRAWS // 4).repeat(4, 1, 1)
    target, proposal = log_ratio(repeated, 0.7), log_ratio(draws(0.7, 2), 0.7)
    found, error = bridge_sampling(target, proposal, NUM_DRAWS / 4)
    z = (found - LOG_INTEGRAL) / error
    assert 0.7 < float(z.std()) < 1.35
    _, as_if_all = bridge_sampling(target, proposal, NUM_DRAWS)
    assert bool((as_if_all < 0.8 * error).all())


def test_data_sets_do_not_know_of_each_other():
    target, proposal = log_ratio(draws(1.0, 1), 1.5), log_ratio(draws(1.5, 2), 1.5)
    together, _ = bridge_sampling(target, proposal, NUM_DRAWS)
    alone, _ = bridge_sampling(target[:, 3:4], proposal[:, 3:4], NUM_DRAWS)
    assert abs(float(together[3] - alone)) < 1e-5


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_draws_of_both_sides_together_are_draws_of_the_target(scale):
    """Means of x and of its square, which a proposal of half of the width alone has too small."""
    both = torch.cat([draws(1.0, 1), draws(scale, 2)])
    ratios = log_ratio(both, scale)
    known = ratios[:NUM_DRAWS], ratios[NUM_DRAWS:], NUM_DRAWS
    log_weights = joint_log_weights(*known, bridge_sampling(*known)[0])
    weights = log_weights.exp().unsqueeze(-1)
    assert torch.allclose(weights.sum(0), torch.ones(1, dtype=torch.float64))
    # All that a draw of the target can have, and no more.
    assert float(weights.amax()) < 1.2 / NUM_DRAWS
    squares = (weights * both.square()).sum(0)
    error = (squares - 1).flatten() * math.sqrt(NUM_DRAWS / 2)
    assert abs(float(error.mean())) < 0.3
    assert float(error.std()) < 1.2
    assert float((weights * both).sum(0).std()) < 1.2 / math.sqrt(NUM_DRAWS)


def test_target_draws_are_worth_what_they_are_said_to_be():
    """Where the proposal is the target, weights are equal, up to how many draws each side is."""
    log_weights = joint_log_weights(torch.zeros(100, 1), torch.zeros(300, 1), 50, torch.zeros(1))
    assert torch.allclose(log_weights[:100].logsumexp(0).exp(), torch.tensor(50 / 350))
    assert torch.allclose(log_weights[100:].exp(), torch.tensor(1 / 350))
