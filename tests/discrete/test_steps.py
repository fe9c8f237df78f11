"""Passes over time in the scaled form."""

import pytest
import torch

from pymc_amortized.discrete import (
    MarkovChain,
    forward_filter,
    smooth,
)
from pymc_amortized.discrete.steps import (
    backward_pass,
    forward_pass,
    log_filter,
    log_messages,
    logsumexp,
)
from tests.discrete.enumerated import random_chain


def test_padding_is_exact():
    """A sequence, and the same one padded with missing points, have the same answers."""
    chain = random_chain(3, 1, 5, False, False)
    padded = MarkovChain(
        chain.log_initial,
        chain.log_transition,
        torch.cat([chain.log_emission, torch.full((4, 3), torch.nan, dtype=torch.float64)]),
        mask=torch.tensor([True] * 5 + [False] * 4),
    )
    torch.testing.assert_close(smooth(padded)[:5], smooth(chain))
    torch.testing.assert_close(forward_filter(padded).log_marginal, forward_filter(chain)[1])


def test_impossible_states_have_gradients():
    """Zero probabilities give -inf, never NaN, forwards and backwards."""
    transition = torch.log(torch.tensor([[0.5, 0.5], [0.0, 1.0]], dtype=torch.float64))
    transition.requires_grad_()
    initial = torch.log(torch.tensor([0.0, 1.0], dtype=torch.float64))
    chain = MarkovChain(initial, transition, torch.zeros(4, 2, dtype=torch.float64))
    smoothed = smooth(chain)
    assert bool(torch.isneginf(smoothed[:, 0]).all())
    forward_filter(chain).log_marginal.backward()
    assert not bool(transition.grad.isnan().any())


@pytest.mark.parametrize("jump", [0.0, -900.0])
def test_scaled_passes_are_those_by_logarithms(jump):
    """Also where a step leaves less than the smallest number; for one chain of the batch alone."""
    chain = random_chain(3, 1, 7, True, True, batch=(4,))
    transition = chain.log_transition.clone()
    transition[2] = transition[2] + jump
    forward = forward_pass(
        MarkovChain(chain.log_initial, transition, chain.log_emission, 1, chain.mask, True)
    )
    log_filtered, log_marginal = log_filter(
        forward.log_initial, forward.log_transition, forward.log_emission
    )
    torch.testing.assert_close(forward.filtered, log_filtered.exp())
    torch.testing.assert_close(forward.log_marginal, log_marginal)
    messages, log_scale = backward_pass(forward)
    torch.testing.assert_close(messages.log() + log_scale.unsqueeze(1), log_messages(forward))
    torch.testing.assert_close(messages.sum(1), torch.ones(7, 4, dtype=torch.float64))


def test_sums_of_nothing_have_no_gradient():
    x = torch.tensor([[-torch.inf, -torch.inf], [0.0, 1.0]], dtype=torch.float64)
    x.requires_grad_()
    total = logsumexp(x, 1)
    torch.testing.assert_close(total[1], x[1].logsumexp(0))
    assert bool(torch.isneginf(total[0]))
    total[1].backward()
    torch.testing.assert_close(x.grad, torch.stack([torch.zeros(2).double(), x[1].softmax(0)]))
