"""The space in which proposals are made: a flow's base, or scores for any other network."""

import math

import numpy as np
import pytest
import torch

from scipy.stats import multivariate_normal
from torch import nn

import pymc_amortized as pma

from pymc_amortized.inference.proposals import _ScoreSpace
from pymc_amortized.networks.contracts import AbstractFlow
from tests.inference.test_ladder import RUNGS, exact_mean, flat, sample
from tests.trained import NUM_UNITS, data, normal_mean


class Normal(pma.AbstractPosteriorNetwork):
    """A normal distribution whose mean and scale depend on the context: no flow."""

    def __init__(self, num_parameters, context_size):
        super().__init__()
        self.layer = nn.Linear(context_size, 2 * num_parameters)

    def distribution(self, context):
        mean, log_scale = self.layer(context).chunk(2, dim=-1)
        return torch.distributions.Normal(mean, log_scale.exp())

    def log_prob(self, scores, context):
        return self.distribution(context).log_prob(scores).sum(-1)

    def sample(self, context, num_draws, generator=None):
        normal = self.distribution(context)
        noise = torch.randn(num_draws, *normal.mean.shape, generator=generator)
        return normal.mean + normal.stddev * noise


@pytest.fixture(scope="module")
def without_base():
    config = pma.TrainingConfig(steps=100, tolerance=None)
    networks = pma.Networks(posterior=Normal)
    return pma.fit(
        normal_mean(data()), networks=networks, training=config, random_seed=1, progressbar=False
    )


def test_points_and_scores_are_two_views_of_the_same_density(trained):
    """Over points and over scores, log q differs by the log determinant, in both directions."""
    _, posterior = trained("mixture")
    inference = posterior.inference
    assert isinstance(inference.estimator.posterior, AbstractFlow)
    frames = inference.read(None).smooth
    context = inference.context(frames)
    points, own = inference.proposals.draw(context, 500, torch.Generator().manual_seed(1))
    scores, log_det = inference.proposals.to_scores(points, context)
    back, inverse_log_det = inference.proposals.from_scores(scores, context)
    # The network computes in single precision.
    assert torch.allclose(back, points, atol=1e-3)
    assert torch.equal(own, inference.proposals.log_prob(points, context))
    assert torch.allclose(inverse_log_det, -log_det, atol=1e-2)
    log_q = inference.estimator.log_prob(scores.float(), context).double()
    assert torch.allclose(inference.proposals.log_prob(points, context) - log_det, log_q, atol=1e-2)
    assert torch.allclose(inference.log_network(scores, context), log_q, atol=1e-4)
    target = inference.log_target_of(points, context, inference.read(None).frames)
    expected = inference.problem.log_target(scores, inference.read(None).frames) + log_det
    assert torch.allclose(target, expected, atol=1e-9)


def test_the_integral_is_the_same_in_both_spaces(trained, monkeypatch):
    """The evidence does not depend on where proposals are made, nor do the draws."""
    _, posterior = trained("mixture")
    first = sample(posterior, correction="adaptive")
    other = _ScoreSpace(posterior.inference.estimator)
    monkeypatch.setitem(vars(posterior.inference), "proposals", other)
    second = sample(posterior, correction="adaptive")
    a, b = (x.posterior.attrs for x in (first, second))
    error = math.hypot(a["log_evidence_error"], b["log_evidence_error"])
    assert abs(a["log_evidence"] - b["log_evidence"]) < 4.5 * error
    for name in ("w", "mu", "sigma"):
        one, two = flat(first, name), flat(second, name)
        assert (np.abs(one.mean(0) - two.mean(0)) < 4.5 * two.std(0) * math.sqrt(2 / 400)).all()


@pytest.mark.parametrize("rung", RUNGS)
def test_a_network_of_ones_own_climbs_the_ladder(without_base, rung):
    y = np.random.default_rng(3).normal(1, 1, NUM_UNITS)
    check_answer(sample(without_base, {"y": y}, correction=rung), y, rung)


def check_answer(idata, y, rung):
    attrs = idata.posterior.attrs
    assert attrs["checked"] == "accepted"
    exact, draws = exact_mean(y), flat(idata, "mu")
    worth = attrs["ess_bulk"] if rung == "mcmc" else min(attrs["importance_ess"], 4_000)
    assert abs(draws.mean() - exact.mean()) < 4.5 * exact.std() / math.sqrt(worth)
    assert abs(draws.std() / exact.std() - 1) < 4.5 / math.sqrt(worth)


@pytest.fixture(scope="module")
def with_latents():
    config = pma.TrainingConfig(steps=150, tolerance=None)
    networks = pma.Networks(posterior=pma.ConditionalPriorVAE)
    return pma.fit(
        normal_mean(data()), networks=networks, training=config, random_seed=1, progressbar=False
    )


@pytest.mark.parametrize("rung", RUNGS)
def test_a_network_of_latent_numbers_climbs_the_ladder(with_latents, rung):
    """Pooled with draws of mixtures, and the evidence is exact: y ~ N(0, I + 4)."""
    y = np.random.default_rng(3).normal(1, 1, NUM_UNITS)
    idata = sample(with_latents, {"y": y}, correction=rung)
    check_answer(idata, y, rung)
    attrs = idata.posterior.attrs
    if rung != "mcmc":
        covariance = np.eye(NUM_UNITS) + 4
        expected = multivariate_normal(np.zeros(NUM_UNITS), covariance).logpdf(y)
        assert abs(attrs["log_evidence"] - expected) < 4.5 * attrs["log_evidence_error"]
