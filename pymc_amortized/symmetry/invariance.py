"""Whether a model stays the same when labels of its components are exchanged."""

import math

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.memory import MEMORY
from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.model.density.prior_density import PriorDensity
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.reading.response import differs
from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.typing import NamedTensors

__all__ = ["Axis", "DensityInvariance", "Invariance", "Swap"]

Axis = tuple[str, int]
"""Of a parameter, by name and position."""

_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Swap:
    """Two labels that are exchanged along axes of parameters.

    Attributes
    ----------
    axes : sequence of (str, int)
        All of them together.
    pair : (int, int)
        The labels.
    length : int
        How many labels there are.
    """

    axes: Sequence[Axis]
    pair: tuple[int, int]
    length: int

    @property
    def order(self) -> list[int]:
        """All labels in their new order."""
        i, j = self.pair
        order = list(range(self.length))
        order[i], order[j] = j, i
        return order

    def of(self, parameters: NamedTensors) -> dict[str, Tensor]:
        """Return parameters (S, *shape) with the labels exchanged."""
        moved = dict(parameters)
        for name, axis in self.axes:
            moved[name] = self.along(moved[name], axis + 1)
        return moved

    def along(self, x: Tensor, axis: int) -> Tensor:
        """Return a tensor with the labels exchanged along one of its axes."""
        return x.index_select(axis, torch.as_tensor(self.order, device=x.device))


class Invariance(ABC):
    """A model that is asked about draws of its prior, and a data set of each.

    Parameters
    ----------
    spec : ModelSpec
        The reading of the model.
    prior : PriorDensity
        Of its parameters.
    space : ParameterSpace
        Of its parameters.
    parameters : mapping of str to Tensor, shape (S, *shape)
        Draws of the prior; a few are enough.
    """

    def __init__(
        self,
        spec: ModelSpec,
        prior: PriorDensity,
        space: ParameterSpace,
        parameters: NamedTensors,
    ) -> None:
        self.spec, self.prior, self.space = spec, prior, space
        self.parameters = {name: x.double() for name, x in parameters.items()}

    @abstractmethod
    def unchanged(self, cases: Sequence[Swap]) -> list[bool]:
        """Tell in which cases the model stays the same."""

    @abstractmethod
    def tells_of(self, names: set[str]) -> bool:
        """Tell whether the data depend on any of these parameters at all."""

    @abstractmethod
    def followers(self, swap: Swap) -> tuple[str, ...]:
        """Return the indicators whose values have to be exchanged with the components."""

    def others(self, names: set[str]) -> dict[str, Tensor]:
        """Return the draws, with parameters of these names from other draws."""
        return {n: x.roll(1, 0) if n in names else x for n, x in self.parameters.items()}

    def log_prior(self, parameters: NamedTensors) -> Tensor:
        """Return log p(θ) (S,) without Jacobians; -inf outside of the support."""
        vector, inside = self.space.unconstrain_within(parameters)
        jacobian_included = self.prior.log_prior(self.space.split(vector))
        terms = self.prior.log_terms(parameters).values()
        total = sum(term.reshape(len(vector), -1).sum(1) for term in terms)
        return torch.where(inside & torch.isfinite(jacobian_included), total, -torch.inf)


class DensityInvariance(Invariance):
    """Asks log p(θ, y), with indicators summed out."""

    def __init__(
        self,
        spec: ModelSpec,
        density: BatchedDensity,
        space: ParameterSpace,
        parameters: NamedTensors,
        observations: NamedTensors,
    ) -> None:
        super().__init__(spec, density.prior, space, parameters)
        self.density, self.data = density, observations
        units = sum(math.prod(o.shape) for o in spec.observations)
        components = max(i.num_components for i in spec.indicators)
        self.at_once = MEMORY.at_once(units * components)
        self.base = self._log_joint(self.parameters, observations)

    def unchanged(self, cases: Sequence[Swap]) -> list[bool]:
        """Tell in which cases the density stays the same.

        All are tried on one draw, and those that pass on all draws.
        """
        first = {name: x[:1] for name, x in self.parameters.items()}
        passed: list[bool] = []
        for start in range(0, len(cases), self.at_once):
            piece = [swap.of(first) for swap in cases[start : start + self.at_once]]
            batch = {name: torch.cat([moved[name] for moved in piece]) for name in first}
            data = {name: x[:1].expand(len(piece), *x.shape[1:]) for name, x in self.data.items()}
            passed += _same(self._log_joint(batch, data), self.base[:1]).tolist()
        return [
            passed[i] and _are_same(self._log_joint(swap.of(self.parameters), self.data), self.base)
            for i, swap in enumerate(cases)
        ]

    def tells_of(self, names: set[str]) -> bool:
        """Tell whether the likelihood depends on any of these parameters at all."""
        before, after = (
            self.density.log_marginal(p, self.data) for p in (self.parameters, self.others(names))
        )
        return not _are_same(after, before)

    def followers(self, swap: Swap) -> tuple[str, ...]:
        """Return the indicators whose log likelihood is exchanged with the components."""
        moved, found = swap.of(self.parameters), []
        for indicator in self.spec.indicators:
            if indicator.num_components != swap.length:
                continue
            before, after = (
                self.density.log_likelihood(p, self.data, indicator.name)
                for p in (self.parameters, moved)
            )
            exchanged = swap.along(before, before.ndim - 1)
            if not _are_same(after, before) and _are_same(after, exchanged):
                found.append(indicator.name)
        return tuple(found)

    def _log_joint(self, parameters: NamedTensors, data: NamedTensors) -> Tensor:
        """Return log p(θ, y) (S,) without Jacobians; -inf outside of the support."""
        log_prior = self.log_prior(parameters)
        return log_prior + self.density.log_marginal(parameters, data).reshape(len(log_prior))


def _same(x: Tensor, y: Tensor) -> Tensor:
    """Compare log densities: -inf equals nothing."""
    return torch.isclose(x, y, rtol=_TOLERANCE, atol=_TOLERANCE) & torch.isfinite(y)


def _are_same(x: Tensor, y: Tensor) -> bool:
    return bool(_same(x, y).all())


def _are_equal(x: Sequence[Tensor], y: Sequence[Tensor]) -> bool:
    """Compare tables or arguments, infinities being equal to themselves."""
    return not any(bool(differs(a, b).any()) for a, b in zip(x, y, strict=True))
