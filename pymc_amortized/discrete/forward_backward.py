"""Filtering and smoothing."""

from typing import NamedTuple

import torch

from torch import Tensor

from pymc_amortized.discrete.chain import MarkovChain
from pymc_amortized.discrete.steps import (
    TOO_SMALL,
    ForwardPass,
    backward_pass,
    finite,
    forward_pass,
    log_filter,
    log_messages,
    logsumexp,
)

__all__ = ["Filtered", "backward_messages", "filtering", "forward_filter", "smooth", "smoothing"]


class Filtered(NamedTuple):
    """What the forward filter returns.

    Attributes
    ----------
    log_filtering : Tensor, shape (*batch, T, K)
        :math:`\\log p(z_t = k \\mid y_{1:t})`.
    log_marginal : Tensor, shape (*batch,)
        :math:`\\log p(y_{1:T})` in nats.
    """

    log_filtering: Tensor
    log_marginal: Tensor


def forward_filter(chain: MarkovChain) -> Filtered:
    r"""Filter: :math:`p(z_t \mid y_{1:t})` and the marginal likelihood [1]_.

    .. math:: \alpha_t(k) \propto p(y_t \mid z_t = k) \sum_j A_{jk}\, \alpha_{t-1}(j)

    Parameters
    ----------
    chain : MarkovChain
        The chain and its emissions.

    Returns
    -------
    Filtered
        Log filtering probabilities (*batch, T, K) and log marginal likelihood (*batch,).

    Notes
    -----
    In a chain of order L the first L - 1 time points are filtered with fewer observations than
    states in a tuple; they are computed from the initial distribution alone.

    References
    ----------
    .. [1] Rabiner, L. R. (1989). Proceedings of the IEEE 77, 257-286.

    Examples
    --------
    A chain that never leaves its first state, and observations that say nothing:

    >>> log_initial = torch.log(torch.tensor([0.3, 0.7]))
    >>> stay = torch.log(torch.eye(2))
    >>> chain = MarkovChain(log_initial, stay, torch.zeros(4, 2))
    >>> forward_filter(chain).log_filtering.exp()[-1]
    tensor([0.3000, 0.7000])
    """
    forward = forward_pass(chain)
    log_filtering = filtering(chain, forward).log()
    return Filtered(log_filtering, forward.log_marginal.reshape(forward.batch))


def filtering(chain: MarkovChain, forward: ForwardPass) -> Tensor:
    """Return filtering probabilities (*batch, T, K)."""
    filtered = chain.unfold(_restore_axes(forward.filtered, forward.batch))
    if chain.order == 1:
        return filtered
    return torch.cat([*_filter_early(chain), filtered[..., chain.order - 1 :, :]], dim=-2)


def backward_messages(chain: MarkovChain) -> Tensor:
    r"""Compute the backward messages :math:`\log p(y_{t+1:T} \mid z_t)` [1]_.

    .. math:: \beta_t(j) = \sum_k A_{jk}\, p(y_{t+1} \mid z_{t+1} = k)\, \beta_{t+1}(k)

    Parameters
    ----------
    chain : MarkovChain
        The chain and its emissions.

    Returns
    -------
    Tensor, shape (*batch, T - L + 1, K ** L)
        Log messages, for the tuples of the last L states that end at each time point from the L-th
        on; for a chain of first order, shape (*batch, T, K). The last one is 0.

    References
    ----------
    .. [1] Rabiner, L. R. (1989). Proceedings of the IEEE 77, 257-286.
    """
    forward = forward_pass(chain)
    messages, log_scale = backward_pass(forward)
    return _restore_axes(messages.log() + log_scale.unsqueeze(1), forward.batch)


def smooth(chain: MarkovChain) -> Tensor:
    r"""Smooth: :math:`\log p(z_t \mid y_{1:T})`, the filter times the backward messages.

    Parameters
    ----------
    chain : MarkovChain
        The chain and its emissions.

    Returns
    -------
    Tensor, shape (*batch, T, K)
        Log smoothing probabilities; their ``logsumexp`` over states is 0.

    Notes
    -----
    The product of two *filters*, one in each direction, is not the smoothing distribution: it
    counts the prior of the state twice and leaves out the transition.

    Examples
    --------
    The second observation tells the state, and the chain never moves:

    >>> emission = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1]]))
    >>> initial, stay = torch.log(torch.tensor([0.5, 0.5])), torch.log(torch.eye(2))
    >>> chain = MarkovChain(initial, stay, emission)
    >>> smooth(chain).exp()
    tensor([[0.9000, 0.1000],
            [0.9000, 0.1000]])
    """
    return smoothing(chain, forward_pass(chain)).log()


def smoothing(chain: MarkovChain, forward: ForwardPass) -> Tensor:
    """Return smoothing probabilities (*batch, T, K)."""
    messages, _ = backward_pass(forward)
    joint = forward.filtered * messages
    total = joint.sum(1, keepdim=True)
    lost = (total.detach() < TOO_SMALL).any(0)[0]
    joint = joint / total.clamp(min=TOO_SMALL)
    if bool(lost.any()):
        index = lost.nonzero()[:, 0]
        joint = joint.index_copy(-1, index, _smooth_by_logarithms(forward.select(index)))
    return chain.unfold(_restore_axes(joint, forward.batch))


def _smooth_by_logarithms(forward: ForwardPass) -> Tensor:
    """Smooth where filter and messages have next to nothing in common, (n, M, B)."""
    log_filtered, _ = log_filter(forward.log_initial, forward.log_transition, forward.log_emission)
    joint = log_filtered + log_messages(forward)
    return (joint - finite(logsumexp(joint, 1)).unsqueeze(1)).exp()


def _filter_early(chain: MarkovChain) -> list[Tensor]:
    """Filter the first L - 1 time points, which the first tuple does not separate."""
    batch, order, states = chain.batch_shape, chain.order, chain.num_states
    emission = chain.emissions()
    joint = chain.log_initial.expand(*batch, *(states,) * order)
    early = []
    for lag in range(order - 1):
        shape = [1] * order
        shape[lag] = states
        joint = joint + emission[..., lag, :].reshape(*batch, *shape)
        others = [axis - order for axis in range(order) if axis != lag]
        early.append(logsumexp(joint, others).softmax(-1).unsqueeze(-2))
    return early


def _restore_axes(values: Tensor, batch: torch.Size) -> Tensor:
    """Bring (n, K, B) to (*batch, n, K)."""
    return values.movedim(-1, 0).reshape(*batch, *values.shape[:2])
