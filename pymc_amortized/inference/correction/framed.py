"""A data set in frames, as the arrays that a sampler of one data set is given."""

import math

import numpy as np

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.model.density.marginal import FramedData
from pymc_amortized.model.spec import ObservationSpec

__all__ = ["framed_data"]


def framed_data(layout: DataLayout, frames: Frames) -> FramedData:
    """Return the one data set of frames as arrays, with the entries in use of each variable."""
    used = {
        o.name: _spread_rows(o, selected[0].cpu().numpy(), grouped=table.grouped)
        for table, selected in zip(layout.tables, frames.selected, strict=True)
        for o in table.observations
    }
    return FramedData(
        {name: x[0].cpu().numpy() for name, x in frames.observations.items()},
        {name: x[0].cpu().numpy() for name, x in frames.covariates.items()},
        used,
        None if frames.times is None else _drop_padding(frames.times[0].cpu().numpy()),
    )


def _drop_padding(times: np.ndarray) -> np.ndarray:
    return times[times >= 0]


def _spread_rows(o: ObservationSpec, rows: np.ndarray, *, grouped: bool) -> np.ndarray:
    """Spread rows in use (m, R) over the entries of a variable, (m, *entries)."""
    shape = o.owner.shape
    if o.observed is not None and shape[: o.observed.ndim] != o.observed.shape:
        shape = (*o.observed.shape, *shape[1:])
    if grouped or not shape:
        return rows.reshape(len(rows), *shape)
    axes = next(a for a in range(1, len(shape) + 1) if math.prod(shape[:a]) == rows.shape[1])
    spread = rows.reshape(len(rows), *shape[:axes], *(1,) * (len(shape) - axes))
    return np.broadcast_to(spread, (len(rows), *shape))
