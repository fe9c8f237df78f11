"""Summary networks of sequences: convolutional, and recurrent."""

import torch
import torch.nn.functional as F

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pymc_amortized.networks.contracts import AbstractSummaryNetwork
from pymc_amortized.networks.layers import Perceptron, masked_max, masked_mean
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["ConvolutionalNetwork", "RecurrentNetwork"]


def _each_sequence(units: Units, num_sequences: int) -> tuple[Tensor, Tensor]:
    """Return time points (B C, T, F) and which are in use (B C, T)."""
    values = units.values.unflatten(1, (num_sequences, -1)).flatten(0, 1)
    return values, units.mask.unflatten(1, (num_sequences, -1)).flatten(0, 1)


class _SequenceNetwork(AbstractSummaryNetwork):
    """Summarizes each sequence, and averages over those of a data set."""

    def __init__(self, shape: UnitShape, context_size: int, pooled: int, width: int) -> None:
        super().__init__()
        shape.require_sequences()
        self.context_size, self.num_sequences = context_size, shape.num_sequences
        self.log_size = float(torch.tensor(max(1, shape.max_rows)).log())
        self.of_set = Perceptron(pooled + 1, context_size, width, 2)

    def summarize(self, values: Tensor, mask: Tensor) -> Tensor:
        """Summarize sequences (n, T, F), in use where the mask (n, T) says so: (n, pooled)."""
        raise NotImplementedError

    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: (B, C)."""
        pooled = self.summarize(*_each_sequence(units, self.num_sequences))
        pooled = pooled.unflatten(0, (-1, self.num_sequences)).mean(1)
        size = units.num_rows.clamp(min=1).to(pooled.dtype).log().unsqueeze(-1) - self.log_size
        return self.of_set(torch.cat([pooled, size], dim=-1))


class ConvolutionalNetwork(_SequenceNetwork):
    """Convolutions along time, their mean and maximum, a perceptron per data set.

    The first layer takes every fourth time point and its neighbours, and each other layer every
    second of what is left.

    Parameters
    ----------
    shape : UnitShape
        Of sequences.
    context_size : int
        C.
    width : int
        Channels.
    num_layers : int
        Of convolutions.
    kernel : int
        Time points that each looks at, an odd number.

    Raises
    ------
    ValueError
        If rows are a set.
    """

    fingerprint_name = "pymc_amortized.networks.sequences.ConvolutionalNetwork"

    def __init__(
        self,
        shape: UnitShape,
        context_size: int = 64,
        width: int = 64,
        num_layers: int = 3,
        kernel: int = 9,
    ) -> None:
        super().__init__(shape, context_size, 2 * width * num_layers, 2 * width)
        self.strides = (4, *(2,) * (num_layers - 1))
        self.layers = nn.ModuleList(
            nn.Conv1d(
                width if i else shape.num_features, width, kernel, stride, padding=kernel // 2
            )
            for i, stride in enumerate(self.strides)
        )

    def summarize(self, values: Tensor, mask: Tensor) -> Tensor:
        """Pool every layer."""
        x, pooled = values.mT, []
        for stride, layer in zip(self.strides, self.layers, strict=True):
            mask = mask[:, ::stride]
            # Padding is 0 before every layer, as it is where a sequence is not padded.
            x = F.silu(layer(x)) * mask.unsqueeze(1)
            rows = x.mT
            pooled += [masked_mean(rows, mask), masked_max(rows, mask)]
        return torch.cat(pooled, dim=-1)


class RecurrentNetwork(_SequenceNetwork):
    """Gated recurrent units along time in both directions, their mean and last states.

    Slower than convolutions on a processor, and without a limit to how far they look back.

    Parameters
    ----------
    shape : UnitShape
        Of sequences.
    context_size : int
        C.
    width : int
        Of the state in each direction.

    Raises
    ------
    ValueError
        If rows are a set.
    """

    fingerprint_name = "pymc_amortized.networks.sequences.RecurrentNetwork"

    def __init__(self, shape: UnitShape, context_size: int = 64, width: int = 64) -> None:
        super().__init__(shape, context_size, 4 * width, 2 * width)
        self.units = nn.GRU(shape.num_features, width, batch_first=True, bidirectional=True)

    def summarize(self, values: Tensor, mask: Tensor) -> Tensor:
        """Take mean and last states of both directions."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(values, lengths, batch_first=True, enforce_sorted=False)
        outputs, last = self.units(packed)
        rows, _ = pad_packed_sequence(outputs, batch_first=True, total_length=values.shape[1])
        return torch.cat([masked_mean(rows, mask), *last.unbind(0)], dim=-1)
