"""Covariates: data that the model conditions on, and along which units they run.

A covariate is found whether it is ``pm.Data`` or a bare NumPy array in the graph, and whether or
not the model gave it dims. That it runs along the units is established by a permutation: if units
are shuffled in the observation, in the indicator and in the covariate alike, every entry's response
must move along with its unit.
"""

import itertools

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.traversal import ancestors, io_toposort
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.op import RandomVariable, RNGConsumerOp
from pytensor.tensor.shape import Reshape, Shape, Shape_i
from pytensor.tensor.subtensor import Subtensor
from pytensor.tensor.type import TensorType
from torch import Tensor

from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation
from pymc_amortized.model.reading.response import Response, differs, observation_inputs
from pymc_amortized.model.reading.unit_map import UnitMap

__all__ = ["Covariate", "UnitAxis", "find_covariates"]

_MAX_CANDIDATES = 6


@dataclass(frozen=True, slots=True)
class UnitAxis:
    """An axis of a covariate that runs along the units of an observation.

    Attributes
    ----------
    observation : str
        Name of the observation.
    covariate_axis : int
        The axis that runs along the first one of the observation.
    """

    observation: str
    covariate_axis: int


@dataclass(frozen=True, slots=True)
class Covariate:
    """Data that the model conditions on.

    Attributes
    ----------
    name : str
        As in the model, or ``<observation>_covariate_<i>`` for a bare array.
    variable : Variable
        In the graph.
    values : numpy.ndarray
        At the time of reading.
    origin : {"data", "constant"}
        ``pm.Data``, or a bare array.
    unit_axes : tuple of UnitAxis
        The axes that run along units; empty where it belongs to all units alike.
    local : bool
        Whether units depend on their own rows of it alone, and not on the mean of all, say.
    in_prior : bool
        Whether the prior of some parameter depends on it.
    counted : bool
        Whether the model calculates with the number of its units.
    """

    name: str
    variable: Variable
    values: np.ndarray
    origin: str
    unit_axes: tuple[UnitAxis, ...]
    local: bool
    in_prior: bool
    counted: bool


def find_covariates(
    complete: CompleteModel,
    unit_maps: Mapping[str, UnitMap],
    draws: Mapping[str, Tensor],
    independent: Collection[str],
) -> tuple[tuple[Covariate, ...], dict[str, bool]]:
    """Find the covariates of a model, and whether units are exchangeable given them.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    unit_maps : mapping of str to UnitMap
        Units of each observation.
    draws : mapping of str to Tensor, shape (M, *shape)
        Simulated data sets with their parameters and indicators.
    independent : collection of str
        Indicators that are independent of each other, with known probabilities.

    Returns
    -------
    covariates : tuple of Covariate
        All of them, each once.
    exchangeable : dict of str to bool
        For each observation, whether the first axis of its entries can be permuted together with
        the covariates that run along it.
    """
    axes: dict[Variable, list[UnitAxis]] = {variable: [] for variable in complete.data.values()}
    names = {variable: name for name, variable in complete.data.items()}
    exchangeable = {}
    shared: set[Variable] = set()
    for observation in complete.observations:
        prior_of = _indicator_along(complete, unit_maps[observation.name], draws, independent)
        candidates = _candidates(complete, observation, prior_of)
        for position, variable in enumerate(v for v in candidates if v not in names):
            names[variable] = f"{observation.name}_covariate_{position}"
            axes[variable] = []
        pairing = _Pairing(
            complete, observation, unit_maps[observation.name], draws, candidates, prior_of
        )
        found = pairing.find()
        exchangeable[observation.name] = found is not None
        for variable, axis in (found or {}).items():
            if not _is_place(_value(variable), observation):
                axes[variable].append(UnitAxis(observation.name, axis))
        if found and not pairing.is_local(found):
            shared.update(found)
    for observation in complete.observations:
        behind = _values_behind(observation.components or (observation.density_variable,))
        shared.update(
            variable
            for variable, unit_axes in axes.items()
            if variable in behind and observation.name not in {a.observation for a in unit_axes}
        )
    of_prior = _values_behind(complete.parameter_variables)
    covariates = tuple(
        Covariate(
            names[variable],
            variable,
            _value(variable),
            "data" if names[variable] in complete.data else "constant",
            tuple(unit_axes),
            variable not in shared,
            variable in of_prior,
            _is_counted(complete, variable, unit_axes),
        )
        for variable, unit_axes in axes.items()
        if names[variable] in complete.data or unit_axes
    )
    return covariates, exchangeable


def _values_behind(variables: Sequence[Variable]) -> set[Variable]:
    """Return what values depend on, other than through the shape of something."""
    everything = ancestors(variables)
    shapes = [v for v in everything if v.owner is not None and _is_shape(v.owner)]
    return set(ancestors(variables, blockers=shapes))


def _is_shape(node: Apply) -> bool:
    return isinstance(node.op, Shape | Shape_i)


def _is_counted(complete: CompleteModel, variable: Variable, unit_axes: Sequence[UnitAxis]) -> bool:
    """Whether the number of units of a covariate enters a calculation, other than of sizes."""
    axes = {axis.covariate_axis for axis in unit_axes}
    counts: set[Variable] = set()
    roots = [*complete.parameter_variables, *(o.variable for o in complete.observations)]
    for node in io_toposort([], roots):
        if _is_shape(node):
            known = isinstance(node.op, Shape) or node.op.i in axes
            if node.inputs[0] is variable and known:
                counts.update(node.outputs)
        elif not counts.isdisjoint(node.inputs):
            place = _place_in_shape(node)
            if place is not None and place % variable.ndim not in axes:
                continue
            if isinstance(node.op, Elemwise) and node.outputs[0].type.dtype.startswith("float"):
                return True
            if node.outputs[0].type.dtype.startswith("int"):
                counts.update(node.outputs)
    return False


def _place_in_shape(node: Apply) -> int | None:
    """Return k for ``x.shape[k]``."""
    source = node.inputs[0].owner
    if not isinstance(node.op, Subtensor) or source is None or not _is_shape(source):
        return None
    index = node.inputs[1:]
    if node.outputs[0].type.ndim or len(index) != 1 or not isinstance(index[0], Constant):
        return None
    return int(index[0].data)


def _is_place(values: np.ndarray, observation: Observation) -> bool:
    """Whether an array is only where PyMC found the observed entries, and no covariate."""
    if not observation.split or values.dtype.kind not in "iu":
        return False
    return any(np.array_equal(values, place) for place in np.nonzero(observation.observed))


def _value(variable: Variable) -> np.ndarray:
    return np.asarray(BatchedGraph([], [variable])([])[0])


def _indicator_along(
    complete: CompleteModel,
    unit_map: UnitMap,
    draws: Mapping[str, Tensor],
    independent: Collection[str],
) -> Indicator | None:
    """Return the explicit indicator whose units are the first axes of the entries, if it is one.

    The weights of a mixture are in its response already; the states of a chain are not exchangeable
    anyway.
    """
    for indicator in complete.indicators:
        units = tuple(draws[indicator.name].shape[1:])
        op = indicator.variable.owner.op
        if (
            indicator.name == unit_map.indicator
            and indicator.name in independent
            and indicator.origin != "mixture"
            and units
            and unit_map.owner.shape[: len(units)] == units
            and isinstance(op, RandomVariable)
        ):
            return indicator
    return None


def _candidates(
    complete: CompleteModel, observation: Observation, prior_of: Indicator | None
) -> list[Variable]:
    """Return ``pm.Data`` and constant arrays on which an observation or its indicator depends."""
    roots = (
        [observation.density_variable]
        if observation.components is None
        else [*observation.components, observation.weights]
    )
    if prior_of is not None:
        node = prior_of.variable.owner
        roots += node.op.dist_params(node)
    cut = observation_inputs(complete, observation)
    data = list(complete.data.values())
    nodes = io_toposort([*cut, *data], roots)
    random = set(cut)
    for node in nodes:
        if isinstance(node.op, RNGConsumerOp) or not random.isdisjoint(node.inputs):
            random.update(node.outputs)
    found: list[Variable] = []
    for node in nodes:
        if random.isdisjoint(node.outputs):
            continue
        for variable in _value_inputs(node):
            if variable not in random and variable not in data and variable not in found:
                found.append(variable)
    above = set(ancestors(roots, blockers=[*cut, *data]))
    named = [variable for variable in data if variable in above]
    return [*named, *(v for v in found if _is_array(v) and not set(data) & set(ancestors([v])))]


def _is_array(variable: Variable) -> bool:
    """Whether a variable can hold covariates: not a single number, and not a mask."""
    return variable.type.dtype != "bool" and any(length != 1 for length in variable.type.shape)


def _value_inputs(node: Apply) -> list[Variable]:
    """Return the inputs of a node that are values, not sizes."""
    if isinstance(node.op, RNGConsumerOp):
        return list(node.op.dist_params(node)) if getattr(node.op, "signature", None) else []
    if isinstance(node.op, Alloc | Reshape):
        return list(node.inputs[:1])
    return [variable for variable in node.inputs if isinstance(variable.type, TensorType)]


class _Pairing:
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
            variable: torch.as_tensor(np.array(_value(variable))).unsqueeze(0)
            for variable in candidates
        }
        self.indicator = unit_map.indicator
        self.draws = draws
        shape = self.response.entry_shape
        self.num_entries = shape[0] if shape else 1
        self.permutation = torch.as_tensor(_derangement(self.num_entries))
        self.row_of_entry = self._rows(observation)
        self.unit_permutation = self._of_units(observation)
        units = draws[self.indicator].shape[1:] if self.indicator is not None else ()
        self.moves_indicator = bool(units) and units[0] == self.unit_permutation.numel()

    def _rows(self, observation: Observation) -> Tensor:
        """Return the unit of each entry: only observed ones have entries in a split variable."""
        if not observation.split or observation.observed.ndim > 1:
            return torch.arange(self.num_entries)
        return torch.as_tensor(np.flatnonzero(observation.observed))

    def _of_units(self, observation: Observation) -> Tensor:
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
        ][:_MAX_CANDIDATES]
        for size in range(len(options) + 1):
            for chosen in itertools.combinations(options, size):
                if len({variable for variable, _ in chosen}) == size and self._holds(chosen):
                    return dict(chosen)
        return None

    def is_local(self, chosen: Mapping[Variable, int]) -> bool:
        """Whether the first half of the units responds to its own rows of covariates alone."""
        own = self.num_entries // 2
        last_row = int(self.row_of_entry[own - 1])
        for row in range(self.response.values.shape[0]):
            given: dict[Variable | str, Tensor] = dict(self.values)
            before = self.response(given, row=row)
            for variable, axis in chosen.items():
                rows = torch.arange(self.unit_permutation.numel())
                given[variable] = given[variable].index_select(axis + 1, rows.clamp(max=last_row))
            after = self.response(given, row=row)
            pairs = zip(before, after, strict=True)
            if any(bool(differs(x[:, :own], y[:, :own]).any()) for x, y in pairs):
                return False
        return True

    def _holds(self, chosen: Sequence[tuple[Variable, int]]) -> bool:
        """Whether units can be permuted with the chosen covariates, under every draw."""
        return all(self._holds_under(row, chosen) for row in range(self.response.values.shape[0]))

    def _holds_under(self, row: int, chosen: Sequence[tuple[Variable, int]]) -> bool:
        given: dict[Variable | str, Tensor] = dict(self.values)
        before = self.response(given, row=row)
        for variable, axis in chosen:
            given[variable] = given[variable].index_select(axis + 1, self.unit_permutation)
        if self.moves_indicator:
            indicator = self.draws[self.indicator][row : row + 1]
            given[self.indicator] = indicator.index_select(1, self.unit_permutation)
        value = self.response.values[row : row + 1].index_select(1, self.permutation)
        after = self.response(given, value, row)
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
