"""Gradients that are 0 wherever nothing depends on a result, or as torch gives them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from torch import Tensor

__all__ = ["bare_gradients", "gradients_are_bare", "mask_gradient"]

Function = Callable[..., Tensor]


class _Differentiated(torch.autograd.Function):
    """An elementwise function whose gradient is 0 wherever nothing depends on its result.

    Densities select among branches: ``switch(x == 0, a, b * log(x))``. Where the first is selected
    the second receives a gradient of 0, which times its infinite derivative would be NaN. PyTensor
    rewrites such products; here they are masked.
    """

    @staticmethod
    def forward(ctx: Any, function: Function, *inputs: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(*inputs)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs = ctx.saved_tensors
        wanted = [x for x, needed in zip(inputs, ctx.needs_input_grad[1:], strict=True) if needed]
        higher_order = torch.is_grad_enabled()
        with torch.enable_grad():
            # Views, so that an input which was computed from another counts as independent of it.
            leaves = [x.view_as(x) if higher_order else x.detach().requires_grad_() for x in wanted]
            supply = iter(leaves)
            arguments = [
                next(supply) if needed else x
                for x, needed in zip(inputs, ctx.needs_input_grad[1:], strict=True)
            ]
            result = ctx.function(*arguments)
            gradients = torch.autograd.grad(
                result, leaves, gradient, create_graph=higher_order, allow_unused=True
            )
        masked = iter(None if g is None else torch.where(gradient == 0, 0.0, g) for g in gradients)
        return None, *(next(masked) if needed else None for needed in ctx.needs_input_grad[1:])


_masks: ContextVar[bool] = ContextVar("masks", default=True)


@contextmanager
def bare_gradients() -> Iterator[None]:
    """Do not mask gradients of what is computed meanwhile: half the work, and the same, or NaN."""
    before = _masks.set(False)
    try:
        yield
    finally:
        _masks.reset(before)


def gradients_are_bare() -> bool:
    """Tell whether :func:`bare_gradients` is in force."""
    return not _masks.get()


def mask_gradient(function: Function) -> Function:
    """Return an elementwise function with gradients as :class:`_Differentiated` has them."""

    def differentiable(*inputs: Tensor) -> Tensor:
        masked = not gradients_are_bare() and torch.is_grad_enabled()
        if masked and any(x.requires_grad for x in inputs):
            return _Differentiated.apply(function, *torch.broadcast_tensors(*inputs))
        return function(*inputs)

    return differentiable
