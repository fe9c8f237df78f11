"""From a user's model to one of complete data: masks, missing values, mixtures."""

import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized import errors
from pymc_amortized.compat import reference_mode
from tests.cases import POINTS, N, T, Y
from tests.simulation.observed import observed


def test_masks(simulators):
    for name in ("masked_mixture", "masked_explicit"):
        [spec] = simulators(name)[1].spec.observations
        assert spec.observed.tolist() == [True, False, True, True, False]
        assert (spec.name, spec.num_missing, spec.shape) == ("y", 2, (N,))
        assert "y_unobserved" not in [p.name for p in simulators(name)[1].spec.parameters]


def _masked_points(missing):
    data = POINTS.copy()
    data[missing] = np.nan
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 2, shape=(2, 2))
        components = [pm.MvNormal.dist(mu[k], np.eye(2)) for k in range(2)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pm.Mixture("y", w=w, comp_dists=components, observed=data)
    return model


def test_missing_multivariate_values():
    simulator = pma.compile_simulator(_masked_points([1, 3]), device="cpu")
    [spec] = simulator.spec.observations
    assert spec.observed.tolist() == [True, False, True, False, True]
    parameters = simulator.sample(4, random_seed=1).parameters
    with pm.Model() as without:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 2, shape=(2, 2))
        components = [pm.MvNormal.dist(mu[k], np.eye(2)) for k in range(2)]
        pm.Mixture("y", w=w, comp_dists=components, observed=POINTS[[0, 2, 4]])
    other = pma.compile_simulator(without, device="cpu")
    torch.testing.assert_close(
        simulator.density.log_marginal(parameters, simulator.observed_data),
        other.density.log_marginal(parameters, other.observed_data),
    )


def test_values_observed_in_part_are_refused():
    with pytest.raises(errors.UnsupportedModelError, match="'y' to be observed or missing"):
        pma.compile_simulator(_masked_points((1, 0)))


def test_an_observed_variable_that_depends_on_a_mixture():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        first = pm.NormalMixture("first", [0.3, 0.7], mu, 1.0, observed=Y)
        pm.Normal("second", first * mu[0], 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    simulation = simulator.sample(3, random_seed=1)
    ours = simulator.density.log_marginal(simulation.parameters, simulator.observed_data)
    logp = model.compile_logp(vars=model.observed_RVs, mode=reference_mode())
    for row in range(3):
        expected = logp({"mu": simulation.parameters["mu"][row].numpy()})
        assert abs(float(ours[row]) - float(expected)) < 1e-9
    many = simulator.sample(4_000, random_seed=2)
    residual = many.observations["second"] - (
        many.observations["first"] * many.parameters["mu"][:, :1]
    )
    assert abs(float(residual.std()) - 1) < 0.03


def test_missing_values_of_several_axes():
    data = np.random.default_rng(0).normal(size=(4, 3))
    data[0, 1] = np.nan
    data[:, 2] = np.nan
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        z = pm.Bernoulli("z", 0.4, shape=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pm.Normal("y", mu[z] * np.ones((4, 1)), 1, observed=data)
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    ours = simulator.density.log_marginal(parameters, simulator.observed_data)
    for row in range(3):
        means = parameters["mu"][row].numpy()
        columns = stats.norm.logpdf(data[:, :, None], means, 1)
        each = np.nansum(columns, axis=0) + np.log([0.6, 0.4])
        assert abs(float(ours[row]) - np.logaddexp.reduce(each, axis=1).sum()) < 1e-9


def test_zero_inflated_components():
    with pm.Model() as model:
        mu = pm.Gamma("mu", [1, 2], 1)
        components = [pm.ZeroInflatedPoisson.dist(0.5, mu[0]), pm.Poisson.dist(mu[1])]
        pm.Mixture("y", w=[0.3, 0.7], comp_dists=components, observed=np.arange(N))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    ours = simulator.density.log_marginal(parameters, simulator.observed_data)
    logp = model.compile_logp(vars=model.observed_RVs, mode=reference_mode())
    for row in range(3):
        expected = logp({"mu_log__": parameters["mu"][row].log().numpy()})
        assert abs(float(ours[row]) - float(expected)) < 1e-9


def test_the_model_is_left_as_it_was():
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2)))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=pm.Categorical.dist([0.5, 0.5]), shape=(T,))
        pm.Normal("y", z, 1, observed=Y)
    before = (model.str_repr(), list(model.named_vars), dict(model.rvs_to_values))
    simulator = pma.compile_simulator(model, device="cpu")
    simulator.density.log_marginal(simulator.sample(2).parameters, simulator.observed_data)
    assert before == (model.str_repr(), list(model.named_vars), dict(model.rvs_to_values))


def test_the_model_of_the_context():
    with pm.Model():
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=Y)
        assert pma.compile_simulator(device="cpu").spec.parameters[0].name == "mu"


def test_no_observed_variable():
    with pm.Model() as model:
        pm.Normal("x", 0, 1)
    with pytest.raises(errors.ModelReadingError, match="observed variable"):
        pma.compile_simulator(model)


def test_an_observation_of_missing_values():
    with pm.Model() as model:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = pm.Normal("x", 0, 1, observed=np.array([0.0, np.nan, 1.0]))
        pm.Normal("y", x, 1, observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="'y' depends on 'x', some of which"):
        pma.compile_simulator(model)


def test_minibatches():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=np.zeros(3), total_size=100)
    with pytest.raises(errors.UnsupportedModelError, match="Leave out `total_size`"):
        pma.compile_simulator(model)


def test_non_numeric_observations():
    with pm.Model() as model:
        observed()
    variable = model.observed_RVs[0]
    model.rvs_to_values[variable] = pt.constant(np.zeros(3, dtype=complex))
    with pytest.raises(errors.ModelReadingError, match="Expected numeric observations"):
        pma.compile_simulator(model)


@pytest.mark.parametrize("thing", ["model", 3, pm.Normal.dist(0, 1)])
def test_what_is_not_a_model(thing):
    with pytest.raises(errors.ModelReadingError, match=r"Expected a pymc.Model; got"):
        pma.compile_simulator(thing)


def test_no_model_at_all():
    with pytest.raises(errors.ModelReadingError, match="with model:"):
        pma.compile_simulator()
