"""Densities that states choose among: all of them in one graph, with what they share."""

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.scalar.basic import Switch
from pytensor.tensor.elemwise import Elemwise
from torch import Tensor

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution

__all__ = ["state_by_state", "states_as_draws"]


def state_by_state(
    graph: BatchedGraph,
    states: Sequence[Variable],
    own: Variable,
    distribution: AbstractIndicatorDistribution,
) -> BatchedGraph | None:
    """Return a graph of densities with an output for each state of all units.

    Where ``pt.switch(pt.eq(z, 0), a, b)`` chooses a density, ``a`` and ``b`` are both computed for
    each state, and one of them is thrown away. With the state known the switch is gone; and what
    ``a`` and ``b`` have in common is computed once.

    Parameters
    ----------
    graph : BatchedGraph
        Of the density, with the indicators among its inputs.
    states : sequence of Variable
        The indicators.
    own : Variable
        That of this density.
    distribution : AbstractIndicatorDistribution
        Of it.

    Returns
    -------
    BatchedGraph or None
        Of the other inputs; None where no switch asks for the state.
    """
    if not _is_asked_for(own, graph.outputs):
        return None
    known = {v: pt.zeros([n or 1 for n in v.type.shape], dtype=v.dtype) for v in states}
    outputs = []
    for state in distribution.support:
        known[own] = pt.constant(np.full(distribution.units, state, own.type.dtype))
        outputs += graph_replace(list(graph.outputs), known, strict=False)
    return density_graph([v for v in graph.inputs if v not in states], outputs)


def _is_asked_for(indicator: Variable, densities: Sequence[Variable]) -> bool:
    """Whether some switch asks for the value of an indicator, and for nothing else."""
    for variable in ancestors(densities):
        op = getattr(variable.owner, "op", None)
        if isinstance(op, Elemwise) and isinstance(op.scalar_op, Switch):
            condition = graph_inputs([variable.owner.inputs[0]])
            if [v for v in condition if not isinstance(v, Constant)] == [indicator]:
                return True
    return False


def states_as_draws(
    values: Sequence[Tensor | np.ndarray], support: Sequence[int], units: tuple[int, ...]
) -> tuple[list[Tensor | np.ndarray], Tensor, tuple[int, int]]:
    """Repeat draws once for each state, so that a graph is evaluated for all states at once.

    Parameters
    ----------
    values : sequence of Tensor or array
        Tensors have a leading axis of S draws, or 1; arrays have none, and stay as they are.
    support : sequence of int
        The K values of a state.
    units : tuple of int
        Shape of its units, all of which are in the same one.

    Returns
    -------
    values : list of Tensor or array
        With S K draws, which come last in memory.
    states : Tensor of int, shape (S K, *units)
        Of each of them.
    shape : (int, int)
        S and K.
    """
    tensors = [x for x in values if isinstance(x, Tensor)]
    size = max((len(x) for x in tensors), default=1)
    device = tensors[0].device if tensors else torch.device("cpu")

    def repeat(x: Tensor | np.ndarray) -> Tensor | np.ndarray:
        if not isinstance(x, Tensor) or len(x) < size:
            return x
        last = x.movedim(0, -1).unsqueeze(-1).expand(*x.shape[1:], size, len(support))
        return last.flatten(-2).movedim(-1, 0)

    states = torch.tensor(support, device=device).repeat(size)
    states = states.expand(*units, -1).movedim(-1, 0)
    return [repeat(x) for x in values], states, (size, len(support))
