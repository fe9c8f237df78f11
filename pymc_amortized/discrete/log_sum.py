"""The sum over components, of densities given by their logarithms."""

import math

from typing import Any

import torch

from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["log_sum"]

_NOTHING = -700.0


def log_sum(table: Tensor) -> Tensor:
    """Return ``table.logsumexp(-1)``, fast on a CPU where the last axis is short.

    Parameters
    ----------
    table : Tensor, shape (..., K)
        Log densities in nats; may be infinite.

    Returns
    -------
    Tensor, shape (...)
        In nats. Its gradient is finite wherever the densities are.

    Notes
    -----
    Components are added one after the other, each in one sweep over all others of its axes. Those
    below :math:`e^{-700}` of the largest count as that: their exponentials would underflow, which
    takes a processor five times as long and changes no digit. Of two components, the exponential
    of one is known.

    Examples
    --------
    >>> log_sum(torch.tensor([[0.25, 0.5], [0.0, 0.0]]).log()).exp()
    tensor([0.7500, 0.0000])
    """
    return _LogSum.apply(table) if table.requires_grad else _forward(table)


class _LogSum(torch.autograd.Function):
    """The gradient of a logarithm of a sum: the share of each summand, in four sweeps."""

    @staticmethod
    def forward(context: Any, table: Tensor) -> Tensor:
        result = _forward(table)
        context.save_for_backward(table, result)
        return result

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> Tensor:
        table, result = context.saved_tensors
        if not _is_finite(result):
            infinite = torch.isinf(result)
            result, gradient = (x.masked_fill(infinite, 0.0) for x in (result, gradient))
        # Of what counts as nothing the share is 0: densities of 0 have gradients of any size.
        share = _exp_in_place(table - result.unsqueeze(-1)).sub_(math.exp(_NOTHING))
        return share.mul_(gradient.unsqueeze(-1))


def _forward(table: Tensor) -> Tensor:
    columns = table.unbind(-1)
    if len(columns) == 2:
        return _add_two(*columns)
    largest = columns[0]
    for column in columns[1:]:
        largest = torch.maximum(largest, column)
    offset, infinite = largest, None
    if largest.device.type != "cpu" or not _is_finite(largest):
        infinite = torch.isinf(largest)
        offset = largest.masked_fill(infinite, 0.0)
    total = _exp_in_place(columns[0] - offset)
    for column in columns[1:]:
        total += _exp_in_place(column - offset)
    result = total.log_().add_(offset)
    return result if infinite is None else torch.where(infinite, largest, result)


def _add_two(one: Tensor, other: Tensor) -> Tensor:
    largest = torch.maximum(one, other)
    apart = torch.minimum(one, other).sub_(largest)
    # Equal infinities are not a number apart, and as the smaller counts for nothing, all is said.
    apart.nan_to_num_(nan=_NOTHING, neginf=_NOTHING)
    return _exp_in_place(apart).add_(1.0).log_().add_(largest)


def _is_finite(x: Tensor) -> bool:
    """Tell whether all numbers are finite, which takes less time than to look which are not."""
    if not x.numel():
        return True
    low, high = x.aminmax()
    return bool(low > -math.inf) and bool(high < math.inf)


def _exp_in_place(x: Tensor) -> Tensor:
    return x.clamp_(min=_NOTHING).exp_()
