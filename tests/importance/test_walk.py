"""Particles on a bridge: they keep the distribution of each step, and forget where they were."""

import math

import pytest
import torch

from pymc_amortized.importance.walk import WIDTH, Walk

SIZE, NUMBER, DATASETS = 3, 2_000, 4
MEAN, VARIANCE = 1.5, 0.04
POWERS = torch.tensor([0.0, 0.1, 0.6, 1.0], dtype=torch.float64)


def target(points):
    """A normal distribution, in all coordinates alike."""
    squares = (points - MEAN).square() / VARIANCE + math.log(2 * math.pi * VARIANCE)
    return -squares.sum(-1) / 2


def gradient(points):
    return target(points), -(points - MEAN) / VARIANCE


def on_the_way():
    """Mean and standard deviation (B,) at each power, by adding precisions."""
    precision = (1 - POWERS) / WIDTH**2 + POWERS / VARIANCE
    return POWERS * MEAN / VARIANCE / precision, precision**-0.5


def walk_from(location, scale, by_gradient, seed=1):
    generator = torch.Generator().manual_seed(seed)
    options = {"generator": generator, "dtype": torch.float64}
    z = torch.randn(NUMBER, DATASETS, SIZE, **options)
    points = location.unsqueeze(-1) + scale.unsqueeze(-1) * z
    return Walk(target, gradient if by_gradient else None, points, generator)


@pytest.mark.parametrize("by_gradient", [False, True])
@pytest.mark.parametrize("factor", [1.0, 0.7, 1.5])
def test_each_step_has_its_distribution(by_gradient, factor):
    """Kept where particles have it, and reached where they are too narrow, or too wide."""
    mean, sd = on_the_way()
    walk = walk_from(mean, factor * sd, by_gradient)
    for _ in range(1 if factor == 1 else 3):
        equal = torch.zeros(NUMBER, DATASETS, dtype=torch.float64)
        memory = walk.move(POWERS, walk.fit(walk.points, equal), 60)
    off = (walk.points.mean((0, 2)) - mean).abs() / sd
    assert float(off.max()) < 5 / math.sqrt(NUMBER * SIZE)
    assert float((walk.points.std((0, 2)) / sd - 1).abs().max()) < 5 / math.sqrt(NUMBER * SIZE)
    assert bool((memory < 0.5).all())


@pytest.mark.parametrize("by_gradient", [False, True])
def test_a_wrong_power_is_seen(by_gradient):
    mean, sd = on_the_way()
    walk = walk_from(mean, sd, by_gradient)
    equal = torch.zeros(NUMBER, DATASETS, dtype=torch.float64)
    walk.move((POWERS * 0.8).clamp(min=0.0), walk.fit(walk.points, equal), 60)
    ratio = walk.points.std((0, 2)) / sd - 1
    assert float(ratio[1:].min()) > 5 / math.sqrt(NUMBER * SIZE)


def test_memory():
    """All where nothing is moved, some after a few moves, and hardly any after many."""
    mean, sd = on_the_way()
    found = []
    for most in (0, 2, 60):
        walk = walk_from(mean, sd, by_gradient=True)
        equal = torch.zeros(NUMBER, DATASETS, dtype=torch.float64)
        found.append(float(walk.move(POWERS, walk.fit(walk.points, equal), most).max()))
    assert found[0] == 1
    assert found[2] < found[1] + 0.1
    assert found[2] < 0.5


def test_evaluations_are_counted():
    """A gradient costs three, a density one, for each particle."""
    mean, sd = on_the_way()
    asked = {"density": 0, "gradient": 0}

    def counted(points):
        asked["density"] += len(points)
        return target(points)

    def counted_gradient(points):
        asked["gradient"] += len(points)
        return gradient(points)

    walk = walk_from(mean, sd, by_gradient=True)
    walk.target, walk.gradient = counted, counted_gradient
    before = walk.num_evaluations
    equal = torch.zeros(NUMBER, DATASETS, dtype=torch.float64)
    walk.move(POWERS, walk.fit(walk.points, equal), 6)
    spent = walk.num_evaluations - before
    assert asked["gradient"] > 0
    assert spent >= 3 * asked["gradient"]
    assert spent <= 3 * asked["gradient"] + asked["density"]


def test_particles_without_density_move_to_where_there_is_some():
    """NaN and infinite densities are none."""

    def half(points):
        return torch.where(points[..., 0] > 0, target(points), math.nan)

    mean, sd = on_the_way()
    walk = walk_from(mean, sd, by_gradient=False)
    walk = Walk(half, None, walk.points, walk.generator)
    assert bool((walk.log_target[walk.points[..., 0] <= 0] == -math.inf).all())
    equal = torch.zeros(NUMBER, DATASETS, dtype=torch.float64)
    walk.move(POWERS, walk.fit(walk.points, equal), 60)
    assert bool((walk.points[:, 1:, 0] > 0).all())
