"""PyMC's own transforms as batched torch bijections.

A transform is itself a PyTensor graph, so it is evaluated like any other graph. Nothing is written
twice, and transforms that a user has written work as well.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import torch

from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from pytensor.tensor.type import TensorType
from torch import Tensor

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import conditioned_on
from pymc_amortized.model.complete_model import Parameter
from pymc_amortized.typing import NamedTensors

__all__ = ["Bijections", "apply_transform"]


class Bijections:
    """The map of all parameters to the unconstrained space, and back, each in one graph.

    Parameters
    ----------
    parameters : sequence of Parameter
        The parameters with their transforms, in the order of the model. A transform may depend on
        parameters before its own (for bounds, for instance).
    value_variables : sequence of Variable
        PyMC's variables for the unconstrained values.
    """

    def __init__(
        self, parameters: Sequence[Parameter], value_variables: Sequence[Variable]
    ) -> None:
        self.names = tuple(parameter.name for parameter in parameters)
        self._parameters = tuple(parameters)
        self._variables = [parameter.variable for parameter in parameters]
        self._values = [variable.type() for variable in value_variables]

    def forward(self, parameters: Mapping[str, Tensor]) -> NamedTensors:
        """Map parameters to the unconstrained space; NaN or infinite outside of an image."""
        return self._map(self._forward, parameters)

    def backward(self, unconstrained: Mapping[str, Tensor]) -> NamedTensors:
        """Map parameters from the unconstrained space."""
        return self._map(self._backward, unconstrained)

    def in_image(self, position: int, values: Sequence[Tensor]) -> Tensor:
        """Tell which values (B, *shape) of a parameter its transform can reach.

        A value is in the image if the way there and back returns it.

        Parameters
        ----------
        position : int
            Of the parameter.
        values : sequence of Tensor, shape (B, *shape)
            Its values, after those of the parameters before it.

        Returns
        -------
        Tensor of bool, shape (B,)
            Which.
        """
        constrained, batch = values[position], len(values[position])
        if self._parameters[position].transform is None:
            return torch.ones(batch, dtype=torch.bool, device=constrained.device)
        there, back = self._there_and_back[position]
        unconstrained = there(values[: position + 1])[0]
        again = back([*values[:position], torch.nan_to_num(unconstrained)])[0]
        close = torch.isclose(again, constrained, rtol=1e-6, atol=1e-10)
        finite = torch.isfinite(unconstrained)
        return finite.reshape(batch, -1).all(1) & close.reshape(batch, -1).all(1)

    @cached_property
    def _forward(self) -> BatchedGraph:
        return BatchedGraph(self._variables, [self._unconstrain(p) for p in self._parameters])

    @cached_property
    def _backward(self) -> BatchedGraph:
        constrained: dict[Variable, Variable] = {}
        for parameter, value in zip(self._parameters, self._values, strict=True):
            point = apply_transform(parameter, "backward", value, constrained)
            constrained[parameter.variable] = point
        return BatchedGraph(self._values, list(constrained.values()))

    @cached_property
    def _there_and_back(self) -> list[tuple[BatchedGraph, BatchedGraph]]:
        """Graphs of each parameter by itself, given those before it."""
        return [
            (
                BatchedGraph([*before, parameter.variable], [self._unconstrain(parameter)]),
                BatchedGraph(
                    [*before, value], [apply_transform(parameter, "backward", value, before)]
                ),
            )
            for before, parameter, value in zip(
                (self._variables[:i] for i in range(len(self._variables))),
                self._parameters,
                self._values,
                strict=True,
            )
        ]

    @staticmethod
    def _unconstrain(parameter: Parameter) -> Variable:
        own, arguments = parameter.variable, parameter.variable.owner.inputs
        return own if parameter.transform is None else parameter.transform.forward(own, *arguments)

    def _map(self, graph: BatchedGraph, given: Mapping[str, Tensor]) -> NamedTensors:
        if all(parameter.transform is None for parameter in self._parameters):
            return {name: given[name] for name in self.names}
        results = graph([given[name] for name in self.names])
        return dict(zip(self.names, results, strict=True))


def apply_transform(
    parameter: Parameter,
    method: Literal["backward", "log_jac_det"],
    value: Variable,
    given: Sequence[Variable] | Mapping[Variable, Variable],
) -> Variable:
    """Return what a parameter's transform makes of an unconstrained value, as a graph.

    Parameters
    ----------
    parameter : Parameter
        The parameter; the value itself is returned where it has no transform.
    method : {"backward", "log_jac_det"}
        The constrained value, or the logarithm of the Jacobian's determinant.
    value : Variable
        The unconstrained value.
    given : sequence or mapping of Variable
        The parameters before it; in a mapping, with what stands for each in the result.
    """
    if parameter.transform is None:
        return value if method == "backward" else value.zeros_like()
    inputs = parameter.variable.owner.inputs
    function = getattr(parameter.transform, method)

    def apply(*arguments: Variable) -> list[Variable]:
        # A transform wants all inputs of the random variable's node, its generator among them.
        supply = iter(arguments)
        whole = [next(supply) if isinstance(v.type, TensorType) else v for v in inputs]
        return [function(value, *whole)]

    tensors = [v for v in inputs if isinstance(v.type, TensorType)]
    [result] = conditioned_on(given, tensors, apply)
    # Of components in order, a transform refers to the parameter of the component before its own.
    if isinstance(given, Mapping):
        [result] = graph_replace([result], dict(given), strict=False)
    return result
