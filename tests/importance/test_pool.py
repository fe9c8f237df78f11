"""Weighted draws of several proposals."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.pool import Pool
from tests.importance.targets import SIZE, generator, imaged, normal_log_prob

NUM_DATASETS = 3


def draws(number, location, scale, seed):
    noise = torch.randn(number, NUM_DATASETS, SIZE, generator=generator(seed), dtype=torch.float64)
    return location + scale * noise


def narrow(points):
    return normal_log_prob(points, -1.0, 0.6)


def wide(points):
    return normal_log_prob(points, 0.5, 1.5)


def target(points, index=None):
    """Integrals are 2, 2e and 2e² for the three data sets."""
    return normal_log_prob(points, 0.0, 1.0) + math.log(2) + torch.arange(points.shape[1])


def pool_of_one(number=500, seed=0):
    points = draws(number, -1.0, 0.6, seed)
    return Pool(points, *imaged(target)(points), (narrow(points),), (number,))


def pool_of_two(seed=0):
    """500 draws of a narrow proposal and 1,500 of a wide one."""
    new = draws(1_500, 0.5, 1.5, seed + 100)
    return pool_of_one(seed=seed).with_proposal(new, imaged(target)(new), [narrow(new)], wide)


def test_all_draws_are_weighed_against_the_mixture_of_all_proposals():
    """Veach and Guibas's balance heuristic, by SciPy."""
    pool = pool_of_two()
    points = pool.points.numpy()
    assert pool.counts == (500, 1_500)
    assert points.shape == (2_000, NUM_DATASETS, SIZE)
    mixture = 0.25 * stats.norm(-1, 0.6).pdf(points).prod(-1)
    mixture += 0.75 * stats.norm(0.5, 1.5).pdf(points).prod(-1)
    expected = 2 * np.exp(np.arange(3)) * stats.norm.pdf(points).prod(-1) / mixture
    assert np.allclose(pool.log_weights.exp(), expected)


def test_the_mean_weight_is_the_integral():
    found, error = log_mean_weight(pool_of_two().log_weights)
    z = (found - (math.log(2) + torch.arange(NUM_DATASETS))) / error
    assert float(z.abs().max()) < 4
    assert float(error.max()) < 0.05
    # A planted fault: all draws weighed against the last proposal alone.
    wrong, error = log_mean_weight(pool_of_two().log_target - pool_of_two().log_proposals[1])
    assert float(((wrong - found) / error).min()) > 5


@pytest.mark.parametrize("index", [[2], [1, 0]], ids=str)
def test_weights_of_some_data_sets_are_those_among_all(index):
    pool, some = pool_of_two(), torch.tensor(index)
    few = pool.select(some)
    assert (len(pool), len(few)) == (NUM_DATASETS, len(index))
    assert torch.equal(few.points, pool.points[:, some])
    assert torch.equal(few.log_weights, pool.log_weights[:, some])


def test_more_draws_of_the_same_proposals_count_for_each_of_them():
    first, second = pool_of_two(), pool_of_two(seed=7)
    both = first.with_more(second)
    assert both.counts == (1_000, 3_000)
    # As many more of each: the mixture is the same, and so is each draw's weight.
    expected = torch.cat([first.log_weights, second.log_weights])
    assert torch.allclose(both.log_weights, expected, atol=1e-9)


def test_images_stay_with_their_draws():
    pool, some = pool_of_two(), torch.tensor([2, 0])
    both = pool.with_more(pool_of_two(seed=7))
    for one in (pool, both, both.select(some)):
        assert torch.equal(one.images, 2 * one.points)
    chosen = torch.tensor([[3, 1_999, 0], [3, 7, 600]])
    points, log_target, images = pool.pick(chosen)
    assert torch.equal(points[1, 2], pool.points[600, 2])
    assert torch.equal(log_target, pool.log_target.gather(0, chosen))
    assert torch.equal(images, 2 * points)
