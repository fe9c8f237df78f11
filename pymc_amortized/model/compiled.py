"""A model, read and compiled: everything that simulation and density need of it."""

import copy

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import pymc as pm
import pytensor
import torch

from pytensor.graph.traversal import ancestors
from torch import Tensor

from pymc_amortized.errors import (
    DensityUnavailableError,
    ModelReadingError,
    SeveralUnitsError,
    UnsupportedModelError,
)
from pymc_amortized.graph.backend import Backend, BatchedGraph
from pymc_amortized.model.complete_model import CompleteModel, Indicator, current_value
from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.model.density.learned_likelihood import (
    UnknownDistribution,
    learned_variables,
    unknown_distributions,
)
from pymc_amortized.model.describe import describe
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution
from pymc_amortized.model.ordered_prior import OrderedPrior
from pymc_amortized.model.reading.chains.states_from_draws import simulated_distribution
from pymc_amortized.model.reading.completion import complete_model
from pymc_amortized.model.reading.covariates import Covariate, find_covariates
from pymc_amortized.model.reading.indicator_distribution import indicator_distribution
from pymc_amortized.model.reading.joint.joining import units_can_be_joined, with_joint_indicators
from pymc_amortized.model.reading.response import Responses
from pymc_amortized.model.reading.stages import Stages
from pymc_amortized.model.reading.unit_map import UnitMap, unit_map
from pymc_amortized.model.restricted_prior import RestrictedPrior
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork

__all__ = ["CompiledModel", "compile_model"]

_NUM_DRAWS_OF_STATES = 512


class CompiledModel:
    """The stages in which data sets are drawn, and the reading of the model.

    Attributes
    ----------
    complete : CompleteModel
        The complete-data model.
    prior : RestrictedPrior
        Draws θ.
    distributions : dict of str to AbstractIndicatorDistribution
        p(z given θ).
    unit_maps : dict of str to UnitMap
        Which unit each observed value belongs to.
    covariates : tuple of Covariate
        What the model conditions on.
    spec : ModelSpec
        All of it, to be read.
    likelihood_networks : dict of str to LikelihoodNetwork
        Densities that were learned, by the names of the distributions.
    """

    def __init__(self, complete: CompleteModel, backend: Backend) -> None:
        self.complete = complete
        self.likelihood_networks: dict[str, LikelihoodNetwork] = {}
        self._data_as_read = {v.name: current_value(v) for v in complete.model.data_vars}
        self.prior = RestrictedPrior(complete, backend)
        self._stages = Stages(complete, backend)
        draws = self._stages.a_few(self.prior)
        self.distributions = {i.name: self._distribution(i, draws) for i in complete.indicators}
        supports = {name: d.support for name, d in self.distributions.items()}
        generator = torch.Generator().manual_seed(0)
        responses = Responses(complete, draws)
        self.unit_maps: dict[str, UnitMap] = {
            o.name: unit_map(responses, o, supports, generator) for o in complete.observations
        }
        self.covariates, exchangeable = find_covariates(
            responses,
            self.unit_maps,
            [name for name, d in self.distributions.items() if d.is_independent],
        )
        if self.unit_covariates:
            self.distributions |= {
                i.name: indicator_distribution(complete, i, draws, self.unit_covariates)
                for i in complete.indicators
                if self.distributions[i.name].is_independent
            }
        self.spec = describe(
            responses,
            self.prior,
            self.distributions,
            self.unit_maps,
            self.covariates,
            exchangeable,
        )

    def with_likelihood(self, networks: Mapping[str, LikelihoodNetwork]) -> "CompiledModel":
        """Return the same model with densities that were learned, of distributions without any.

        Simulations are still those of the model itself.
        """
        learned = copy.copy(self)
        learned.__dict__.pop("density", None)
        learned.likelihood_networks = dict(networks)
        learned.spec = self.spec.with_learned_density()
        return learned

    @cached_property
    def unknown_distributions(self) -> tuple[UnknownDistribution, ...]:
        """The distributions that can be drawn from, and have no density."""
        return unknown_distributions(self.complete)

    def in_order(
        self,
        ordered_model: CompleteModel,
        arrange: Callable[[dict[str, Tensor]], dict[str, Tensor]],
        log_count: float,
    ) -> "CompiledModel":
        """Return the same model with its components in one order.

        Parameters
        ----------
        ordered_model : CompleteModel
            With transforms that keep parameters in that order.
        arrange : callable
            Permutes draws of all parameters into it.
        log_count : float
            Logarithm of the number of orders, which have the same prior probability each.
        """
        ordered = copy.copy(self)
        ordered.__dict__.pop("density", None)
        ordered.complete = ordered_model
        ordered.prior = OrderedPrior(self.prior, ordered_model, arrange, log_count)
        return ordered

    @cached_property
    def density(self) -> BatchedDensity:
        """The density, built when it is first asked for."""
        if self.changed_data:
            raise ModelReadingError(
                f"Expected the data that the model held when it was read; "
                f"{list(self.changed_data)} have been changed since, by pm.set_data. Read it "
                "again:\n\n    simulator = pma.compile_simulator(model)"
            )
        with pytensor.config.change_flags(traceback__limit=0):  # as in compile_model
            complete = self.complete
            if self.likelihood_networks:
                learned = learned_variables(self.unknown_distributions, self.likelihood_networks)
                complete = complete.replaced(learned)
            return BatchedDensity(
                complete, self.distributions, self.unit_maps, self.unit_covariates
            )

    @property
    def changed_data(self) -> tuple[str, ...]:
        """The ``pm.Data`` of the model whose values are not those that were read."""
        return tuple(
            v.name
            for v in self.complete.model.data_vars
            if not np.array_equal(current_value(v), self._data_as_read[v.name])
        )

    @property
    def unit_covariates(self) -> tuple[Covariate, ...]:
        """The covariates that run along the units of some observation."""
        return tuple(covariate for covariate in self.covariates if covariate.unit_axes)

    def draw_given(
        self,
        values: list[Tensor],
        batch: int,
        device: torch.device,
        generator: torch.Generator,
        known: Mapping[str, Tensor] = {},
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw indicators, where not known, and observations given parameters in order."""
        return self._stages.draw(values, batch, device, generator, known)

    def deterministics(
        self,
        parameters: Mapping[str, Tensor],
        indicators: Mapping[str, Tensor],
        names: tuple[str, ...],
    ) -> dict[str, Tensor]:
        """Compute deterministics from parameters (S, *shape) and indicators (S, *units).

        Those that depend on observed variables take their observed values, as in PyMC.
        """
        complete, indicators = self.complete, self._with_members(indicators)
        inputs = [
            *complete.parameter_variables,
            *(i.variable for i in complete.named_indicators),
            *(o.variable for o in complete.observations),
            *complete.data.values(),
        ]
        values = [
            *(parameters[p.name] for p in complete.parameters),
            *(indicators.get(i.name, np.zeros((), "int64")) for i in complete.named_indicators),
            *(o.data for o in complete.observations),
            *(self._data_as_read[v.name] for v in complete.data.values()),
        ]
        graph = BatchedGraph(inputs, [complete.deterministics[name] for name in names])
        batch = values[0].shape[0] if complete.parameters else 1
        return {
            name: _expand_to_batch(value, batch)
            for name, value in zip(names, graph(values, batch=batch), strict=True)
        }

    def _with_members(self, indicators: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return indicators, and those that joint ones among them stand for."""
        members = {
            member.indicator.name: member.digits.decode(indicators[joint.name])
            for joint in self.complete.indicators
            if joint.name in indicators
            for member in joint.members
        }
        return {**members, **indicators}

    def _distribution(
        self, indicator: Indicator, draws: Mapping[str, Tensor]
    ) -> AbstractIndicatorDistribution:
        """Read the distribution of an indicator, or find its values by simulation."""
        try:
            return indicator_distribution(self.complete, indicator, draws)
        except DensityUnavailableError as error:
            cpu, generator = torch.device("cpu"), torch.Generator().manual_seed(21)
            parameters = self.prior.sample(_NUM_DRAWS_OF_STATES, cpu, generator)
            values = list(parameters.values())
            indicators = self._stages.draw_indicators(values, _NUM_DRAWS_OF_STATES, cpu, generator)
            return simulated_distribution(indicator.name, indicators[indicator.name], str(error))


def _expand_to_batch(value: np.ndarray | Tensor, batch: int) -> Tensor:
    tensor = value if isinstance(value, Tensor) else torch.as_tensor(value).unsqueeze(0)
    return tensor.expand(batch, *tensor.shape[1:])


def compile_model(model: pm.Model | None = None, backend: Backend = "auto") -> CompiledModel:
    """Read a model and compile its simulator.

    Parameters
    ----------
    model : pymc.Model, optional
        Default: the model of the surrounding ``with`` block.
    backend : {"auto", "torch", "pytensor"}
        Where to simulate.
    """
    with pytensor.config.change_flags(traceback__limit=0):  # a fifth of the time, of no use here
        complete = complete_model(model)
        _refuse_unreadable(complete)
        complete = with_joint_indicators(complete, backend)
        try:
            return CompiledModel(complete, backend)
        except SeveralUnitsError as error:
            [indicator] = [i for i in complete.indicators if i.name == error.indicator]
            if not units_can_be_joined(indicator):
                raise
            complete = with_joint_indicators(complete, backend, error.indicator)
            return CompiledModel(complete, backend)


_BELOW_INDICATOR = (
    "Parameters come first. Let the indicator select among parameters that do not depend on it, "
    "and add what varies around them:\n\n"
    '    noise = pm.Normal("noise", 0, 1, shape=shape)\n'
    '    {item} = mu[{name}] + sigma * noise  # for pm.Normal("{item}", mu[{name}], sigma)'
)
_BELOW_DATA = (
    "Let it depend on data instead, and leave the observed variable as it is:\n\n"
    '    known = pm.Data("{name}_known", data)  # for {name} where {item!r} depends on it'
)


def _refuse_unreadable(complete: CompleteModel) -> None:
    """Refuse dependencies outside of: parameters, then indicators, then observations."""
    indicators = {indicator.variable: indicator.name for indicator in complete.indicators}
    observed = {v: o.name for o in complete.observations for v in (o.variable, o.density_variable)}
    for kind, forbidden in (("parameters", {**indicators, **observed}), ("indicators", observed)):
        for item in getattr(complete, kind):
            above = set(ancestors([item.variable])) - {item.variable}
            for variable, name in forbidden.items():
                if variable in above:
                    way_out = _BELOW_DATA if name in observed.values() else _BELOW_INDICATOR
                    raise UnsupportedModelError(
                        f"Expected no {kind} below indicators or data; {item.name!r} depends on "
                        f"{name!r}. {way_out.format(item=item.name, name=name)}"
                    )
    forbidden = {*observed, *indicators, *complete.data.values()}
    for name, potential in complete.potentials.items():
        if not forbidden.isdisjoint(ancestors([potential])):
            raise UnsupportedModelError(
                f"Expected potentials to depend on parameters alone; {name!r} depends on data or "
                "indicators, so that it changes the likelihood, and forward simulation no longer "
                "draws from the model. Write it as an observed variable:\n\n"
                f'    pm.CustomDist("{name}", *parameters, logp=logp, random=random, observed=data)'
            )
    for other in complete.observations:
        for gap in complete.observations_behind(other):
            if gap.observed is not None:
                raise UnsupportedModelError(
                    f"Expected observations to depend on values that are known; {other.name!r} "
                    f"depends on {gap.name!r}, some of which are missing. Make the missing values "
                    "parameters of the model, such as:\n\n"
                    "    masked = np.ma.masked_invalid(data)\n"
                    '    imputed = pm.Normal("imputed", mu, sigma, shape=int(masked.mask.sum()))\n'
                    f'    pm.Normal("{gap.name}", mu, sigma, observed=masked.compressed())\n'
                    "    values = pt.as_tensor(masked.filled(0))\n"
                    f"    {gap.name} = pt.set_subtensor(values[masked.mask], imputed)"
                )
