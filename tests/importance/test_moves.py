"""Paths along gradients: they leave a target as it is, and learn how long steps may be."""

import math

import pytest
import torch

from pymc_amortized.importance.moves import HamiltonianMoves, wander

SIZE = 4


def generator(seed=1):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def targets():
    """Two normal targets with covariances of their own, and their Cholesky factors."""
    factors = torch.randn(2, SIZE, SIZE, generator=generator(3), dtype=torch.float64).tril()
    factors.diagonal(dim1=-2, dim2=-1).abs_().add_(0.5)
    precision = torch.linalg.inv(factors @ factors.mT)

    def density(points):
        pull = torch.einsum("nbd,bde->nbe", points, precision)
        return -(points * pull).sum(-1) / 2, -pull

    return factors, density


def walk(targets, num_moves=40, num_points=4_000, *, believe=False, step=None):
    """Start at the targets; believe: without asking whether to accept."""
    factors, density = targets
    noise = torch.randn(num_points, 2, SIZE, 1, generator=generator(), dtype=torch.float64)
    points = (factors @ noise).squeeze(-1)
    moves = HamiltonianMoves(2, generator(2))
    shares, metric = [], torch.eye(SIZE).double().expand(2, -1, -1)
    for _ in range(num_moves):
        if step is not None:
            moves.step = torch.full_like(moves.step, step)
        proposed, log_ratio = moves.propose(points, density, metric)
        uniform = torch.rand(log_ratio.shape, generator=moves.generator, dtype=torch.float64)
        accepted = (uniform.log() < log_ratio) | torch.full_like(log_ratio, believe).bool()
        points = torch.where(accepted.unsqueeze(-1), proposed, points)
        moves.learn(log_ratio)
        shares.append(log_ratio.exp().clamp(max=1).mean(0))
    return points, moves, torch.stack(shares)


def is_target(points, factors):
    """Whether variances are those of the targets, to 4.5 standard errors of draws."""
    variance = (factors @ factors.mT).diagonal(dim1=-2, dim2=-1)
    off = (points.square().mean(0) / variance - 1).abs()
    return bool((off < 4.5 * math.sqrt(2 / len(points))).all())


def test_the_target_stays_as_it_is(targets):
    points, _, _ = walk(targets)
    assert is_target(points, targets[0])


def test_paths_that_are_always_believed_change_it(targets):
    """A planted fault."""
    points, _, _ = walk(targets, believe=True, step=1.0)
    assert not is_target(points, targets[0])


def test_steps_become_such_that_three_of_four_are_accepted(targets):
    """Of each target by itself."""
    _, moves, shares = walk(targets)
    assert bool(((shares[-10:].mean(0) - 0.75).abs() < 0.12).all())
    assert float((moves.step[0] / moves.step[1]).log().abs()) > 0.05


def test_evaluations_are_counted(targets):
    factors, density = targets
    calls = []

    def counted(points):
        calls.append(len(points))
        return density(points)

    moves = HamiltonianMoves(2, generator())
    moves.propose(torch.zeros(7, 2, SIZE).double(), counted, factors)
    assert moves.num_evaluations == sum(calls)


def test_a_path_that_leaves_the_support_is_not_accepted():
    def density(points):
        log_density = torch.where(points[..., 0] > 0, -points[..., 0], -math.inf)
        return log_density, -torch.ones_like(points)

    moves = HamiltonianMoves(1, generator())
    start = torch.full((500, 1, 1), 0.01, dtype=torch.float64)
    proposed, log_ratio = moves.propose(start, density, torch.eye(1).double()[None])
    outside = proposed[..., 0] <= 0
    assert bool(outside.any())
    assert bool(torch.isneginf(log_ratio[outside]).all())


@pytest.mark.parametrize("fault", [False, True])
def test_wandering_leaves_a_target_as_it_is(targets, fault):
    """Planted: of a density that is not the target's."""
    factors, density = targets
    noise = torch.randn(4_000, 2, SIZE, 1, generator=generator(), dtype=torch.float64)
    points = (factors @ noise).squeeze(-1)

    def wider(points):
        log_density, gradient = density(points)
        return log_density / 2, gradient / 2

    moved = wander(points, wider if fault else density, factors, 20, generator(2))
    assert is_target(moved, factors) != fault
    assert bool(((moved - points).abs().amax(-1) > 0).double().mean() > 0.9)
