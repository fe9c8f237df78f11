"""Named parameters to one unconstrained vector and back; the normal-score map."""

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.model.normal_scores import fit_normal_scores


def test_there_and_back(case, simulators):
    _, simulator = simulators(case.name)
    parameters = simulator.sample(200, random_seed=3).parameters
    space = simulator.parameters
    vector = space.unconstrain(parameters)
    assert vector.shape == (200, space.size)
    assert bool(torch.isfinite(vector).all())
    back = space.constrain(vector)
    for name, value in parameters.items():
        torch.testing.assert_close(back[name], value, rtol=1e-9, atol=1e-12)
    assert len(space.coordinate_names) == space.size
    torch.testing.assert_close(space.join(space.split(vector)), vector)


def test_transforms_are_those_of_pymc(simulators):
    model, simulator = simulators("truncated_and_interval_priors")
    parameters = simulator.sample(1, random_seed=3).parameters
    vector = simulator.parameters.unconstrain(parameters)
    for column, name in enumerate(simulator.parameters.names):
        variable = model[name]
        transform = model.rvs_to_transforms[variable]
        value = parameters[name][0].numpy()
        expected = transform.forward(value, *variable.owner.inputs).eval()
        assert abs(float(vector[0, column]) - float(expected)) < 1e-12


def test_coordinate_names(simulators):
    _, simulator = simulators("multivariate_components")
    assert simulator.parameters.coordinate_names == (
        "w[0]",
        "mu[0, 0]",
        "mu[0, 1]",
        "mu[1, 0]",
        "mu[1, 1]",
    )


def test_errors(simulators):
    _, simulator = simulators("normal_mixture_ordered")
    space = simulator.parameters
    with pytest.raises(errors.ParameterShapeError, match=r"shape \(draws, 5\)"):
        space.constrain(torch.zeros(3, 4))
    with pytest.raises(errors.ParameterShapeError, match="Expected a value for the parameter 'w'"):
        space.unconstrain({})
    with pytest.raises(errors.ParameterShapeError, match="with_normal_scores"):
        space.standardize(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="at least 100 draws"):
        fit_normal_scores(torch.zeros(3, 5))
    with pytest.raises(ValueError, match="finite draws"):
        fit_normal_scores(torch.full((200, 1), torch.nan))


def test_draws_at_the_edge_of_their_support():
    with pm.Model() as model:
        p = pm.Beta("p", 1, 1e-4)
        pm.Bernoulli("y", p, observed=np.array([0, 1]))
    simulator = pma.compile_simulator(model, device="cpu")
    draws = simulator.sample(1_000, random_seed=1).parameters
    with pytest.raises(errors.NonFiniteSimulationError, match="most of p lie at its edge"):
        simulator.parameters.with_normal_scores(draws)


def test_draws_of_which_some_are_at_the_edge():
    """Sticks of a Dirichlet process whose concentration may be near 0."""
    with pm.Model() as model:
        alpha = pm.Gamma("alpha", 1, 1)
        stick = pm.Beta("stick", 1, alpha, shape=30)
        pm.Binomial("y", 5, stick, observed=np.full(30, 2))
    simulator = pma.compile_simulator(model, device="cpu")
    draws = simulator.sample(4_000, random_seed=1).parameters
    at_edge = (draws["stick"] == 1).double().mean()
    assert 0.01 < float(at_edge) < 0.2
    space = simulator.parameters.with_normal_scores(draws)
    scores, log_det = space.standardize(space.from_edge(space.unconstrain(draws)))
    assert bool(torch.isfinite(scores).all() and torch.isfinite(log_det).all())
    inner = scores[:, 1][draws["stick"][:, 0] < 1]
    assert abs(float(inner.median())) < 0.15


def test_features_are_parameters_in_every_form(simulators):
    _, simulator = simulators("normal_mixture_ordered")
    parameters = simulator.sample(500, 1).parameters
    space = simulator.parameters.with_normal_scores(parameters)
    vector = space.unconstrain(parameters)
    features = space.features(vector, parameters)
    scores, _ = space.standardize(vector)
    assert features.shape == (500, space.num_features)
    assert torch.equal(features[:, : space.size], scores)
    constrained = torch.cat([parameters[name].flatten(1) for name in space.names], dim=1)
    assert torch.equal(features[:, space.size : 2 * space.size], vector)
    assert torch.equal(features[:, 2 * space.size :], constrained)
