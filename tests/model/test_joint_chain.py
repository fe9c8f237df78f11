"""Chains with classes of sequences and components of time points, against enumeration."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest

from pymc_extras.distributions.timeseries import DiscreteMarkovChain

import pymc_amortized as pma

from pymc_amortized.compat import supports_time_varying_chains
from pymc_amortized.errors import UnsupportedModelError
from tests.model.enumeration import build, require_enumeration

NEEDS_CHAINS_IN_PARALLEL = pytest.mark.skipif(
    not supports_time_varying_chains(),
    reason="pymc-extras has no density of parallel chains",
)
RNG = np.random.default_rng(12)


def mixture_of_chains():
    """A class of each sequence, with a transition and a start of its own; parallel sequences."""
    w, mu = pm.Dirichlet("w", np.ones(2)), pm.Normal("mu", 0, 2, shape=2)
    P = pm.Dirichlet("P", np.ones(2), shape=(2, 2, 2))
    start = pm.Dirichlet("start", np.ones(2), shape=(2, 2))
    c = pm.Categorical("c", w, shape=2)
    first = pm.Categorical.dist(start[c][:, None])
    z = DiscreteMarkovChain("z", P=P[c], init_dist=first, shape=(2, 3))
    pm.Normal("y", mu[z], 1, observed=RNG.normal(size=(2, 3)))
    return {"c": 2, "z": 2}


def sequences_seen_through_a_class():
    w, mu = pm.Dirichlet("w", np.ones(2)), pm.Normal("mu", 0, 2, shape=(2, 2))
    P = pm.Dirichlet("P", np.ones(2), shape=(2, 2))
    c = pm.Categorical("c", w, shape=2)
    first = pm.Categorical.dist([0.3, 0.7])
    z = DiscreteMarkovChain("z", P=P, init_dist=first, shape=(2, 3))
    pm.Normal("y", mu[c[:, None], z], 1, observed=RNG.normal(size=(2, 3)))
    return {"c": 2, "z": 2}


def states_seen_through_a_class():
    """One sequence; its class, the chain and a component of each time point all on one variable."""
    mu, p = pm.Normal("mu", 0, 2, shape=(2, 2)), pm.Beta("p", 1, 1)
    P, q = pm.Dirichlet("P", np.ones(2), shape=(2, 2)), pm.Beta("q", 1, 1, shape=2)
    c = pm.Bernoulli("c", p)
    first = pm.Categorical.dist([0.3, 0.7])
    z = DiscreteMarkovChain("z", P=P, init_dist=first, shape=4)
    d = pm.Bernoulli("d", q[z], shape=4)
    pm.Normal("y", mu[c, z] + 3 * d, 1, observed=RNG.normal(size=4))
    return {"c": 2, "z": 2, "d": 2}


def two_chains():
    P = pm.Dirichlet("P", np.ones(2), shape=(2, 2, 2))
    mu = pm.Normal("mu", 0, 2, shape=2)
    first = pm.Categorical.dist([0.3, 0.7])
    u = DiscreteMarkovChain("u", P=P[0], init_dist=first, shape=4)
    second = pm.Categorical.dist([0.6, 0.4])
    v = DiscreteMarkovChain("v", P=P[1], init_dist=second, shape=4)
    pm.Normal("y", mu[u] * (1 + v), 1, observed=RNG.normal(size=4))
    return {"u": 2, "v": 2}


@pytest.mark.parametrize(
    "define",
    [
        pytest.param(mixture_of_chains, marks=NEEDS_CHAINS_IN_PARALLEL),
        pytest.param(sequences_seen_through_a_class, marks=NEEDS_CHAINS_IN_PARALLEL),
        states_seen_through_a_class,
        two_chains,
    ],
    ids=lambda f: f.__name__,
)
def test_density_and_memberships_are_those_of_enumeration(define):
    require_enumeration(define)


def test_a_class_is_one_of_its_sequence_and_its_states_are_a_chain():
    model, _ = build(sequences_seen_through_a_class)
    idata = pma.sample(model=model, draws=50, chains=1, random_seed=1, cache=False)
    z, c = idata["indicators"]["z"], idata["indicators"]["c"]
    assert (c.dims[2:], z.dims[2:]) == (("c_dim_0",), ("z_dim_0", "z_dim_1"))
    tables = idata["indicator_probabilities"]
    assert {"c", "z_smoothing", "z_filtering", "z_viterbi"} == set(tables.data_vars)
    np.testing.assert_allclose(tables["c"].sum("component"), 1)


def test_a_transition_that_depends_on_components_of_time_points_is_refused():
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones(2), shape=(2, 2, 2))
        d = pm.Bernoulli("d", 0.3, shape=3)
        first = pm.Categorical.dist([0.5, 0.5])
        z = DiscreteMarkovChain("z", P=P[d[0]], init_dist=first, shape=3)
        pm.Normal("y", z + d, 1, observed=np.zeros(3))
    with pytest.raises(UnsupportedModelError, match="depends on single time points"):
        pma.compile_simulator(model)


def test_components_of_time_points_that_depend_on_another_time_are_refused():
    with pm.Model() as model:
        first, P = pm.Categorical.dist([0.5, 0.5]), pm.Dirichlet("P", np.ones(2), shape=(2, 2))
        z = DiscreteMarkovChain("z", P=P, init_dist=first, shape=3)
        d = pm.Bernoulli("d", pt.stack([0.2, 0.7])[z[::-1]], shape=3)
        pm.Normal("y", z + d, 1, observed=np.zeros(3))
    with pytest.raises(UnsupportedModelError, match="'d' depends on 'z' of other"):
        pma.compile_simulator(model)


@NEEDS_CHAINS_IN_PARALLEL
def test_sequences_that_have_the_class_of_another_are_refused():
    with pm.Model() as model:
        P = pm.Dirichlet("P", np.ones(2), shape=(2, 2, 2))
        c = pm.Bernoulli("c", 0.4, shape=3)
        first = pm.Categorical.dist([0.5, 0.5])
        z = DiscreteMarkovChain("z", P=P[c[::-1]], init_dist=first, shape=(3, 4))
        pm.Normal("y", z, 1, observed=np.zeros((3, 4)))
    with pytest.raises(UnsupportedModelError, match="'z' depends on 'c' of other"):
        pma.compile_simulator(model)


def test_two_states_on_one_observation_are_refused_by_the_name_of_their_chain():
    with pm.Model() as model:
        first, P = pm.Categorical.dist([0.5, 0.5]), pm.Dirichlet("P", np.ones(2), shape=(2, 2))
        z = DiscreteMarkovChain("z", P=P, init_dist=first, shape=4)
        pm.Normal("y", z[1:] + 2 * z[:-1], 1, observed=np.zeros(3))
    with pytest.raises(UnsupportedModelError, match="one unit of 'z'; some"):
        pma.compile_simulator(model)
