"""Whether a model without a density stays the same: its parts are asked one by one."""

import itertools

from collections.abc import Sequence

import torch

from torch import Tensor

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.model.compiled import CompiledModel
from pymc_amortized.model.complete_model import Observation
from pymc_amortized.model.density.prior_density import PriorDensity
from pymc_amortized.model.fingerprint import describe_value
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.reading.response import Response, differs
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.symmetry.invariance import (
    DensityInvariance,
    Invariance,
    Swap,
    _are_equal,
    _are_same,
    rows_touched,
)
from pymc_amortized.typing import NamedTensors

__all__ = ["PartsInvariance", "invariance_of"]


class PartsInvariance(Invariance):
    """Asks the parts of a model without a density.

    The density of the prior, the tables of indicators, and the arguments of the distributions that
    data are drawn from: where these are the same, so is whatever is drawn.

    Parameters
    ----------
    compiled : CompiledModel
        The model.
    space : ParameterSpace
        Of its parameters.
    draws : mapping of str to Tensor, shape (S, *shape)
        Parameters, indicators and observations.

    Raises
    ------
    DensityUnavailableError
        If the prior has no density either.
    """

    def __init__(self, compiled: CompiledModel, space: ParameterSpace, draws: NamedTensors) -> None:
        parameters = {p.name: draws[p.name] for p in compiled.spec.parameters}
        super().__init__(compiled.spec, PriorDensity(compiled.complete), space, parameters)
        self.compiled, self.draws = compiled, draws
        complete = compiled.complete
        self.responses = {o.name: Response(complete, o, draws) for o in complete.observations}
        self.base_prior = self.log_prior(self.parameters)
        self.base_tables = {i.name: self._tables(i, self.parameters) for i in self.spec.indicators}
        self.base = {name: self._arguments(name, self.parameters, {}) for name in self.responses}

    def unchanged(self, cases: Sequence[Swap]) -> list[bool]:
        """Tell in which cases all parts stay the same, perhaps with some indicators exchanged."""
        return [self._find_followers(swap) is not None for swap in cases]

    def tells_of(self, names: set[str]) -> bool:
        """Tell whether any table or argument depends on these parameters."""
        other = self.others(names)
        return not (
            all(
                _are_equal(self._tables(i, other), self.base_tables[i.name])
                for i in self.spec.indicators
            )
            and all(
                _are_equal(self._arguments(name, other, {}), expected)
                for name, expected in self.base.items()
            )
        )

    def followers(self, swap: Swap) -> tuple[str, ...]:
        """Return the indicators that have to be exchanged so that all parts stay the same."""
        return self._find_followers(swap) or ()

    def touched(self, indicator: IndicatorSpec) -> Tensor:
        """Tell (V, K) on which labels' data each parameter has an effect: all, if on weights."""
        rows, base = [], self.base_tables[indicator.name][-1]
        for name in self.parameters:
            other = self.others({name})
            after = self._tables(indicator, other)[-1]
            table = differs(after.unsqueeze(-1), base.unsqueeze(-1))
            row = rows_touched(table, indicator)
            for observation in self.compiled.complete.observations:
                row = row | self._labels_touched(observation, indicator, other)
            rows.append(row)
        return torch.stack(rows)

    def profile(self, indicator: IndicatorSpec) -> Tensor:
        """Return nothing: data without a density do not tell what a change does to them."""
        return torch.zeros(len(self.parameters), indicator.num_components, dtype=torch.float64)

    def _labels_touched(
        self, observation: Observation, indicator: IndicatorSpec, other: NamedTensors
    ) -> Tensor:
        """Tell (K,) the labels under which other parameters give other arguments."""
        after = self._arguments(observation.name, other, {})
        found = torch.zeros(indicator.num_components, dtype=torch.bool)
        if observation.mixture_indicator == indicator.name:
            _, *arguments = zip(after, self.base[observation.name], strict=True)
            each = max(len(arguments) // indicator.num_components, 1)
            for place, (x, y) in enumerate(arguments):
                if len(observation.components) > 1:
                    found[place // each] |= bool(differs(x, y).any())
                elif x.shape[-1] % indicator.num_components == 0:
                    apart = (indicator.num_components, -1)
                    changed = differs(x.unflatten(-1, apart), y.unflatten(-1, apart))
                    found |= changed.flatten(0, -2).any(0)
            return found
        [spec] = (o for o in self.spec.observations if o.name == observation.name)
        if spec.indicator != indicator.name:
            return found
        codes = (self.draws[indicator.name] - indicator.support[0]).flatten(1)
        owner = torch.as_tensor(spec.owner.ravel(), device=codes.device)
        of_entries = codes[:, owner.clamp(min=0)]  # (S, entries)
        for x, y in zip(after, self.base[observation.name], strict=True):
            changed = differs(x, y).reshape(len(x), -1)
            if changed.shape[1] == owner.numel():
                found[of_entries.expand_as(changed)[changed & (owner >= 0)]] = True
        return found

    def _find_followers(self, swap: Swap) -> tuple[str, ...] | None:
        """Return the fewest indicators that have to follow; None if nothing helps."""
        moved = swap.of(self.parameters)
        if not _are_same(self.log_prior(moved), self.base_prior):
            return None
        names = [i.name for i in self.spec.indicators if i.num_components == swap.length]
        for size in range(len(names) + 1):
            for chosen in itertools.combinations(names, size):
                if self._is_unchanged(swap, moved, chosen):
                    return chosen
        return None

    def _is_unchanged(self, swap: Swap, moved: NamedTensors, following: Sequence[str]) -> bool:
        """Tell whether all parts are the same, once these indicators are exchanged too."""
        given = {}
        for indicator in self.spec.indicators:
            expected = self.base_tables[indicator.name]
            if indicator.name in following:
                expected = self._exchange(swap, indicator, expected)
                given[indicator.name] = self._relabel(swap, indicator)
            if not _are_equal(self._tables(indicator, moved), expected):
                return False
        for observation in self.compiled.complete.observations:
            expected = self.base[observation.name]
            if observation.mixture_indicator in following:
                expected = _exchange_components(observation, swap, expected)
            if expected is None:
                return False
            if not _are_equal(self._arguments(observation.name, moved, given), expected):
                return False
        return True

    def _tables(self, indicator: IndicatorSpec, parameters: NamedTensors) -> list[Tensor]:
        """Return log probabilities of an indicator; of a chain, of its start and its steps."""
        values = [parameters[p.name] for p in self.spec.parameters]
        return self.compiled.distributions[indicator.name].tables(values)

    @staticmethod
    def _exchange(swap: Swap, indicator: IndicatorSpec, tables: Sequence[Tensor]) -> list[Tensor]:
        """Exchange labels along all axes of tables that count them."""
        counts = (1,) if len(tables) == 1 else (indicator.order, indicator.order + 1)
        exchanged = []
        for table, count in zip(tables, counts, strict=True):
            for axis in range(table.ndim - count, table.ndim):
                table = swap.along(table, axis)
            exchanged.append(table)
        return exchanged

    def _relabel(self, swap: Swap, indicator: IndicatorSpec) -> Tensor:
        lowest, values = indicator.support[0], self.draws[indicator.name]
        return torch.as_tensor(swap.order, device=values.device)[values - lowest] + lowest

    def _arguments(
        self, name: str, parameters: NamedTensors, indicators: NamedTensors
    ) -> list[Tensor]:
        """Return what the distribution of an observation is given (S, *entries, features)."""
        response = self.responses[name]
        others = {n: x for n, x in self.draws.items() if n != name}
        return response({**others, **parameters, **indicators}, response.values)


def invariance_of(
    compiled: CompiledModel,
    space: ParameterSpace,
    parameters: NamedTensors,
    indicators: NamedTensors,
    observations: NamedTensors,
) -> Invariance | None:
    """Return what tells whether a model stays the same; None where its prior has no density.

    Parameters
    ----------
    compiled : CompiledModel
        The model.
    space : ParameterSpace
        Of its parameters.
    parameters, indicators, observations : mapping of str to Tensor, shape (M, *shape)
        A few draws of the prior, with a data set of each.
    """
    if compiled.spec.has_density:
        return DensityInvariance(compiled.spec, compiled.density, space, parameters, observations)
    draws = {**parameters, **indicators, **observations}
    try:
        return PartsInvariance(compiled, space, draws)
    except DensityUnavailableError:
        return None


def _exchange_components(
    observation: Observation, swap: Swap, arguments: Sequence[Tensor]
) -> list[Tensor] | None:
    """Exchange components among the arguments of a mixture: its weights, then its components.

    None if they are distributions of different kinds.
    """
    weights, *rest = arguments
    exchanged = [swap.along(weights, weights.ndim - 1)]
    components = observation.components
    if len(components) > 1:
        i, j = swap.pair
        if describe_value(components[i].owner.op) != describe_value(components[j].owner.op):
            return None
        each = len(rest) // len(components)
        groups = [rest[each * k : each * (k + 1)] for k in swap.order]
        return [*exchanged, *itertools.chain.from_iterable(groups)]
    for x in rest:
        shared = bool((x == x[..., :1]).all())
        if not shared and x.shape[-1] % swap.length:
            return None
        apart = x if shared else x.unflatten(-1, (swap.length, -1))
        exchanged.append(x if shared else swap.along(apart, apart.ndim - 2).flatten(-2))
    return exchanged
