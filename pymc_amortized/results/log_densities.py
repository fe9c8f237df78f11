"""The groups ``log_likelihood`` and ``log_prior`` of one data set."""

from collections.abc import Iterator, Mapping

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.data.tables import UnitTable
from pymc_amortized.inference.answer import Answer
from pymc_amortized.inference.exact import OF_NO_UNIT
from pymc_amortized.results.axes import dataset_of
from pymc_amortized.results.builder import ResultBuilder

__all__ = ["log_likelihood", "log_prior"]


def log_likelihood(builder: ResultBuilder, answer: Answer) -> xarray.Dataset:
    """Return log p(y_i given θ) of every unit; of chains, of each sequence as a whole.

    Values that belong to no unit, while others of their variable do, are ``<name>_of_no_unit``.
    """
    exact, arrays = builder.problem.exact, []
    parameters = {name: x.unsqueeze(1) for name, x in answer.draws.parameters.items()}
    for index, table in enumerate(exact.layout.tables):
        of_table = _log_likelihood_of_sequences if table.is_sequence else _log_likelihood_of_rows
        arrays += of_table(builder, answer, parameters, table, index)
    return dataset_of(arrays)


def log_prior(builder: ResultBuilder, answer: Answer) -> xarray.Dataset:
    """Return the log density of each parameter, with its own axes summed out as in PyMC."""
    terms = builder.problem.exact.density.log_prior_terms(answer.draws.parameters)
    arrays = []
    for spec in builder.spec.parameters:
        term = terms[spec.name]
        dims = None if spec.dims is None else spec.dims[: term.ndim - 1]
        values = builder.in_chains(term)
        arrays.append(builder.axes.array(spec.name, values, dims, builder.leading))
    return dataset_of(arrays)


def _log_likelihood_of_rows(
    builder: ResultBuilder,
    answer: Answer,
    parameters: Mapping[str, Tensor],
    table: UnitTable,
    index: int,
) -> Iterator[xarray.DataArray]:
    frames, where = answer.dataset.frames, answer.dataset.positions[index]
    selected = frames.selected[index].flatten(1)[0].cpu().numpy()
    dims = table.observations[0].dims
    for name, values in builder.problem.exact.by_unit(parameters, frames, table):
        every = values.expand(len(answer.draws), *values.shape[1:])
        rows, own = builder.in_chains(_user_rows(table, every, where)), dims
        if not table.grouped and not selected[where].all():
            rows = rows[:, :, selected[where]]
            own = (f"{name}_observed_dim_0", *(dims or ())[1:]) if dims else None
        along = own is not None and not name.endswith(OF_NO_UNIT)
        short = own[: rows.ndim - 2] if along else None
        yield builder.axes.array(name, rows, short, builder.leading)


def _log_likelihood_of_sequences(
    builder: ResultBuilder,
    answer: Answer,
    parameters: Mapping[str, Tensor],
    table: UnitTable,
    index: int,
) -> Iterator[xarray.DataArray]:
    """Yield the log likelihood of each sequence as a whole: its points are not independent."""
    dims = table.observations[0].dims
    dims = None if dims is None else dims[: len(table.indicator.units) - 1]
    for name, values in builder.problem.exact.by_unit(parameters, answer.dataset.frames, table):
        every = values.expand(len(answer.draws), *values.shape[1:])[:, 0]
        yield builder.axes.array(name, builder.in_chains(every), dims, builder.leading)


def _user_rows(table: UnitTable, values: Tensor, where: np.ndarray) -> Tensor:
    """Bring units in frames (S, 1, m, *units) into the order of the user's rows (S, *units)."""
    if not table.observations[0].shape:
        return values.flatten(1)[:, 0]
    if table.grouped:
        return values[:, 0, 0]
    return values[:, 0].flatten(1, 2)[:, where]
