"""What a complete-data model consists of: its variables, as they are in the graph."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pymc as pm

from pymc.logprob.transforms import Transform
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import graph_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.elemwise import Elemwise

from pymc_amortized.model.indicators.digits import Digits

__all__ = [
    "CompleteModel",
    "Indicator",
    "Member",
    "Observation",
    "Parameter",
    "current_value",
    "without_casts",
]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A continuous free variable.

    Attributes
    ----------
    name : str
        As in the model.
    variable : Variable
        In the graph of the complete-data model.
    transform : Transform or None
        PyMC's map to the unconstrained space.
    """

    name: str
    variable: Variable
    transform: Transform | None


@dataclass(frozen=True, slots=True)
class Indicator:
    """A discrete latent variable, one value per unit.

    Attributes
    ----------
    name : str
        Its own, or ``<observation>_component`` where the model hides it in a mixture.
    variable : Variable
        In the graph of the complete-data model.
    origin : {"explicit", "mixture", "marginalized", "joint"}
        How the model had it.
    order : int
        How many units back it depends on: 0 for independent indicators.
    dims : tuple of str, or None
        Names of the axes of its units.
    value_dim : str or None
        Name of the axis of its weights, which counts its values.
    members : tuple of Member
        The indicators that it stands for, if it is a joint one of several.
    """

    name: str
    variable: Variable
    origin: str
    order: int
    dims: tuple[str | None, ...] | None
    value_dim: str | None = None
    members: tuple["Member", ...] = ()

    @property
    def named(self) -> tuple["Indicator", ...]:
        """The indicators of the model that it stands for: its members, or itself."""
        return tuple(member.indicator for member in self.members) or (self,)


@dataclass(frozen=True, slots=True)
class Member:
    """An indicator that is part of a joint one.

    Attributes
    ----------
    indicator : Indicator
        As the model had it.
    digits : Digits
        Where it is found in the joint one.
    """

    indicator: Indicator
    digits: Digits


@dataclass(frozen=True, slots=True)
class Observation:
    """An observed variable.

    Attributes
    ----------
    name : str
        As in the model.
    variable : Variable
        Draws whole data sets, missing values included.
    density_variable : Variable
        The random variable whose density the observed entries have.
    components : tuple of Variable, or None
        The component distributions of a mixture, as ``pm.Mixture`` has them.
    weights : Variable or None
        The weights of a mixture (*units or none, components).
    mixture_indicator : str or None
        Name of the indicator that selects the component.
    data : numpy.ndarray
        The observed values; NaN or 0 where missing.
    observed : numpy.ndarray or None
        True where observed; None where everything is.
    split : bool
        Whether ``density_variable`` holds the observed entries only, one after the other.
    dims : tuple of str, or None
        Names of the axes.
    """

    name: str
    variable: Variable
    density_variable: Variable
    components: tuple[Variable, ...] | None
    weights: Variable | None
    mixture_indicator: str | None
    data: np.ndarray
    observed: np.ndarray | None
    split: bool
    dims: tuple[str | None, ...] | None

    @property
    def roots(self) -> tuple[Variable, ...]:
        """What the density of its entries depends on: components and weights, or the variable."""
        if self.components is None:
            return (self.density_variable,)
        return (*self.components, self.weights)


@dataclass(frozen=True, slots=True)
class CompleteModel:
    """A model with every indicator explicit.

    Attributes
    ----------
    model : pymc.Model
        The user's model, unchanged.
    parameters, indicators, observations : tuple
        In the order of the model, which is one in which they can be drawn.
    deterministics, potentials, data : dict of str to Variable
        The rest of the model, by name; ``data`` are the ``pm.Data`` that are not observed.
    """

    model: pm.Model
    parameters: tuple[Parameter, ...]
    indicators: tuple[Indicator, ...]
    observations: tuple[Observation, ...]
    deterministics: Mapping[str, Variable]
    potentials: Mapping[str, Variable]
    data: Mapping[str, Variable]

    @property
    def parameter_variables(self) -> list[Variable]:
        """The parameters, as they are in the graph."""
        return [parameter.variable for parameter in self.parameters]

    @property
    def indicator_variables(self) -> list[Variable]:
        """The indicators, as they are in the graph."""
        return [indicator.variable for indicator in self.indicators]

    @property
    def named_indicators(self) -> list[Indicator]:
        """The indicators as the model has them: those that a joint one stands for, each."""
        return [named for indicator in self.indicators for named in indicator.named]

    def observations_behind(self, observation: Observation) -> list[Observation]:
        """Return the other observed variables that one depends on."""
        above = set(ancestors(observation.roots))
        return [
            other
            for other in self.observations
            if other is not observation and above & {other.variable, other.density_variable}
        ]

    def replaced(self, replacements: Mapping[Variable, Variable]) -> "CompleteModel":
        """Return the model with other variables in the places of some, below parameters."""

        def new(variable: Variable) -> Variable:
            reached = set(ancestors([variable], blockers=replacements))
            present = {old: new for old, new in replacements.items() if old in reached}
            return graph_replace([variable], present, strict=False)[0] if present else variable

        def renewed(observation: Observation) -> Observation:
            if observation.components is None:
                return replace(
                    observation,
                    variable=new(observation.variable),
                    density_variable=new(observation.density_variable),
                )
            return replace(
                observation,
                components=tuple(new(component) for component in observation.components),
                weights=new(observation.weights),
            )

        return replace(
            self,
            deterministics={name: new(v) for name, v in self.deterministics.items()},
            potentials={name: new(v) for name, v in self.potentials.items()},
            observations=tuple(renewed(observation) for observation in self.observations),
        )


def current_value(variable: Variable) -> np.ndarray:
    """Return the value of data: shared, frozen into the model, or computed from such."""
    if isinstance(variable, Constant):
        return np.asarray(variable.data)
    if isinstance(variable, SharedVariable):
        return np.array(variable.get_value(borrow=True))
    return np.asarray(variable.eval())


def without_casts(variable: Variable) -> Variable:
    """Return what a variable is, below casts and other functions of one argument."""
    while variable.owner is not None and isinstance(variable.owner.op, Elemwise):
        if len(variable.owner.inputs) > 1:
            break
        [variable] = variable.owner.inputs
    return variable
