"""Mixtures of lines and of means through few points, against sums over all memberships.

    python -m tests.benchmarks.needles [--correction auto]

Where no component has more points than a line, or a mean, can go through, the density of a common
scale near 0 is high along needles, one for each membership: bridges and chains pass by them. Prints
how the evidence, the mean of the scale and the mass below .3 differ from those by enumeration of
memberships, for data that are few and for some that are not.
"""

import argparse
import itertools
import platform
import time
import warnings

import numpy as np
import pymc as pm
import torch

from scipy.special import gammaln, logsumexp
from scipy.stats import halfnorm

import pymc_amortized as pma

from tests.benchmarks.trust import attributes

OPTIONS = {"random_seed": 1, "progressbar": False, "cache": False}
SPREAD = 2.0
CASES = [(0, 2, 2), (0, 3, 4), (1, 2, 3), (1, 2, 4), (1, 3, 5), (1, 3, 6), (1, 3, 9)]


def data_of(degree, num_points):
    """Return predictors (N, degree + 1) and values (N,)."""
    x = np.linspace(-1.5, 1.5, num_points)
    values = np.random.default_rng([degree, num_points]).normal(0, SPREAD, num_points)
    return np.stack([np.ones(num_points), x][: degree + 1], axis=1), values.round(2)


def mixture(degree, num_components, num_points):
    """Return the model: coefficients of each component, one scale."""
    predictors, values = data_of(degree, num_points)
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(num_components))
        beta = pm.Normal("beta", 0, SPREAD, shape=(num_components, degree + 1))
        z = pm.Categorical("z", w, shape=num_points)
        mean = (beta[z] * predictors).sum(axis=-1)
        pm.Normal("y", mean, pm.HalfNormal("sigma", 1), observed=values)
    return model


def by_enumeration(degree, num_components, num_points):
    """Return the log evidence, the mean of the scale, and the mass below .3."""
    predictors, values = data_of(degree, num_points)
    scale = np.exp(np.linspace(np.log(1e-6), np.log(8), 2_500))

    def log_density(members):
        """Return log p(values of one component given the scale), by eigenvectors."""
        rows = predictors[list(members)]
        variances, vectors = np.linalg.eigh(SPREAD**2 * rows @ rows.T)
        total = np.maximum(variances, 0) + scale[:, None] ** 2
        squares = (vectors.T @ values[list(members)]) ** 2
        return -(np.log(2 * np.pi * total) + squares / total).sum(1) / 2

    subsets = itertools.product((False, True), repeat=num_points)
    known = {s: log_density(np.flatnonzero(s)) for s in subsets}
    terms = []
    for z in itertools.product(range(num_components), repeat=num_points):
        groups = [tuple(k == c for c in z) for k in range(num_components)]
        counts = np.array([sum(g) for g in groups])
        log_prior = gammaln(num_components) - gammaln(num_components + num_points)
        terms.append(log_prior + gammaln(counts + 1).sum() + sum(known[g] for g in groups))
    mass = np.exp(logsumexp(terms, axis=0) + halfnorm.logpdf(scale)) * np.gradient(scale)
    share = mass / mass.sum()
    return np.log(mass.sum()), (share * scale).sum(), share[scale < 0.3].sum()


def compare(case, correction):
    """Return the row of a case."""
    started = time.perf_counter()
    with mixture(*case):
        result = pma.sample(draws=1_000, chains=4, correction=correction, **OPTIONS)
    seconds = time.perf_counter() - started
    known = attributes(result)
    scale = result["posterior"]["sigma"].to_numpy()
    log_evidence, mean, below = by_enumeration(*case)
    degree, num_components, num_points = case
    return (
        f"| {num_components} {('means', 'lines')[degree]}, {num_points} points | {seconds:.0f} | "
        f"{known['rung']}, {known['checked']} | {known['log_evidence'] - log_evidence:+.2f} | "
        f"{scale.mean():.3f} / {mean:.3f} | {(scale < 0.3).mean():.3f} / {below:.3f} |"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--correction", default="auto", choices=["auto", "smc", "mcmc"])
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{platform.machine()}; {torch.get_num_threads()} threads; Python "
        f"{platform.python_version()}, PyMC {pm.__version__}, torch {torch.__version__}\n"
    )
    columns = "components, points | seconds | answered by | evidence, nats off | mean of sigma"
    print(f"| {columns} / exact | mass below .3 / exact |\n{'|---' * 6}|")
    for case in CASES:
        print(compare(case, arguments.correction), flush=True)


if __name__ == "__main__":
    main()
