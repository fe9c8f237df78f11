"""A model, read and compiled."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_amortized as pma

from pymc_amortized import errors
from tests.cases import Y


def test_deterministics_have_a_value_for_each_draw():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        y = pm.Normal("y", mu, 1, observed=Y)
        pm.Deterministic("double", 2 * y)
    simulator = pma.compile_simulator(model, device="cpu")
    computed = simulator.deterministics(simulator.sample(3, random_seed=1).parameters)
    assert computed["double"].tolist() == [(2 * Y).tolist()] * 3


def test_an_indicator_of_an_indicator():
    """Is answered where combinations are few; here the group and all units hang together."""
    with pm.Model() as model:
        group = pm.Bernoulli("group", 0.5)
        z = pm.Bernoulli("z", pt.switch(group, 0.9, 0.1), shape=3)
        pm.Normal("y", z, 1, observed=np.zeros(3))
    [joint] = pma.compile_simulator(model).spec.indicators
    assert joint.num_components == 2**4
    assert [member.name for member in joint.members] == ["group", "z"]


def test_a_parameter_of_an_observed_variable():
    with pm.Model() as model:
        x = pm.Normal("x", 0, 1, observed=np.zeros(3))
        mu = pm.Normal("mu", x.mean(), 1)
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="'mu' depends on 'x'"):
        pma.compile_simulator(model)


def test_potential_that_depends_on_data():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        x = pm.Data("x", np.ones(3))
        pm.Potential("term", pt.switch(pt.all(x > mu), 0, -np.inf))
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="'term' depends on data"):
        pma.compile_simulator(model)
