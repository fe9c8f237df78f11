"""The batched torch rule for ``pymc_extras.DiscreteMarkovChain``."""

import torch

from pymc_extras.distributions.timeseries import DiscreteMarkovChainRV
from pytensor.graph.basic import Apply
from torch import Tensor

from pymc_amortized.compat import has_time_varying_transitions
from pymc_amortized.graph.interpreter import (
    Rule,
    Run,
    Value,
    batch_rule,
)

__all__: list[str] = []


@batch_rule.register(DiscreteMarkovChainRV)
def _discrete_markov_chain(op: DiscreteMarkovChainRV, node: Apply) -> Rule:
    order = op.n_lags
    varying = has_time_varying_transitions(op)

    def rule(
        run: Run, transition: Value, steps: Value, initial: Value, rng: None
    ) -> tuple[None, Tensor]:
        transition, initial = run.expand(transition), run.expand(initial)
        return None, simulate_chain(transition, initial, int(steps), order, varying, run.generator)

    return rule


def simulate_chain(
    transition: Tensor,
    initial: Tensor,
    steps: int,
    order: int,
    varying: bool,
    generator: torch.Generator,
) -> Tensor:
    """Continue chains from their initial states, all of them one step at a time.

    Parameters
    ----------
    transition : Tensor, shape (B, *chains or none, [steps,] K, ..., K)
        Probabilities of the next state (last axis) given the last ``order`` states.
    initial : Tensor, shape (B, *chains, order)
        The first states.
    steps : int
        Number of states to add.
    order : int
        How many states back the transition looks.
    varying : bool
        Whether ``transition`` has an axis of steps.
    generator : torch.Generator
        Source of randomness.

    Returns
    -------
    Tensor, shape (B, *chains, order + steps)
        The states.
    """
    chains = initial.shape[:-1]
    num_states = transition.shape[-1]
    core_ndim = order + 1 + varying
    core = transition.shape[transition.ndim - core_ndim :]
    missing = len(chains) + core_ndim - transition.ndim
    spread = transition.reshape(transition.shape[0], *(1,) * missing, *transition.shape[1:])
    tables = spread.expand(*chains, *core).flatten(0, len(chains) - 1).cumsum(-1)
    tables = tables / tables[..., -1:]
    tables = tables.reshape(tables.shape[0], -1, num_states**order, num_states)
    uniforms = torch.rand(
        (steps, tables.shape[0]), generator=generator, dtype=tables.dtype, device=tables.device
    )
    states = list(initial.flatten(0, -2).unbind(-1))
    rows = torch.arange(tables.shape[0], device=tables.device)
    for step in range(steps):
        context = torch.zeros_like(rows)
        for state in states[len(states) - order :]:
            context = context * num_states + state
        cumulative = tables[rows, step if varying else 0, context]
        states.append((uniforms[step, :, None] >= cumulative[:, :-1]).sum(-1))
    return torch.stack(states, dim=-1).reshape(*chains, -1)
