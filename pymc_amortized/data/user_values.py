"""Values that users give, checked one variable at a time: names, types, shapes, gaps."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.errors import InvalidDataError, ObservationShapeError
from pymc_amortized.messages import warn
from pymc_amortized.model.spec import CovariateSpec, ObservationSpec

__all__ = [
    "check_covariates",
    "check_observations",
    "mask_gaps",
    "model_mask",
    "model_values",
    "runs_along",
]


def model_mask(o: ObservationSpec) -> np.ndarray:
    """Return which entries of a variable the model has observed."""
    if o.observed is None:
        return np.ones(o.shape, dtype=bool)
    spread = o.observed.reshape(*o.observed.shape, *(1,) * (len(o.shape) - o.observed.ndim))
    return np.broadcast_to(spread, o.shape)


def model_values(
    layout: DataLayout, data: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the model's own values of every observed variable, and which entries are there.

    Raises
    ------
    InvalidDataError
        If some that is observed is NaN or infinite.
    """
    observed = {o.name: model_mask(o) for o in layout.spec.observations}
    values = {name: np.asarray(value) for name, value in data.items()}
    for name, mask in observed.items():
        _require_finite(name, values[name], mask)
    return values, observed


def mask_gaps(values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return values with NaN where they are missing."""
    return values if observed.all() else np.where(observed, values, np.nan)


def check_observations(
    layout: DataLayout, data: Mapping[str, Any]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return values of every observed variable, and which entries are there.

    Raises
    ------
    InvalidDataError
        If a variable is missing, unknown, or holds what cannot be right.
    """
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
        values[o.name], observed[o.name] = _check_values(o, data[o.name])
    return values, observed


def _check_values(o: ObservationSpec, data: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return values of the model's type, and where they are observed."""
    mask = np.ma.getmaskarray(data) if isinstance(data, np.ma.MaskedArray) else False
    values = _to_array(o.name, np.ma.getdata(data) if mask is not False else data)
    if values.dtype.kind not in "biuf":
        raise InvalidDataError(
            f"Expected numbers for {o.name!r}; got {values.dtype}. Convert them, for instance:\n\n"
            "    np.asarray(values, dtype=float)"
        )
    expected = ("units", *o.shape[1:]) if o.owner.ndim else o.shape
    first = min(1, o.owner.ndim)  # of the axes that are as long as in the model
    if values.ndim != len(o.shape) or values.shape[first:] != o.shape[first:]:
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
    observed = observed & ~_take_for_missing(o.name, values, observed)
    _require_finite(o.name, values, observed)
    clean = np.where(observed, values, 0)
    return _cast(o.name, clean, np.dtype(o.dtype)), observed


def _to_array(name: str, data: Any) -> np.ndarray:
    try:
        return np.asarray(data)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidDataError(
            f"Expected an array of numbers for {name!r}; this {type(data).__name__} cannot be made "
            f"one: {error}"
        ) from error


def _take_for_missing(name: str, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """Return which values are NaN, which are missing as in a model's own data.

    Warns
    -----
    UserWarning
        If some are that no mask says to be missing.
    """
    if values.dtype.kind != "f":
        return np.zeros(values.shape, dtype=bool)
    missing = np.isnan(values)
    if (missing & observed).any():
        warn(
            f"NaN in the data for {name!r} are taken for missing values, as in a model's own data. "
            f"To say so yourself: np.ma.masked_invalid({name}).",
            UserWarning,
        )
    return missing


def _require_finite(name: str, values: np.ndarray, observed: np.ndarray | bool = True) -> None:
    if values.dtype.kind != "f":
        return
    for problem, found in (("NaN", np.isnan(values)), ("infinite", np.isinf(values))):
        bad = found & observed
        if bad.any():
            places = [tuple(map(int, place)) for place in np.argwhere(bad)[:3]]
            raise InvalidDataError(
                f"Expected finite values for {name!r}; {int(bad.sum())} of {values.size} are "
                f"{problem}, at {', '.join(map(str, places))}"
                f"{', ...' if bad.sum() > len(places) else ''}. Leave them out, or replace them."
            )


def check_covariates(
    layout: DataLayout, data: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return values of covariates, new ones where they are given.

    Raises
    ------
    InvalidDataError
        If they do not fit the units.
    """
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
        value = _to_array(name, data[name])
        expected = list(covariate.shape)
        for axis, length in lengths.items():
            expected[axis] = length
        if value.dtype.kind not in "biuf" or value.shape != tuple(expected):
            raise InvalidDataError(
                f"Expected numbers of shape {tuple(expected)} for the covariate {name!r}; got "
                f"{value.dtype} of shape {value.shape}."
            )
        _require_finite(name, value)
        if value.shape == covariate.shape and np.array_equal(value, layout.covariates[name]):
            continue
        if not lengths:
            raise InvalidDataError(
                f"Expected the values of {name!r} that the network was trained with; got others. "
                "They do not run along units, so that no network takes them as data. Build the "
                "model with these values."
            )
        if not all(t.resized for t in layout.tables if runs_along(covariate, t)):
            first = next(iter(covariate.unit_axes))
            size = values[first].shape[0]
            raise InvalidDataError(
                f"Expected the values of {name!r} that the network was trained with; got others. "
                "Train over covariates resampled from the model's, by asking for sizes:\n\n"
                f'    pma.fit(model, sizes={{"{first}": ({size}, {size})}})'
            )
        given[name] = _cast(name, value, layout.covariates[name].dtype)
    return given


def _cast(name: str, values: np.ndarray, wanted: np.dtype) -> np.ndarray:
    """Convert to the model's type, integers from floats only where they are whole."""
    if wanted.kind in "iu" and values.dtype.kind == "f":
        broken = values[values != np.round(values)]
        if broken.size:
            raise InvalidDataError(
                f"Expected integers for {name!r}, as in the model; got {broken[0]}. Round them "
                "yourself if that is meant:\n\n    np.round(values).astype(int)"
            )
    return values.astype(wanted)


def runs_along(covariate: CovariateSpec, table: UnitTable) -> bool:
    """Tell whether a covariate runs along the rows of a table."""
    return any(name in covariate.unit_axes for name in table.names)
