"""Mixtures whose components are exchangeable, or nearly so."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

Y = np.random.default_rng(0).normal(size=12)
ORDERED = pm.distributions.transforms.ordered


def build(
    *,
    num_components=3,
    mean=0.0,
    alpha=1.0,
    order=None,
    coupled=False,
    kind="mixture",
    effects=False,
    density=True,
):
    """A mixture or a chain, and what may make its components differ; perhaps only to be drawn."""
    K = num_components
    with pm.Model() as model:
        sigma = pm.HalfNormal("sigma", 1, shape=K)
        transform = {"transform": ORDERED} if order == "transform" else {}
        mu = pm.Normal("mu", mean, 3 * sigma if coupled else 3, shape=K, **transform)
        means = pt.sort(mu) if order == "sort" else mu
        if order == "potential":
            pm.Potential("order", pt.switch(pt.all(pt.diff(mu) > 0), 0.0, -np.inf))
        shift = 0.0
        if effects:
            shift = pm.Normal("effect", 0, 1, shape=K)[np.arange(len(Y)) % K]
        if kind == "chain":
            P = pm.Dirichlet("P", np.ones((K, K)))
            first = pm.Categorical.dist(np.full(K, 1 / K))
            z = pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=(len(Y),))
        else:
            w = pm.Dirichlet("w", np.broadcast_to(alpha, K) * np.ones(K))
            if kind in ("mixture", "list") and not effects:
                dist = pm.Normal.dist if density else drawn
                components = dist(means, sigma)
                if kind == "list":
                    components = [dist(means[k], sigma[k]) for k in range(K)]
                pm.Mixture("y", w, components, observed=Y)
                return model
            z = pm.Categorical("z", w, shape=len(Y))
        if density:
            pm.Normal("y", means[z] + shift, sigma[z], observed=Y)
        else:
            pm.CustomDist("y", means[z] + shift, sigma[z], random=draw_t, observed=Y)
    return model


def draw_t(mean, sigma, rng=None, size=None):
    return mean + sigma * rng.standard_t(3, size=size)


def drawn(mean, sigma):
    return pm.CustomDist.dist(mean, sigma, random=draw_t, class_name="T")
