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
from pymc_amortized.errors import InvalidDataError, ObservationShapeError
from pymc_amortized.model.spec import CovariateSpec, ObservationSpec

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
        :func:`pymc_amortized.ties.find_atoms`.
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
        values = {name: np.asarray(value) for name, value in model_data.items()}
        observed = {o.name: _model_mask(o) for o in layout.spec.observations}
        covariates: dict[str, np.ndarray] = {}
    else:
        values, observed = _checked_observations(layout, data)
        covariates = _checked_covariates(layout, data, values)
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
        {name: _with_gaps(value, observed[name]) for name, value in values.items()},
        in_use,
    )


def _model_mask(o: ObservationSpec) -> np.ndarray:
    if o.observed is None:
        return np.ones(o.shape, dtype=bool)
    spread = o.observed.reshape(*o.observed.shape, *(1,) * (len(o.shape) - o.observed.ndim))
    return np.broadcast_to(spread, o.shape)


def _with_gaps(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    return values if observed.all() else np.where(observed, values, np.nan)


def _checked_observations(
    layout: DataLayout, data: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    names = [o.name for o in layout.spec.observations]
    if not isinstance(data, Mapping):
        raise InvalidDataError(
            f"Expected data by name; got a {type(data).__name__}. Name the observed variable:\n\n"
            f'    posterior.sample({{"{names[0]}": data}})'
        )
    covariates = [c.name for c in layout.spec.covariates]
    unknown = [name for name in data if name not in (*names, *covariates)]
    if unknown:
        raise InvalidDataError(
            f"Expected data for {names}"
            + (f" and covariates among {covariates}" if covariates else "")
            + f"; got {unknown[0]!r}, which the model neither observes nor conditions on."
        )
    missing = [name for name in names if name not in data]
    if missing:
        raise InvalidDataError(
            f"Expected data for every observed variable, {names}; got none for {missing[0]!r}."
        )
    values, observed = {}, {}
    for o in layout.spec.observations:
        values[o.name], observed[o.name] = _checked_values(o, data[o.name])
    return values, observed


def _checked_values(o: ObservationSpec, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values of the model's type, and where they are observed."""
    mask = np.ma.getmaskarray(data) if isinstance(data, np.ma.MaskedArray) else False
    values = _as_array(o.name, np.ma.getdata(data) if mask is not False else data)
    if values.dtype.kind not in "biuf":
        raise InvalidDataError(
            f"Expected numbers for {o.name!r}; got {values.dtype}. Convert them, for instance:\n\n"
            "    np.asarray(values, dtype=float)"
        )
    if values.ndim != len(o.shape) or values.shape[1:] != o.shape[1:]:
        expected = ("units", *o.shape[1:]) if o.shape else ()
        raise ObservationShapeError(
            f"Expected data for {o.name!r} of shape ({', '.join(map(str, expected))}), as in the "
            f"model; got {values.shape}.",
            o.name,
            o.shape,
            values.shape,
        )
    if values.size == 0:
        raise ObservationShapeError(
            f"Expected data for {o.name!r}; got an empty data set.", o.name, o.shape, values.shape
        )
    observed = np.broadcast_to(~np.asarray(mask), values.shape)
    _require_finite(o.name, values[observed], masked=True)
    clean = np.where(observed, values, 0)
    return _of_type(o.name, clean, np.dtype(o.dtype)), observed


def _as_array(name: str, data: Any) -> np.ndarray:
    try:
        return np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidDataError(
            f"Expected an array of numbers for {name!r}; this {type(data).__name__} cannot be made "
            f"one: {error}"
        ) from error


def _require_finite(name: str, values: np.ndarray, *, masked: bool) -> None:
    if values.dtype.kind != "f":
        return
    for problem, bad in (("NaN", np.isnan(values)), ("infinite", np.isinf(values))):
        if bad.any():
            way_out = "Leave them out, or replace them."
            if problem == "NaN" and masked:
                way_out = (
                    "If they are missing, say so by a mask, and build the model with as many "
                    f"missing values:\n\n    np.ma.masked_invalid({name})"
                )
            raise InvalidDataError(
                f"Expected finite values for {name!r}; {int(bad.sum())} of {values.size} are "
                f"{problem}. {way_out}"
            )


def _checked_covariates(
    layout: DataLayout, data: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    given = {}
    for covariate in layout.spec.covariates:
        name = covariate.name
        lengths = {axis: values[o].shape[0] for o, axis in covariate.unit_axes.items()}
        if name not in data:
            for axis, length in lengths.items():
                if covariate.shape[axis] != length:
                    raise InvalidDataError(
                        f"Expected values of the covariate {name!r} for {length} units; the "
                        f"model's own are for {covariate.shape[axis]}. Give them with the data:"
                        f'\n\n    posterior.sample({{..., "{name}": ...}})'
                    )
            continue
        value = _as_array(name, data[name])
        expected = list(covariate.shape)
        for axis, length in lengths.items():
            expected[axis] = length
        if value.dtype.kind not in "biuf" or value.shape != tuple(expected):
            raise InvalidDataError(
                f"Expected numbers of shape {tuple(expected)} for the covariate {name!r}; got "
                f"{value.dtype} of shape {value.shape}."
            )
        _require_finite(name, value, masked=False)
        if value.shape == covariate.shape and np.array_equal(value, layout.covariates[name]):
            continue
        if not lengths:
            raise InvalidDataError(
                f"Expected the values of {name!r} that the network was trained with; got others. "
                "They do not run along units, so that no network takes them as data. Build the "
                "model with these values."
            )
        if not all(t.resized for t in layout.tables if _runs_along(covariate, t)):
            first = next(iter(covariate.unit_axes))
            size = values[first].shape[0]
            raise InvalidDataError(
                f"Expected the values of {name!r} that the network was trained with; got others. "
                "Train over covariates resampled from the model's, by asking for sizes:\n\n"
                f'    pma.fit(model, sizes={{"{first}": ({size}, {size})}})'
            )
        given[name] = _of_type(name, value, layout.covariates[name].dtype)
    return given


def _of_type(name: str, values: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Convert to the model's type, integers from floats only where they are whole."""
    if wanted.kind in "iu" and values.dtype.kind == "f":
        broken = values[values != np.round(values)]
        if broken.size:
            raise InvalidDataError(
                f"Expected integers for {name!r}, as in the model; got {broken[0]}. Round them "
                "yourself if that is meant:\n\n    np.round(values).astype(int)"
            )
    return values.astype(wanted)


def _runs_along(covariate: CovariateSpec, table: UnitTable) -> bool:
    return any(name in covariate.unit_axes for name in table.names)


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
    num_rows = observed.size if table.grouped else (observed.shape[0] if observed.ndim else 1)
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
        along = [i for i, table in enumerate(layout.tables) if _runs_along(covariate, table)]
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
