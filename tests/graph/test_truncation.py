"""Truncated variables, also where hardly any draw is between the bounds."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import torch

from scipy import stats
from scipy.special import logsumexp

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.logp import density_graph, elementwise_logp

pytestmark = pytest.mark.usefixtures("interpreted")

NUM_DRAWS = 5_000
RATES = np.array([1e-6, 0.5, 80.0, 900.0])


def drawn(base, lower, upper):
    with pm.Model() as model:
        pm.Normal("theta", 0, 1)
        pm.Truncated("y", base, lower=lower, upper=upper, observed=np.full(base.type.shape, 5))
    simulator = pma.compile_simulator(model, device="cpu")
    return simulator.sample(NUM_DRAWS, random_seed=1).observations["y"].numpy()


BASES = {
    "Poisson": (lambda: pm.Poisson.dist(RATES, shape=4), [stats.poisson(r) for r in RATES]),
    "NegativeBinomial": (
        lambda: pm.NegativeBinomial.dist(mu=RATES, alpha=2.0, shape=4),
        [stats.nbinom(2, 2 / (2 + r)) for r in RATES],
    ),
    "Binomial": (
        lambda: pm.Binomial.dist(50, [1e-6, 0.3, 0.7, 1 - 1e-6], shape=4),
        [stats.binom(50, p) for p in (1e-6, 0.3, 0.7, 1 - 1e-6)],
    ),
}


@pytest.mark.parametrize(("lower", "upper"), [(1, None), (None, 30), (3, 20)])
@pytest.mark.parametrize("name", BASES)
def test_discrete_draws_have_the_probabilities_that_are_left(name, lower, upper):
    """By a chi-squared test of each column; some are hardly ever between the bounds."""
    build, laws = BASES[name]
    values = drawn(build(), lower, upper)
    top = 30_000 if upper is None else upper
    support = np.arange(lower or 0, top + 1)
    assert values.min() >= support[0]
    assert values.max() <= support[-1]
    for column, law in zip(values.T, laws, strict=True):
        log_p = law.logpmf(support)
        p = np.exp(log_p - log_p.max())
        p /= p.sum()
        counts = np.bincount(column, minlength=top + 1)[support]
        assert counts[p == 0].sum() == 0
        common = NUM_DRAWS * p >= 10
        expected = NUM_DRAWS * np.append(p[common], p[~common].sum())
        found = np.append(counts[common], counts[~common].sum())
        if expected[-1] < 5:
            expected[-2], found[-2] = expected[-2:].sum(), found[-2:].sum()
            expected, found = expected[:-1], found[:-1]
        statistic = ((found - expected) ** 2 / expected).sum()
        assert stats.chi2(max(len(found) - 1, 1)).sf(statistic) > 1e-5


@pytest.mark.parametrize(("lower", "upper"), [(1, None), (None, 30), (3, 20)])
@pytest.mark.parametrize("name", BASES)
def test_discrete_densities_are_those_that_are_left(name, lower, upper):
    build, laws = BASES[name]
    variable = pm.Truncated.dist(build(), lower=lower, upper=upper)
    value = pt.lmatrix()
    density = density_graph([value], [elementwise_logp(variable, value, [])])
    values = np.arange(34)
    [found] = density([torch.as_tensor(values[None, :, None])])
    support = np.arange(lower or 0, 50_000 if upper is None else upper + 1)
    for column, law in zip(found[0].numpy().T, laws, strict=True):
        expected = law.logpmf(values) - logsumexp(law.logpmf(support))
        expected[~np.isin(values, support)] = -np.inf
        np.testing.assert_allclose(column, expected, rtol=1e-8, atol=1e-8)


def test_probabilities_that_add_up_to_one_leave_a_density():
    """Of 0, 1 and 2 they may even be more, by rounding, at rates of 1e-6 and less."""
    rates = 10.0 ** -np.arange(3, 40)
    variable = pm.Truncated.dist(pm.Poisson.dist(rates), lower=3)
    value = pt.lvector()
    density = density_graph([value], [elementwise_logp(variable, value, [])])
    [found] = density([torch.full((1, len(rates)), 4)])
    # 4 and 3 have nearly all that is left, in the ratio of rate / 4 to 1.
    np.testing.assert_allclose(found[0].numpy(), np.log(rates / 4), rtol=1e-4)


def test_a_group_term_makes_rates_tiny():
    """A hurdle of Poisson counts, whose rates go down to 1e-30 and less."""
    groups = np.arange(20) % 4
    with pm.Model() as model:
        spread = pm.HalfNormal("spread", 20)
        effect = pm.Normal("effect", 0, 1, shape=4)
        rate = pm.math.exp(-spread * pm.math.abs(effect[groups]))
        pm.HurdlePoisson("y", 0.6, rate, observed=np.arange(20) % 5)
    simulator = pma.compile_simulator(model, device="cpu")
    y = simulator.sample(500, random_seed=1).observations["y"].numpy()
    assert abs((y == 0).mean() - 0.4) < 0.03
    parameters = simulator.sample(500, random_seed=2).parameters
    table = simulator.density.log_likelihood(parameters, {"y": np.arange(20) % 5})
    assert float(table.max()) <= 1e-6


@pytest.mark.parametrize("rate", [1e-25, 1e-12, 0.3, 40.0])
def test_probabilities_next_to_a_bound_do_not_underflow(rate):
    value = pt.lvector()
    variable = pm.Truncated.dist(pm.Poisson.dist(np.array(rate)), lower=1, upper=np.inf)
    graph = density_graph([value], [elementwise_logp(variable, value, [])])
    [found] = graph([np.arange(4)])
    law = stats.poisson(rate)
    expected = np.append(-np.inf, law.logpmf([1, 2, 3]) - np.log(-np.expm1(-rate)))
    np.testing.assert_allclose(np.asarray(found).ravel(), expected, atol=1e-4)


def test_bounds_without_any_mass_are_refused():
    with pytest.raises(UnsupportedModelError, match="mass between its bounds"):
        drawn(pm.Binomial.dist(5, 0.3, shape=2), 7, 20)
