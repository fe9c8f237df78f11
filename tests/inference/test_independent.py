"""Independent indicators given one data set."""

import math

import numpy as np
import pymc as pm
import pytest
import torch

from scipy import stats

from pymc_amortized.errors import (
    UnsupportedModelError,
)
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.exact import ExactModel
from pymc_amortized.inference.indicators.independent import _draw_codes, _shares
from pymc_amortized.inference.indicators.kinds import condition_on_data
from tests.answered import flat, sample
from tests.inference.untrained import untrained
from tests.trained import data

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]


def test_conjugate_indicators(trained):
    _, posterior = trained("beta_bernoulli")
    y = np.repeat([0.0, 20.0], [30, 10]) + np.random.default_rng(0).normal(size=40)
    idata = sample(posterior, {"y": y}, correction="importance")
    assert (flat(idata, "z") == (y > 10)).all()
    exact = stats.beta(2 + 10, 3 + 30)
    assert stats.kstest(flat(idata, "p")[:1000], exact.cdf).pvalue > 0.0002
    probabilities = np.asarray(idata.indicator_probabilities["z"])
    assert np.allclose(probabilities[:, 1], y > 10, atol=1e-6)


def test_indicators_agree_with_their_probabilities(trained):
    """z is drawn given θ: frequencies of 4,000 draws against p(z given y), unit by unit."""
    _, posterior = trained("mixture")
    idata = sample(posterior)
    z, p = flat(idata, "y_component"), np.asarray(idata.indicator_probabilities["y_component"])
    error = (z == 1).mean(0) - p[:, 1]
    assert np.allclose(p.sum(-1), 1)
    # Conditional on the draws of θ, an average of 4,000 independent 0-1 variables.
    assert np.abs(error).max() < 5 * 0.5 / math.sqrt(len(z))
    theta = {name: torch.as_tensor(flat(idata, name)) for name in ("w", "mu", "sigma")}
    density = posterior.inference.problem.simulator.density
    y = torch.as_tensor(data())
    joint = (
        torch.distributions.Normal(theta["mu"][:, None], theta["sigma"][:, None]).log_prob(
            y[:, None]
        )
        + theta["w"][:, None].log()
    )
    assert np.allclose(joint.softmax(-1).mean(0), p, atol=1e-6)
    total = joint.logsumexp(-1).sum(-1)
    space = posterior.inference.problem.space
    log_prior = density.log_prior(space.split(space.unconstrain(theta)))
    lp = np.asarray(idata.sample_stats["lp"]).ravel()
    assert np.allclose(lp, total + log_prior)


def test_indicator_probabilities(trained):
    _, posterior = trained("mixture")
    p = posterior.indicator_probabilities(random_seed=1)["y_component"]
    assert p.dims == ("unit", "component")
    again = np.asarray(sample(posterior).indicator_probabilities["y_component"])
    assert np.abs(np.asarray(p) - again).max() < 0.1
    _, without = trained("normal_mean")
    with pytest.raises(UnsupportedModelError, match="indicators"):
        without.indicator_probabilities()


COUNTS = np.random.default_rng(1).poisson([3, 9], (20, 2)).ravel()


@pytest.fixture(scope="module")
def counts():
    """Indicators of a mixture of counts that repeat, and 4,000 draws of its parameters."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        rate = pm.Gamma("rate", 4, [2.0, 1.0, 0.5], shape=3)
        pm.Mixture("y", w=w, comp_dists=pm.Poisson.dist(rate), observed=COUNTS)
    problem = untrained(model).problem
    parameters = problem.simulator.sample_parameters(4_000, 3)
    nothing = torch.zeros(4_000)
    vector = problem.space.unconstrain(parameters)
    draws = Draws(parameters, vector, None, nothing, nothing > 0, "network")
    [spec] = problem.spec.indicators
    return condition_on_data(problem, None, spec, problem.read(None)), draws


def test_equal_units_share_their_probabilities(counts, monkeypatch):
    """Those of a mixture of Poisson distributions by SciPy, each unit by itself."""
    conditional, draws = counts
    assert conditional._places(draws) is not None
    found = conditional.draw(draws, torch.Generator().manual_seed(1))
    w, rate = (draws.parameters[name].numpy()[:, None] for name in ("w", "rate"))
    joint = w * stats.poisson(rate).pmf(COUNTS[:, None])
    exact = joint / joint.sum(-1, keepdims=True)
    assert np.abs(found.probabilities.numpy() - exact.mean(0)).max() < 1e-6
    memberships = torch.cat(list(conditional.memberships(draws))).numpy()
    assert np.abs(memberships - exact).max() < 1e-9
    alone = condition_on_data(conditional.problem, None, conditional.indicator, conditional.dataset)
    monkeypatch.setattr(ExactModel, "distinct_units", lambda *_: None)
    other = alone.draw(draws, torch.Generator().manual_seed(2))
    for one in (found, other):
        assert torch.allclose(one.probabilities, found.probabilities, atol=1e-6)
        # Independent 0-1 variables, given the draws; 120 frequencies.
        shares = (one.values.numpy()[..., None] == np.arange(3)).mean(0)
        error = np.sqrt((exact * (1 - exact)).mean(0) / len(draws))
        assert np.abs((shares - exact.mean(0)) / error).max() < 4.5
        # A planted fault: units that are taken for others.
        assert np.abs((np.roll(shares, 1, 0) - exact.mean(0)) / error).max() > 20


def test_equal_units_are_drawn_one_by_one(counts):
    """Given the parameters they are independent: all alike no more often than by chance."""
    conditional, draws = counts
    found = conditional.draw(draws, torch.Generator().manual_seed(1))
    first, second = np.flatnonzero(np.bincount(COUNTS).argmax() == COUNTS)[:2]
    z = found.values.numpy()
    p = torch.cat(list(conditional.memberships(draws)))[:, first].numpy()
    alike = (p**2).sum(-1)
    error = math.sqrt((alike * (1 - alike)).mean() / len(draws))
    assert abs((z[:, first] == z[:, second]).mean() - alike.mean()) < 4 * error
    assert alike.mean() < 1 - 10 * error


@pytest.mark.parametrize("places", [None, torch.tensor([1, 0, 1])], ids=["each", "shared"])
def test_what_is_impossible_is_never_drawn(places):
    """A million draws, in which a uniform number of half precision is often all but 0 or 1."""
    possible = torch.tensor([[0.0, 1.0, 1e-3, 0.0], [0.3, 0.0, 0.6, 0.0]], dtype=torch.float64)
    joint = possible.log().expand(1_000_000, 2, 4)
    codes = _draw_codes(_shares(joint), torch.Generator().manual_seed(3), places)
    units = range(2) if places is None else places.tolist()
    for column, unit in zip(codes.T, units, strict=True):
        p = (possible[unit] / possible[unit].sum()).numpy()
        counts = torch.bincount(column.long(), minlength=4).numpy()
        assert (counts[p == 0] == 0).all()
        assert stats.chisquare(counts[p > 0], 1e6 * p[p > 0]).pvalue > 0.0002


def test_a_single_component_is_drawn_always():
    codes = _draw_codes(_shares(torch.randn(5, 3, 1)), torch.Generator().manual_seed(0))
    assert torch.equal(codes, torch.zeros(5, 3, dtype=torch.int16))
