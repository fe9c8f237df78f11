"""The density of parameters before any data."""

import numpy as np
import pymc as pm
import pytest

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.compat import reference_mode
from tests.cases import Y


def test_the_density_of_a_model_that_pymc_cannot_derive_as_a_whole():
    """Censored components on an axis: PyMC derives each component, but not their mixture."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [0, 1], 1)
        component = pm.Censored.dist(pm.Normal.dist(mu, 1), lower=-1, upper=1.0)
        pm.Mixture("y", [0.3, 0.7], component, observed=np.clip(Y, -1, 1))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, random_seed=1).parameters
    ours = simulator.density.log_marginal(parameters, simulator.observed_data)
    for row in range(3):
        normal = stats.norm(parameters["mu"][row].numpy(), 1)
        clipped = np.clip(Y, -1, 1)[:, None]
        inner = np.where(clipped == -1, normal.cdf(-1), normal.pdf(clipped))
        likelihood = np.where(clipped == 1, normal.sf(1), inner)
        # PyMC's own normal distribution function is right to 2e-8.
        assert abs(float(ours[row]) - np.log(likelihood @ [0.3, 0.7]).sum()) < 2e-7


pytestmark = pytest.mark.usefixtures("interpreted")


@pytest.mark.parametrize("size", [2, 3])
def test_correlations_as_parameters(size):
    with pm.Model() as model:
        pm.LKJCorr("correlation", n=size, eta=2)
        mu = pm.Normal("mu", 0, 1, shape=2)
        pm.NormalMixture("y", w=[0.5, 0.5], mu=mu, sigma=1, observed=np.arange(4.0))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(3, 1).parameters
    split = simulator.parameters.split(simulator.parameters.unconstrain(parameters))
    ours = simulator.density.log_prior(split) + simulator.density.log_marginal(
        parameters, {"y": np.arange(4.0)}
    )
    log_prob = model.compile_logp(mode=reference_mode())
    for i in range(3):
        values = [split[v.name][i].numpy() for v in model.free_RVs]
        names = [model.rvs_to_values[v].name for v in model.free_RVs]
        expected = log_prob(dict(zip(names, values, strict=True)))
        assert abs(float(ours[i]) - expected) < 1e-8 * abs(expected)
