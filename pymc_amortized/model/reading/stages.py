"""The stages in which data sets are drawn: parameters, then indicators, then observations."""

from collections.abc import Mapping

import torch

from torch import Tensor

from pymc_amortized.graph.backend import Backend, BatchedFunction, batched_function
from pymc_amortized.model.complete_model import CompleteModel, Observation
from pymc_amortized.model.restricted_prior import RestrictedPrior

__all__ = ["Stages"]

_NUM_DRAWS = 48
_FEWEST_DRAWS = 8
_WORK = 2**26


class Stages:
    """Draws indicators and observations, each given all that comes before it.

    Parameters
    ----------
    complete : CompleteModel
        The complete-data model.
    backend : {"auto", "torch", "pytensor"}
        Where to draw.
    """

    def __init__(self, complete: CompleteModel, backend: Backend) -> None:
        before = list(complete.parameter_variables)
        self._indicators: dict[str, BatchedFunction] = {}
        for indicator in complete.indicators:
            drawn = batched_function(list(before), [indicator.variable], backend)
            self._indicators[indicator.name] = drawn
            before.append(indicator.variable)
        self._size = sum(o.data.size * _num_components(o) for o in complete.observations)
        self._observations: dict[str, BatchedFunction] = {}
        for observation in complete.observations:
            drawn = batched_function(list(before), [observation.variable], backend)
            self._observations[observation.name] = drawn
            before.append(observation.variable)

    def draw(
        self,
        values: list[Tensor],
        batch: int,
        device: torch.device,
        generator: torch.Generator,
        known: Mapping[str, Tensor] = {},
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Draw indicators, where not known, and observations given parameters in order."""
        indicators = self.draw_indicators(values, batch, device, generator, known)
        observations: dict[str, Tensor] = {}
        for name, stage in self._observations.items():
            given = [*values, *indicators.values(), *observations.values()]
            [observations[name]] = stage(given, batch=batch, device=device, generator=generator)
        return indicators, observations

    def draw_indicators(
        self,
        values: list[Tensor],
        batch: int,
        device: torch.device,
        generator: torch.Generator,
        known: Mapping[str, Tensor] = {},
    ) -> dict[str, Tensor]:
        """Draw indicators, where not known, given parameters in order."""
        indicators: dict[str, Tensor] = {}
        for name, stage in self._indicators.items():
            given = [*values, *indicators.values()]
            if name in known:
                indicators[name] = known[name]
                continue
            [indicators[name]] = stage(given, batch=batch, device=device, generator=generator)
        return indicators

    def a_few(self, prior: RestrictedPrior) -> dict[str, Tensor]:
        """Return data sets under which the model is asked how it responds, (M, *shape).

        M is 48, of large data sets fewer, and at least 8.
        """
        cpu, generator = torch.device("cpu"), torch.Generator().manual_seed(20)
        num_draws = min(_NUM_DRAWS, max(_FEWEST_DRAWS, _WORK // max(self._size, 1)))
        parameters = prior.sample(num_draws, cpu, generator)
        values = list(parameters.values())
        indicators, observations = self.draw(values, num_draws, cpu, generator)
        return {**parameters, **indicators, **observations}


def _num_components(observation: Observation) -> int:
    """Return how many components a mixture has, as far as its graph says it; otherwise 1."""
    if observation.components is None:
        return 1
    return max(len(observation.components), observation.weights.type.shape[-1] or 1)
