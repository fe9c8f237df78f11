"""Densities that states choose among, against the same graph asked state by state."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.memory import count_numbers

pytestmark = pytest.mark.usefixtures("interpreted")

NUM_UNITS = 40
Y = np.random.default_rng(2).gamma(2, 1, NUM_UNITS)


def log_density(y, z, mu, shape):
    """A normal state and a heavier one, with log(y) in common."""
    log_y = pt.log(y)
    light = -0.5 * (log_y - mu) ** 2 - 0.5 * np.log(2 * np.pi) - log_y
    heavy = pt.log(shape) - (shape + 1) * pt.log1p(y)
    return pt.switch(pt.eq(z, 0), light, heavy)


def draw(z, mu, shape, size):
    like = pt.zeros_like(z, dtype="float64")
    light = pm.LogNormal.dist(mu + like, 1.0)
    heavy = pm.Pareto.dist(shape + like, 1.0) - 1
    return pt.switch(pt.eq(z, 0), light, heavy)


def observe(z):
    mu = pm.Normal("mu", 0, 1)
    shape = pm.Gamma("shape", 4, 2)
    pm.CustomDist("y", z, mu, shape, dist=draw, logp=log_density, observed=Y)


def explicit():
    with pm.Model() as model:
        observe(pm.Bernoulli("z", 0.4, shape=NUM_UNITS))
    return model


def chain():
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2)))
        first = pm.Categorical.dist([0.5, 0.5])
        observe(pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(NUM_UNITS,)))
    return model


def three_means():
    """A switch within a switch, of states that are counted from 1."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 0, 1], 1)
        w = pm.Dirichlet("w", np.ones(3))
        z = pm.Categorical("z", w, shape=NUM_UNITS) + 1
        mean = pt.switch(pt.eq(z, 1), mu[0], pt.switch(pt.eq(z, 2), mu[1], mu[2]))
        pm.Normal("y", mean, 1, observed=Y)
    return model


def chosen_by_number():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        z = pm.Bernoulli("z", 0.4, shape=NUM_UNITS)
        pm.Normal("y", mu[z], 1, observed=Y)
    return model


def prepare(model, num_draws=50):
    simulator = pma.compile_simulator(model)
    [likelihood] = simulator.density._likelihoods.values()
    return likelihood, simulator.sample(num_draws, 1).parameters, simulator.observed_data


@pytest.mark.parametrize("define", [explicit, chain, three_means])
def test_densities_are_those_of_each_state(define):
    likelihood, parameters, data = prepare(define())
    assert likelihood._by_state is not None
    found = likelihood.unit_table(parameters, data)
    reversed_states = found.flip(-1)
    likelihood._by_state = None
    expected = likelihood.unit_table(parameters, data)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    # The fault that this would see: states in another order.
    assert not torch.allclose(reversed_states, expected)


def test_branches_that_are_not_taken_are_not_computed():
    likelihood, parameters, data = prepare(chain())
    together = count_numbers(lambda: likelihood.unit_table(parameters, data))
    likelihood._by_state = None
    one_by_one = count_numbers(lambda: likelihood.unit_table(parameters, data))
    assert together < 0.7 * one_by_one


def test_numbers_that_are_chosen_among_stay_as_they_are():
    likelihood, _, _ = prepare(chosen_by_number())
    assert likelihood._by_state is None
