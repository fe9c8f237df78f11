"""The network of paths of states."""

import itertools

import numpy as np
import pytest
import torch

from pymc_amortized.networks.classification.path_network import PathNetwork
from pymc_amortized.networks.units import Units, UnitShape

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc.exceptions.ImputationWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return PathNetwork(UnitShape(2, 6, 6, 1, 3, None, 0, 2), num_parameters=4, width=16)


def units(num_datasets=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(num_datasets, 12, 2, generator=generator)
    return Units(values, torch.ones(num_datasets, 12, dtype=torch.bool))


@torch.no_grad()
def test_the_network_is_a_distribution_over_paths():
    """Summed over all paths of a short sequence it is 1, and draws follow it."""
    torch.manual_seed(0)
    short = PathNetwork(UnitShape(2, 5, 5, 1, 2, None, 0, 1), num_parameters=3, width=16)
    one = Units(torch.randn(1, 5, 2), torch.ones(1, 5, dtype=torch.bool))
    parameters = torch.randn(1, 3)
    paths = torch.as_tensor(list(itertools.product(range(2), repeat=5)))
    log_q, _ = short(one.repeat(32), parameters.expand(32, -1), paths)
    q = log_q.sum(1).exp()
    assert q.sum().item() == pytest.approx(1, abs=1e-5)
    codes, p = short.sample(
        one.repeat(20_000), parameters.expand(20_000, -1), torch.Generator().manual_seed(1)
    )
    share = torch.bincount(codes @ torch.tensor([16, 8, 4, 2, 1]), minlength=32) / 20_000
    # 32 shares with standard errors of at most sqrt(q / 20,000).
    assert ((share - q).abs() < 4.5 * (q / 20_000).sqrt() + 1e-4).all()
    exact = torch.stack([q[paths[:, t] == 1].sum() for t in range(5)])
    assert (p.mean(0)[:, 1] - exact).abs().max() < 4.5 * 0.5 / np.sqrt(20_000)


@torch.no_grad()
def test_draws_have_the_probabilities_that_are_said(network):
    data_sets, parameters = units(), torch.randn(2, 4)
    codes, p = network.sample(data_sets, parameters, torch.Generator().manual_seed(0))
    log_q, _ = network(data_sets, parameters, codes)
    assert torch.allclose(log_q, p.gather(-1, codes.unsqueeze(-1)).squeeze(-1).log(), atol=1e-5)
    alone = [
        network(data_sets.select(slice(b, b + 1)), parameters[b : b + 1], codes[b : b + 1])
        for b in range(2)
    ]
    assert torch.allclose(log_q, torch.cat([a for a, _ in alone]), atol=1e-5)


@torch.no_grad()
def test_what_each_state_depends_on(network):
    """Filtering on the past alone; a step of a path on states before it and data from it on."""
    data_sets, parameters = units(), torch.randn(2, 4)
    codes = torch.randint(3, (2, 12), generator=torch.Generator().manual_seed(0))
    step, _ = network(data_sets, parameters, codes)
    filtering = network.filter(data_sets, parameters)
    t = 3  # of the first of two sequences of 6 time points
    changed = data_sets.values.clone()
    changed[:, t + 1 : 6] += 1
    later = Units(changed, data_sets.mask)
    found = network.filter(later, parameters)
    assert torch.allclose(found[:, : t + 1], filtering[:, : t + 1], atol=1e-6)
    assert not torch.allclose(found[:, t + 1 : 6], filtering[:, t + 1 : 6], atol=1e-3)
    assert torch.allclose(found[:, 6:], filtering[:, 6:], atol=1e-6)
    assert not torch.allclose(network(later, parameters, codes)[0][:, t], step[:, t], atol=1e-5)
    changed = data_sets.values.clone()
    changed[:, :t] += 1
    earlier = Units(changed, data_sets.mask)
    assert torch.allclose(network(earlier, parameters, codes)[0][:, t], step[:, t], atol=1e-5)
    other = codes.clone()
    other[:, t + 1 : 6] = (other[:, t + 1 : 6] + 1) % 3
    assert torch.allclose(network(data_sets, parameters, other)[0][:, t], step[:, t], atol=1e-6)
    other = codes.clone()
    other[:, 0] = (other[:, 0] + 1) % 3
    assert not torch.allclose(network(data_sets, parameters, other)[0][:, t], step[:, t], atol=1e-6)


def test_sets_have_no_paths():
    with pytest.raises(ValueError, match="time points of sequences"):
        PathNetwork(UnitShape(2, 6, 6, 1, 3), num_parameters=4)
