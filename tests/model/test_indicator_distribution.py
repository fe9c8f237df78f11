"""Distributions of indicators, as they are read from a model."""

import numpy as np
import pymc as pm
import pytest

from scipy import stats

import pymc_amortized as pma

from pymc_amortized import errors
from tests.cases import N, Y


def test_other_finite_supports():
    with pm.Model() as model:
        first = pm.DiscreteUniform("first", -1, 1, shape=N)
        second = pm.Binomial("second", 3, 0.5, shape=N)
        pm.Normal("x", first, 1, observed=Y)
        pm.Normal("y", second, 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    assert [i.support for i in simulator.spec.indicators] == [(-1, 0, 1), (0, 1, 2, 3)]
    simulation = simulator.sample(3, random_seed=1)
    marginal = simulator.density.log_marginal(simulation.parameters, simulator.observed_data)
    values = np.array([-1.0, 0, 1]), np.array([0.0, 1, 2, 3])
    weights = np.full(3, 1 / 3), np.array([1, 3, 3, 1]) / 8
    expected = sum(
        np.log(stats.norm.pdf(Y[:, None], v) @ w).sum()
        for v, w in zip(values, weights, strict=True)
    )
    np.testing.assert_allclose(marginal.numpy(), expected)


def test_infinite_support():
    with pm.Model() as model:
        n = pm.Poisson("n", 3)
        pm.Normal("y", n, 1, observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="'n' is a 'poisson'"):
        pma.compile_simulator(model)


def abundance(lower=None, upper=30):
    """Animals at sites, each of them seen at a visit or not: an N-mixture model."""
    y = np.array([[2, 3, 1], [0, 0, 1], [4, 5, 3], [1, 0, 2]])
    with pm.Model() as model:
        rate = pm.Gamma("rate", 4, 0.7)
        p = pm.Beta("p", 2, 2)
        number = pm.Truncated("number", pm.Poisson.dist(rate), lower=lower, upper=upper, shape=4)
        pm.Binomial("y", number[:, None], p, observed=y)
    return model, y


def test_truncated_counts_have_the_values_between_their_bounds():
    model, y = abundance()
    simulator = pma.compile_simulator(model, device="cpu")
    [indicator] = simulator.spec.indicators
    assert indicator.support == tuple(range(31))
    parameters = simulator.sample(20, random_seed=1).parameters
    found = simulator.density.log_marginal(parameters, {"y": y}).numpy()
    values = np.arange(31)
    expected = []
    for rate, p in zip(parameters["rate"].numpy(), parameters["p"].numpy(), strict=True):
        prior = stats.poisson(rate).pmf(values)
        likelihood = stats.binom(values, p).pmf(y[:, :, None]).prod(1)
        expected.append(np.log((likelihood * prior / prior.sum()).sum(1)).sum())
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    drawn = simulator.sample(5_000, random_seed=2).indicators["number"].numpy()
    assert drawn.min() >= 0
    assert drawn.max() <= 30


def test_counts_without_an_upper_bound_cannot_be_summed_out():
    with pytest.raises(errors.UnsupportedModelError, match="'number'"):
        pma.compile_simulator(abundance(1, None)[0], device="cpu")
