"""Covariates, and the units that they run along."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_amortized as pma

from tests.cases import N, X, Y


def test_covariates_run_along_the_units(simulators):
    [raw] = simulators("regressions_on_an_array")[1].spec.covariates
    assert (raw.origin, raw.unit_axes) == ("constant", {"y": 0})
    [named] = simulators("regressions_on_data")[1].spec.covariates
    assert (named.name, named.origin, named.unit_axes) == ("x", "data", {"y": 0})
    [expert] = simulators("mixture_of_experts")[1].spec.covariates
    assert expert.unit_axes == {"y": 0}


def test_a_covariate_of_masked_units():
    with pm.Model() as model:
        x = pm.Data("x", X)
        slope = pm.Normal("slope", 0, 1)
        z = pm.Bernoulli("z", 0.4, shape=N)
        mask = np.array([False, True, False, False, True])
        with pytest.warns(Warning, match="impute|missing|masked"):
            pm.Normal("y", slope * x + z, 1, observed=np.ma.masked_array(Y, mask))
    [covariate] = pma.compile_simulator(model, device="cpu").spec.covariates
    assert covariate.unit_axes == {"y": 0}


def test_a_matrix_of_covariates_and_a_vector_shared_by_all():
    features = np.random.default_rng(0).normal(size=(N, 3))
    with pm.Model() as model:
        beta = pm.Normal("beta", 0, 1, shape=3)
        z = pm.Bernoulli("z", 0.4, shape=N)
        scale = pm.Data("scale", np.array([0.5, 1.0, 2.0]))
        pm.Normal("y", pt.dot(features, beta * scale) + z, 1, observed=Y)
    simulator = pma.compile_simulator(model, device="cpu")
    found = {c.name: (c.shape, c.unit_axes) for c in simulator.spec.covariates}
    assert found == {"scale": ((3,), {}), "y_covariate_0": ((N, 3), {"y": 0})}
    assert simulator.spec.observations[0].exchangeable


def test_covariates_of_an_explicit_indicator():
    with pm.Model() as model:
        slope = pm.Normal("slope", 0, 1)
        z = pm.Bernoulli("z", pm.math.sigmoid(slope * X))
        pm.Normal("y", z, 1, observed=Y)
    spec = pma.compile_simulator(model, device="cpu").spec
    assert [c.unit_axes for c in spec.covariates] == [{"y": 0}]
    assert spec.observations[0].exchangeable
