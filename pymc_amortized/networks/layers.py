"""Building blocks: residual perceptrons, and pooling that padding cannot change."""

import torch
import torch.nn.functional as F

from torch import Tensor, nn

__all__ = ["Perceptron", "masked_max", "masked_mean", "pool_by_owner"]


class Perceptron(nn.Module):
    """A perceptron with residual hidden layers.

    Parameters
    ----------
    in_features, out_features, width : int
        Widths of the input, of the output and of the hidden layers.
    num_hidden : int
        How many residual layers follow the first one.
    normalized : bool
        Whether residual layers see their input normalized.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        width: int,
        num_hidden: int,
        *,
        normalized: bool = False,
    ) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, width)
        self.hidden = nn.ModuleList(nn.Linear(width, width) for _ in range(num_hidden))
        self.norms = nn.ModuleList(
            nn.LayerNorm(width) if normalized else nn.Identity() for _ in range(num_hidden)
        )
        self.last = nn.Linear(width, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in_features) to (…, out_features)."""
        x = F.silu(self.first(x))
        for norm, layer in zip(self.norms, self.hidden, strict=True):
            x = x + F.silu(layer(norm(x)))
        return self.last(x)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Average rows (B, N, H) where the mask (B, N) is true; 0 where there is none."""
    weights = mask.unsqueeze(-1).to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


def masked_max(values: Tensor, mask: Tensor) -> Tensor:
    """Take the maximum of rows (B, N, H) where the mask (B, N) is true; 0 where there is none."""
    lowest = torch.finfo(values.dtype).min
    highest = values.masked_fill(~mask.unsqueeze(-1), lowest).amax(1)
    return highest.masked_fill(~mask.any(1, keepdim=True), 0)


def pool_by_owner(values: Tensor, mask: Tensor, owner: Tensor, num_units: int) -> Tensor:
    """Average the rows (B, M, H) of each unit, with the log of their number: (B, U, H + 1).

    Rows whose owner is -1 belong to no unit, and are left out.
    """
    kept = owner >= 0
    weights = mask[:, kept].unsqueeze(-1).to(values.dtype)
    rows = torch.cat([values[:, kept] * weights, weights], dim=-1)
    totals = values.new_zeros(values.shape[0], num_units, rows.shape[-1])
    totals = totals.index_add(1, owner[kept], rows)
    counts = totals[..., -1:]
    return torch.cat([totals[..., :-1] / counts.clamp(min=1), counts.log1p()], dim=-1)
