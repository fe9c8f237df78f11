"""Independent indicators, one for each unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from torch import Tensor

from pymc_amortized.discrete.log_sum import log_sum
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.repeats import shrink
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution, to_batch
from pymc_amortized.model.reading.covariates import Covariate

__all__ = ["UnitDistribution"]


@dataclass(frozen=True, slots=True)
class UnitDistribution(AbstractIndicatorDistribution):
    """Independent indicators: log p(z_i = k given θ).

    Attributes
    ----------
    support : tuple of int
        The K values.
    units : tuple of int
        Shape of the units.
    """

    support: tuple[int, ...]
    units: tuple[int, ...]
    _tables: BatchedGraph
    _components_last: bool
    _covariates: tuple[Covariate, ...] = ()

    kind: ClassVar[Literal["independent"]] = "independent"
    order = 0
    time_varying = False
    reason = None

    def log_probs(
        self,
        parameters: Sequence[Tensor],
        covariates: Mapping[str, Tensor | np.ndarray] = {},
        units: tuple[int, ...] | None = None,
    ) -> Tensor:
        """Return log probabilities (S, *units, K), with the model's covariates or given ones.

        Of so many ``units``, where covariates are those of some units alone.
        """
        fits = units is None or units == self.units
        units = self.units if units is None else units
        num_draws = parameters[0].shape[0] if parameters else 1
        given = [*parameters, *(covariates.get(c.name, c.values) for c in self._covariates)]
        tables = [to_batch(table, parameters) for table in self._tables(given)]
        # A model may repeat one probability for as many units as it has, which others do not.
        tables = tables if fits else [shrink(table) for table in tables]
        table = tables[0] if self._components_last else torch.stack(tables, dim=-1)
        missing = len(units) + 2 - table.ndim
        table = table.reshape(table.shape[0], *(1,) * missing, *table.shape[1:])
        return table.expand(num_draws, *units, len(self.support))

    def symbolic_prior(
        self, parameters: Sequence[Variable], covariates: Mapping[str, Variable]
    ) -> Variable:
        """Return log probabilities of one draw as a PyTensor graph, (*units, K)."""
        given = [*parameters, *(covariates[c.name] for c in self._covariates)]
        known = dict(zip(self._tables.inputs, given, strict=True))
        tables = graph_replace(list(self._tables.outputs), known, strict=False)
        if self._components_last:
            return pt.broadcast_to(tables[0], (*self.units, len(self.support)))
        return pt.stack([pt.broadcast_to(table, self.units) for table in tables], axis=-1)

    def tables(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return log probabilities (S, *units, K)."""
        return [self.log_probs(parameters)]

    def log_prob(self, parameters: Sequence[Tensor], codes: Tensor) -> Tensor:
        """Return log p(z given θ) (S,) of codes (S, *units) from 0 to K - 1, in nats."""
        table = self.log_probs(parameters)
        table = table.expand(codes.shape[0], *table.shape[1:])
        terms = table.gather(-1, codes.unsqueeze(-1))
        return terms.reshape(terms.shape[0], -1).sum(-1)

    def sum_out(
        self,
        parameters: Sequence[Tensor],
        emission: Tensor,
        covariates: Mapping[str, Tensor | np.ndarray],
    ) -> Tensor:
        """Return log p(y given θ) (S,) in nats, unit by unit."""
        terms = log_sum(self.log_probs(parameters, covariates) + emission)
        return terms.reshape(terms.shape[0], -1).sum(-1)

    def symbolic_sum_out(self, parameters: Sequence[Variable], table: Variable) -> Variable:
        """Return log p(y given θ) as a graph, given a table ([m,] *units, K) with its prior."""
        return pt.logsumexp(table, axis=-1).sum()
