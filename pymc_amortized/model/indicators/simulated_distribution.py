"""States that a model draws, but says no probabilities of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NoReturn

import numpy as np

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution

__all__ = ["SimulatedDistribution"]


@dataclass(frozen=True, slots=True)
class SimulatedDistribution(AbstractIndicatorDistribution):
    """States of sequences that a model draws, but says no probabilities of.

    Attributes
    ----------
    support : tuple of int
        The K values, from the smallest to the largest that was drawn.
    units : tuple of int
        Shape of the units; time is the last axis.
    reason : str
        Why its probabilities are not known.
    """

    support: tuple[int, ...]
    units: tuple[int, ...]
    reason: str

    kind: ClassVar[Literal["simulated"]] = "simulated"
    order = 0
    time_varying = False

    def tables(self, parameters: Sequence[Tensor]) -> NoReturn:
        """Refuse: there are none."""
        raise self._refusal()

    def log_prob(self, parameters: Sequence[Tensor], codes: Tensor) -> NoReturn:
        """Refuse: it is not known."""
        raise self._refusal()

    def sum_out(
        self,
        parameters: Sequence[Tensor],
        emission: Tensor,
        covariates: Mapping[str, Tensor | np.ndarray],
    ) -> NoReturn:
        """Refuse: it is not known."""
        raise self._refusal()

    def symbolic_prior(
        self, parameters: Sequence[Variable], covariates: Mapping[str, Variable]
    ) -> NoReturn:
        """Refuse: it is not known."""
        raise self._refusal()

    def symbolic_sum_out(self, parameters: Sequence[Variable], table: Variable) -> NoReturn:
        """Refuse: it is not known."""
        raise self._refusal()

    def _refusal(self) -> DensityUnavailableError:
        return DensityUnavailableError(
            "Expected states whose probabilities are known; these can be drawn only: "
            f"{self.reason}."
        )
