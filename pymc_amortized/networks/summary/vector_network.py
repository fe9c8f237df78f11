"""Summary networks of a vector, each of whose entries has a meaning of its own."""

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import Perceptron
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["IdentityNetwork", "VectorNetwork"]


class VectorNetwork(AbstractSummaryNetwork):
    """A residual perceptron of all entries, and a linear map beside it.

    For data sets that are always as long, and whose entries cannot be permuted: a time series,
    measurements that differ in kind, summaries that were chosen by hand.

    Parameters
    ----------
    shape : UnitShape
        Of the units; one row.
    context_size : int
        C.
    width : int
        Of the hidden layers.
    num_hidden : int
        Residual layers.

    Raises
    ------
    ValueError
        If there are several rows.

    Examples
    --------
    >>> import torch
    >>> network = VectorNetwork(UnitShape(num_features=5, min_rows=1, max_rows=1))
    >>> units = Units(torch.zeros(3, 1, 5), torch.ones(3, 1, dtype=torch.bool))
    >>> network(units).shape
    torch.Size([3, 64])
    """

    def __init__(
        self, shape: UnitShape, context_size: int = 64, width: int = 128, num_hidden: int = 2
    ) -> None:
        super().__init__()
        shape.require_one_row()
        self.context_size = context_size
        self.linear = nn.Linear(shape.num_features, context_size)
        self.perceptron = Perceptron(shape.num_features, context_size, width, num_hidden)

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        x = units.values[:, 0]
        return self.linear(x) + self.perceptron(x)


class IdentityNetwork(AbstractSummaryNetwork):
    """The scaled entries of all rows, side by side, which leaves all to the posterior network.

    Parameters
    ----------
    shape : UnitShape
        Of the units; always as many rows.

    Raises
    ------
    ValueError
        If there may be more or fewer rows.

    Examples
    --------
    >>> import torch
    >>> network = IdentityNetwork(UnitShape(num_features=5, min_rows=1, max_rows=1))
    >>> network(Units(torch.ones(3, 1, 5), torch.ones(3, 1, dtype=torch.bool))).shape
    torch.Size([3, 5])
    """

    def __init__(self, shape: UnitShape) -> None:
        super().__init__()
        if shape.min_rows != shape.max_rows:
            raise ValueError(
                f"Expected always as many rows; got {shape.min_rows} to {shape.max_rows}. Use a "
                "network for sets:\n\n    networks=pma.Networks(summary=pma.SetTransformer)"
            )
        self.context_size = shape.num_features * shape.max_rows

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        return units.values.flatten(1)
