"""Training data: simulated on the fly, of the sizes that were asked for, never seen twice."""

import math

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.estimator import Batch
from pymc_amortized.frames import Frames
from pymc_amortized.layout import DataLayout, UnitTable
from pymc_amortized.networks.contracts import Units
from pymc_amortized.parameters import ParameterSpace
from pymc_amortized.simulator import Simulator

__all__ = ["SimulationSource"]


class SimulationSource:
    """Draws data sets from a model, and lays them out for the networks.

    Parameters
    ----------
    simulator : Simulator
        The model.
    layout : DataLayout
        Tables of units, and the sizes to be trained for.
    space : ParameterSpace
        With normal scores fitted.
    """

    def __init__(self, simulator: Simulator, layout: DataLayout, space: ParameterSpace) -> None:
        self.simulator = simulator
        self.layout = layout
        self.space = space

    def draw(self, num_datasets: int, seed: int) -> Batch:
        """Return a batch of B new data sets."""
        parameters, frames, codes = self.draw_frames(num_datasets, seed)
        vector = self.space.unconstrain(parameters).expand(num_datasets, -1)
        vector = self.space.from_edge(vector) if self.space.size else vector
        features = self.space.features(vector, parameters)
        scores = features[:, : self.space.size].float()
        units = self.layout.units(frames)
        return _compact(self.layout, Batch(units, scores, features, codes))

    def draw_frames(
        self, num_datasets: int, seed: int
    ) -> tuple[dict[str, Tensor], Frames, dict[int, Tensor]]:
        """Return parameters (B, *shape), data sets in frames, and codes (B, m R, J) by table."""
        rng = np.random.default_rng(seed)
        num_frames = max(self._num_frames(table) for table in self.layout.tables)
        first = self.simulator.sample(num_datasets, rng)
        observations, indicators = first.observations, first.indicators
        if num_frames > 1:
            repeated = {
                name: x.repeat_interleave(num_frames, dim=0) for name, x in first.parameters.items()
            }
            several = self.simulator.simulate(repeated, rng)
            observations, indicators = several.observations, several.indicators
        shape = (num_datasets, num_frames)
        selected = tuple(self._selected(table, shape, rng) for table in self.layout.tables)
        frames = Frames(
            {name: x.unflatten(0, shape) for name, x in observations.items()}, {}, selected
        )
        codes = {
            i: self._codes(table, indicators[table.indicator.name].unflatten(0, shape))
            for i, table in enumerate(self.layout.tables)
            if table.indicator is not None
        }
        return first.parameters, frames, codes

    def _num_frames(self, table: UnitTable) -> int:
        """Enough frames; twice as many where rows differ, so that each data set has its own."""
        if not table.resized:
            return 1
        needed = math.ceil(table.sizes[1] / max(1, int(table.observed_rows.sum())))
        return 2 * needed if table.covariates or not table.observed_rows.all() else needed

    def _selected(
        self, table: UnitTable, shape: tuple[int, int], rng: np.random.Generator
    ) -> Tensor:
        """Choose the rows in use, (B, m, R): as many as a size drawn uniformly."""
        device = self.simulator.device
        offered = torch.as_tensor(table.observed_rows, device=device).expand(*shape, -1)
        if not table.resized:
            return offered
        flat = offered.flatten(1)
        order = torch.as_tensor(rng.random(flat.shape), device=device) + (~flat).double()
        rank = order.argsort(dim=1).argsort(dim=1)
        low, high = table.sizes
        size = torch.as_tensor(rng.integers(low, high + 1, shape[0]), device=device)
        return (flat & (rank < size[:, None])).unflatten(1, (shape[1], -1))

    @staticmethod
    def _codes(table: UnitTable, indicator: Tensor) -> Tensor:
        codes = indicator - table.indicator.support[0]
        num_datasets, num_frames = codes.shape[:2]
        rows = 1 if not table.indicator.units else table.indicator.units[0]
        if table.grouped:
            return codes.reshape(num_datasets, -1, 1)
        return codes.reshape(num_datasets, num_frames * rows, -1)


def _compact(layout: DataLayout, batch: Batch) -> Batch:
    """Leave out rows that no data set uses."""
    units, codes = list(batch.units), dict(batch.codes)
    for i, table in enumerate(layout.tables):
        if table.resized and table.sizes[1] < units[i].mask.shape[1]:
            rows = (~units[i].mask).to(torch.int8).argsort(dim=1, stable=True)
            rows = rows[:, : table.sizes[1]]
            units[i] = Units(units[i].values, units[i].mask).rows(rows)
            if i in codes:
                index = rows.unsqueeze(-1).expand(*rows.shape, codes[i].shape[-1])
                codes[i] = codes[i].gather(1, index)
    return Batch(tuple(units), batch.scores, batch.features, codes)
