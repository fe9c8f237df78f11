"""Relabelling: permutations that are known come back, and every method minimizes what it says."""

from typing import get_args

import numpy as np
import pytest

from scipy.optimize import linear_sum_assignment

from pymc_amortized.labels.algorithms import (
    permute,
    permute_labels,
    stephens,
)
from pymc_amortized.labels.algorithms.permutations import best_permutations
from pymc_amortized.labels.relabel import RelabelMethod
from tests.labels.criteria import Posterior

METHODS = [name for name in get_args(RelabelMethod) if name != "auto"]


@pytest.mark.parametrize("num_labels", [2, 3, 6])
@pytest.mark.parametrize("method", METHODS)
def test_known_permutations_come_back(method, num_labels):
    found = Posterior(6.0, num_labels).run(method)
    assert Posterior(6.0, num_labels).recovered(found.permutations) >= 0.995


def test_without_relabelling_they_do_not():
    """A planted fault: labels are left as they are."""
    posterior = Posterior(6.0)
    assert posterior.recovered(np.tile(np.arange(3), (600, 1))) < 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gap", [0.8, 1.5, 4.0])
def test_the_loss_of_stephens_never_rises(gap, seed):
    history = Posterior(gap, 4, seed=seed).run("stephens").history
    assert len(history) > 1
    assert (np.diff(history) <= 1e-9 * history[0]).all()


@pytest.mark.parametrize("num_labels", [2, 5, 6, 12])
def test_best_permutations(num_labels):
    costs = np.random.default_rng(0).normal(size=(40, num_labels, num_labels))
    permutations, totals = best_permutations(costs)
    for cost, permutation, total in zip(costs, permutations, totals, strict=True):
        rows, columns = linear_sum_assignment(cost)
        assert np.isclose(total, cost[rows, columns].sum())
        assert np.isclose(total, cost[permutation, np.arange(num_labels)].sum())


def test_many_labels():
    """Nothing enumerates the permutations of twelve labels."""
    posterior = Posterior(8.0, 12, num_draws=200, num_units=240)
    for method in METHODS:
        assert posterior.recovered(posterior.run(method).permutations) >= 0.995, method


def test_labels_follow_their_components():
    """A value of a unit's own component is the same before and after."""
    posterior = Posterior(2.0)
    z, p, parameters = posterior.shuffled()
    permutations = stephens(p).permutations
    before = np.take_along_axis(parameters[..., 0], z, axis=1)
    moved = permute(parameters, permutations, 1)
    after = np.take_along_axis(moved[..., 0], permute_labels(z, permutations), axis=1)
    assert np.array_equal(before, after)
