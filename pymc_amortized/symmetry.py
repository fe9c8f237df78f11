"""Which components of a model are exchangeable: parameters are permuted, and the density asked.

Where several parameters have an axis of components, all of them have to be permuted together. Axes
are not traced: every set of axes that are as long as an indicator has components is tried, the
smallest first, on draws of the prior. A set under which the joint density does not change, and of
which no part has this property, is a set of exchangeable components.
"""

import itertools

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.compile.density import BatchedDensity
from pymc_amortized.compile.spec import ModelSpec
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.typing import NamedTensors

__all__ = ["Exchangeable", "find_exchangeable"]

Axis = tuple[str, int]

_TOLERANCE = 1e-8
_MAX_AXES = 10
_MAX_ENTRIES = 8_000_000


@dataclass(frozen=True, slots=True)
class Exchangeable:
    """Components that can be permuted without changing the density.

    Attributes
    ----------
    axes : tuple of (str, int)
        Axes of parameters that are permuted together, by name and position.
    num_labels : int
        K, their length.
    blocks : tuple of tuple of int
        Labels that can be permuted among themselves: all of them in one block, or several blocks
        of at least two where some components have priors of their own.
    indicators : tuple of str
        Whose values follow.
    """

    axes: tuple[Axis, ...]
    num_labels: int
    blocks: tuple[tuple[int, ...], ...]
    indicators: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.axes))

    @property
    def is_partial(self) -> bool:
        """Whether some components cannot be exchanged with others."""
        return self.blocks != (tuple(range(self.num_labels)),)

    def __str__(self) -> str:
        some = ""
        if self.is_partial:
            some = " " + ", ".join(" and ".join(map(str, block)) for block in self.blocks)
        return f"components{some} are exchangeable: {', '.join((*self.names, *self.indicators))}"


def find_exchangeable(
    spec: ModelSpec,
    density: BatchedDensity,
    space: ParameterSpace,
    parameters: NamedTensors,
    observations: NamedTensors,
) -> tuple[Exchangeable, ...]:
    """Find the components of a model that are exchangeable.

    Parameters
    ----------
    spec : ModelSpec
        The reading of the model.
    density : BatchedDensity
        Of the model.
    space : ParameterSpace
        Of its parameters.
    parameters : mapping of str to Tensor, shape (S, *shape)
        Draws of the prior; a few are enough.
    observations : mapping of str to Tensor, shape (S, *shape)
        A data set of each.
    """
    joint = _Joint(spec, density, space, parameters, observations)
    lengths = sorted({indicator.num_components for indicator in spec.indicators})
    found = []
    for length in lengths:
        axes = [(p.name, a) for p in spec.parameters for a, n in enumerate(p.shape) if n == length]
        found += list(_minimal(joint, axes[:_MAX_AXES], length))
    return tuple(found)


def _minimal(joint: "_Joint", axes: Sequence[Axis], length: int) -> Iterator[Exchangeable]:
    """Yield the smallest sets of axes under which something can be exchanged."""
    swaps = list(itertools.combinations(range(length), 2))
    done: list[frozenset[Axis]] = []
    for size in range(1, len(axes) + 1):
        sets = [s for s in itertools.combinations(axes, size) if not any(d <= set(s) for d in done)]
        for chosen, allowed in zip(sets, joint.unchanged(sets, swaps, length), strict=True):
            pairs = [pair for pair, same in zip(swaps, allowed, strict=True) if same]
            if pairs:
                done.append(frozenset(chosen))
                if not joint.tells_of(chosen):
                    continue
                indicators = joint.followers(chosen, pairs[0], length)
                yield Exchangeable(chosen, length, _blocks(pairs, length), indicators)


def _blocks(pairs: Sequence[tuple[int, int]], length: int) -> tuple[tuple[int, ...], ...]:
    """Join pairs into blocks: what can be exchanged with the same can be exchanged."""
    block = list(range(length))
    for i, j in pairs:
        old, new = block[j], block[i]
        block = [new if b == old else b for b in block]
    members = (tuple(k for k in range(length) if block[k] == b) for b in dict.fromkeys(block))
    return tuple(m for m in members if len(m) > 1)


class _Joint:
    """log p(θ, y) of draws of the prior, in the model's own coordinates."""

    def __init__(
        self,
        spec: ModelSpec,
        density: BatchedDensity,
        space: ParameterSpace,
        parameters: NamedTensors,
        observations: NamedTensors,
    ) -> None:
        self.spec, self.density, self.space, self.data = spec, density, space, observations
        units = sum(int(np.prod(o.shape)) for o in spec.observations)
        components = max((i.num_components for i in spec.indicators), default=1)
        self.at_once = max(1, _MAX_ENTRIES // (units * components))
        self.parameters = {name: x.double() for name, x in parameters.items()}
        self.base = self._log_joint(self.parameters, observations)

    def unchanged(
        self, sets: Sequence[Sequence[Axis]], swaps: Sequence[tuple[int, int]], length: int
    ) -> list[list[bool]]:
        """Tell for each set of axes and each swap whether the density stays the same.

        All are tried on one draw, and those that pass on all draws.
        """
        cases = [(chosen, swap) for chosen in sets for swap in swaps]
        step = self.at_once
        passed: list[bool] = []
        for start in range(0, len(cases), step):
            piece = cases[start : start + step]
            moved = [self._moved(chosen, swap, length, slice(1)) for chosen, swap in piece]
            batch = {name: torch.cat([m[name] for m in moved]) for name in self.parameters}
            first = {name: x[:1].expand(len(piece), *x.shape[1:]) for name, x in self.data.items()}
            passed += self._same(self._log_joint(batch, first), self.base[:1]).tolist()
        for place, (chosen, swap) in enumerate(cases):
            if passed[place]:
                moved = self._moved(chosen, swap, length, slice(None))
                log_joint = self._log_joint(moved, self.data)
                passed[place] = bool(self._same(log_joint, self.base).all())
        return [passed[i * len(swaps) : (i + 1) * len(swaps)] for i in range(len(sets))]

    def tells_of(self, chosen: Sequence[Axis]) -> bool:
        """Tell whether the likelihood depends on these parameters at all."""
        names = {name for name, _ in chosen}
        other = {n: x.roll(1, 0) if n in names else x for n, x in self.parameters.items()}
        before, after = (self.density.log_marginal(p, self.data) for p in (self.parameters, other))
        return not bool(self._same(after, before).all())

    def followers(
        self, chosen: Sequence[Axis], swap: tuple[int, int], length: int
    ) -> tuple[str, ...]:
        """Return the indicators whose values have to be exchanged with the components."""
        moved = self._moved(chosen, swap, length, slice(None))
        order = _order(swap, length)
        found = []
        for indicator in self.spec.indicators:
            if indicator.num_components != length:
                continue
            before, after = (
                self.density.log_likelihood(p, self.data, indicator.name)
                for p in (self.parameters, moved)
            )
            exchanged = before[..., order]
            if not bool(self._same(after, before).all()) and bool(
                self._same(after, exchanged).all()
            ):
                found.append(indicator.name)
        return tuple(found)

    def _log_joint(self, parameters: NamedTensors, data: NamedTensors) -> Tensor:
        """Return log p(θ, y) (S,) without Jacobians; -inf outside of the support."""
        vector, inside = self.space.unconstrain_within(parameters)
        prior = self.density.log_prior(self.space.split(vector))
        terms = self.density.log_prior_terms(parameters).values()
        total = sum(term.reshape(len(vector), -1).sum(1) for term in terms)
        total = total + self.density.log_marginal(parameters, data).reshape(len(vector))
        return torch.where(inside & torch.isfinite(prior), total, -torch.inf)

    def _moved(
        self, chosen: Sequence[Axis], swap: tuple[int, int], length: int, draws: slice
    ) -> dict[str, Tensor]:
        order = _order(swap, length)
        moved = {name: x[draws] for name, x in self.parameters.items()}
        for name, axis in chosen:
            index = torch.as_tensor(order, device=moved[name].device)
            moved[name] = moved[name].index_select(axis + 1, index)
        return moved

    @staticmethod
    def _same(x: Tensor, y: Tensor) -> Tensor:
        close = (x - y).abs() <= _TOLERANCE * (1 + y.abs())
        return close & torch.isfinite(y)


def _order(swap: tuple[int, int], length: int) -> list[int]:
    i, j = swap
    order = list(range(length))
    order[i], order[j] = j, i
    return order
