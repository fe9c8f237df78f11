"""Covariates: data that the model conditions on, and along which units they run.

A covariate is found whether it is ``pm.Data`` or a bare NumPy array in the graph, and whether or
not the model gave it dims. That it runs along the units is established by a permutation: if units
are shuffled in the observation, in the indicator and in the covariate alike, every entry's response
must move along with its unit.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytensor.graph.basic import Apply, Constant, Variable
from pytensor.graph.traversal import ancestors, io_toposort
from pytensor.tensor.basic import Alloc
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.op import RandomVariable, RNGConsumerOp
from pytensor.tensor.shape import Reshape, Shape, Shape_i
from pytensor.tensor.subtensor import Subtensor
from pytensor.tensor.type import TensorType
from torch import Tensor

from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation
from pymc_amortized.model.reading.pairing import Pairing, constant_value
from pymc_amortized.model.reading.response import observation_inputs
from pymc_amortized.model.reading.unit_map import UnitMap

__all__ = ["Covariate", "UnitAxis", "find_covariates"]


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
        pairing = Pairing(
            complete, observation, unit_maps[observation.name], draws, candidates, prior_of
        )
        found = pairing.find()
        exchangeable[observation.name] = found is not None
        for variable, axis in (found or {}).items():
            if not _is_place(constant_value(variable), observation):
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
            constant_value(variable),
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
