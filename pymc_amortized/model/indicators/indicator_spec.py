"""The reading of an indicator, as frozen data."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pymc_amortized.model.indicators.digits import Digits

__all__ = ["Dims", "IndicatorSpec"]

Dims = tuple[str | None, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class IndicatorSpec:
    """A discrete latent variable.

    Attributes
    ----------
    name : str
        Its own, or ``<observation>_component``.
    support : tuple of int
        The K values it can take.
    units : tuple of int
        Shape of the units that it belongs to.
    kind : {"independent", "markov", "simulated"}
        How units depend on each other. ``"simulated"``: in a sequence that is known by draws alone.
    order : int
        How many units back a chain looks; 0 where units are independent.
    time_varying : bool
        Whether a chain's transition differs from step to step.
    origin : {"explicit", "mixture", "marginalized", "joint"}
        How the model had it.
    dims : tuple of str, or None
        Names of the axes.
    density : str or None
        Why its probabilities are not known; None where they are.
    value_dim : str or None
        Name of the axis of its weights.
    members : tuple of IndicatorSpec
        The indicators whose combinations are its values, if it is a joint one.
    digits : Digits or None
        Where a member is found in the joint one.
    """

    name: str
    support: tuple[int, ...]
    units: tuple[int, ...]
    kind: Literal["independent", "markov", "simulated"]
    order: int
    time_varying: bool
    origin: str
    dims: Dims
    density: str | None = None
    value_dim: str | None = None
    members: tuple["IndicatorSpec", ...] = ()
    digits: Digits | None = None

    @property
    def named(self) -> tuple["IndicatorSpec", ...]:
        """The indicators under whose names it is given back: its members, or itself."""
        return self.members or (self,)

    @property
    def is_sequence(self) -> bool:
        """Whether units are time points, along the last axis."""
        return self.kind != "independent"

    @property
    def is_drawn_only(self) -> bool:
        """Whether no more is known of it than its draws."""
        return self.kind == "simulated"

    @property
    def num_components(self) -> int:
        """K."""
        return len(self.support)

    def exchanged(self, names: Collection[str], order: Sequence[int]) -> np.ndarray | None:
        """Return where values of a joint indicator go when some members' values are in a new order.

        As positions (L,) among its own; None where a combination would be one that it lacks.
        """
        tables = [member.digits.table for member in self.members]
        columns = np.concatenate(tables).T
        moved = [
            np.asarray(order)[table] if member.name in names else table
            for member, table in zip(self.members, tables, strict=True)
        ]
        known = {tuple(column): place for place, column in enumerate(columns.tolist())}
        places = [known.get(tuple(column)) for column in np.concatenate(moved).T.tolist()]
        return None if None in places else np.array(places)
