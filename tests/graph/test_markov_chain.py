"""Markov chains drawn for a batch: all steps at once, or one by one."""

import pytest
import torch

from scipy import stats

from pymc_amortized.graph.rules import markov_chain
from pymc_amortized.graph.rules.markov_chain import simulate_chain


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


def random_chains(B, K, order, steps, varying):
    shape = (B, *(steps,) * varying, *(K,) * (order + 1))
    logits = torch.randn(shape, generator=seeded(), dtype=torch.float64)
    return (2 * logits).softmax(-1), torch.randint(K, (B, order), generator=seeded())


@pytest.mark.parametrize(
    ("B", "K", "order", "steps", "varying"),
    [
        (3, 4, 1, 500, False),
        (2, 3, 2, 101, False),
        (4, 2, 3, 30, False),
        (3, 2, 1, 60, True),
        (2, 3, 2, 17, True),
        (2, 3, 1, 1, False),
        (2, 3, 1, 0, False),
    ],
)
def test_few_chains_are_drawn_as_many_are(monkeypatch, B, K, order, steps, varying):
    transition, initial = random_chains(B, K, order, steps, varying)
    drawn = simulate_chain(transition, initial, steps, order, varying, seeded())
    monkeypatch.setattr(markov_chain, "_FEW", 0)
    one_by_one = simulate_chain(transition, initial, steps, order, varying, seeded())
    assert drawn.shape == (B, order + steps)
    assert torch.equal(drawn, one_by_one)


@pytest.mark.parametrize("order", [1, 2])
def test_states_follow_each_other_as_the_transition_says(order):
    K, steps = 3, 40_000
    transition, initial = random_chains(1, K, order, steps, False)
    states = simulate_chain(transition, initial, steps, order, False, seeded(2))[0]
    windows = states.unfold(0, order + 1, 1)
    place = (windows * K ** torch.arange(order, -1, -1)).sum(1)
    counts = torch.bincount(place, minlength=K ** (order + 1)).double().reshape(-1, K)
    expected = counts.sum(1, keepdim=True) * transition.reshape(-1, K)
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = K**order * (K - 1)
    assert stats.chi2.sf(float(statistic), degrees) > 1e-3
    swapped = counts.sum(1, keepdim=True) * transition.reshape(-1, K).roll(1, 0)
    assert stats.chi2.sf(float(((counts - swapped) ** 2 / swapped).sum()), degrees) < 1e-6
