"""Chains against the enumeration of all their paths."""

import itertools

import numpy as np
import pytest
import torch

from pymc_amortized.discrete import (
    MarkovChain,
    backward_messages,
    forward_filter,
    sample_paths,
    smooth,
    viterbi,
)

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


def random_chain(num_states, order, num_times, varying, masked, batch=()):
    generator = torch.Generator().manual_seed(num_states * 100 + num_times * 10 + order)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    initial = normal(*batch, num_states**order).log_softmax(-1)
    initial = initial.reshape(*batch, *(num_states,) * order)
    steps = (num_times - order,) if varying else ()
    transition = normal(*batch, *steps, *(num_states,) * (order + 1)).log_softmax(-1)
    emission = normal(*batch, num_times, num_states)
    mask = None
    if masked:
        mask = torch.rand(*batch, num_times, generator=generator) > 0.4
    return MarkovChain(initial, transition, emission, order, mask, varying)


def enumerate_paths(chain, until=None):
    """Return all paths and their joint log probabilities with the observations up to a time."""
    paths = torch.tensor(list(itertools.product(range(chain.num_states), repeat=chain.num_times)))
    order = chain.order
    log_prob = chain.log_initial[tuple(paths[:, lag] for lag in range(order))]
    for time in range(order, chain.num_times):
        matrix = chain.log_transition[time - order] if chain.time_varying else chain.log_transition
        log_prob = (
            log_prob + matrix[tuple(paths[:, time - order + lag] for lag in range(order + 1))]
        )
    for time in range(chain.num_times if until is None else until + 1):
        if chain.mask is None or chain.mask[time]:
            log_prob = log_prob + chain.log_emission[time, paths[:, time]]
    return paths, log_prob


def marginals(chain, paths, log_prob):
    posterior = log_prob.softmax(0)
    one_hot = torch.nn.functional.one_hot(paths, chain.num_states).double()
    return torch.einsum("p,ptk->tk", posterior, one_hot)


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
def test_paths_have_the_joint_distribution(order):
    """The frequency of every path, by a chi-squared test."""
    from scipy import stats

    chain = random_chain(2, order, 5, True, False)
    _, log_prob = enumerate_paths(chain)
    num_paths = 40_000
    drawn = sample_paths(chain, num_paths, torch.Generator().manual_seed(1))
    assert drawn.shape == (num_paths, 5)
    codes = (drawn * 2 ** torch.arange(4, -1, -1)).sum(-1)
    counts = np.bincount(codes.numpy(), minlength=32)
    expected = log_prob.softmax(0).numpy() * num_paths
    assert stats.chisquare(counts, expected).pvalue > 1e-3
    # A planted fault: states drawn independently from the smoothing distribution.
    independent = torch.distributions.Categorical(logits=smooth(chain)).sample((num_paths,))
    faulty = (independent * 2 ** torch.arange(4, -1, -1)).sum(-1)
    faulty_counts = np.bincount(faulty.numpy(), minlength=32)
    assert stats.chisquare(faulty_counts, expected).pvalue < 1e-6


def test_the_product_of_two_filters_is_not_smoothing():
    """The public implementation's formula must fail the test that ours passes."""
    chain = random_chain(2, 1, 6, False, False)
    paths, log_prob = enumerate_paths(chain)
    exact = marginals(chain, paths, log_prob)
    backward = backward_messages(chain) + chain.log_emission
    product = (forward_filter(chain).log_filtering + backward).softmax(-1)
    assert float((product - exact).abs().max()) > 0.05


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


def test_shared_transition_broadcasts_over_the_batch():
    chain = random_chain(2, 1, 5, False, False, batch=(3,))
    shared = MarkovChain(chain.log_initial[0], chain.log_transition[0], chain.log_emission)
    alone = MarkovChain(chain.log_initial[0], chain.log_transition[0], chain.log_emission[1])
    torch.testing.assert_close(smooth(shared)[1], smooth(alone))
    assert sample_paths(shared, 7).shape == (7, 3, 5)


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
