"""PyMC's own transforms as batched torch bijections, one parameter at a time.

A transform is itself a PyTensor graph, so it is evaluated like any other graph. Nothing is written
twice, and transforms that a user has written work as well.
"""

from collections.abc import Sequence

import torch

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.model.complete_model import Parameter

__all__ = ["Bijection", "bijections"]


class Bijection:
    """The map of one parameter to the unconstrained space and back.

    Parameters
    ----------
    parameter : Parameter
        The parameter, with its transform.
    value_variable : Variable
        PyMC's variable for the unconstrained value.
    parents : sequence of Variable
        The parameters before it, on which the transform may depend (bounds, for instance).
    """

    def __init__(
        self, parameter: Parameter, value_variable: Variable, parents: Sequence[Variable]
    ) -> None:
        self.name = parameter.name
        self.is_identity = parameter.transform is None
        if self.is_identity:
            return
        arguments = parameter.variable.owner.inputs
        transform = parameter.transform
        constrained = parameter.variable.clone()
        value = value_variable.clone()
        self._forward = BatchedGraph(
            [constrained, *parents], [transform.forward(constrained, *arguments)]
        )
        self._backward = BatchedGraph([value, *parents], [transform.backward(value, *arguments)])

    def forward(self, constrained: Tensor, parents: Sequence[Tensor]) -> Tensor:
        """Map to the unconstrained space; NaN or infinite outside of the transform's image."""
        if self.is_identity:
            return constrained
        return self._forward([constrained, *parents])[0]

    def backward(self, unconstrained: Tensor, parents: Sequence[Tensor]) -> Tensor:
        """Map from the unconstrained space."""
        if self.is_identity:
            return unconstrained
        return self._backward([unconstrained, *parents])[0]

    def in_image(self, constrained: Tensor, parents: Sequence[Tensor]) -> Tensor:
        """Tell which values (B, *shape) the transform can reach, as Booleans (B,).

        A value is in the image if the way there and back returns it.
        """
        if self.is_identity:
            return torch.ones(constrained.shape[0], dtype=torch.bool, device=constrained.device)
        there = self.forward(constrained, parents)
        back = self.backward(torch.nan_to_num(there), parents)
        close = torch.isclose(back, constrained, rtol=1e-6, atol=1e-10)
        batch = constrained.shape[0]
        return torch.isfinite(there).reshape(batch, -1).all(1) & close.reshape(batch, -1).all(1)


def bijections(
    parameters: Sequence[Parameter], value_variables: Sequence[Variable]
) -> tuple[Bijection, ...]:
    """Return the bijection of each parameter, in the order of the model."""
    variables = [parameter.variable for parameter in parameters]
    return tuple(
        Bijection(parameter, value, variables[:position])
        for position, (parameter, value) in enumerate(zip(parameters, value_variables, strict=True))
    )
