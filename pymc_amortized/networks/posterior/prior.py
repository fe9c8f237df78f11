"""What stands in for a posterior network before any training: the prior."""

import torch

from torch import Tensor

from pymc_amortized.networks.contracts import AbstractPosteriorNetwork, log_standard_normal

__all__ = ["PriorNetwork"]


class PriorNetwork(AbstractPosteriorNetwork):
    """The prior, whatever the data: in normal scores nearly a standard normal distribution.

    It learns nothing, and is the first proposal of corrections where nothing has been trained. As a
    part of later proposals it keeps weights bounded: by the largest likelihood.

    Parameters
    ----------
    num_parameters : int
        D.

    Examples
    --------
    >>> context, generator = torch.zeros(3, 0), torch.Generator().manual_seed(1)
    >>> draws = PriorNetwork(2).sample(context, 1000, generator)
    >>> draws.shape, bool(draws.mean().abs() < 0.1)
    (torch.Size([1000, 3, 2]), True)
    """

    def __init__(self, num_parameters: int) -> None:
        super().__init__()
        self.num_parameters = num_parameters

    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws (S, B, D), which contexts (B, C) say only the number of."""
        shape = (num_draws, context.shape[0], self.num_parameters)
        options = {"device": context.device, "dtype": torch.float64}
        return torch.randn(shape, generator=generator, **options)

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (...) in nats of scores (..., D)."""
        return log_standard_normal(scores)

    def log_prob_of_draws(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of scores (S, B, D)."""
        return log_standard_normal(scores)
