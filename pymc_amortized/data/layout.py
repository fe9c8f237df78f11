"""How data sets of any size are laid out: tables of units, in frames of the model's own shape.

A model that was read with N units can draw and evaluate N at a time. Data sets of other sizes are
put into as many *frames* of the model's shape as they need, with a mask of the rows in use. Units
of a set are independent given the parameters, so that this changes nothing but the size.
"""

import math

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.tables import (
    _NUM_FREQUENCIES,
    Sizes,
    UnitTable,
    _check_sizes,
    _require_resizable,
    _tables,
)
from pymc_amortized.model.spec import (
    CovariateSpec,
    ModelSpec,
)
from pymc_amortized.networks.units import Units, UnitShape

__all__ = ["DataLayout"]


class DataLayout:
    """Tables of units of a model, and how data become what networks read.

    Parameters
    ----------
    spec : ModelSpec
        The reading of the model.
    covariates : mapping of str to numpy.ndarray
        Values of its covariates.
    sizes : mapping of str to int or (int, int), optional
        Numbers of units to be trained for.

    Raises
    ------
    InvalidArgumentError
        If ``sizes`` names what is not observed, or holds what are not sizes.
    UnsupportedModelError
        If the number of units of the model cannot be varied.
    """

    def __init__(
        self, spec: ModelSpec, covariates: Mapping[str, np.ndarray], sizes: Sizes = None
    ) -> None:
        self.spec = spec
        self.covariates = dict(covariates)
        self.tables = _tables(spec, _check_sizes(spec, sizes))
        for table in self.tables:
            if table.resized:
                _require_resizable(table, self.tables, spec)

    @property
    def resized(self) -> bool:
        """Whether data of other sizes than the model's can be answered."""
        return any(table.resized for table in self.tables)

    def is_plain(self, frames: Frames) -> bool:
        """Whether data sets have the model's own shape, and are missing just what the model is."""
        if self.resized or frames.num_frames > 1:
            return False
        return all(
            bool((chosen.cpu() == torch.as_tensor(table.observed_rows)).all())
            for table, chosen in zip(self.tables, frames.selected, strict=True)
        )

    @property
    def shapes(self) -> tuple[UnitShape, ...]:
        """What networks need to know of each table, and what they are to learn of its indicator.

        Of an indicator that belongs to several tables they learn nothing.
        """
        found = []
        for i, table in enumerate(self.tables):
            learns = "nothing"
            if table.indicator is not None and self.table_of(table.indicator.name) == i:
                learns = "paths" if table.indicator.is_drawn_only else "units"
            found.append(replace(table.shape, learns=learns))
        return tuple(found)

    @property
    def entries(self) -> int:
        """Numbers in the features of a data set of the largest size."""
        return sum(t.shape.max_rows * t.shape.num_features for t in self.tables)

    def table_of(self, indicator: str) -> int | None:
        """Return the position of the one table that an indicator belongs to, None if several."""
        found = [
            i
            for i, table in enumerate(self.tables)
            if table.indicator is not None and table.indicator.name == indicator
        ]
        return found[0] if len(found) == 1 else None

    def units(self, frames: Frames) -> tuple[Units, ...]:
        """Return the rows (B, m R) of each table, with NaN where entries are missing."""
        return tuple(
            self._units_of(table, frames, selected)
            for table, selected in zip(self.tables, frames.selected, strict=True)
        )

    def _units_of(self, table: UnitTable, frames: Frames, selected: Tensor) -> Units:
        shape = selected.shape  # (B, m, R)
        columns = []
        for o in table.observations:
            values = frames.observations[o.name].double()
            rows = values.reshape(*shape, -1)
            if o.observed is not None:
                observed = torch.as_tensor(table.entries_observed(o), device=values.device)
                observed = observed.repeat_interleave(rows.shape[-1] // observed.shape[-1], dim=1)
                rows = torch.where(observed, rows, torch.full_like(rows, math.nan))
                if table.shows_mask(o):
                    columns.append(observed.to(rows.dtype).expand(rows.shape))
            columns.append(rows)
        if table.is_vector:
            values = torch.cat(columns, dim=-1).flatten(1).unsqueeze(1)
            return Units(values, torch.ones_like(values[..., 0], dtype=torch.bool))
        for covariate, axis in table.covariates:
            columns.append(self._covariate_rows(covariate, axis, frames, shape))
        if table.has_positions:
            num_places = table.num_rows // max(1, table.num_sequences)
            places = _positions(num_places, columns[0]).repeat(max(1, table.num_sequences), 1)
            columns.append(places.expand(*shape, -1))
        values = torch.cat(columns, dim=-1).flatten(1, 2)
        if table.is_sequence:
            return _order_in_time(values, selected.flatten(1), frames.times)
        return Units(values, selected.flatten(1))

    def _covariate_rows(
        self, covariate: CovariateSpec, axis: int, frames: Frames, shape: Sequence[int]
    ) -> Tensor:
        values = frames.covariates.get(covariate.name)
        if values is None:
            device = frames.selected[0].device
            values = torch.as_tensor(self.covariates[covariate.name], device=device)
            values = values.expand(*shape[:2], *values.shape)
        rows = values.double().movedim(axis + 2, 2)
        rows = rows.reshape(*rows.shape[:3], -1)
        return rows.repeat_interleave(shape[2] // rows.shape[2], dim=2)


def _order_in_time(values: Tensor, observed: Tensor, times: Tensor | None) -> Units:
    """Bring rows (B, m R, F) into the order of time, and tell where something is observed."""
    in_use = torch.ones_like(observed)
    if times is not None:
        in_use, places = times >= 0, times.clamp(min=0)
        values = values.gather(1, places.unsqueeze(-1).expand(*places.shape, values.shape[-1]))
        observed = observed.gather(1, places) & in_use
    values = values.masked_fill(~observed.unsqueeze(-1), math.nan)
    return Units(torch.cat([values, observed.unsqueeze(-1).to(values.dtype)], dim=-1), in_use)


def _positions(num_rows: int, like: Tensor) -> Tensor:
    """Return features (rows, 13) that tell rows apart, where their order matters."""
    place = torch.linspace(-1, 1, num_rows, dtype=like.dtype, device=like.device)[:, None]
    frequency = math.pi * 2.0 ** torch.arange(_NUM_FREQUENCIES, device=like.device)
    return torch.cat([place, (place * frequency).sin(), (place * frequency).cos()], dim=-1)
