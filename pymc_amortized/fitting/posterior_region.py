"""Where a network has its mass for one data set."""

from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.rng import torch_generator
from pymc_amortized.typing import NamedTensors

__all__ = ["PosteriorRegion"]

_NUM_DRAWS = 20_000
_LEFT_OUT = 1e-3  # of the mass


@dataclass(frozen=True, slots=True, eq=False)
class PosteriorRegion:
    """Where one network has all but a thousandth of its mass, for one data set.

    Attributes
    ----------
    inference : Amortized
        The network, whose density is known.
    context : Tensor, shape (1, C)
        Of the data set.
    log_q : float
        The least density, in nats over scores.
    low, high : Tensor, shape (D,)
        Bounds of each score, which spare most parameters the network.
    """

    inference: Amortized
    context: Tensor
    log_q: float
    low: Tensor
    high: Tensor

    @staticmethod
    def of_draws(inference: Amortized, context: Tensor, seed: int) -> "PosteriorRegion":
        """Find the region by draws of the network."""
        generator = torch_generator(seed, inference.problem.device)
        scores, log_q = inference.draw_scores(context, _NUM_DRAWS, generator)
        least = torch.quantile(log_q[:, 0], _LEFT_OUT)
        kept = scores[log_q[:, 0] >= least, 0]
        return PosteriorRegion(inference, context, float(least), kept.amin(0), kept.amax(0))

    @torch.no_grad()
    def contains(self, parameters: NamedTensors) -> Tensor:
        """Tell which parameters (B, *shape) are in it."""
        space = self.inference.problem.space
        scores, _ = space.standardize(space.unconstrain(parameters))
        inside = ((scores >= self.low) & (scores <= self.high)).all(-1)
        some = inside.nonzero()[:, 0]
        if len(some):
            log_q = self.inference.log_network(scores[some].unsqueeze(1), self.context)[:, 0]
            inside[some] = log_q >= self.log_q
        return inside
