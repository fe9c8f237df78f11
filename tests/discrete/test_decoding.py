"""Joint paths, drawn and most probable."""

import math

import numpy as np
import pytest
import torch

from pymc_amortized.discrete import (
    MarkovChain,
    backward_messages,
    decode,
    forward_filter,
    sample_paths,
    smooth,
    viterbi,
)
from tests.discrete.enumerated import enumerate_paths, marginals, random_chain


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


def test_all_that_is_decoded_is_what_the_parts_say():
    chain = random_chain(3, 2, 6, False, True, batch=(4,))
    decoded = decode(chain, torch.Generator().manual_seed(3))
    torch.testing.assert_close(decoded.smoothing, smooth(chain).exp())
    torch.testing.assert_close(decoded.filtering, forward_filter(chain).log_filtering.exp())
    torch.testing.assert_close(decoded.log_marginal, forward_filter(chain).log_marginal)
    alone = sample_paths(chain, 1, torch.Generator().manual_seed(3))[0]
    assert torch.equal(decoded.paths, alone)


def test_the_most_probable_path_has_its_probability():
    chain = random_chain(3, 1, 6, True, True)
    paths, log_prob = enumerate_paths(chain)
    found = viterbi(chain)
    assert torch.equal(found.path, paths[log_prob.argmax()])
    torch.testing.assert_close(found.log_prob, log_prob.max())


def test_paths_are_drawn_where_probabilities_are_too_small_for_numbers():
    """Emissions that say one thing each, against a transition that hardly allows it."""
    emission = torch.full((5, 2), -2_000.0, dtype=torch.float64)
    emission[torch.arange(5), torch.tensor([0, 1, 0, 1, 0])] = 0.0
    transition = torch.tensor([[0.0, -700.0], [-700.0, 0.0]], dtype=torch.float64)
    chain = MarkovChain(torch.zeros(2).double() - math.log(2), transition, emission)
    drawn = sample_paths(chain, 50, torch.Generator().manual_seed(0))
    assert bool((drawn == torch.tensor([0, 1, 0, 1, 0])).all())
