"""Tables of units: observed variables whose rows belong to the same units."""

import math

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pymc_amortized.errors import InvalidArgumentError, UnsupportedModelError
from pymc_amortized.model.spec import (
    CovariateSpec,
    IndicatorSpec,
    ModelSpec,
    ObservationSpec,
)
from pymc_amortized.networks.units import UnitShape

__all__ = ["Sizes", "UnitTable"]

Sizes = Mapping[str, int | tuple[int, int]] | None
"""Numbers of units to be trained for, by the name of the observed variable."""


_NUM_FREQUENCIES = 6
_MAX_IN_VECTOR = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class UnitTable:
    """Observed variables whose rows belong to the same units.

    Attributes
    ----------
    observations : tuple of ObservationSpec
        Which variables.
    indicator : IndicatorSpec or None
        The indicator of the units.
    covariates : tuple of (CovariateSpec, int)
        What runs along the rows, by which of its axes.
    num_rows : int
        R, rows in a frame.
    observed_rows : numpy.ndarray of bool, shape (R,)
        Where the model has something observed.
    sizes : tuple of int
        The smallest and largest number of observed rows to be trained for; of a sequence, the time
        points, missing ones included.
    resized : bool
        Whether the user asked for sizes.
    grouped : bool
        Whether several rows belong to one unit.
    is_vector : bool
        Whether entries are laid out side by side in one row, for each has a meaning of its own, and
        they are always as many.
    """

    observations: tuple[ObservationSpec, ...]
    indicator: IndicatorSpec | None
    covariates: tuple[tuple[CovariateSpec, int], ...]
    num_rows: int
    observed_rows: np.ndarray
    sizes: tuple[int, int]
    resized: bool
    grouped: bool
    is_vector: bool = False

    @property
    def name(self) -> str:
        """Of its first variable."""
        return self.observations[0].name

    @property
    def names(self) -> tuple[str, ...]:
        """Of its variables."""
        return tuple(o.name for o in self.observations)

    @property
    def exchangeable(self) -> bool:
        """Whether rows can be permuted, with the covariates that run along them."""
        return all(o.exchangeable for o in self.observations)

    @property
    def has_gaps(self) -> bool:
        """Whether the model misses some entries."""
        return not all(self.entries_observed(o).all() for o in self.observations)

    @property
    def is_sequence(self) -> bool:
        """Whether rows are the time points of Markov chains."""
        return self.indicator is not None and self.indicator.is_sequence

    @property
    def num_sequences(self) -> int:
        """C, the chains side by side; 0 where rows are a set."""
        return math.prod(self.indicator.units[:-1]) if self.is_sequence else 0

    @property
    def has_positions(self) -> bool:
        """Whether networks must see where a row is, for not all are alike."""
        simulated = self.is_sequence and self.indicator.is_drawn_only
        return not self.exchangeable or self.num_sequences > 1 or simulated

    @property
    def shape(self) -> UnitShape:
        """What a network needs to know."""
        widths = [
            _width(o, self.grouped, self.num_rows) * (1 + self.shows_mask(o))
            for o in self.observations
        ]
        if self.is_vector:
            return UnitShape(num_features=self.num_rows * sum(widths), min_rows=1, max_rows=1)
        widths += [_covariate_width(c, axis) for c, axis in self.covariates]
        if self.has_positions:
            widths.append(1 + 2 * _NUM_FREQUENCIES)
        if self.is_sequence:
            widths.append(1)
        indicator = self.indicator
        owner = _full_owner(self.observations[0]).ravel().tolist() if self.grouped else None
        units = () if indicator is None else indicator.units
        return UnitShape(
            num_features=sum(widths),
            min_rows=self.sizes[0] * max(1, self.num_sequences),
            max_rows=self.sizes[1] * max(1, self.num_sequences),
            num_indicators=1 if self.grouped or self.is_sequence else math.prod(units[1:]),
            num_components=0 if indicator is None else indicator.num_components,
            owner=None if owner is None else tuple(owner),
            num_units=math.prod(units) if self.grouped else 0,
            num_sequences=self.num_sequences,
            exchangeable=self.exchangeable,
        )

    def entries_observed(self, o: ObservationSpec) -> np.ndarray:
        """Return which entries of a variable the model has observed, (R, entries in a row)."""
        return _find_observed_entries(o, self.num_rows)

    def shows_mask(self, o: ObservationSpec) -> bool:
        """Whether rows can be observed in part, so that networks must see which part."""
        if o.observed is None:
            return False
        return (
            _width(o, self.grouped, self.num_rows) > 1 or len(self.observations) > 1 or self.grouped
        )


def _tables(spec: ModelSpec, sizes: Mapping[str, tuple[int, int]]) -> tuple[UnitTable, ...]:
    """Group observed variables: those with the same indicator whose rows are its units."""
    indicators = {indicator.name: indicator for indicator in spec.indicators}
    groups: dict[str, list[ObservationSpec]] = {}
    for o in spec.observations:
        aligned = o.indicator is not None and _is_aligned(o, indicators[o.indicator])
        groups.setdefault(f"units of {o.indicator}" if aligned else o.name, []).append(o)
    return tuple(
        _table(tuple(group), indicators.get(group[0].indicator), spec, sizes)
        for group in groups.values()
    )


def _table(
    observations: tuple[ObservationSpec, ...],
    indicator: IndicatorSpec | None,
    spec: ModelSpec,
    sizes: Mapping[str, tuple[int, int]],
) -> UnitTable:
    first = observations[0]
    grouped = indicator is not None and not _is_aligned(first, indicator)
    num_rows = _num_rows(first, indicator, grouped)
    masks = [_find_observed_entries(o, num_rows) for o in observations]
    observed_rows = np.concatenate(masks, axis=1).any(1)
    covariates = {
        c.name: (c, c.unit_axes[o.name])
        for o in observations
        for c in spec.covariates
        if o.name in c.unit_axes
    }
    asked = {sizes[o.name] for o in observations if o.name in sizes}
    if len(asked) > 1:
        raise InvalidArgumentError(
            f"Expected one range of sizes for {[o.name for o in observations]}, which belong to "
            f"the same units; got {sorted(asked)}. Give it for one of them."
        )
    count = int(observed_rows.sum())
    if indicator is not None and indicator.is_sequence:
        count = indicator.units[-1]
    return UnitTable(
        observations=observations,
        indicator=indicator,
        covariates=tuple(covariates.values()),
        num_rows=observed_rows.size,
        observed_rows=observed_rows,
        sizes=asked.pop() if asked else (count, count),
        resized=any(o.name in sizes for o in observations),
        grouped=grouped,
        is_vector=indicator is None
        and not sizes
        and _is_vector(observations, observed_rows.size, [c for c, _ in covariates.values()]),
    )


def _is_vector(
    observations: Sequence[ObservationSpec], num_rows: int, covariates: Sequence[CovariateSpec]
) -> bool:
    """Whether rows are always as many, and differ otherwise than by covariates that may change."""
    alike = num_rows > 1 and all(o.exchangeable for o in observations)
    fixed = all(covariate.origin == "constant" for covariate in covariates)
    few = sum(math.prod(o.shape) for o in observations) <= _MAX_IN_VECTOR
    return fixed and few and not alike


def _is_aligned(observation: ObservationSpec, indicator: IndicatorSpec) -> bool:
    """Whether the rows of an observation are the units of its indicator, in order."""
    if not observation.shape or not indicator.units:
        return not observation.shape and not indicator.units
    axes = len(indicator.units) if indicator.is_sequence else 1
    if observation.shape[:axes] != indicator.units[:axes]:
        return False
    num_rows, per_row = math.prod(indicator.units[:axes]), math.prod(indicator.units[axes:])
    row = _full_owner(observation).reshape(num_rows, -1) // per_row
    here = _find_observed_entries(observation, num_rows)
    return bool(
        (row == np.arange(num_rows)[:, None])[here.repeat(row.shape[1] // here.shape[1], 1)].all()
    )


def _check_sizes(spec: ModelSpec, sizes: Sizes) -> dict[str, tuple[int, int]]:
    names = [o.name for o in spec.observations]
    checked = {}
    if sizes is not None and not isinstance(sizes, Mapping):
        raise InvalidArgumentError(
            f"Expected sizes by name of an observed variable; got {sizes!r}. For instance:\n\n"
            f'    sizes={{"{names[0]}": (50, 500)}}'
        )
    for name, size in (sizes or {}).items():
        if name not in names:
            raise InvalidArgumentError(
                f"Expected sizes of observed variables, {names}; got {name!r}."
            )
        pair = tuple(size) if isinstance(size, tuple | list) else (size, size)
        whole = len(pair) == 2 and all(isinstance(n, int | np.integer) for n in pair)
        if not whole or not 1 <= pair[0] <= pair[1]:
            raise InvalidArgumentError(
                f"Expected the smallest and the largest number of units for {name!r}; got "
                f'{size!r}. For instance:\n\n    sizes={{"{name}": (50, 500)}}'
            )
        checked[name] = (int(pair[0]), int(pair[1]))
    return checked


def _require_resizable(table: UnitTable, tables: Sequence[UnitTable], spec: ModelSpec) -> None:
    reasons = {
        "another table of its model is a sequence": spec.structure == "sequence"
        and len(tables) > 1,
        "the transition of its chain differs from step to step": table.is_sequence
        and table.indicator.time_varying,
        "the probabilities of its states are not known": table.is_sequence
        and table.indicator.is_drawn_only,
        "several sequences lie side by side in it": table.num_sequences > 1,
        "several of its values belong to one unit": table.grouped,
        "it is a single value": not table.observations[0].owner.ndim,
        "observed variables depend on each other": any(o.depends_on for o in spec.observations),
        "its units are observed through another variable, with other rows": sum(
            t.indicator is not None and t.indicator is table.indicator for t in tables
        )
        > 1,
        "its units cannot be permuted": not table.exchangeable,
        "units depend on each other's covariates, on their mean for instance": any(
            not covariate.local for covariate, _ in table.covariates
        ),
        "the prior of a parameter depends on the covariates of its units": any(
            covariate.in_prior for covariate, _ in table.covariates
        ),
        "the model calculates with their number": any(
            covariate.counted for covariate, _ in table.covariates
        ),
    }
    for reason, holds in reasons.items():
        if holds:
            raise UnsupportedModelError(
                f"Expected {table.name!r} to consist of units that can be varied in number; it "
                f"does not: {reason}. Leave it out of `sizes`, and build the model with data of "
                "the size that you want:\n\n    pma.sample(model=model)"
            )


def _full_owner(o: ObservationSpec) -> np.ndarray:
    """Return the unit of each entry, also where the density has the observed entries alone."""
    if o.observed is None or o.owner.shape[: o.observed.ndim] == o.observed.shape:
        return o.owner
    owner = np.full((*o.observed.shape, *o.owner.shape[1:]), -1)
    owner[o.observed] = o.owner
    return owner


def _num_rows(o: ObservationSpec, indicator: IndicatorSpec | None, grouped: bool) -> int:
    """Return the rows of a table: units of a chain, the first axis of a set, or all entries."""
    owner = _full_owner(o)
    if grouped or not owner.ndim:
        return owner.size
    if indicator is not None and indicator.is_sequence:
        return math.prod(indicator.units)
    return o.shape[0]


def _find_observed_entries(o: ObservationSpec, num_rows: int) -> np.ndarray:
    """Return which entries are observed, (rows, entries in a row)."""
    observed = np.ones(_full_owner(o).shape, dtype=bool)
    if o.observed is not None:
        observed &= o.observed.reshape(*o.observed.shape, *(1,) * (observed.ndim - o.observed.ndim))
    return observed.reshape(num_rows, -1)


def _width(o: ObservationSpec, grouped: bool, num_rows: int) -> int:
    if not grouped:
        return math.prod(o.shape) // num_rows
    return math.prod(o.shape) // _full_owner(o).size


def _covariate_width(covariate: CovariateSpec, axis: int) -> int:
    return math.prod(covariate.shape) // covariate.shape[axis]
