"""Densities that states choose among: all of them in one graph, with what they share."""

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt

from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.scalar.basic import Switch
from pytensor.tensor.elemwise import Elemwise

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution

__all__ = ["state_by_state"]


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
