"""Passes over time in the scaled form: probabilities, normalized at every step.

States come first and the batch last, so that a step is a few operations over long axes, however
many chains there are. Where a step's probabilities are too small for floating point numbers, the
chain is passed over again with logarithms, which are slower and never too small.
"""

from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.discrete.chain import MarkovChain

__all__ = [
    "TOO_SMALL",
    "ForwardPass",
    "backward_pass",
    "finite",
    "forward_pass",
    "log_filter",
    "log_messages",
    "logsumexp",
]

TOO_SMALL = 1e-200


@dataclass(frozen=True, slots=True, eq=False)
class ForwardPass:
    """A chain at first order, filtered.

    Letters: n steps, M states, B chains of the batch, one after the other.

    Attributes
    ----------
    log_initial : Tensor, shape (M, B)
        Of the first step.
    log_transition : Tensor, shape (n - 1 or 1, M, M, B)
        From state to state.
    log_emission : Tensor, shape (n, M, B)
        Missing ones are 0.
    filtered : Tensor, shape (n, M, B)
        p(state given everything up to this step); 0 where everything is impossible.
    log_marginal : Tensor, shape (B,)
        Of all steps, in nats.
    batch : torch.Size
        Shape of the batch.
    """

    log_initial: Tensor
    log_transition: Tensor
    log_emission: Tensor
    filtered: Tensor
    log_marginal: Tensor
    batch: torch.Size

    def __len__(self) -> int:
        return self.log_emission.shape[0]

    def select(self, index: Tensor) -> "ForwardPass":
        """Return some of the chains, as one batch."""
        return ForwardPass(
            *(x[..., index] for x in (self.log_initial, self.log_transition, self.log_emission)),
            self.filtered[..., index],
            self.log_marginal[index],
            torch.Size([len(index)]),
        )


def forward_pass(chain: MarkovChain) -> ForwardPass:
    """Filter a chain."""
    initial, transition, emission = chain.first_order()
    batch = emission.shape[:-2]
    initial = initial.movedim(-1, 0).reshape(initial.shape[-1], -1)
    transition = transition.movedim((-3, -2, -1), (0, 1, 2))
    transition = transition.reshape(*transition.shape[:3], -1)
    emission = emission.movedim((-2, -1), (0, 1))
    emission = emission.reshape(*emission.shape[:2], -1)
    filtered, log_marginal, lost = _filter_scaled(initial, transition, emission)
    if bool(lost.any()):
        index = lost.nonzero()[:, 0]
        some = (x[..., index] for x in (initial, transition, emission))
        again, log_marginal_again = log_filter(*some)
        filtered = filtered.index_copy(-1, index, again.exp())
        log_marginal = log_marginal.index_copy(0, index, log_marginal_again)
    return ForwardPass(initial, transition, emission, filtered, log_marginal, batch)


def _filter_scaled(
    log_initial: Tensor, log_transition: Tensor, log_emission: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return filtering probabilities, log marginals, and which chains need logarithms."""
    weight, peak = _scale(log_emission)
    matrix, last_matrix = log_transition.exp(), log_transition.shape[0] - 1
    predicted = log_initial.exp()
    filtered, totals = [], []
    for step, of_step in enumerate(weight.unbind(0)):
        if step:
            before = filtered[-1].unsqueeze(1)
            predicted = (before * matrix[min(step - 1, last_matrix)]).sum(0)
        joint = predicted * of_step
        total = joint.sum(0)
        filtered.append(joint / total.clamp(min=TOO_SMALL))
        totals.append(total)
    total = torch.stack(totals)
    lost = (total.detach() < TOO_SMALL).any(0)
    log_marginal = (total.clamp(min=TOO_SMALL).log() + peak).sum(0)
    return torch.stack(filtered), log_marginal, lost


def _scale(log_emission: Tensor) -> tuple[Tensor, Tensor]:
    """Return emissions (n, M, B) relative to their largest at each step, and its log (n, B)."""
    peak = finite(log_emission.detach().amax(1))
    return (log_emission - peak.unsqueeze(1)).exp(), peak


def log_filter(
    log_initial: Tensor, log_transition: Tensor, log_emission: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log filtering probabilities (n, M, B) and log marginals (B,), by logarithms."""
    predicted, last_matrix = log_initial, log_transition.shape[0] - 1
    filtered, log_marginal = [], torch.zeros_like(log_emission[0, 0])
    for step, of_step in enumerate(log_emission.unbind(0)):
        if step:
            before = filtered[-1].unsqueeze(1)
            predicted = logsumexp(before + log_transition[min(step - 1, last_matrix)], 0)
        joint = predicted + of_step
        evidence = logsumexp(joint, 0)
        log_marginal = log_marginal + evidence
        filtered.append(joint - finite(evidence))
    return torch.stack(filtered), log_marginal


def backward_pass(forward: ForwardPass) -> tuple[Tensor, Tensor]:
    """Return backward messages (n, M, B) up to a factor (n, B), whose log is the second result.

    The messages of a step add up to 1, or to 0 where what follows is impossible.
    """
    messages, log_scale, lost = _pass_scaled_messages(forward)
    if bool(lost.any()):
        index = lost.nonzero()[:, 0]
        again = log_messages(forward.select(index))
        log_scale_again = logsumexp(again, 1)
        normalized = (again - finite(log_scale_again).unsqueeze(1)).exp()
        messages = messages.index_copy(-1, index, normalized)
        log_scale = log_scale.index_copy(-1, index, log_scale_again)
    return messages, log_scale


def _pass_scaled_messages(forward: ForwardPass) -> tuple[Tensor, Tensor, Tensor]:
    weight, peak = _scale(forward.log_emission)
    matrix, last_matrix = forward.log_transition.exp(), forward.log_transition.shape[0] - 1
    last = torch.ones_like(weight[0])
    messages, totals = [last / last.sum(0)], [last.sum(0)]
    for step in range(len(forward) - 2, -1, -1):
        onward = weight[step + 1] * messages[-1]
        message = (matrix[min(step, last_matrix)] * onward.unsqueeze(0)).sum(1)
        total = message.sum(0)
        messages.append(message / total.clamp(min=TOO_SMALL))
        totals.append(total)
    total = torch.stack(totals[::-1])
    lost = (total.detach() < TOO_SMALL).any(0)
    log_step = total.clamp(min=TOO_SMALL).log()
    log_step = log_step + torch.cat([peak[1:], torch.zeros_like(peak[:1])])
    return torch.stack(messages[::-1]), log_step.flip(0).cumsum(0).flip(0), lost


def log_messages(forward: ForwardPass) -> Tensor:
    """Return log backward messages (n, M, B), by logarithms."""
    emission, last_matrix = forward.log_emission, forward.log_transition.shape[0] - 1
    messages = [torch.zeros_like(emission[0])]
    for step in range(len(forward) - 2, -1, -1):
        onward = emission[step + 1] + messages[-1]
        matrix = forward.log_transition[min(step, last_matrix)]
        messages.append(logsumexp(matrix + onward.unsqueeze(0), 1))
    return torch.stack(messages[::-1])


def logsumexp(x: Tensor, dim: int | list[int]) -> Tensor:
    """``logsumexp`` whose gradient is 0, not NaN, where every term is -inf."""
    peak = finite(x.detach().amax(dim=dim, keepdim=True))
    total = torch.exp(x - peak).sum(dim=dim)
    squeezed = peak.sum(dim=dim)
    impossible = total == 0
    return torch.where(
        impossible, -torch.inf, torch.log(torch.where(impossible, 1.0, total)) + squeezed
    )


def finite(x: Tensor) -> Tensor:
    """Return 0 in place of -inf."""
    return torch.where(torch.isneginf(x), 0.0, x)
