"""Which distributions of a model lack a density, and the pairs that one is learned from."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError


def _tagged(mean, spread, rng=None, size=None):
    """Draw values that say which arguments they were drawn with."""
    return np.broadcast_to(1_000 * mean + spread, size) + 1e-3 * rng.random(size)


def _pair(mean, rng=None, size=None):
    return np.broadcast_to(mean, (*size, 2)) + 1e-3 * rng.random((*size, 2))


def pairs_of(model, number=20):
    simulator = pma.compile_simulator(model)
    [unknown] = simulator.unknown_distributions
    arguments, values = simulator.draws_of(unknown, simulator.sample(number, 1))
    return unknown, arguments.numpy(), values.numpy()


def require_tags(arguments, values):
    tags = 1_000 * arguments[:, 0] + arguments[:, 1]
    assert np.abs(values[:, 0] - tags).max() < 0.01
    assert np.abs(np.roll(values[:, 0], 1) - tags).max() > 1  # planted: of another draw


@pytest.mark.filterwarnings("ignore::pymc.exceptions.ImputationWarning")
@pytest.mark.parametrize("missing", [False, True])
def test_pairs_of_explicit_indicators(missing):
    y = np.arange(8.0)
    if missing:
        y[[1, 4]] = np.nan
    with pm.Model() as model:
        mu = pm.Normal("mu", [-2, 2], 1, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=8)
        x = pm.Data("x", np.arange(8.0))
        observed = np.ma.masked_invalid(y) if missing else y
        pm.CustomDist("y", mu[z] + x, 0.5, random=_tagged, observed=observed)
    unknown, arguments, values = pairs_of(model)
    assert (unknown.name, unknown.component, unknown.event_shape) == ("y", None, ())
    assert len(values) == 20 * (6 if missing else 8)
    require_tags(arguments, values)


def test_pairs_of_one_component():
    with pm.Model() as model:
        location = pm.Normal("location", 3, 0.5)
        components = [
            pm.Normal.dist(-3, 1),
            pm.CustomDist.dist(location, 1.0, random=_tagged),
        ]
        pm.Mixture("y", w=[0.4, 0.6], comp_dists=components, observed=np.zeros(30))
    unknown, arguments, values = pairs_of(model)
    assert (unknown.name, unknown.component) == ("y[1]", 1)
    assert 0.5 < len(values) / 600 < 0.7
    require_tags(arguments, values)


def test_pairs_of_components_side_by_side():
    with pm.Model() as model:
        mu = pm.Normal("mu", [-2, 2], 1, shape=2)
        component = pm.CustomDist.dist(mu, pt.constant([0.1, 0.3]), random=_tagged, shape=(2,))
        pm.Mixture("y", w=[0.4, 0.6], comp_dists=component, observed=np.zeros(30))
    unknown, arguments, values = pairs_of(model)
    assert (unknown.name, unknown.component) == ("y", None)
    assert len(values) == 600
    require_tags(arguments, values)


def test_pairs_of_vectors():
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1, shape=(2, 2))
        z = pm.Bernoulli("z", 0.5, shape=9)
        pm.CustomDist("y", mu[z], random=_pair, signature="(n)->(n)", observed=np.zeros((9, 2)))
    unknown, arguments, values = pairs_of(model)
    assert unknown.event_shape == (2,)
    assert arguments.shape == values.shape == (180, 2)
    assert np.abs(values - arguments).max() < 0.01


def test_what_cannot_be_learned_is_refused():
    with pm.Model() as known:
        mu = pm.Normal("mu", 0, 1)
        pm.Normal("y", mu, 1, observed=np.zeros(3))
    with pytest.raises(UnsupportedModelError, match="better than any that could be learned"):
        _ = pma.compile_simulator(known).unknown_distributions
    with pm.Model() as made_of_it:
        mu = pm.Normal("mu", 0, 1)
        pm.Truncated(
            "y", pm.CustomDist.dist(mu, 1.0, random=_tagged), lower=-5, observed=np.zeros(3)
        )
    with pytest.raises(UnsupportedModelError):
        _ = pma.compile_simulator(made_of_it).unknown_distributions
