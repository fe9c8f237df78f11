"""Simulations whose parameters are drawn from a region of the prior alone."""

import math

from collections.abc import Callable

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.simulations import AbstractSimulations, Drawn
from pymc_amortized.simulation.training_data import SimulationSource
from pymc_amortized.typing import NamedTensors

__all__ = ["RestrictedSimulations"]

_DRAWN_AT_ONCE = 20_000
_MARGIN = 1.2


class RestrictedSimulations(SimulationSource):
    """Draws data sets of the model's own size, from a prior that is cut to a region.

    Parameters
    ----------
    source : AbstractSimulations
        Of the model.
    contains : callable
        Takes parameters (B, *shape) by name, and returns which are in the region, (B,).
    """

    def __init__(
        self, source: AbstractSimulations, contains: Callable[[NamedTensors], Tensor]
    ) -> None:
        super().__init__(source.simulator, source.layout, source.space)
        self.contains = contains

    def draw_frames(self, num_datasets: int, seed: int) -> Drawn:
        """Return parameters (B, *shape), data sets in frames, and codes (B, R, J) by table."""
        rng = np.random.default_rng(seed)
        parameters = self.draw_parameters(num_datasets, rng)
        simulation = self.simulator.simulate(parameters, rng)
        table = SimulationTable.of_simulation(self, simulation)
        return table.parameters, table.frames, table.codes

    def draw_parameters(self, number: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Draw parameters (B, *shape) by rejection: of the prior those that are in the region."""
        found: list[dict[str, Tensor]] = []
        missing, size, share = number, number, 1.0
        while missing > 0:
            drawn = self.simulator.sample_parameters(size, rng)
            inside = self.contains(drawn).nonzero()[:missing, 0]
            found.append({name: x[inside] for name, x in drawn.items()})
            missing, share = missing - len(inside), max(1, len(inside)) / size
            size = min(_DRAWN_AT_ONCE, math.ceil(_MARGIN * missing / share))
        return {name: torch.cat([part[name] for part in found]) for name in found[0]}

    def share_of_prior(self, number: int, seed: int) -> float:
        """Return which share of so many draws of the prior is in the region."""
        rng, inside = np.random.default_rng(seed), 0
        for start in range(0, number, _DRAWN_AT_ONCE):
            drawn = self.simulator.sample_parameters(min(_DRAWN_AT_ONCE, number - start), rng)
            inside += int(self.contains(drawn).sum())
        return inside / number
