"""What the estimator expects of a network: three contracts, and the data that they are given."""

import math

from abc import ABC, abstractmethod
from typing import Literal

import torch

from torch import Tensor, nn

from pymc_amortized.errors import DensityUnavailableError
from pymc_amortized.networks.units import Units

__all__ = [
    "AbstractClassificationNetwork",
    "AbstractFlow",
    "AbstractLatentNetwork",
    "AbstractPosteriorNetwork",
    "AbstractSummaryNetwork",
    "log_standard_normal",
    "no_density",
]


class AbstractSummaryNetwork(nn.Module, ABC):
    """Compresses a data set of any size into a vector of fixed width.

    Attributes
    ----------
    context_size : int
        C, the width of the summary.
    """

    context_size: int

    @abstractmethod
    def forward(self, units: Units) -> Tensor:
        """Summarize data sets: the result (B, C) must not depend on the values of padded rows."""


class AbstractPosteriorNetwork(nn.Module, ABC):
    """A distribution of D standardized parameters, their scores, given a context.

    A network with a density needs ``log_prob`` and ``sample``; any other says that it has none, and
    needs ``loss`` and ``sample``. What is drawn is corrected either way.

    Attributes
    ----------
    density : {"exact", "bound", "none"}
        What is known of the density of draws: itself, by ``log_prob``; a lower bound, the negative
        of the loss; or nothing.
    """

    density: Literal["exact", "bound", "none"] = "exact"

    @abstractmethod
    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws (S, B, D), given contexts (B, C); all randomness is the generator's."""

    def loss(
        self, scores: Tensor, context: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return losses (B,) in nats of scores (B, D), given contexts (B, C).

        By default the negative log density. Any other loss must be lowest, on average over
        simulations, where draws follow the posterior.
        """
        return -self.log_prob(scores, context)

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (B,) in nats of scores (B, D), given contexts (B, C).

        Raises
        ------
        DensityUnavailableError
            If the network has none.
        """
        raise no_density(self)

    def log_prob_of_draws(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of scores (S, B, D), given contexts (B, C).

        A network can say this anew, where there is a faster way than to repeat contexts.
        """
        repeated = context.expand(scores.shape[0], *context.shape).flatten(0, 1)
        return self.log_prob(scores.flatten(0, 1), repeated).unflatten(0, scores.shape[:2])


class AbstractFlow(AbstractPosteriorNetwork):
    """A posterior network that maps a standard normal distribution, its base, onto parameters.

    Corrections work in the base, where what the network has learned of the posterior's shape is
    straightened out: what is left to be mended there is closer to a normal distribution.

    Attributes
    ----------
    num_parameters : int
        D.
    """

    num_parameters: int

    @abstractmethod
    def from_base(self, points: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return scores (S, B, D) and log determinants (S, B) of points (S, B, D) of the base."""

    @abstractmethod
    def to_base(self, scores: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return points of the base and log determinants of scores (B, D) or (S, B, D)."""

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities in nats: (B,) of scores (B, D), or (S, B) of scores (S, B, D)."""
        points, log_det = self.to_base(scores, context)
        return log_standard_normal(points) + log_det

    def log_prob_of_draws(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of scores (S, B, D), given contexts (B, C)."""
        return self.log_prob(scores, context)

    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws (S, B, D), given contexts (B, C); all randomness is the generator's."""
        shape = (num_draws, context.shape[0], self.num_parameters)
        points = torch.randn(shape, generator=generator, device=context.device, dtype=context.dtype)
        return self.from_base(points, context)[0]


class AbstractLatentNetwork(AbstractPosteriorNetwork):
    r"""A posterior network whose draws come about by latent numbers h, and that can guess these.

    Its density is an integral over latent numbers, q(θ given y) = ∫ q(h, θ given y) dh, of which

    .. math:: \hat q(\theta) = \frac{1}{K} \sum_k
       \frac{q(h_k, \theta \mid y)}{r(h_k \mid \theta, y)}

    is an estimate, with h from the network's own guess r. In importance weights it may stand for
    the density: they are exact for every K if, of the network's own draws, the latent numbers that
    made them are among the K [1]_.

    References
    ----------
    .. [1] Finke, A. & Thiery, A. H. (2019). On importance-weighted autoencoders. arXiv:1907.10477
    """

    @abstractmethod
    def sample_with_latents(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return draws (S, B, D) and their latent numbers (S, B, L), given contexts (B, C)."""

    @abstractmethod
    def guess_latents(
        self, scores: Tensor, context: Tensor, number: int, generator: torch.Generator | None
    ) -> Tensor:
        """Draw latent numbers (K, S, B, L) from r, given scores (S, B, D) and contexts (B, C)."""

    @abstractmethod
    def log_ratio(self, latents: Tensor, scores: Tensor, context: Tensor) -> Tensor:
        """Return log q(h, θ given y) - log r(h given θ, y) (K, S, B) in nats."""

    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws (S, B, D), given contexts (B, C); all randomness is the generator's."""
        return self.sample_with_latents(context, num_draws, generator)[0]

    def estimate_log_prob(
        self,
        scores: Tensor,
        context: Tensor,
        num_latents: int,
        generator: torch.Generator | None = None,
        *,
        first: Tensor | None = None,
    ) -> Tensor:
        """Return log densities (S, B) of scores (S, B, D) as K latent numbers estimate them.

        Of draws of this network, ``first`` are the latent numbers (S, B, L) that made them.
        """
        number = num_latents - (first is not None)
        latents = self.guess_latents(scores, context, number, generator)
        if first is not None:
            latents = torch.cat([first.unsqueeze(0), latents])
        return self.log_ratio(latents, scores, context).logsumexp(0) - math.log(num_latents)


def no_density(network: AbstractPosteriorNetwork) -> DensityUnavailableError:
    """Return the error of asking a network for a density that it does not have."""
    return DensityUnavailableError(
        "Expected a posterior network with a density (density = 'exact', and a method log_prob); "
        f"{type(network).__name__} has none: density = {network.density!r}, or log_prob is "
        "missing. Its draws can be had, and corrected. For a density, train another one:\n\n"
        "    pma.fit(model, networks=pma.Networks(posterior=pma.MixtureDensity))"
    )


def log_standard_normal(points: Tensor) -> Tensor:
    """Return log densities (...) in nats of points (..., D) under a standard normal."""
    return -0.5 * (points.square().sum(-1) + points.shape[-1] * math.log(2 * math.pi))


class AbstractClassificationNetwork(nn.Module, ABC):
    """Probabilities of indicators given the data and the parameters."""

    @abstractmethod
    def forward(self, units: Units, parameters: Tensor) -> Tensor:
        """Return log probabilities (B, N, J, K), given units and parameters (B, P).

        Parameters are scaled, and in every form that is at hand: D normal scores, D unconstrained
        coordinates, and the constrained values.
        """
