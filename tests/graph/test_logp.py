"""PyMC's log densities as batched graphs."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.graph.logp import conditioned_on, density_graph, elementwise_logp

pytestmark = pytest.mark.usefixtures("interpreted")

POINTS = torch.linspace(-2, 3, 7, dtype=torch.float64)


def test_a_density_given_what_it_depends_on():
    """A normal around a normal: the outer one alone, and where the inner one is."""
    mu = pm.Normal.dist(0, 1)
    y = pm.Normal.dist(mu, np.float64(2), shape=3)
    value = pt.dvector()
    graph = density_graph([mu, value], [elementwise_logp(y, value, [mu])])
    values = torch.stack([POINTS, POINTS + 1, POINTS - 1], dim=1)
    [found] = graph([POINTS, values])
    expected = stats.norm(POINTS[:, None], 2).logpdf(values)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_densities_are_stable_where_their_parts_underflow():
    """Two components, far from the value: log(exp(-5000) + exp(-5001))."""
    value = pt.dscalar()
    mixture = pm.NormalMixture.dist(w=[0.5, 0.5], mu=[0.0, 0.01], sigma=1.0)
    graph = density_graph([value], [elementwise_logp(mixture, value, [])])
    [found] = graph([torch.tensor([100.0], dtype=torch.float64)])
    parts = stats.norm([0.0, 0.01], 1).logpdf(100.0)
    expected = np.logaddexp(*parts) + np.log(0.5)
    np.testing.assert_allclose(found.numpy(), [expected], rtol=1e-12)
    assert expected < -4_000


@pytest.mark.parametrize("size", [None, 2])
def test_constants_have_full_precision(size):
    """PyTensor keeps 3 in 8 bits and 0.5 in 32, and would compute with 32 what follows of them."""
    value = pt.dscalar() if size is None else pt.dvector()
    points = POINTS.abs() + 1 if size is None else (POINTS.abs() + 1)[:, None].expand(-1, size)
    priors = {
        pm.Gamma.dist(3, 1.5, size=size): stats.gamma(3, scale=1 / 1.5),
        pm.Uniform.dist(0.5, 5, size=size): stats.uniform(0.5, 4.5),
    }
    for prior, law in priors.items():
        total = elementwise_logp(prior, value, []).sum()
        [found] = density_graph([value], [total])([points])
        expected = law.logpdf(points.numpy()).reshape(len(points), -1).sum(1)
        np.testing.assert_allclose(np.broadcast_to(found, (7,)), expected, rtol=1e-12)


def test_shared_values_are_those_at_the_time():
    scale = pytensor.shared(np.float64(2.0))
    value = pt.dscalar()
    graph = density_graph([value], [elementwise_logp(pm.Normal.dist(0, scale), value, [])])
    scale.set_value(np.float64(5.0))
    [found] = graph([POINTS])
    np.testing.assert_allclose(found.numpy(), stats.norm(0, 2).logpdf(POINTS), rtol=1e-12)


def test_what_takes_the_place_of_a_variable_is_in_the_result():
    """A bound that is given as another graph: the density of its stand-in."""
    upper, other, value = pm.HalfNormal.dist(1), pt.dscalar(), pt.dscalar()
    y = pm.Uniform.dist(0, upper)
    log_density = elementwise_logp(y, value, {upper: pt.exp(other)})
    graph = density_graph([other, value], [log_density])
    [found] = graph([torch.tensor([0.0, 2.0]).double(), torch.tensor([0.5, 0.5]).double()])
    np.testing.assert_allclose(found.numpy(), [0.0, -2.0], rtol=1e-12, atol=1e-12)


def test_graphs_are_built_from_stand_ins_and_given_back():
    x = pm.Normal.dist(0, 1)
    seen = []

    def build(variable):
        seen.append(variable)
        return [variable + 1]

    [result] = conditioned_on([x], [x], build)
    assert seen[0] is not x
    assert x in result.owner.inputs


def test_no_density_says_of_which_variable():
    def draw(mu, rng=None, size=None):
        return rng.normal(mu, size=size)

    y = pm.CustomDist.dist(0.0, random=draw, class_name="Own")
    y.name = "mine"
    with pytest.raises(DensityUnavailableError, match="mine"):
        elementwise_logp(y, pt.dscalar(), [])
    mu = pm.Normal.dist(0, 1)
    value = pt.dscalar()
    with pytest.raises(DensityUnavailableError, match="random variable without a value"):
        density_graph([value], [elementwise_logp(pm.Normal.dist(mu, 1), value, [])])
