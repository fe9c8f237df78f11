"""Which components of a model are exchangeable: parameters are permuted, and the model is asked.

Where several parameters have an axis of components, all of them have to be permuted together. Axes
are not traced: every set of axes that are as long as an indicator has components is tried, the
smallest first, on draws of the prior. Variables of single components are exchanged as wholes, all
of them or none. A set under which the model does not change, and of which no part has this
property, is a set of exchangeable components.
"""

import itertools

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pymc_amortized.model.spec import ModelSpec
from pymc_amortized.symmetry.component_parts import ComponentParts
from pymc_amortized.symmetry.invariance import Invariance, Swap
from pymc_amortized.symmetry.own_variables import own_variables

__all__ = ["Exchangeable", "find_exchangeable", "may_be_exchangeable"]

_MAX_PARTS = 10


@dataclass(frozen=True, slots=True)
class Exchangeable:
    """Components that can be permuted without changing the density.

    Attributes
    ----------
    parts : ComponentParts
        What is permuted together.
    num_labels : int
        K, their number.
    blocks : tuple of tuple of int
        Labels that can be permuted among themselves: all of them in one block, or several blocks
        of at least two where some components have priors of their own.
    indicators : tuple of str
        Whose values follow.
    """

    parts: ComponentParts
    num_labels: int
    blocks: tuple[tuple[int, ...], ...]
    indicators: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the parameters, each once."""
        return self.parts.names

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

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> "Exchangeable":
        """Return what JSON holds; networks of before there were parts have axes alone."""
        return Exchangeable(
            parts=ComponentParts.from_record(record.get("parts", record)),
            num_labels=int(record["num_labels"]),
            blocks=tuple(tuple(block) for block in record["blocks"]),
            indicators=tuple(record["indicators"]),
        )


def may_be_exchangeable(spec: ModelSpec) -> bool:
    """Tell whether a model has axes, or pairs of parameters, that might belong to components."""
    counts = {indicator.num_components for indicator in spec.named_indicators}
    if any(i.is_drawn_only for i in spec.indicators):
        return False
    lengths = {length for p in spec.parameters for length in p.shape}
    kinds = [(p.shape, p.unconstrained_shape, p.transform) for p in spec.parameters]
    return bool(counts) and (not counts.isdisjoint(lengths) or len(set(kinds)) < len(kinds))


def find_exchangeable(spec: ModelSpec, asked: Invariance) -> tuple[Exchangeable, ...]:
    """Find the components of a model that are exchangeable.

    Parameters
    ----------
    spec : ModelSpec
        The reading of the model.
    asked : Invariance
        What tells whether the model changes.
    """
    lengths = sorted({indicator.num_components for indicator in spec.named_indicators})
    found = []
    for length in lengths:
        parts = list(_candidates(spec, asked, length))
        found += list(_minimal(asked, parts[:_MAX_PARTS], length))
    return tuple(found)


def _candidates(spec: ModelSpec, asked: Invariance, length: int) -> Iterator[ComponentParts]:
    """Yield what may have to be permuted: variables of their own, mirrored ones, then axes."""
    own = own_variables(spec, asked, length)
    yield from (ComponentParts(variables=together) for together in own)
    if length == 2:
        yield from (ComponentParts(mirrored=(one,)) for one in asked.mirrored())
    shapes = {p.name: p.shape for p in spec.parameters}
    singles = [(name,) for name in shapes]
    members = [tuple(filter(None, m)) for together in own for m in together]
    taken = {name for names in members for name in names}
    for names in (*(s for s in singles if s[0] not in taken), *members):
        for axis, size in enumerate(shapes[names[0]]):
            if size == length:
                yield ComponentParts(axes=tuple((name, axis) for name in names))


def _minimal(
    asked: Invariance, parts: Sequence[ComponentParts], length: int
) -> Iterator[Exchangeable]:
    """Yield the smallest sets of parts under which something can be exchanged."""
    swaps = list(itertools.combinations(range(length), 2))
    done: list[set[int]] = []
    for size in range(1, len(parts) + 1):
        sets = [
            chosen
            for chosen in itertools.combinations(range(len(parts)), size)
            if not any(d <= set(chosen) for d in done)
        ]
        joined = [ComponentParts.joined(parts[i] for i in chosen) for chosen in sets]
        cases = [Swap(j, pair, length) for j in joined for pair in swaps if j.can_exchange(*pair)]
        unchanged = dict(zip(cases, asked.unchanged(cases), strict=True))
        for chosen, together in zip(sets, joined, strict=True):
            pairs = [pair for pair in swaps if unchanged.get(Swap(together, pair, length))]
            if pairs:
                done.append(set(chosen))
                indicators = asked.followers(Swap(together, pairs[0], length))
                if asked.tells_of(set(together.names)) and (indicators or not together.variables):
                    yield Exchangeable(together, length, _blocks(pairs, length), indicators)


def _blocks(pairs: Sequence[tuple[int, int]], length: int) -> tuple[tuple[int, ...], ...]:
    """Join pairs into blocks: what can be exchanged with the same can be exchanged."""
    block = list(range(length))
    for i, j in pairs:
        old, new = block[j], block[i]
        block = [new if b == old else b for b in block]
    members = (tuple(k for k in range(length) if block[k] == b) for b in dict.fromkeys(block))
    return tuple(m for m in members if len(m) > 1)
