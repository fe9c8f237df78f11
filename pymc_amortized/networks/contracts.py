"""What the estimator expects of a network: three contracts, and the data that they are given."""

import math

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch

from torch import Tensor, nn

__all__ = [
    "AbstractClassificationNetwork",
    "AbstractFlow",
    "AbstractPosteriorNetwork",
    "AbstractSummaryNetwork",
    "UnitShape",
    "Units",
    "log_standard_normal",
]


@dataclass(frozen=True, slots=True)
class UnitShape:
    """What is known of units before any data are seen.

    Attributes
    ----------
    num_features : int
        F, the features of a row.
    min_rows, max_rows : int
        The sizes N to be expected, padding apart.
    num_indicators : int
        Indicators per row: 1, or J where an indicator has further axes.
    num_components : int
        K, or 0 where the rows have no indicator.
    owner : tuple of int, or None
        Where several rows belong to one unit: the unit of each row, -1 where it belongs to none.
    num_units : int
        How many units there are, if ``owner`` is given.
    num_sequences : int
        C, where rows are time points of C sequences, one sequence after the other; 0 where rows are
        a set. The last feature of a time point then tells whether anything was observed there.
    """

    fingerprint_name = "pymc_amortized.networks.contracts.UnitShape"

    num_features: int
    min_rows: int
    max_rows: int
    num_indicators: int = 1
    num_components: int = 0
    owner: tuple[int, ...] | None = None
    num_units: int = 0
    num_sequences: int = 0

    def require_one_row_per_unit(self) -> None:
        """Refuse units that share rows, for networks that do not pool them.

        Raises
        ------
        ValueError
            If several rows belong to one unit.
        """
        if self.owner is not None:
            raise ValueError(
                "Expected one row per unit; got units with several rows each. Use a DeepSet:\n\n"
                "    networks=pma.Networks(summary=pma.DeepSet)"
            )

    def require_sequences(self) -> None:
        """Refuse rows that are a set, for networks that look at their order.

        Raises
        ------
        ValueError
            If rows are not time points.
        """
        if not self.num_sequences:
            raise ValueError(
                "Expected time points of sequences; got rows of a set. Use a network for sets:\n\n"
                "    networks=pma.Networks(summary=pma.SetTransformer)"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """B data sets of up to N rows.

    Attributes
    ----------
    values : Tensor, shape (B, N, F)
        Features, finite in padded rows too.
    mask : Tensor of bool, shape (B, N)
        False in padded rows, whose values never matter.
    """

    fingerprint_name = "pymc_amortized.networks.contracts.Units"

    values: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def num_rows(self) -> Tensor:
        """Rows that are not padding, (B,)."""
        return self.mask.sum(-1)

    def to(self, device: torch.device | str) -> "Units":
        """Return these units on a device."""
        return replace(self, values=self.values.to(device), mask=self.mask.to(device))

    def select(self, index: Tensor | slice) -> "Units":
        """Return some of the data sets."""
        return Units(self.values[index], self.mask[index])

    def repeat(self, count: int) -> "Units":
        """Return one data set several times, without copies."""
        return Units(self.values.expand(count, *self.values.shape[1:]), self.mask.expand(count, -1))

    def rows(self, index: Tensor) -> "Units":
        """Return the rows (B, M) of each data set."""
        spread = index.unsqueeze(-1).expand(*index.shape, self.values.shape[-1])
        return Units(self.values.gather(1, spread), self.mask.gather(1, index))


class AbstractSummaryNetwork(nn.Module, ABC):
    """Compresses a data set of any size into a vector of fixed width.

    Attributes
    ----------
    context_size : int
        C, the width of the summary.
    """

    context_size: int

    @abstractmethod
    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: the result (B, C) must not depend on the values of padded rows."""


class AbstractPosteriorNetwork(nn.Module, ABC):
    """A density of D standardized parameters given a context."""

    @abstractmethod
    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (B,) in nats of scores (B, D), given contexts (B, C)."""

    @abstractmethod
    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return draws (S, B, D) and their log densities (S, B), given contexts (B, C)."""

    def log_prob_of_draws(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of scores (S, B, D), given contexts (B, C).

        A network can say this anew, where there is a faster way than to repeat contexts.
        """
        repeated = context.expand(scores.shape[0], *context.shape).flatten(0, 1)
        return self.log_prob(scores.flatten(0, 1), repeated).unflatten(0, scores.shape[:2])


class AbstractFlow(AbstractPosteriorNetwork):
    """A posterior network that maps a standard normal distribution, its base, onto parameters.

    Corrections work in the base, where what the network has learned of the posterior's shape is
    straightened out: what is left to be mended there is closer to a normal distribution.

    Attributes
    ----------
    num_parameters : int
        D.
    """

    num_parameters: int

    @abstractmethod
    def from_base(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (S, B, D) and log determinants (S, B) of points (S, B, D) of the base."""

    @abstractmethod
    def to_base(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return points of the base and log determinants of scores (B, D) or (S, B, D)."""

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities in nats: (B,) of scores (B, D), or (S, B) of scores (S, B, D)."""
        points, log_det = self.to_base(scores, context)
        return log_standard_normal(points) + log_det

    def log_prob_of_draws(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of scores (S, B, D), given contexts (B, C)."""
        return self.log_prob(scores, context)

    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return draws (S, B, D) and their log densities (S, B), given contexts (B, C)."""
        shape = (num_draws, context.shape[0], self.num_parameters)
        points = torch.randn(shape, generator=generator, device=context.device, dtype=context.dtype)
        scores, log_det = self.from_base(points, context)
        return scores, log_standard_normal(points) - log_det


def log_standard_normal(points: Tensor) -> Tensor:
    """Return log densities (...) in nats of points (..., D) under a standard normal."""
    return -0.5 * (points.square().sum(-1) + points.shape[-1] * math.log(2 * math.pi))


class AbstractClassificationNetwork(nn.Module, ABC):
    """Probabilities of indicators given the data and the parameters."""

    @abstractmethod
    def forward(self, units: Units, parameters: Tensor) -> Tensor:
        """Return log probabilities (B, N, J, K), given units and parameters (B, P).

        Parameters are scaled, and in every form that is at hand: D normal scores, D unconstrained
        coordinates, and the constrained values.
        """
