"""What the distribution of an indicator answers for itself, whatever its kind."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch

from pytensor.graph.basic import Variable
from torch import Tensor

__all__ = ["AbstractIndicatorDistribution", "to_batch"]


class AbstractIndicatorDistribution(ABC):
    """log p(z given θ), as far as it is known.

    Attributes
    ----------
    kind : {"independent", "markov", "simulated"}
        How units depend on each other.
    support : tuple of int
        The K values.
    units : tuple of int
        Shape of the units.
    order : int
        How many units back a chain looks; 0 where units are independent.
    time_varying : bool
        Whether a chain's transition differs from step to step.
    reason : str or None
        Why probabilities are not known; None where they are.
    """

    __slots__ = ()

    kind: ClassVar[Literal["independent", "markov", "simulated"]]
    support: tuple[int, ...]
    units: tuple[int, ...]
    order: int
    time_varying: bool
    reason: str | None

    @property
    def is_independent(self) -> bool:
        """Whether units are independent given the parameters."""
        return self.kind == "independent"

    @abstractmethod
    def tables(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return all tables of log probabilities, labels on their last axes."""

    @abstractmethod
    def log_prob(self, parameters: Sequence[Tensor], codes: Tensor) -> Tensor:
        """Return log p(z given θ) (S,) of codes (S, *units) from 0 to K - 1, in nats."""

    @abstractmethod
    def sum_out(
        self,
        parameters: Sequence[Tensor],
        emission: Tensor,
        covariates: Mapping[str, Tensor | np.ndarray],
    ) -> Tensor:
        """Return log p(y given θ) (S,) in nats, given log p(y_i given z_i = k) (S, *units, K)."""

    @abstractmethod
    def symbolic_prior(
        self, parameters: Sequence[Variable], covariates: Mapping[str, Variable]
    ) -> Variable:
        """Return what is added to a table of log densities (*units, K) before it is summed out."""

    @abstractmethod
    def symbolic_sum_out(self, parameters: Sequence[Variable], table: Variable) -> Variable:
        """Return log p(y given θ) as a graph, given a table ([m,] *units, K) with its prior."""


def to_batch(value: np.ndarray | Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """Give a constant table a batch axis, on the device of the parameters."""
    if isinstance(value, Tensor):
        return value
    device = parameters[0].device if parameters else None
    return torch.as_tensor(value, device=device).unsqueeze(0)
