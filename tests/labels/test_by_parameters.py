"""Relabelling by parameters: criteria that are reached."""

import itertools

import numpy as np

from pymc_amortized.labels.algorithms import (
    aic,
    nearest_to_mean,
    ordering,
    permute,
    pra,
)
from pymc_amortized.labels.algorithms.by_parameters import scaled_within
from tests.labels.criteria import Posterior


def test_criteria_of_parameters():
    """Against a search over all permutations of each draw."""
    posterior = Posterior(1.2, num_draws=50)
    _, _, parameters = posterior.shuffled()
    standardized = (parameters - parameters.mean((0, 1))) / parameters.std((0, 1))
    scaled = scaled_within(parameters)
    found = pra(parameters, 7)
    moved = permute(scaled, found.permutations, 1)
    distances = np.square(moved - scaled[7]).sum((1, 2))
    assert np.isclose(found.criterion, distances.sum())
    for order in ([0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]):
        other = np.square(scaled[:, order] - scaled[7]).sum((1, 2))
        assert (distances <= other + 1e-9).all()
    by_each = [
        permute(standardized, ordering(parameters[..., j]).permutations, 1).var(0).sum()
        for j in range(3)
    ]
    assert np.isclose(aic(parameters).criterion, min(by_each))


def test_no_draw_is_nearer_to_the_mean_in_another_labelling():
    posterior = Posterior(1.2, num_draws=50)
    _, _, parameters = posterior.shuffled()
    scaled = scaled_within(parameters)
    found = nearest_to_mean(parameters)
    moved = permute(scaled, found.permutations, 1)
    distances = np.square(moved - moved.mean(0)).sum((1, 2))
    assert np.isclose(found.criterion, distances.sum())
    for order in itertools.permutations(range(3)):
        other = np.square(moved[:, order] - moved.mean(0)).sum((1, 2))
        assert (distances <= other + 1e-9).all()


def test_components_far_from_each_other_are_found_again_in_all_draws():
    posterior = Posterior(6.0)
    _, _, parameters = posterior.shuffled()
    assert posterior.recovered(nearest_to_mean(parameters).permutations) == 1
