"""Names for the types that many modules share."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["NamedTensors"]

NamedTensors = Mapping[str, Tensor]
"""Variables by name, each a tensor with a leading batch axis."""
