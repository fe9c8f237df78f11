"""Exchangeable components are found: all of their variables, and nothing else."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt
import pytest

import pymc_amortized as pma

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


ALL = {"sigma", "mu", "w"}


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    ("options", "names", "indicators"),
    [
        ({}, ALL, ("y_component",)),
        ({"num_components": 2}, ALL, ("y_component",)),
        ({"num_components": 5}, ALL, ("y_component",)),
        ({"kind": "list"}, ALL, ("y_component",)),
        ({"kind": "explicit"}, ALL, ("z",)),
        ({"coupled": True}, ALL, ("y_component",)),
        ({"effects": True}, ALL, ("z",)),
        ({"kind": "chain"}, {"sigma", "mu", "P"}, ("z",)),
        ({"order": "sort"}, {"mu"}, ()),
    ],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_exchangeable_components(options, names, indicators, density):
    simulator = pma.compile_simulator(build(density=density, **options), device="cpu")
    assert (simulator.density is not None) == density
    [found] = simulator.exchangeable
    assert set(found.names) == names
    assert found.indicators == indicators
    assert not found.is_partial
    assert ("P", 0) not in found.axes or ("P", 1) in found.axes
    assert f"components are exchangeable: {', '.join(found.names)}" in repr(simulator)


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    "options",
    [
        {"order": "transform"},
        {"order": "potential"},
        {"mean": [-1.0, 0.0, 1.0]},
        {"alpha": np.array([1.0, 2.0, 3.0])},
    ],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_components_that_are_not(options, density):
    model = build(density=density, **options)
    assert pma.compile_simulator(model, device="cpu").exchangeable == ()


@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_distributions_of_different_kinds_are_not_exchangeable():
    with pm.Model() as model:
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        other = pm.CustomDist.dist(mu[1], 1.0, random=draw_cauchy, class_name="T")
        pm.Mixture("y", w, [drawn(mu[0], 1.0), other], observed=Y)
    assert pma.compile_simulator(model, device="cpu").exchangeable == ()


def draw_cauchy(mean, sigma, rng=None, size=None):
    return mean + sigma * rng.standard_cauchy(size=size)


def test_parameters_that_nothing_depends_on_are_no_components():
    with pm.Model() as model:
        pm.Normal("unused", 0, 1, shape=2)
        w = pm.Dirichlet("w", np.ones(2))
        mu = pm.Normal("mu", 0, 3, shape=2)
        pm.NormalMixture("y", w, mu, sigma=1, observed=Y)
    [found] = pma.compile_simulator(model, device="cpu").exchangeable
    assert set(found.names) == {"w", "mu"}


@pytest.mark.parametrize("density", [True, False])
@pytest.mark.parametrize(
    ("options", "blocks"),
    [
        ({"mean": [0.0, 0.0, 2.0]}, ((0, 1),)),
        ({"alpha": np.array([1.0, 2.0, 1.0])}, ((0, 2),)),
        ({"num_components": 4, "mean": [0.0, 1.0, 0.0, 1.0]}, ((0, 2), (1, 3))),
    ],
)
@pytest.mark.filterwarnings("ignore::pymc_amortized.errors.BackendFallbackWarning")
def test_some_components(options, blocks, density):
    model = build(density=density, **options)
    [found] = pma.compile_simulator(model, device="cpu").exchangeable
    assert found.blocks == blocks
    assert found.is_partial
    assert "components 0 and" in str(found)


def test_two_mixtures_have_their_own():
    with pm.Model() as model:
        for name in "ab":
            w = pm.Dirichlet(f"w_{name}", np.ones(2))
            mu = pm.Normal(f"mu_{name}", 0, 3, shape=2)
            pm.NormalMixture(name, w, mu, sigma=1, observed=Y)
    found = pma.compile_simulator(model, device="cpu").exchangeable
    assert [set(e.names) for e in found] == [{"w_a", "mu_a"}, {"w_b", "mu_b"}]
    assert [e.indicators for e in found] == [("a_component",), ("b_component",)]
