"""The batched rule for random variables; the samplers themselves are in ``distributions``."""

from collections.abc import Callable, Mapping, Sequence
from functools import singledispatch

import numpy as np
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.random.op import RandomVariable
from torch import Tensor

from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    batch_rule,
    torch_dtype,
)

__all__ = ["Sampler", "align_parameters", "register_samplers", "sampler"]

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

    def rule(run: Run, rng: object, size: Value | None, *values: Value) -> tuple[None, Tensor]:
        if run.generator is None:
            raise UnconvertibleOpError(str(op), "a random draw, where no randomness is expected")
        parameters = [run.lift(value) for value in values]
        sizes, aligned = align_parameters(parameters, op.ndims_params, size)
        return None, function(run.generator, (run.batch, *sizes), *aligned).to(dtype)

    return rule


def align_parameters(
    parameters: Sequence[Tensor], ndims: Sequence[int], size: Value | None
) -> tuple[tuple[int, ...], list[Tensor]]:
    """Give parameters the axes and the precision that a sampler expects.

    Parameters
    ----------
    parameters : sequence of Tensor, shape (B or 1, *some of the size, *core)
        As the graph has them.
    ndims : sequence of int
        Number of core axes of each.
    size : array of int or None
        The size that the graph asks for; None for that of the parameters.

    Returns
    -------
    size : tuple of int
        Shape of a draw without its batch and event axes.
    aligned : list of Tensor, shape (B or 1, *size or 1s, *core)
        Literals such as 12.0, which PyTensor stores in float32, in float64.
    """
    if size is None:
        leads = [x.shape[1 : x.ndim - n] for x, n in zip(parameters, ndims, strict=True)]
        sizes = tuple(np.broadcast_shapes(*leads))
    else:
        sizes = tuple(int(number) for number in np.atleast_1d(size))
    aligned = []
    for x, core_ndim in zip(parameters, ndims, strict=True):
        missing = len(sizes) + core_ndim + 1 - x.ndim
        padded = x.reshape(x.shape[0], *(1,) * missing, *x.shape[1:]) if missing else x
        aligned.append(padded.double() if padded.dtype == torch.float32 else padded)
    return sizes, aligned


def register_samplers(table: Mapping[type, Sampler]) -> None:
    """Register samplers by the class of their distribution."""
    for op_class, draw in table.items():
        sampler.register(op_class)(lambda op, draw=draw: draw)
