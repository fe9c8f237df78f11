"""Posterior networks with latent numbers: conditional variational autoencoders."""

import math

from abc import abstractmethod

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.networks.contracts import AbstractLatentNetwork, log_standard_normal
from pymc_amortized.networks.layers import Perceptron

__all__ = ["ConditionalPriorVAE", "UninformativePriorVAE"]

_SMALLEST = 1e-3


class _Normal(nn.Module):
    """Independent normal numbers, whose means and scales are functions of an input."""

    def __init__(self, num_inputs: int, num_outputs: int, width: int, num_hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_outputs)
        self.perceptron = Perceptron(num_inputs, 2 * num_outputs, width, num_hidden)
        nn.init.zeros_(self.perceptron.last.weight)
        nn.init.zeros_(self.perceptron.last.bias)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and scales (..., num_outputs) of inputs, side by side."""
        x = torch.cat(inputs, dim=-1)
        shift, raw = self.perceptron(x).chunk(2, dim=-1)
        scale = F.softplus(raw + math.log(math.expm1(1 - _SMALLEST))) + _SMALLEST
        return self.linear(x) + shift, scale


def _draw_normal(
    of: tuple[Tensor, Tensor], generator: torch.Generator | None, *number: int
) -> Tensor:
    """Draw normal numbers (*number, *shape) of means and scales (*shape)."""
    mean, scale = of
    options = {"generator": generator, "dtype": mean.dtype, "device": mean.device}
    return mean + scale * torch.randn((*number, *mean.shape), **options)


def _log_normal(x: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return log_standard_normal((x - mean) / scale) - scale.log().sum(-1)


class _VariationalAutoencoder(AbstractLatentNetwork):
    """What both have in common: an encoder of latent numbers h, and a decoder of parameters."""

    def __init__(
        self,
        num_parameters: int,
        context_size: int,
        num_latents: int | None = None,
        num_samples: int = 1,
        width: int = 128,
        num_hidden: int = 2,
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.num_latents = num_parameters if num_latents is None else num_latents
        self.num_samples = num_samples
        for name in ("num_latents", "num_samples"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(
                    f"Expected {name} to be at least 1; got {value!r}. For instance:\n\n"
                    f"    functools.partial(pma.{type(self).__name__}, {name}=8)"
                )
        both = num_parameters + context_size
        self.encoder = _Normal(both, self.num_latents, width, num_hidden)
        self.decoder = _Normal(self.num_latents + context_size, num_parameters, width, num_hidden)
        self._add_network(context_size, width, num_hidden)

    @abstractmethod
    def _add_network(self, context_size: int, width: int, num_hidden: int) -> None:
        """Add the third network: of the latent prior, or of the data."""

    @abstractmethod
    def latent_prior(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and scales (B, L) of the latent numbers of draws."""

    def _log_of_data(self, latent: Tensor, context: Tensor) -> Tensor | float:
        """Return what latent numbers (K, B, L) say of the data, (K, B)."""
        return 0.0

    def loss(
        self, scores: Tensor, context: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return bounds (B,) in nats from above of the negative log density of scores (B, D).

        That of one latent draw with the divergence in closed form, or of several by their weights.
        """
        mean, scale = self.encoder(scores, context)
        latents = _draw_normal((mean, scale), generator, self.num_samples)
        several = context.expand(self.num_samples, *context.shape)
        log_decoded = _log_normal(scores, *self.decoder(latents, several))
        log_decoded = log_decoded + self._log_of_data(latents, context)
        prior_mean, prior_scale = self.latent_prior(context)
        if self.num_samples == 1:
            ratio, apart = scale / prior_scale, (mean - prior_mean) / prior_scale
            divergence = (ratio.square() + apart.square() - 1) / 2 - ratio.log()
            return divergence.sum(-1) - log_decoded[0]
        log_weights = log_decoded + _log_normal(latents, prior_mean, prior_scale)
        log_weights = log_weights - _log_normal(latents, mean, scale)
        return math.log(self.num_samples) - log_weights.logsumexp(0)

    @torch.no_grad()
    def sample_with_latents(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return draws (S, B, D) and their latent numbers (S, B, L), without gradients."""
        latents = _draw_normal(self.latent_prior(context), generator, num_draws)
        several = context.expand(num_draws, *context.shape)
        return _draw_normal(self.decoder(latents, several), generator), latents

    @torch.no_grad()
    def guess_latents(
        self, scores: Tensor, context: Tensor, number: int, generator: torch.Generator | None
    ) -> Tensor:
        """Draw latent numbers (K, S, B, L) from the encoder, without gradients."""
        several = context.expand(*scores.shape[:-1], -1)
        return _draw_normal(self.encoder(scores, several), generator, number)

    def log_ratio(self, latents: Tensor, scores: Tensor, context: Tensor) -> Tensor:
        """Return log q(h, θ given y) - log r(h given θ, y) (K, S, B) in nats."""
        several = context.expand(*scores.shape[:-1], -1)
        decoded = self.decoder(latents, several.expand(*latents.shape[:-1], -1))
        log_q = _log_normal(scores, *decoded) + _log_normal(latents, *self.latent_prior(context))
        return log_q - _log_normal(latents, *self.encoder(scores, several))


class ConditionalPriorVAE(_VariationalAutoencoder):
    r"""A conditional variational autoencoder whose latent numbers depend on the data [1]_.

    .. math:: q(\theta \mid y) = \int p(h \mid y) \, p(\theta \mid h, y) \, dh,

    with normal distributions of independent numbers throughout. Training lowers a bound of its
    negative log density, by an encoder of h given θ and y. It draws all coordinates at once; its
    density is not known, but draws are corrected all the same.

    Parameters
    ----------
    num_parameters, context_size : int
        D and C.
    num_latents : int, optional
        L, the latent numbers h. Default: D.
    num_samples : int
        K, latent draws for each simulation in training: 1 for the bound of [1]_, more for a tighter
        one by importance weights [2]_, in K times the time.
    width : int
        Of the hidden layers.
    num_hidden : int
        How many there are.

    Raises
    ------
    InvalidArgumentError
        If ``num_latents`` or ``num_samples`` is no integer, or below 1.

    References
    ----------
    .. [1] Nautiyal, M., Shternshis, A., Hellander, A. & Singh, P. (2024). Variational autoencoders
       for efficient simulation-based inference. arXiv:2411.14511
    .. [2] Burda, Y., Grosse, R. & Salakhutdinov, R. (2016). Importance weighted autoencoders.
       International Conference on Learning Representations. arXiv:1509.00519

    Examples
    --------
    >>> network = ConditionalPriorVAE(num_parameters=2, context_size=3)
    >>> context = torch.zeros(5, 3)
    >>> network.sample(context, 10, torch.Generator().manual_seed(1)).shape
    torch.Size([10, 5, 2])
    >>> network.loss(torch.zeros(5, 2), context).shape
    torch.Size([5])
    """

    density = "bound"

    def _add_network(self, context_size: int, width: int, num_hidden: int) -> None:
        self.prior = _Normal(context_size, self.num_latents, width, num_hidden)

    def latent_prior(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and scales (B, L) of the latent numbers of draws."""
        return self.prior(context)


class UninformativePriorVAE(_VariationalAutoencoder):
    r"""A conditional variational autoencoder whose latent numbers are standard normal [1]_.

    The encoder is trained along with a decoder of the data, up to normal noise, so that latent
    numbers tell of both; draws are

    .. math:: q(\theta \mid y) = \int N(h; 0, I) \, p(\theta \mid h, y) \, dh.

    Parameters
    ----------
    num_parameters, context_size : int
        D and C.
    num_latents : int, optional
        L, the latent numbers h. Default: D.
    num_samples : int
        K, latent draws for each simulation in training.
    width : int
        Of the hidden layers.
    num_hidden : int
        How many there are.
    data_scale : float
        Of the noise of decoded data, in their standard deviations. The larger, the less latent
        numbers have to tell of the data.

    Raises
    ------
    InvalidArgumentError
        If ``num_latents`` or ``num_samples`` is no integer, or below 1, or if ``data_scale`` is not
        positive.

    Notes
    -----
    The loss bounds the negative log density of parameters and summary together, so that it is not
    to be compared with that of other networks. Draws take h from its prior, as in [1]_, although
    data say something of it, as soon as the decoder has learned anything: the more numbers a
    summary has, the more. In [1]_ there is no summary network::

        pma.Networks(summary=pma.IdentityNetwork, posterior=pma.UninformativePriorVAE)

    References
    ----------
    .. [1] Nautiyal, M., Shternshis, A., Hellander, A. & Singh, P. (2024). Variational autoencoders
       for efficient simulation-based inference. arXiv:2411.14511

    Examples
    --------
    >>> network = UninformativePriorVAE(num_parameters=2, context_size=3)
    >>> network.sample(torch.zeros(5, 3), 10, torch.Generator().manual_seed(1)).shape
    torch.Size([10, 5, 2])
    """

    density = "none"

    def __init__(
        self,
        num_parameters: int,
        context_size: int,
        num_latents: int | None = None,
        num_samples: int = 1,
        width: int = 128,
        num_hidden: int = 2,
        data_scale: float = 1.0,
    ) -> None:
        if not isinstance(data_scale, int | float) or not 0 < data_scale < math.inf:
            raise InvalidArgumentError(
                f"Expected data_scale to be positive; got {data_scale!r}. For instance:\n\n"
                "    functools.partial(pma.UninformativePriorVAE, data_scale=2.0)"
            )
        super().__init__(num_parameters, context_size, num_latents, num_samples, width, num_hidden)
        self.data_scale = data_scale

    def _add_network(self, context_size: int, width: int, num_hidden: int) -> None:
        self.of_data = Perceptron(self.num_latents, context_size, width, num_hidden)

    def latent_prior(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return means and scales (B, L) of the latent numbers of draws."""
        mean = context.new_zeros(context.shape[0], self.num_latents)
        return mean, torch.ones_like(mean)

    def _log_of_data(self, latent: Tensor, context: Tensor) -> Tensor:
        apart = (context.detach() - self.of_data(latent)) / self.data_scale
        return log_standard_normal(apart) - context.shape[-1] * math.log(self.data_scale)
