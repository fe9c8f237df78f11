r"""Exact inference for discrete Markov chains: filtering, smoothing, joint paths, Viterbi.

Every function takes log probabilities with any batch axes, and loops over time alone. Letters in
shapes: T time points, K states, L the order of the chain (how many states back it looks).

A chain of order L is given by

- ``log_initial`` (\*batch, K, ..., K), L axes of states: :math:`\log p(z_1, \dots, z_L)`;
- ``log_transition`` (\*batch, K, ..., K), L + 1 axes of states:
  :math:`\log p(z_t \mid z_{t-L}, \dots, z_{t-1})`, the next state last; or
  (\*batch, T - L, K, ..., K) where it varies over time;
- ``log_emission`` (\*batch, T, K): :math:`\log p(y_t \mid z_t)`.

A time point is missing where ``mask`` is False. A sequence that is shorter than the others of its
batch is padded with missing points at its end.

References
----------
.. [1] Rabiner, L. R. (1989). A tutorial on hidden Markov models and selected applications in
   speech recognition. Proceedings of the IEEE 77, 257-286.
.. [2] Scott, S. L. (2002). Bayesian methods for hidden Markov models: recursive computing in the
   21st century. Journal of the American Statistical Association 97, 337-351.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from torch import Tensor

__all__ = [
    "Filtered",
    "MarkovChain",
    "ViterbiPath",
    "backward_messages",
    "forward_filter",
    "sample_paths",
    "smooth",
    "viterbi",
]


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


@dataclass(frozen=True, slots=True)
class MarkovChain:
    """A chain and its emissions, brought to first order.

    A chain of order L over K states is one of first order over the ``K ** L`` tuples of the last L
    states. Its first time point is the first tuple, and stands for the first L states.

    Parameters
    ----------
    log_initial, log_transition, log_emission : Tensor
        As in the module's description.
    order : int
        L, at least 1.
    mask : Tensor of bool, shape (*batch, T), optional
        False where the observation is missing.
    time_varying : bool
        Whether ``log_transition`` has an axis of T - L time points before the axes of states.

    Raises
    ------
    ValueError
        If shapes do not fit, or the chain is shorter than its order.
    """

    log_initial: Tensor
    log_transition: Tensor
    log_emission: Tensor
    order: int = 1
    mask: Tensor | None = None
    time_varying: bool = False

    def __post_init__(self) -> None:
        states = self.num_states
        if self.order < 1:
            raise ValueError(f"Expected an order of at least 1; got {self.order}.")
        if self.num_times < self.order:
            raise ValueError(
                f"Expected at least {self.order} time points, the order of the chain; got "
                f"{self.num_times}."
            )
        for name, tensor, count in (
            ("log_initial", self.log_initial, self.order),
            ("log_transition", self.log_transition, self.order + 1),
        ):
            if tensor.ndim < count or tensor.shape[tensor.ndim - count :] != (states,) * count:
                raise ValueError(
                    f"Expected {name} to end in {count} axes of {states} states, as in "
                    f"log_emission; got shape {tuple(tensor.shape)}."
                )
        if self.time_varying:
            times = self.log_transition.shape[: -self.order - 1][-1:]
            if tuple(times) != (self.num_times - self.order,):
                raise ValueError(
                    "Expected one transition for each of the "
                    f"{self.num_times - self.order} steps of the chain; got {tuple(times)}."
                )

    @property
    def num_states(self) -> int:
        """K."""
        return self.log_emission.shape[-1]

    @property
    def num_times(self) -> int:
        """T."""
        return self.log_emission.shape[-2]

    @property
    def batch_shape(self) -> torch.Size:
        """Shape of the batch axes of all inputs together."""
        initial = self.log_initial.shape[: self.log_initial.ndim - self.order]
        transition = self.log_transition.shape[: self.log_transition.ndim - self.order - 1]
        if self.time_varying:
            transition = transition[:-1]
        shapes = [initial, transition, self.log_emission.shape[:-2]]
        if self.mask is not None:
            shapes.append(self.mask.shape[:-1])
        return torch.broadcast_shapes(*shapes)

    def emissions(self) -> Tensor:
        """Return log emissions (*batch, T, K) with missing points set to 0."""
        emission = self.log_emission
        if self.mask is not None:
            emission = torch.where(self.mask.unsqueeze(-1), emission, torch.zeros_like(emission))
        return emission.expand(*self.batch_shape, *emission.shape[-2:])

    def first_order(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return log initial, transition and emission probabilities of the chain of tuples.

        Returns
        -------
        log_initial : Tensor, shape (*batch, M)
            Over the M = K ** L tuples.
        log_transition : Tensor, shape (*batch, 1 or T - L, M, M)
            From tuple to tuple.
        log_emission : Tensor, shape (*batch, T - L + 1, M)
            The first entry emits the first L observations.
        """
        batch, order, states = self.batch_shape, self.order, self.num_states
        tuples = states**order
        emission = self.emissions()
        initial = self.log_initial.expand(*batch, *(states,) * order).reshape(*batch, tuples)
        first = initial.new_zeros(*batch, *(states,) * order)
        for lag in range(order):
            shape = [1] * order
            shape[lag] = states
            first = first + emission[..., lag, :].reshape(*batch, *shape)
        rest = emission[..., order:, :].unsqueeze(-2)
        rest = rest.expand(*rest.shape[:-2], tuples // states, states).flatten(-2)
        emissions = torch.cat([first.reshape(*batch, 1, tuples), rest], dim=-2)
        return initial, self._tuple_transition(), emissions

    def _tuple_transition(self) -> Tensor:
        batch, order, states = self.batch_shape, self.order, self.num_states
        transition = self.log_transition
        if not self.time_varying:
            transition = transition.unsqueeze(-order - 2)
        times = transition.shape[-order - 2]
        transition = transition.expand(*batch, times, *(states,) * (order + 1))
        if order == 1:
            return transition
        tuples = states**order
        index = torch.arange(tuples, device=transition.device)
        follows = index[:, None] % states ** (order - 1) == index[None, :] // states
        flat = transition.reshape(*batch, times, tuples, states)
        spread = flat[..., index % states]  # (*batch, times, tuples, tuples)
        return torch.where(follows, spread, -torch.inf)

    def last_state(self, log_tuples: Tensor) -> Tensor:
        """Sum probabilities (..., M) of tuples to those of their last state (..., K)."""
        states = self.num_states
        shaped = log_tuples.reshape(*log_tuples.shape[:-1], -1, states)
        return _logsumexp(shaped, -2)

    def unfold(self, log_first: Tensor) -> list[Tensor]:
        """Return the marginals (*batch, K) of the first L states from those of the first tuple."""
        states, order = self.num_states, self.order
        shaped = log_first.reshape(*log_first.shape[:-1], *(states,) * order)
        marginals = []
        for lag in range(order):
            others = [axis - order for axis in range(order) if axis != lag]
            marginals.append(_logsumexp(shaped, others) if others else shaped)
        return marginals


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
    log_tuples, log_marginal = _filter_tuples(chain)
    early = _early_filtering(chain)
    late = chain.last_state(log_tuples)
    return Filtered(torch.cat([*early, late], dim=-2), log_marginal)


def _filter_tuples(chain: MarkovChain) -> tuple[Tensor, Tensor]:
    initial, transition, emission = chain.first_order()
    predicted = initial
    filtered = []
    log_marginal = emission.new_zeros(emission.shape[:-2])
    num_steps = emission.shape[-2]
    for step in range(num_steps):
        joint = predicted + emission[..., step, :]
        evidence = _logsumexp(joint, -1)
        log_marginal = log_marginal + evidence
        filtered.append(joint - _finite(evidence).unsqueeze(-1))
        if step + 1 < num_steps:
            matrix = transition[..., min(step, transition.shape[-3] - 1), :, :]
            predicted = _logsumexp(filtered[-1].unsqueeze(-1) + matrix, -2)
    return torch.stack(filtered, dim=-2), log_marginal


def _early_filtering(chain: MarkovChain) -> list[Tensor]:
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
        marginal = _logsumexp(joint, others)
        early.append((marginal - _logsumexp(marginal, -1).unsqueeze(-1)).unsqueeze(-2))
    return early


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
    _, transition, emission = chain.first_order()
    messages = [torch.zeros_like(emission[..., 0, :])]
    for step in range(emission.shape[-2] - 2, -1, -1):
        matrix = transition[..., min(step, transition.shape[-3] - 1), :, :]
        onward = emission[..., step + 1, :] + messages[-1]
        messages.append(_logsumexp(matrix + onward.unsqueeze(-2), -1))
    return torch.stack(messages[::-1], dim=-2)


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
    log_filtering, _ = _filter_tuples(chain)
    joint = log_filtering + backward_messages(chain)
    joint = joint - _finite(_logsumexp(joint, -1)).unsqueeze(-1)
    early = [m.unsqueeze(-2) for m in chain.unfold(joint[..., 0, :])[:-1]]
    return torch.cat([*early, chain.last_state(joint)], dim=-2)


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
    log_filtering, _ = _filter_tuples(chain)
    _, transition, _ = chain.first_order()
    num_steps = log_filtering.shape[-2]
    shape = (num_paths, *log_filtering.shape[:-2], log_filtering.shape[-1])
    current = _draw(log_filtering[..., -1, :].expand(shape), generator)
    tuples = [current]
    for step in range(num_steps - 2, -1, -1):
        matrix = transition[..., min(step, transition.shape[-3] - 1), :, :]
        into = matrix.expand(num_paths, *matrix.shape).gather(
            -1,
            current[..., None, None].expand(*current.shape, matrix.shape[-2], 1),
        )
        current = _draw(log_filtering[..., step, :] + into.squeeze(-1), generator)
        tuples.append(current)
    return _states_of(chain, torch.stack(tuples[::-1], dim=-1))


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
    return ViterbiPath(_states_of(chain, torch.stack(tuples[::-1], dim=-1)), log_prob)


def _states_of(chain: MarkovChain, tuples: Tensor) -> Tensor:
    """Turn tuples (..., T - L + 1) into states (..., T)."""
    states, order = chain.num_states, chain.order
    first = [tuples[..., :1] // states**power % states for power in range(order - 1, 0, -1)]
    return torch.cat([*first, tuples % states], dim=-1)


def _draw(log_weights: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw an index along the last axis, with probabilities given by their logs."""
    cumulative = torch.softmax(log_weights, -1).cumsum(-1)
    u = torch.rand(
        log_weights.shape[:-1],
        generator=generator,
        dtype=log_weights.dtype,
        device=log_weights.device,
    )
    below = u.unsqueeze(-1) * cumulative[..., -1:] >= cumulative
    return below[..., :-1].sum(-1)


def _logsumexp(x: Tensor, dim: int | list[int]) -> Tensor:
    """``logsumexp`` whose gradient is 0, not NaN, where every term is -inf."""
    peak = x.detach().amax(dim=dim, keepdim=True)
    peak = _finite(peak)
    total = torch.exp(x - peak).sum(dim=dim)
    squeezed = peak.sum(dim=dim)
    impossible = total == 0
    return torch.where(
        impossible, -torch.inf, torch.log(torch.where(impossible, 1.0, total)) + squeezed
    )


def _finite(x: Tensor) -> Tensor:
    return torch.where(torch.isneginf(x), 0.0, x)
