"""Draws of many data sets at once, held against draws of one at a time."""

import numpy as np
import pytest

from pymc_amortized.graph.callbacks.same_law import p_value_of_same_law

SHAPE = (8, 4, 16)
LEVEL = 1e-3
ROW = np.linspace(-1, 1, 16)[:, None]


def normal(rng):
    return ROW + rng.normal(size=(*SHAPE, 5))


def poisson(rng):
    return rng.poisson(np.exp(ROW), size=(*SHAPE, 3))


def rare(rng):
    return rng.poisson(0.02, size=SHAPE)


def walk(rng):
    return rng.normal(size=(*SHAPE, 20)).cumsum(-1)


def cauchy(rng):
    return ROW[:, 0] + rng.standard_cauchy(SHAPE)


@pytest.mark.parametrize("draw", [normal, poisson, rare, walk, cauchy])
def test_the_same_law_passes(draw):
    rng = np.random.default_rng(1)
    p_values = [p_value_of_same_law(draw(rng), draw(rng)) for _ in range(60)]
    assert min(p_values) > LEVEL / 60


def test_what_is_not_random_passes_but_for_rounding():
    exact = np.broadcast_to(np.exp(ROW), (*SHAPE, 5)).copy()
    assert p_value_of_same_law(exact, exact * (1 + 1e-14)) == 1
    assert p_value_of_same_law(exact, exact * 1.01) < LEVEL


FAULTS = {
    "parameters of the first row": lambda y, rng: y - ROW + ROW[0],
    "parameters exchanged": lambda y, rng: y - ROW + np.roll(ROW, 1, axis=0),
    "parameters reversed": lambda y, rng: y - ROW + ROW[::-1],
    "the mean of all parameters": lambda y, rng: y - ROW,
    "one draw for all": lambda y, rng: y[:, :1, :1] - ROW[0] + ROW + 0 * y,
    "one draw for pairs": lambda y, rng: np.repeat((y - ROW)[:, :, ::2], 2, axis=2) + ROW,
    "a shift that all share": lambda y, rng: y + rng.normal(size=(8, 1, 1, 1)),
    "antithetic pairs": lambda y, rng: (
        np.concatenate([(y - ROW)[:, :2], (ROW - y)[:, :2]], 1) + ROW
    ),
    "no noise": lambda y, rng: ROW + 0 * y,
    "one noise for all units": lambda y, rng: y[..., :1] + 0 * y,
    "NaN": lambda y, rng: y * np.nan,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_planted_faults_are_seen(fault):
    rng = np.random.default_rng(2)
    for _ in range(20):
        assert p_value_of_same_law(normal(rng), fault(normal(rng), rng)) < LEVEL
