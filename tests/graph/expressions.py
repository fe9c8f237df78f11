"""Expressions of given variables, in a batch and one data set at a time."""

import numpy as np
import pytensor
import pytensor.tensor as pt
import torch

from pymc_amortized.compat import reference_mode
from pymc_amortized.graph.backend import BatchedGraph

BATCH = 5
RNG = np.random.default_rng(0)

MATRIX = pt.dmatrix("matrix")
VECTOR = pt.dvector("vector")
INDEX = pt.lvector("index")
SCALAR = pt.dscalar("scalar")
GIVEN = {
    MATRIX: RNG.normal(size=(BATCH, 4, 3)),
    VECTOR: RNG.normal(size=(BATCH, 4)),
    INDEX: RNG.integers(0, 3, size=(BATCH, 6)),
    SCALAR: RNG.normal(size=BATCH),
}
TABLE = RNG.normal(size=(3, 2))
SYMMETRIC = pt.dot(MATRIX.T, MATRIX) + np.eye(3)


def one_by_one(expression):
    """PyTensor's own answer for each data set."""
    inputs = list(GIVEN)
    function = pytensor.function(
        inputs, expression, on_unused_input="ignore", mode=reference_mode()
    )
    return np.stack([function(*(GIVEN[v][row] for v in inputs)) for row in range(BATCH)])


def as_tensors():
    return [torch.as_tensor(GIVEN[variable]) for variable in GIVEN]


def in_a_batch(expression):
    [result] = BatchedGraph(list(GIVEN), [expression])(as_tensors())
    return result


def check_batch(expression):
    """A batch gives what PyTensor gives one by one, of the same type."""
    result, expected = in_a_batch(expression), one_by_one(expression)
    assert result.shape == expected.shape
    assert str(result.dtype).removeprefix("torch.") == expression.type.dtype
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-12, atol=1e-13)


def check_gradient(expression):
    """Against differences of two sides."""
    graph = BatchedGraph(list(GIVEN), [expression])
    tensors = as_tensors()
    tensors[0].requires_grad_()
    [gradient] = torch.autograd.grad(graph(tensors)[0].sum(), tensors[0])
    step = 1e-6
    with torch.no_grad():
        for position in ((0, 0, 0), (3, 2, 1)):
            sides = []
            for sign in (1, -1):
                moved = [t.clone() for t in tensors]
                moved[0][position] += sign * step
                sides.append(float(graph(moved)[0].sum()))
            slope = (sides[0] - sides[1]) / (2 * step)
            assert abs(slope - float(gradient[position])) < 1e-5 * (1 + abs(slope))
