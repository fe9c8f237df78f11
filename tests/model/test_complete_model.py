"""What a complete-data model consists of."""

import numpy as np
import pymc as pm
import pytest

from pymc_amortized.model.reading.completion import complete_model
from tests.cases import BY_NAME, N, Y


def follows(source):
    """Two observed variables, the second around a function of the first."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        first = pm.NormalMixture("first", [0.3, 0.7], mu, 1.0, observed=Y)
        pm.Normal("apart", mu[0], 1, observed=Y)
        pm.Normal("second", source(mu, first), 1, observed=Y)
    return complete_model(model)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (lambda mu, first: mu[0] * first, ["first"]),
        (lambda mu, first: mu[0] * first.mean(), ["first"]),
        (lambda mu, first: mu[0] * np.ones(N), []),
    ],
    ids=["of each", "of all", "of none"],
)
def test_observations_behind_an_observation(source, expected):
    complete = follows(source)
    behind = {
        o.name: [b.name for b in complete.observations_behind(o)] for o in complete.observations
    }
    assert behind == {"first": [], "apart": [], "second": expected}


def test_a_mixture_behind_a_mixture():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        first = pm.NormalMixture("first", [0.3, 0.7], mu, 1.0, observed=Y)
        components = [pm.Normal.dist(first, 1), pm.Normal.dist(0, 1)]
        pm.Mixture("second", [0.5, 0.5], components, observed=Y)
    complete = complete_model(model)
    one, two = complete.observations
    assert complete.observations_behind(one) == []
    assert complete.observations_behind(two) == [one]


@pytest.mark.parametrize(
    ("name", "origin", "order", "units"),
    [
        ("normal_mixture_ordered", "mixture", 0, (N,)),
        ("explicit_categorical", "explicit", 0, (N,)),
        ("marginalized_by_pymc_extras", "marginalized", 0, (N,)),
        ("gaussian_hidden_markov_model", "explicit", 1, (N,)),
        ("chain_of_order_two", "explicit", 2, (N,)),
        ("chains_in_parallel", "explicit", 1, (2, 4)),
    ],
)
def test_every_indicator_is_a_variable_of_its_own(name, origin, order, units):
    complete = complete_model(BY_NAME[name].model())
    [indicator] = complete.indicators
    assert (indicator.origin, indicator.order) == (origin, order)
    assert complete.indicator_variables == [indicator.variable]
    assert pm.draw(indicator.variable, mode="FAST_COMPILE", random_seed=1).shape == units


def test_parameters_are_in_the_order_of_the_model_with_their_transforms():
    model = BY_NAME["truncated_and_interval_priors"].model()
    complete = complete_model(model)
    assert [p.name for p in complete.parameters] == ["low", "gap", "rho", "tau"]
    assert complete.parameter_variables == model.free_RVs
    for parameter in complete.parameters:
        assert parameter.transform is model.rvs_to_transforms[parameter.variable]


def test_observed_data_are_no_covariates():
    with pm.Model() as model:
        x, y = pm.Data("x", np.arange(3.0)), pm.Data("y_values", np.zeros(3))
        slope = pm.Normal("slope", 0, 1)
        pm.Deterministic("line", slope * x)
        pm.Normal("y", slope * x, 1, observed=y)
    complete = complete_model(model)
    assert list(complete.data) == ["x"]
    assert list(complete.deterministics) == ["line"]
    assert complete.observations[0].data.tolist() == [0.0, 0.0, 0.0]
