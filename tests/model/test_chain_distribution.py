"""Markov chains of any order, as distributions."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, UnsupportedModelError
from tests.trained import simulate_chain

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning"),
]


def test_rows_of_a_transition_must_sum_to_one():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        P = np.array([[0.9, 0.3], [0.2, 0.8]])
        first = pm.Categorical.dist([0.5, 0.5])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Normal("y", mu[z], 1, observed=np.zeros(6))
    with pytest.raises(UnsupportedModelError, match=r"rows of the transition .* sum to 1"):
        pma.compile_simulator(model)


def test_a_state_that_is_never_visited():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1, 2], 1)
        P = np.array([[0.5, 0.5, 0], [0.5, 0.5, 0], [0, 0, 1.0]])
        first = pm.Categorical.dist([0.5, 0.5, 0])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Normal("y", mu[z], 1, observed=np.zeros(6))
    config = pma.TrainingConfig(steps=1, tolerance=None)
    with pytest.warns(AccuracyWarning, match=r"\[2\] occur in none"):
        pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)


def test_the_stationary_distribution_as_the_first():
    """A first state that is drawn from a function of the transition."""
    y = simulate_chain(6, 0)[1]
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones((2, 2)))
        first = pm.Categorical.dist(pt.stack([P[1, 0], P[0, 1]]) / (P[1, 0] + P[0, 1]))
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(6,))
        pm.Normal("y", 2.5 * z, 1, observed=y)
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = simulator.sample(4, 1).parameters
    found = simulator.density.log_marginal(parameters, {"y": y}).numpy()
    e = stats.norm(2.5 * np.arange(2), 1).pdf(y[:, None])
    for P, value in zip(parameters["P"].numpy(), found, strict=True):
        state = np.array([P[1, 0], P[0, 1]]) / (P[1, 0] + P[0, 1])
        assert np.allclose(state @ P, state)
        likelihood = 0.0
        for t in range(6):
            joint = (state if t == 0 else state @ P) * e[t]
            likelihood += np.log(joint.sum())
            state = joint / joint.sum()
        assert np.isclose(value, likelihood)
