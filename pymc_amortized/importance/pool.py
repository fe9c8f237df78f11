"""Weighted draws of several proposals, for many data sets at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.weights import mixture_log_weights

__all__ = ["LogDensity", "Pool", "Proposal"]

LogDensity = Callable[[Tensor, Tensor], Tensor]
"""Takes points (S, b, D) and the positions (b,) of their data sets, and returns (S, b) in nats."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """S draws of P proposals for each of B data sets, weighed against all proposals together.

    Attributes
    ----------
    points : Tensor, shape (S, B, D)
        The draws.
    log_target : Tensor, shape (S, B)
        Log density to be reached, up to a constant per data set.
    log_proposals : tuple of Tensor, shape (S, B)
        Log density of each proposal at all draws.
    counts : tuple of int
        How many draws come from each proposal, in order.
    """

    points: Tensor
    log_target: Tensor
    log_proposals: tuple[Tensor, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return self.points.shape[1]

    @property
    def log_weights(self) -> Tensor:
        """Log weights (S, B) in nats, whose mean estimates the integral of the target."""
        return mixture_log_weights(self.log_target, self.log_proposals, self.counts)

    def select(self, index: Tensor) -> "Pool":
        """Return some of the data sets."""
        return Pool(
            self.points[:, index],
            self.log_target[:, index],
            tuple(log_q[:, index] for log_q in self.log_proposals),
            self.counts,
        )

    def with_more(self, other: "Pool") -> "Pool":
        """Add draws of the same proposals."""
        return Pool(
            torch.cat([self.points, other.points]),
            torch.cat([self.log_target, other.log_target]),
            tuple(torch.cat(q) for q in zip(self.log_proposals, other.log_proposals, strict=True)),
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
        )

    def with_proposal(
        self,
        points: Tensor,
        log_target: Tensor,
        log_proposals: Sequence[Tensor],
        log_prob: Callable[[Tensor], Tensor],
    ) -> "Pool":
        """Add draws of one more proposal, with the density of all proposals at all draws.

        Parameters
        ----------
        points : Tensor, shape (R, B, D)
            New draws.
        log_target : Tensor, shape (R, B)
            Their log density to be reached.
        log_proposals : sequence of Tensor, shape (R, B)
            Log density of each proposal so far, at new draws.
        log_prob : callable
            Log density of the new proposal: takes points, and returns nats.
        """
        together = torch.cat([self.points, points])
        known = zip(self.log_proposals, log_proposals, strict=True)
        return Pool(
            together,
            torch.cat([self.log_target, log_target]),
            (*(torch.cat(log_q) for log_q in known), log_prob(together)),
            (*self.counts, len(points)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A density that can be drawn from, for each data set.

    Attributes
    ----------
    sample : callable
        Takes a number S and the positions (b,) of data sets; returns points (S, b, D).
    log_prob : callable
        Log density of points, in nats.
    """

    sample: Callable[[int, Tensor], Tensor]
    log_prob: LogDensity
