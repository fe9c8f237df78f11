"""Joint indicators against enumeration: PyMC's own density, under every value of all of them."""

import itertools

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray

from scipy.special import logsumexp

import pymc_amortized as pma

from pymc_amortized.compat import reference_mode

RNG = np.random.default_rng(11)


def below_another():
    """A class of each unit, and a component that depends on it."""
    w, P = pm.Dirichlet("w", np.ones(2)), pm.Dirichlet("P", np.ones(3), shape=(2, 3))
    mu = pm.Normal("mu", 0, 3, shape=3)
    c = pm.Categorical("c", w, shape=3)
    d = pm.Categorical("d", P[c])
    pm.Normal("y", mu[d], 1, observed=RNG.normal(size=3))
    return {"c": 2, "d": 3}


def two_on_one_observation():
    p, mu = pm.Beta("p", 2, 2, shape=2), pm.Normal("mu", 0, 1, shape=3)
    a, b = pm.Bernoulli("a", p[0], shape=3), pm.Bernoulli("b", p[1], shape=3)
    pm.Normal("y", mu[0] + mu[1] * a + mu[2] * a * b, 1, observed=RNG.normal(size=3))
    return {"a": 2, "b": 2}


def two_switch_points():
    """The second between the first and the end: values that are impossible together."""
    rate, t = pm.Gamma("rate", 2, 1, shape=3), np.arange(7)
    first = pm.DiscreteUniform("first", 0, 6)
    last = pm.DiscreteUniform("last", first, 6)
    level = pt.switch(t < first, rate[0], pt.switch(t < last, rate[1], rate[2]))
    pm.Poisson("y", level, observed=RNG.poisson(3, 7))
    return {"first": 7, "last": 7}


def visits_of_persons():
    """A class of each person, and a state of each visit that depends on it; some visits missing."""
    w, q = pm.Dirichlet("w", np.ones(2)), pm.Beta("q", 1, 1, shape=2)
    mu = pm.Normal("mu", 0, 2, shape=2)
    person = np.array([0, 1, 0, 2, 2, 0])
    c = pm.Categorical("c", w, shape=3)
    d = pm.Bernoulli("d", q[c][person], shape=6)
    pm.Normal("y", mu[d], 1, observed=RNG.normal(size=6))
    return {"c": 2, "d": 2}


def persons_and_items():
    w, v = pm.Dirichlet("w", np.ones(2)), pm.Dirichlet("v", np.ones(2))
    theta = pm.Beta("theta", 1, 1, shape=(2, 2))
    c, d = pm.Categorical("c", w, shape=3), pm.Categorical("d", v, shape=2)
    pm.Bernoulli("y", theta[c[:, None], d[None, :]], observed=RNG.integers(0, 2, (3, 2)))
    return {"c": 2, "d": 2}


def spike_and_slab():
    X = RNG.normal(size=(9, 4))
    share, b = pm.Beta("share", 1, 1), pm.Normal("b", 0, 1, shape=4)
    inc = pm.Bernoulli("inc", share, shape=4)
    pm.Normal("y", pt.dot(X, inc * b), 1, observed=X[:, 0] + RNG.normal(size=9))
    return {"inc": 2}


def weights_by_class():
    """A mixture that hides its indicator, with weights by an explicit one."""
    w, v = pm.Dirichlet("w", np.ones(2)), pm.Dirichlet("v", np.ones(2), shape=(2, 2))
    mu = pm.Normal("mu", 0, 2, shape=2)
    c = pm.Categorical("c", w, shape=3)
    pm.NormalMixture("y", v[c], mu, 1, observed=RNG.normal(size=3))
    return {"c": 2}


def shared_with_another():
    """Two observed variables: one of the first indicator, one of both."""
    w, mu = pm.Dirichlet("w", np.ones(3)), pm.Normal("mu", 0, 2, shape=3)
    c, d = pm.Categorical("c", w, shape=3), pm.Bernoulli("d", 0.4, shape=3)
    pm.Normal("x", mu[c], 1, observed=RNG.normal(size=3))
    pm.Normal("y", mu[c] + 2 * d, 0.5, observed=RNG.normal(size=3))
    return {"c": 3, "d": 2}


MODELS = [
    below_another,
    two_on_one_observation,
    two_switch_points,
    visits_of_persons,
    persons_and_items,
    spike_and_slab,
    weights_by_class,
    shared_with_another,
]


def build(define):
    """Return the model, and how many values each of its discrete variables has."""
    with pm.Model() as model:
        counts = define()
    return model, counts


def enumerate_all(model, counts, parameters):
    """Return every value of all indicators, and log p(z, y given θ) of each."""
    point = model.initial_point()
    for name, x in parameters.items():
        transform = model.rvs_to_transforms[model[name]]
        value = model.rvs_to_values[model[name]]
        if transform is None:
            point[value.name] = x
        else:
            inputs = model[name].owner.inputs
            point[value.name] = transform.forward(pt.constant(x), *inputs).eval()
    shapes = {name: point[name].shape for name in counts}
    discrete = [model[name] for name in counts]
    logp = model.compile_logp([*discrete, *model.observed_RVs], mode=reference_mode())
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    choices = [range(k) for k, n in zip(counts.values(), sizes, strict=True) for _ in range(n)]
    values, densities = {name: [] for name in counts}, []
    for combination in itertools.product(*choices):
        pieces = np.split(np.array(combination), np.cumsum(sizes)[:-1])
        for (name, shape), piece in zip(shapes.items(), pieces, strict=True):
            point[name] = piece.reshape(shape)
            values[name].append(point[name])
        densities.append(float(logp(point)))
    return {name: np.array(x) for name, x in values.items()}, np.array(densities)


def one_draw(parameters):
    arrays = {
        name: (["chain", "draw", *(f"{name}_dim_{i}" for i in range(x.ndim))], x[None, None])
        for name, x in parameters.items()
    }
    return xarray.DataTree.from_dict({"posterior": xarray.Dataset(arrays)})


@pytest.mark.parametrize("define", MODELS, ids=lambda f: f.__name__)
def test_density_and_memberships_are_those_of_enumeration(define):
    model, counts = build(define)
    simulator = pma.compile_simulator(model)
    draws = simulator.sample(2, 1)
    found = simulator.density.log_marginal(draws.parameters, simulator.observed_data)
    for s in range(2):
        parameters = {n: x[s].numpy() for n, x in draws.parameters.items()}
        values, densities = enumerate_all(model, counts, parameters)
        assert float(found[s]) == pytest.approx(logsumexp(densities), abs=1e-8)
        added = pma.add_indicators(one_draw(parameters), model, random_seed=1)
        weights = np.exp(densities - logsumexp(densities))
        for name, z in values.items():
            table = added["indicator_probabilities"][name].to_numpy()
            expected = [np.tensordot(weights, z == k, 1) for k in range(counts[name])]
            np.testing.assert_allclose(table, np.stack(expected, -1), atol=1e-8)
