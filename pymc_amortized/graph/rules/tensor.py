"""Batched torch rules for PyTensor's deterministic tensor operations, indexing apart.

Every rule keeps one contract: batched values carry one leading axis, so that axis ``a`` of the
single-data-set graph is axis ``a + 1`` here.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from pytensor.compile.ops import TypeCastingOp
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.scalar.basic import EQ, GE, GT, LE, LT, NEQ, ScalarOp, Switch
from pytensor.tensor.basic import (
    Alloc,
    Join,
    MakeVector,
    ScalarFromTensor,
    Split,
    TensorFromScalar,
)
from pytensor.tensor.elemwise import CAReduce, DimShuffle, Elemwise
from pytensor.tensor.extra_ops import CumOp, Repeat
from pytensor.tensor.math import All, Any, Argmax, Max, Min, Prod, Sum
from pytensor.tensor.shape import Reshape, Shape, Shape_i, SpecifyShape
from pytensor.tensor.sort import ArgSortOp, SortOp
from pytensor.tensor.special import LogSoftmax, Softmax
from torch import Tensor

from pymc_amortized.compat import own_axis
from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    batch_rule,
    torch_dtype,
)
from pymc_amortized.graph.repeats import once, repeated
from pymc_amortized.graph.rules.elementwise import common_branch, scalar_function

__all__ = []

_COMPARISONS = (EQ, GE, GT, LE, LT, NEQ)
_SHORT = 32


# Elementwise


@batch_rule.register(Elemwise)
def _elemwise(op: Elemwise, node: Apply) -> Rule:
    return _elementwise_rule(op.scalar_op, node)


@batch_rule.register(ScalarOp)
def _scalar(op: ScalarOp, node: Apply) -> Rule:
    return _elementwise_rule(op, node)


def _elementwise_rule(scalar_op: ScalarOp, node: Apply) -> Rule:
    function = scalar_function(scalar_op, node)
    dtypes = [torch_dtype(variable.type.dtype) for variable in node.outputs]
    cast_inputs = dtypes[0].is_floating_point and not isinstance(scalar_op, _COMPARISONS)
    keep_first = isinstance(scalar_op, Switch)

    lifted: dict[int, tuple[np.ndarray, Tensor]] = {}

    def lift(run: Run, i: int, value: np.ndarray) -> Tensor:
        """Lift a value, and keep it: constants are the same at each call."""
        kept = lifted.get(i)
        if kept is None or kept[0] is not value or kept[1].device != run.device:
            kept = lifted[i] = (value, run.lift(value))
        return kept[1]

    def rule(run: Run, *values: Value) -> Value | tuple[Value, ...]:
        tensors = [x if isinstance(x, Tensor) else lift(run, i, x) for i, x in enumerate(values)]
        if cast_inputs:
            for i, x in enumerate(tensors):
                if not (x.dtype.is_floating_point or (keep_first and i == 0)):
                    tensors[i] = x.to(dtypes[0])
        if len(dtypes) > 1:
            result = function(*tensors)
            return tuple(x.to(dtype) for x, dtype in zip(result, dtypes, strict=True))
        shortest = [once(x) for x in tensors]
        if keep_first and (branch := common_branch(values[0])) is not None:
            whole = np.broadcast_shapes(*(x.shape for x in tensors))
            return repeated(shortest[branch].to(dtypes[0]), whole)
        result = function(*shortest)
        result = result if result.dtype is dtypes[0] else result.to(dtypes[0])
        if all(x is y for x, y in zip(shortest, tensors, strict=True)):
            return result
        return repeated(result, np.broadcast_shapes(*(x.shape for x in tensors)))

    return rule


# Axes and shapes


@batch_rule.register(DimShuffle)
def _dimshuffle(op: DimShuffle, node: Apply) -> Rule:
    kept = [axis + 1 for axis in op.new_order if axis != "x"]
    new = [position + 1 for position, axis in enumerate(op.new_order) if axis == "x"]
    dropped = sorted(set(range(1, node.inputs[0].type.ndim + 1)).difference(kept), reverse=True)
    order = [0, *(axis - sum(d < axis for d in dropped) for axis in kept)]

    def shuffled(x: Tensor) -> Tensor:
        for axis in dropped:
            x = x.squeeze(axis)
        x = x.permute(order)
        for axis in new:
            x = x.unsqueeze(axis)
        return x

    def rule(run: Run, x: Tensor) -> Tensor:
        whole = shuffled(x)
        return whole if once(x) is x else repeated(shuffled(once(x)), whole.shape)

    return rule


@batch_rule.register(Shape)
def _shape(op: Shape, node: Apply) -> Rule:
    return lambda run, x: np.array(x.shape[1:], dtype="int64")


@batch_rule.register(Shape_i)
def _shape_i(op: Shape_i, node: Apply) -> Rule:
    return lambda run, x: np.array(x.shape[op.i + 1], dtype="int64")


@batch_rule.register(SpecifyShape)
def _specify_shape(op: SpecifyShape, node: Apply) -> Rule:
    return lambda run, x, *shape: x


@batch_rule.register(TypeCastingOp)
@batch_rule.register(TensorFromScalar)
@batch_rule.register(ScalarFromTensor)
def _identity(op: Op, node: Apply) -> Rule:
    return lambda run, x: x


@batch_rule.register(Reshape)
def _reshape(op: Reshape, node: Apply) -> Rule:
    def rule(run: Run, x: Value, shape: Value) -> Tensor:
        lifted = run.lift(x)
        return lifted.reshape(lifted.shape[0], *_numbers(op, shape))

    return rule


@batch_rule.register(Alloc)
def _alloc(op: Alloc, node: Apply) -> Rule:
    def rule(run: Run, value: Value, *shape: Value) -> Tensor:
        sizes = [int(_require_unbatched(op, size)) for size in shape]
        lifted = run.expand(value)
        padding = (1,) * (len(sizes) - lifted.ndim + 1)
        return lifted.reshape(run.batch, *padding, *lifted.shape[1:]).expand(run.batch, *sizes)

    return rule


@batch_rule.register(MakeVector)
def _make_vector(op: MakeVector, node: Apply) -> Rule:
    dtype = torch_dtype(op.dtype)
    return lambda run, *xs: torch.stack([run.expand(x).to(dtype) for x in xs], dim=1)


@batch_rule.register(Join)
def _join(op: Join, node: Apply) -> Rule:
    ndim = node.outputs[0].type.ndim
    dtype, own = torch_dtype(node.outputs[0].type.dtype), own_axis(op)

    def rule(run: Run, *values: Value) -> Tensor:
        axis, xs = _separate_axis(own, values)
        position = int(_require_unbatched(op, axis)) % ndim + 1
        return torch.cat([run.expand(x).to(dtype) for x in xs], dim=position)

    return rule


def _separate_axis(own: int | None, values: Sequence[Value]) -> tuple[Value, Sequence[Value]]:
    """Separate the axis from the values, where an operation does not have it of its own."""
    return (values[0], values[1:]) if own is None else (own, values)


@batch_rule.register(Split)
def _split(op: Split, node: Apply) -> Rule:
    ndim, own = node.inputs[0].type.ndim, own_axis(op)

    def rule(run: Run, x: Value, *values: Value) -> tuple[Tensor, ...]:
        axis, (sizes,) = _separate_axis(own, values)
        position = int(_require_unbatched(op, axis)) % ndim + 1
        return run.lift(x).split(_numbers(op, sizes), dim=position)

    return rule


@batch_rule.register(Repeat)
def _repeat(op: Repeat, node: Apply) -> Rule:
    def rule(run: Run, x: Value, repeats: Value) -> Tensor:
        counts = torch.as_tensor(_require_unbatched(op, repeats), device=run.device)
        lifted = run.lift(x)
        if op.axis is None:
            return lifted.flatten(1).repeat_interleave(counts, dim=1)
        return lifted.repeat_interleave(counts, dim=op.axis + 1)

    return rule


def _require_unbatched(op: Op, value: Value) -> np.ndarray:
    """Sizes, axes and the like must be the same in every data set of a batch."""
    if isinstance(value, Tensor):
        raise UnconvertibleOpError(str(op), "a size or axis of it depends on a random draw")
    return value


def _numbers(op: Op, value: Value) -> list[int]:
    return [int(number) for number in np.atleast_1d(_require_unbatched(op, value))]


# Reductions


def _reduction(
    function: Callable[[Tensor, list[int]], Tensor],
) -> Callable[[CAReduce, Apply], Rule]:
    def convert(op: CAReduce, node: Apply) -> Rule:
        ndim = node.inputs[0].type.ndim
        axes = range(ndim) if op.axis is None else op.axis
        positions = sorted((axis % ndim + 1 for axis in axes), reverse=True)
        dtype = torch_dtype(node.outputs[0].type.dtype)

        def rule(run: Run, x: Tensor) -> Tensor:
            return (function(x, positions) if positions else x).to(dtype)

        return rule

    return convert


def _one_by_one(function: Callable[[Tensor, int], Tensor]) -> Callable[[Tensor, list[int]], Tensor]:
    def reduced(x: Tensor, positions: Sequence[int]) -> Tensor:
        for position in positions:
            x = function(x, position)
        return x

    return reduced


def _of_one_of_each(
    function: Callable[[Tensor, list[int]], Tensor],
) -> Callable[[Tensor, list[int]], Tensor]:
    """Reduce what repeats itself once, if all of it is reduced: repetitions change nothing."""

    def reduced(x: Tensor, positions: list[int]) -> Tensor:
        return function(once(x) if len(positions) == x.ndim - 1 else x, positions)

    return reduced


def _sum(x: Tensor, positions: list[int]) -> Tensor:
    """Add up, over a short last axis by a product with ones: twenty times as fast for a pair."""
    last = x.ndim - 1
    short = x.is_floating_point() and x.is_contiguous() and 1 < x.shape[last] <= _SHORT
    if short and last in positions:
        x = x @ x.new_ones(x.shape[last])
        positions = [position for position in positions if position != last]
    return torch.sum(x, positions) if positions else x


batch_rule.register(Sum, _reduction(_sum))
batch_rule.register(Prod, _reduction(_one_by_one(torch.prod)))
batch_rule.register(Max, _reduction(torch.amax))
batch_rule.register(Min, _reduction(torch.amin))
batch_rule.register(All, _reduction(_of_one_of_each(_one_by_one(torch.all))))
batch_rule.register(Any, _reduction(_of_one_of_each(_one_by_one(torch.any))))


@batch_rule.register(Argmax)
def _argmax(op: Argmax, node: Apply) -> Rule:
    ndim = node.inputs[0].type.ndim
    axes = tuple(range(ndim)) if op.axis is None else tuple(axis % ndim for axis in op.axis)
    kept = [axis + 1 for axis in range(ndim) if axis not in axes]

    def rule(run: Run, x: Tensor) -> Tensor:
        moved = x.permute(0, *kept, *(axis + 1 for axis in axes))
        return moved.flatten(len(kept) + 1).argmax(dim=-1)

    return rule


@batch_rule.register(CumOp)
def _cumulative(op: CumOp, node: Apply) -> Rule:
    function = torch.cumsum if op.mode == "add" else torch.cumprod
    if op.axis is None:
        return lambda run, x: function(x.flatten(1), dim=1)
    return lambda run, x: function(x, dim=op.axis % node.inputs[0].type.ndim + 1)


@batch_rule.register(Softmax)
def _softmax(op: Softmax, node: Apply) -> Rule:
    normalized = _log_softmax(op, node)
    return lambda run, x: torch.exp(normalized(run, x))


@batch_rule.register(LogSoftmax)
def _log_softmax(op: Softmax | LogSoftmax, node: Apply) -> Rule:
    ndim = node.inputs[0].type.ndim
    axes = range(ndim) if op.axis is None else np.atleast_1d(op.axis)
    positions = tuple(int(axis) % ndim + 1 for axis in axes)

    # PyTensor 3 holds these as nested graphs, which may meet arrays as well as tensors.
    def rule(run: Run, x: Value) -> Tensor:
        lifted = run.lift(x)
        return lifted - torch.logsumexp(lifted, dim=positions, keepdim=True)

    return rule


@batch_rule.register(SortOp)
def _sort(op: SortOp, node: Apply) -> Rule:
    return _sorting_rule(op, node, 0)


@batch_rule.register(ArgSortOp)
def _argsort(op: ArgSortOp, node: Apply) -> Rule:
    return _sorting_rule(op, node, 1)


def _sorting_rule(op: Op, node: Apply, output: int) -> Rule:
    ndim, own = node.inputs[0].type.ndim, own_axis(op)

    def rule(run: Run, x: Value, *values: Value) -> Tensor:
        axis, _ = _separate_axis(own, values)
        position = int(_require_unbatched(op, axis)) % ndim + 1
        return torch.sort(run.lift(x), dim=position, stable=True)[output]

    return rule


# Control flow and nested graphs
