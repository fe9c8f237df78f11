"""Chains that Python functions draw."""

import numpy as np
import pymc as pm

from tests.trained import simulate_chain

NUM_TIMES = 20


def data(seed=1):
    return simulate_chain(NUM_TIMES, seed)[1]


def draw_chain(stay, rng=None, size=None):
    """A chain that a Python function draws."""
    moves = rng.random(size) > np.asarray(stay)
    moves[..., 0] = rng.random(size[:-1]) < 0.5
    return moves.cumsum(-1) % 2


def opaque(y, **options):
    with pm.Model() as model:
        stay = pm.Beta("stay", 4, 2)
        mu = pm.Normal("mu", 0, 1)
        z = pm.CustomDist("z", stay, random=draw_chain, dtype="int64", shape=np.shape(y), **options)
        pm.Normal("y", mu + 1.5 * z, 1, observed=np.ma.masked_invalid(y))
    return model
