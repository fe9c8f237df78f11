"""Conditional variational autoencoders: bounds and draws, against integrals over a latent grid."""

import math

import numpy as np
import pytest
import torch

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.networks.layers import Perceptron
from pymc_amortized.networks.posterior.autoencoders import _log_normal

NETWORKS = [pma.ConditionalPriorVAE, pma.UninformativePriorVAE]
GRID = torch.linspace(-9, 9, 2_001, dtype=torch.float64)


def randomized(build, num_samples=1, num_parameters=2, std=0.3):
    """One latent number, and weights at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = build(num_parameters, 3, num_latents=1, num_samples=num_samples, width=16)
        for part in network.modules():
            if isinstance(part, Perceptron):
                torch.nn.init.normal_(part.last.weight, std=std)
    return network.double().eval()


def log_joint_over_grid(network, scores, context):
    """Return log p(h) p(scores given h, context), times p(context given h) if there is such."""
    latent = GRID[:, None, None].expand(-1, len(context), 1)
    log_joint = _log_normal(latent, *network.latent_prior(context))
    decoded = network.decoder(latent, context.expand(len(GRID), *context.shape))
    return log_joint + _log_normal(scores, *decoded) + network._log_of_data(latent, context)


def exact_log_density(network, scores, context):
    log_joint = log_joint_over_grid(network, scores, context)
    return log_joint.logsumexp(0) + math.log(float(GRID[1] - GRID[0]))


def some(num_datasets):
    generator = torch.Generator().manual_seed(5)
    options = {"generator": generator, "dtype": torch.float64}
    return torch.randn(num_datasets, 2, **options), torch.randn(num_datasets, 3, **options)


def losses(network, scores, context, number):
    generator = torch.Generator().manual_seed(1)
    return torch.stack([network.loss(scores, context, generator) for _ in range(number)])


@pytest.mark.parametrize("fault", [False, True])
@pytest.mark.parametrize("build", NETWORKS)
@torch.no_grad()
def test_weights_of_latent_draws_average_to_the_density(build, fault, monkeypatch):
    """They do, for any number of latent draws; planted: they come from elsewhere than is said."""
    network, (scores, context) = randomized(build, num_samples=20), some(4)
    expected = exact_log_density(network, scores, context)
    if fault:
        right = torch.randn
        monkeypatch.setattr(torch, "randn", lambda *args, **options: 0.2 + right(*args, **options))
    ratio = (-losses(network, scores, context, 400) - expected).exp()
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert bool(((ratio.mean(0) - 1).abs() < 4.5 * error).all()) != fault


@pytest.mark.parametrize("build", NETWORKS)
@torch.no_grad()
def test_more_latent_draws_make_the_bound_tighter(build):
    scores, context = some(6)
    one, many = (randomized(build, num_samples) for num_samples in (1, 30))
    exact = -exact_log_density(one, scores, context)
    loose, tight = (losses(net, scores, context, 200).mean(0) - exact for net in (one, many))
    assert bool((loose > tight).all())
    assert bool((tight > -0.02).all())


@pytest.mark.parametrize("build", NETWORKS)
@torch.no_grad()
def test_the_divergence_in_closed_form_is_that_of_draws(build):
    network, (scores, context) = randomized(build), some(3)
    closed = losses(network, scores, context, 2_000)
    mean, scale = network.encoder(scores, context)
    latent = mean + scale * torch.randn(
        2_000, *mean.shape, generator=torch.Generator().manual_seed(2), dtype=mean.dtype
    )
    decoded = network.decoder(latent, context.expand(2_000, *context.shape))
    drawn = _log_normal(latent, mean, scale) - _log_normal(latent, *network.latent_prior(context))
    drawn = drawn - _log_normal(scores, *decoded) - network._log_of_data(latent, context)
    error = ((closed.var(0) + drawn.var(0)) / 2_000).sqrt()
    assert bool(((closed.mean(0) - drawn.mean(0)).abs() < 4.5 * error).all())


@pytest.mark.parametrize("build", NETWORKS)
@torch.no_grad()
def test_draws_are_those_of_the_integral(build):
    """By Kolmogorov and Smirnov, of each parameter; planted: means of the decoder alone."""
    network, (_, context) = randomized(build), some(2)
    draws = network.sample(context, 4_000, torch.Generator().manual_seed(1))
    latent = GRID[:, None, None].expand(-1, 2, 1)
    weights = _log_normal(latent, *network.latent_prior(context)).softmax(0)
    mean, scale = network.decoder(latent, context.expand(len(GRID), *context.shape))
    for b in range(2):
        for d in range(2):

            def cdf(x, b=b, d=d):
                z = (torch.as_tensor(x)[:, None] - mean[:, b, d]) / scale[:, b, d]
                return (torch.special.ndtr(z) * weights[:, b]).sum(1).numpy()

            assert stats.kstest(draws[:, b, d].numpy(), cdf).pvalue > 1e-4
            means = np.random.default_rng(1).choice(mean[:, b, d], 4_000, p=weights[:, b].numpy())
            assert stats.kstest(means, cdf).pvalue < 1e-4


@pytest.mark.parametrize("build", NETWORKS)
def test_it_starts_near_the_standard_normal(build):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(3, 4)
    draws = network.sample(torch.zeros(2, 4), 4_000, torch.Generator().manual_seed(1))
    assert float(draws.mean((0, 1)).abs().max()) < 1
    assert bool(((draws.std(0) > 0.9) & (draws.std(0) < 1.6)).all())


@pytest.mark.parametrize(
    ("name", "value"), [("num_latents", 0), ("num_samples", 1.5), ("data_scale", -1.0)]
)
def test_numbers_are_checked(name, value):
    with pytest.raises(pma.errors.InvalidArgumentError, match=rf"{name} .* got {value}"):
        pma.UninformativePriorVAE(2, 3, **{name: value})


@torch.no_grad()
def test_data_that_are_decoded_roughly_say_less():
    """Of a scale of 2, a quarter of the squared distance, and a density that is half as high."""
    network, (_, context) = randomized(pma.UninformativePriorVAE), some(4)
    latents = torch.randn(5, 4, 1, generator=torch.Generator().manual_seed(1)).double()
    fine = network._log_of_data(latents, context)
    network.data_scale = 2.0
    rough = network._log_of_data(latents, context)
    half = 3 * math.log(2 * math.pi) / 2
    assert torch.allclose(rough + half + 3 * math.log(2), (fine + half) / 4)


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("number", [1, 5])
@torch.no_grad()
def test_estimates_average_to_the_density(build, number):
    """Of scores that others have drawn: latent numbers come from the encoder."""
    network, (scores, context) = randomized(build), some(4)
    several, generator = scores.expand(4_000, 4, 2), torch.Generator().manual_seed(1)
    log_q = network.estimate_log_prob(several, context, number, generator)
    ratio = (log_q - exact_draws_density(network, scores, context)).exp()
    error = ratio.std(0) / math.sqrt(len(ratio))
    assert bool(((ratio.mean(0) - 1).abs() < 4.5 * error).all())


def exact_draws_density(network, scores, context):
    """Return log q(scores given context) (B,) of draws, in which a decoder of data has no part."""
    decoded = log_joint_over_grid(network, scores, context)
    latent = GRID[:, None, None].expand(-1, len(context), 1)
    log_joint = decoded - network._log_of_data(latent, context)
    return log_joint.logsumexp(0) + math.log(float(GRID[1] - GRID[0]))


@pytest.mark.parametrize("build", NETWORKS)
@pytest.mark.parametrize("number", [5, 30])
@torch.no_grad()
def test_weights_of_its_own_draws_are_exact_for_any_number_of_latents(build, number):
    """Weights towards a normal target average to its integral, 1."""
    network, (_, context) = randomized(build), some(1)
    generator = torch.Generator().manual_seed(1)
    draws, latents = network.sample_with_latents(context, 40_000, generator)
    centre = draws.mean(0)
    log_q = network.estimate_log_prob(draws, context, number, generator, first=latents)
    weights = (_log_normal(draws, centre, torch.full_like(centre, 0.5)) - log_q).exp()[:, 0]
    error = float(weights.std()) / math.sqrt(len(weights))
    assert error < 0.06
    assert abs(float(weights.mean()) - 1) < 4.5 * error


class Shifted(pma.AbstractLatentNetwork):
    """h ~ N(0, 1), θ ~ N(h, 1): latent numbers are guessed from N(θ / 2, 1), too wide."""

    def sample_with_latents(self, context, num_draws, generator=None):
        noise = torch.randn(2, num_draws, len(context), 1, generator=generator).double()
        return noise.sum(0), noise[0]

    def guess_latents(self, scores, context, number, generator):
        noise = torch.randn(number, *scores.shape, generator=generator, dtype=torch.float64)
        return scores / 2 + noise

    def log_ratio(self, latents, scores, context):
        one = torch.ones((), dtype=torch.float64)
        log_q = _log_normal(latents, 0 * one, one) + _log_normal(scores, latents, one)
        return log_q - _log_normal(latents, scores / 2, one)


@pytest.mark.parametrize("number", [1, 2, 8])
def test_the_latents_that_made_a_draw_belong_to_its_estimate(number):
    """Weights towards N(0, 1) average to 1, and above where these are left out: planted."""
    network, context = Shifted(), torch.zeros(3, 4)
    generator = torch.Generator().manual_seed(1)
    draws, latents = network.sample_with_latents(context, 40_000, generator)
    for first in (latents, None):
        log_q = network.estimate_log_prob(draws, context, number, generator, first=first)
        zero = torch.zeros((), dtype=torch.float64)
        weights = (_log_normal(draws, zero, zero + 1) - log_q).exp()
        error = weights.std(0) / math.sqrt(len(weights))
        assert bool(((weights.mean(0) - 1).abs() < 4.5 * error).all()) == (first is not None)
