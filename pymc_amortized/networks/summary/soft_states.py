"""The summary network of Markov chains: learned soft states, their moments and transitions."""

import torch

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import Perceptron
from pymc_amortized.networks.summary.deep_set import products_of
from pymc_amortized.networks.summary.sequences import ConvolutionalNetwork
from pymc_amortized.networks.summary.soft_clusters import SoftAssignment
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["SoftStateNetwork"]


class _Step(SoftAssignment):
    """One round: time points are assigned to states, with regard to their neighbours."""

    def __init__(
        self, shape: UnitShape, num_states: int, size: int, width: int, kernel: int
    ) -> None:
        super().__init__(shape.num_features, num_states, size)
        self.num_sequences = shape.num_sequences
        self.neighbours = nn.Conv1d(num_states, num_states, kernel, padding=kernel // 2)
        self.strength = nn.Linear(size, num_states)
        num_moments = num_states * self.num_moments + num_states**2
        self.learn = Perceptron(size + num_moments, size, width, 1)

    def forward(self, state: Tensor, units: Units, products: Tensor) -> Tensor:
        """Return the next state (B, H), given time points with their products (B, C T, ·)."""
        logits = self.logits(state, units.values)  # (B, M, C T)
        in_use = units.mask.unsqueeze(1).to(logits.dtype)
        around = self.neighbours(self._group_by_sequence(logits.softmax(1) * in_use))
        around = around.unflatten(0, (-1, self.num_sequences)).movedim(1, 2).flatten(2)
        logits = logits + self.strength(state).unsqueeze(-1) * around
        share = logits.softmax(1) * in_use
        moments = self.moments(products, share, units.num_rows)
        known = [state, moments.flatten(1), self._moves(share, units.num_rows).flatten(1)]
        return state + self.learn(torch.cat(known, dim=-1))

    def _moves(self, share: Tensor, num_rows: Tensor) -> Tensor:
        """Return the log share of time points at which one state follows the other, (B, M, M)."""
        each = self._group_by_sequence(share)
        moves = (each[..., :-1] @ each[..., 1:].mT).unflatten(0, (-1, self.num_sequences)).sum(1)
        return (moves / num_rows.clamp(min=1).to(moves.dtype)[:, None, None] + 1e-3).log() / 2

    def _group_by_sequence(self, share: Tensor) -> Tensor:
        """Bring (B, M, C T) to (B C, M, T)."""
        return share.unflatten(-1, (self.num_sequences, -1)).movedim(2, 1).flatten(0, 1)


class SoftStateNetwork(AbstractSummaryNetwork):
    """Rounds of learned soft assignment to states, after a first impression of the sequences.

    As :class:`SoftClusterNetwork`, for sequences: assignments are smoothed by those of neighbours
    in time, and the state learns from how often one follows the other besides.

    Parameters
    ----------
    shape : UnitShape
        Of sequences.
    context_size : int
        C, which is also the width of the state.
    num_states : int
        M. More than states, so that heavy tails and unlike shapes have room.
    num_rounds : int
        How often.
    width : int
        Of the hidden layers.
    kernel : int
        Neighbours in time, an odd number.

    Raises
    ------
    ValueError
        If rows are a set.
    """

    fingerprint_name = "pymc_amortized.networks.soft_states.SoftStateNetwork"

    def __init__(
        self,
        shape: UnitShape,
        context_size: int = 96,
        num_states: int = 6,
        num_rounds: int = 2,
        width: int = 192,
        kernel: int = 9,
    ) -> None:
        super().__init__()
        shape.require_sequences()
        self.context_size = context_size
        self.impression = ConvolutionalNetwork(shape, context_size, width=32)
        self.rounds = nn.ModuleList(
            _Step(shape, num_states, context_size, width, kernel) for _ in range(num_rounds)
        )

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        state = self.impression(units)
        products = torch.cat([units.values, products_of(units.values)], dim=-1)
        for step in self.rounds:
            state = step(state, units, products)
        return state
