"""Chains of any length, with gaps and replicates."""

import functools

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

import pymc_amortized as pma

from pymc_amortized.data.layout import DataLayout
from tests.trained import chain, simulate_chain


def chain_with_gaps(y):
    return chain(np.ma.masked_invalid(y))


def order_two(y):
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2, 2)))
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist([0.4, 0.6])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, n_lags=2, shape=(len(y),))
        pm.Normal("y", mu[z], 1, observed=y)
    return model


def replicates(y):
    with pm.Model() as model:
        stay = pm.Beta("stay", 2, 2)
        P = pt.stack([pt.stack([stay, 1 - stay]), pt.stack([1 - stay, stay])])
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist(pm.Dirichlet("first", np.ones(2)))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(len(y),))
        pm.Normal("y", mu[z][:, None], 1, observed=np.ma.masked_invalid(y))
    return model


def with_gaps(y, every):
    y = np.array(y, dtype=float)
    y[1::every] = np.nan
    return y


def matrix(num_times, seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(num_times, 3))
    y[np.arange(3) > rng.integers(0, 3, num_times)[:, None]] = np.nan
    y[:3] = [[1, np.nan, np.nan], [1, 2, np.nan], [1, 2, 3]]
    return y


BUILT = {
    "plain": (chain, simulate_chain(8, 0)[1], [simulate_chain(n, n)[1] for n in (3, 8, 21)]),
    "gaps": (
        chain_with_gaps,
        with_gaps(simulate_chain(8, 0)[1], 3),
        [with_gaps(simulate_chain(n, n)[1], k) for n, k in ((5, 2), (8, 4), (21, 5))],
    ),
    "order two": (order_two, simulate_chain(8, 0)[1], [simulate_chain(n, n)[1] for n in (2, 19)]),
    "replicates": (replicates, matrix(8, 0), [matrix(n, n) for n in (4, 8, 20)]),
}


@functools.lru_cache
def resizable(name):
    build, base, others = BUILT[name]
    simulator = pma.compile_simulator(build(base), device="cpu")
    layout = DataLayout(simulator.spec, simulator.covariates, {"y": (2, 40)})
    return simulator, layout, others
