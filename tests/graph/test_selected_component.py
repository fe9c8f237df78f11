"""Draws of the component that an indicator selects."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from tests.benchmarks.memory import peak_of_mixture
from tests.conftest import as_arrays
from tests.two_sample import LEVEL, smallest_p_value


def test_censored_components():
    """An open bound: PyMC 6 clips by the variable itself there."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [1, 2], 1)
        normals = [pm.Normal.dist(mu[k], 1) for k in range(2)]
        components = [pm.Censored.dist(normal, lower=0, upper=None) for normal in normals]
        pm.Mixture("y", w=[0.3, 0.7], comp_dists=components, observed=np.array([0.0, 1.0]))
    draws = as_arrays(pma.compile_simulator(model, device="cpu").sample(20_000, random_seed=1))
    rng = np.random.default_rng(1)
    mu = rng.normal([1, 2], 1, size=(20_000, 2))
    z = (rng.random((20_000, 2)) < 0.7).astype(int)
    y = np.maximum(rng.normal(np.take_along_axis(mu, z, axis=1), 1), 0)
    p_value, where = smallest_p_value(draws, {"mu": mu, "y_component": z, "y": y})
    assert p_value > LEVEL, where


def test_memory_does_not_grow_with_components():
    """The peak of one batch grows with B·N, not with B·N·K."""
    few, many, longer = (peak_of_mixture(k, n) for k, n in ((2, 2_000), (40, 2_000), (2, 8_000)))
    assert many < 1.5 * few
    assert 3 < longer / few < 5


@pytest.mark.parametrize("weights", [[1.0, 0.0], [0.5, 0.5]])
def test_components_that_no_unit_selects(weights):
    """Of one unit, or under weights of 0 and 1, some component is drawn for no unit at all."""
    with pm.Model() as model:
        p = pm.Dirichlet("p", np.ones(3))
        components = [pm.Categorical.dist(p), pm.Categorical.dist([0.0, 0.0, 1.0])]
        pm.Mixture("y", w=weights, comp_dists=components, observed=[0])
    simulator = pma.compile_simulator(model, device="cpu")
    few = [simulator.sample(1, random_seed=seed).observations["y"] for seed in range(5)]
    assert all(y.shape == (1, 1) for y in few)
    y = simulator.sample(20_000, random_seed=1).observations["y"][:, 0]
    share = float((y == 2).double().mean())
    assert abs(share - (weights[0] / 3 + weights[1])) < 0.015
