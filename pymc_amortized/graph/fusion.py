"""Several operations of a graph as one, where that is evaluated faster."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytensor.scalar.basic as scalar
import pytensor.tensor as pt

from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.op import Op
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.elemwise import Elemwise
from torch import Tensor

from pymc_amortized.graph.interpreter import Rule, Run, Value, batch_rule
from pymc_amortized.graph.quadratic import less_half_square
from pymc_amortized.graph.repeats import once, repeated

__all__ = ["LessHalfSquare", "fuse"]


class LessHalfSquare(Op):
    r"""What the log density of a normal distribution is: :math:`o - (x - \mu)^2 / 2 \sigma^2`.

    Only for evaluation in batches: PyTensor never compiles it, nor differentiates it.
    """

    __props__ = ()

    def make_node(self, *arguments: Variable) -> Apply:
        """Return the node of x, mu, sigma and o; and of what it stands for, which has its type."""
        *inputs, like = arguments
        return Apply(self, inputs, [like.type()])

    def perform(self, node: Apply, inputs: list[np.ndarray], storage: list[list[Any]]) -> None:
        """Evaluate plain arrays."""
        x, mu, sigma, offset = inputs
        storage[0][0] = offset - ((x - mu) / sigma) ** 2 / 2


@batch_rule.register(LessHalfSquare)
def _(op: LessHalfSquare, node: Apply) -> Rule:
    def rule(run: Run, *values: Value) -> Tensor:
        tensors = [run.lift(value).double() for value in values]
        table = less_half_square(*(once(x) for x in tensors))
        return repeated(table, np.broadcast_shapes(*(x.shape for x in tensors)))

    return rule


class _Parts(NamedTuple):
    """What a normal log density is made of, and the part of the graph it goes on from."""

    x: Variable
    mu: Variable
    sigma: Variable
    offset: Variable
    before: Variable | None = None


def fuse(outputs: Sequence[Variable]) -> list[Variable]:
    """Return the same graph for evaluation, with normal log densities as one operation each.

    Whatever is added to the square, or subtracted, becomes a part of it: the logarithm of the
    standard deviation among it.
    """
    found = {v: parts for v in ancestors(outputs) if (parts := _read(v)) is not None}
    inner = {parts.before for parts in found.values()}.difference(outputs)
    outermost = {
        variable: LessHalfSquare()(*parts[:4], variable)
        for variable, parts in found.items()
        if variable not in inner
    }
    return graph_replace(list(outputs), outermost, strict=False) if outermost else list(outputs)


def _read(variable: Variable) -> _Parts | None:
    """Return the parts of a normal log density, or None where a variable is none."""
    if getattr(variable.type, "dtype", None) != "float64":
        return None
    if (inputs := _inputs(variable, scalar.Sub)) is not None:
        if (parts := _read(inputs[0])) is not None:
            return parts._replace(offset=parts.offset - inputs[1], before=inputs[0])
    elif (inputs := _inputs(variable, scalar.Add)) is not None:
        for i, summand in enumerate(inputs):
            if (parts := _read(summand)) is not None:
                offset = sum(inputs[:i] + inputs[i + 1 :], start=parts.offset)
                return parts._replace(offset=offset, before=summand)
    elif (inputs := _inputs(variable, scalar.Mul)) is not None and len(inputs) == 2:
        factor, square = inputs
        if _is_constant(factor, -0.5) and (z := _squared(square)) is not None:
            return _read_standardized(z)
    return None


def _read_standardized(z: Variable) -> _Parts | None:
    """Return the parts of (x - mu) / sigma."""
    nothing, sigma = pt.constant(np.zeros((1,) * z.type.ndim)), None
    if (inputs := _inputs(z, scalar.TrueDiv)) is not None:
        z, sigma = inputs
    elif (inputs := _inputs(z, scalar.Mul)) is not None and len(inputs) == 2:
        factor, z = inputs
        if isinstance(factor, Constant):
            sigma = pt.constant(1 / factor.data)
    else:
        sigma = pt.constant(np.ones_like(nothing.data))
    if sigma is None or (inputs := _inputs(z, scalar.Sub)) is None:
        return None
    return _Parts(*inputs, sigma, nothing)


def _squared(variable: Variable) -> Variable | None:
    """Return that of which a variable is the square."""
    if (inputs := _inputs(variable, scalar.Sqr)) is not None:
        return inputs[0]
    inputs = _inputs(variable, scalar.Pow)
    return inputs[0] if inputs is not None and _is_constant(inputs[1], 2) else None


def _inputs(variable: Variable, op: type[scalar.ScalarOp]) -> list[Variable] | None:
    """Return what an elementwise operation is applied to; None if it is another one."""
    node = variable.owner
    if node is None or not isinstance(node.op, Elemwise) or not isinstance(node.op.scalar_op, op):
        return None
    return node.inputs


def _is_constant(variable: Variable, value: float) -> bool:
    return isinstance(variable, Constant) and bool(np.all(variable.data == value))
