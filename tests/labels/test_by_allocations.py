"""Relabelling by allocations: criteria that are reached."""

import numpy as np
import pytest

from pymc_amortized.labels.algorithms import (
    permute,
    permute_labels,
)
from tests.labels.criteria import Posterior


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
