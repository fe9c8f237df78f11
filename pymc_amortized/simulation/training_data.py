"""Training data: simulated on the fly, of the sizes that were asked for, never seen twice."""

import math

from collections.abc import Iterator

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.discrete import simulate_states
from pymc_amortized.memory import MEMORY, MemoryBudget
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.networks.batch import Batch
from pymc_amortized.rng import piece_seed, torch_generator
from pymc_amortized.simulation.simulations import AbstractSimulations, Drawn
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.simulation.training_batches import chain_without_data, codes_of

__all__ = ["SimulationSource"]

_POOL = 4096  # data sets that are simulated at once, at most


class SimulationSource(AbstractSimulations):
    """Draws data sets from a model as they are needed, never the same twice.

    Parameters
    ----------
    simulator : Simulator
        The model.
    layout : DataLayout
        Tables of units, and the sizes to be trained for.
    space : ParameterSpace
        With normal scores fitted.
    memory : MemoryBudget
        How much is worked on at once.
    """

    num_available = None

    def __init__(
        self,
        simulator: Simulator,
        layout: DataLayout,
        space: ParameterSpace,
        memory: MemoryBudget = MEMORY,
    ) -> None:
        self.simulator, self.layout, self.space = simulator, layout, space
        self.datasets_at_once = memory.at_once(layout.entries)
        self._pool: tuple[tuple[int, int, int], Batch] | None = None

    def batch(self, step: int, size: int, seed: int) -> Batch:
        """Return the batch of a step, cut out of a pool that is simulated at once."""
        per_pool = max(1, min(_POOL, self.datasets_at_once) // size)
        index, place = divmod(step, per_pool)
        if self._pool is None or self._pool[0] != (index, size, seed):
            pool = self.draw(per_pool * size, piece_seed(seed, 0, index))
            self._pool = (index, size, seed), pool
        return self._pool[1].select(slice(place * size, (place + 1) * size))

    def steps_per_round(self, size: int) -> None:
        """Return None: no data set comes again."""

    def pieces(self, num_datasets: int, at_once: int, seed: int) -> Iterator[Drawn]:
        """Yield B new data sets, a few at a time."""
        for start in range(0, num_datasets, at_once):
            yield self.draw_frames(min(at_once, num_datasets - start), seed + start // at_once)

    def draw_frames(self, num_datasets: int, seed: int) -> Drawn:
        """Return parameters (B, *shape), data sets in frames, and codes (B, m R, J) by table."""
        rng = np.random.default_rng(seed)
        if any(table.is_sequence and table.resized for table in self.layout.tables):
            return self._draw_sequences(num_datasets, rng)
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
        selected = tuple(self._select_units(table, shape, rng) for table in self.layout.tables)
        frames = Frames(
            {name: x.unflatten(0, shape) for name, x in observations.items()}, {}, selected
        )
        codes = {
            i: codes_of(table, indicators[table.indicator.name].unflatten(0, shape))
            for i, table in enumerate(self.layout.tables)
            if table.indicator is not None
        }
        return first.parameters, frames, codes

    def _draw_sequences(self, num_datasets: int, rng: np.random.Generator) -> Drawn:
        """Draw sequences of any length: chains first, and then observations frame by frame.

        A sequence starts at any row of the model, and goes on with the first after the last, so
        that it has the covariates and the gaps of rows that follow each other.
        """
        [table] = self.layout.tables
        device, num_rows = self.simulator.device, table.num_rows
        parameters = self.simulator.sample_parameters(num_datasets, rng)
        lengths = rng.integers(table.sizes[0], table.sizes[1] + 1, num_datasets)
        longest = int(lengths.max())
        rows_differ = bool(table.covariates) or not table.observed_rows.all() or table.has_gaps
        starts = rng.integers(num_rows, size=num_datasets) * rows_differ
        steps = np.arange(longest)
        places = torch.as_tensor(starts[:, None] + steps, device=device)  # (B, T)
        times = places.masked_fill(torch.as_tensor(steps >= lengths[:, None], device=device), -1)
        chain = chain_without_data(self.simulator, table, parameters, table.indicator.order)
        codes = simulate_states(chain, longest, torch_generator(rng, device))
        num_frames = math.ceil((int(starts.max()) + longest) / num_rows)
        in_rows = torch.zeros(num_datasets, num_frames * num_rows, dtype=torch.int64, device=device)
        in_rows.scatter_(1, places, codes + table.indicator.support[0])
        repeated = {name: x.repeat_interleave(num_frames, dim=0) for name, x in parameters.items()}
        states = {table.indicator.name: in_rows.reshape(-1, num_rows)}
        observations = self.simulator.simulate(repeated, rng, indicators=states).observations
        shape = (num_datasets, num_frames)
        in_use = torch.zeros(num_datasets, num_frames * num_rows, dtype=torch.bool, device=device)
        in_use.scatter_(1, places, times >= 0)
        offered = torch.as_tensor(table.observed_rows, device=device)
        frames = Frames(
            {name: x.unflatten(0, shape) for name, x in observations.items()},
            {},
            (in_use.unflatten(1, (num_frames, num_rows)) & offered,),
            times,
        )
        return parameters, frames, {0: codes.unsqueeze(-1)}

    def _num_frames(self, table: UnitTable) -> int:
        """Enough frames; twice as many where rows differ, so that each data set has its own."""
        if not table.resized:
            return 1
        needed = math.ceil(table.sizes[1] / max(1, int(table.observed_rows.sum())))
        return 2 * needed if table.covariates or not table.observed_rows.all() else needed

    def _select_units(
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
