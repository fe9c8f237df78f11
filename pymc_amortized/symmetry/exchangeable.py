"""Which components of a model are exchangeable: parameters are permuted, and the model is asked.

Where several parameters have an axis of components, all of them have to be permuted together. Axes
are not traced: every set of axes that are as long as an indicator has components is tried, the
smallest first, on draws of the prior. A set under which the model does not change, and of which no
part has this property, is a set of exchangeable components.
"""

import itertools

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.symmetry.invariance import Axis, Invariance, Swap

__all__ = ["Exchangeable", "find_exchangeable"]

_MAX_AXES = 10


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

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Every two labels that can be exchanged."""
        return tuple(p for block in self.blocks for p in itertools.combinations(block, 2))

    def __str__(self) -> str:
        some = ""
        if self.is_partial:
            some = " " + ", ".join(" and ".join(map(str, block)) for block in self.blocks)
        return f"components{some} are exchangeable: {', '.join((*self.names, *self.indicators))}"


def find_exchangeable(spec: ModelSpec, asked: Invariance) -> tuple[Exchangeable, ...]:
    """Find the components of a model that are exchangeable.

    Parameters
    ----------
    spec : ModelSpec
        The reading of the model.
    asked : Invariance
        What tells whether the model changes.
    """
    lengths = sorted({indicator.num_components for indicator in spec.indicators})
    found = []
    for length in lengths:
        axes = [(p.name, a) for p in spec.parameters for a, n in enumerate(p.shape) if n == length]
        found += list(_minimal(asked, axes[:_MAX_AXES], length))
    return tuple(found)


def _minimal(asked: Invariance, axes: Sequence[Axis], length: int) -> Iterator[Exchangeable]:
    """Yield the smallest sets of axes under which something can be exchanged."""
    swaps = list(itertools.combinations(range(length), 2))
    done: list[frozenset[Axis]] = []
    for size in range(1, len(axes) + 1):
        sets = [s for s in itertools.combinations(axes, size) if not any(d <= set(s) for d in done)]
        cases = [Swap(chosen, pair, length) for chosen in sets for pair in swaps]
        unchanged = asked.unchanged(cases)
        for place, chosen in enumerate(sets):
            allowed = unchanged[place * len(swaps) :][: len(swaps)]
            pairs = [pair for pair, same in zip(swaps, allowed, strict=True) if same]
            if pairs:
                done.append(frozenset(chosen))
                if not asked.tells_of({name for name, _ in chosen}):
                    continue
                indicators = asked.followers(Swap(chosen, pairs[0], length))
                yield Exchangeable(chosen, length, _blocks(pairs, length), indicators)


def _blocks(pairs: Sequence[tuple[int, int]], length: int) -> tuple[tuple[int, ...], ...]:
    """Join pairs into blocks: what can be exchanged with the same can be exchanged."""
    block = list(range(length))
    for i, j in pairs:
        old, new = block[j], block[i]
        block = [new if b == old else b for b in block]
    members = (tuple(k for k in range(length) if block[k] == b) for b in dict.fromkeys(block))
    return tuple(m for m in members if len(m) > 1)
