"""Which rows of data and which units belong together, found by permuting both."""

import itertools

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.model.complete_model import Indicator, Observation
from pymc_amortized.model.reading.response import Response, Responses, differs
from pymc_amortized.model.reading.unit_map import UnitMap

__all__ = ["Pairing"]


class Pairing:
    """Looks for the covariates that must be permuted along with the units of an observation."""

    def __init__(
        self,
        responses: Responses,
        observation: Observation,
        unit_map: UnitMap,
        prior_of: Indicator | None,
    ) -> None:
        self.response = responses.of(observation)
        self.prior = None if prior_of is None else responses.of(prior_of)
        self.values = self.response.data | (self.prior.data if self.prior else {})
        self.indicator = unit_map.indicator
        self.draws = draws = responses.draws
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
        units = torch.arange(self.unit_permutation.numel()).clamp(max=last_row)
        given = {v: self.values[v].index_select(axis + 1, units) for v, axis in chosen.items()}
        for response in filter(None, [self.response, self.prior]):
            for rows in response.pieces():
                before, after = response({}, rows=rows), response(given, rows=rows)
                pairs = zip(before, after, strict=True)
                if any(bool(differs(x[:, :own], y[:, :own]).any()) for x, y in pairs):
                    return False
        return True

    def _holds(self, chosen: Sequence[tuple[Variable, int]]) -> bool:
        """Whether units can be permuted with the chosen covariates, under every draw."""
        permutations = [(self.response, self.permutation), (self.prior, self.unit_permutation)]
        return all(
            self._holds_under(rows, chosen, response, permutation)
            for response, permutation in permutations
            if response is not None
            for rows in response.pieces()
        )

    def _holds_under(
        self,
        rows: Tensor,
        chosen: Sequence[tuple[Variable, int]],
        response: Response,
        permutation: Tensor,
    ) -> bool:
        before = response({}, rows=rows)
        given: dict[Variable | str, Tensor] = {
            variable: self.values[variable].index_select(axis + 1, self.unit_permutation)
            for variable, axis in chosen
        }
        if self.moves_indicator:
            indicator = self.draws[self.indicator][rows]
            given[self.indicator] = indicator.index_select(1, self.unit_permutation)
        value = response.values[rows].index_select(1, permutation)
        after = response(given, value, rows)
        return not any(
            bool(differs(x.index_select(1, permutation), y).any())
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
