"""Which units can be permuted, and with what."""

import pymc as pm
import pytensor.tensor as pt

import pymc_amortized as pma

from tests.cases import N, Y


def test_indicators_with_weights_of_their_own_are_not_exchangeable():
    with pm.Model() as model:
        w = pm.Beta("w", 2, 2, shape=N)
        z = pm.Bernoulli("z", w)
        pm.Normal("y", z, 1, observed=Y)
    assert not pma.compile_simulator(model, device="cpu").spec.observations[0].exchangeable


def test_what_is_not_exchangeable():
    """Noise that grows along the units through a cumulative sum of parameters."""
    with pm.Model() as model:
        step = pm.Normal("step", 0, 1, shape=N)
        z = pm.Bernoulli("z", 0.4, shape=N)
        pm.Normal("y", pt.cumsum(step) + z, 1, observed=Y)
    [spec] = pma.compile_simulator(model, device="cpu").spec.observations
    assert not spec.exchangeable
