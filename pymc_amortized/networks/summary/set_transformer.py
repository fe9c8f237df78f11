"""The summary network of sets of vectors whose rows must be compared with each other."""

import math

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import Perceptron
from pymc_amortized.networks.summary.deep_set import second_order
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["SetTransformer"]


class _Attention(nn.Module):
    """Queries look at the rows of a set that are not padding, and are updated by what they see."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.merge = nn.Linear(width, width)
        self.update = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(self, queries: Tensor, rows: Tensor, mask: Tensor | None) -> Tensor:
        """Update queries (B, Q, H) by rows (B, N, H) where the mask (B, N) is true."""
        query = self._heads(self.query(self.norms[0](queries)))
        key, value = map(self._heads, self.key_value(self.norms[1](rows)).chunk(2, dim=-1))
        allowed = None if mask is None else mask[:, None, None, :]
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        queries = queries + self.merge(seen.transpose(1, 2).flatten(2))
        return queries + self.update(self.norms[2](queries))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


class SetTransformer(AbstractSummaryNetwork):
    """Rows attend to each other through inducing points, and are pooled by attention.

    Parameters
    ----------
    shape : UnitShape
        Of the units; one row per unit.
    context_size : int
        C.
    width : int
        H, of tokens.
    num_blocks : int
        Of induced self-attention.
    num_points : int
        Inducing points per block, which keep the cost linear in the number of rows.
    num_heads : int
        Attention heads; they divide ``width``.

    Raises
    ------
    ValueError
        If several rows belong to one unit.

    References
    ----------
    .. [1] Lee, J., et al. (2019). Set transformer. International Conference on Machine Learning.
       arXiv:1810.00825
    """

    fingerprint_name = "pymc_amortized.networks.set_transformer.SetTransformer"

    def __init__(
        self,
        shape: UnitShape,
        context_size: int = 64,
        width: int = 64,
        num_blocks: int = 2,
        num_points: int = 16,
        num_heads: int = 4,
    ) -> None:
        super().__init__()
        shape.require_one_row_per_unit()
        self.context_size = context_size
        self.log_size = float(torch.tensor(max(1, shape.max_rows)).log())
        num_inputs = second_order(torch.zeros(shape.num_features)).numel()
        self.embed = Perceptron(num_inputs, width, width, 1)
        scale = 1 / math.sqrt(width)
        self.points = nn.Parameter(scale * torch.randn(num_blocks, num_points, width))
        self.seeds = nn.Parameter(scale * torch.randn(4, width))
        self.gather = nn.ModuleList(_Attention(width, num_heads) for _ in range(num_blocks))
        self.spread = nn.ModuleList(_Attention(width, num_heads) for _ in range(num_blocks))
        self.pool = _Attention(width, num_heads)
        self.of_set = Perceptron(4 * width + 1, context_size, 2 * width, 1)

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        rows = self.embed(second_order(units.values))
        num_datasets = rows.shape[0]
        # A data set without rows looks at padding, which is set to zero for it.
        mask = units.mask | ~units.mask.any(1, keepdim=True)
        rows = torch.where(units.mask.unsqueeze(-1), rows, torch.zeros_like(rows))
        for points, gather, spread in zip(self.points, self.gather, self.spread, strict=True):
            summary = gather(points.expand(num_datasets, -1, -1), rows, mask)
            rows = spread(rows, summary, None)
        pooled = self.pool(self.seeds.expand(num_datasets, -1, -1), rows, mask).flatten(1)
        size = units.num_rows.clamp(min=1).to(rows.dtype).log().unsqueeze(-1) - self.log_size
        return self.of_set(torch.cat([pooled, size], dim=-1))
