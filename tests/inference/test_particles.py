"""What particles are sent with: gradients in many dimensions, exchanges where there is an order."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.correction import particles as module
from pymc_amortized.inference.correction.particles import Particles
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws

OPTIONS = {"training": "none", "random_seed": 1, "progressbar": False, "cache": False}
FIRST = torch.tensor([0])


def classes(num_items):
    """Two classes that nothing tells apart."""
    answers = np.random.default_rng(1).integers(0, 2, (20, num_items))
    with pm.Model() as model:
        theta = pm.Beta("theta", 2, 2, shape=(2, num_items))
        z = pm.Bernoulli("z", 0.5, shape=20)
        pm.Bernoulli("y", theta[z], observed=answers)
    return model


def told_apart():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 2], 1)
        pm.NormalMixture("y", w=[0.3, 0.7], mu=mu, sigma=1, observed=np.linspace(-2, 3, 20))
    return model


def particles_of(model):
    inference = pma.fit(model, **OPTIONS).inference
    generator = torch.Generator().manual_seed(1)
    return Particles(
        WeightedDraws(inference, [inference.read(None)], 500, generator, AcceptanceRule())
    )


@pytest.mark.parametrize(
    ("model", "exchanges", "by_gradient"),
    [(classes(3), True, False), (classes(8), True, True), (told_apart(), False, False)],
    ids=["few", "many", "told apart"],
)
def test_moves(monkeypatch, model, exchanges, by_gradient):
    asked = {}

    def bridge(target, num_datasets, size, effort, **options):
        asked.update(options, size=size)

    particles = particles_of(model)
    monkeypatch.setattr(module, "bridge", bridge)
    particles.send(FIRST)
    assert (asked["swap"] is not None) == exchanges
    assert (asked["gradient"] is not None) == by_gradient == (asked["size"] >= 12)


def test_particles_arrive_where_the_density_is_that_of_the_model():
    particles = particles_of(classes(3))
    found = particles.send(FIRST)
    assert float(found.power) == 1
    points = found.points[:20]
    [exact] = particles.problem.log_target(points, particles.weighted.frames).unbind(1)
    torch.testing.assert_close(particles.log_target(points, FIRST)[:, 0], exact)
    theta = particles.problem.parameters(points)[1]["theta"]
    column = particles.problem.labelling.orders[0].column[1]
    assert bool((theta[:, 0, 0, column] < theta[:, 0, 1, column]).all())


@pytest.fixture(scope="module")
def arrived():
    particles = particles_of(told_apart())
    return particles, particles.send(FIRST)


def test_particles_that_stay_are_left_alone(arrived):
    particles, bridged = arrived
    assert particles.settle(FIRST, bridged) is bridged


def test_particles_that_lack_half_of_a_mode_get_it_back(arrived):
    """Planted: what is above the mean of one coordinate is taken away."""
    particles, bridged = arrived
    whole = bridged.points[:, 0]
    below = whole[whole[:, 0] < whole[:, 0].mean()]
    lacking = replace(bridged, points=below.repeat(3, 1)[: len(whole)].unsqueeze(1))
    settled = particles.settle(FIRST, lacking)
    assert settled is not lacking
    assert float(settled.memory) == float(bridged.memory)
    apart = (settled.points[:, 0].mean(0) - whole.mean(0)) / whole.std(0)
    assert float(apart.abs().max()) < 0.1 + 4 * np.sqrt(2 / len(whole))


def test_particles_that_never_stay_are_no_answer(arrived, monkeypatch):
    particles, bridged = arrived
    monkeypatch.setattr(module, "stay", lambda before, after: torch.tensor([False]))
    assert float(particles.settle(FIRST, bridged).memory) == 1


def test_particles_without_a_gradient_are_not_watched(arrived, monkeypatch):
    particles, bridged = arrived
    monkeypatch.setattr(Particles, "_has_gradient", lambda self, frames: False)
    monkeypatch.setattr(Particles, "_wander", None)
    assert particles.settle(FIRST, bridged) is bridged
