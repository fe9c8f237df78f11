"""A result whose labels switch, made by hand."""

import functools

import numpy as np
import pymc as pm
import xarray

from scipy import stats

import pymc_amortized as pma

from pymc_amortized.compat import result_of_groups

NUM_CHAINS, NUM_DRAWS = 2, 150
NUM_LABELS, NUM_UNITS = 3, 60
RNG = np.random.default_rng(5)
Z = RNG.integers(NUM_LABELS, size=NUM_UNITS)
Y = 5.0 * Z + RNG.normal(size=NUM_UNITS)


def mixture(y=Y, location=0.0):
    coords = {"component": list("abc"), "unit": np.arange(len(y)) + 10}
    with pm.Model(coords=coords) as model:
        w = pm.Dirichlet("w", np.ones(3), dims="component")
        mu = pm.Normal("mu", location, 10, dims="component")
        sigma = pm.HalfNormal("sigma", 2)
        pm.NormalMixture("y", w=w, mu=mu, sigma=sigma, observed=y, dims="unit")
    return model


def posterior_group(shuffled=True, seed=1):
    """Draws around the truth, each in a labelling of its own."""
    rng = np.random.default_rng(seed)
    shape = (NUM_CHAINS, NUM_DRAWS)
    w = rng.dirichlet(np.full(3, 30.0), shape)
    mu = 5.0 * np.arange(3) + rng.normal(0, 0.2, (*shape, 3))
    order = np.argsort(rng.random((*shape, 3)), axis=-1) if shuffled else np.arange(3)
    order = np.broadcast_to(order, mu.shape)
    w, mu = (np.take_along_axis(x, order, axis=-1) for x in (w, mu))
    return xarray.Dataset(
        {
            "w": (("chain", "draw", "component"), w),
            "mu": (("chain", "draw", "component"), mu),
            "sigma": (("chain", "draw"), np.exp(rng.normal(0, 0.1, shape))),
            "other": (("chain", "draw", "three"), rng.normal(size=(*shape, 3))),
            "P": (
                ("chain", "draw", "component", "next_component"),
                10.0 * order[..., :, None] + order[..., None, :],
            ),
        },
        coords={
            "chain": [3, 7],
            "draw": 2 * np.arange(NUM_DRAWS),
            "component": list("abc"),
        },
        attrs={"made": "by hand"},
    )


def result(build=result_of_groups, **options):
    posterior = posterior_group(**options)
    lp = -np.square(posterior["mu"] - 5.0).sum("component").rename("lp")
    observed = xarray.Dataset({"y": ("unit", Y)})
    groups = {
        "posterior": posterior,
        "sample_stats": xarray.Dataset({"lp": lp}),
        "observed_data": observed,
    }
    return build(groups)


@functools.cache
def with_indicators():
    return pma.add_indicators(result(), mixture(), random_seed=1)


def exact_probabilities(posterior):
    """p(z_i = k given y, θ), (chain, draw, unit, component)."""
    w, mu, sigma = (posterior[name].to_numpy() for name in ("w", "mu", "sigma"))
    joint = w[:, :, None] * stats.norm.pdf(Y[:, None], mu[:, :, None], sigma[:, :, None, None])
    return joint / joint.sum(-1, keepdims=True)
