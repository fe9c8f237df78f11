"""Batched torch rules for linear algebra, and for operations that PyTensor maps over leading axes.

torch broadcasts over leading axes, so that the function for one matrix serves a batch as well.
"""

from collections.abc import Callable

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.tensor.basic import ExtractDiag
from pytensor.tensor.blockwise import Blockwise
from pytensor.tensor.extra_ops import FillDiagonal
from pytensor.tensor.math import Dot
from torch import Tensor

from pymc_amortized.compat import op_class, positive_definite_ops
from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    batch_rule,
)

__all__: list[str] = []


@batch_rule.register(Dot)
def _dot(op: Dot, node: Apply) -> Rule:
    left, right = (variable.type.ndim for variable in node.inputs)

    def rule(run: Run, x: Value, y: Value) -> Tensor:
        x, y = run.lift(x), run.lift(y)
        dtype = torch.promote_types(x.dtype, y.dtype)
        x, y = x.to(dtype), y.to(dtype)
        x = x.unsqueeze(-2) if left == 1 else x
        y = y.unsqueeze(-1) if right == 1 else y
        product = _product(x, y)
        product = product.squeeze(-1) if right == 1 else product
        return product.squeeze(-1 if right == 1 else -2) if left == 1 else product

    return rule


def _product(x: Tensor, y: Tensor) -> Tensor:
    """Return products of matrices (S, n, p) and (S, p, k), of which either may be the same for all.

    A matrix that all have in common, such as one of covariates, is multiplied by all others at
    once: a product for each of many small ones would take several times as long.
    """
    if y.shape[0] == 1:
        return x @ y[0]
    if x.shape[0] > 1 or x.ndim != 3 or y.ndim != 3:
        return x @ y
    return (y.mT.flatten(0, 1) @ x[0].mT).unflatten(0, (len(y), y.shape[2])).mT


@batch_rule.register(Blockwise)
def _blockwise(op: Blockwise, node: Apply) -> Rule:
    if isinstance(op.core_op, op_class("SolveTriangular")):
        return _solve_columns(op.core_op)
    core = batch_rule(op.core_op, _core_node(op, node))
    batch_ndim = op.batch_ndim(node)
    core_ndims = [len(signature) for signature in op.inputs_sig]

    def rule(run: Run, *values: Value) -> Value | tuple[Value, ...]:
        tensors = [run.expand(value) for value in values]
        leading = np.broadcast_shapes(*(x.shape[1 : batch_ndim + 1] for x in tensors))
        flat = [
            x.expand(run.batch, *leading, *x.shape[x.ndim - ndim :]).flatten(0, batch_ndim)
            for x, ndim in zip(tensors, core_ndims, strict=True)
        ]
        inner = Run(flat[0].shape[0], run.device, run.generator)
        result = core(inner, *flat)
        single = isinstance(result, Tensor)
        shaped = [
            x.reshape(run.batch, *leading, *x.shape[1:]) for x in ((result,) if single else result)
        ]
        return shaped[0] if single else tuple(shaped)

    return rule


def _core_node(op: Blockwise, node: Apply) -> Apply:
    batch_ndim = op.batch_ndim(node)
    return op.core_op.make_node(
        *(
            pt.tensor(dtype=variable.type.dtype, shape=variable.type.shape[batch_ndim:])
            for variable in node.inputs
        )
    )


def _cholesky(op: Op, node: Apply) -> Rule:
    def rule(run: Run, x: Tensor) -> Tensor:
        factor, info = torch.linalg.cholesky_ex(x)
        if (failed := info != 0).any():
            if getattr(op, "on_error", "raise") == "raise" and getattr(op, "check_finite", False):
                raise np.linalg.LinAlgError("a covariance matrix is not positive definite")
            factor = torch.where(failed[..., None, None], torch.nan, factor)
        return factor if getattr(op, "lower", True) else factor.mT

    return rule


def _solve_triangular(op: Op, node: Apply) -> Rule:
    vector = op.b_ndim == 1

    def rule(run: Run, a: Value, b: Value) -> Tensor:
        a, b = run.expand(a), run.expand(b)
        right = b.unsqueeze(-1) if vector else b
        solution = torch.linalg.solve_triangular(
            a, right, upper=not op.lower, unitriangular=op.unit_diagonal
        )
        return solution.squeeze(-1) if vector else solution

    return rule


def _solve_columns(op: Op) -> Rule:
    """Solve triangular systems of a Blockwise; those of one matrix together, as columns.

    Of a matrix for each draw, and a right side for each unit of each, as many copies of the matrix
    would be made, and as many gradients of it.
    """
    vector = op.b_ndim == 1

    def rule(run: Run, a: Value, b: Value) -> Tensor:
        a, b = run.expand(a), run.expand(b)
        b = b.unsqueeze(-1) if vector else b
        alike = [i for i in range(1, a.ndim - 2) if a.shape[i] == 1 < b.shape[i]]
        last = list(range(-len(alike), 0))
        columns = b.movedim(alike, last)
        solution = torch.linalg.solve_triangular(
            a.squeeze(alike),
            columns.flatten(-len(alike) - 1),
            upper=not op.lower,
            unitriangular=op.unit_diagonal,
        )
        solution = solution.unflatten(-1, columns.shape[-len(alike) - 1 :]).movedim(last, alike)
        return solution.squeeze(-1) if vector else solution

    return rule


def _solve(op: Op, node: Apply) -> Rule:
    vector = op.b_ndim == 1

    def rule(run: Run, a: Value, b: Value) -> Tensor:
        a, b = run.expand(a), run.expand(b)
        solution = torch.linalg.solve(a, b.unsqueeze(-1) if vector else b)
        return solution.squeeze(-1) if vector else solution

    return rule


def _matrix_rule(function: Callable[[Tensor], Tensor]) -> Callable[[Op, Apply], Rule]:
    return lambda op, node: lambda run, x: function(x)


batch_rule.register(op_class("Cholesky"), _cholesky)
batch_rule.register(op_class("SolveTriangular"), _solve_triangular)
batch_rule.register(op_class("Solve"), _solve)
batch_rule.register(op_class("MatrixInverse"), _matrix_rule(torch.linalg.inv))
batch_rule.register(op_class("Det"), _matrix_rule(torch.linalg.det))
batch_rule.register(op_class("SLogDet"), _matrix_rule(torch.linalg.slogdet))
batch_rule.register(op_class("Eigh"), _matrix_rule(torch.linalg.eigh))
for positive_definite in positive_definite_ops():
    batch_rule.register(
        positive_definite, _matrix_rule(lambda x: torch.linalg.cholesky_ex(x).info == 0)
    )


@batch_rule.register(FillDiagonal)
def _fill_diagonal(op: FillDiagonal, node: Apply) -> Rule:
    def rule(run: Run, x: Value, value: Value) -> Tensor:
        x, value = run.expand(x), run.expand(value)
        length = min(x.shape[1:])
        diagonal = value.to(x.dtype).reshape(-1, 1).expand(-1, length)
        return torch.diagonal_scatter(x, diagonal, 0, 1, 2)

    return rule


@batch_rule.register(ExtractDiag)
def _extract_diagonal(op: ExtractDiag, node: Apply) -> Rule:
    ndim = node.inputs[0].type.ndim
    first, second = op.axis1 % ndim + 1, op.axis2 % ndim + 1
    return lambda run, x: torch.diagonal(x, op.offset, first, second)
