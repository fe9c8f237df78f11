"""Models of ``pymc.dims``, whose variables have dims for axes: the same models with tensors."""

import copy

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from pymc.distributions import transforms
from pymc.logprob.transforms import Transform
from pymc.model.fgraph import ModelVar, fgraph_from_model, model_from_fgraph
from pytensor.compile.mode import optdb
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.fg import FunctionGraph
from pytensor.graph.rewriting.db import RewriteDatabaseQuery
from pytensor.tensor.sharedvar import TensorSharedVariable
from pytensor.tensor.type import TensorType

from pymc_amortized.errors import UnsupportedModelError

__all__ = ["without_xtensors"]


def without_xtensors(model: pm.Model) -> pm.Model:
    """Return a model whose variables are tensors: itself, unless it has been written with dims.

    Parameters
    ----------
    model : pymc.Model
        Not changed.

    Raises
    ------
    UnsupportedModelError
        If a variable has a transform that is not one of PyMC's own.
    """
    if not any(_is_xtensor(variable) for variable in model.basic_RVs):
        return model
    graph, _ = fgraph_from_model(model)
    _lower(graph)
    for variable in list(graph.variables):
        if variable.owner is None and _is_xtensor(variable):
            _replace(graph, variable, _root(variable, model))
    for node in graph.toposort():
        if isinstance(node.op, ModelVar) and _is_xtensor(node.outputs[0]):
            _replace(graph, node.outputs[0], _model_variable(node))
    _lower(graph)
    return model_from_fgraph(graph, mutate_fgraph=True)


def _is_xtensor(variable: Variable) -> bool:
    return hasattr(variable.type, "dims")


def _lower(graph: FunctionGraph) -> None:
    """Turn operations on dims into those on axes, as PyTensor does before it compiles them."""
    optdb.query(RewriteDatabaseQuery(include=["lower_xtensor"])).rewrite(graph)


def _replace(graph: FunctionGraph, variable: Variable, by: Variable) -> None:
    from pytensor.xtensor.basic import xtensor_from_tensor

    with_dims = xtensor_from_tensor(by, dims=variable.type.dims)
    graph.replace(variable, with_dims, import_missing=True)


def _root(variable: Variable, model: pm.Model) -> Variable:
    """Return data, or the value of a variable, as a tensor of the same name."""
    if isinstance(variable, Constant):
        return pt.constant(np.asarray(variable.data), name=variable.name)
    shape, dtype = variable.type.shape, variable.type.dtype
    tensor_type = TensorType(dtype=dtype, shape=shape)
    if isinstance(variable, SharedVariable):
        # Of the same storage as the user's, so that it is seen when data are changed.
        own = model.named_vars.get(variable.name, variable)
        options = {"value": None, "strict": None, "container": own.container}
        return TensorSharedVariable(type=tensor_type, name=variable.name, **options)
    return tensor_type(name=variable.name)


def _model_variable(node: Apply) -> Variable:
    """Return what PyMC marks a variable of a model with, around tensors."""
    own = copy.copy(node.op)
    if getattr(own, "transform", None) is not None:
        own.transform = _transform(own.transform, node.outputs[0])
    inputs = [_tensor(variable) if _is_xtensor(variable) else variable for variable in node.inputs]
    inputs[0].name = node.outputs[0].name
    return own.make_node(*inputs).outputs[0]


def _tensor(variable: Variable) -> Variable:
    from pytensor.xtensor.basic import XTensorFromTensor, tensor_from_xtensor

    if variable.owner is not None and isinstance(variable.owner.op, XTensorFromTensor):
        [tensor] = variable.owner.inputs
        return tensor
    return tensor_from_xtensor(variable)


def _transform(transform: Transform, variable: Variable) -> Transform:
    """Return the transform of a tensor that does the same."""
    from pymc.dims.distributions import transforms as of_dims

    dims = variable.type.dims
    if isinstance(transform, of_dims.LogTransform):
        return transforms.log
    if isinstance(transform, of_dims.LogOddsTransform):
        return transforms.logodds
    if isinstance(transform, of_dims.IntervalTransform):
        return transforms.Interval(_bound(transform.lower), _bound(transform.upper))
    if isinstance(transform, of_dims.SimplexTransform) and transform.core_dim == dims[-1]:
        return transforms.simplex
    if isinstance(transform, of_dims.ZeroSumTransform):
        return transforms.ZeroSumTransform([dims.index(dim) - len(dims) for dim in transform.dims])
    raise UnsupportedModelError(
        f"Expected {variable.name!r} to have one of PyMC's transforms; got a "
        f"{type(transform).__name__}. Write the variable without `pymc.dims`, with a transform of "
        "tensors:\n\n"
        f'    tensor = pm.Normal("{variable.name}", mean, sd, dims=dims, transform=transform)\n'
        f"    {variable.name} = pm.dims.as_xtensor(tensor, dims=dims)"
    )


def _bound(bound: Constant) -> float | None:
    value = float(np.ravel(bound.data)[0])
    return value if np.isfinite(value) else None
