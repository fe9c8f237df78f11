"""Chains against the enumeration of all their paths."""

import itertools

import pytest
import torch

from pymc_amortized.discrete import (
    MarkovChain,
    backward_messages,
    forward_filter,
    smooth,
    viterbi,
)
from tests.discrete.enumerated import enumerate_paths, marginals, random_chain

TOLERANCE = 1e-10


SIZES = [
    (num_states, order, num_times, varying, masked)
    for num_states, longest in ((2, 8), (3, 8))
    for order in (1, 2, 3)
    for num_times in range(order, longest + 1)
    for varying in (False, True)
    for masked in (False, True)
    if not (varying and num_times == order) and num_states**num_times <= 6_561
]


@pytest.mark.parametrize(("num_states", "order", "num_times", "varying", "masked"), SIZES)
def test_against_enumeration(num_states, order, num_times, varying, masked):
    chain = random_chain(num_states, order, num_times, varying, masked)
    paths, log_prob = enumerate_paths(chain)
    filtered = forward_filter(chain)
    assert abs(float(filtered.log_marginal - log_prob.logsumexp(0))) < TOLERANCE
    smoothed = smooth(chain).exp()
    assert float((smoothed - marginals(chain, paths, log_prob)).abs().max()) < TOLERANCE
    for time in range(num_times):
        expected = marginals(chain, *enumerate_paths(chain, until=time))[time]
        assert float((filtered.log_filtering[time].exp() - expected).abs().max()) < TOLERANCE
    best = viterbi(chain)
    assert abs(float(best.log_prob - log_prob.max())) < TOLERANCE
    assert torch.equal(best.path, paths[log_prob.argmax()])


def test_backward_messages():
    chain = random_chain(3, 1, 6, False, False)
    messages = backward_messages(chain)
    assert messages.shape == (6, 3)
    assert float(messages[-1].abs().max()) == 0
    total = forward_filter(chain).log_marginal
    first = chain.log_initial + chain.log_emission[0] + messages[0]
    assert abs(float(first.logsumexp(0) - total)) < TOLERANCE


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("varying", [False, True])
def test_a_batch_gives_what_its_members_give(order, varying):
    chain = random_chain(3, order, 6, varying, True, batch=(4, 2))
    together = forward_filter(chain), smooth(chain), viterbi(chain)
    for i, j in itertools.product(range(4), range(2)):
        alone = MarkovChain(
            chain.log_initial[i, j],
            chain.log_transition[i, j],
            chain.log_emission[i, j],
            order,
            chain.mask[i, j],
            varying,
        )
        torch.testing.assert_close(together[0].log_filtering[i, j], forward_filter(alone)[0])
        torch.testing.assert_close(together[0].log_marginal[i, j], forward_filter(alone)[1])
        torch.testing.assert_close(together[1][i, j], smooth(alone))
        assert torch.equal(together[2].path[i, j], viterbi(alone).path)
