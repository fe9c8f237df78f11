"""A user's data, checked, and put into the frames in which a model is evaluated."""

import math

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.data.ties import spread_ties
from pymc_amortized.data.user_values import (
    check_covariates,
    check_observations,
    mask_gaps,
    model_values,
    runs_along,
)
from pymc_amortized.errors import InvalidDataError, ObservationShapeError
from pymc_amortized.model.fingerprint import describe_value, digest
from pymc_amortized.model.spec import ObservationSpec

__all__ = ["Dataset", "read_dataset"]


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """One data set.

    Attributes
    ----------
    frames : Frames
        Its rows in the model's shape, a batch of one.
    smooth : Frames
        The same as networks see them, with rounded values spread out.
    positions : tuple of numpy.ndarray, shape (rows,)
        For each table of units, where the user's rows are among the m R rows of its frames.
    observations : dict of str to numpy.ndarray
        As the user gave them, NaN where missing.
    covariates : dict of str to numpy.ndarray
        Those in use, the model's own included.
    """

    frames: Frames
    smooth: Frames
    positions: tuple[np.ndarray, ...]
    observations: dict[str, np.ndarray]
    covariates: dict[str, np.ndarray]

    @property
    def digest(self) -> str:
        """A hash of all that a model can see of it."""
        frames = self.frames
        tensors = {**frames.observations, **frames.covariates}
        parts = {name: x.cpu().numpy() for name, x in sorted(tensors.items())}
        places = [x.cpu().numpy() for x in (*frames.selected, frames.times) if x is not None]
        return digest(describe_value(parts), describe_value(places))


def read_dataset(
    layout: DataLayout,
    model_data: Mapping[str, np.ndarray],
    data: Mapping[str, Any] | None = None,
    atoms: Mapping[str, np.ndarray] | None = None,
    *,
    any_size: bool = False,
) -> Dataset:
    """Check data and lay them out.

    Parameters
    ----------
    layout : DataLayout
        What is expected.
    model_data : mapping of str to numpy.ndarray
        The observed values of the model, used where ``data`` is None.
    data : mapping of str to array, optional
        Every observed variable by name, and covariates. Missing values are given as masked arrays.
    atoms : mapping of str to numpy.ndarray, optional
        For continuous variables, the values that the model itself repeats; see
        :func:`pymc_amortized.data.ties.find_atoms`.
    any_size : bool
        Whether sequences may have lengths that no network was trained for.

    Raises
    ------
    InvalidDataError
        If a name is unknown or missing, a type is wrong, or a value is NaN or infinite.
    ObservationShapeError
        If a shape or a number of units is not what the network is trained for.
    """
    if data is None:
        values, observed = model_values(layout, model_data)
        covariates: dict[str, np.ndarray] = {}
    else:
        values, observed = check_observations(layout, data)
        covariates = check_covariates(layout, data, values)
    movable = not any(t.grouped for t in layout.tables) and not any(
        o.depends_on for o in layout.spec.observations
    )
    positions = tuple(_positions(table, observed, movable, any_size) for table in layout.tables)
    _require_same_places(layout, positions)
    in_use = {**layout.covariates, **covariates}
    frames = _frames(layout, positions, values, observed, in_use)
    smooth_values = {
        name: spread_ties(value, observed[name], atoms[name]) if name in (atoms or {}) else value
        for name, value in values.items()
    }
    return Dataset(
        frames,
        _frames(layout, positions, smooth_values, observed, in_use),
        positions,
        {name: mask_gaps(value, observed[name]) for name, value in values.items()},
        in_use,
    )


def _positions(
    table: UnitTable, observed: Mapping[str, np.ndarray], movable: bool, any_size: bool
) -> np.ndarray:
    """Return where the rows of a data set go, among the rows of as many frames as it needs."""
    patterns = [_row_patterns(table, o, observed[o.name]) for o in table.observations]
    lengths = {o.name: len(p) for o, p in zip(table.observations, patterns, strict=True)}
    if len(set(lengths.values())) > 1:
        raise ObservationShapeError(
            f"Expected as many units in each of {list(lengths)}; got {lengths}.",
            table.name,
            table.sizes,
            tuple(lengths.values()),
        )
    wanted = np.concatenate(patterns, axis=1)
    if table.is_sequence and not any_size and not wanted.any():
        raise InvalidDataError(
            f"Expected {table.name!r} to be observed at some time point; everything is missing. "
            "There is nothing to answer; what the model says without data is its prior:\n\n"
            "    pm.sample_prior_predictive(model=model)"
        )
    if not any_size:
        _require_size(table, wanted, observed[table.name].shape)
    offered = np.concatenate([table.entries_observed(o) for o in table.observations], axis=1)
    if wanted.shape == offered.shape and (wanted == offered).all():
        return np.arange(len(wanted))
    fixed = table.is_sequence and not (table.resized or any_size)
    if fixed or not (movable and table.exchangeable):
        raise InvalidDataError(
            f"Expected values of {table.name!r} to be missing where they are in the model, whose "
            "rows cannot be moved; got others. Build the model with these data."
        )
    return _match(table, wanted, offered)


def _row_patterns(table: UnitTable, o: ObservationSpec, observed: np.ndarray) -> np.ndarray:
    entries = table.entries_observed(o).shape[1]
    num_rows = observed.size if table.grouped else (observed.shape[0] if o.owner.ndim else 1)
    if table.grouped or table.num_sequences > 1:
        num_rows = table.num_rows
    rows = observed.reshape(num_rows, entries, -1)
    if (rows != rows[..., :1]).any():
        raise InvalidDataError(
            f"Expected each value of {o.name!r} to be observed or missing as a whole; some are "
            "observed in part."
        )
    return rows[..., 0]


def _require_size(table: UnitTable, wanted: np.ndarray, shape: tuple[int, ...]) -> None:
    low, high = table.sizes
    count = int(wanted.any(1).sum())
    if table.is_sequence:
        count = len(wanted) // table.num_sequences
    if low <= count <= high and (table.resized or len(wanted) == table.num_rows):
        return
    trained = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    smallest, largest = min(low, max(count, 1)), max(high, count)
    if not table.resized and count == low:
        count = len(wanted)
    raise ObservationShapeError(
        f"Expected data for {table.name!r} with {trained} units, as in training; got {count:,}. "
        "The network was never trained at that size and would be overconfident there. Train for "
        f'it:\n\n    pma.fit(model, sizes={{"{table.name}": ({smallest}, {largest})}})',
        table.name,
        table.sizes,
        shape,
    )


def _match(table: UnitTable, wanted: np.ndarray, offered: np.ndarray) -> np.ndarray:
    """Put each row where the model has the same entries observed; rows without any at the end."""
    positions = np.full(len(wanted), -1)
    for pattern in np.unique(wanted[wanted.any(1)], axis=0):
        rows = np.flatnonzero((wanted == pattern).all(1))
        slots = np.flatnonzero((offered == pattern).all(1))
        if not slots.size:
            raise InvalidDataError(
                f"Expected rows of {table.name!r} to have the same entries missing as some row of "
                f"the model; got rows with {int((~pattern).sum())} of {pattern.size} missing where "
                "no row of the model has. Build the model with data that have such gaps."
            )
        turn = np.arange(rows.size)
        positions[rows] = (turn // slots.size) * table.num_rows + slots[turn % slots.size]
    empty = np.flatnonzero(positions < 0)
    taken = set(positions[positions >= 0].tolist())
    free = (place for place in range(len(taken) + empty.size) if place not in taken)
    positions[empty] = [place for place, _ in zip(free, empty, strict=False)]
    return positions


def _require_same_places(layout: DataLayout, positions: tuple[np.ndarray, ...]) -> None:
    """Refuse rows of one covariate that would have to be in two places."""
    for covariate in layout.spec.covariates:
        along = [i for i, table in enumerate(layout.tables) if runs_along(covariate, table)]
        for i in along[1:]:
            if not np.array_equal(positions[i], positions[along[0]]):
                names = [layout.tables[along[0]].name, layout.tables[i].name]
                raise InvalidDataError(
                    f"Expected values of {names} to be missing in the same rows, or where they are "
                    f"in the model, since {covariate.name!r} runs along both; got others. Build "
                    "the model with these data."
                )


def _frames(
    layout: DataLayout,
    positions: tuple[np.ndarray, ...],
    values: Mapping[str, np.ndarray],
    observed: Mapping[str, np.ndarray],
    covariates: Mapping[str, np.ndarray],
) -> Frames:
    used = [
        math.ceil((int(where.max()) + 1) / table.num_rows)
        for table, where in zip(layout.tables, positions, strict=True)
    ]
    num_frames = max(used)
    observations, placed_covariates, selected = {}, {}, []
    for table, where in zip(layout.tables, positions, strict=True):
        chosen = np.zeros(num_frames * table.num_rows, dtype=bool)
        chosen[where] = np.concatenate(
            [_row_patterns(table, o, observed[o.name]) for o in table.observations], axis=1
        ).any(1)
        selected.append(torch.as_tensor(chosen.reshape(1, num_frames, table.num_rows)))
        for o in table.observations:
            rows = values[o.name].reshape(len(where), -1)
            buffer = np.zeros((num_frames * table.num_rows, rows.shape[1]), dtype=rows.dtype)
            buffer[where] = rows
            observations[o.name] = torch.as_tensor(buffer.reshape(1, num_frames, *o.shape))
        moved = not np.array_equal(where, np.arange(table.num_rows))
        for covariate, axis in table.covariates:
            own = layout.covariates[covariate.name]
            given = covariates[covariate.name]
            if moved or not np.array_equal(own, given):
                frames = np.stack([own] * num_frames)
                flat = np.moveaxis(frames, axis + 1, 1).reshape(-1, *np.delete(own.shape, axis))
                flat[where] = np.moveaxis(given, axis, 0)
                shape = (num_frames, own.shape[axis], *np.delete(own.shape, axis))
                frames = np.moveaxis(flat.reshape(shape), 1, axis + 1)
                placed_covariates[covariate.name] = torch.as_tensor(frames.copy()).unsqueeze(0)
    times = None
    for table, where in zip(layout.tables, positions, strict=True):
        moved = not np.array_equal(where, np.arange(table.num_rows))
        if table.is_sequence and (table.resized or moved):
            times = torch.as_tensor(where).unsqueeze(0)
    return Frames(observations, placed_covariates, tuple(selected), times)
