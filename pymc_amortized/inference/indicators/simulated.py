"""States whose probabilities are not known, drawn by the network that has learned paths."""

import math

from collections.abc import Iterator

import torch

from torch import Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.inference.draws import Draws
from pymc_amortized.inference.indicators.conditional import (
    AbstractConditional,
    IndicatorDraws,
    smallest_type,
)

__all__ = ["SimulatedConditional"]


class SimulatedConditional(AbstractConditional):
    """Paths of states that the model can draw only."""

    @torch.no_grad()
    def draw(self, draws: Draws, generator: torch.Generator) -> IndicatorDraws:
        """Draw joint paths.

        Smoothing is the average over paths of the probabilities of their steps, which is less
        noisy than the share of paths in a state.
        """
        network, table, units, spec = self.estimator, self.table, self.units, self.indicator
        features = self.features(draws).expand(len(draws), -1)
        paths, filtering, smoothing = [], 0.0, 0.0
        for part in features.split(self.draws_at_once):
            repeated = units.repeat(len(part))
            codes, probabilities = network.sample_paths(table, repeated, part, generator)
            log_filtering = network.filter_states(table, repeated, part)
            paths.append((codes + spec.support[0]).to(smallest_type(spec.support)))
            smoothing = smoothing + probabilities.double().sum(0)
            filtering = filtering + log_filtering.double().exp().sum(0)
        shape = (*spec.units, spec.num_components)
        return IndicatorDraws(
            torch.cat(paths).reshape(-1, *spec.units),
            (smoothing / len(draws)).reshape(shape),
            math.nan,
            filtering=(filtering / len(draws)).reshape(shape),
        )

    def memberships(self, draws: Draws) -> Iterator[Tensor]:
        """Refuse: there is no density from which they would follow.

        Raises
        ------
        UnsupportedModelError
            Always.
        """
        raise UnsupportedModelError(
            f"Expected an indicator with known probabilities; {self.indicator.name!r} can be drawn "
            "only. Take the network's:\n\n    posterior.indicators(data, kind='smoothing')"
        )
