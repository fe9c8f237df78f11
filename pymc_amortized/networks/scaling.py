"""Scales of what networks are given, fitted to simulations."""

import torch

from torch import Tensor, nn

from pymc_amortized.networks.units import Units

__all__ = ["FeatureScaling"]

_SOFT_LIMIT = 8.0


class FeatureScaling(nn.Module):
    """Features of units to the scale of the prior predictive, softly limited.

    Parameters
    ----------
    num_features : int
        F.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("location", torch.zeros(num_features, dtype=torch.float64))
        self.register_buffer("scale", torch.ones(num_features, dtype=torch.float64))

    def fit(self, units: Units) -> None:
        """Set location and scale to the median and the quartiles' distance of simulated units."""
        rows = units.values[units.mask].double()  # (rows, F)
        if not rows.numel():
            return
        quartiles = torch.stack([_quantiles(column) for column in rows.unbind(-1)], dim=-1)
        spread = (quartiles[2] - quartiles[0]) / 1.349
        deviation = torch.stack([_deviation(column) for column in rows.unbind(-1)])
        spread = torch.where(spread > 0, spread, deviation)
        self.location.copy_(quartiles[1].nan_to_num())
        self.scale.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def forward(self, units: Units) -> Units:
        """Scale units; values beyond 8 grow with their logarithm, missing ones are 0."""
        x = (units.values - self.location) / self.scale
        excess = (x.abs() - _SOFT_LIMIT).clamp(min=0)
        x = x.clamp(-_SOFT_LIMIT, _SOFT_LIMIT) + x.sign() * excess.log1p()
        x = x.nan_to_num(nan=0.0).masked_fill(~units.mask.unsqueeze(-1), 0.0)
        return Units(x.float(), units.mask)


def _quantiles(column: Tensor) -> Tensor:
    known = column[~column.isnan()].sort().values
    if not known.numel():
        return column.new_tensor([0.0, 0.0, 0.0])
    place = (torch.tensor([0.25, 0.5, 0.75]) * (known.numel() - 1)).round().long()
    return known[place.to(known.device)]


def _deviation(column: Tensor) -> Tensor:
    known = column[~column.isnan()]
    return known.std() if known.numel() > 1 else column.new_zeros(())
