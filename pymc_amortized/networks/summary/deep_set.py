"""The summary network of sets of vectors: a perceptron per row, pooled."""

import torch

from torch import Tensor

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import (
    Perceptron,
    masked_max,
    masked_mean,
    pool_by_owner,
)
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["DeepSet", "products_of", "second_order"]

_MAX_FEATURES_TO_MULTIPLY = 8


def products_of(values: Tensor) -> Tensor:
    """Return all products of two features, (..., F (F + 1) / 2)."""
    first, second = torch.triu_indices(values.shape[-1], values.shape[-1], device=values.device)
    return values[..., first] * values[..., second]


def second_order(values: Tensor) -> Tensor:
    """Append the products of features, whose means are the second moments of a data set.

    Parameters
    ----------
    values : Tensor, shape (..., F)
        Features.

    Returns
    -------
    Tensor, shape (..., F + F (F + 1) / 2)
        Features and products; features alone where F is above 8.

    Examples
    --------
    >>> second_order(torch.tensor([2.0, 3.0]))
    tensor([2., 3., 4., 6., 9.])
    """
    if values.shape[-1] > _MAX_FEATURES_TO_MULTIPLY:
        return values
    return torch.cat([values, products_of(values)], dim=-1)


class DeepSet(AbstractSummaryNetwork):
    """A perceptron per row, mean and maximum over rows, a perceptron per data set.

    Rows that share a unit are pooled by unit first, and units are pooled again.

    Parameters
    ----------
    shape : UnitShape
        Of the units.
    context_size : int
        C.
    width : int
        Of the hidden layers.
    num_hidden : int
        Residual layers per row.

    References
    ----------
    .. [1] Zaheer, M., et al. (2017). Deep sets. Advances in Neural Information Processing
       Systems 30. arXiv:1703.06114
    """

    fingerprint_name = "pymc_amortized.networks.deep_set.DeepSet"

    def __init__(
        self, shape: UnitShape, context_size: int = 64, width: int = 64, num_hidden: int = 2
    ) -> None:
        super().__init__()
        self.context_size = context_size
        self.num_units = shape.num_units
        self.log_size = float(torch.tensor(max(1, shape.max_rows)).log())
        num_inputs = second_order(torch.zeros(shape.num_features)).numel()
        self.local = Perceptron(num_inputs, width, width, num_hidden)
        pooled = 2 * width + num_inputs + 1
        owner = None if shape.owner is None else torch.as_tensor(shape.owner)
        self.register_buffer("owner", owner, persistent=False)
        if owner is not None:
            self.of_unit = Perceptron(width + num_inputs + 1, width, width, 1)
            pooled += 2 * width
        self.of_set = Perceptron(pooled, context_size, 2 * width, 2)

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        raw = second_order(units.values)
        rows, mask = self.local(raw), units.mask
        size = units.num_rows.clamp(min=1).to(rows.dtype).log().unsqueeze(-1) - self.log_size
        parts = [masked_mean(rows, mask), masked_max(rows, mask), masked_mean(raw, mask), size]
        if self.owner is not None:
            local = torch.cat([rows, raw], dim=-1)
            pooled = self.of_unit(pool_by_owner(local, mask, self.owner, self.num_units))
            parts += [pooled.mean(1), pooled.amax(1)]
        return self.of_set(torch.cat(parts, dim=-1))
