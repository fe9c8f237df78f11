"""Simulated data sets as networks are trained on them."""

from dataclasses import dataclass, field

from torch import Tensor

from pymc_amortized.networks.units import Units

__all__ = ["Batch"]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Simulated data sets as the networks are trained on them.

    Attributes
    ----------
    units : tuple of Units
        For each table of units, unscaled.
    scores : Tensor, shape (B, D)
        Standardized parameters.
    features : Tensor, shape (B, P)
        Parameters in both spaces, unscaled.
    codes : dict of int to Tensor of int64, shape (B, N, J)
        For tables with an indicator, its values from 0 to K - 1.
    log_states : dict of int to Tensor, shape (B, N, K)
        For tables of chains with a known transition, log p(z_t = k given θ), without data.
    """

    units: tuple[Units, ...]
    scores: Tensor
    features: Tensor
    codes: dict[int, Tensor]
    log_states: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.scores.shape[0]

    def select(self, index: slice | Tensor) -> "Batch":
        """Return some of the data sets."""
        return Batch(
            tuple(units.select(index) for units in self.units),
            self.scores[index],
            self.features[index],
            {table: codes[index] for table, codes in self.codes.items()},
            {table: log_p[index] for table, log_p in self.log_states.items()},
        )
