"""The summary network of exchangeable scalars, for which order statistics are sufficient."""

import torch

from torch import Tensor

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import Perceptron, masked_mean
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["OrderStatisticsNetwork", "quantile_grid"]

_SMALLEST_GAP = 1e-4


def quantile_grid(values: Tensor, mask: Tensor, num_points: int) -> Tensor:
    """Interpolate sorted values to a grid of fixed length.

    Parameters
    ----------
    values : Tensor, shape (B, N)
        Scalars.
    mask : Tensor of bool, shape (B, N)
        False in padded rows.
    num_points : int
        G, at least 2.

    Returns
    -------
    Tensor, shape (B, G)
        Quantiles at equally spaced levels, from the minimum to the maximum; the sorted values
        themselves where G rows are not padding; 0 where all are.

    Examples
    --------
    >>> quantile_grid(torch.tensor([[3.0, 1.0, 2.0, 9.0]]), torch.arange(4)[None] < 3, 5)
    tensor([[1.0000, 1.5000, 2.0000, 2.5000, 3.0000]])
    """
    num_rows = mask.sum(-1, keepdim=True)
    in_order = values.masked_fill(~mask, torch.inf).sort(-1).values
    last = (num_rows - 1).clamp(min=0)
    level = torch.arange(num_points, device=values.device, dtype=values.dtype) / (num_points - 1)
    position = level * last  # (B, G)
    below = position.floor().long()
    above = torch.minimum(below + 1, last)
    fraction = position - below
    low, high = in_order.gather(1, below), in_order.gather(1, above)
    grid = low + fraction * (high - low)
    return torch.where(num_rows > 0, grid, torch.zeros_like(grid))


class OrderStatisticsNetwork(AbstractSummaryNetwork):
    """Quantiles, raw and standardized, and the logs of the gaps between them, in a perceptron.

    Parameters
    ----------
    shape : UnitShape
        Of the units: one feature, one row per unit.
    context_size : int
        C.
    width : int
        Of the hidden layers.
    num_hidden : int
        Residual layers.
    max_points : int
        The largest number of quantiles.

    Raises
    ------
    ValueError
        If rows have more than one feature.

    Notes
    -----
    Data sets of one size not above ``max_points`` lose nothing. Others are seen through
    ``max_points`` quantiles, their size and their first two moments.
    """

    fingerprint_name = "pymc_amortized.networks.order_statistics.OrderStatisticsNetwork"

    def __init__(
        self,
        shape: UnitShape,
        context_size: int = 64,
        width: int = 256,
        num_hidden: int = 2,
        max_points: int = 192,
    ) -> None:
        super().__init__()
        if shape.num_features != 1 or shape.owner is not None:
            raise ValueError(
                "Expected units that are exchangeable scalars; got rows with "
                f"{shape.num_features} features. Use a DeepSet instead:\n\n"
                "    networks=pma.Networks(summary=pma.DeepSet)"
            )
        self.context_size = context_size
        self.num_points = max(2, min(shape.max_rows, max_points))
        self.log_size = float(torch.tensor(max(1, shape.max_rows)).log())
        self.perceptron = Perceptron(
            3 * self.num_points + 2, context_size, width, num_hidden, normalized=True
        )

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        values, mask = units.values[..., 0], units.mask
        grid = quantile_grid(values, mask, self.num_points)
        gaps = torch.log(grid.diff(dim=-1) + _SMALLEST_GAP) / 3 + 1
        size = units.num_rows.clamp(min=1).to(values.dtype).log().unsqueeze(-1) - self.log_size
        mean = masked_mean(values.unsqueeze(-1), mask)
        square = masked_mean((values.unsqueeze(-1) - mean.unsqueeze(1)) ** 2, mask)
        variance = square + _SMALLEST_GAP**2
        standardized = (grid - mean) * variance.rsqrt()
        spread = variance.log() / 6
        return self.perceptron(torch.cat([grid, standardized, gaps, size, mean, spread], dim=-1))
