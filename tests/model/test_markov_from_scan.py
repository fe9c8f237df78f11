"""Chains that a scan draws."""

import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from pymc.pytensorf import collect_default_updates

import pymc_amortized as pma

from pymc_amortized.model.reading.chains.markov_from_scan import read_scan_chain
from pymc_amortized.model.reading.completion import complete_model

pytestmark = pytest.mark.filterwarnings("ignore:Scan return signature:DeprecationWarning")

T = 6
FIRST = np.array([0.2, 0.3, 0.5])
P = np.array([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4], [0.05, 0.15, 0.8]])
SEASON = np.array([0.1, 0.5, 0.9, 0.3, 0.6])


def scanned(step, start, sequences=(), others=(), taps=None):
    def with_updates(*arguments):
        following = step(*arguments)
        return following, collect_default_updates([following])

    initial = start if taps is None else {"initial": start, "taps": taps}
    rest, _ = pytensor.scan(
        with_updates,
        sequences=list(sequences),
        outputs_info=[initial],
        non_sequences=list(others),
        n_steps=None if sequences else T - 1,
    )
    return rest


def categorical(first, matrix, size):
    start = pm.Categorical.dist(first)
    rest = scanned(lambda state, m: pm.Categorical.dist(m[state]), start, others=[matrix])
    return pt.concatenate([start[None], rest])


def bernoulli(stay, season, size):
    """The probability of state 1: ``stay`` after state 1, that of the season after state 0."""
    start = pm.Bernoulli.dist(0.25)

    def step(p, state, stay):
        return pm.Bernoulli.dist(pt.switch(pt.eq(state, 1), stay, p))

    rest = scanned(step, start, [season], [stay])
    return pt.concatenate([start[None], rest])


def read(draw, *arguments, stay=0.6):
    """Read the chain of a model with one parameter, at a value of it."""
    with pm.Model() as model:
        parameter = pm.Beta("stay", 2, 2)
        inputs = [parameter if x is None else x for x in arguments]
        z = pm.CustomDist("z", *inputs, dist=draw, dtype="int64")
        pm.Normal("y", z, 1, observed=np.zeros(T))
    complete = complete_model(model)
    values = [torch.tensor([stay], dtype=torch.float64)]
    [indicator] = complete.indicators
    return read_scan_chain(indicator.variable.owner, complete.parameter_variables, values), values


def tables(chain, values):
    """Return the probabilities of the first state (K,), and transitions (T - 1, K, K)."""
    first = [np.asarray(x).ravel() for x in chain.initial(values)]
    transition = np.asarray(chain.transition(values)[0])
    return np.exp(np.concatenate(first)), np.exp(transition.reshape(T - 1, *transition.shape[-2:]))


def test_a_categorical_chain_is_read_as_its_tables():
    chain, values = read(categorical, FIRST, P)
    first, transition = tables(chain, values)
    assert chain.num_states == 3
    np.testing.assert_allclose(first, FIRST)
    np.testing.assert_allclose(transition, np.broadcast_to(P, (T - 1, 3, 3)))


@pytest.mark.parametrize("stay", [0.6, 0.9])
def test_transitions_depend_on_parameters_and_on_time(stay):
    chain, values = read(bernoulli, None, SEASON, stay=stay)
    first, transition = tables(chain, values)
    assert chain.num_states == 2
    np.testing.assert_allclose(first, [0.75, 0.25])
    for t, p in enumerate(SEASON):
        np.testing.assert_allclose(transition[t], [[1 - p, p], [1 - stay, stay]])


def test_what_is_read_is_how_often_states_follow_each_other():
    """Frequencies in simulations: 20,000 data sets, five transitions in each."""
    with pm.Model() as model:
        stay = pm.Beta("stay", 2, 2)
        z = pm.CustomDist("z", stay, SEASON, dist=bernoulli, dtype="int64")
        pm.Normal("y", z, 1, observed=np.zeros(T))
    simulator = pma.compile_simulator(model, device="cpu")
    parameters = {"stay": torch.full((20_000,), 0.6, dtype=torch.float64)}
    states = simulator.simulate(parameters, 1).indicators["z"]
    _, transition = tables(*read(bernoulli, None, SEASON))
    for t in range(T - 1):
        for before in (0, 1):
            after = states[states[:, t] == before, t + 1].double()
            p = transition[t, before, 1]
            # Ten comparisons, each exceeded by a right program less than once in 100,000 times.
            assert abs(float(after.mean()) - p) < 4.5 * (p * (1 - p) / len(after)) ** 0.5


def reversed_in_time(first, matrix, size):
    return categorical(first, matrix, size)[::-1]


def without_the_first(first, matrix, size):
    return categorical(first, matrix, size)[1:]


def independent(first, matrix, size):
    return pm.Categorical.dist(first, shape=T)


def of_order_two(first, matrix, size):
    start = pm.Categorical.dist(first, shape=2)

    def step(two_before, before, m):
        return pm.Categorical.dist(m[(two_before + before) % 3])

    return pt.concatenate([start, scanned(step, start, others=[matrix], taps=[-2, -1])])


def two_chains(first, matrix, size):
    return (categorical(first, matrix, size) + categorical(first, matrix, size)) % 3


@pytest.mark.parametrize(
    "draw", [reversed_in_time, without_the_first, independent, of_order_two, two_chains]
)
def test_what_is_no_such_chain_is_not_read(draw):
    chain, _ = read(draw, FIRST, P)
    assert chain is None
