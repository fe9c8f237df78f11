"""Several operations as one: which densities are, and that nothing else changes."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

from pytensor.graph.traversal import ancestors
from scipy import stats

from pymc_amortized.graph.fusion import LessHalfSquare, fuse
from pymc_amortized.graph.logp import density_graph, elementwise_logp

VALUES = np.linspace(0.1, 4, 12)
MU, SIGMA = pt.dvector("mu"), pt.dvector("sigma")
DISTRIBUTIONS = {
    "normal": (lambda: pm.Normal.dist(MU, SIGMA), lambda m, s: stats.norm(m, s).logpdf),
    "of precision": (
        lambda: pm.Normal.dist(MU, tau=SIGMA),
        lambda m, s: stats.norm(m, s**-0.5).logpdf,
    ),
    "of a function": (
        lambda: pm.Normal.dist(1 + pt.exp(MU), pt.exp(SIGMA)),
        lambda m, s: stats.norm(1 + np.exp(m), np.exp(s)).logpdf,
    ),
    "known scale": (
        lambda: pm.Normal.dist(MU, np.float64(2.5)),
        lambda m, s: stats.norm(m, 2.5).logpdf,
    ),
    "unit scale": (lambda: pm.Normal.dist(MU, 1), lambda m, s: stats.norm(m, 1).logpdf),
    "lognormal": (
        lambda: pm.LogNormal.dist(MU, SIGMA),
        lambda m, s: stats.lognorm(s, scale=np.exp(m)).logpdf,
    ),
    "truncated": (
        lambda: pm.TruncatedNormal.dist(MU, SIGMA, lower=np.float64(0)),
        lambda m, s: stats.truncnorm(-m / s, np.inf, m, s).logpdf,
    ),
    "halfnormal": (lambda: pm.HalfNormal.dist(SIGMA), lambda m, s: stats.halfnorm(0, s).logpdf),
    "laplace": (lambda: pm.Laplace.dist(MU, SIGMA), lambda m, s: stats.laplace(m, s).logpdf),
}
ARE_NOT = ("halfnormal", "laplace")


def table_of(name):
    build, _ = DISTRIBUTIONS[name]
    value = pt.dmatrix("value")
    return density_graph([MU, SIGMA, value], [elementwise_logp(build(), value, [MU, SIGMA])])


def operations(variables):
    return [v.owner.op for v in ancestors(variables) if v.owner is not None]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_densities(name):
    graph, (_, expected) = table_of(name), DISTRIBUTIONS[name]
    generator = np.random.default_rng(0)
    mu, sigma = generator.normal(size=(4, 3)), generator.uniform(0.3, 2, size=(4, 3))
    [found] = graph([torch.tensor(mu), torch.tensor(sigma), VALUES[:, None]])
    for b in range(4):
        logp = expected(mu[b], sigma[b])(VALUES[:, None])
        np.testing.assert_allclose(found[b].expand(12, 3).numpy(), logp, rtol=1e-10)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_which_densities_are_one_operation(name):
    """PyTensor goes on with the graph as it was."""
    graph = table_of(name)
    fused = [op for op in operations(fuse(graph.outputs)) if isinstance(op, LessHalfSquare)]
    assert len(fused) == (name not in ARE_NOT)
    assert not any(isinstance(op, LessHalfSquare) for op in operations(graph.outputs))


def test_what_else_is_added_becomes_a_part():
    """Two squares in one sum, of which the second is an offset of the first."""
    x, y = pt.dvector("x"), pt.dvector("y")
    total = -0.5 * ((x - MU) / SIGMA) ** 2 + (2.0 - 0.5 * (y - MU) ** 2) - pt.log(SIGMA)
    graph = density_graph([x, y, MU, SIGMA], [total, total + 1])
    assert len([op for op in operations(fuse(graph.outputs)) if isinstance(op, LessHalfSquare)])
    at = [np.array(v) for v in ([1.0, 2.0], [0.5, -1.0], [0.3, 0.2], [1.5, 2.0])]
    found = graph([torch.tensor(v)[None] for v in at])
    a, b, mu, sigma = at
    expected = -0.5 * ((a - mu) / sigma) ** 2 + 2 - 0.5 * (b - mu) ** 2 - np.log(sigma)
    for one, more in zip(found, (0, 1), strict=True):
        np.testing.assert_allclose(one[0].numpy(), expected + more, rtol=1e-12)


def test_arrays_alone_stay_arrays():
    graph = table_of("normal")
    [found] = graph([np.zeros(1), np.ones(1), VALUES[:, None]])
    assert isinstance(found, np.ndarray)
    np.testing.assert_allclose(found[:, 0], stats.norm.logpdf(VALUES), rtol=1e-12)


def test_what_has_no_type_of_numbers_stays():
    """A slice that is a variable, as indices of replicates are."""
    x, stop = pt.dmatrix(), pt.lscalar()
    rows = x[pt.arange(stop)[:, None], 0:stop]
    [same] = fuse([rows])
    assert same is rows
