"""Independent indicators given one data set."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.errors import (
    UnsupportedModelError,
)
from tests.answered import flat, sample
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
