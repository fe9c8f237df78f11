"""Mixtures whose components are variables of their own, and the same with axes."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

_RNG = np.random.default_rng(0)
Y = np.where(_RNG.random(60) < 0.4, _RNG.normal(-2, 1, 60), _RNG.normal(3, 0.7, 60))
POINTS = np.concatenate(
    [_RNG.normal(mean, 1, (15, 2)) for mean in ([-4.0, 0.0], [0.0, 5.0], [4.0, 0.0])]
)


def two(means=(0, 0), names=("mu_0", "mu_1", "s_0", "s_1"), parametrization="list"):
    """Two normal components, of which names and order tell what the caller likes."""
    drawn = {}
    a, b, s, t = names
    priors = {a: means[0], b: means[1]}
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2)) if parametrization == "list" else pm.Beta("w", 2, 2)
        for name in sorted(names):
            drawn[name] = (
                pm.Normal(name, priors[name], 5) if name in priors else pm.HalfNormal(name, 2)
            )
        if parametrization == "list":
            components = [pm.Normal.dist(drawn[a], drawn[s]), pm.Normal.dist(drawn[b], drawn[t])]
            pm.Mixture("y", w, components, observed=Y)
        elif parametrization == "stick":
            mu, sigma = pt.stack([drawn[a], drawn[b]]), pt.stack([drawn[s], drawn[t]])
            pm.NormalMixture("y", pt.stack([w, 1 - w]), mu, sigma, observed=Y)
        else:
            z = pm.Bernoulli("z", w, shape=len(Y))
            mu = pm.math.switch(z, drawn[b], drawn[a])
            pm.Normal("y", mu, pm.math.switch(z, drawn[t], drawn[s]), observed=Y)
    return model


def two_with_axes():
    """The model :func:`two` written with axes."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 5, shape=2)
        s = pm.HalfNormal("s", 2, shape=2)
        pm.NormalMixture("y", w, mu, s, observed=Y)
    return model


def multivariate():
    """Three normal components of two dimensions."""
    with pm.Model() as model:
        w, components = pm.Dirichlet("w", np.ones(3)), []
        for k in range(3):
            mu = pm.MvNormal(f"mu_{k}", np.zeros(2), 9 * np.eye(2))
            sd = pm.Exponential.dist(1.0, shape=2)
            chol, _, _ = pm.LKJCholeskyCov(f"chol_{k}", n=2, eta=2, sd_dist=sd)
            components.append(pm.MvNormal.dist(mu, chol=chol))
        pm.Mixture("y", w, components, observed=POINTS)
    return model


def three(last=0.0, kind="normal"):
    """Three components, of which the last may have a prior, or a distribution, of its own."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(3))
        mu = [pm.Normal(name, mean, 5) for name, mean in (("a", 0), ("c", 0), ("b", last))]
        other = pm.Normal.dist(mu[2], 1) if kind == "normal" else pm.Cauchy.dist(mu[2], 1)
        components = [pm.Normal.dist(mu[0], 1), other, pm.Normal.dist(mu[1], 1)]
        pm.Mixture("y", w, components, observed=Y)
    return model


def regressions(num_components=2, num_slopes=2):
    """Regressions whose coefficients have all the same prior, in an order that says nothing."""
    x = np.random.default_rng(1).normal(size=(len(Y), num_slopes))
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(num_components))
        names = [(j, k) for k in range(num_components) for j in range(num_slopes)]
        shuffled = np.random.default_rng(2).permutation(len(names))
        b = {names[i]: pm.Normal(f"x{place}", 0, 1) for place, i in enumerate(shuffled)}
        means = [sum(b[j, k] * x[:, j] for j in range(num_slopes)) for k in range(num_components)]
        pm.Mixture("y", w, [pm.Normal.dist(m, 1) for m in means], observed=Y)
    model.partners = {
        frozenset(b[j, k].name for k in range(num_components)) for j in range(num_slopes)
    }
    return model


def hierarchical():
    """Means whose priors have means of their own, or share a vector of them."""
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        shared = pm.Normal("shared", 0, 1)
        center = [pm.Normal(name, shared, 1) for name in ("left", "right")]
        mu = [pm.Normal(f"mu_{k}", center[k], 1) for k in range(2)]
        pm.Mixture("y", w, [pm.Normal.dist(m, 1) for m in mu], observed=Y)
    return model


def chain():
    """States whose rows of the transition matrix are variables of their own."""
    import pymc_extras as pmx

    with pm.Model() as model:
        rows = [pm.Dirichlet(f"row_{k}", np.ones(2)) for k in range(2)]
        mu = [pm.Normal(f"mu_{k}", 0, 3) for k in range(2)]
        first = pm.Categorical.dist(np.full(2, 0.5))
        z = pmx.DiscreteMarkovChain("z", P=pt.stack(rows), init_dist=first, shape=(len(Y),))
        pm.Normal("y", pt.stack(mu)[z], 1, observed=Y)
    return model
