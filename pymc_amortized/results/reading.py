"""Groups of a result that somebody gives us."""

from collections.abc import Mapping
from typing import Any

import xarray

from pymc_amortized.compat import groups_of_result
from pymc_amortized.errors import InvalidDataError

__all__ = ["INDICATORS", "SAMPLED", "groups_with_posterior", "sampled"]

INDICATORS = "indicators"
"""Group of the draws of indicators that have an axis of their own, one for each unit or time."""

SAMPLED = ("chain", "draw")
"""Dims that every sampled variable begins with."""


def groups_with_posterior(idata: Any) -> dict[str, xarray.Dataset]:
    """Return the groups of a result.

    Raises
    ------
    InvalidDataError
        If it has no posterior in chains and draws.
    """
    groups = groups_of_result(idata)
    posterior = None if groups is None else groups.get("posterior")
    if posterior is None or not all(dim in posterior.dims for dim in SAMPLED):
        found = type(idata).__name__ if groups is None else f"groups {sorted(groups)}"
        raise InvalidDataError(
            "Expected InferenceData or a DataTree with a group 'posterior' of dims chain and draw; "
            f"got {found}. Sample one:\n\n    idata = pm.sample()"
        )
    return groups


def sampled(groups: Mapping[str, xarray.Dataset]) -> xarray.Dataset:
    """Return all draws of a result: its posterior, and the indicators beside it, if there are any.

    Samplers of PyMC leave indicators among the parameters; both places are read.
    """
    posterior = groups["posterior"]
    return posterior.assign(groups[INDICATORS].data_vars) if INDICATORS in groups else posterior
