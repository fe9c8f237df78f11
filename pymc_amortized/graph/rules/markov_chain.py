"""The batched torch rule for ``pymc_extras.DiscreteMarkovChain``."""

from collections.abc import Iterator

import torch

from pymc_extras.distributions.timeseries import DiscreteMarkovChainRV
from pytensor.graph.basic import Apply
from torch import Tensor

from pymc_amortized.compat import has_time_varying_transitions
from pymc_amortized.discrete.simulate_states import follow
from pymc_amortized.graph.interpreter import Rule, Run, Value, batch_rule
from pymc_amortized.memory import MEMORY

__all__: list[str] = []

_FEW = 2**14


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
    """Continue chains from their initial states.

    Many at once go on one step at a time. Of few, what would follow each state is drawn for all
    steps at once, so that long chains need not be walked along.

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
    first = initial.flatten(0, -2)
    context = torch.zeros_like(first[:, 0])
    for state in first.unbind(-1):
        context = context * num_states + state
    is_few = tables.shape[0] * tables.shape[2] <= _FEW
    walk = _walk_all_states if is_few else _walk
    states = [first, *(x.T for x in walk(tables, uniforms, context))]
    return torch.cat(states, dim=-1).reshape(*chains, -1)


def _walk(tables: Tensor, uniforms: Tensor, context: Tensor) -> Iterator[Tensor]:
    """Yield the next state (1, rows) of each chain, step by step.

    ``tables`` are cumulative probabilities (rows, steps or 1, contexts, K) of each context, the
    last states as one number.
    """
    _, num_tables, num_contexts, num_states = tables.shape
    rows = torch.arange(len(context), device=context.device)
    for step, uniform in enumerate(uniforms):
        cumulative = tables[rows, min(step, num_tables - 1), context]
        state = (uniform[:, None] >= cumulative[:, :-1]).sum(-1)
        context = (context * num_states + state) % num_contexts
        yield state.unsqueeze(0)


def _walk_all_states(tables: Tensor, uniforms: Tensor, context: Tensor) -> Iterator[Tensor]:
    """Yield the same states (steps, rows), some thousands of steps at once."""
    num_rows, num_tables, num_contexts, num_states = tables.shape
    shifted = torch.arange(num_contexts, device=context.device) * num_states % num_contexts
    for steps in torch.arange(len(uniforms)).split(MEMORY.at_once(num_rows * num_contexts)):
        of_steps = tables if num_tables == 1 else tables[:, steps]
        edges = of_steps.movedim(1, 0)  # (steps or 1, rows, contexts, K)
        state = torch.zeros(len(steps), num_rows, num_contexts, dtype=torch.int64)
        state = state.to(context.device)
        for edge in edges.unbind(-1)[:-1]:
            state += uniforms[steps, :, None] >= edge
        contexts = follow(context, shifted + state)
        context = contexts[-1]
        yield contexts[1:] % num_states
