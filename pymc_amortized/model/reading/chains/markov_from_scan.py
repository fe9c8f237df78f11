"""Reading a Markov chain that a custom distribution draws by a scan.

The states of such a chain are drawn one after the other by a ``Categorical`` (or ``Bernoulli``)
inside a ``pytensor.scan``, and its probabilities are a graph in the state before. Evaluated for
every such state, that graph *is* the transition matrix, for each step of the scan.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytensor
import pytensor.tensor as pt
import pytensor.tensor.random.basic as ptr
import torch

from pytensor.graph.basic import Apply, Variable
from pytensor.graph.traversal import ancestors
from pytensor.scan.op import Scan
from torch import Tensor

from pymc_amortized.compat import inline
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph

__all__ = ["ScanChain", "read_scan_chain"]

_NUM_VERIFICATIONS = 32


@dataclass(frozen=True, slots=True)
class ScanChain:
    """What a scan tells of a chain of first order.

    Attributes
    ----------
    num_states : int
        K.
    initial : BatchedGraph
        Log probabilities of the first state, one output for each.
    transition : BatchedGraph
        Log probabilities (T - 1, K, K).
    """

    num_states: int
    initial: BatchedGraph
    transition: BatchedGraph


def read_scan_chain(
    node: Apply, given: Sequence[Variable], values: Sequence[Tensor]
) -> ScanChain | None:
    """Read the chain that a custom distribution draws.

    Parameters
    ----------
    node : Apply
        Node of the custom distribution.
    given : sequence of Variable
        The parameters of the model.
    values : sequence of Tensor
        One draw (1, *shape) of each.

    Returns
    -------
    ScanChain or None
        None if the distribution is not of the form: a first state, and then a scan of one state.
    """
    states = inline(node.op, node.inputs)[0]
    scan = _find_only_scan(states)
    if scan is None:
        return None
    op = scan.op
    [buffer] = op.outer_sitsot(scan.inputs)
    starts = [v for v in ancestors([buffer]) if _is_state_draw(v)]
    following = op.inner_sitsot_outs(inline(op, op.inner_inputs))[0]
    if len(starts) != 1 or not _is_state_draw(following):
        return None
    if not _returns_all_states(states, starts[0], scan, given, values):
        return None
    log_start = pt.log(_probabilities(starts[0]))
    num_states = int(BatchedGraph(given, [log_start])(values)[0].shape[-1])
    matrices = _log_transition(scan, num_states)
    return ScanChain(
        num_states,
        density_graph(given, [log_start[..., k] for k in range(num_states)]),
        density_graph(given, [matrices]),
    )


def _find_only_scan(states: Variable) -> Apply | None:
    """Return the one scan behind the states, if it carries one state and nothing else."""
    scans = {
        v.owner for v in ancestors([states]) if v.owner is not None and isinstance(v.owner.op, Scan)
    }
    if len(scans) != 1:
        return None
    [scan] = scans
    info = scan.op.info
    one_state = len(info.sit_sot_in_slices) == 1
    nothing_else = not (info.mit_mot_in_slices or info.mit_sot_in_slices or info.n_nit_sot)
    return scan if one_state and nothing_else and not info.as_while else None


def _log_transition(scan: Apply, num_states: int) -> Variable:
    """Return log transition matrices (steps, K, K): the scan's step for every state before."""
    op = scan.op
    sequences = op.outer_seqs(scan.inputs)
    inner = op.inner_inputs
    state = op.inner_sitsot(inner)[0]
    given = [*op.inner_seqs(inner), *op.inner_non_seqs(inner)]

    def log_matrix(*arguments: Variable) -> Variable:
        known = dict(zip(given, arguments, strict=True))
        rows = []
        for k in range(num_states):
            known[state] = pt.constant(np.array(k, dtype=state.type.dtype))
            outputs = inline(op, [known.get(variable, variable.type()) for variable in inner])
            rows.append(_probabilities(op.inner_sitsot_outs(outputs)[0]))
        return pt.log(pt.stack(rows))

    return pytensor.scan(
        log_matrix,
        sequences=list(sequences),
        non_sequences=list(op.outer_non_seqs(scan.inputs)),
        n_steps=scan.inputs[0],
        return_updates=False,
    )


def _is_state_draw(variable: Variable) -> bool:
    return (
        variable.owner is not None
        and isinstance(variable.owner.op, ptr.CategoricalRV | ptr.BernoulliRV)
        and variable is variable.owner.outputs[1]
    )


def _probabilities(variable: Variable) -> Variable:
    """Return the probabilities (..., K) of a state that is drawn."""
    [p] = variable.owner.op.dist_params(variable.owner)
    if isinstance(variable.owner.op, ptr.BernoulliRV):
        return pt.stack([1 - p, p], axis=-1)
    return p


def _returns_all_states(
    states: Variable,
    start: Variable,
    scan: Apply,
    given: Sequence[Variable],
    values: Sequence[Tensor],
) -> bool:
    """Check on draws that the distribution returns the first state, and then those of the scan."""
    trace = scan.op.outer_sitsot_outs(scan.outputs)[0]
    repeated = [x.expand(_NUM_VERIFICATIONS, *x.shape[1:]) for x in values]
    drawn, first, rest = BatchedGraph(given, [states, start, trace])(
        repeated, batch=_NUM_VERIFICATIONS, generator=torch.Generator().manual_seed(3)
    )
    expected = torch.cat([first.reshape(first.shape[0], -1), rest[:, 1:]], dim=1)
    return drawn.shape == expected.shape and bool((drawn == expected).all())
