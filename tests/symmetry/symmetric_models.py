"""Models of exchangeable components, as they are and in order."""

import functools

import pymc_amortized as pma

from pymc_amortized.compat import groups_of_result
from pymc_amortized.results.reading import sampled
from pymc_amortized.symmetry.order_choice import choose_orders
from tests.symmetry.mixtures import build

SYMMETRIC = {
    "mixture": ({}, "mu"),
    "two": ({"num_components": 2}, "sigma"),
    "coupled": ({"coupled": True}, "mu"),
    "chain": ({"kind": "chain"}, "mu"),
    "sorted": ({"order": "sort"}, "mu"),
    "partial": ({"num_components": 4, "mean": [0.0, 1.0, 0.0, 1.0]}, "mu"),
    "some": ({"mean": [0.0, 0.0, 2.0]}, "sigma"),
}


@functools.cache
def simulators_of(name):
    """The simulator of a model as it is, and in order."""
    options, by = SYMMETRIC[name]
    simulator = pma.compile_simulator(build(**options), device="cpu")
    return simulator, simulator.in_order(choose_orders(simulator, by)), by


def flat(result, name):
    x = sampled(groups_of_result(result))[name].to_numpy()
    return x.reshape(-1, *x.shape[2:])
