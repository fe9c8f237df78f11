"""Data sets in frames of a model's own shape."""

import functools

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

__all__ = ["Frames", "stack_frames"]


@dataclass(frozen=True, eq=False)
class Frames:
    """B data sets in m frames of the model's shape each.

    Attributes
    ----------
    observations : dict of str to Tensor, shape (B, m, *shape)
        Observed variables; anything where rows are not in use.
    covariates : dict of str to Tensor, shape (B, m, *shape)
        Covariates that run along units; the model's own where absent.
    selected : tuple of Tensor of bool, shape (B, m, rows)
        For each table of units, the rows in use: those with something observed.
    times : Tensor of int64, shape (B, T), or None
        Where sequences lie: for each time point its row among all m rows of the frames, -1 after
        the end of a sequence. None where rows are in order, or are no sequence.
    """

    observations: dict[str, Tensor]
    covariates: dict[str, Tensor]
    selected: tuple[Tensor, ...]
    times: Tensor | None = None

    def __len__(self) -> int:
        return self.selected[0].shape[0]

    @property
    def num_frames(self) -> int:
        """M."""
        return self.selected[0].shape[1]

    @functools.cached_property
    def one_by_one(self) -> "tuple[Frames, ...]":
        """The data sets, each by itself; the same objects each time."""
        return tuple(self._take(slice(b, b + 1)) for b in range(len(self)))

    def select(self, index: slice | Tensor) -> "Frames":
        """Return some of the data sets; of one alone the same object each time."""
        chosen = torch.arange(len(self))[index if isinstance(index, slice) else index.cpu()]
        if len(chosen) != 1:
            return self._take(index)
        return self if len(self) == 1 else self.one_by_one[int(chosen[0])]

    def _take(self, index: slice | Tensor) -> "Frames":
        return Frames(
            {name: x[index] for name, x in self.observations.items()},
            {name: x[index] for name, x in self.covariates.items()},
            tuple(x[index] for x in self.selected),
            None if self.times is None else self.times[index],
        )

    def to(self, device: torch.device) -> "Frames":
        """Move to a device; the same object where it is there."""
        if self.selected[0].device == device:
            return self
        return Frames(
            {name: x.to(device) for name, x in self.observations.items()},
            {name: x.to(device) for name, x in self.covariates.items()},
            tuple(x.to(device) for x in self.selected),
            None if self.times is None else self.times.to(device),
        )


def stack_frames(parts: Sequence[Frames]) -> Frames:
    """Put data sets together; those with fewer frames get copies of their first, not in use.

    Examples
    --------
    >>> short, long = (
    ...     Frames({"y": torch.ones(1, m, 5)}, {}, (torch.ones(1, m, 5, dtype=torch.bool),))
    ...     for m in (1, 3)
    ... )
    >>> stack_frames([short, long]).selected[0].sum((1, 2))
    tensor([ 5, 15])
    """
    num_frames = max(part.num_frames for part in parts)
    whole = [_pad(part, num_frames) for part in parts]
    stacked = Frames(
        {name: torch.cat([w.observations[name] for w in whole]) for name in whole[0].observations},
        {name: torch.cat([w.covariates[name] for w in whole]) for name in whole[0].covariates},
        tuple(torch.cat(masks) for masks in zip(*(w.selected for w in whole), strict=True)),
        None if parts[0].times is None else _stack_times([part.times for part in parts]),
    )
    if stacked.times is None and all(len(one) == 1 for one in whole):
        # What is known of a data set is kept with the object, in the place of the cached property.
        vars(stacked)["one_by_one"] = tuple(whole)
    return stacked


def _stack_times(times: Sequence[Tensor]) -> Tensor:
    longest = max(x.shape[1] for x in times)
    padded = [torch.nn.functional.pad(x, (0, longest - x.shape[1]), value=-1) for x in times]
    return torch.cat(padded)


def _pad(frames: Frames, num_frames: int) -> Frames:
    missing = num_frames - frames.num_frames
    if not missing:
        return frames

    def repeated(x: Tensor) -> Tensor:
        return torch.cat([x, *[x[:, :1]] * missing], dim=1)

    return Frames(
        {name: repeated(x) for name, x in frames.observations.items()},
        {name: repeated(x) for name, x in frames.covariates.items()},
        tuple(
            torch.cat([x, *[torch.zeros_like(x[:, :1])] * missing], dim=1) for x in frames.selected
        ),
        frames.times,
    )
