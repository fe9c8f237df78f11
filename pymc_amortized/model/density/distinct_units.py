"""Units that are equal, evaluated once: their density counts as often as they occur."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.model.density.batched import BatchedDensity
from pymc_amortized.typing import NamedTensors

__all__ = ["DistinctUnits", "distinct_units"]

_LARGEST_SHARE = 0.75  # of different units among all, above which counting does not pay
_DRAWS_TO_COMPARE = 16
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class DistinctUnits:
    """The units of a data set that differ from each other.

    Attributes
    ----------
    data : dict of str to numpy.ndarray, shape (m, ...)
        Their observations and covariates, by name.
    counts : Tensor of float64, shape (m,)
        How often each occurs.
    places : Tensor of int64, shape (n,)
        Which of them each unit of the data set is.
    """

    data: dict[str, np.ndarray]
    counts: Tensor
    places: Tensor

    @staticmethod
    def of_data(data: Mapping[str, np.ndarray]) -> "DistinctUnits":
        """Find the units that differ, of data (n, ...) by name.

        Examples
        --------
        >>> units = DistinctUnits.of_data({"y": np.array([3, 5, 3, 3]), "x": np.zeros(4)})
        >>> units.data["y"].tolist(), units.counts.tolist(), units.places.tolist()
        ([3, 5], [3.0, 1.0], [0, 1, 0, 0])
        """
        rows = [np.ascontiguousarray(x).reshape(len(x), -1).view(np.uint8) for x in data.values()]
        joined = np.ascontiguousarray(np.concatenate(rows, axis=1))
        whole = joined.view(np.dtype((np.void, joined.shape[1]))).ravel()
        _, index, inverse, counts = np.unique(
            whole, return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(index)
        first = index[order]
        return DistinctUnits(
            {name: x[first] for name, x in data.items()},
            torch.as_tensor(counts[order]).double(),
            torch.as_tensor(np.argsort(order)[inverse.ravel()]),
        )


def distinct_units(
    density: BatchedDensity, parameters: NamedTensors, data: Mapping[str, np.ndarray]
) -> DistinctUnits | None:
    """Return the units that differ, or None where all are to be evaluated.

    A model may hold numbers of its own for each unit, or compare units with each other. Rather than
    to read that off its graphs, the densities of some draws are computed in both ways.

    Parameters
    ----------
    density : BatchedDensity
        The density of the model.
    parameters : mapping of str to Tensor, shape (S, *shape)
        Constrained parameters; some are compared.
    data : mapping of str to numpy.ndarray
        The data set.
    """
    if not density.counts_units:
        return None
    whole = {**density.covariates, **data}
    if len({len(x) for x in whole.values()}) > 1:
        return None
    units = DistinctUnits.of_data(whole)
    if len(units.counts) > _LARGEST_SHARE * int(units.counts.sum()):
        return None
    num_draws = len(next(iter(parameters.values()))) if parameters else 1
    some = slice(None, None, max(1, num_draws // _DRAWS_TO_COMPARE))
    some = {name: x[some].detach() for name, x in parameters.items()}
    return units if _agrees(density, some, data, units) else None


def _agrees(
    density: BatchedDensity,
    parameters: NamedTensors,
    data: Mapping[str, np.ndarray],
    units: DistinctUnits,
) -> bool:
    """Whether densities are the same of equal units, for each component, where they are finite."""
    with torch.no_grad():
        whole = {**density.covariates, **data}
        one_by_one = density.log_some_units(parameters, whole, len(units.places))
        try:
            few = density.log_some_units(parameters, units.data, len(units.counts))
        except Exception:  # whatever a graph says that was made for another number of units
            return False
    again, finite = few[:, units.places], torch.isfinite(one_by_one)
    close = (again - one_by_one).abs() <= _TOLERANCE * one_by_one.abs().clamp(min=1)
    return bool(finite.any()) and bool(torch.where(finite, close, again == one_by_one).all())
