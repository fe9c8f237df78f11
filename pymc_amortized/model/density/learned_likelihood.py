"""Distributions of a model that have no density: what there is to learn of them, and from what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from pytensor.graph.basic import Variable
from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError, UnsupportedModelError
from pymc_amortized.graph.callbacks.learned_distribution import (
    can_be_learned,
    core_arguments,
    learned_variable,
)
from pymc_amortized.graph.logp import density_graph, elementwise_logp
from pymc_amortized.model.complete_model import CompleteModel, Observation
from pymc_amortized.model.density.prior_density import PriorDensity
from pymc_amortized.model.reading.response import observation_inputs
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.typing import NamedTensors

__all__ = ["UnknownDistribution", "learned_variables", "unknown_distributions"]


@dataclass(frozen=True, slots=True, eq=False)
class UnknownDistribution:
    """A distribution that can be drawn from, and has no density.

    Attributes
    ----------
    name : str
        Of the observed variable, with the position of the component in brackets, if it is one.
    variable : Variable
        In the graph of the complete-data model.
    observation : Observation
        That it is the distribution of, or of a component of.
    component : int or None
        Which component of a mixture it is; None if it is no component, or stands for all of them.
    """

    name: str
    variable: Variable
    observation: Observation
    component: int | None

    @property
    def is_discrete(self) -> bool:
        """Whether its values are whole numbers."""
        return not self.variable.type.dtype.startswith("float")

    @property
    def event_shape(self) -> tuple[int, ...]:
        """The shape of one draw."""
        data, ndim = self.observation.data, self.variable.owner.op.ndim_supp
        return data.shape[data.ndim - ndim :]

    def pairs(
        self,
        complete: CompleteModel,
        parameters: NamedTensors,
        indicators: NamedTensors,
        observations: NamedTensors,
    ) -> tuple[Tensor, Tensor]:
        """Return arguments (M, A) and values (M, P) of all its draws in S simulated data sets.

        Parameters
        ----------
        complete : CompleteModel
            The model.
        parameters, indicators, observations : mapping of str to Tensor, shape (S, ...)
            The data sets, with what they were made from.
        """
        arguments = self._arguments(complete, parameters, indicators, observations)
        values, observation = observations[self.observation.name], self.observation
        if observation.split:
            values = values[:, torch.as_tensor(observation.observed, device=values.device)]
        event = len(self.event_shape)
        batch = values.shape[: values.ndim - event]
        values = values.reshape(*batch, -1).double()
        if observation.components is None:
            arguments = _spread(arguments, batch)
            return arguments.flatten(0, -2), values.flatten(0, -2)
        states = indicators[observation.mixture_indicator].expand(batch)
        if self.component is not None:
            own = states == self.component
            return _spread(arguments, batch)[own], values[own]
        arguments = _spread(arguments, (*batch, arguments.shape[-2]))
        index = states[..., None, None].expand(*batch, 1, arguments.shape[-1])
        return arguments.gather(-2, index).flatten(0, -2), values.flatten(0, -2)

    def _arguments(
        self,
        complete: CompleteModel,
        parameters: NamedTensors,
        indicators: NamedTensors,
        observations: NamedTensors,
    ) -> Tensor:
        """Return its arguments as the graph has them, (S or 1, ..., A)."""
        graph = density_graph(
            observation_inputs(complete, self.observation), [core_arguments(self.variable)]
        )
        values = [
            *(parameters[p.name] for p in complete.parameters),
            *(indicators[i.name] for i in complete.indicators),
            *(observations[o.name] for o in complete.observations_behind(self.observation)),
        ]
        [found] = graph(values)
        device = observations[self.observation.name].device
        if isinstance(found, Tensor):
            return found.double()
        return torch.as_tensor(found, device=device).double()[None]


def unknown_distributions(complete: CompleteModel) -> tuple[UnknownDistribution, ...]:
    """Return the distributions of a model whose density could be learned, which are all it lacks.

    Raises
    ------
    UnsupportedModelError
        If there is none, or if something else has no density.
    """
    found = [
        UnknownDistribution(name, variable, observation, component)
        for observation in complete.observations
        for name, variable, component in _parts(observation)
        if not _has_density(observation, variable, complete)
    ]
    if not found:
        raise UnsupportedModelError(
            "Expected a model that lacks a density, to learn one; that of this model is known, and "
            "better than any that could be learned. Leave the likelihood network out:\n\n"
            "    pma.fit(model)"
        )
    for one in found:
        if not can_be_learned(one.variable):
            raise UnsupportedModelError(
                f"Expected what has no density to be a pm.CustomDist with random=, or a "
                f"pm.Simulator, that is observed or a component of a pm.Mixture; {one.name!r} is "
                "made of such a variable by other operations. Give what has none a density:\n\n"
                '    pm.CustomDist("y", *parameters, logp=logp, random=random, observed=data)'
            )
    PriorDensity(complete)
    return tuple(found)


def learned_variables(
    unknown: Sequence[UnknownDistribution], networks: Mapping[str, LikelihoodNetwork]
) -> dict[Variable, Variable]:
    """Return variables with the density of a network, for those of the model without any."""
    return {
        one.variable: learned_variable(one.variable, networks[one.name], one.event_shape)
        for one in unknown
    }


def _parts(observation: Observation) -> list[tuple[str, Variable, int | None]]:
    if observation.components is None:
        return [(observation.name, observation.density_variable, None)]
    if len(observation.components) == 1:
        return [(observation.name, observation.components[0], None)]
    return [(f"{observation.name}[{k}]", x, k) for k, x in enumerate(observation.components)]


def _has_density(observation: Observation, variable: Variable, complete: CompleteModel) -> bool:
    value = variable.type()
    try:
        elementwise_logp(variable, value, observation_inputs(complete, observation))
    except DensityUnavailableError:
        return False
    return True


def _spread(arguments: Tensor, batch: Sequence[int]) -> Tensor:
    """Repeat arguments (S or 1, ..., A) for every draw: (*batch, A)."""
    missing = len(batch) + 1 - arguments.ndim
    shape = (len(arguments), *(1,) * missing, *arguments.shape[1:])
    return arguments.reshape(shape).expand(*batch, arguments.shape[-1])
