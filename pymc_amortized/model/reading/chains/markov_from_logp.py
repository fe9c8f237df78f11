"""Reading a distribution over states that only its density describes, by asking the density.

A ``pm.CustomDist`` over integers has no transition matrix to look up. But where its log density has
one term per unit, chosen sequences show every number that is needed: where states j and k
alternate, odd time points show the transition from j to k, and even ones that from k to j.
"""

import itertools

from collections.abc import Sequence

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.model.complete_model import CompleteModel, Indicator

__all__ = ["StateProbe"]

_MAX_STATES = 64
_NUM_RANDOM_SEQUENCES = 8


class StateProbe:
    """Asks the density of an indicator.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    indicator : Indicator
        The indicator with a custom distribution.
    units : tuple of int
        Shape of its units; time is the last axis.
    values : sequence of Tensor
        One draw (1, *shape) of each parameter.

    Raises
    ------
    DensityUnavailableError
        If the density is unknown, or has no term for each unit.
    """

    def __init__(
        self,
        complete: CompleteModel,
        indicator: Indicator,
        units: tuple[int, ...],
        values: Sequence[Tensor],
    ) -> None:
        self.name = indicator.name
        self.units = units
        self._variable = indicator.variable
        self._inputs = complete.parameter_variables
        self._values = list(values)
        sequence = indicator.variable.type()
        self._dtype = sequence.type.dtype
        logp = elementwise_logp(indicator.variable, sequence, self._inputs)
        if logp.type.ndim != sequence.type.ndim:
            raise DensityUnavailableError(
                f"{self.name}: its log density is one number, where one for each unit is needed"
            )
        self._graph = density_graph([*self._inputs, sequence], [logp])

    def support(self) -> tuple[int, ...] | None:
        """Count up until the density says that there is no such value; None if it never does."""
        for count in range(_MAX_STATES):
            if bool(torch.isneginf(self._evaluate(np.full(self.units, count))).all()):
                return tuple(range(count)) or None
        return None

    def is_independent(self, support: Sequence[int]) -> bool:
        """Whether the term of a unit depends on its own state alone."""
        constant = [self._evaluate(np.full(self.units, k)) for k in support]
        table = torch.stack(constant, dim=-1)  # (1, *units, K)
        return all(
            _close(self._evaluate(states), _pick(table, codes))
            for states, codes in self._random_sequences(support)
        )

    def unit_tables(self, support: Sequence[int]) -> BatchedGraph:
        """Return a graph of log p(z_i = k), with an output for each k."""
        tables = [self._term(np.full(self.units, k)) for k in support]
        return density_graph(self._inputs, tables)

    def chain_tables(self, support: Sequence[int]) -> tuple[BatchedGraph, BatchedGraph]:
        """Return graphs of log p(z_1 = k), and of log p(z_t = k given z_{t-1} = j)."""
        initial = [self._term(np.full(self.units, k))[..., 0] for k in support]
        odd = np.arange(1, self.units[-1]) % 2 == 1

        def transition(j: int, k: int) -> Variable:
            onward = self._term(self._alternating(j, k))[..., 1:]
            shifted = self._term(self._alternating(k, j))[..., 1:]
            return pt.switch(odd, onward, shifted)

        pairs = itertools.product(support, repeat=2)
        return (
            density_graph(self._inputs, initial),
            density_graph(self._inputs, [transition(j, k) for j, k in pairs]),
        )

    def verify(self, support: Sequence[int], initial: Tensor, transition: Tensor) -> None:
        """Check the tables of a chain (1, *chains, [T - 1, K,] K) on random sequences.

        Raises
        ------
        DensityUnavailableError
            If a state depends on more than the one before it.
        """
        for states, codes in self._random_sequences(support):
            start = _pick(initial, codes[..., 0]).unsqueeze(-1)
            into = _pick(transition.movedim(-1, -2), codes[..., :-1])
            expected = torch.cat([start, _pick(into, codes[..., 1:])], dim=-1)
            if not _close(self._evaluate(states), expected):
                raise DensityUnavailableError(
                    f"{self.name}: its density depends on more than the state before. As a chain "
                    "of higher order, pmx.DiscreteMarkovChain(..., n_lags=2), it is exact"
                )

    def _evaluate(self, states: np.ndarray) -> Tensor:
        result = self._graph([*self._values, states.astype(self._dtype)])[0]
        return result if isinstance(result, Tensor) else torch.as_tensor(result).unsqueeze(0)

    def _term(self, states: np.ndarray) -> Variable:
        constant = pt.constant(states.astype(self._dtype))
        return elementwise_logp(self._variable, constant, self._inputs)

    def _alternating(self, even: int, odd: int) -> np.ndarray:
        is_odd = np.arange(self.units[-1]) % 2 == 1
        return np.broadcast_to(np.where(is_odd, odd, even), self.units)

    def _random_sequences(self, support: Sequence[int]) -> list[tuple[np.ndarray, Tensor]]:
        rng = np.random.default_rng(0)
        codes = rng.integers(len(support), size=(_NUM_RANDOM_SEQUENCES, *self.units))
        return [(np.asarray(support)[code], torch.as_tensor(code)) for code in codes]


def _pick(table: Tensor, codes: Tensor) -> Tensor:
    """Select along the last axis of (1, *axes, K) by codes (*leading axes)."""
    index = codes.reshape(1, *codes.shape, *(1,) * (table.ndim - codes.ndim - 2), 1)
    return table.gather(-1, index.expand(*table.shape[:-1], 1)).squeeze(-1)


def _close(x: Tensor, y: Tensor) -> bool:
    return bool(torch.isclose(x, y, rtol=1e-9, atol=1e-12).all())
