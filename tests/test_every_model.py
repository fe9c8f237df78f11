"""The whole way for every model of the table, hardly trained: shapes, finiteness, density."""

import warnings

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, AtypicalDataWarning, BackendFallbackWarning
from tests.cases import BY_NAME

pytestmark = pytest.mark.usefixtures("interpreted")

CONFIG = pma.TrainingConfig(steps=10, batch_size=16, num_validation=32, tolerance=None)
OPTIONS = {"training": CONFIG, "random_seed": 1, "progressbar": False, "cache": False}


@pytest.fixture(autouse=True)
def _expected_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BackendFallbackWarning)
        warnings.simplefilter("ignore", AccuracyWarning)
        warnings.simplefilter("ignore", AtypicalDataWarning)
        yield


def check(model):
    posterior = pma.fit(model, **OPTIONS)
    spec, density = posterior.spec, posterior.inference.problem.simulator.density
    kwargs = {} if density is None else {"log_likelihood": True, "log_prior": True}
    idata = posterior.sample(draws=6, chains=2, random_seed=1, idata_kwargs=kwargs)
    parameters = {}
    for p in spec.parameters:
        values = np.asarray(idata.posterior[p.name])
        assert values.shape == (2, 6, *p.shape)
        assert np.isfinite(values).all()
        parameters[p.name] = torch.as_tensor(values.reshape(12, *p.shape))
    for i in spec.indicators:
        group = idata.indicators if i.units else idata.posterior
        values = np.asarray(group[i.name])
        assert values.shape == (2, 6, *i.units)
        assert np.isin(values, i.support).all()
        for name in [i.name] if i.kind == "independent" else ["smoothing", "filtering"]:
            probabilities = np.asarray(idata.indicator_probabilities[name])
            assert probabilities.shape == (*i.units, i.num_components)
            assert np.allclose(probabilities.sum(-1), 1)
    for d in spec.deterministics:
        assert d.name in idata.posterior
    if density is not None:
        data = posterior.inference.problem.simulator.observed_data
        expected = density.log_marginal(parameters, data)
        total = sum(np.asarray(x).reshape(12, -1).sum(1) for x in idata.log_likelihood.values())
        assert np.allclose(total, expected)
        log_q = np.asarray(idata.sample_stats["log_q"]).ravel()
        lp = np.asarray(idata.sample_stats["lp"]).ravel()
        assert np.allclose(np.asarray(idata.sample_stats["log_weight"]).ravel(), lp - log_q)
    return idata


def test_case(case):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = case.model()
    check(model)


def test_the_table_has_both_kinds():
    assert {"gaussian_hidden_markov_model", "groups_of_observations"} <= set(BY_NAME)


def test_indicators_alone():
    """No parameters: p(z given y) is exact, and needs no weights."""
    y = np.array([-2.0, 0.1, 3.0])
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.3, shape=3)
        pm.Normal("y", 2.0 * z, 1, observed=y)
    idata = check(model)
    odds = np.log(0.3 / 0.7) + 2 * y - 2
    found = np.asarray(idata.indicator_probabilities["z"])[:, 1]
    assert np.allclose(found, 1 / (1 + np.exp(-odds)))


def test_one_unit_and_scalars():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        z = pm.Categorical("z", [0.4, 0.6])
        pm.Normal("y", mu[z], 1, observed=0.5)
        pm.Normal("other", mu[0], 1, observed=-0.5)
    check(model)


def test_a_table_of_indicators():
    """One indicator for every cell of a table: rows of several indicators."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=np.zeros((6, 4)))
    check(model)


def test_replicates_with_gaps():
    y = np.ma.masked_array(np.zeros((6, 3)), np.arange(18).reshape(6, 3) % 5 == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pm.Model() as model:
            mu = pm.Normal("mu", 0, 3, shape=2)
            z = pm.Categorical("z", [0.5, 0.5], shape=6)
            pm.Normal("y", mu[z][:, None], 1, observed=y)
        check(model)


def test_groups_of_different_size_with_a_covariate():
    group = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=3)
        mean = slope[z[group]] * np.linspace(-1, 1, 10)
        pm.Normal("y", mean, 1, observed=np.zeros(10))
    check(model)


def test_observations_whose_order_matters():
    """A trend that is no covariate: positions tell units apart."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=2)
        drift = pm.Normal("drift", 0, 1)
        z = pm.Bernoulli("z", 0.5, shape=8)
        first = pm.math.concatenate([[0.0], np.ones(7)])
        pm.Normal("y", mu[z] + drift * first.cumsum(), 1, observed=np.zeros(8))
    check(model)
