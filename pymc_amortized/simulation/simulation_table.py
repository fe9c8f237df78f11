"""A budget of simulations: a table that is drawn once, or was made elsewhere."""

import functools

from collections.abc import Iterator, Sequence
from typing import Self

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames, stack_frames
from pymc_amortized.networks.batch import Batch
from pymc_amortized.rng import piece_seed
from pymc_amortized.simulation.simulated_data import Simulation
from pymc_amortized.simulation.simulations import AbstractSimulations, Drawn
from pymc_amortized.simulation.training_batches import codes_of

__all__ = ["SimulationTable"]


class SimulationTable(AbstractSimulations):
    """Simulations that are there before training, and are gone through in rounds.

    Parameters
    ----------
    source : AbstractSimulations
        Of the model that they are simulations of.
    parameters : dict of str to Tensor, shape (B, *shape)
        What they were made from.
    frames : Frames
        The data sets.
    codes : dict of int to Tensor, shape (B, m R, J)
        Indicators by table of units.
    """

    def __init__(
        self,
        source: AbstractSimulations,
        parameters: dict[str, Tensor],
        frames: Frames,
        codes: dict[int, Tensor],
    ) -> None:
        self.simulator, self.layout, self.space = source.simulator, source.layout, source.space
        self.datasets_at_once = source.datasets_at_once
        self.parameters, self.frames, self.codes = parameters, frames, codes
        self.num_available = len(frames)
        self._round: tuple[tuple[int, int], Tensor] | None = None

    @classmethod
    def joined(cls, parts: Sequence["SimulationTable"]) -> Self:
        """Return the data sets of several tables of one model."""
        first = parts[0]
        return cls(
            first,
            {name: torch.cat([p.parameters[name] for p in parts]) for name in first.parameters},
            stack_frames([p.frames for p in parts]),
            {i: torch.cat(_padded([p.codes[i] for p in parts])) for i in first.codes},
        )

    @classmethod
    def of_simulation(cls, source: AbstractSimulations, simulation: Simulation) -> Self:
        """Return the table of simulations of the model's own size.

        Indicators are left out where a simulation has none.
        """
        device, tables = source.simulator.device, source.layout.tables
        rows = [torch.as_tensor(table.observed_rows, device=device) for table in tables]
        frames = Frames(
            {name: x.unsqueeze(1) for name, x in simulation.observations.items()},
            {},
            tuple(row.expand(len(simulation), 1, -1) for row in rows),
        )
        codes = {
            i: codes_of(table, simulation.indicators[table.indicator.name].unsqueeze(1))
            for i, table in enumerate(tables)
            if table.indicator is not None and table.indicator.name in simulation.indicators
        }
        return cls(source, simulation.parameters, frames, codes)

    def as_simulation(self) -> Simulation:
        """Undo :meth:`of_simulation`: frames of one data set become data sets of their own."""
        number, frames = self.frames.num_frames, self.frames
        indicators = {}
        for i, codes in self.codes.items():
            own = self.layout.tables[i].indicator
            indicators[own.name] = codes.reshape(-1, *own.units) + own.support[0]
        return Simulation(
            {name: x.repeat_interleave(number, dim=0) for name, x in self.parameters.items()},
            indicators,
            {name: x.flatten(0, 1) for name, x in frames.observations.items()},
        )

    def select(self, index: slice | Tensor) -> "SimulationTable":
        """Return some of the data sets."""
        return SimulationTable(self, *self._take(index))

    def split(self, share: float) -> tuple["SimulationTable", "SimulationTable"]:
        """Return the data sets to train on, and the last share of them, which is held out."""
        num_training = self.num_available - max(1, round(share * self.num_available))
        return self.select(slice(num_training)), self.select(slice(num_training, None))

    def draw_frames(self, num_datasets: int, seed: int) -> Drawn:
        """Return different data sets of the table: at most as many as there are."""
        return self._take(self._shuffle(seed)[:num_datasets])

    def pieces(self, num_datasets: int, at_once: int, seed: int) -> Iterator[Drawn]:
        """Yield different data sets, a few at a time."""
        for index in self._shuffle(seed)[:num_datasets].split(at_once):
            yield self._take(index)

    def batch(self, step: int, size: int, seed: int) -> Batch:
        """Return the batch of a step: each data set once a round, in another order each time."""
        index, place = divmod(step, self.steps_per_round(size))
        if self._round is None or self._round[0] != (seed, index):
            self._round = (seed, index), self._shuffle(piece_seed(seed, 0, index))
        rows = self._round[1][place * size : (place + 1) * size]
        if self._laid_out is None:
            return self.lay_out(self._take(rows))
        return self._laid_out.select(rows)

    def steps_per_round(self, size: int) -> int:
        """Return how many whole batches the table has, at least one."""
        return max(1, self.num_available // size)

    @functools.cached_property
    def _laid_out(self) -> Batch | None:
        """All of it as networks are trained on it; None where that is too much to hold."""
        if self.num_available > self.datasets_at_once:
            return None
        return self.lay_out(self._take(slice(None)))

    def _shuffle(self, seed: int) -> Tensor:
        order = np.random.default_rng(seed).permutation(self.num_available)
        return torch.as_tensor(order, device=self.simulator.device)

    def _take(self, index: slice | Tensor) -> Drawn:
        return (
            {name: x[index] for name, x in self.parameters.items()},
            self.frames.select(index),
            {table: codes[index] for table, codes in self.codes.items()},
        )


def _padded(codes: list[Tensor]) -> list[Tensor]:
    """Return codes (B, N, J) of data sets of several lengths, as long as the longest."""
    longest = max(x.shape[1] for x in codes)
    return [torch.nn.functional.pad(x, (0, 0, 0, longest - x.shape[1])) for x in codes]
