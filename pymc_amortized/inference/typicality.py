"""What simulated data sets say of others: where typical ones lie, and what a network covers."""

import math

from dataclasses import dataclass

import torch

from torch import Tensor

__all__ = ["LARGEST_TYPICAL", "Coverage", "SummaryReference", "fit_summary_reference"]

LARGEST_TYPICAL = 0.99
_SMALLEST_SHARE = 1e-6
_FEWEST_COVERED = 100
_LARGEST_SHARE_MISSED = 0.01
_FEWEST_PROVEN = 500
_LARGEST_SHARE_PROVEN = 0.002
_MISSED = math.log(100)


@dataclass(frozen=True, slots=True, eq=False)
class SummaryReference:
    """Where summaries of simulated data sets lie.

    Attributes
    ----------
    location : Tensor, shape (C,)
        Their mean.
    whitening : Tensor, shape (C, C)
        Maps centred summaries to uncorrelated ones of unit variance.
    distances : Tensor, shape (M,)
        Mahalanobis distances of M other simulated data sets, in increasing order.
    """

    location: Tensor
    whitening: Tensor
    distances: Tensor

    def distance(self, summaries: Tensor) -> Tensor:
        """Return Mahalanobis distances (B,) of summaries (B, C)."""
        return ((summaries.double() - self.location) @ self.whitening.T).square().sum(-1).sqrt()

    def quantile(self, summaries: Tensor) -> Tensor:
        """Return which share (B,) of simulated data sets lies as near as summaries (B, C)."""
        count = torch.searchsorted(self.distances, self.distance(summaries), right=True)
        return count / len(self.distances)


def fit_summary_reference(summaries: Tensor) -> SummaryReference:
    """Fit mean and covariance to one half of simulated summaries, and distances to the other.

    Parameters
    ----------
    summaries : Tensor, shape (M, C)
        Of simulated data sets. Directions in which they do not vary count for nothing.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(1)
    >>> reference = fit_summary_reference(torch.randn(2000, 3, generator=generator))
    >>> far = reference.quantile(torch.tensor([[0.0, 0.0, 0.0], [0.0, 9.0, 0.0]]))
    >>> bool(far[0] < 0.01), float(far[1])
    (True, 1.0)
    """
    summaries = summaries.double()
    first, second = summaries[: len(summaries) // 2], summaries[len(summaries) // 2 :]
    location = first.mean(0)
    centred = first - location
    values, vectors = torch.linalg.eigh(centred.T @ centred / max(1, len(first) - 1))
    varies = values > _SMALLEST_SHARE * values.amax().clamp(min=1e-300)
    scale = torch.where(varies, values.clamp(min=1e-300).rsqrt(), torch.zeros_like(values))
    reference = SummaryReference(location, scale[:, None] * vectors.T, location[:0])
    distances = reference.distance(second).sort().values
    return SummaryReference(location, reference.whitening, distances)


@dataclass(frozen=True, slots=True)
class Coverage:
    """Whether a network draws wherever the posteriors of simulated data sets have mass.

    The parameters that a data set was simulated from are a draw of its posterior. Where the network
    misses a mode of weight m, they lie in it with probability m, and their posterior density is far
    above the network's. So what accepted answers lack, on average over data sets like the simulated
    ones, is bounded by how often that is so.

    Attributes
    ----------
    num_accepted : int
        Simulated data sets whose importance weights are accepted.
    num_missed : int
        Those among them where the posterior density of the true parameters is more than a hundred
        times the network's.

    Examples
    --------
    >>> Coverage(250, 0).is_shown, Coverage(250, 10).is_shown, Coverage(20, 0).is_shown
    (True, False, False)
    >>> Coverage(250, 0).is_proven, Coverage(600, 1).is_proven, Coverage(600, 2).is_proven
    (False, True, False)
    """

    num_accepted: int
    num_missed: int

    @staticmethod
    def of_ratios(log_ratio: Tensor, accepted: Tensor) -> "Coverage":
        """Count log ratios (B,) of posterior and network at true parameters."""
        missed = accepted & ~(log_ratio <= _MISSED)
        return Coverage(int(accepted.sum()), int(missed.sum()))

    @property
    def is_shown(self) -> bool:
        """Whether there are at least a hundred, and at most one in a hundred is missed."""
        few = self.num_missed <= _LARGEST_SHARE_MISSED * self.num_accepted
        return self.num_accepted >= _FEWEST_COVERED and few

    @property
    def is_proven(self) -> bool:
        """Whether there are so many that the network needs no second estimate of each answer.

        At least five hundred, and at most one in five hundred is missed.
        """
        few = self.num_missed <= _LARGEST_SHARE_PROVEN * self.num_accepted
        return self.num_accepted >= _FEWEST_PROVEN and few
