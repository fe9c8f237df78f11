"""Draws of the prior as NUTS would sample it."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc.distributions.transforms import ordered

import pymc_amortized as pma

from pymc_amortized import errors


def test_potential_that_is_not_a_constraint():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Potential("term", -(mu**2))
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="-inf where they are not; got -"):
        pma.compile_simulator(model)


def test_low_acceptance_rate():
    with pm.Model() as model:
        mu = pm.Normal("mu", np.arange(8)[::-1], 0.5, transform=ordered)
        pm.Normal("y", mu[0], 1, observed=np.zeros(3))
    with pytest.raises(errors.AcceptanceRateError, match=r"1 in 1,000.*\['mu'\]") as info:
        pma.compile_simulator(model)
    assert info.value.acceptance_rate < 1e-3


def test_a_potential_without_parameters():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.Potential("nothing", pt.constant(0.0))
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    assert len(pma.compile_simulator(model, device="cpu").sample(4)) == 4


def test_improper_prior():
    with pm.Model() as model:
        mu = pm.Flat("mu")
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    with pytest.raises(errors.UnsupportedModelError, match="proper priors"):
        pma.compile_simulator(model)
