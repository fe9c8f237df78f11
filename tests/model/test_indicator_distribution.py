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
