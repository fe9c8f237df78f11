"""Models for end-to-end tests, and the networks trained for them, small and quick."""

import functools
import warnings

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

import pymc_amortized as pma

from tests.dwelling import dwelling

ORDERED = pm.distributions.transforms.ordered
NUM_UNITS = 40


def normal_mean(y):
    """Conjugate: mu ~ N(0, 2), y ~ N(mu, 1)."""
    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 2)
        pm.Normal("y", mu, 1, observed=y)
    return model


def beta_bernoulli(y):
    """Conjugate, with indicators that are known almost surely: p ~ Beta(2, 3), y ~ N(20 z, 1)."""
    with pm.Model() as model:
        p = pm.Beta("p", 2, 3)
        z = pm.Bernoulli("z", p, shape=len(y))
        pm.Normal("y", 20.0 * z, 1, observed=y)
    return model


def mixture(y, num_components=2, coords=True):
    coords = {
        "component": [f"c{k}" for k in range(num_components)],
        "unit": np.arange(len(y)) + 100,
    }
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", 2 * np.ones(num_components), dims="component")
        mu = pm.Normal(
            "mu",
            0,
            3,
            transform=ORDERED,
            dims="component",
            initval=np.linspace(-1, 1, num_components),
        )
        sigma = pm.HalfNormal("sigma", 1, dims="component")
        pm.Deterministic("distance", mu[1] - mu[0])
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y, dims="unit")
    return model


def unordered(y):
    """Two components that nothing tells apart."""
    with pm.Model(coords={"component": ["a", "b"], "unit": range(len(y))}) as model:
        mu = pm.Normal("mu", 0, 3, dims="component")
        sigma = pm.HalfNormal("sigma", 1, dims="component")
        pm.Deterministic("variance", sigma**2, dims="component")
        w = pm.Dirichlet("w", 2 * np.ones(2), dims="component")
        z = pm.Categorical("z", w, dims="unit")
        pm.Normal("y", mu[z], sigma[z], observed=y, dims="unit")
    return model


def explicit(y):
    """Explicit indicators, a covariate, and deterministics of everything."""
    coords = {"group": ["a", "b"], "unit": range(len(y))}
    with pm.Model(coords=coords) as model:
        x = pm.Data("x", np.linspace(-1, 1, len(y)), dims="unit")
        p = pm.Beta("p", 2, 2)
        slope = pm.Normal("slope", [-2, 2], 1, dims="group")
        z = pm.Bernoulli("z", p, dims="unit")
        mean = pm.Deterministic("mean", slope[z] * x, dims="unit")
        pm.Deterministic("twice", 2 * p)
        pm.Normal("y", mean, 0.5, observed=y, dims="unit")
    return model


def g_and_k(y):
    """One component that can be drawn from, and nothing else; the other is normal."""

    def draw(location, scale, rng=None, size=None):
        z = rng.normal(size=size)
        return location + scale * (1 + 0.8 * np.tanh(z)) * (1 + z**2) ** 0.2 * z

    with pm.Model() as model:
        w = pm.Beta("w", 3, 3)
        location = pm.Normal("location", 3, 0.5)
        components = [
            pm.Normal.dist(-3, 1),
            pm.CustomDist.dist(location, 1.0, random=draw, class_name="GandK"),
        ]
        pm.Mixture("y", w=pt.stack([w, 1 - w]), comp_dists=components, observed=y)
    return model


NUM_TIMES = 30


def chain(y, emission=None):
    """Two states 2.5 apart, which are left with probabilities 1 - stay and 0.4."""
    with pm.Model(coords={"time": np.arange(len(y)) + 1, "state": ["low", "high"]}) as model:
        mu = pm.Normal("mu", 0, 2)
        stay = pm.Beta("stay", 8, 2)
        P = pt.stack([pt.stack([stay, 1 - stay]), pt.constant([0.4, 0.6])])
        first = pm.Categorical.dist([0.7, 0.3])
        z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, dims="time", shape=(len(y),))
        mean = mu + 2.5 * z
        if emission is None:
            pm.Normal("y", mean, 1, observed=y, dims="time")
        else:
            pm.CustomDist("y", mean, random=emission, observed=y, dims="time")
    return model


def _draw_normal(mean, rng=None, size=None):
    return rng.normal(mean, 1, size=size)


def chain_without_density(y):
    """The same chain, with emissions that can be drawn, and nothing else."""
    return chain(y, _draw_normal)


def simulate_chain(num_times, seed, mu=0.5, stay=0.85):
    """States and observations of ``chain``, by hand."""
    rng = np.random.default_rng(seed)
    P = np.array([[stay, 1 - stay], [0.4, 0.6]])
    z = [rng.choice(2, p=[0.7, 0.3])]
    for _ in range(num_times - 1):
        z.append(rng.choice(2, p=P[z[-1]]))
    z = np.array(z)
    return z, rng.normal(mu + 2.5 * z, 1)


def draws_of(model, name, seed):
    with model:
        return np.asarray(pm.draw(model[name], random_seed=seed))


def train(build, y, *, steps, sizes=None, **options):
    model = build(y)
    config = pma.TrainingConfig(steps=steps, tolerance=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pma.errors.BackendFallbackWarning)
        posterior = pma.fit(
            model, training=config, sizes=sizes, random_seed=3, progressbar=False, **options
        )
    return model, posterior


def data(num_units=NUM_UNITS, seed=0):
    rng = np.random.default_rng(seed)
    z = rng.random(num_units) < 0.35
    return np.where(z, rng.normal(-2, 0.7, num_units), rng.normal(1.5, 1.0, num_units))


def crossing_lines():
    """Two regressions on the covariate of ``explicit``."""
    rng = np.random.default_rng(0)
    slope = np.where(rng.random(NUM_UNITS) < 0.4, 1.8, -1.5)
    return slope * np.linspace(-1, 1, NUM_UNITS) + 0.5 * rng.normal(size=NUM_UNITS)


def train_three():
    """Three components for the data of two, hardly trained."""
    return train(functools.partial(mixture, num_components=3), data(), steps=100)


QUICK = pma.Networks(summary=pma.ConvolutionalNetwork)
CLASSIFIED = pma.Networks(classification=True)

TRAINED = {
    "normal_mean": functools.partial(train, normal_mean, data() + 1, steps=400),
    "beta_bernoulli": functools.partial(train, beta_bernoulli, 20.0 * (data() > 0), steps=400),
    "mixture": functools.partial(train, mixture, data(), steps=800, networks=CLASSIFIED),
    "unordered": functools.partial(train, unordered, data(), steps=300),
    "sized": functools.partial(train, mixture, data(), steps=300, sizes={"y": (10, 100)}),
    "explicit": functools.partial(train, explicit, crossing_lines(), steps=300),
    "g_and_k": functools.partial(train, g_and_k, data(), steps=400),
    "chain": functools.partial(
        train, chain, simulate_chain(NUM_TIMES, 1)[1], steps=250, sizes={"y": (10, 70)}
    ),
    "dwelling": functools.partial(
        train, dwelling, simulate_chain(20, 1)[1], steps=300, networks=QUICK
    ),
    "chain_without_density": functools.partial(
        train, chain_without_density, simulate_chain(NUM_TIMES, 1)[1], steps=300
    ),
}
