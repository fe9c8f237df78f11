"""Values at atoms of one component, and densities without a bound."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.graph.logp import component_logps, density_graph, elementwise_logp

pytestmark = pytest.mark.usefixtures("interpreted")

VALUES = np.array([0.0, 0.3, 0.0, 0.9])
NOTHING = -np.inf
PYMC_ROUNDS = 1e-7  # the root of 2 in its normal distribution functions, to single precision
F = np.float64  # what PyTensor would hold in single precision where it can


def tables(components, values=VALUES):
    value = pt.dvector()
    graph = density_graph([value], component_logps(components, value, []))
    return [np.asarray(found).squeeze() for found in graph([values])]


def test_a_value_at_an_atom_comes_from_the_atom():
    """Zeros are the spike's, whatever the density of the other component is there."""
    for other, law in (
        (pm.Beta.dist(F(0.5), F(0.7)), stats.beta(0.5, 0.7)),
        (pm.Beta.dist(F(1.0), F(3.0)), stats.beta(1.0, 3.0)),
        (pm.Weibull.dist(F(0.5), F(1.0)), stats.weibull_min(0.5)),
        (pm.Gamma.dist(F(0.5), F(1.0)), stats.gamma(0.5)),
        (pm.Normal.dist(F(0.0), F(1.0)), stats.norm(0, 1)),
    ):
        spike, slab = tables([pm.DiracDelta.dist(F(0.0)), other])
        at_zero = VALUES == 0
        np.testing.assert_array_equal(spike, np.where(at_zero, 0.0, NOTHING))
        np.testing.assert_array_equal(slab[at_zero], NOTHING)
        np.testing.assert_allclose(slab[~at_zero], law.logpdf(VALUES[~at_zero]), rtol=1e-10)


def test_bounds_of_a_censored_component_are_atoms():
    censored = pm.Censored.dist(pm.Normal.dist(F(0.2), F(0.5)), lower=F(0.0), upper=np.inf)
    of_censored, of_normal = tables([censored, pm.Normal.dist(F(0.0), F(1.0))])
    law = stats.norm(0.2, 0.5)
    expected = np.where(VALUES == 0, law.logcdf(0.0), law.logpdf(VALUES))
    np.testing.assert_allclose(of_censored, expected, rtol=PYMC_ROUNDS)
    inside = stats.norm(0, 1).logpdf(VALUES)
    np.testing.assert_allclose(of_normal, np.where(VALUES == 0, NOTHING, inside), rtol=1e-10)


def test_bounds_along_an_axis_of_components():
    """Each component is censored at a bound of its own, where the others have densities."""
    lower = np.array([0.0, -1.0])
    censored = pm.Censored.dist(
        pm.Normal.dist(F(0.2), F(0.5)), lower=lower, upper=None, shape=(4, 2)
    )
    [found] = tables([censored])
    law = stats.norm(0.2, 0.5)
    np.testing.assert_allclose(found[VALUES == 0, 0], law.logcdf(0.0), rtol=PYMC_ROUNDS)
    np.testing.assert_array_equal(found[VALUES == 0, 1], NOTHING)
    inside = law.logpdf(VALUES[VALUES > 0])
    np.testing.assert_allclose(found[VALUES > 0], np.stack([inside] * 2, axis=1), rtol=1e-10)


def test_an_atom_within_a_mixture_that_is_a_component():
    spike_and_slab = [pm.DiracDelta.dist(F(0.0)), pm.Beta.dist(F(0.5), F(0.7))]
    inner = pm.Mixture.dist(w=np.array([0.3, 0.7]), comp_dists=spike_and_slab)
    of_inner, of_uniform = tables([inner, pm.Uniform.dist(F(0.0), F(1.0))])
    beta = np.log(0.7) + stats.beta(0.5, 0.7).logpdf(np.where(VALUES == 0, 0.5, VALUES))
    np.testing.assert_allclose(of_inner, np.where(VALUES == 0, np.log(0.3), beta), rtol=1e-10)
    np.testing.assert_array_equal(of_uniform, np.where(VALUES == 0, NOTHING, 0.0))


def test_discrete_components_share_values():
    spike, counts = tables([pm.DiracDelta.dist(0), pm.Poisson.dist(F(2.0))], np.array([0.0, 3.0]))
    np.testing.assert_array_equal(spike, [0.0, NOTHING])
    np.testing.assert_allclose(counts, stats.poisson(2.0).logpmf([0, 3]), rtol=1e-10)


def test_a_gamma_density_is_infinite_at_zero_where_its_shape_is_below_one():
    alpha, value = pt.dscalar(), pt.dvector()
    graph = density_graph(
        [alpha, value], [elementwise_logp(pm.Gamma.dist(alpha, F(2.0)), value, [alpha])]
    )
    shapes = torch.tensor([0.5, 1.0, 1.5], dtype=torch.float64)
    [found] = graph([shapes, np.zeros(1)])
    np.testing.assert_allclose(found.numpy()[:, 0], [np.inf, np.log(2.0), NOTHING], rtol=1e-10)


@pytest.mark.parametrize("correction", ["auto", "mcmc"])
def test_zeros_and_betas_are_told_apart(correction):
    """Without zeros, parameters of the others have the posterior that a grid gives them."""
    rng = np.random.default_rng(5)
    zero = rng.choice(2, 150, p=[0.2, 0.8]) == 0
    y = np.where(zero, 0.0, rng.beta(0.6, 0.7, 150))
    with pm.Model():
        w = pm.Dirichlet("w", np.ones(2))
        a, b = pm.Gamma("a", 2, 2), pm.Gamma("b", 2, 2)
        pm.Mixture("y", w=w, comp_dists=[pm.DiracDelta.dist(0.0), pm.Beta.dist(a, b)], observed=y)
        result = pma.sample(
            draws=2_000, random_seed=1, progressbar=False, cache=False, correction=correction
        )
    grid = np.linspace(0.2, 1.4, 200)
    first, second = grid[:, None, None], grid[:, None]
    log_p = stats.beta(first, second).logpdf(y[~zero]).sum(-1)
    log_p = log_p + stats.gamma(2, scale=0.5).logpdf(first)[..., 0]
    log_p = log_p + stats.gamma(2, scale=0.5).logpdf(grid)
    p = np.exp(log_p - log_p.max()).sum(1)
    p /= p.sum()
    mean = (p * grid).sum()
    sd = np.sqrt((p * (grid - mean) ** 2).sum())
    drawn = np.asarray(result["posterior"]["a"])
    assert abs(drawn.mean() - mean) < 0.15 * sd
    assert abs(drawn.std() / sd - 1) < 0.15
    share = np.asarray(result["posterior"]["w"])[..., 0].mean()
    assert abs(share - (1 + zero.sum()) / (2 + y.size)) < 0.01
    found = np.asarray(result["indicator_probabilities"]["y_component"])
    np.testing.assert_array_equal(found[:, 0], zero)
