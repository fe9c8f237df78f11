"""Relabelling: permutations that are known come back, and every method minimizes what it says."""

from typing import get_args

import numpy as np
import pytest

from scipy.optimize import linear_sum_assignment

from pymc_amortized.labels.algorithms import (
    aic,
    data_based,
    ecr,
    ecr_iterative_1,
    ecr_iterative_2,
    ordering,
    permute,
    permute_labels,
    pra,
    stephens,
)
from pymc_amortized.labels.algorithms.by_parameters import scaled_within
from pymc_amortized.labels.algorithms.permutations import best_permutations
from pymc_amortized.labels.relabel import RelabelMethod

METHODS = [name for name in get_args(RelabelMethod) if name != "auto"]


class Posterior:
    """Draws of a normal mixture in one labelling, and the same with labels permuted at random."""

    def __init__(self, gap, num_labels=3, num_draws=600, num_units=120, seed=0):
        rng = np.random.default_rng(seed)
        self.num_labels = num_labels
        truth = rng.integers(num_labels, size=num_units)
        self.y = gap * truth + rng.normal(size=num_units)
        size = (num_draws, num_labels)
        mu = gap * np.arange(num_labels) + rng.normal(0, 0.25, size)
        sigma = np.exp(rng.normal(0, 0.1, size))
        w = rng.dirichlet(np.full(num_labels, 40.0), num_draws)
        log_p = -0.5 * ((self.y - mu[..., None]) / sigma[..., None]) ** 2
        p = np.exp(log_p) * (w / sigma)[..., None]
        self.p = p / p.sum(1, keepdims=True)  # (S, K, N)
        u = rng.random((num_draws, 1, num_units))
        self.z = (self.p.cumsum(1)[:, :-1] < u).sum(1)
        self.parameters = np.stack([mu, np.log(sigma), np.log(w)], axis=-1)
        self.shuffle = np.array([rng.permutation(num_labels) for _ in range(num_draws)])

    def shuffled(self):
        """Return z, p and parameters with labels permuted at random."""
        return (
            permute_labels(self.z, self.shuffle),
            permute(self.p, self.shuffle, 1),
            permute(self.parameters, self.shuffle, 1),
        )

    def run(self, method):
        z, p, parameters = self.shuffled()
        return {
            "ordering": lambda: ordering(parameters[..., 0]),
            "ecr": lambda: ecr(z, z[0], self.num_labels),
            "ecr_iterative_1": lambda: ecr_iterative_1(z, self.num_labels),
            "ecr_iterative_2": lambda: ecr_iterative_2(z, p),
            "stephens": lambda: stephens(p),
            "pra": lambda: pra(parameters, 0),
            "aic": lambda: aic(parameters),
            "data_based": lambda: data_based(z, self.y, self.num_labels),
        }[method]()

    def recovered(self, permutations):
        """Share of draws that come back, up to one permutation of all of them."""
        composed = np.take_along_axis(self.shuffle, permutations, axis=1)
        _, counts = np.unique(composed, axis=0, return_counts=True)
        return counts.max() / len(composed)


@pytest.mark.parametrize("num_labels", [2, 3, 6])
@pytest.mark.parametrize("method", METHODS)
def test_known_permutations_come_back(method, num_labels):
    found = Posterior(6.0, num_labels).run(method)
    assert Posterior(6.0, num_labels).recovered(found.permutations) >= 0.995


def test_without_relabelling_they_do_not():
    """A planted fault: labels are left as they are."""
    posterior = Posterior(6.0)
    assert posterior.recovered(np.tile(np.arange(3), (600, 1))) < 0.5


def disagreement(z, pivot):
    return (z != pivot).sum()


def mode(z):
    return np.array([np.bincount(column).argmax() for column in z.T])


def divergence(p):
    """Of draws from their mean, in nats."""
    q = np.maximum(p.mean(0), 1e-300)
    return (p * (np.log(np.maximum(p, 1e-300)) - np.log(q))).sum()


def dispersion(z, y, num_labels):
    """Of data from the centres of their clusters, by the widths of these; draw by draw."""
    y = (y - y.mean()) / y.std()
    clusters = [[y[row == k] for k in range(num_labels)] for row in z]
    centres, widths = (
        np.array([np.mean([f(c[k]) for c in clusters if len(c[k])]) for k in range(num_labels)])
        for f in (np.mean, np.std)
    )
    widths = np.maximum(widths, 1 / num_labels / 10)
    return sum(np.sum(((y - centres[r]) / widths[r]) ** 2 / 2 + np.log(widths[r])) for r in z)


@pytest.mark.parametrize("seed", range(3))
def test_criteria_are_at_least_as_good_as_those_of_the_truth(seed):
    """Components that overlap: each criterion, computed here anew, against the true labelling."""
    posterior = Posterior(1.2, seed=seed)
    z, p, _ = posterior.shuffled()
    for method, of_truth, of_labelled in [
        (
            "ecr",
            lambda: disagreement(posterior.z, posterior.z[0]),
            lambda perms: disagreement(permute_labels(z, perms), z[0]),
        ),
        (
            "ecr_iterative_1",
            lambda: disagreement(posterior.z, mode(posterior.z)),
            lambda perms: disagreement(permute_labels(z, perms), mode(permute_labels(z, perms))),
        ),
        (
            "ecr_iterative_2",
            lambda: disagreement(posterior.z, posterior.p.mean(0).argmax(0)),
            lambda perms: disagreement(
                permute_labels(z, perms), permute(p, perms, 1).mean(0).argmax(0)
            ),
        ),
        (
            "stephens",
            lambda: divergence(posterior.p),
            lambda perms: divergence(permute(p, perms, 1)),
        ),
        (
            "data_based",
            lambda: dispersion(posterior.z, posterior.y, 3),
            lambda perms: dispersion(permute_labels(z, perms), posterior.y, 3),
        ),
    ]:
        found = posterior.run(method)
        assert of_labelled(found.permutations) <= of_truth() * (1 + 1e-12), method
        # Pivots of these two are for something else than what they minimize.
        if method not in ("ecr_iterative_2", "data_based"):
            assert of_labelled(found.permutations) <= found.criterion * (1 + 1e-9), method


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("gap", [0.8, 1.5, 4.0])
def test_the_loss_of_stephens_never_rises(gap, seed):
    history = Posterior(gap, 4, seed=seed).run("stephens").history
    assert len(history) > 1
    assert (np.diff(history) <= 1e-9 * history[0]).all()


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
