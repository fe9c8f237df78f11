"""Densities that data choose among: as answers of yes and no do, one item after the other."""

from typing import Any

import torch

from torch import Tensor
from torch.autograd.function import once_differentiable

from pymc_amortized.graph.gradients import gradients_are_bare

__all__ = ["choose"]


def choose(condition: Tensor, if_true: Tensor, if_false: Tensor) -> Tensor:
    """Return ``torch.where(condition, if_true, if_false)``, with draws last in memory.

    Parameters
    ----------
    condition : Tensor of bool, shape (B or 1, ...)
        What is chosen, by each entry of the data.
    if_true, if_false : Tensor, shape (B or 1, ...)
        Of one type, with as many axes each.

    Notes
    -----
    Where both are the same for all units their gradients are sums over units: a matrix product,
    which goes over the data, and not over all draws for each of them.

    Examples
    --------
    >>> yes = torch.tensor([[[True, False]]])
    >>> choose(yes, torch.tensor([[[1.0, 2.0]]]), torch.tensor([[[3.0, 4.0]]]))
    tensor([[[1., 4.]]])
    """
    if not condition.ndim == if_true.ndim == if_false.ndim > 1:
        return torch.where(condition, if_true, if_false)
    differentiated = torch.is_grad_enabled() and (if_true.requires_grad or if_false.requires_grad)
    if (
        differentiated
        and gradients_are_bare()
        and len(condition) == 1
        and if_true.shape == if_false.shape
        and if_true.shape[1:].numel() < condition.numel()
    ):
        return _Choice.apply(condition, if_true, if_false)
    return _where(condition, if_true, if_false)


class _Choice(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, condition: Tensor, if_true: Tensor, if_false: Tensor) -> Tensor:
        context.save_for_backward(condition)
        context.shape = if_true.shape
        return _where(condition, if_true, if_false)

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        [condition] = context.saved_tensors
        chosen, shape = condition.to(gradient.dtype), context.shape
        whole = gradient.sum_to_size(shape)
        of_true = _sum_of_chosen(chosen, gradient, shape)
        if of_true is None:
            of_true = (gradient * chosen).sum_to_size(shape)
        return None, of_true, whole - of_true


def _where(condition: Tensor, if_true: Tensor, if_false: Tensor) -> Tensor:
    last = [x.movedim(0, -1) for x in (condition, if_true, if_false)]
    return torch.where(*last).movedim(-1, 0)


def _sum_of_chosen(chosen: Tensor, gradient: Tensor, shape: torch.Size) -> Tensor | None:
    """Return the sum of chosen gradients over axes along which a shape has length 1.

    That is a matrix product if along all others gradients repeat themselves; None if not.
    """
    axes = range(1, gradient.ndim)
    summed = [i for i in axes if shape[i] == 1]
    kept = [i for i in axes if shape[i] > 1]
    if any(gradient.stride(i) for i in kept) or len(gradient) != shape[0]:
        return None
    for i in kept:
        gradient = gradient.narrow(i, 0, 1)
    whole = [shape[i] if i in kept else gradient.shape[i] for i in axes]
    weights = chosen[0].expand(whole).permute(*(i - 1 for i in (*kept, *summed)))
    weights = weights.reshape(-1, gradient[0].numel())
    sums = weights @ gradient.movedim(0, -1).reshape(weights.shape[1], -1)
    return sums.view(*shape[1:], -1).movedim(-1, 0)
