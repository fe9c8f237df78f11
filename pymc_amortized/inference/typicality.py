"""How far the summary of a data set lies from those of simulated data sets."""

from dataclasses import dataclass

import torch

from torch import Tensor

__all__ = ["SummaryReference", "fit_summary_reference"]

_SMALLEST_SHARE = 1e-6


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
