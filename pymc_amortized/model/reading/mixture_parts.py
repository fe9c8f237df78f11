"""Weights of mixtures and of categorical variables, and the dim that counts their values."""

from collections.abc import Sequence

import pymc as pm
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr

from pymc.distributions.censored import CensoredRV
from pymc.distributions.mixture import _BaseMixtureRV
from pytensor.graph.basic import Variable
from pytensor.tensor.elemwise import DimShuffle

__all__ = ["categorical_weights", "mixture_indicator", "mixture_parts", "value_dim"]


def categorical_weights(variable: Variable) -> Variable | None:
    """Return the probabilities of a categorical variable; None of others."""
    op = variable.owner.op
    return op.dist_params(variable.owner)[0] if isinstance(op, ptr.CategoricalRV) else None


def mixture_parts(variable: Variable) -> list[Variable] | None:
    """Return the weights and the components of a mixture; None of other distributions.

    A censored mixture is a mixture of censored components.
    """
    op, inputs = variable.owner.op, variable.owner.inputs
    if isinstance(op, _BaseMixtureRV):
        return list(inputs[1:])
    inner = inputs[0].owner if isinstance(op, CensoredRV) else None
    if inner is None or not isinstance(inner.op, _BaseMixtureRV):
        return None
    _, weights, *components = inner.inputs
    bounds = inputs[1:]
    if len(components) == 1:
        bounds = [pt.shape_padright(b) if b.type.ndim else b for b in bounds]
    return [weights, *(CensoredRV.rv_op(component, *bounds) for component in components)]


def mixture_indicator(weights: Variable, units: Sequence[int], name: str) -> Variable:
    """Return the Categorical that a mixture draws and throws away.

    Its shape is that of the data, and not the mixture's own: the graph of the indicator must not
    hold the mixture, which is about to be replaced by what depends on the indicator.
    """
    indicator = pm.Categorical.dist(p=weights, shape=tuple(units))
    indicator.name = name
    return indicator


def value_dim(model: pm.Model, weights: Variable | None) -> str | None:
    """Return the name of the last axis of weights, if they are a variable of the model."""
    while weights is not None and weights.owner is not None:
        op = weights.owner.op
        if not isinstance(op, DimShuffle) or op.new_order[-1] != op.input_ndim - 1:
            break
        [weights] = weights.owner.inputs
    if weights is None or model.named_vars.get(weights.name) is not weights:
        return None
    dims = model.named_vars_to_dims.get(weights.name)
    return dims[-1] if dims else None
