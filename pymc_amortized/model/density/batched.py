"""The batched density of a complete-data model: exact, in float64, and differentiable in torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.discrete.log_sum import log_sum
from pymc_amortized.errors import ParameterShapeError
from pymc_amortized.graph.backend import BatchedGraph
from pymc_amortized.model.complete_model import CompleteModel
from pymc_amortized.model.density.likelihood import Likelihood, NamedData
from pymc_amortized.model.density.prior_density import PriorDensity
from pymc_amortized.model.indicators.distribution import AbstractIndicatorDistribution
from pymc_amortized.model.reading.covariates import Covariate
from pymc_amortized.model.reading.unit_map import UnitMap
from pymc_amortized.typing import NamedTensors

__all__ = ["BatchedDensity", "SymbolicDensity"]


@dataclass(frozen=True, slots=True)
class SymbolicDensity:
    """The parts of a density, each as a PyTensor graph.

    Attributes
    ----------
    names : tuple of str
        Of the parameters, in the order of the model.
    prior : BatchedGraph
        From unconstrained parameters to their log density, and to constrained parameters.
    distributions : dict of str to AbstractIndicatorDistribution
        Of each indicator.
    likelihoods : dict of str to Likelihood
        Of each observed variable.
    covariates : tuple of Covariate
        Those that run along units.
    """

    names: tuple[str, ...]
    prior: BatchedGraph
    distributions: Mapping[str, AbstractIndicatorDistribution]
    likelihoods: Mapping[str, Likelihood]
    covariates: tuple[Covariate, ...]


class BatchedDensity:
    """The density of a model for S draws of its parameters at once.

    All results are log densities in nats, in float64, and differentiable with respect to
    parameters. ``parameters`` are constrained values by name, (S, *shape), as a simulator returns
    them. ``observations`` are data by name: NumPy arrays of one data set (*units, *event), or
    tensors (S, *units, *event) with a data set for each draw. They may hold covariates that run
    along units, by name, in place of the model's own.

    Notes
    -----
    Built by :func:`pymc_amortized.compile_simulator`, as ``simulator.density``.
    """

    def __init__(
        self,
        complete: CompleteModel,
        distributions: Mapping[str, AbstractIndicatorDistribution],
        unit_maps: Mapping[str, UnitMap],
        covariates: Sequence[Covariate] = (),
    ) -> None:
        self._complete = complete
        self._distributions = dict(distributions)
        self._likelihoods = {
            o.name: Likelihood(
                complete,
                o,
                unit_maps[o.name],
                self._distributions.get(unit_maps[o.name].indicator),
                covariates,
            )
            for o in complete.observations
        }
        self._covariates = tuple(covariates)
        self.prior = PriorDensity(complete)
        self._names = [parameter.name for parameter in complete.parameters]

    def log_prior(self, unconstrained: NamedTensors) -> Tensor:
        """Log prior density in the unconstrained space; see :meth:`PriorDensity.log_prior`."""
        return self.prior.log_prior(unconstrained)

    def log_prior_terms(self, parameters: NamedTensors) -> dict[str, Tensor]:
        """Log prior density of each parameter; see :meth:`PriorDensity.log_terms`."""
        return self.prior.log_terms(parameters)

    def indicator_distribution(self, indicator: str | None = None) -> AbstractIndicatorDistribution:
        """Return the distribution of an indicator given parameters.

        Its ``log_probs(...)`` (independent indicators), or ``log_initial(...)`` and
        ``log_transition(...)`` (chains), take the parameters in the order of the model.
        """
        return self._distributions[self._indicator_name(indicator)]

    def log_indicators(self, parameters: NamedTensors, indicators: NamedTensors) -> Tensor:
        """Log probability of indicators given parameters.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        indicators : mapping of str to Tensor of int, shape (S, *units)
            Values of every indicator.

        Returns
        -------
        Tensor, shape (S,)
            log p(z given θ) in nats, summed over units and indicators.
        """
        values = self._values(parameters)
        total = torch.zeros((), dtype=torch.float64)
        for name, distribution in self._distributions.items():
            codes = indicators[name] - distribution.support[0]
            total = total + distribution.log_prob(values, codes)
        return total

    def log_likelihood(
        self,
        parameters: NamedTensors,
        observations: NamedData,
        indicator: str | None = None,
    ) -> Tensor:
        """Log density of each unit's observations, for every value of its indicator.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        observations : mapping of str to array or Tensor
            Data by name, missing values NaN or anything.
        indicator : str, optional
            Which one. Default: the only one of the model.

        Returns
        -------
        Tensor, shape (S, *units, K)
            log p(y_i given z_i = k, θ) in nats: all observed variables of the unit together.
        """
        name = self._indicator_name(indicator)
        values = self._check_data(parameters, observations)
        tables = [
            likelihood.unit_table(values, observations)
            for likelihood in self._likelihoods.values()
            if likelihood.unit_map.indicator == name
        ]
        return self._emission(name, tables, values)

    def _emission(self, name: str, tables: Sequence[Tensor], values: NamedTensors) -> Tensor:
        """Add up what observed variables say of an indicator, as (S, *units, K)."""
        distribution = self._distributions[name]
        total = sum(tables[1:], start=tables[0]) if tables else torch.zeros(()).double()
        num_draws = next(iter(values.values())).shape[0] if values else 1
        shape = (num_draws, *distribution.units, len(distribution.support))
        # Shapes are compared first, for torch takes as long to broadcast them as for the densities.
        if total.shape == shape:
            return total
        return torch.broadcast_to(total, np.broadcast_shapes(total.shape, shape))

    def log_entries(self, parameters: NamedTensors, observations: NamedData, name: str) -> Tensor:
        """Log density of each entry of an observation that depends on no indicator.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        observations : mapping of str to array or Tensor
            Data by name.
        name : str
            Which observation.

        Returns
        -------
        Tensor, shape (S or 1, *entries)
            In nats.
        """
        values = self._check_data(parameters, observations)
        return self._likelihoods[name].table(values, observations)[..., 0]

    def log_without_unit(
        self, parameters: NamedTensors, observations: NamedData, name: str
    ) -> Tensor:
        """Log density of those entries of an observation that depend on no indicator.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        observations : mapping of str to array or Tensor
            Data by name.
        name : str
            Which observation.

        Returns
        -------
        Tensor, shape (S, n)
            In nats.
        """
        values = self._check_data(parameters, observations)
        likelihood = self._likelihoods[name]
        return likelihood.without_unit(likelihood.table(values, observations))

    def log_marginal(self, parameters: NamedTensors, observations: NamedData) -> Tensor:
        """Log likelihood with every indicator summed out.

        A ``logsumexp`` over components for independent indicators, the forward algorithm for
        chains.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        observations : mapping of str to array or Tensor
            Data by name.

        Returns
        -------
        Tensor, shape (S,)
            log p(y given θ) in nats.
        """
        values = self._check_data(parameters, observations)
        ordered = self._values(values)
        parts = [
            (x.unit_map.indicator, *x.parts(values, observations))
            for x in self._likelihoods.values()
        ]
        total = torch.zeros((), dtype=torch.float64)
        for name, distribution in self._distributions.items():
            tables = [table for indicator, table, _ in parts if indicator == name]
            emission = self._emission(name, tables, values)
            total = total + distribution.sum_out(ordered, emission, observations)
        for _, _, rest in parts:
            total = total if rest is None else total + rest
        num_draws = ordered[0].shape[0] if ordered else 1
        return total.expand(num_draws) if total.ndim == 0 or total.shape[0] == 1 else total

    @property
    def counts_units(self) -> bool:
        """Whether the model may be one of :meth:`log_marginal_of_counts`.

        It has one indicator, independent along one axis, on which all observations depend. It may
        still hold numbers of its own for each unit, which cannot be seen from without.
        """
        distributions = list(self._distributions.values())
        return (
            len(distributions) == 1
            and distributions[0].is_independent
            and all(x.is_by_units for x in self._likelihoods.values())
        )

    @property
    def covariates(self) -> dict[str, np.ndarray]:
        """The model's own covariates that run along units, by name."""
        return {c.name: c.values for c in self._covariates}

    def log_marginal_of_counts(
        self, parameters: NamedTensors, observations: NamedData, counts: Tensor
    ) -> Tensor:
        """Log likelihood of units of which each occurs several times.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        observations : mapping of str to array, shape (m, ...)
            Data of m units by name, and all covariates that run along units.
        counts : Tensor, shape (m,)
            How often each of them occurs.

        Returns
        -------
        Tensor, shape (S,)
            As :meth:`log_marginal` of all units.
        """
        return log_sum(self.log_some_units(parameters, observations, len(counts))) @ counts

    def log_some_units(
        self, parameters: NamedTensors, observations: NamedData, num_units: int
    ) -> Tensor:
        """Log density of units and their indicator, of a model that counts units.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Constrained parameters.
        observations : mapping of str to array, shape (m, ...)
            Data of m units by name, and all covariates that run along units.
        num_units : int
            m.

        Returns
        -------
        Tensor, shape (S, m, K)
            log p(y_i, z_i = k given θ) in nats.
        """
        [distribution] = self._distributions.values()
        values = dict(zip(self._names, self._values(parameters), strict=True))
        tables = [x.unit_table(values, observations, num_units) for x in self._likelihoods.values()]
        prior = distribution.log_probs(list(values.values()), observations, (num_units,))
        return sum(tables, start=prior)

    def symbolic(self) -> "SymbolicDensity":
        """Return the density of one draw and one data set, as PyTensor graphs."""
        return SymbolicDensity(
            names=tuple(self._names),
            prior=self.prior.symbolic(),
            distributions=self._distributions,
            likelihoods=self._likelihoods,
            covariates=self._covariates,
        )

    def _values(self, parameters: NamedTensors) -> list[Tensor]:
        return [parameters[name].double() for name in self._names]

    def _check_data(self, parameters: NamedTensors, observations: NamedData) -> dict[str, Tensor]:
        for observation in self._complete.observations:
            if observation.name not in observations:
                raise ParameterShapeError(
                    f"Expected data for {[o.name for o in self._complete.observations]}; got "
                    f"{sorted(observations)}. Give every observed variable, by name:\n\n"
                    f'    {{"{observation.name}": data}}'
                )
            data = observations[observation.name]
            shape = tuple(data.shape[1:]) if isinstance(data, Tensor) else np.shape(data)
            if shape != observation.data.shape:
                raise ParameterShapeError(
                    f"Expected data for {observation.name!r} of shape {observation.data.shape} "
                    "(one data set, as an array), or with a leading axis of draws (as a tensor); "
                    f"got {type(data).__name__} of shape {tuple(np.shape(data))}."
                )
        return dict(zip(self._names, self._values(parameters), strict=True))

    def _indicator_name(self, indicator: str | None) -> str:
        names = list(self._distributions)
        if indicator is None and len(names) == 1:
            return names[0]
        if indicator not in names:
            raise ParameterShapeError(f"Expected an indicator among {names}; got {indicator!r}.")
        return indicator
