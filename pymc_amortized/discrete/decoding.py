"""Joint paths: draws of them, and the most probable one."""

from typing import NamedTuple

import torch

from torch import Tensor

from pymc_amortized.discrete.chain import MarkovChain, states_of_tuples
from pymc_amortized.discrete.forward_backward import filtering, smoothing
from pymc_amortized.discrete.steps import (
    TOO_SMALL,
    ForwardPass,
    forward_pass,
    log_filter,
)

__all__ = ["Decoded", "ViterbiPath", "decode", "sample_paths", "viterbi"]


class ViterbiPath(NamedTuple):
    """The most probable path.

    Attributes
    ----------
    path : Tensor of int64, shape (*batch, T)
        The states, 0 to K - 1.
    log_prob : Tensor, shape (*batch,)
        Its joint log probability with the observations, in nats.
    """

    path: Tensor
    log_prob: Tensor


class Decoded(NamedTuple):
    """All that the observations say of the states.

    Attributes
    ----------
    filtering, smoothing : Tensor, shape (*batch, T, K)
        :math:`p(z_t = k \\mid y_{1:t})` and :math:`p(z_t = k \\mid y_{1:T})`.
    paths : Tensor of int64, shape (*batch, T)
        One joint path of each chain, 0 to K - 1.
    log_marginal : Tensor, shape (*batch,)
        :math:`\\log p(y_{1:T})` in nats.
    """

    filtering: Tensor
    smoothing: Tensor
    paths: Tensor
    log_marginal: Tensor


def decode(chain: MarkovChain, generator: torch.Generator | None = None) -> Decoded:
    """Filter, smooth and draw one joint path of each chain, from a single forward pass.

    Parameters
    ----------
    chain : MarkovChain
        The chain and its emissions.
    generator : torch.Generator, optional
        Source of randomness.

    Examples
    --------
    >>> emission = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1]]))
    >>> initial, stay = torch.log(torch.tensor([0.5, 0.5])), torch.log(torch.eye(2))
    >>> decoded = decode(MarkovChain(initial, stay, emission))
    >>> decoded.filtering, decoded.smoothing, bool(decoded.paths[0] == decoded.paths[1])
    (tensor([[0.5000, 0.5000],
            [0.9000, 0.1000]]), tensor([[0.9000, 0.1000],
            [0.9000, 0.1000]]), True)
    """
    forward = forward_pass(chain)
    return Decoded(
        filtering(chain, forward),
        smoothing(chain, forward),
        _draw_paths(chain, forward, 1, generator)[0],
        forward.log_marginal.reshape(forward.batch),
    )


def sample_paths(
    chain: MarkovChain, num_paths: int, generator: torch.Generator | None = None
) -> Tensor:
    r"""Draw joint paths from :math:`p(z_{1:T} \mid y_{1:T})`.

    Forward filtering, backward sampling [1]_. Going backwards,

    .. math:: p(z_t \mid z_{t+1}, y_{1:t}) \propto p(z_t \mid y_{1:t})\, A_{z_t z_{t+1}}

    Parameters
    ----------
    chain : MarkovChain
        The chain and its emissions.
    num_paths : int
        Number of paths per chain.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    Tensor of int64, shape (num_paths, *batch, T)
        States, 0 to K - 1.

    References
    ----------
    .. [1] Scott, S. L. (2002). Journal of the American Statistical Association 97, 337-351.
    """
    return _draw_paths(chain, forward_pass(chain), num_paths, generator)


def _draw_paths(
    chain: MarkovChain, forward: ForwardPass, num_paths: int, generator: torch.Generator | None
) -> Tensor:
    filtered = forward.filtered
    shape = (len(forward), num_paths, filtered.shape[-1])
    options = {"generator": generator, "dtype": filtered.dtype, "device": filtered.device}
    uniforms = torch.rand(shape, **options)
    tuples, lost = _draw_backwards(filtered, forward.log_transition.exp(), uniforms)
    if bool(lost.any()):
        index = lost.nonzero()[:, 0]
        tuples[..., index] = _draw_backwards_by_logarithms(
            forward.select(index), uniforms[..., index]
        )
    states = states_of_tuples(tuples.movedim(0, -1), chain.num_states, chain.order)
    return states.reshape(num_paths, *forward.batch, chain.num_times)


def _draw_backwards(filtered: Tensor, matrix: Tensor, uniforms: Tensor) -> tuple[Tensor, Tensor]:
    """Draw paths (n, paths, B) from the last step on; which chains had weights too small, (B,)."""
    tuples = torch.empty(uniforms.shape, dtype=torch.int64, device=filtered.device)
    smallest = torch.ones_like(uniforms[0])
    for step in range(len(filtered) - 1, -1, -1):
        weights = filtered[step].unsqueeze(1)
        if step + 1 < len(filtered):
            weights = weights * _take_step_into(matrix, step, tuples[step + 1])
        edges = weights.cumsum(0)
        tuples[step] = (uniforms[step] * edges[-1] >= edges[:-1]).sum(0)
        smallest = torch.minimum(smallest, edges[-1])
    return tuples, (smallest < TOO_SMALL).any(0)


def _draw_backwards_by_logarithms(forward: ForwardPass, uniforms: Tensor) -> Tensor:
    log_filtered, _ = log_filter(forward.log_initial, forward.log_transition, forward.log_emission)
    tuples = torch.empty(uniforms.shape, dtype=torch.int64, device=uniforms.device)
    for step in range(len(forward) - 1, -1, -1):
        log_weights = log_filtered[step].unsqueeze(1).expand(-1, uniforms.shape[1], -1)
        if step + 1 < len(forward):
            log_weights = log_weights + _take_step_into(
                forward.log_transition, step, tuples[step + 1]
            )
        edges = log_weights.softmax(0).cumsum(0)
        tuples[step] = (uniforms[step] * edges[-1] >= edges[:-1]).sum(0)
    return tuples


def _take_step_into(matrix: Tensor, step: int, following: Tensor) -> Tensor:
    """Return the entries (M, paths, B) of a step's matrix that lead to what follows (paths, B)."""
    of_step = matrix[min(step, len(matrix) - 1)].unsqueeze(2)  # (M, M, 1, B)
    index = following.expand(of_step.shape[0], 1, *following.shape)
    return of_step.expand(-1, -1, following.shape[0], -1).gather(1, index).squeeze(1)


def viterbi(chain: MarkovChain) -> ViterbiPath:
    r"""Find the most probable path :math:`\arg\max_z p(z_{1:T}, y_{1:T})` [1]_.

    Parameters
    ----------
    chain : MarkovChain
        The chain and its emissions.

    Returns
    -------
    ViterbiPath
        The path (*batch, T) and its joint log probability (*batch,). Ties go to the lower state.

    References
    ----------
    .. [1] Viterbi, A. (1967). Error bounds for convolutional codes and an asymptotically optimum
       decoding algorithm. IEEE Transactions on Information Theory 13, 260-269.
    """
    initial, transition, emission = chain.first_order()
    score = initial + emission[..., 0, :]
    pointers = []
    for step in range(1, emission.shape[-2]):
        matrix = transition[..., min(step - 1, transition.shape[-3] - 1), :, :]
        score, pointer = (score.unsqueeze(-1) + matrix).max(dim=-2)
        pointers.append(pointer)
        score = score + emission[..., step, :]
    log_prob, current = score.max(dim=-1)
    tuples = [current]
    for pointer in reversed(pointers):
        current = pointer.gather(-1, current.unsqueeze(-1)).squeeze(-1)
        tuples.append(current)
    codes = torch.stack(tuples[::-1], dim=-1)
    return ViterbiPath(states_of_tuples(codes, chain.num_states, chain.order), log_prob)
