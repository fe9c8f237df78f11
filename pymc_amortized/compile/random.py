"""The batched rule for random variables; the samplers themselves are in ``distributions``."""

from collections.abc import Callable, Sequence
from functools import singledispatch

import numpy as np
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable
from torch import Tensor

from pymc_amortized.compile.graph import Rule, Run, Value, batch_rule, torch_dtype
from pymc_amortized.errors import UnconvertibleOpError

__all__ = ["Sampler", "draw", "sampler"]

Sampler = Callable[..., Tensor]
"""``sampler(generator, shape, *parameters) -> Tensor``.

``shape`` is (B, *size), without the axes of the support; each parameter is (B or 1, *size or 1s,
*its own core axes). The result is (B, *size, *support).
"""


@singledispatch
def sampler(op: Op) -> Sampler:
    """Return the function that draws from a random variable's distribution."""
    raise UnconvertibleOpError(
        getattr(op, "name", None) or str(op), "torch has no sampler for this distribution"
    )


@batch_rule.register(RandomVariable)
def _random_variable(op: RandomVariable, node: Apply) -> Rule:
    function = sampler(op)
    dtype = torch_dtype(node.outputs[1].type.dtype)

    def rule(run: Run, rng: object, size: Value | None, *parameters: Value) -> tuple[None, Tensor]:
        if run.generator is None:
            raise UnconvertibleOpError(str(op), "a random draw, where no randomness is expected")
        tensors = [run.lift(parameter) for parameter in parameters]
        sizes = None if size is None else [int(number) for number in np.atleast_1d(size)]
        return None, draw(run, op, function, sizes, tensors).to(dtype)

    return rule


def draw(
    run: Run,
    op: RandomVariable,
    function: Sampler,
    size: Sequence[int] | None,
    parameters: Sequence[Tensor],
) -> Tensor:
    """Draw a batch from a distribution, of a given size or of that of its parameters."""
    ndims = op.ndims_params
    if size is None:
        batched = [
            x.shape[1 : x.ndim - ndim] for x, ndim in zip(parameters, ndims, strict=True)
        ]
        size = torch.broadcast_shapes(*batched)
    aligned = [
        _pad_size_axes(x, len(size), ndim) for x, ndim in zip(parameters, ndims, strict=True)
    ]
    return function(run.generator, (run.batch, *size), *aligned)


def _pad_size_axes(x: Tensor, size_ndim: int, core_ndim: int) -> Tensor:
    missing = size_ndim + core_ndim + 1 - x.ndim
    return x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:]) if missing else x
