"""Data that are not finite, or impossible: refused by name, through every door."""

import functools

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytest

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result, result_of_groups
from pymc_amortized.errors import InvalidDataError

pytestmark = [
    pytest.mark.usefixtures("interpreted"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]

NUM_UNITS, PLACE = 12, 3
GRID = np.linspace(-2, 2, NUM_UNITS)
COUNTS = np.arange(NUM_UNITS)
SHARES = np.linspace(0.1, 0.9, NUM_UNITS)
BRIEF = pma.TrainingConfig(steps=5, tolerance=None, num_validation=32, batch_size=32)
OPTIONS = {"random_seed": 1, "progressbar": False}


def mixture(y):
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 2, shape=2)
        pm.NormalMixture("y", w=[0.4, 0.6], mu=mu, sigma=1, observed=y)
    return model


def counts(y):
    with pm.Model() as model:
        mu = pm.Gamma("mu", [2, 6], 0.5, shape=2)
        pm.Mixture("y", w=[0.4, 0.6], comp_dists=pm.Poisson.dist(mu), observed=y)
    return model


def chain(y):
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1], 1)
        first = pm.Categorical.dist([0.5, 0.5])
        P = np.array([[0.8, 0.2], [0.3, 0.7]])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(NUM_UNITS,))
        pm.Normal("y", mu[z], 1, observed=y)
    return model


def regressions(x, y=GRID):
    with pm.Model() as model:
        x = pm.Data("x", x)
        b = pm.Normal("b", [-1, 1], 1, shape=2)
        z = pm.Bernoulli("z", 0.5, shape=NUM_UNITS)
        pm.Normal("y", b[z] * x, 1, observed=y)
    return model


def shares(y):
    with pm.Model() as model:
        mu = pm.Gamma("mu", 2, 2)
        components = [pm.Beta.dist(mu, 1), pm.Beta.dist(3 * mu, 1)]
        pm.Mixture("y", w=[0.4, 0.6], comp_dists=components, observed=y)
    return model


def durations(y):
    with pm.Model() as model:
        mu = pm.Gamma("mu", [2, 3], 2)
        first = pm.Categorical.dist([0.5, 0.5])
        P = np.array([[0.8, 0.2], [0.3, 0.7]])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(NUM_UNITS,))
        pm.Gamma("y", mu[z], 1, observed=y)
    return model


def with_value(values, wrong):
    values = np.array(values, dtype=float)
    values[PLACE] = wrong
    return values


def negative():
    return np.where(np.arange(NUM_UNITS) == PLACE, -1, COUNTS)


CASES = {
    "infinite": (mixture, "y", GRID, with_value(GRID, np.inf), "'y'.*infinite"),
    "minus infinity": (chain, "y", GRID, with_value(GRID, -np.inf), "'y'.*infinite"),
    "too large": (mixture, "y", GRID, with_value(GRID, 1e200), "'y' at|y_component"),
    "a negative count": (counts, "y", COUNTS, negative(), "'y' at|y_component"),
    "an infinite density": (shares, "y", SHARES, with_value(SHARES, 0.0), "'y' at|y_component"),
    "an infinite density of a state": (
        durations,
        "y",
        SHARES,
        with_value(SHARES, 0.0),
        "'y' at|'z'",
    ),
    "a covariate": (regressions, "x", GRID, with_value(GRID, np.inf), "'x'|'z'"),
}


@functools.cache
def fitted(build):
    good = {counts: COUNTS, shares: SHARES, durations: SHARES}.get(build, GRID)
    return pma.fit(build(good), training=BRIEF, cache=False, **OPTIONS)


def given(name):
    _, variable, _, bad, _ = CASES[name]
    return {"y": GRID, "x": bad} if variable == "x" else {"y": bad}


def by_sample(name):
    return fitted(CASES[name][0]).sample(given(name), draws=50, random_seed=1)


def by_sample_many(name):
    return fitted(CASES[name][0]).sample_many([given(name)] * 2, draws=50, **OPTIONS)


def by_probabilities(name):
    return fitted(CASES[name][0]).indicator_probabilities(given(name), random_seed=1)


def by_pm_sample(name):
    build, _, _, bad, _ = CASES[name]
    arguments = {"training": BRIEF, "cache": False, **OPTIONS}
    return pm.sample(draws=50, method="amortized", model=build(bad), **arguments)


def by_own_data(name):
    build, _, _, bad, _ = CASES[name]
    posterior = pma.fit(build(bad), training=BRIEF, cache=False, **OPTIONS)
    return posterior.sample(draws=50, random_seed=1)


def by_add_indicators(name):
    build, _, _, bad, _ = CASES[name]
    drawn = groups_of_result(fitted(build).sample(draws=50, random_seed=1))["posterior"]
    idata = result_of_groups({"posterior": drawn})
    return pma.add_indicators(idata, build(bad), random_seed=1)


DOORS = [by_sample, by_sample_many, by_probabilities, by_pm_sample, by_own_data, by_add_indicators]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.parametrize("name", CASES)
def test_it_is_refused_by_name(name, door):
    with pytest.raises(InvalidDataError, match=CASES[name][-1]) as refused:
        door(name)
    assert str(PLACE) in str(refused.value)


def test_streams_are_refused_as_well():
    with pytest.raises(InvalidDataError, match=r"'y'.*infinite"):
        fitted(chain).filter(given("minus infinity"), draws=50, random_seed=1)


@pytest.mark.parametrize("build", [mixture, counts, chain, shares, durations])
def test_the_same_doors_answer_good_data(build):
    """What is tested above is the data, not the doors."""
    posterior = fitted(build)
    idata = posterior.sample(draws=50, random_seed=1)
    assert np.isfinite(idata.posterior["mu"].to_numpy()).all()
