"""A Markov chain of any order with its emissions, and the same chain at first order."""

from dataclasses import dataclass

import numpy as np
import torch

from torch import Tensor

__all__ = ["MarkovChain", "states_of_tuples"]


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
        return torch.Size(np.broadcast_shapes(*shapes))

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
        if order == 1:
            initial = self.log_initial.expand(*batch, states)
            return initial, self._tuple_transition(), emission
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

    def unfold(self, tuples: Tensor) -> Tensor:
        """Sum probabilities (*batch, T - L + 1, M) of tuples to those of states (*batch, T, K)."""
        if self.order == 1:
            return tuples
        states, order = self.num_states, self.order
        late = tuples.unflatten(-1, (-1, states)).sum(-2)
        first = tuples[..., 0, :].unflatten(-1, (states,) * order)
        others = [
            [axis - order for axis in range(order) if axis != lag] for lag in range(order - 1)
        ]
        early = torch.stack([first.sum(axes) for axes in others], dim=-2)
        return torch.cat([early, late], dim=-2)


def states_of_tuples(tuples: Tensor, num_states: int, order: int) -> Tensor:
    """Turn codes (..., T - L + 1) of tuples into states (..., T)."""
    if order == 1:
        return tuples
    powers = range(order - 1, 0, -1)
    first = [tuples[..., :1] // num_states**power % num_states for power in powers]
    return torch.cat([*first, tuples % num_states], dim=-1)
