"""Chains of any order, and the same at first order."""

import pytest
import torch

from pymc_amortized.discrete import (
    MarkovChain,
    sample_paths,
    smooth,
)
from pymc_amortized.discrete.chain import states_of_tuples
from tests.discrete.enumerated import enumerate_paths, random_chain


def test_shared_transition_broadcasts_over_the_batch():
    chain = random_chain(2, 1, 5, False, False, batch=(3,))
    shared = MarkovChain(chain.log_initial[0], chain.log_transition[0], chain.log_emission)
    alone = MarkovChain(chain.log_initial[0], chain.log_transition[0], chain.log_emission[1])
    torch.testing.assert_close(smooth(shared)[1], smooth(alone))
    assert sample_paths(shared, 7).shape == (7, 3, 5)


def test_bad_shapes():
    good = random_chain(2, 1, 4, False, False)
    with pytest.raises(ValueError, match="log_initial to end in 1 axes of 2"):
        MarkovChain(torch.zeros(3), good.log_transition, good.log_emission)
    with pytest.raises(ValueError, match="log_transition to end in 2 axes"):
        MarkovChain(good.log_initial, torch.zeros(2, 3), good.log_emission)
    with pytest.raises(ValueError, match="at least 3 time points"):
        MarkovChain(torch.zeros(2, 2, 2), torch.zeros(2, 2, 2, 2), torch.zeros(2, 2), order=3)
    with pytest.raises(ValueError, match="one transition for each of the 3 steps"):
        MarkovChain(good.log_initial, torch.zeros(2, 2, 2), good.log_emission, time_varying=True)


@pytest.mark.parametrize("order", [2, 3])
def test_a_chain_of_tuples_has_the_same_paths(order):
    """At first order every path of the chain has its probability, and no other path has any."""
    chain = random_chain(2, order, 6, True, True)
    paths, log_prob = enumerate_paths(chain)
    initial, transition, emission = chain.first_order()
    windows = paths.unfold(1, order, 1)  # (paths, T - L + 1, L)
    codes = (windows * 2 ** torch.arange(order - 1, -1, -1)).sum(-1)
    total = initial[codes[:, 0]] + emission[0, codes[:, 0]]
    for step in range(1, codes.shape[1]):
        before, now = codes[:, step - 1], codes[:, step]
        total = total + transition[step - 1, before, now] + emission[step, now]
    torch.testing.assert_close(total, log_prob)
    reachable = torch.isfinite(transition[0]).sum()
    assert int(reachable) == 2 ** (order + 1)
    assert torch.equal(states_of_tuples(codes, 2, order), paths)


def test_probabilities_of_tuples_add_up_to_those_of_states():
    chain = random_chain(3, 2, 4, False, False)
    tuples = torch.rand(3, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tuples = tuples / tuples.sum(-1, keepdim=True)
    states = chain.unfold(tuples)
    assert states.shape == (4, 3)
    torch.testing.assert_close(states.sum(-1), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(states[0], tuples[0].reshape(3, 3).sum(1))
    torch.testing.assert_close(states[1], tuples[0].reshape(3, 3).sum(0))
