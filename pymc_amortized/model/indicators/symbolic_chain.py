"""The forward algorithm as a PyTensor graph."""

import numpy as np
import pytensor
import pytensor.tensor as pt

from pytensor.graph.basic import Variable

__all__ = ["log_marginal_of_chain"]


def log_marginal_of_chain(
    log_initial: Variable,
    log_transition: Variable,
    log_emission: Variable,
    *,
    num_states: int,
    order: int,
    time_varying: bool,
) -> Variable:
    """Return the log marginal likelihood of chains, in nats.

    Parameters
    ----------
    log_initial : Variable, shape (*chains, K, ..., K)
        Of the first L states; chains may be missing.
    log_transition : Variable, shape (*chains, [T - L,] K, ..., K)
        Of the next state (last axis) given the last L states; chains may be missing.
    log_emission : Variable, shape (*chains, T, K)
        Of each observation, 0 where it is missing.
    num_states, order : int
        K and L.
    time_varying : bool
        Whether the transition has an axis of steps.

    Returns
    -------
    Variable, shape (*chains,)
        Log densities.
    """
    tuples = np.arange(num_states**order)
    states = [tuples // num_states ** (order - 1 - lag) % num_states for lag in range(order)]
    first = sum(log_emission[..., lag, :][..., states[lag]] for lag in range(order))
    alpha = log_initial.reshape((*_leading(log_initial, order), tuples.size)) + first
    follows = tuples[:, None] % num_states ** (order - 1) == tuples[None, :] // num_states
    flat = log_transition.reshape((*_leading(log_transition, order + 1), tuples.size, num_states))
    matrix = flat if order == 1 else pt.switch(follows, flat[..., tuples % num_states], -np.inf)
    emission = pt.moveaxis(log_emission[..., order:, :][..., states[-1]], -2, 0)
    if not time_varying:
        # A step without an observation changes nothing, and a scan needs at least one.
        emission = pt.concatenate([emission, pt.zeros_like(pt.expand_dims(first, 0))], axis=0)

    def step(of_step: Variable, *rest: Variable) -> Variable:
        into, before = (rest[0], rest[1]) if time_varying else (rest[1], rest[0])
        return of_step + pt.logsumexp(pt.expand_dims(before, -1) + into, axis=-2)

    # Broadcast now, for the state of a scan keeps its shape.
    alpha = alpha + pt.zeros_like(log_emission[..., 0, :1])
    sequences = [emission, pt.moveaxis(matrix, -3, 0)] if time_varying else [emission]
    trace = pytensor.scan(
        step,
        sequences=sequences,
        outputs_info=[alpha],
        non_sequences=[] if time_varying else [matrix],
        return_updates=False,
    )
    return pt.logsumexp(pt.concatenate([pt.expand_dims(alpha, 0), trace])[-1], axis=-1)


def _leading(table: Variable, num_axes: int) -> list[Variable]:
    """Return the lengths of the axes before those of states."""
    return [table.shape[axis] for axis in range(table.ndim - num_axes)]
