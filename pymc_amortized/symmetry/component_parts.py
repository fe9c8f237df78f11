"""What a permutation of components acts on: axes, whole variables, and values that are mirrored."""

import itertools

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.typing import NamedTensors

__all__ = ["Axis", "ComponentParts", "Members"]

Axis = tuple[str, int]
"""Of a parameter, by name and position."""

Members = tuple[str | None, ...]
"""For each label, the parameter that is its own; None where that label has no such parameter."""


@dataclass(frozen=True, slots=True)
class ComponentParts:
    """All that belongs to components and is permuted together.

    Attributes
    ----------
    axes : tuple of (str, int)
        Axes of parameters that count components, by name and position.
    variables : tuple of tuple of (str or None)
        Parameters of single components, such as ``("mu_0", "mu_1")``: for each label one, whose
        value is exchanged as a whole.
    mirrored : tuple of (str, float)
        Parameters x of two components that c - x takes the place of when these are exchanged, with
        their c: a weight of which the other component has the rest.

    Examples
    --------
    >>> parts = ComponentParts(variables=(("mu_0", "mu_1"),), mirrored=(("w", 1.0),))
    >>> one = torch.ones(1)
    >>> parts.permuted({"mu_0": -one, "mu_1": 2 * one, "w": 0.25 * one}, torch.tensor([[1, 0]]))
    {'mu_0': tensor([2.]), 'mu_1': tensor([-1.]), 'w': tensor([0.7500])}
    """

    axes: tuple[Axis, ...] = ()
    variables: tuple[Members, ...] = ()
    mirrored: tuple[tuple[str, float], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, each once."""
        whole = [name for members in self.variables for name in members if name is not None]
        axes, mirrored = (name for name, _ in self.axes), (name for name, _ in self.mirrored)
        return tuple(dict.fromkeys((*axes, *mirrored, *whole)))

    @staticmethod
    def joined(parts: Iterable["ComponentParts"]) -> "ComponentParts":
        """Return all of several parts together."""
        every = list(parts)
        return ComponentParts(
            *(
                tuple(itertools.chain.from_iterable(getattr(part, kind) for part in every))
                for kind in ("axes", "variables", "mirrored")
            )
        )

    def can_exchange(self, i: int, j: int) -> bool:
        """Tell whether two labels have the same kinds of parameters of their own."""
        return all((m[i] is None) == (m[j] is None) for m in self.variables)

    def overlaps(self, other: "ComponentParts") -> bool:
        """Tell whether two permutations act on one axis, or exchange one parameter as a whole."""
        whole = [
            {name for name, _ in parts.mirrored} | {n for m in parts.variables for n in m if n}
            for parts in (self, other)
        ]
        return not (set(self.axes).isdisjoint(other.axes) and whole[0].isdisjoint(whole[1]))

    def permuted(self, parameters: NamedTensors, permutations: Tensor) -> dict[str, Tensor]:
        """Permute components of parameters.

        Parameters
        ----------
        parameters : mapping of str to Tensor, shape (S, *shape)
            Draws.
        permutations : Tensor of int64, shape (S, K)
            Which component goes to each place.
        """
        result = dict(parameters)
        for name, axis in self.axes:
            result[name] = _gather(result[name], axis + 1, permutations)
        for name, total in self.mirrored:
            x = result[name]
            swapped = (permutations[:, 0] > permutations[:, 1]).to(x.device)
            result[name] = torch.where(swapped.reshape(-1, *(1,) * (x.ndim - 1)), total - x, x)
        for members in self.variables:
            own = [label for label, name in enumerate(members) if name is not None]
            stacked = torch.stack([result[members[label]] for label in own], dim=1)
            places = torch.empty(len(members), dtype=torch.long, device=permutations.device)
            places[own] = torch.arange(len(own), device=permutations.device)
            moved = _gather(stacked, 1, places[permutations[:, own]])
            result |= {members[label]: moved[:, place] for place, label in enumerate(own)}
        return result

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "ComponentParts":
        """Return the parts that JSON holds."""
        return ComponentParts(
            axes=tuple((name, int(axis)) for name, axis in record["axes"]),
            variables=tuple(tuple(members) for members in record.get("variables", ())),
            mirrored=tuple((name, float(c)) for name, c in record.get("mirrored", ())),
        )


def _gather(x: Tensor, axis: int, permutations: Tensor) -> Tensor:
    """Permute one axis of draws (S, *shape) by permutations (S, K)."""
    shape = [1] * x.ndim
    shape[0], shape[axis] = permutations.shape
    return x.gather(axis, permutations.to(x.device).reshape(shape).expand(x.shape))
