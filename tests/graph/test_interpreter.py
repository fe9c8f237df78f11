"""Batched graphs: what is drawn, what is given, and what is refused."""

import inspect

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytest
import torch

from pytensor.tensor.random.op import RandomVariable

from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.backend import BatchedGraph
from tests.graph.expressions import (
    SCALAR,
    VECTOR,
)
from tests.graph.unknown import CubeRoot

pytestmark = pytest.mark.usefixtures("interpreted")


def test_random_variables_are_drawn_once():
    x = pt.random.normal(size=3, rng=pytensor.shared(np.random.default_rng()))
    x = x[1] if isinstance(x, tuple) else x
    generator = torch.Generator().manual_seed(0)
    first, difference = BatchedGraph([], [x, x - x])([], batch=100, generator=generator)
    assert first.shape == (100, 3)
    assert float(difference.abs().max()) == 0
    assert len(first.unique()) == 300


def test_given_values_are_kept_when_another_output_of_their_node_is_needed():
    """Two draws that share a generator: the first is given, its next generator is needed."""
    rng = pytensor.shared(np.random.default_rng())
    next_rng, first = (
        pt.random.normal(rng=rng, return_next_rng=True)
        if _returns_pair()
        else (pt.random.normal(rng=rng).owner.outputs)
    )
    second = pt.random.normal(first, 1e-9, rng=next_rng)
    second = second[1] if isinstance(second, tuple) else second
    given = torch.arange(10.0, dtype=torch.float64)
    graph = BatchedGraph([first], [first, second])
    kept, drawn = graph([given], generator=torch.Generator().manual_seed(0))
    assert torch.equal(kept, given)
    assert float((drawn - given).abs().max()) < 1e-6


def _returns_pair():
    return "return_next_rng" in inspect.signature(RandomVariable.__call__).parameters


def test_no_randomness_without_a_generator():
    x = pt.random.normal(rng=pytensor.shared(np.random.default_rng()))
    with pytest.raises(UnconvertibleOpError, match="no randomness is expected"):
        BatchedGraph([], [x])([])


def test_an_operation_that_torch_lacks():
    constant = CubeRoot()(pt.constant(np.array([8.0])))
    [result] = BatchedGraph([SCALAR], [constant * SCALAR])([torch.ones(2, dtype=torch.float64)])
    assert result.tolist() == [[2.0], [2.0]]
    unknown = CubeRoot()(VECTOR)
    with pytest.raises(UnconvertibleOpError, match="CubeRoot"):
        BatchedGraph([VECTOR], [unknown])([torch.ones(2, 4, dtype=torch.float64)])
