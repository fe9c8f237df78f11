"""Training of a likelihood network: known densities, from draws of them."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.errors import TrainingError
from pymc_amortized.fitting.likelihood.draws_training import train_likelihood
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork


def normal(arguments, rng):
    values = rng.normal(arguments[:, :1], arguments[:, 1:])
    return values, stats.norm(arguments[:, :1], arguments[:, 1:]).logpdf(values)[:, 0]


def gamma(arguments, rng):
    values = rng.gamma(2.0, arguments[:, 1:])
    return values, stats.gamma(2.0, scale=arguments[:, 1:]).logpdf(values)[:, 0]


def poisson(arguments, rng):
    values = rng.poisson(5 * arguments[:, 1:])
    return values, stats.poisson(5 * arguments[:, 1:]).logpmf(values)[:, 0]


@pytest.mark.parametrize("law", [normal, gamma, poisson])
def test_known_densities_are_learned(law):
    """Within 0.03 nats of the truth; planted: without a step of training it is further away."""
    rng = np.random.default_rng(3)
    number = 20_000
    arguments = np.c_[rng.normal(0, 3, number), rng.gamma(2, 0.5, number) + 0.1]
    values, log_true = law(arguments, rng)
    pairs = torch.as_tensor(arguments), torch.as_tensor(values).double()
    training, held_out = (tuple(x[s] for x in pairs) for s in (slice(-4_000), slice(-4_000, None)))
    torch.manual_seed(0)
    network = LikelihoodNetwork(2, 1, is_discrete=law is poisson)
    network.fit_scaling(*training)
    true = -log_true[-4_000:].mean()
    with torch.no_grad():
        at_first = -float(network.log_prob(*held_out).mean())
    loss = train_likelihood(network, training, held_out, seed=1)
    assert loss - true < 0.03
    assert at_first - true > 0.06


def test_densities_that_are_not_finite_are_refused():
    pairs = torch.zeros(600, 1), torch.randn(600, 1, generator=torch.Generator().manual_seed(0))
    network = LikelihoodNetwork(1, 1)
    network.fit_scaling(*pairs)
    with pytest.raises(TrainingError, match="Expected finite densities of 'y'"):
        train_likelihood(network, pairs, (pairs[0], pairs[1] * math.nan), seed=1)
