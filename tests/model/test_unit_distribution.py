"""Probabilities of independent indicators, for all units of a model or for others."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

import pymc_amortized as pma

X = np.linspace(-1, 1, 12)


def bernoulli():
    with pm.Model() as model:
        p = pm.Beta("p", 2, 2)
        z = pm.Bernoulli("z", p, shape=12)
        pm.Normal("y", 2.0 * z, 1, observed=X)
    return model


def categorical():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        z = pm.Categorical("z", w, shape=12)
        pm.Normal("y", 2.0 * z, 1, observed=X)
    return model


def distribution_of(model, num_draws=30):
    """Return the distribution of a model, and draws of its parameter."""
    simulator = pma.compile_simulator(model)
    parameters = simulator.sample(num_draws, 1).parameters
    [values] = parameters.values()
    return simulator.density.indicator_distribution("z"), values.double()


@pytest.mark.parametrize("define", [bernoulli, categorical])
@pytest.mark.parametrize("num_units", [3, 12, 40])
def test_probabilities_of_any_number_of_units(define, num_units):
    distribution, values = distribution_of(define())
    found = distribution.log_probs([values], units=(num_units,)).exp()
    expected = torch.stack([1 - values, values], -1) if values.ndim == 1 else values
    expected = expected.unsqueeze(1).expand(-1, num_units, -1)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_numbers_of_the_model_do_not_serve_other_units():
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1)
        z = pm.Bernoulli("z", pm.math.invlogit(slope * pt.as_tensor(X)))
        pm.Normal("y", 2.0 * z, 1, observed=X)
    distribution, slope = distribution_of(model)
    with pytest.raises(RuntimeError, match="expanded size"):
        distribution.log_probs([slope], units=(3,))


def test_log_probability_of_codes():
    distribution, p = distribution_of(bernoulli())
    codes = (torch.arange(12) % 3 == 0).long().expand(len(p), 12)
    found = distribution.log_prob([p], codes)
    torch.testing.assert_close(found, 4 * p.log() + 8 * (-p).log1p(), rtol=1e-12, atol=1e-12)
