"""Whether a model stays the same when labels of its components are exchanged."""

import itertools
import math

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.memory import MEMORY
from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.model.density.prior_density import PriorDensity
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.reading.response import differs
from pymc_amortized.model.spec import IndicatorSpec, ModelSpec
from pymc_amortized.symmetry.component_parts import ComponentParts
from pymc_amortized.typing import NamedTensors

__all__ = ["DensityInvariance", "Invariance", "Swap", "rows_touched"]

_TOLERANCE = 1e-8


@dataclass(frozen=True, slots=True)
class Swap:
    """Two labels that are exchanged in all that belongs to components.

    Attributes
    ----------
    parts : ComponentParts
        All of it.
    pair : (int, int)
        The labels.
    length : int
        How many labels there are.
    """

    parts: ComponentParts
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
        num_draws = len(next(iter(parameters.values())))
        return self.parts.permuted(parameters, torch.tensor(self.order).expand(num_draws, -1))

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

    @abstractmethod
    def touched(self, indicator: IndicatorSpec) -> Tensor:
        """Tell (V, K) on which labels' data each parameter has an effect: all, if on weights."""

    @abstractmethod
    def profile(self, indicator: IndicatorSpec) -> Tensor:
        """Return what a change of each parameter, where all are alike, does to labels (V, K)."""

    def dependents(self) -> Tensor:
        """Tell (V, V) whether the prior of the second parameter depends on the first."""
        names, base = list(self.parameters), self.prior.log_terms(self.parameters)
        found = torch.zeros(len(names), len(names), dtype=torch.bool)
        for v, name in enumerate(names):
            terms = self.prior.log_terms(self.others({name}))
            for child in range(v + 1, len(names)):
                found[v, child] = bool(differs(terms[names[child]], base[names[child]]).any())
        return found

    def prior_profile(self) -> Tensor:
        """Return log p(θ) (V,) where one parameter is changed, and all else is alike."""
        return self.log_prior(self._changed_one_by_one())

    def mirrored(self) -> list[tuple[str, float]]:
        """Return parameters x of weights, with c, for which c - x is as probable."""
        center = self.space.constrain(torch.zeros(1, self.space.size, dtype=torch.float64))
        before = self.space.split(self.space.unconstrain(self.parameters))
        log_prior, found = self.log_prior(self.parameters), []
        weights = [self.touched(i).all(1) for i in self.spec.indicators if i.num_components == 2]
        for v, (name, x) in enumerate(self.parameters.items()):
            total = 2 * center[name].double()
            if not any(bool(w[v]) for w in weights) or not bool(torch.isfinite(total).all()):
                continue
            if not torch.allclose(total, total.flatten()[0]):
                continue
            opposite = total - x
            if any(n == 2 and torch.allclose(opposite, x.flip(a)) for a, n in enumerate(x.shape)):
                continue  # two weights that are exchanged, rather
            moved = {**self.parameters, name: opposite}
            after = self.space.split(self.space.unconstrain(moved))[name]
            if torch.allclose(after, -before[name]) and _are_same(self.log_prior(moved), log_prior):
                found.append((name, float(total.flatten()[0])))
        return found

    def _changed_one_by_one(self) -> dict[str, Tensor]:
        """Return V points at which one parameter is changed, of one at which all are alike.

        That is zero in unconstrained space, which no exchange of components moves.
        """
        size, start = self.space.size, 0
        vector = torch.zeros(len(self.space.specs), size, dtype=torch.float64)
        for v, spec in enumerate(self.space.specs):
            length = math.prod(spec.unconstrained_shape)
            generator = torch.Generator().manual_seed(length)
            vector[v, start : start + length] = torch.randn(length, generator=generator) / 2
            start += length
        return {n: x.double() for n, x in self.space.constrain(vector).items()}

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
            if indicator.members:
                found += self._following_members(indicator, swap, moved)
            elif indicator.num_components == swap.length:
                before, after = (
                    self.density.log_likelihood(p, self.data, indicator.name)
                    for p in (self.parameters, moved)
                )
                exchanged = swap.along(before, before.ndim - 1)
                if not _are_same(after, before) and _are_same(after, exchanged):
                    found.append(indicator.name)
        return tuple(found)

    def _following_members(
        self, joint: IndicatorSpec, swap: Swap, moved: NamedTensors
    ) -> tuple[str, ...]:
        """Return the fewest members of a joint indicator that are exchanged with the components."""
        distribution = self.density.indicator_distribution(joint.name)
        names = [member.name for member in joint.members if member.num_components == swap.length]
        before, after = (
            (
                self.density.log_likelihood(p, self.data, joint.name),
                *distribution.tables([p[v.name] for v in self.spec.parameters]),
            )
            for p in (self.parameters, moved)
        )
        for size in range(len(names) + 1):
            for chosen in itertools.combinations(names, size):
                places = joint.exchanged(chosen, swap.order)
                if places is not None and _are_equal(after, _reordered(before, places)):
                    return chosen
        return ()

    def touched(self, indicator: IndicatorSpec) -> Tensor:
        """Tell (V, K) on which labels' data each parameter has an effect: all, if on weights."""
        distribution, rows = self.density.indicator_distribution(indicator.name), []

        def tables(parameters: NamedTensors) -> tuple[Tensor, Tensor]:
            emission = self.density.log_likelihood(parameters, self.data, indicator.name)
            return emission, distribution.tables(list(parameters.values()))[-1]

        base = tables(self.parameters)
        for name in self.parameters:
            emission, table = (
                differs(after.unsqueeze(-1), before.unsqueeze(-1))
                for after, before in zip(tables(self.others({name})), base, strict=True)
            )
            rows.append(emission.flatten(0, -2).any(0) | rows_touched(table, indicator))
        return torch.stack(rows)

    def profile(self, indicator: IndicatorSpec) -> Tensor:
        """Return log likelihoods (V, K) where one parameter is changed, and all else is alike."""
        points = self._changed_one_by_one()
        found = []
        for v in range(len(points)):
            one = {name: x[v : v + 1] for name, x in points.items()}
            data = {name: x[:1] for name, x in self.data.items()}
            table = self.density.log_likelihood(one, data, indicator.name)
            found.append(table.flatten(0, -2).sum(0))
        return torch.stack(found)

    def _log_joint(self, parameters: NamedTensors, data: NamedTensors) -> Tensor:
        """Return log p(θ, y) (S,) without Jacobians; -inf outside of the support."""
        log_prior = self.log_prior(parameters)
        return log_prior + self.density.log_marginal(parameters, data).reshape(len(log_prior))


def rows_touched(changed: Tensor, indicator: IndicatorSpec) -> Tensor:
    """Tell (K,) the labels whose probabilities change, in a table (S, ..., K) of what does.

    Each state of a chain has a row of its own; other weights add up to 1, and change together.
    """
    if indicator.order == 1:
        return changed.any(-1).flatten(0, -2).any(0)
    return changed.any().expand(indicator.num_components)


def _reordered(tables: Sequence[Tensor], places: np.ndarray) -> list[Tensor]:
    """Return tables with another order of values on their last axis; of a transition, on two."""
    reordered = [table[..., places] for table in tables]
    if len(tables) > 2:
        reordered[-1] = reordered[-1][..., places, :]
    return reordered


def _same(x: Tensor, y: Tensor) -> Tensor:
    """Compare log densities: -inf equals nothing."""
    return torch.isclose(x, y, rtol=_TOLERANCE, atol=_TOLERANCE) & torch.isfinite(y)


def _are_same(x: Tensor, y: Tensor) -> bool:
    return bool(_same(x, y).all())


def _are_equal(x: Sequence[Tensor], y: Sequence[Tensor]) -> bool:
    """Compare tables or arguments, infinities being equal to themselves."""
    return not any(bool(differs(a, b).any()) for a, b in zip(x, y, strict=True))
