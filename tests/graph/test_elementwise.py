"""Elementwise operations, against PyTensor one data set at a time."""

import contextlib

import numpy as np
import pytensor.tensor as pt
import pytest
import torch

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.gradients import bare_gradients
from tests.graph.expressions import (
    INDEX,
    MATRIX,
    SCALAR,
    VECTOR,
    check_batch,
    check_gradient,
)

pytestmark = pytest.mark.usefixtures("interpreted")

EXPRESSIONS = {
    "arithmetic": 2 * MATRIX + VECTOR[:, None] / 3 - SCALAR**2,
    "integers": INDEX // 2 + INDEX % 2 - 1 / (INDEX + 1),
    "comparison": pt.switch(MATRIX > SCALAR, MATRIX, -1),
    "and_or": pt.and_(MATRIX > 0, MATRIX < 1) | (MATRIX < -1),
    "special": pt.gammaln(pt.exp(MATRIX)) + pt.erf(MATRIX) + pt.softplus(MATRIX),
    "log1mexp": pt.log1mexp(-pt.exp(MATRIX)),
    "sigmoid": pt.sigmoid(MATRIX) + pt.log1p(MATRIX**2) + pt.expm1(SCALAR),
    "clip": pt.clip(MATRIX, -0.5, 0.5) + pt.maximum(MATRIX, SCALAR),
    "rounding": pt.floor(MATRIX) + pt.ceil(MATRIX) + pt.round(MATRIX) + pt.sgn(MATRIX),
    "trigonometry": pt.sin(MATRIX) + pt.arctan(MATRIX) + pt.tanh(MATRIX),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_batch_gives_what_pytensor_gives_one_by_one(name):
    check_batch(EXPRESSIONS[name])


@pytest.mark.parametrize("name", ["arithmetic", "log1mexp"])
def test_gradients(name):
    check_gradient(EXPRESSIONS[name])


def test_a_branch_that_is_not_taken_has_no_gradient():
    """0 times infinity: the gradient of switch(x == 0, a, b * log x) at x = 0."""
    x = pt.dscalar()
    expression = pt.switch(pt.eq(x, 0), SCALAR, SCALAR * pt.log(x))
    value = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    at = torch.tensor([0.0, 2.0], dtype=torch.float64)
    [result] = BatchedGraph([SCALAR, x], [expression])([value, at])
    result.sum().backward()
    torch.testing.assert_close(value.grad, torch.tensor([1.0, np.log(2.0)]).double())


def test_bare_gradients_are_the_same_or_not_finite():
    x = pt.dscalar()
    expression = pt.switch(pt.eq(x, 0), SCALAR, SCALAR * pt.log(x))
    graph = BatchedGraph([SCALAR, x], [expression])
    at = torch.tensor([0.0, 2.0], dtype=torch.float64)
    found = []
    for context in (contextlib.nullcontext, bare_gradients):
        points = at.clone().requires_grad_()
        with context():
            [result] = graph([torch.tensor([2.0, 3.0], dtype=torch.float64), points])
        found.append(torch.autograd.grad(result.sum(), points)[0])
    masked, bare = found
    torch.testing.assert_close(masked, torch.tensor([0.0, 1.5]).double())
    assert bool(torch.isnan(bare[0]))
    assert float(bare[1]) == 1.5
    # And masked again afterwards.
    points = at.clone().requires_grad_()
    [result] = graph([torch.tensor([2.0, 3.0], dtype=torch.float64), points])
    assert torch.equal(torch.autograd.grad(result.sum(), points)[0], masked)


def test_second_derivatives():
    graph = BatchedGraph([SCALAR], [pt.exp(SCALAR) * SCALAR])
    value = torch.tensor([0.3], dtype=torch.float64)
    hessian = torch.autograd.functional.hessian(lambda v: graph([v])[0].sum(), value)
    assert abs(float(hessian) - np.exp(0.3) * 2.3) < 1e-12
