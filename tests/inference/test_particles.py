"""What particles are sent with: gradients in many dimensions, exchanges where there is an order."""

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
