"""Markov chains of any order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from torch import Tensor

from pymc_amortized.discrete import MarkovChain, forward_filter
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution, to_batch
from pymc_amortized.model.indicators.symbolic_chain import log_marginal_of_chain

__all__ = ["ChainDistribution"]


@dataclass(frozen=True, slots=True)
class ChainDistribution(AbstractIndicatorDistribution):
    """A Markov chain: log p(z_1, …, z_L) and log p(z_t given z_{t-L}, …, z_{t-1}).

    Attributes
    ----------
    support : tuple of int
        The K values.
    units : tuple of int
        Shape of the units; time is the last axis.
    order : int
        L.
    time_varying : bool
        Whether the transition has an axis of time.
    """

    support: tuple[int, ...]
    units: tuple[int, ...]
    order: int
    time_varying: bool
    _initial: BatchedGraph
    _transition: BatchedGraph

    kind: ClassVar[Literal["markov"]] = "markov"
    reason = None

    def log_initial(self, parameters: Sequence[Tensor]) -> Tensor:
        """Return log probabilities (S, *chains, K, ..., K) of the first L states."""
        table = torch.stack(
            [to_batch(value, parameters) for value in self._initial(parameters)], dim=-1
        )
        states = (len(self.support),) * self.order
        return self._spread(table.reshape(*table.shape[:-1], *states), self.order, parameters)

    def log_transition(self, parameters: Sequence[Tensor]) -> Tensor:
        """Return log probabilities (S, *chains, [T - L,] K, ..., K)."""
        values = [to_batch(value, parameters) for value in self._transition(parameters)]
        core_ndim = self.order + 1 + self.time_varying
        if len(values) > 1:
            # One graph for each pair of states, each a value per time point.
            num_states = len(self.support)
            stacked = torch.stack(values, dim=-1)
            table = stacked.reshape(*stacked.shape[:-1], num_states, num_states)
        else:
            [table] = values
        return self._spread(table, core_ndim, parameters)

    def symbolic_tables(self, parameters: Sequence[Variable]) -> tuple[Variable, Variable]:
        """Return both tables of one draw as PyTensor graphs; axes of chains may be missing."""
        num_states = len(self.support)

        def outputs(graph: BatchedGraph) -> list[Variable]:
            known = dict(zip(graph.inputs, parameters, strict=True))
            return graph_replace(list(graph.outputs), known, strict=False)

        initial = pt.stack(pt.broadcast_arrays(*outputs(self._initial)), axis=-1)
        leading = [initial.shape[axis] for axis in range(initial.ndim - 1)]
        initial = initial.reshape((*leading, *(num_states,) * self.order))
        values = outputs(self._transition)
        if len(values) == 1:
            return initial, values[0]
        stacked = pt.stack(values, axis=-1)
        leading = [stacked.shape[axis] for axis in range(stacked.ndim - 1)]
        return initial, stacked.reshape((*leading, num_states, num_states))

    def _spread(self, table: Tensor, core_ndim: int, parameters: Sequence[Tensor]) -> Tensor:
        num_draws = parameters[0].shape[0] if parameters else 1
        chains = self.units[:-1]
        core = table.shape[table.ndim - core_ndim :]
        missing = len(chains) + core_ndim + 1 - table.ndim
        table = table.reshape(table.shape[0], *(1,) * missing, *table.shape[1:])
        return table.expand(num_draws, *chains, *core)

    def tables(self, parameters: Sequence[Tensor]) -> list[Tensor]:
        """Return log probabilities of the first L states, and of steps."""
        return [self.log_initial(parameters), self.log_transition(parameters)]

    def log_prob(self, parameters: Sequence[Tensor], codes: Tensor) -> Tensor:
        """Return log p(z given θ) (S,) of whole chains (S, *chains, T), codes from 0 to K - 1."""
        order, num_times, num_states = self.order, codes.shape[-1], len(self.support)
        initial, transition = self.tables(parameters)
        initial = initial.expand(codes.shape[0], *initial.shape[1:])
        transition = transition.expand(codes.shape[0], *transition.shape[1:])
        if not self.time_varying:
            transition = transition.unsqueeze(-order - 2)
        lagged = [codes[..., lag : num_times - order + lag] for lag in range(order + 1)]
        first = sum(codes[..., lag] * num_states ** (order - 1 - lag) for lag in range(order))
        step = sum(code * num_states ** (order - lag) for lag, code in enumerate(lagged))
        start = initial.flatten(-order).gather(-1, first.unsqueeze(-1)).squeeze(-1)
        table = transition.flatten(-order - 1)
        table = table.expand(*table.shape[:-2], num_times - order, table.shape[-1])
        moves = table.gather(-1, step.unsqueeze(-1)).squeeze(-1).sum(-1)
        return (start + moves).reshape(codes.shape[0], -1).sum(-1)

    def sum_out(
        self,
        parameters: Sequence[Tensor],
        emission: Tensor,
        covariates: Mapping[str, Tensor | np.ndarray],
    ) -> Tensor:
        """Return log p(y given θ) (S,) in nats, by the forward algorithm."""
        tables = self.tables(parameters)
        chain = MarkovChain(*tables, emission, self.order, time_varying=self.time_varying)
        log_marginal = forward_filter(chain).log_marginal
        return log_marginal.reshape(log_marginal.shape[0], -1).sum(-1)

    def symbolic_prior(
        self, parameters: Sequence[Variable], covariates: Mapping[str, Variable]
    ) -> Variable:
        """Return zeros (*units, K): states have no probabilities one by one."""
        return pt.zeros((*self.units, len(self.support)))

    def symbolic_sum_out(self, parameters: Sequence[Variable], table: Variable) -> Variable:
        """Return log p(y given θ) as a graph, by the forward algorithm."""
        initial, transition = self.symbolic_tables(parameters)
        return log_marginal_of_chain(
            initial,
            transition,
            table,
            num_states=len(self.support),
            order=self.order,
            time_varying=self.time_varying,
        ).sum()
