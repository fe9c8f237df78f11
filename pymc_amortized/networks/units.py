"""The units that networks are given: rows of data sets, padded and masked."""

from dataclasses import dataclass, replace
from typing import Literal

import torch

from torch import Tensor

__all__ = ["UnitShape", "Units"]


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
    exchangeable : bool
        Whether rows can be permuted.
    learns : {"nothing", "units", "paths"}
        What is to be learned of the indicator: its values unit by unit, or whole paths of which
        draws alone are known.
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
    exchangeable: bool = True
    learns: Literal["nothing", "units", "paths"] = "nothing"

    @property
    def is_scalar(self) -> bool:
        """Whether order statistics are sufficient."""
        is_set = self.exchangeable and self.owner is None and not self.num_sequences
        return is_set and self.num_features == 1

    @property
    def is_vector(self) -> bool:
        """Whether there is always one row, and nothing that belongs to it."""
        return self.max_rows == 1 and self.owner is None and not self.num_sequences

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

    def require_one_row(self) -> None:
        """Refuse several rows, for networks of one vector.

        Raises
        ------
        ValueError
            If there may be more than one row.
        """
        if not self.is_vector:
            raise ValueError(
                f"Expected one row; got up to {self.max_rows}. Use a network for sets:\n\n"
                "    networks=pma.Networks(summary=pma.SetTransformer)"
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
