"""Densities that data choose among: against torch.where and its gradients."""

import pytest
import torch

from pymc_amortized.graph.choice import choose
from pymc_amortized.graph.gradients import bare_gradients

# Shapes of the condition, and of what is chosen among.
SHAPES = {
    "items": ((1, 30, 4), (5, 1, 4)),
    "units": ((1, 30, 1), (5, 1, 3)),
    "items of all": ((1, 30, 1, 1), (5, 1, 4, 3)),
    "covariates": ((1, 30, 4), (5, 30, 4)),
    "data sets": ((5, 30, 4), (5, 1, 4)),
    "one draw": ((1, 30, 4), (1, 1, 4)),
    "no axes": ((5,), (5,)),
}


def arguments(name):
    of_condition, shape = SHAPES[name]
    generator = torch.Generator().manual_seed(0)
    condition = torch.rand(of_condition, generator=generator) < 0.4
    numbers = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]
    return condition, *numbers


@pytest.mark.parametrize("name", SHAPES)
def test_values(name):
    torch.testing.assert_close(choose(*arguments(name)), torch.where(*arguments(name)))


@pytest.mark.parametrize("axes", [(1,), (2,), (1, 2), ()])
@pytest.mark.parametrize("name", SHAPES)
def test_gradients(name, axes):
    """Of sums over some axes, so that gradients repeat themselves, and of all entries."""
    if max(axes, default=0) >= len(SHAPES[name][0]):
        pytest.skip("has no such axis")
    found = []
    for function in (choose, torch.where):
        condition, *numbers = arguments(name)
        leaves = [x.requires_grad_() for x in numbers]
        with bare_gradients():
            table = function(condition, *leaves)
        sums = table.sum(axes) if axes else table
        generator = torch.Generator().manual_seed(1)
        weights = torch.randn(sums.shape, generator=generator, dtype=torch.float64)
        found.append(torch.autograd.grad((sums * weights).sum(), leaves))
    torch.testing.assert_close(*found)
    assert all(bool(x.abs().sum() > 0) for x in found[0])


def test_one_of_both_is_fixed():
    """A planted zero: what is not differentiated has no gradient, and the other its own."""
    condition, one, other = arguments("items")
    with bare_gradients():
        choose(condition, one.requires_grad_(), other).sum().backward()
    expected = condition.double().sum(1, keepdim=True).expand(5, 1, 4)
    torch.testing.assert_close(one.grad, expected)
    assert other.grad is None
