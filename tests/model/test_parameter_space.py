"""Named parameters to one unconstrained vector and back; the normal-score map."""

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

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


def test_prior_draws_become_standard_normal(simulators):
    _, simulator = simulators("gaussian_hidden_markov_model")
    draws = simulator.sample(10_000, random_seed=1).parameters
    space = simulator.parameters.with_normal_scores(draws)
    fresh = space.unconstrain(simulator.sample(4_000, random_seed=2).parameters)
    scores, log_det = space.standardize(fresh)
    for column in range(space.size):
        # The map itself is estimated from draws, hence the level.
        assert stats.kstest(scores[:, column].numpy(), "norm").pvalue > 1e-4
    back, inverse_log_det = space.unstandardize(scores)
    torch.testing.assert_close(back, fresh, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-10, atol=1e-10)
    assert simulator.parameters.normal_scores is None


def test_log_determinant_is_the_derivative():
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(5_000, 3, generator=generator, dtype=torch.float64)
    draws = torch.stack([draws[:, 0].exp(), 100 * draws[:, 1], draws[:, 2] ** 3], dim=1)
    scores = fit_normal_scores(draws)
    x = (3 * draws[:300]).requires_grad_()
    z, log_det = scores.forward(x)
    [slope] = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(slope.log().sum(-1), log_det, rtol=1e-9, atol=1e-9)
    assert bool((slope > 0).all())
    wide = torch.linspace(-1e4, 1e4, 2001, dtype=torch.float64)[:, None].expand(-1, 3)
    mapped, _ = scores.forward(wide)
    assert bool((mapped[1:] > mapped[:-1]).all())
    back, _ = scores.inverse(mapped)
    torch.testing.assert_close(back, wide.contiguous(), rtol=1e-8, atol=1e-6)


def test_ties_do_not_break_the_map():
    draws = torch.cat([torch.zeros(500, 1), torch.ones(500, 1)]).double()
    scores = fit_normal_scores(draws)
    z, log_det = scores.forward(draws)
    assert bool(torch.isfinite(z).all())
    assert bool(torch.isfinite(log_det).all())
    torch.testing.assert_close(scores.inverse(z)[0], draws, rtol=1e-8, atol=1e-8)


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
        p = pm.Beta("p", 0.001, 0.001)
        pm.Bernoulli("y", p, observed=np.array([0, 1]))
    simulator = pma.compile_simulator(model, device="cpu")
    draws = simulator.sample(1_000, random_seed=1).parameters
    with pytest.raises(errors.NonFiniteSimulationError, match="some of p lie at its edge"):
        simulator.parameters.with_normal_scores(draws)


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
