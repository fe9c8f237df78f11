"""The density of one observed variable, for every value of its indicator."""

import math

from collections.abc import Mapping, Sequence

import numpy as np
import pytensor.tensor as pt
import torch

from pytensor.graph.basic import Variable
from pytensor.graph.replace import graph_replace
from torch import Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.graph.logp import density_graph
from pymc_amortized.model.complete_model import CompleteModel, Observation
from pymc_amortized.model.density.densities import densities_of
from pymc_amortized.model.density.state_graph import state_by_state, states_as_draws
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution
from pymc_amortized.model.reading.covariates import Covariate
from pymc_amortized.model.reading.response import differs, observation_inputs
from pymc_amortized.model.reading.unit_map import UnitMap
from pymc_amortized.typing import NamedTensors

__all__ = ["Likelihood", "NamedData"]

_MANY_STATES = 8

NamedData = Mapping[str, Tensor | np.ndarray]
"""Data by name: an array of one data set, or a tensor with a data set for each draw."""


class Likelihood:
    """The density of one observed variable, for every value of its indicator.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    observation : Observation
        One of its observations.
    unit_map : UnitMap
        Which unit each entry belongs to.
    distribution : AbstractIndicatorDistribution or None
        Distribution of the indicator, if there is one.
    covariates : sequence of Covariate
        Those that can be given anew, among the observations.

    Raises
    ------
    DensityUnavailableError
        If PyMC does not know the density.
    """

    def __init__(
        self,
        complete: CompleteModel,
        observation: Observation,
        unit_map: UnitMap,
        distribution: AbstractIndicatorDistribution | None,
        covariates: Sequence[Covariate] = (),
    ) -> None:
        self.name = observation.name
        self._covariates = tuple(covariates)
        self.unit_map = unit_map
        self.distribution = distribution
        self._observed = observation.observed
        self._split = observation.split
        self._data = observation.data
        self._dtype = observation.density_variable.type.dtype
        self._event_ndim = observation.density_variable.owner.op.ndim_supp
        self._others = [o.name for o in complete.observations_behind(observation)]
        self._parameter_names = [p.name for p in complete.parameters]
        self._indicator_names = [i.name for i in complete.indicators]
        self._is_mixture = observation.components is not None
        self._has_component_axis = self._is_mixture and len(observation.components) == 1
        inputs = observation_inputs(complete, observation)
        inputs += [covariate.variable for covariate in self._covariates]
        value = observation.density_variable.type()
        self._graph = density_graph([*inputs, value], densities_of(observation, value, inputs))
        self._by_state = self._state_by_state()

    def _state_by_state(self) -> BatchedGraph | None:
        """Return a graph of all states at once, where that saves something."""
        if self._is_mixture or self.unit_map.indicator is None:
            return None
        first = len(self._parameter_names)
        states = self._graph.inputs[first : first + len(self._indicator_names)]
        own = states[self._indicator_names.index(self.unit_map.indicator)]
        return state_by_state(self._graph, states, own, self.distribution)

    def table(self, parameters: NamedTensors, observations: NamedData) -> Tensor:
        """Return log p(entry given z = k, θ), as (S or 1, *entries, K or 1)."""
        return _side_by_side(self._columns(parameters, observations))

    def parts(
        self, parameters: NamedTensors, observations: NamedData
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return log p(entries of a unit given z = k, θ), and of those that belong to no unit.

        As (S or 1, *units, K or 1), and their sum (S or 1,); None where there are none.
        """
        columns = self._columns(parameters, observations)
        units = None if self.distribution is None else self._add_up_columns(columns)
        free = bool((self.unit_map.owner < 0).any())
        return units, self.without_unit(_side_by_side(columns)).sum(-1) if free else None

    def unit_table(
        self, parameters: NamedTensors, observations: NamedData, num_units: int | None = None
    ) -> Tensor:
        """Return the first of :meth:`parts`.

        Of ``num_units`` units, where the data are those of some units alone.
        """
        return self._add_up_columns(self._columns(parameters, observations, num_units))

    def _add_up_columns(self, columns: Sequence[Tensor]) -> Tensor:
        return _side_by_side([self._add_up(column) for column in columns])

    @property
    def is_by_units(self) -> bool:
        """Whether entries have units along their first axis, and none is missing."""
        if self.distribution is None or self._observed is not None:
            return False
        units = self.distribution.units
        return len(units) == 1 and self.unit_map.entries_follow(units)

    def _columns(
        self, parameters: NamedTensors, observations: NamedData, num_units: int | None = None
    ) -> list[Tensor]:
        """Return what :meth:`table` consists of, in one piece or by values of the indicator."""
        entries = self.unit_map.owner.shape
        if num_units is not None:
            entries = (num_units, *entries[1:])
        value = self._value(observations)
        others = [observations[name] for name in self._others]
        others += [observations.get(c.name, c.values) for c in self._covariates]
        arguments = [parameters[name] for name in self._parameter_names]
        device = arguments[0].device if arguments else torch.device("cpu")
        if self._is_mixture or self.distribution is None:
            states = [np.zeros(1, dtype="int64") for _ in self._indicator_names]
            results = self._graph([*arguments, *states, *others, value])
            if self._has_component_axis:
                tensor = _on_device(results[0], device)
                return [self._entries(tensor, (*entries, tensor.shape[-1]))]
            return [self._entries(_on_device(x, device), entries)[..., None] for x in results]
        if self._by_state is not None and num_units is None:
            results = self._by_state([*arguments, *others, value])
            return [self._entries(_on_device(x, device), entries)[..., None] for x in results]
        units = self.distribution.units if num_units is None else (num_units,)
        if len(self.distribution.support) >= _MANY_STATES:
            return [self._all_states([*arguments, *others, value], units, entries)]
        columns = []
        for k in self.distribution.support:
            own = np.full(units, k)
            result = self._graph([*arguments, *self._states(own), *others, value])[0]
            columns.append(self._entries(_on_device(result, device), entries)[..., None])
        return columns

    def _states(self, own: Tensor | np.ndarray) -> list[Tensor | np.ndarray]:
        """Return values of all indicators, of which one is given and others do not matter."""
        nothing = np.zeros(1, dtype="int64")
        return [own if n == self.unit_map.indicator else nothing for n in self._indicator_names]

    def _all_states(
        self, values: list[Tensor | np.ndarray], units: tuple[int, ...], entries: tuple[int, ...]
    ) -> Tensor:
        """Return the table (S or 1, *entries, K) of many states, which are draws to the graph."""
        support, first = self.distribution.support, len(self._parameter_names)
        repeated, own, shape = states_as_draws(values, support, units)
        result = self._graph([*repeated[:first], *self._states(own), *repeated[first:]])[0]
        table = self._entries(_on_device(result, own.device), entries)
        return table.expand(len(own), *entries).unflatten(0, shape).movedim(1, -1)

    def symbolic_table(
        self, parameters: Mapping[str, Variable], data: Mapping[str, Variable]
    ) -> Variable:
        """Return the table of one draw and one data set as a PyTensor graph, (*entries, K or 1).

        Parameters
        ----------
        parameters, data : mapping of str to Variable
            As in :meth:`table`; of this variable itself what :meth:`values` returns.
        """
        support = (None,) if self.distribution is None else self.distribution.support
        if self._has_component_axis:
            return self._symbolic(parameters, data, support[0], (len(support),))[0]
        columns = [self.symbolic_column(parameters, data, k) for k in range(len(support))]
        return pt.stack(columns, axis=-1)

    def symbolic_column(
        self, parameters: Mapping[str, Variable], data: Mapping[str, Variable], k: int
    ) -> Variable:
        """Return one column of :meth:`symbolic_table`, (*entries)."""
        state = None if self.distribution is None else self.distribution.support[k]
        if self._has_component_axis:
            return self.symbolic_table(parameters, data)[..., k]
        outputs = self._symbolic(parameters, data, state)
        return outputs[k] if self._is_mixture else outputs[0]

    def _symbolic(
        self,
        parameters: Mapping[str, Variable],
        data: Mapping[str, Variable],
        state: int | None,
        last: tuple[int, ...] = (),
    ) -> list[Variable]:
        """Return the densities (*entries, *last) as graphs, with all units in one state."""
        names = [*self._others, *(c.name for c in self._covariates), self.name]
        first = len(self._parameter_names)
        inputs, end = self._graph.inputs, first + len(self._indicator_names)
        known = dict(
            zip(inputs, (parameters[name] for name in self._parameter_names), strict=False)
        )
        known |= dict(zip(inputs[end:], (data[name] for name in names), strict=True))
        known |= {
            stand_in: pt.constant(np.full(self.distribution.units, state, stand_in.type.dtype))
            for name, stand_in in zip(self._indicator_names, inputs[first:end], strict=True)
            if name == self.unit_map.indicator
        }
        outputs = graph_replace(list(self._graph.outputs), known, strict=False)
        shape = (*self.unit_map.owner.shape, *last)
        return [pt.broadcast_to(output, shape) for output in outputs]

    def values(self, data: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return data of which every entry has a density, and which of them count.

        Parameters
        ----------
        data : numpy.ndarray, shape (m, *shape)
            Frames of data; anything where missing or not in use.
        used : numpy.ndarray of bool, shape (m, *shape of entries)
            Which entries are in use, missing ones included.

        Returns
        -------
        values : numpy.ndarray, shape (m, *shape)
            With a value that was observed in every place; the observed entries alone, where the
            density is theirs.
        used : numpy.ndarray of bool, shape (m, *entries)
            Which entries are observed and in use.
        """
        own = np.broadcast_to(self._data, data.shape)
        filled = np.where(_spread(used, data.ndim), data, own).astype(self._dtype)
        if self._observed is None:
            return filled, used
        if self._split:
            return filled[:, self._observed], used[:, self._observed]
        filled[:, ~self._observed] = self._data[self._observed][0]
        return filled, used & _spread(self._observed[None], used.ndim)

    @property
    def value_types(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """Type and shape of :meth:`values` without the axis of frames, and shape of the entries."""
        entries = self.unit_map.owner.shape
        event = self._data.shape[self._data.ndim - self._event_ndim :]
        return self._dtype, (*entries, *event), entries

    def _value(self, observations: NamedData) -> Tensor | np.ndarray:
        """Return the observed entries alone, or with the missing ones set to 0."""
        value = observations[self.name]
        if self._observed is None:
            return value
        mask = self._observed
        if isinstance(value, np.ndarray):
            if self._split:
                return value[mask]
            spread = mask.reshape(*mask.shape, *(1,) * (value.ndim - mask.ndim))
            return np.where(spread, value, np.zeros((), dtype=value.dtype))
        mask = torch.as_tensor(mask, device=value.device)
        if self._split:
            return value[:, mask]
        spread = mask.reshape(*mask.shape, *(1,) * (value.ndim - 1 - mask.ndim))
        return torch.where(spread, value, torch.zeros_like(value))

    def _entries(self, tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return log densities (S or 1, *shape), 0 where the entry is missing."""
        missing = len(shape) + 1 - tensor.ndim
        tensor = tensor.reshape(tensor.shape[0], *(1,) * missing, *tensor.shape[1:])
        tensor = tensor.expand(tensor.shape[0], *shape)
        if self._observed is not None and not self._split:
            mask = torch.as_tensor(self._observed, device=tensor.device)
            mask = mask.reshape(*mask.shape, *(1,) * (len(shape) - mask.ndim))
            tensor = torch.where(mask, tensor, torch.zeros_like(tensor))
        return tensor

    def _add_up(self, table: Tensor) -> Tensor:
        """Add up the entries of each unit: (S, *entries, K) to (S, *units, K)."""
        units, unit_map = self.distribution.units, self.unit_map
        if unit_map.entries_follow(units):
            further = tuple(range(1 + len(units), table.ndim - 1))
            return table.sum(further) if further else table
        # Draws come last, as they lie in memory: rows that are added up are then whole.
        flat = table.movedim(0, -1).reshape(unit_map.owner.size, table.shape[-1], len(table))
        owner = torch.as_tensor(unit_map.owner.ravel(), device=table.device)
        if bool((owner < 0).any()):
            flat, owner = flat[owner >= 0], owner[owner >= 0]
        totals = flat.new_zeros(math.prod(units), *flat.shape[1:]).index_add(0, owner, flat)
        return totals.movedim(-1, 0).reshape(-1, *units, table.shape[-1])

    def without_unit(self, table: Tensor) -> Tensor:
        """Select the entries that depend on no unit: (S, *entries, K or 1) to (S, n).

        Raises
        ------
        UnsupportedModelError
            If they do depend on one, for these parameters.
        """
        free = torch.as_tensor(self.unit_map.owner.ravel() < 0, device=table.device)
        columns = table.reshape(table.shape[0], -1, table.shape[-1])[:, free]
        if columns.shape[-1] > 1 and bool(differs(columns, columns[..., :1]).any()):
            raise UnsupportedModelError(
                f"Expected some values of {self.name!r} not to depend on "
                f"{self.unit_map.indicator!r}, as it was under all prior draws with which the "
                "model was read; for these parameters they do. Give components priors under which "
                "they differ, so that it shows which unit each value belongs to, such as wider "
                'ones:\n\n    mu = pm.Normal("mu", 0, sd, shape=K)'
            )
        return columns[..., 0]


def _on_device(result: Tensor | np.ndarray, device: torch.device) -> Tensor:
    """Return densities (S or 1, ...); those that depend on no parameter come as arrays (...)."""
    if isinstance(result, Tensor):
        return result
    return torch.as_tensor(result, device=device).unsqueeze(0)


def _side_by_side(columns: Sequence[Tensor]) -> Tensor:
    """Put columns (S, *entries, K) side by side, with draws last in memory."""
    if len(columns) == 1:
        return columns[0]
    draws_last = [column.movedim(0, -1) for column in torch.broadcast_tensors(*columns)]
    return torch.cat(draws_last, dim=-2).movedim(-1, 0)


def _spread(mask: np.ndarray, ndim: int) -> np.ndarray:
    return mask.reshape(*mask.shape, *(1,) * (ndim - mask.ndim))
