"""Batches of parameters, indicators and observations, drawn from exactly the user's model."""

import copy
import functools
import html

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.errors import ModelReadingError
from pymc_amortized.model.compiled import CompiledModel
from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.model.density.learned_likelihood import UnknownDistribution
from pymc_amortized.model.fingerprint import fingerprint_parts
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.networks.likelihood_network import LikelihoodNetwork
from pymc_amortized.rng import RandomSeed, torch_generator
from pymc_amortized.simulation.simulated_data import Simulation, check_finite
from pymc_amortized.symmetry.canonical_order import CanonicalOrder, Labelling
from pymc_amortized.symmetry.exchangeable import (
    Exchangeable,
    find_exchangeable,
    may_be_exchangeable,
)
from pymc_amortized.symmetry.parts_invariance import invariance_of
from pymc_amortized.typing import NamedTensors

if TYPE_CHECKING:
    import pymc

__all__ = ["Simulator"]

_NUM_FOR_SYMMETRY = 6


@dataclass(slots=True)
class _Count:
    """How many data sets were simulated of a model, in whatever order of its components."""

    datasets: int = 0


class Simulator:
    """A PyMC model, compiled for batches of data sets.

    Attributes
    ----------
    spec : ModelSpec
        The reading of the model; print it.
    parameters : ParameterSpace
        Named parameters to and from one unconstrained vector.
    device : torch.device
        Where simulations live.
    labelling : Labelling
        The order that exchangeable components are in: none, unless :meth:`in_order` chose one.

    Notes
    -----
    Built by :func:`compile_simulator`. The model is read once: later ``pm.set_data`` does not
    change a simulator; its density must have been asked for before.
    """

    def __init__(self, compiled: CompiledModel, device: torch.device) -> None:
        self.spec: ModelSpec = compiled.spec
        self.device = device
        self.parameters = ParameterSpace(compiled.spec.parameters, compiled.prior.bijections)
        self.labelling = Labelling((), self.parameters)
        self._as_written: Simulator | None = None
        self._count = _Count()
        self._compiled = compiled

    def sample(self, num_datasets: int, random_seed: RandomSeed = None) -> Simulation:
        """Simulate data sets, with new parameters for each.

        Parameters
        ----------
        num_datasets : int
            B, at least 1.
        random_seed : int, sequence of int, numpy.random.Generator or None
            As in PyMC.

        Returns
        -------
        Simulation
            Parameters (B, *shape), indicators (B, *units), observations (B, *units, *event).

        Raises
        ------
        NonFiniteSimulationError
            If a simulated value is NaN or infinite.
        AcceptanceRateError
            If fewer than 1 in 1,000 prior draws satisfy the model's constraints.

        Examples
        --------
        >>> import numpy as np
        >>> import pymc as pm
        >>> import pymc_amortized as pma
        >>> with pm.Model() as model:
        ...     w = pm.Dirichlet("w", np.ones(2))
        ...     mu = pm.Normal("mu", 0, 5, shape=2)
        ...     y = pm.NormalMixture("y", w=w, mu=mu, sigma=1, observed=np.zeros(50))
        >>> pma.compile_simulator(model).sample(10, random_seed=1)
        Simulation of 10 data sets
          parameters:   w (10, 2), mu (10, 2)
          indicators:   y_component (10, 50)
          observations: y (10, 50)
        """
        if not isinstance(num_datasets, int | np.integer) or num_datasets < 1:
            raise ModelReadingError(
                f"Expected a positive number of data sets; got {num_datasets!r}."
            )
        generator = torch_generator(random_seed, self.device)
        parameters = self._compiled.prior.sample(int(num_datasets), self.device, generator)
        return self._simulate(parameters, int(num_datasets), generator)

    def sample_parameters(
        self, num_datasets: int, random_seed: RandomSeed = None
    ) -> dict[str, Tensor]:
        """Draw parameters (B, *shape) from the prior, without data sets."""
        generator = torch_generator(random_seed, self.device)
        return self._compiled.prior.sample(num_datasets, self.device, generator)

    def log_prior_mass(self, random_seed: RandomSeed = 0) -> tuple[float, float]:
        """Return the log probability of the region that transforms and potentials leave the prior.

        PyMC's density is not divided by it: the integral of the prior over an ordered cone of K
        exchangeable elements is 1/K!. An evidence that compares models has to be.

        Parameters
        ----------
        random_seed : int, sequence of int, numpy.random.Generator or None
            Of the draws that it is estimated from where it is not known.

        Returns
        -------
        log_mass, error : float
            In nats, with its standard error; 0 and 0 where nothing is restricted.
        """
        generator = torch_generator(random_seed, self.device)
        return self._compiled.prior.log_mass(self.device, generator)

    def simulate(
        self,
        parameters: NamedTensors,
        random_seed: RandomSeed = None,
        *,
        indicators: NamedTensors | None = None,
    ) -> Simulation:
        """Simulate one data set for each draw of given parameters.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters: draws of a posterior, for instance.
        indicators : mapping of str to Tensor of int64, shape (S, *units), optional
            Indicators that are given too, instead of drawn.
        random_seed : int, sequence of int, numpy.random.Generator or None
            As in PyMC.

        Returns
        -------
        Simulation
            S data sets.

        Raises
        ------
        ParameterShapeError
            If a parameter is missing or has another shape than the model's.
        """
        self.parameters.unconstrain(parameters)
        values = {name: parameters[name].to(self.device) for name in self.parameters.names}
        num_datasets = next(iter(values.values())).shape[0] if values else 1
        generator = torch_generator(random_seed, self.device)
        return self._simulate(values, num_datasets, generator, indicators)

    def with_likelihood(self, networks: Mapping[str, LikelihoodNetwork]) -> "Simulator":
        """Return the simulator of the same model with densities that were learned."""
        learned = copy.copy(self)
        learned._compiled = self._compiled.with_likelihood(networks)
        learned.spec = learned._compiled.spec
        if self._as_written is not None:
            learned._as_written = self._as_written.with_likelihood(networks)
        return learned

    @property
    def likelihood_networks(self) -> dict[str, LikelihoodNetwork]:
        """Densities that were learned, by the names of their distributions."""
        return self._compiled.likelihood_networks

    @property
    def unknown_distributions(self) -> tuple[UnknownDistribution, ...]:
        """The distributions that can be drawn from, and have no density."""
        return self._compiled.unknown_distributions

    def draws_of(
        self, unknown: UnknownDistribution, simulation: Simulation
    ) -> tuple[Tensor, Tensor]:
        """Return arguments (M, A) and values (M, P) of all draws of a distribution."""
        names = simulation.parameters, simulation.indicators, simulation.observations
        return unknown.pairs(self._compiled.complete, *names)

    def in_order(self, orders: Sequence[CanonicalOrder]) -> "Simulator":
        """Return the simulator of the same model in one labelling of exchangeable components.

        Its prior, and its density, are those of the model restricted to that order.
        """
        if not orders:
            return self
        labelling = Labelling(tuple(orders), self.parameters)
        complete = self._compiled.complete
        for order in orders:
            complete = order.restrict(complete)
        compiled = self._compiled.in_order(complete, labelling.arrange, labelling.log_count)
        ordered = Simulator(compiled, self.device)
        ordered.labelling = labelling
        ordered._as_written, ordered._count = self, self._count
        return ordered

    @property
    def num_simulated(self) -> int:
        """How many data sets were simulated so far, those apart by which the model was read."""
        return self._count.datasets

    @property
    def as_written(self) -> "Simulator":
        """The simulator of the model without an order."""
        return self if self._as_written is None else self._as_written

    @property
    def density(self) -> BatchedDensity | None:
        """The density of the model, or None where some observed variable has none.

        ``spec.observations`` then says which, and why.
        """
        return self._compiled.density if self.spec.has_density else None

    @functools.cached_property
    def exchangeable(self) -> tuple[Exchangeable, ...]:
        """Components that can be permuted, with all that belongs to them.

        Their posterior has a mode for each order of their labels. Without a density, symmetry is
        seen where components are distributions of one kind, and differ by their arguments.
        """
        if self._as_written is not None:
            return self._as_written.exchangeable
        if not may_be_exchangeable(self.spec):
            return ()
        few = self.sample(_NUM_FOR_SYMMETRY, 0)
        invariance = invariance_of(
            self._compiled, self.parameters, few.parameters, few.indicators, few.observations
        )
        return () if invariance is None else find_exchangeable(self.spec, invariance)

    @property
    def observed_data(self) -> dict[str, np.ndarray]:
        """The observed values by name, NaN (or 0, for integers) where missing."""
        return {o.name: o.data.copy() for o in self._compiled.complete.observations}

    @property
    def model(self) -> "pymc.Model":
        """The user's model, unchanged."""
        return self._compiled.complete.model

    @property
    def covariates(self) -> dict[str, np.ndarray]:
        """The values of the model's covariates by name."""
        return {c.name: c.values.copy() for c in self._compiled.covariates}

    @property
    def changed_data(self) -> tuple[str, ...]:
        """The names of ``pm.Data`` that ``pm.set_data`` has changed since the model was read."""
        return self._compiled.changed_data

    @property
    def fingerprint(self) -> dict[str, str]:
        """A hash for each part of the model, observed values apart."""
        return fingerprint_parts(self._compiled.complete)

    def indicator_distribution(self, name: str) -> AbstractIndicatorDistribution:
        """Return p(z given θ) of an indicator."""
        return self._compiled.distributions[name]

    def deterministics(
        self,
        parameters: NamedTensors,
        indicators: NamedTensors | None = None,
        *,
        of_model_data: bool = True,
    ) -> dict[str, Tensor]:
        """Compute the model's deterministics, (S, *shape) by name.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        indicators : mapping of str to Tensor, shape (S, *units), optional
            Without them, deterministics that need them are left out.
        of_model_data : bool
            False leaves out those that depend on observed values or on covariates of units.
        """
        names = tuple(
            d.name
            for d in self.spec.deterministics
            if (indicators is not None or not d.depends_on_indicators)
            and (of_model_data or not d.depends_on_data)
        )
        return self._compiled.deterministics(parameters, indicators or {}, names)

    def __repr__(self) -> str:
        lines = [f"Simulator on {self.device}", repr(self.spec), *self._describe_labels()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        found = "".join(f"<p>{html.escape(line)}</p>" for line in self._describe_labels())
        return f"<p>Simulator on {self.device}</p>{self.spec._repr_html_()}{found}"

    def _describe_labels(self) -> list[str]:
        lines = [str(found) for found in self.exchangeable]
        if self.labelling.orders:
            lines.append(f"components are in ascending order of {self.labelling}")
        return lines

    def _simulate(
        self,
        parameters: dict[str, Tensor],
        num_datasets: int,
        generator: torch.Generator,
        known: NamedTensors | None = None,
    ) -> Simulation:
        indicators, observations = self._compiled.draw_given(
            [parameters[name] for name in self.parameters.names],
            num_datasets,
            self.device,
            generator,
            known or {},
        )
        self._count.datasets += num_datasets
        simulation = Simulation(parameters, indicators, observations)
        check_finite(simulation, self.covariates)
        return simulation
