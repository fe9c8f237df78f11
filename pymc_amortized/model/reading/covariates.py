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
from pytensor.tensor.elemwise import Elemwise
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Shape, Shape_i
from pytensor.tensor.subtensor import Subtensor
from torch import Tensor

from pymc_amortized.model.complete_model import CompleteModel, Indicator, Observation
from pymc_amortized.model.reading.pairing import Pairing
from pymc_amortized.model.reading.response import Responses, constant_value
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
    responses: Responses,
    unit_maps: Mapping[str, UnitMap],
    independent: Collection[str],
) -> tuple[tuple[Covariate, ...], dict[str, bool]]:
    """Find the covariates of a model, and whether units are exchangeable given them.

    Parameters
    ----------
    responses : Responses
        Those of the model's observed variables and indicators.
    unit_maps : mapping of str to UnitMap
        Units of each observation.
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
    complete = responses.complete
    axes: dict[Variable, list[UnitAxis]] = {variable: [] for variable in complete.data.values()}
    names = {variable: name for name, variable in complete.data.items()}
    exchangeable = {}
    shared: set[Variable] = set()
    for observation in complete.observations:
        unit_map = unit_maps[observation.name]
        prior_of = _indicator_along(complete, unit_map, responses.draws, independent)
        pairing = Pairing(responses, observation, unit_map, prior_of)
        for position, variable in enumerate(v for v in pairing.values if v not in names):
            names[variable] = f"{observation.name}_covariate_{position}"
            axes[variable] = []
        found = pairing.find()
        exchangeable[observation.name] = found is not None
        for variable, axis in (found or {}).items():
            if not _is_place(constant_value(variable), observation):
                axes[variable].append(UnitAxis(observation.name, axis))
        if found and not pairing.is_local(found):
            shared.update(found)
    for observation in complete.observations:
        behind = _values_behind(observation.roots)
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
