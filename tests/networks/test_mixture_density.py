"""The mixture density network against torch's own mixture of normals."""

import pytest
import torch

from torch import distributions as dist

import pymc_amortized as pma


def randomized(num_parameters, num_components=4):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = pma.MixtureDensity(num_parameters, 3, num_components, width=16).double()
        torch.nn.init.normal_(network.perceptron.last.weight, std=0.3)
    return network


def as_distribution(network, context):
    log_weights, location, scale_tril = network.components(context)
    return dist.MixtureSameFamily(
        dist.Categorical(logits=log_weights),
        dist.MultivariateNormal(location, scale_tril=scale_tril),
    )


@pytest.mark.parametrize("num_parameters", [1, 2, 5])
def test_the_density_is_that_of_torch(num_parameters):
    network = randomized(num_parameters)
    context = torch.randn(6, 3, dtype=torch.float64)
    scores = torch.randn(9, 6, num_parameters, dtype=torch.float64)
    with torch.no_grad():
        expected = as_distribution(network, context).log_prob(scores)
        assert torch.allclose(network.log_prob_of_draws(scores, context), expected)
        assert torch.allclose(network.log_prob(scores[0], context), expected[0])


@pytest.mark.parametrize("num_parameters", [1, 3])
def test_draws_have_the_moments_of_the_mixture(num_parameters):
    network = randomized(num_parameters)
    context = torch.randn(2, 3, dtype=torch.float64)
    with torch.no_grad():
        mixture = as_distribution(network, context)
        draws = network.sample(context, 40_000, torch.Generator().manual_seed(1))
    error = (mixture.variance / 40_000).sqrt()
    assert ((draws.mean(0) - mixture.mean).abs() < 4.5 * error).all()
    assert torch.allclose(draws.var(0), mixture.variance, rtol=0.06)


def test_it_starts_near_the_standard_normal_with_components_apart():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = pma.MixtureDensity(3, 4)
    context = torch.randn(2, 4)
    log_weights, location, scale_tril = network.components(context)
    assert torch.allclose(log_weights.exp(), torch.full((2, 8), 1 / 8))
    assert torch.allclose(scale_tril, torch.eye(3).expand(2, 8, 3, 3))
    assert float(torch.pdist(location[0].detach()).min()) > 0.1
    assert float(location.detach().abs().max()) < 2.5


def test_densities_stay_finite_far_out():
    network = randomized(2).float()
    context = 100 * torch.randn(4, 3)
    scores = 1e4 * torch.ones(4, 2)
    loss = network.loss(scores, context).sum()
    loss.backward()
    assert bool(torch.isfinite(loss))
    assert all(bool(torch.isfinite(p.grad).all()) for p in network.parameters())
