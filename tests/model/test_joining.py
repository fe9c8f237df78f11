"""Joint indicators against enumeration: PyMC's own density, under every value of all of them."""

from dataclasses import replace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from scipy.stats import ks_2samp

import pymc_amortized as pma

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.symmetry.order_choice import choose_orders
from tests.model.enumeration import build, require_enumeration

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
    zero, six = pt.constant(0, dtype="int64"), pt.constant(6, dtype="int64")
    first = pm.DiscreteUniform("first", zero, six)  # PyMC's density has the precision of its bounds
    last = pm.DiscreteUniform("last", first, six)
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


@pytest.mark.parametrize("define", MODELS, ids=lambda f: f.__name__)
def test_density_and_memberships_are_those_of_enumeration(define):
    require_enumeration(define)


def test_a_wrong_digit_is_noticed():
    model, _ = build(below_another)
    simulator = pma.compile_simulator(model)
    c, d = simulator.spec.indicators[0].members
    draws = simulator.sample(1, 1)
    joint = draws.indicators[simulator.spec.indicators[0].name]
    np.testing.assert_array_equal(c.digits.decode(joint), joint // 3)
    wrong = replace(c.digits, table=c.digits.table[:, ::-1])
    assert not np.array_equal(wrong.decode(joint), joint // 3)
    assert d.digits.is_aligned


def test_components_are_sums_over_components_of_mixtures():
    """A mixture in a mixture, whose density PyMC has with both indicators summed out."""
    y = RNG.normal(size=6)
    with pm.Model() as model:
        w, v = pm.Dirichlet("w", np.ones(2)), pm.Dirichlet("v", np.ones(3))
        mu, rate = pm.Normal("mu", 0, 2, shape=3), pm.Gamma("rate", 2, 1)
        parts = [pm.NormalMixture.dist(v, mu, 1), pm.Laplace.dist(0, rate)]
        variable = pm.Mixture("y", w=w, comp_dists=parts, observed=y)
    simulator = pma.compile_simulator(model)
    draws = simulator.sample(3, 2)
    found = simulator.density.log_marginal(draws.parameters, {"y": y})
    given = dict(zip(model.free_RVs, [v.name for v in model.free_RVs], strict=True))
    logp = pm.logp(variable, y).sum()
    for s in range(3):
        at = {v: draws.parameters[name][s].numpy() for v, name in given.items()}
        assert float(found[s]) == pytest.approx(logp.eval(at), abs=1e-8)
    assert [i.name for i in simulator.spec.named_indicators] == ["y_component", "y_component_0"]


def test_too_many_combinations_are_refused_with_their_number():
    with pm.Model() as model:
        theta = pm.Beta("theta", 1, 1, shape=(2, 2))
        c, d = pm.Bernoulli("c", 0.5, shape=10), pm.Bernoulli("d", 0.5, shape=6)
        pm.Bernoulli("y", theta[c[:, None], d[None, :]], observed=np.zeros((10, 6)))
    with pytest.raises(UnsupportedModelError, match=r"65,536 of 'c' \(2 values, 10 units\), 'd'"):
        pma.compile_simulator(model)


def test_each_is_given_back_under_its_own_name():
    with pm.Model(coords={"person": list("abc"), "kind": ["low", "high"]}) as model:
        w = pm.Beta("w", 2, 2)
        mu = pm.Normal("mu", [-2, 2], 0.5, dims="kind")
        c = pm.Bernoulli("c", w, dims="person")
        d = pm.Categorical("d", pt.stack([[0.9, 0.1], [0.2, 0.8]])[c], dims="person")
        pm.Deterministic("both", c * d, dims="person")
        pm.Normal("y", mu[d], 1, dims="person", observed=[-2.0, 2.0, np.pi])
    idata = pma.sample(model=model, draws=200, chains=2, random_seed=1, cache=False)
    indicators, tables = idata["indicators"], idata["indicator_probabilities"]
    assert set(indicators.data_vars) == set(tables.data_vars) == {"c", "d"}
    assert indicators["c"].dims == ("chain", "draw", "person")
    assert list(tables["d"].coords["person"].values) == list("abc")
    both = indicators["c"] * indicators["d"]
    np.testing.assert_array_equal(idata.posterior["both"], both)
    shares = (indicators["d"] == 1).mean(["chain", "draw"])
    np.testing.assert_allclose(tables["d"][:, 1], shares, atol=4 * 0.5 / np.sqrt(400))
    c_only = pma.sample(model=model, draws=20, chains=1, random_seed=1, var_names=["c"])
    assert set(c_only["indicators"].data_vars) == {"c"}


def test_rows_and_columns_of_a_parameter_are_ordered_apart():
    """Classes and components of :func:`below_another`: 2! 3! labellings, one of which is kept."""
    model, _ = build(below_another)
    simulator = pma.compile_simulator(model)
    orders = choose_orders(simulator)
    found = {name for order in orders for name in order.exchangeable.indicators}
    assert found == {"c", "d"}
    ordered = simulator.in_order(orders)
    draws = ordered.sample_parameters(2_000, 1)
    assert bool((draws["mu"].diff(dim=1) > 0).all())
    as_written = simulator.sample_parameters(2_000, 2)
    data = simulator.observed_data
    laws = [simulator.density.log_marginal(x, data).numpy() for x in (draws, as_written)]
    assert ks_2samp(*laws).pvalue > 1e-3
