"""The density of parameters before any data."""

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.compat import reference_mode
from pymc_amortized.errors import BackendFallbackWarning, DensityUnavailableError
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


def with_prior(x):
    pm.Normal("y", x, 1, observed=np.zeros(2))


def test_an_interpolated_density():
    """The posterior of an earlier analysis, taken for a prior."""
    points = np.array([-2.0, -1.0, 0.5, 1.0, 3.0])
    heights = np.array([0.1, 1.0, 0.7, 0.4, 0.0])
    with pm.Model() as model:
        with_prior(pm.Interpolated("x", points, heights))
    with pytest.warns(BackendFallbackWarning, match="interpolated"):
        simulator = pma.compile_simulator(model, device="cpu")
    at = torch.tensor([-1.5, -1.0, 0.2, 0.5, 2.9], dtype=torch.float64)
    vector = simulator.parameters.unconstrain({"x": at}).requires_grad_()
    found = simulator.density.log_prior(simulator.parameters.split(vector))
    value = at.numpy()
    density = np.log(np.interp(value, points, heights) / np.trapezoid(heights, points))
    jacobian = np.log((value + 2) * (3 - value) / 5)
    np.testing.assert_allclose(found.detach().numpy(), density + jacobian, rtol=1e-10)
    logp = model.compile_fn(model.logp(vars=[model["x"]]), mode=reference_mode())
    [name] = [v.name for v in model.value_vars]
    for row, ours in zip(vector.detach(), found.detach(), strict=True):
        assert float(logp({name: row.numpy()[0]})) == pytest.approx(float(ours), abs=1e-10)
    assert bool(torch.isfinite(torch.autograd.grad(found.sum(), vector)[0]).all())


def test_priors_without_a_density_are_refused_by_name():
    def draw(mean, rng=None, size=None):
        return rng.normal(mean, 1, size=size)

    with pm.Model() as model:
        with_prior(pm.CustomDist("x", 0.0, random=draw))
    simulator = pma.compile_simulator(model, device="cpu")
    with pytest.raises(DensityUnavailableError, match=r"(?s)Expected priors .*x.*pm\.Normal"):
        _ = simulator.density
