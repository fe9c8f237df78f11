"""Networks with random weights, around models whose answers are known."""

import numpy as np
import pymc as pm

import pymc_amortized as pma

from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.assembly import assemble
from pymc_amortized.inference.problem import Problem

Y = np.array([0.3, -0.4, 1.2, 0.8, 1.9])
COUNTS = np.array([1, 2, 0, 1, 3])


def simulator_of(model):
    return pma.compile_simulator(model, device="cpu")


def problem_of(model, sizes=None):
    """Return a problem with fitted normal scores, and networks of every kind, untrained."""
    simulator = simulator_of(model)
    layout, estimator = assemble(simulator, sizes, None, 0, classified=True)
    space = simulator.parameters
    if space.size:
        space = space.with_normal_scores(simulator.sample_parameters(4_000, 1))
    return Problem.of_model(simulator, layout, space), estimator


def untrained(model, sizes=None):
    problem, estimator = problem_of(model, sizes)
    estimator.fit_scaling(problem.source.draw(100, 1))
    return Amortized.of_networks(problem, estimator.eval())


def poisson(counts=COUNTS):
    """Conjugate: rate ~ Gamma(2, 1)."""
    with pm.Model() as model:
        rate = pm.Gamma("rate", 2, 1)
        pm.Poisson("y", rate, observed=counts)
    return model


def two_components(y=Y):
    """Two components that nothing tells apart, their weights and scales known."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2, shape=2)
        pm.NormalMixture("y", w=np.full(2, 0.5), mu=mu, sigma=1, observed=y)
    return model
