"""Models that are refused for what they say of indicators; see ``tests/refused.py``."""

import numpy as np
import pymc as pm
import pymc_extras as pmx
import pytensor.tensor as pt

from pymc_amortized import errors
from tests.refused import HALF, N, Y, mean, normal, normal_draws, refused


def chain(P, length=N, name="z", states=2, **options):
    first = pm.Categorical.dist(np.full(states, 1 / states))
    return pmx.DiscreteMarkovChain(name, P=P, init_dist=first, shape=length, **options)


def transition(*shape):
    return pm.Dirichlet("P", np.ones(2), shape=(*shape, 2, 2))


def pairs_of(first, second):
    """Return the transition of pairs of states, and the first pair, of two chains apart."""
    P = (first[:, None, :, None] * second[None, :, None, :]).reshape((4, 4))
    return {"P_of_pairs": P, "first_pair": pm.Categorical.dist(np.full(4, 0.25)), "K": 2, "T": N}


@refused("a discrete variable with infinitely many values", "'n' is a 'poisson'")
def counts_without_a_bound(here):
    n = here(lambda: pm.Poisson("n", 3), probabilities_up_to_a_bound=np.full(9, 1 / 9))
    pm.Normal("y", mean() * n, 1, observed=Y)


@refused("a discrete variable whose values differ from unit to unit", "bounds that differ")
def bounds_that_differ(here):
    weights = np.array([[0.5, 0.5, 0], [0.2, 0.3, 0.5]])[[0, 1, 0, 1, 0]]
    n = here(lambda: pm.DiscreteUniform("n", 1, [2, 3, 2, 3, 2]), lowest=1, weights=weights)
    pm.Normal("y", mean() * n, 1, observed=Y)


def _two_of_many(here, kinds, observed_means):
    """An observation on one indicator that stays, and another that may be summed out."""
    mu, other = mean(), np.arange(float(kinds))

    def logp(value, base):
        return pt.logsumexp(normal(value[:, None], base[:, None] + other), axis=1) - np.log(kinds)

    def random(base, rng=None, size=None):
        return rng.normal(base + rng.integers(kinds, size=size), 1)

    def as_written():
        c = pm.Categorical("c", np.full(kinds, 1 / kinds), shape=N)
        return pm.Normal("y", mu * observed_means + c, 1, observed=Y)

    here(as_written, parameters=[mu * observed_means], logp=logp, random=random, data=Y)


@refused("more than 4,096 combinations of indicators that hang together", "got 4,900 of")
def too_many_combinations(here):
    _two_of_many(here, 70, pm.Categorical("z", np.full(70, 1 / 70), shape=N))


@refused("more than 64 states of a joint chain", "got 66 of")
def too_many_states(here):
    _two_of_many(here, 33, chain(transition()))


@refused(
    "an observation of several states of one chain",
    "depend on one unit of 'z'",
    error=errors.SeveralUnitsError,
)
def two_states_of_a_chain(here):
    P = transition()

    def as_written():
        z = chain(P, N + 1)
        return z[:-1], z[1:]

    before, after = here(as_written, P=P, first=HALF, K=2, T=N + 1)
    pm.Normal("y", mean() * (before + 2 * after), 1, observed=Y)


BESIDE_CHAINS = "chains that hang together with what is not alike, step by step"


@refused(BESIDE_CHAINS, "'b' looks back further")
def chains_of_two_orders(here):
    P = transition()
    names = pairs_of(P, np.full((2, 2), 0.5))
    z, other = here(lambda: (chain(P), chain(np.full((2, 2, 2), 0.5), name="b", n_lags=2)), **names)
    pm.Normal("y", mean() * (z + 2 * other), 1, observed=Y)


@refused(BESIDE_CHAINS, "the first state of 'z' is not categorical")
def first_states_of_another_kind(here):
    P, first = transition(), pm.Bernoulli.dist(0.3)

    def as_written():
        return pmx.DiscreteMarkovChain("z", P=P, init_dist=first, shape=N), pm.Bernoulli("c", 0.4)

    z, c = here(as_written, **pairs_of(P, np.eye(2)))
    pm.Normal("y", mean() * z + c, 1, observed=Y)


@refused(BESIDE_CHAINS, "probabilities of 'c' differ from time to time")
def components_whose_weights_change_in_time(here):
    mu, z, p = mean(), chain(transition()), np.linspace(0.1, 0.9, N)

    def logp(value, base):
        both = [np.log(1 - p) + normal(value, base), np.log(p) + normal(value, base + 1)]
        return pt.logaddexp(*both)

    def random(base, rng=None, size=None):
        return rng.normal(base + rng.binomial(1, p, size=size), 1)

    def as_written():
        pm.Normal("y", mu * z + pm.Bernoulli("c", p), 1, observed=Y)

    here(as_written, parameters=[mu * z], logp=logp, random=random, data=Y)


@refused("a discrete `pm.CustomDist` that hangs together with others", "a distribution of its own")
def custom_states_below_a_class(here):
    def as_written():
        return pm.CustomDist("z", random=coins, dtype="int64", shape=N)

    z = here(as_written, P=np.full((2, 2), 0.5), probabilities=HALF, T=N)
    pm.Normal("y", mean() * z + pm.Bernoulli("c", 0.4), 1, observed=Y)


def coins(*_, rng=None, size=None):
    return rng.integers(2, size=size)


@refused("a discrete `pm.CustomDist` that hangs together with others", "have known probabilities")
def truncated_draws_below_a_class(here):
    bare = pm.CustomDist.dist(0.5, random=coins, dtype="int64")
    c = here(lambda: pm.Truncated("c", bare, lower=0, upper=1, shape=N), probabilities=HALF)
    pm.Normal("y", mean() * c + pm.Bernoulli("z", 0.4), 1, observed=Y)


@refused("a transition whose rows do not sum to 1", "which sum to 1; got")
def rows_of_other_sums(here):
    P = pm.Beta("P", 2, 2, shape=(2, 2))
    pm.Normal("y", mean() * chain(here(lambda: P, P=P)), 1, observed=Y)


DRAWN_ONLY = "states that can only be drawn, if they are one number, or have more than 64 values"


@refused(DRAWN_ONLY, "it is a single number")
def one_number_that_is_drawn(here):
    z = here(lambda: pm.CustomDist("z", random=coins, dtype="int64"), probabilities=HALF)
    pm.Normal("y", mean() * z, 1, observed=Y)


@refused(DRAWN_ONLY, "was drawn between")
def many_values_that_are_drawn(here):
    def draw(rng=None, size=None):
        states = rng.integers(200, size=size)
        return here(lambda: states, states=states)

    z = pm.CustomDist("z", random=draw, dtype="int64", shape=N)
    pm.Normal("y", mean() * z, 1, observed=Y)


@refused("rows of a chain that are no time points", "Give each time point a row", answered=True)
def several_rows_of_a_time_point(here):
    mu, z = pm.Normal("mu", 0, 1, shape=2), chain(transition(), 3)
    each, rows = np.array([[-1.0, 0.0], [0.5, 1.0], [2.0, np.nan]]), np.array([0, 0, 1, 1, 2])
    names = {"mu": mu, "z": z, "sigma": 1, "values_of_each_time_point": each}
    here(lambda: pm.Normal("y", mu[z[rows]], 1, observed=Y), **names)


@refused("units of several tables, without a density", "in one table of rows", answered=True)
def two_tables_without_a_density(here):
    mu, z = pm.Normal("mu", 0, 1, shape=2), pm.Bernoulli("z", 0.5, shape=N)
    pm.Normal("x", mu[z], 1, observed=Y)
    few, y = mu[z[:3]], Y[:3]
    names = {"parameters": [few], "logp": normal, "random": normal_draws, "data": y}
    here(lambda: pm.CustomDist("y", few, random=normal_draws, observed=y), **names)
