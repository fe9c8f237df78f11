"""Which unit each observed value belongs to."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.model.compiled import compile_model
from tests.cases import N, Y


def test_units_are_seen_where_components_are_alike_under_some_parameters():
    """Under a third of the prior draws both components have mean 0 after the rectifier."""
    with pm.Model() as model:
        mu = pm.Normal("mu", -0.5, 1, shape=2)
        start = pm.Uniform("start", 0, N)
        z = pm.Bernoulli("z", 0.4, shape=N)
        rectified = pt.maximum(mu, 0)[z]
        pm.Normal("y", pt.switch(np.arange(N) >= start - 1, rectified, 0.0), 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    assert simulator.spec.observations[0].owner.tolist() == list(range(N))


def test_dependence_that_no_prior_draw_shows_is_refused_when_it_appears():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.4, shape=N)
        pm.Normal("y", pt.maximum(mu - 50, 0)[z], 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    near = {"mu": torch.zeros(2, 2, dtype=torch.float64)}
    far = {"mu": torch.tensor([[0.0, 0.0], [0.0, 60.0]], dtype=torch.float64)}
    assert bool(torch.isfinite(simulator.density.log_marginal(near, simulator.observed_data)).all())
    with pytest.raises(errors.UnsupportedModelError, match="for these parameters they do"):
        simulator.density.log_marginal(far, simulator.observed_data)


def test_a_switch_point_is_one_unit_for_all():
    time = np.arange(N)
    with pm.Model() as model:
        rate = pm.Exponential("rate", 1, shape=2)
        switch = pm.DiscreteUniform("switch", 0, N - 1)
        pm.Poisson("y", pt.switch(time < switch, rate[0], rate[1]), observed=np.arange(N))
    simulator = pma.compile_simulator(model, device="cpu")
    [spec] = simulator.spec.indicators
    assert (spec.units, spec.num_components) == ((), N)
    assert simulator.density is not None


def test_two_indicators_on_one_observation():
    with pm.Model() as model:
        first = pm.Bernoulli("first", 0.5, shape=3)
        second = pm.Bernoulli("second", 0.5, shape=3)
        pm.Normal("y", first + 2 * second, 1, observed=np.zeros(3))
    spec = pma.compile_simulator(model).spec
    assert spec.observations[0].indicator == "first_and_second_joint"
    assert spec.observations[0].owner.tolist() == [0, 1, 2]


def test_two_units_on_one_observation():
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.5, shape=4)
        pm.Normal("y", z[1:] + 2 * z[:-1], 1, observed=np.zeros(3))
    [joint] = pma.compile_simulator(model).spec.indicators
    assert (joint.num_components, joint.units) == (2**4, ())


def test_units_of_a_long_sequence_that_hang_together():
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.5, shape=40)
        pm.Normal("y", z[1:] + 2 * z[:-1], 1, observed=np.zeros(39))
    with pytest.raises(errors.UnsupportedModelError, match="combinations"):
        pma.compile_simulator(model)


def test_entries_that_say_nothing_belong_to_their_units_like_others():
    """Animals are seen for sure when they are marked, at the first time."""
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        z = pm.Bernoulli("z", 0.5, shape=(2, 3))
        seen = pt.concatenate([pt.ones((2, 1)), p * z[:, 1:]], axis=1)
        pm.Bernoulli("y", seen, observed=np.ones((2, 3), int))
        pm.Normal("apart", p, 1, observed=np.zeros((2, 3)))
    maps = compile_model(model).unit_maps
    assert maps["y"].is_identity
    assert maps["apart"].indicator is None
