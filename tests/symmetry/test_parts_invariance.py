"""The same without a density."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from tests.symmetry.mixtures import Y, drawn


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_distributions_of_different_kinds_are_not_exchangeable():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        other = pm.CustomDist.dist(mu[1], 1.0, random=draw_cauchy, class_name="T")
        pm.Mixture("y", w, [drawn(mu[0], 1.0), other], observed=Y)
    assert pma.compile_simulator(model, device="cpu").exchangeable == ()


def draw_cauchy(mean, sigma, rng=None, size=None):
    return mean + sigma * rng.standard_cauchy(size=size)


def test_parameters_that_nothing_depends_on_are_no_components():
    with pm.Model() as model:
        pm.Normal("unused", 0, 1, shape=2)
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        pm.NormalMixture("y", w, mu, sigma=1, observed=Y)
    [found] = pma.compile_simulator(model, device="cpu").exchangeable
    assert set(found.names) == {"w", "mu"}
