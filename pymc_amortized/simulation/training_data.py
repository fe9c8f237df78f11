"""Training data: simulated on the fly, of the sizes that were asked for, never seen twice."""

import math

from dataclasses import replace

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import UnitTable
from pymc_amortized.discrete import MarkovChain, simulate_states, state_probabilities
from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.memory import MEMORY, MemoryBudget
from pymc_amortized.model.parameter_space import ParameterSpace
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.units import Units
from pymc_amortized.rng import torch_generator
from pymc_amortized.simulation.simulator import Simulator

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
    memory : MemoryBudget
        How much is worked on at once.

    Attributes
    ----------
    datasets_at_once : int
        How many data sets of the largest size are drawn together.
    """

    def __init__(
        self,
        simulator: Simulator,
        layout: DataLayout,
        space: ParameterSpace,
        memory: MemoryBudget = MEMORY,
    ) -> None:
        self.simulator, self.layout, self.space = simulator, layout, space
        self.datasets_at_once = memory.at_once(layout.entries)

    def draw(self, num_datasets: int, seed: int) -> Batch:
        """Return a batch of B new data sets."""
        parameters, frames, codes = self.draw_frames(num_datasets, seed)
        vector = self.space.unconstrain(parameters).expand(num_datasets, -1)
        vector = self.space.from_edge(vector) if self.space.size else vector
        features = self.space.features(vector, parameters)
        scores = features[:, : self.space.size].float()
        units = self.layout.units(frames)
        log_states = {
            i: self._log_states(table, parameters, codes[i].shape[1])
            for i, table in enumerate(self.layout.tables)
            if table.is_sequence and table.indicator.order
        }
        return _compact(self.layout, Batch(units, scores, features, codes, log_states))

    def draw_frames(
        self, num_datasets: int, seed: int
    ) -> tuple[dict[str, Tensor], Frames, dict[int, Tensor]]:
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
            i: self._codes(table, indicators[table.indicator.name].unflatten(0, shape))
            for i, table in enumerate(self.layout.tables)
            if table.indicator is not None
        }
        return first.parameters, frames, codes

    def _draw_sequences(
        self, num_datasets: int, rng: np.random.Generator
    ) -> tuple[dict[str, Tensor], Frames, dict[int, Tensor]]:
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
        chain = self._chain(table, parameters, table.indicator.order)
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

    def _log_states(self, table: UnitTable, parameters: dict[str, Tensor], num_rows: int) -> Tensor:
        """Return log p(z_t = k given θ) (B, C T, K) of time points, without data."""
        chain = self._chain(table, parameters, num_rows // table.num_sequences)
        return state_probabilities(chain).flatten(1, -2).float()

    def _chain(
        self, table: UnitTable, parameters: dict[str, Tensor], num_times: int
    ) -> MarkovChain:
        """Return chains (B, *chains) without data."""
        distribution = self.simulator.chain_distribution(table.indicator.name)
        values = [x.double() for x in parameters.values()]
        initial, transition = distribution.log_initial(values), distribution.log_transition(values)
        shape = (*table.indicator.units[:-1], num_times, table.indicator.num_components)
        nothing = torch.zeros((), dtype=initial.dtype, device=initial.device)
        return MarkovChain(
            initial,
            transition,
            nothing.expand(len(initial), *shape),
            distribution.order,
            time_varying=distribution.time_varying,
        )

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

    @staticmethod
    def _codes(table: UnitTable, indicator: Tensor) -> Tensor:
        codes = indicator - table.indicator.support[0]
        if table.indicator.is_drawn_only:
            _require_known(table.indicator, codes)
        num_datasets, num_frames = codes.shape[:2]
        rows = 1 if not table.indicator.units else table.indicator.units[0]
        if table.grouped or table.is_sequence:
            return codes.reshape(num_datasets, -1, 1)
        return codes.reshape(num_datasets, num_frames * rows, -1)


def _require_known(indicator: IndicatorSpec, codes: Tensor) -> None:
    """Refuse states that had not occurred when the model was read."""
    outside = (codes < 0) | (codes >= indicator.num_components)
    if bool(outside.any()):
        value = int(codes[outside][0]) + indicator.support[0]
        raise UnsupportedModelError(
            f"Expected {indicator.name!r} to take the values {list(indicator.support)}, which are "
            f"those of the simulations by which the model was read; got {value}, which is too rare "
            "to be learned. Give it a larger probability, or leave it out of what `random=` "
            f"returns:\n\n    states = np.clip(states, {indicator.support[0]}, "
            f"{indicator.support[-1]})"
        )


def _compact(layout: DataLayout, batch: Batch) -> Batch:
    """Leave out rows that no data set uses."""
    units, codes = list(batch.units), dict(batch.codes)
    for i, table in enumerate(layout.tables):
        resized = table.resized and not table.is_sequence
        if resized and table.sizes[1] < units[i].mask.shape[1]:
            rows = (~units[i].mask).to(torch.int8).argsort(dim=1, stable=True)
            rows = rows[:, : table.sizes[1]]
            units[i] = Units(units[i].values, units[i].mask).rows(rows)
            if i in codes:
                index = rows.unsqueeze(-1).expand(*rows.shape, codes[i].shape[-1])
                codes[i] = codes[i].gather(1, index)
    return replace(batch, units=tuple(units), codes=codes)
