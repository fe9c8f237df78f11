"""What repeats itself along the units is computed once, and is what it would be otherwise."""

import numpy as np
import pytensor.tensor as pt
import pytest
import torch

from pymc_amortized.graph.interpreter import BatchedGraph
from pymc_amortized.graph.repeats import once, repeated
from pymc_amortized.memory import count_numbers

UNITS, BATCH = 500, 4


def table():
    return torch.rand(BATCH, 3, 5, generator=torch.Generator().manual_seed(1)).double() + 0.5


def graph_of(expression):
    theta, z = pt.matrix("theta"), pt.lvector("z")
    return BatchedGraph([theta, z], [expression(theta, z)])


EXPRESSIONS = {
    "logarithm": lambda theta, z: pt.log(theta[z]),
    "with data": lambda theta, z: pt.log(theta[z]) * np.linspace(-1, 1, UNITS)[:, None],
    "two tables": lambda theta, z: theta[z] / pt.exp(theta[z, ::-1]),
    "new axes": lambda theta, z: pt.sqrt(theta[z, 1])[:, None] + theta[z].T[None, 2, :, None],
    "all": lambda theta, z: pt.all(theta[z] > 0.6) + pt.all(theta[z] > 0.6, axis=0),
    "any": lambda theta, z: pt.any(theta[z] > 1.2) + pt.any(theta[z] > 1.2, axis=1)[:5],
    "sum": lambda theta, z: pt.log(theta[z]).sum(axis=0) + pt.exp(theta[z, 0]).sum(),
    "reshaped": lambda theta, z: pt.log(theta[z]).reshape((-1, 2)),
    "joined": lambda theta, z: pt.concatenate([pt.log(theta[z]), theta[z] + 1]),
    "indexed again": lambda theta, z: pt.log(theta[z])[::2][3],
}


@pytest.mark.parametrize("name", EXPRESSIONS)
@pytest.mark.parametrize("states", ["one", "all"])
def test_values_are_those_of_pytensor(name, states):
    """Where all units have one state, and where each has its own."""
    one = np.full(UNITS, 2)
    z = one if states == "one" else np.arange(UNITS) % 3
    [found] = graph_of(EXPRESSIONS[name])([table(), z])
    theta, index = pt.matrix(), pt.lvector()
    compiled = EXPRESSIONS[name](theta, index)
    for b in range(BATCH):
        expected = compiled.eval({theta: table()[b].numpy(), index: z})
        np.testing.assert_allclose(found[b].numpy(), expected, rtol=1e-12)


def test_gradients_are_the_same():
    """Those of one state for all units, against those of the same states one by one."""
    graph = graph_of(lambda theta, z: (pt.log(theta[z]) * np.arange(UNITS)[:, None]).sum())
    x = table().requires_grad_()
    [gradient] = torch.autograd.grad(graph([x, np.full(UNITS, 1)])[0].sum(), x)
    expected = torch.zeros_like(gradient)
    expected[:, 1] = np.arange(UNITS).sum() / x.detach()[:, 1]
    assert torch.allclose(gradient, expected)


def test_logarithms_are_taken_once():
    """Not for each of five hundred units."""
    graph = graph_of(lambda theta, z: pt.log(theta[z]).sum())
    same, different = np.full(UNITS, 1), np.arange(UNITS) % 3
    numbers = [count_numbers(lambda z=z: graph([table(), z])) for z in (same, different)]
    assert numbers[0] < 0.4 * numbers[1]


def test_nothing_is_remembered_of_what_was_computed_from_it():
    whole = repeated(torch.ones(1, 1), (1, 3))
    assert once(whole).shape == (1, 1)
    assert once(whole * torch.arange(3)).shape == (1, 3)
    same = torch.ones(2, 3)
    assert repeated(same, (2, 3)) is same
