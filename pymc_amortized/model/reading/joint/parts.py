"""The indicators that a joint one is made of, and their probabilities under all its values."""

import math

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytensor.tensor as pt

from pytensor.graph.basic import Variable
from pytensor.graph.replace import vectorize_graph

from pymc_amortized.errors import DensityUnavailableError, UnsupportedModelError
from pymc_amortized.graph.logp import elementwise_logp
from pymc_amortized.model.complete_model import CompleteModel, Indicator
from pymc_amortized.model.indicators.digits import Digits
from pymc_amortized.model.reading.unit_map import parents_of

__all__ = ["Part", "every_value", "log_probabilities", "require_few"]


@dataclass(frozen=True, slots=True)
class Part:
    """An indicator to be joined with others.

    Attributes
    ----------
    indicator : Indicator
        As the model has it.
    support : tuple of int
        Its values.
    units : tuple of int
        Shape of its units.
    first : int
        Number of its first unit, where units of all parts are counted one after the other.
    """

    indicator: Indicator
    support: tuple[int, ...]
    units: tuple[int, ...]
    first: int

    @property
    def nodes(self) -> np.ndarray:
        """Numbers of its units among those of all parts."""
        return self.first + np.arange(math.prod(self.units))


def every_value(parts: Sequence[Part], digits: Sequence[Digits]) -> dict[Variable, Variable]:
    """Return the values (L, *units) of each part under each of L joint values, as constants."""
    return {
        part.indicator.variable: pt.constant(d.every_value().astype(part.indicator.variable.dtype))
        for part, d in zip(parts, digits, strict=True)
    }


def log_probabilities(
    complete: CompleteModel,
    part: Part,
    known: Mapping[Variable, Variable],
) -> Variable:
    """Return log probabilities (L or 1, *units) of a part, under each joint value.

    ``known`` is what :func:`every_value` returns.
    """
    own = part.indicator.variable
    value = own.type()
    stand_ins = {p.variable: p.variable.type() for p in parents_of(complete, part.indicator)}
    given = {v: v for v in complete.parameter_variables} | stand_ins
    try:
        logp = elementwise_logp(own, value, given)
    except DensityUnavailableError as error:
        raise UnsupportedModelError(
            f"Expected {part.indicator.name!r}, which is combined with other indicators, to "
            f"have known probabilities; got none ({error}). Give it such a distribution:\n\n"
            f'    pm.Categorical("{part.indicator.name}", p=probabilities)'
        ) from error
    return vectorize_graph(logp, {value: known[own]} | {s: known[p] for p, s in stand_ins.items()})


def require_few(parts: Sequence[Part], sizes: Sequence[int], most: int) -> None:
    """Refuse more combinations than a joint indicator may have."""
    total = math.prod(sizes)
    if total > most:
        found = ", ".join(
            f"{part.indicator.name!r} ({len(part.support)} values, {len(part.nodes)} units)"
            for part in parts
        )
        raise UnsupportedModelError(
            f"Expected at most {most:,} combinations of values that observations depend on "
            f"together; got {total:,} of {found}. Let each observation depend on fewer units, or "
            "sum some of them out in a density of your own:\n\n"
            '    pm.CustomDist("y", *parameters, logp=logp, random=random, observed=data)'
        )
