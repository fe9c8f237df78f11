"""Weighted draws of several proposals, for many data sets at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.weights import mixture_log_weights

__all__ = ["LogDensity", "Pool", "Proposal", "Target"]

LogDensity = Callable[[Tensor, Tensor], Tensor]
"""Takes points (S, b, D) and the positions (b,) of their data sets, and returns (S, b) in nats."""

Target = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Takes the same, and returns the images (S, b, E) of points besides, to be kept with them."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """S draws of P proposals for each of B data sets, weighed against all proposals together.

    Attributes
    ----------
    points : Tensor, shape (S, B, D)
        The draws.
    log_target : Tensor, shape (S, B)
        Log density to be reached, up to a constant per data set.
    images : Tensor, shape (S, B, E)
        What the draws stand for, which would take long to be found again.
    log_proposals : tuple of Tensor, shape (S, B)
        Log density of each proposal at all draws.
    counts : tuple of int
        How many draws come from each proposal, in order.
    """

    points: Tensor
    log_target: Tensor
    images: Tensor
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
            self.images[:, index],
            tuple(log_q[:, index] for log_q in self.log_proposals),
            self.counts,
        )

    def pick(self, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return points, their log densities to be reached, and images, of draws chosen (R, B)."""
        return (
            _pick(self.points, chosen),
            self.log_target.gather(0, chosen),
            _pick(self.images, chosen),
        )

    def with_more(self, other: "Pool") -> "Pool":
        """Add draws of the same proposals."""
        return Pool(
            torch.cat([self.points, other.points]),
            torch.cat([self.log_target, other.log_target]),
            torch.cat([self.images, other.images]),
            tuple(torch.cat(q) for q in zip(self.log_proposals, other.log_proposals, strict=True)),
            tuple(a + b for a, b in zip(self.counts, other.counts, strict=True)),
        )

    def with_proposal(
        self,
        points: Tensor,
        of_target: tuple[Tensor, Tensor],
        log_proposals: Sequence[Tensor],
        log_prob: Callable[[Tensor], Tensor],
    ) -> "Pool":
        """Add draws of one more proposal, with the density of all proposals at all draws.

        Parameters
        ----------
        points : Tensor, shape (R, B, D)
            New draws.
        of_target : (Tensor, Tensor)
            Their log density to be reached (R, B), and their images (R, B, E).
        log_proposals : sequence of Tensor, shape (R, B)
            Log density of each proposal so far, at new draws.
        log_prob : callable
            Log density of the new proposal: takes points, and returns nats.
        """
        together = torch.cat([self.points, points])
        log_target, images = of_target
        known = zip(self.log_proposals, log_proposals, strict=True)
        return Pool(
            together,
            torch.cat([self.log_target, log_target]),
            torch.cat([self.images, images]),
            (*(torch.cat(log_q) for log_q in known), log_prob(together)),
            (*self.counts, len(points)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Proposal:
    """A density that can be drawn from, for each data set.

    Attributes
    ----------
    sample : callable
        Takes a number S and the positions (b,) of data sets; returns points (S, b, D), and their
        log densities (S, b) in nats, which may be estimates that know how points were drawn.
    log_prob : callable
        Log density of points that others have drawn.
    """

    sample: Callable[[int, Tensor], tuple[Tensor, Tensor]]
    log_prob: LogDensity


def _pick(x: Tensor, chosen: Tensor) -> Tensor:
    return x.gather(0, chosen.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
