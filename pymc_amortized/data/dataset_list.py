"""Reading many data sets: a list of them, or arrays with a leading axis."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import AmortizedError, InvalidDataError

__all__ = ["read_datasets", "split_datasets"]


def split_datasets(datasets: Any, names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return data sets one by one, from a sequence of them or from arrays with a leading axis.

    Parameters
    ----------
    datasets : sequence of mapping, or mapping of str to array
        Each data set by name; or arrays (B, *shape) of all of them by name.
    names : sequence of str
        Names of observed variables, for the way out.

    Raises
    ------
    InvalidDataError
        If they are neither, or arrays have leading axes of different lengths.

    Examples
    --------
    >>> [len(one["y"]) for one in split_datasets({"y": np.zeros((3, 10))}, ["y"])]
    [10, 10, 10]
    """
    way_out = (
        f'\n\n    posterior.sample_many([{{"{names[0]}": data}} for data in datasets])'
        f'\n    posterior.sample_many({{"{names[0]}": np.stack(datasets)}})'
    )
    if isinstance(datasets, Mapping):
        datasets = {name: _to_array(name, x, way_out) for name, x in datasets.items()}
        lengths = {name: len(x) if x.ndim else 0 for name, x in datasets.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise InvalidDataError(
                "Expected arrays with a leading axis of data sets, as long in each; got "
                f"{lengths}. Give one of:{way_out}"
            )
        count = next(iter(lengths.values()))
        return [{name: x[i] for name, x in datasets.items()} for i in range(count)]
    is_list = isinstance(datasets, Sequence) and not isinstance(datasets, str)
    if not is_list or not datasets:
        found = "an empty one" if is_list else f"a {type(datasets).__name__}"
        raise InvalidDataError(f"Expected a list of data sets; got {found}. Give one of:{way_out}")
    for i, one in enumerate(datasets):
        if not isinstance(one, Mapping):
            raise InvalidDataError(
                f"Expected each data set by name; number {i} is a {type(one).__name__}. Give one "
                f"of:{way_out}"
            )
    return list(datasets)


def _to_array(name: str, values: Any, way_out: str) -> np.ndarray:
    """Return values as an array, whose first axis is counted and not labelled."""
    try:
        return values if isinstance(values, np.ma.MaskedArray) else np.asarray(values)
    except ValueError as error:
        raise InvalidDataError(
            f"Expected data sets of one length for {name!r}, in an array; got others: {error}. "
            f"Give one of:{way_out}"
        ) from error


def read_datasets(
    read: Callable[[Mapping[str, Any]], Dataset], datasets: Any, names: Sequence[str]
) -> list[Dataset | AmortizedError]:
    """Read data sets one by one; what cannot be read is returned as its error.

    Parameters
    ----------
    read : callable
        Checks one data set, and lays it out.
    datasets : sequence of mapping, or mapping of str to array
        The user's.
    names : sequence of str
        Of the observed variables.

    Raises
    ------
    InvalidDataError
        If they are not data sets; or the first error, if none can be read.
    """
    found = [_dataset_or_error(read, data) for data in split_datasets(datasets, names)]
    if all(isinstance(one, Exception) for one in found):
        raise found[0]
    return found


def _dataset_or_error(
    read: Callable[[Mapping[str, Any]], Dataset], data: Mapping[str, Any]
) -> Dataset | AmortizedError:
    try:
        return read(data)
    except AmortizedError as error:
        return error
