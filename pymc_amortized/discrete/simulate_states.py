"""Chains without observations: states drawn, and how probable each is."""

import math

import torch

from torch import Tensor

from pymc_amortized.discrete.chain import MarkovChain, states_of_tuples

__all__ = ["follow", "simulate_states", "state_probabilities"]


def simulate_states(
    chain: MarkovChain, num_times: int, generator: torch.Generator | None = None
) -> Tensor:
    """Draw paths of any length of a chain whose transition does not change.

    Every state is followed by a draw, for all steps at once; what is left to be done step by step
    is to look up where the path leads.

    Parameters
    ----------
    chain : MarkovChain
        With one batch axis, B. Its emissions say nothing here but how many states there are.
    num_times : int
        T, at least the order of the chain.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    Tensor of int64, shape (B, T)
        States, 0 to K - 1.

    Examples
    --------
    >>> circle = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]).log()
    >>> first = torch.tensor([[1.0, 0.0, 0.0]]).log()
    >>> simulate_states(MarkovChain(first, circle, torch.zeros(1, 1, 3)), 5)
    tensor([[0, 1, 2, 0, 1]])
    """
    log_initial, log_transition, _ = chain.first_order()
    num_steps = num_times - chain.order + 1
    first, edges = log_initial.exp().cumsum(-1), log_transition[:, 0].exp().cumsum(-1)
    options = {"generator": generator, "dtype": first.dtype, "device": first.device}
    uniforms = torch.rand(num_steps, len(first), 1, **options)
    state = (uniforms[0] * first[:, -1:] >= first[:, :-1]).sum(-1, keepdim=True)
    # One uniform number for every state before, of which only one will be looked up.
    following = torch.zeros(num_steps, *edges.shape[:2], dtype=torch.int64, device=first.device)
    for edge in (edges[..., :-1] / edges[..., -1:]).unbind(-1):
        following += uniforms >= edge
    tuples = follow(state[:, 0], following[1:]).T
    return states_of_tuples(tuples, chain.num_states, chain.order)


def follow(start: Tensor, following: Tensor) -> Tensor:
    r"""Return where paths lead that know what follows every state.

    Steps are cut into some :math:`\sqrt{T}` blocks. Where each leads from each state is found for
    all of them side by side, and what remains is to go from block to block.

    Parameters
    ----------
    start : Tensor of int64, shape (B,)
        The first state of each path.
    following : Tensor of int64, shape (T, B, K)
        Which state follows each state in each step.

    Returns
    -------
    Tensor of int64, shape (T + 1, B)
        States.

    Examples
    --------
    >>> follow(torch.tensor([0]), torch.tensor([[[1, 0]], [[1, 0]], [[0, 1]]])).tolist()
    [[0], [1], [0], [0]]
    """
    num_steps, *_, num_states = following.shape
    if num_steps == 0:
        return start.unsqueeze(0)
    length = math.isqrt(num_steps)
    num_blocks = -(-num_steps // length)
    nowhere = torch.arange(num_states, device=start.device)
    rest = num_blocks * length - num_steps
    filled = torch.cat([following, nowhere.expand(rest, *following.shape[1:])])
    blocks = list(filled.unflatten(0, (num_blocks, length)).unbind(1))
    for step in range(1, length):
        blocks[step] = blocks[step].gather(-1, blocks[step - 1])
    begins = [start.unsqueeze(-1)]
    for end in blocks[-1].unbind(0):
        begins.append(end.gather(-1, begins[-1]))
    from_begin = torch.stack(begins[:-1])  # (blocks, B, 1)
    ends = torch.stack([block.gather(-1, from_begin) for block in blocks], dim=1)
    return torch.cat([start.unsqueeze(0), ends.flatten(0, 1)[:num_steps, :, 0]])


def state_probabilities(chain: MarkovChain) -> Tensor:
    """Return log p(z_t = k) without observations, (*batch, T, K).

    Parameters
    ----------
    chain : MarkovChain
        Its emissions are left out of account.

    Examples
    --------
    >>> flip = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log()
    >>> first = torch.tensor([1.0, 0.0]).log()
    >>> state_probabilities(MarkovChain(first, flip, torch.zeros(3, 2))).exp()
    tensor([[1.0000, 0.0000],
            [0.1000, 0.9000],
            [0.8200, 0.1800]])
    """
    log_initial, log_transition, _ = chain.first_order()
    batch, num_tuples = log_initial.shape[:-1], log_initial.shape[-1]
    matrix = log_transition.exp().reshape(-1, log_transition.shape[-3], num_tuples, num_tuples)
    tuples = [log_initial.exp().reshape(-1, 1, num_tuples)]
    for step in range(chain.num_times - chain.order):
        tuples.append(torch.bmm(tuples[-1], matrix[:, min(step, matrix.shape[1] - 1)]))
    probabilities = torch.cat(tuples, dim=1).reshape(*batch, -1, num_tuples)
    return chain.unfold(probabilities).log()
