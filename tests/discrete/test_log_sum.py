"""The sum over components, against what torch computes in one piece."""

import math

import pytest
import torch

from pymc_amortized.discrete.log_sum import log_sum

LOWEST, HIGHEST = -torch.inf, torch.inf
OF_THREE = [
    [0.0, 1.0, 2.0],
    [-1e4, 3.0, 3.0],
    [LOWEST, -2e3, LOWEST],
    [LOWEST] * 3,
    [HIGHEST, 0.0, LOWEST],
    [torch.nan, 0.0, 0.0],
]
OF_TWO = [
    [0.0, 1.0],
    [-1e4, 3.0],
    [3.0, 3.0],
    [LOWEST, -2e3],
    [LOWEST, LOWEST],
    [HIGHEST, LOWEST],
    [HIGHEST, HIGHEST],
    [0.0, torch.nan],
]


@pytest.mark.parametrize("rows", [OF_TWO, OF_THREE, [[-3.0], [LOWEST]]], ids=len)
def test_sums_of_any_numbers(rows):
    table = torch.tensor(rows, dtype=torch.float64)
    assert torch.allclose(log_sum(table), table.logsumexp(-1), rtol=1e-14, equal_nan=True)
    # A planted fault: one component less.
    if table.shape[-1] > 1:
        assert not torch.allclose(log_sum(table[..., 1:]), table.logsumexp(-1), equal_nan=True)


@pytest.mark.parametrize("rows", [OF_TWO[:5], OF_THREE[:4]], ids=["two", "three"])
def test_gradients_are_shares(rows):
    finite = torch.tensor(rows, dtype=torch.float64).requires_grad_()
    [gradient] = torch.autograd.grad(log_sum(finite).sum(), finite)
    expected = finite.detach().softmax(-1).nan_to_num()
    assert torch.allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize("number", [2, 3, 7])
def test_tables_are_left_as_they_are(number):
    """Whatever their layout: components first in memory, or last."""
    generator = torch.Generator().manual_seed(number)
    table = 400 * torch.randn(number, 50, 4, generator=generator, dtype=torch.float64)
    for one in (table.movedim(0, -1), table.movedim(0, -1).contiguous()):
        before = one.clone()
        found = log_sum(one)
        torch.testing.assert_close(found, before.logsumexp(-1), rtol=1e-14, atol=0)
        assert torch.equal(one, before)
    assert float((log_sum(torch.zeros(3, number)) - math.log(number)).abs().max()) < 1e-6
