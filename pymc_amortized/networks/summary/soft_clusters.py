"""The summary network of mixtures: learned soft assignments, and moments of what they assign."""

import torch

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import Perceptron
from pymc_amortized.networks.summary.deep_set import DeepSet, products_of
from pymc_amortized.networks.summary.order_statistics import OrderStatisticsNetwork
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["SoftAssignment", "SoftClusterNetwork"]

_MAX_RESIDUALS = 4
_MAX_LOG_SCALE = 6.0
_SMALLEST_VARIANCE = 1e-6


class SoftAssignment(nn.Module):
    """Assigns rows to clusters by squared distances, and takes the moments of clusters.

    Centres and scales come from a state (B, H).

    Parameters
    ----------
    num_features, num_clusters, size : int
        F, M and H.
    """

    def __init__(self, num_features: int, num_clusters: int, size: int) -> None:
        super().__init__()
        self.num_features, self.num_clusters = num_features, num_clusters
        self.num_residuals = min(num_features, _MAX_RESIDUALS)
        num_weights = (num_features + 1) * self.num_residuals * num_clusters
        self.weights = nn.Linear(size, num_weights)
        self.log_scales = nn.Linear(size, num_clusters)
        self.biases = nn.Linear(size, num_clusters)
        first, second = torch.triu_indices(num_features, num_features)
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)
        self.num_moments = 1 + num_features + len(first) + num_features

    def logits(self, state: Tensor, values: Tensor) -> Tensor:
        """Return log weights (B, M, N) of clusters, for rows (B, N, F)."""
        log_scale = _MAX_LOG_SCALE * torch.tanh(self.log_scales(state) / _MAX_LOG_SCALE)
        weights = self.weights(state).unflatten(-1, (self.num_clusters, self.num_residuals, -1))
        weights = (weights * (log_scale.exp() * 0.5**0.5)[..., None, None]).flatten(1, 2)
        # Rows are the last axis, the longest one, along which the processor works in parallel.
        residuals = torch.baddbmm(weights[..., :1], weights[..., 1:], values.mT)  # (B, M R, N)
        squares = residuals.square()
        if self.num_residuals > 1:
            squares = squares.unflatten(1, (self.num_clusters, -1)).sum(2)
        return (self.biases(state) + log_scale).unsqueeze(-1) - squares

    def moments(self, products: Tensor, share: Tensor, num_rows: Tensor) -> Tensor:
        """Return log size, mean, covariance and log variance of each cluster: (B, M, ·)."""
        size = share.sum(-1, keepdim=True)  # (B, M, 1)
        mean = share @ products / (size + 1e-3)
        centre = mean[..., : self.num_features]
        raw = mean[..., self.num_features :]
        covariance = raw - centre[..., self.first] * centre[..., self.second]
        variance = covariance[..., self.first == self.second].clamp(min=0) + _SMALLEST_VARIANCE
        fraction = size / num_rows.clamp(min=1).to(share.dtype)[:, None, None]
        return torch.cat(
            [(fraction + 1e-3).log() / 2, centre, covariance, variance.log() / 4], dim=-1
        )


class _Step(SoftAssignment):
    """One round: rows are assigned to clusters, and the state learns from their moments."""

    def __init__(self, num_features: int, num_clusters: int, size: int, width: int) -> None:
        super().__init__(num_features, num_clusters, size)
        self.learn = Perceptron(size + num_clusters * self.num_moments, size, width, 1)

    def forward(self, state: Tensor, units: Units, products: Tensor) -> Tensor:
        """Return the next state (B, H), given rows with their products (B, N, ·)."""
        share = self.logits(state, units.values).softmax(1) * units.mask.unsqueeze(1)  # (B, M, N)
        moments = self.moments(products, share, units.num_rows)
        return state + self.learn(torch.cat([state, moments.flatten(1)], dim=-1))


class SoftClusterNetwork(AbstractSummaryNetwork):
    """Rounds of learned soft clustering, after a first impression of the data set.

    What the posterior of a mixture depends on are sizes, means and variances (or regressions) of
    clusters, and to whom rows in between belong. A perceptron over all rows can hardly compute such
    averages; here each round assigns rows to clusters by squared distances whose centres and scales
    come from the state, as in an E-step, and feeds the moments of the clusters back into the state.

    Parameters
    ----------
    shape : UnitShape
        Of the units; one row per unit.
    context_size : int
        C, which is also the width of the state.
    num_clusters : int
        M. More than components, so that heavy tails and unlike shapes have room.
    num_rounds : int
        How often.
    width : int
        Of the hidden layers.

    Raises
    ------
    ValueError
        If several rows belong to one unit.
    """

    fingerprint_name = "pymc_amortized.networks.soft_clusters.SoftClusterNetwork"

    def __init__(
        self,
        shape: UnitShape,
        context_size: int = 96,
        num_clusters: int = 6,
        num_rounds: int = 2,
        width: int = 192,
    ) -> None:
        super().__init__()
        shape.require_one_row_per_unit()
        self.context_size = context_size
        if shape.num_features == 1:
            self.impression = OrderStatisticsNetwork(shape, context_size)
        else:
            self.impression = DeepSet(shape, context_size, width=32, num_hidden=1)
        self.rounds = nn.ModuleList(
            _Step(shape.num_features, num_clusters, context_size, width) for _ in range(num_rounds)
        )

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        state = self.impression(units)
        products = torch.cat([units.values, products_of(units.values)], dim=-1)
        for step in self.rounds:
            state = step(state, units, products)
        return state
