"""Which rows of data and which units belong together, found by permuting both."""

import itertools

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation
from pymc_amortized.model.reading.response import Response, differs
from pymc_amortized.model.reading.unit_map import UnitMap

__all__ = ["Pairing", "constant_value"]


class Pairing:
    """Looks for the covariates that must be permuted along with the units of an observation."""

    def __init__(
        self,
        complete: CompleteModel,
        observation: Observation,
        unit_map: UnitMap,
        draws: Mapping[str, Tensor],
        candidates: Sequence[Variable],
        prior_of: Indicator | None,
    ) -> None:
        self.response = Response(complete, observation, draws, candidates, prior_of)
        self.values = {
            variable: torch.as_tensor(np.array(constant_value(variable))).unsqueeze(0)
            for variable in candidates
        }
        self.indicator = unit_map.indicator
        self.draws = draws
        shape = self.response.entry_shape
        self.num_entries = shape[0] if shape else 1
        self.permutation = torch.as_tensor(_derangement(self.num_entries))
        self.row_of_entry = self._rows(observation)
        self.unit_permutation = self._permute_units(observation)
        units = draws[self.indicator].shape[1:] if self.indicator is not None else ()
        self.moves_indicator = bool(units) and units[0] == self.unit_permutation.numel()

    def _rows(self, observation: Observation) -> Tensor:
        """Return the unit of each entry: only observed ones have entries in a split variable."""
        if not observation.split or observation.observed.ndim > 1:
            return torch.arange(self.num_entries)
        return torch.as_tensor(np.flatnonzero(observation.observed))

    def _permute_units(self, observation: Observation) -> Tensor:
        """Return the permutation of all units that permutes the observed ones."""
        if not observation.split or observation.observed.ndim > 1:
            return self.permutation
        whole = torch.arange(observation.observed.size)
        whole[self.row_of_entry] = self.row_of_entry[self.permutation]
        return whole

    def find(self) -> dict[Variable, int] | None:
        """Return the smallest set of covariates, with axes, that makes units exchangeable."""
        if self.num_entries < 2:
            return {}
        options = [
            (variable, axis)
            for variable, value in self.values.items()
            for axis, length in enumerate(value.shape[1:])
            if length == self.unit_permutation.numel()
        ][:MAX_CANDIDATES]
        for size in range(len(options) + 1):
            for chosen in itertools.combinations(options, size):
                if len({variable for variable, _ in chosen}) == size and self._holds(chosen):
                    return dict(chosen)
        return None

    def is_local(self, chosen: Mapping[Variable, int]) -> bool:
        """Whether the first half of the units responds to its own rows of covariates alone."""
        own = self.num_entries // 2
        last_row = int(self.row_of_entry[own - 1])
        for rows in self.response.pieces():
            given: dict[Variable | str, Tensor] = dict(self.values)
            before = self.response(given, rows=rows)
            for variable, axis in chosen.items():
                units = torch.arange(self.unit_permutation.numel())
                given[variable] = given[variable].index_select(axis + 1, units.clamp(max=last_row))
            after = self.response(given, rows=rows)
            pairs = zip(before, after, strict=True)
            if any(bool(differs(x[:, :own], y[:, :own]).any()) for x, y in pairs):
                return False
        return True

    def _holds(self, chosen: Sequence[tuple[Variable, int]]) -> bool:
        """Whether units can be permuted with the chosen covariates, under every draw."""
        return all(self._holds_under(rows, chosen) for rows in self.response.pieces())

    def _holds_under(self, rows: Tensor, chosen: Sequence[tuple[Variable, int]]) -> bool:
        given: dict[Variable | str, Tensor] = dict(self.values)
        before = self.response(given, rows=rows)
        for variable, axis in chosen:
            given[variable] = given[variable].index_select(axis + 1, self.unit_permutation)
        if self.moves_indicator:
            indicator = self.draws[self.indicator][rows]
            given[self.indicator] = indicator.index_select(1, self.unit_permutation)
        value = self.response.values[rows].index_select(1, self.permutation)
        after = self.response(given, value, rows)
        return not any(
            bool(differs(x.index_select(1, self.permutation), y).any())
            for x, y in zip(before, after, strict=True)
        )


def _derangement(length: int) -> np.ndarray:
    """Return a random permutation that leaves nothing in its place."""
    rng = np.random.default_rng(1)
    identity = np.arange(length)
    while length > 1:
        permutation = rng.permutation(length)
        if not np.any(permutation == identity):
            return permutation
    return identity


MAX_CANDIDATES = 6


def constant_value(variable: Variable) -> np.ndarray:
    """Return the value of data that the model holds."""
    return np.asarray(BatchedGraph([], [variable])([])[0])
