"""The likelihood network: what it sees, densities that integrate to one, draws of them."""

import functools

import numpy as np
import pytest
import torch

from scipy import stats

from pymc_amortized.networks.likelihood_network import ASINH, LINEAR, LOG, LikelihoodNetwork


def disturbed(network, seed=0, size=0.5):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for x in network.parameters():
            x += size * torch.randn(x.shape, generator=generator) / max(1, x.shape[0]) ** 0.5
    return network.double()


def draws_for(num_values, *, is_discrete, number=400, seed=0):
    rng = np.random.default_rng(seed)
    arguments = torch.as_tensor(np.c_[rng.normal(size=number), rng.gamma(2, 1, number)])
    values = arguments[:, :1] + torch.as_tensor(rng.standard_t(2, (number, num_values)))
    return arguments, values.round() if is_discrete else values


@pytest.mark.parametrize("is_discrete", [False, True])
def test_each_value_sees_those_before_it_alone(is_discrete):
    arguments, values = draws_for(4, is_discrete=is_discrete)
    network = LikelihoodNetwork(2, 4, is_discrete=is_discrete)
    network.fit_scaling(arguments, values)
    network = disturbed(network)
    known, scaled = network._standardized(arguments), network._scaled(values)[0]
    before = torch.stack(network._mixtures(known, scaled))
    for d in range(4):
        changed = scaled.clone()
        changed[:, d] += 1.0
        moved = (torch.stack(network._mixtures(known, changed)) - before).abs().amax((0, 1, 3))
        assert (moved[: d + 1] == 0).all()
        assert (moved[d + 1 :] > 1e-6).all()


@pytest.mark.parametrize("scale", ["linear", "log", "asinh"])
def test_densities_integrate_to_one(scale):
    rng = np.random.default_rng(1)
    values = {
        "linear": rng.normal(3, 2, 2_000),
        "log": rng.lognormal(0, 1.5, 2_000),
        "asinh": rng.standard_t(1.5, 2_000),
    }[scale]
    network = LikelihoodNetwork(1, 1)
    arguments = torch.as_tensor(rng.normal(size=(2_000, 1)))
    network.fit_scaling(arguments, torch.as_tensor(values)[:, None])
    assert network.value_scales[0, 0] == {"linear": LINEAR, "log": LOG, "asinh": ASINH}[scale]
    network = disturbed(network)
    # Over the common scale, evenly, where tails of any length end.
    end = 1_000 if scale == "linear" else 25
    z = torch.linspace(-end, end, 1_000_001, dtype=torch.float64)
    x = network._unscaled(z, 0)
    keep = torch.isfinite(x) & (x.diff(append=x[-1:]) > 0)
    grid = x[keep]
    log_prob = network.log_prob(torch.full((len(grid), 1), 0.3).double(), grid[:, None])
    assert float(torch.trapezoid(log_prob.detach().exp(), grid)) == pytest.approx(1, abs=1e-3)
    below = network.log_prob(torch.zeros(1, 1), torch.tensor([[-1.0]]))
    assert bool(torch.isinf(below)) == (scale == "log")


def test_masses_of_whole_numbers_add_up_to_one():
    rng = np.random.default_rng(2)
    arguments = rng.uniform(0.2, 3, (3_000, 1))
    network = LikelihoodNetwork(1, 1, is_discrete=True)
    counts = torch.as_tensor(rng.poisson(arguments)).double()
    network.fit_scaling(torch.as_tensor(arguments), counts)
    network = disturbed(network)
    x = torch.arange(0, 100_000, dtype=torch.float64)[:, None]
    total = network.log_prob(torch.full_like(x, 1.5), x).detach().exp().sum()
    assert float(total) == pytest.approx(1, abs=1e-6)
    # 0 was the least of all, and often there: nothing is below it.
    assert bool(torch.isneginf(network.log_prob(torch.ones(1, 1), torch.tensor([[-1.0]]))))


@pytest.mark.parametrize("is_discrete", [False, True])
def test_draws_follow_the_density(is_discrete):
    """Ranks of draws under their own conditional distributions are uniform (p > 0.001)."""
    arguments, values = draws_for(2, is_discrete=is_discrete)
    network = LikelihoodNetwork(2, 2, is_discrete=is_discrete)
    network.fit_scaling(arguments, values)
    network = disturbed(network, size=0.3)
    one = arguments[:1].expand(20_000, 2)
    drawn = network.sample(one, torch.Generator().manual_seed(1))
    first = drawn[:, 0]
    known, zero = network._standardized(arguments[:1]), torch.zeros(1, 2, dtype=torch.float64)
    logits, means, log_scales = (x[0, 0] for x in network._mixtures(known, zero))
    grid = first.quantile(torch.linspace(0.05, 0.95, 7).double()).unique()
    edge = grid + 0.5 if is_discrete else grid
    at = network._scaled(torch.stack([edge, edge], dim=1))[0][:, 0]
    cdf = (logits.softmax(-1) * torch.sigmoid((at[:, None] - means) / log_scales.exp())).sum(-1)
    cdf = cdf.detach().numpy()
    share = (first[:, None] <= grid).double().mean(0).numpy()
    limit = stats.norm.ppf(1 - 0.0005 / len(cdf))
    assert (np.abs(share - cdf) < limit * np.sqrt(cdf * (1 - cdf) / 20_000) + 1e-3).all()


def test_a_linear_regression_of_ten_values_is_there_at_once():
    """What 9,000 draws tell of it is not forgotten by overfitting: within 0.05 nats."""
    rng = np.random.default_rng(0)
    arguments = rng.normal(0, 0.3, (10_000, 10))
    values = rng.normal(arguments, 0.3)
    pairs = torch.as_tensor(arguments), torch.as_tensor(values)
    training, held_out = (tuple(x[s] for x in pairs) for s in (slice(-1_000), slice(-1_000, None)))
    torch.manual_seed(0)
    network = LikelihoodNetwork(10, 10)
    network.fit_scaling(*training)
    with torch.no_grad():
        loss = -float(network.log_prob(*held_out).mean())
    true = -stats.norm(arguments[-1_000:], 0.3).logpdf(values[-1_000:]).sum(1).mean()
    assert loss - true < 0.05


@pytest.mark.parametrize(
    "build", [LikelihoodNetwork, functools.partial(LikelihoodNetwork, width=8, num_hidden=0)]
)
def test_a_network_is_put_together_again(build):
    arguments, values = draws_for(3, is_discrete=False)
    network = build(2, 3)
    network.fit_scaling(arguments, values)
    again = LikelihoodNetwork.of_tensors(network.state_dict())
    with torch.no_grad():
        expected = network.log_prob(arguments, values)
        assert torch.equal(again.log_prob(arguments, values), expected)
