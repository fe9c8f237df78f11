"""Particles that find modes: where they are, how much mass each has, and the integral."""

import math

from dataclasses import replace

import pytest
import torch

from pymc_amortized.importance.bridge import Effort, bridge
from pymc_amortized.importance.walk import Walk


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


def modes_in(size, shares, scale=0.3, distance=2.0):
    """Normal modes on different axes, and a log density over points (N, B, D)."""
    centres = torch.zeros(len(shares), size, dtype=torch.float64)
    for k in range(len(shares)):
        centres[k, k % size] = distance if k < size else -distance
    log_shares = torch.tensor(shares, dtype=torch.float64).log()

    def target(points):
        z = (points.unsqueeze(-2) - centres) / scale
        log_density = -(z.square() + math.log(2 * math.pi * scale**2)).sum(-1) / 2
        return (log_density + log_shares).logsumexp(-1)

    def found_in(points):
        nearest = (points.unsqueeze(-2) - centres).square().sum(-1).argmin(-1)
        return torch.stack([(nearest == k).double().mean(0) for k in range(len(shares))], dim=-1)

    return target, found_in


@pytest.mark.parametrize(
    ("size", "shares"),
    [(2, [0.9, 0.1]), (2, [0.4, 0.3, 0.25, 0.05]), (5, [0.8, 0.15, 0.05]), (8, [0.7, 0.3])],
)
def test_every_mode_is_found_with_its_mass(size, shares):
    """Six data sets with the same target, each by itself."""
    target, found_in = modes_in(size, shares)
    found = bridge(target, 6, size, generator=generator())
    masses = found_in(found.points)
    expected = torch.tensor(shares, dtype=torch.float64)
    # As far as 1,000 particles that depend on each other can tell.
    assert float((masses - expected).abs().max()) < 0.08
    assert float((masses.mean(0) - expected).abs().max()) < 0.04
    assert float(found.log_evidence.abs().max()) < 0.5
    assert found.num_evaluations >= 1_000 * (1 + 4)


def gradient_of(target):
    def gradient(points):
        points = points.detach().requires_grad_()
        log_density = target(points)
        return log_density.detach(), torch.autograd.grad(log_density.sum(), points)[0]

    return gradient


@pytest.mark.parametrize(("size", "shares"), [(12, [0.7, 0.3]), (20, [0.6, 0.3, 0.1])])
def test_gradients_lead_to_every_mode_in_many_dimensions(size, shares):
    """With half of the particles, and fewer moves, than differences need in eight."""
    target, found_in = modes_in(size, shares)
    options, effort = {"gradient": gradient_of(target)}, Effort(512, 16)
    found = bridge(target, 4, size, effort, generator=generator(), **options)
    masses, expected = found_in(found.points), torch.tensor(shares, dtype=torch.float64)
    assert float((masses - expected).abs().max()) < 0.2
    assert float((masses.mean(0) - expected).abs().max()) < 0.1
    assert float(found.log_evidence.abs().max()) < 2.0
    assert bool((found.memory < 0.6).all())
    # Along coordinates in which modes are at the same place.
    assert abs(float(found.points[..., len(shares) :].std()) / 0.3 - 1) < 0.1


def test_sweeps_at_the_far_end_are_more_draws():
    """As good as the particles, and not the same."""
    target, found_in = modes_in(12, [0.6, 0.4])
    options, effort = {"gradient": gradient_of(target)}, Effort(256, 16)
    found = bridge(target, 2, 12, replace(effort, num_sweeps=6), generator=generator(), **options)
    assert found.points.shape == (6 * 256, 2, 12)
    assert len(found.points[:, 0, 0].unique()) > 4 * 256
    assert float((found_in(found.points) - torch.tensor([0.6, 0.4])).abs().max()) < 0.12


def test_modes_keep_their_mass_where_particles_hardly_could():
    """Of eight in sixteen dimensions, some have next to nothing half way, and a fifth at last."""
    size = 16
    centres = 1.2 * torch.randn(8, size, generator=generator(19), dtype=torch.float64) / 2
    shares = torch.tensor([0.3, 0.05, 0.05, 0.05, 0.08, 0.2, 0.17, 0.1]).double()

    def target(points):
        z = (points.unsqueeze(-2) - centres) / 0.15
        log_density = -(z.square() + math.log(2 * math.pi * 0.15**2)).sum(-1) / 2
        return (log_density + shares.log()).logsumexp(-1)

    options, effort = {"gradient": gradient_of(target)}, Effort(1_024, 16)
    found = bridge(target, 1, size, effort, generator=generator(), **options)
    nearest = (found.points.unsqueeze(-2) - centres).square().sum(-1).argmin(-1)
    masses = torch.stack([(nearest == k).double().mean() for k in range(8)])
    assert float((masses - shares).abs().max()) < 0.1


@pytest.mark.parametrize(("size", "effort"), [(5, Effort()), (12, Effort(512, 16, num_sweeps=4))])
def test_a_mode_in_the_outskirts_of_the_prior_is_found(size, effort):
    """Four standard deviations out, while there is another in the middle."""
    centres = torch.zeros(2, size, dtype=torch.float64)
    centres[1, 0] = 4.0

    def target(points):
        z = (points.unsqueeze(-2) - centres) / 0.15
        log_density = -(z.square() + math.log(2 * math.pi * 0.15**2)).sum(-1) / 2
        return log_density.logsumexp(-1) - math.log(2)

    gradient = gradient_of(target) if size == 12 else None
    found = bridge(target, 4, size, effort, gradient=gradient, generator=generator())
    masses = (found.points[..., 0] > 2).double().mean(0)
    assert float((masses - 0.5).abs().max()) < 0.15


def test_particles_that_have_used_up_their_budget_are_left_on_the_way():
    target, _ = modes_in(12, [0.7, 0.3], scale=0.1)
    options, effort = {"gradient": gradient_of(target)}, Effort(256, 16)
    free = bridge(target, 2, 12, effort, generator=generator(), **options)
    assert bool((free.power == 1).all())
    little = replace(effort, max_evaluations=20_000)
    bound = bridge(target, 2, 12, little, generator=generator(), **options)
    assert 20_000 <= bound.num_evaluations < free.num_evaluations
    assert bool(((bound.power > 0) & (bound.power < 1)).all())
    assert bool((bound.memory == 1).all())
    # Farther apart than the posterior is.
    assert float(bound.points.std()) > float(free.points.std())


def test_particles_that_nothing_moves_any_more_are_left(monkeypatch):
    """Half way, one of two data sets is stuck; the other goes on by itself."""
    target, _ = modes_in(12, [1.0])
    original, powers = Walk.move, []

    def move(self, power, mixture, max_moves):
        memory = original(self, power, mixture, max_moves)
        powers.append(power.clone())
        stuck = (power > 0.05) & torch.tensor([False, True])
        return torch.where(stuck, 0.9, memory)

    monkeypatch.setattr(Walk, "move", move)
    options, effort = {"gradient": gradient_of(target)}, Effort(256, 16)
    found = bridge(target, 2, 12, effort, generator=generator(), **options)
    assert float(found.power[0]) == 1
    assert float(found.memory[0]) < 0.7
    assert 0.05 < float(found.power[1]) < 1
    assert float(found.memory[1]) == 1
    # It is given two tries.
    assert len({float(p[1]) for p in powers if p[1] > 0.05}) == 2


def test_without_steps_in_between_modes_are_lost():
    """A planted fault: particles of the prior, weighed and resampled at once."""
    target, found_in = modes_in(8, [0.7, 0.3], scale=0.1)
    points = torch.randn(1_000, 1, 8, generator=generator(), dtype=torch.float64)
    weights = (target(points) + points.square().sum(-1) / 2).softmax(0)
    chosen = torch.multinomial(weights[:, 0], 1_000, replacement=True, generator=generator())
    assert len(chosen.unique()) < 5
    assert float((found_in(points[chosen]) - torch.tensor([0.7, 0.3])).abs().max()) > 0.2


def test_data_sets_have_their_own_targets_and_paces():
    """Narrow and wide, near and far, with integrals of 1 and of 20."""
    location = torch.tensor([0.0, 3.0, -1.0], dtype=torch.float64)
    scale = torch.tensor([1.0, 0.01, 0.5], dtype=torch.float64)
    log_integral = torch.tensor([0.0, 0.0, math.log(20.0)], dtype=torch.float64)

    def target(points):
        z = (points[..., 0] - location) / scale
        return log_integral - z.square() / 2 - (scale * math.sqrt(2 * math.pi)).log()

    found = bridge(target, 3, 1, generator=generator())
    x = found.points[..., 0]
    assert bool(((x.mean(0) - location).abs() < 0.2 * scale).all())
    assert bool(((x.std(0) / scale - 1).abs() < 0.15).all())
    assert bool(((found.log_evidence - log_integral).abs() < 0.4).all())
    assert bool((found.memory < 0.3).all())


def test_where_there_is_no_density_there_are_no_particles():
    def target(points):
        inside = points[..., 0] > 1.5
        return torch.where(inside, 0.0, torch.nan) - points[..., 0]

    found = bridge(target, 1, 1, generator=generator())
    assert bool((found.points > 1.5).all())
    assert abs(float(found.log_evidence) - math.log(math.exp(-1.5))) < 0.4


def test_a_target_that_no_particle_reaches_disturbs_no_other():
    """Where nothing is known of a data set, that is said, and nothing fails."""

    def target(points):
        x = points[..., 0]
        far = torch.where(x[:, :1] > 50, 0.0, -torch.inf)
        near = -x[:, 1:].square() / 2 - math.log(2 * math.pi) / 2
        return torch.cat([far, near], dim=1)

    found = bridge(target, 2, 1, Effort(max_moves=12), generator=generator())
    assert found.log_evidence[0] == -torch.inf
    assert found.memory[0] == 1.0
    assert bool(torch.isfinite(found.points).all())
    assert abs(float(found.log_evidence[1])) < 0.2


def test_the_seed_decides():
    target, _ = modes_in(2, [0.5, 0.5])
    one, two, other = (bridge(target, 1, 2, generator=generator(s)).points for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
