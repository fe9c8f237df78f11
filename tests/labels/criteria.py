"""Draws of a mixture whose labels are permuted at random."""

import numpy as np

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
