"""Elementwise functions: torch for PyTensor's scalar operations."""

import math

from collections.abc import Callable
from functools import singledispatch
from typing import Any

import numpy as np
import pytensor.scalar as ps
import pytensor.scalar.basic as basic
import pytensor.scalar.math as special
import torch

from pymc.distributions.dist_math import SplineWrapper
from pytensor.graph.basic import Apply, Constant
from pytensor.graph.op import Op
from pytensor.link.pytorch.dispatch import pytorch_funcify
from torch import Tensor

from pymc_amortized.errors import UnconvertibleOpError
from pymc_amortized.graph.choice import choose
from pymc_amortized.graph.gradients import mask_gradient
from pymc_amortized.graph.interpreter import Rule, Run, as_tensor, batch_rule

__all__ = ["common_branch", "scalar_function"]

ScalarFunction = Callable[..., Tensor]


@singledispatch
def scalar_function(op: Op, node: Apply | None = None) -> ScalarFunction:
    """Return the torch function that a scalar operation applies to each element.

    Operations without an entry here use PyTensor's own torch conversion.
    """
    try:
        return pytorch_funcify(op, node=node)
    except (NotImplementedError, AttributeError, ImportError) as error:
        raise UnconvertibleOpError(str(op), "torch has no such elementwise function") from error


def _fold(function: Callable[[Tensor, Tensor], Tensor]) -> ScalarFunction:
    def folded(first: Tensor, *rest: Tensor) -> Tensor:
        for other in rest:
            first = function(first, other)
        return first

    return folded


def _log1mexp(x: Tensor) -> Tensor:
    return torch.where(
        x > -math.log(2.0),
        torch.log(-torch.expm1(x)),
        torch.log1p(-torch.exp(torch.clamp(x, max=-math.log(2.0)))),
    )


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def _switch(condition: Tensor, if_true: Tensor, if_false: Tensor) -> Tensor:
    return choose(condition.bool(), if_true, if_false)


def common_branch(condition: Any) -> int | None:
    """Return the one branch, 1 or 2, that a switch takes everywhere; None if there is not one.

    Of what depends on data alone, as whether they are in the support, this is known at once.
    """
    if isinstance(condition, Tensor):
        return None
    return 1 if condition.all() else None if condition.any() else 2


def _clip(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Clip as PyTensor does, below first: ``pm.Censored`` gives x itself for an open bound."""
    return torch.where(x < low, low, torch.where(x > high, high, x))


def _int_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


def _round_half_away(x: Tensor) -> Tensor:
    return torch.sign(x) * torch.floor(torch.abs(x) + 0.5)


def _second(shape: Tensor, value: Tensor) -> Tensor:
    """Give a value the shape of another tensor, as ``pt.zeros_like`` does."""
    return torch.broadcast_tensors(shape, value)[1]


def _erfc_inverse(x: Tensor) -> Tensor:
    return -torch.special.ndtri(x / 2) / math.sqrt(2.0)


_FUNCTIONS: dict[type, ScalarFunction] = {
    basic.Add: _fold(torch.add),
    basic.Mul: _fold(torch.mul),
    basic.Sub: torch.sub,
    basic.TrueDiv: torch.true_divide,
    basic.IntDiv: _int_div,
    basic.Mod: torch.remainder,
    basic.Neg: torch.neg,
    basic.Reciprocal: torch.reciprocal,
    basic.Abs: torch.abs,
    basic.Sign: torch.sign,
    basic.Exp: torch.exp,
    basic.Exp2: torch.exp2,
    basic.Expm1: torch.expm1,
    basic.Log: torch.log,
    basic.Log2: torch.log2,
    basic.Log10: torch.log10,
    basic.Log1p: torch.log1p,
    basic.Sqr: torch.square,
    basic.Sqrt: torch.sqrt,
    basic.Cos: torch.cos,
    basic.Sin: torch.sin,
    basic.Tan: torch.tan,
    basic.ArcCos: torch.arccos,
    basic.ArcSin: torch.arcsin,
    basic.ArcTan: torch.arctan,
    basic.ArcTan2: torch.arctan2,
    basic.Cosh: torch.cosh,
    basic.Sinh: torch.sinh,
    basic.Tanh: torch.tanh,
    basic.ArcCosh: torch.arccosh,
    basic.ArcSinh: torch.arcsinh,
    basic.ArcTanh: torch.arctanh,
    basic.Ceil: torch.ceil,
    basic.Floor: torch.floor,
    basic.Trunc: torch.trunc,
    basic.RoundHalfToEven: torch.round,
    basic.RoundHalfAwayFromZero: _round_half_away,
    basic.Maximum: _fold(torch.maximum),
    basic.Minimum: _fold(torch.minimum),
    basic.ScalarMaximum: _fold(torch.maximum),
    basic.ScalarMinimum: _fold(torch.minimum),
    basic.EQ: torch.eq,
    basic.NEQ: torch.ne,
    basic.LT: torch.lt,
    basic.LE: torch.le,
    basic.GT: torch.gt,
    basic.GE: torch.ge,
    basic.IsNan: torch.isnan,
    basic.IsInf: torch.isinf,
    basic.AND: _fold(torch.bitwise_and),
    basic.OR: _fold(torch.bitwise_or),
    basic.XOR: _fold(torch.bitwise_xor),
    basic.Invert: torch.bitwise_not,
    basic.Switch: _switch,
    basic.Clip: _clip,
    basic.Second: _second,
    basic.Identity: torch.clone,
    special.Erf: torch.erf,
    special.Erfc: torch.erfc,
    special.Erfcx: torch.special.erfcx,
    special.Erfinv: torch.erfinv,
    special.Erfcinv: _erfc_inverse,
    special.GammaLn: torch.lgamma,
    special.Psi: torch.digamma,
    special.TriGamma: lambda x: torch.polygamma(1, x),
    special.GammaInc: torch.special.gammainc,
    special.GammaIncC: torch.special.gammaincc,
    special.Log1mexp: _log1mexp,
    special.Sigmoid: torch.sigmoid,
    special.Softplus: _softplus,
    special.I0: torch.special.i0,
    special.I1: torch.special.i1,
}


_LINEAR = (
    basic.Add,
    basic.Sub,
    basic.Neg,
    basic.Identity,
    basic.Second,
    basic.Switch,
)


def _register(op_class: type, function: ScalarFunction) -> None:
    if op_class not in _LINEAR:
        function = mask_gradient(function)

    @scalar_function.register(op_class)
    def _(op: Op, node: Apply | None = None) -> ScalarFunction:
        return function


for _op_class, _function in _FUNCTIONS.items():
    _register(_op_class, _function)


@scalar_function.register(basic.Pow)
def _power(op: basic.Pow, node: Apply | None = None) -> ScalarFunction:
    """Square where the exponent is 2: as a tensor it would cost ten times as much."""
    return _square if node is not None and _is_square(node) else mask_gradient(torch.pow)


def _is_square(node: Apply) -> bool:
    base, exponent = node.inputs
    return (
        isinstance(exponent, Constant)
        and np.size(exponent.data) == 1
        and np.all(exponent.data == 2)
        and base.type.dtype == node.outputs[0].type.dtype
    )


_square = mask_gradient(lambda x, exponent: torch.square(x))


@scalar_function.register(basic.Cast)
def _cast(op: basic.Cast, node: Apply | None = None) -> ScalarFunction:
    dtype = getattr(torch, op.o_type.dtype)
    return lambda x: x.to(dtype)


@scalar_function.register(basic.Composite)
def _composite(op: basic.Composite, node: Apply | None = None) -> ScalarFunction:
    nodes = [(inner, scalar_function(inner.op, inner)) for inner in op.fgraph.toposort()]

    def composite(*arguments: Tensor) -> Tensor | tuple[Tensor, ...]:
        values = dict(zip(op.fgraph.inputs, arguments, strict=True))

        def value_of(variable: ps.ScalarVariable) -> Tensor:
            if isinstance(variable, Constant):
                return torch.as_tensor(variable.data)
            return values[variable]

        for inner, function in nodes:
            values[inner.outputs[0]] = function(*(value_of(v) for v in inner.inputs))
        outputs = tuple(value_of(variable) for variable in op.fgraph.outputs)
        return outputs if len(outputs) > 1 else outputs[0]

    return composite


@batch_rule.register(SplineWrapper)
def _spline(op: SplineWrapper, node: Apply) -> Rule:
    """Evaluate SciPy's spline, such as the density of ``pm.Interpolated``, piece by piece."""
    knots = op.spline.get_knots()
    derivatives = np.array([op.spline.derivatives(x) for x in knots[:-1]])
    pieces = derivatives / [math.factorial(j) for j in range(derivatives.shape[1])]

    def rule(run: Run, x: Tensor) -> Tensor:
        ends, table = as_tensor(knots, run.device), as_tensor(pieces, run.device)
        place = (torch.searchsorted(ends, x.detach().contiguous(), right=True) - 1).clamp(
            0, len(table) - 1
        )
        distance = x - ends[place]
        value = torch.zeros_like(distance)
        for coefficient in reversed(table.T):
            value = value * distance + coefficient[place]
        outside = (x < ends[0]) | (x > ends[-1])
        return torch.where(outside, torch.zeros_like(value), value)

    if op.spline.ext not in ("zeros", 1):
        raise UnconvertibleOpError(str(op), "a spline that is continued beyond its ends")
    return rule
