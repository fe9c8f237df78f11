"""A posterior network with an exact density that needs no flow: a mixture of normals."""

import math

import torch
import torch.nn.functional as F

from torch import Tensor, nn

from pymc_amortized.networks.contracts import AbstractPosteriorNetwork
from pymc_amortized.networks.layers import Perceptron

__all__ = ["MixtureDensity"]

_SMALLEST = 1e-3
_SPREAD = 0.5


class MixtureDensity(AbstractPosteriorNetwork):
    r"""A mixture of K normal distributions with full covariance, given by the context [1]_.

    .. math:: q(\theta \mid y) = \sum_k w_k(y) \, N(\theta; m_k(y), L_k(y) L_k(y)^\top)

    It draws at once, where a flow goes through one coordinate after the other, and can have
    separate modes; shapes that are not elliptic need many components.

    Parameters
    ----------
    num_parameters, context_size : int
        D and C.
    num_components : int
        K.
    width : int
        Of the hidden layers.
    num_hidden : int
        How many there are.

    References
    ----------
    .. [1] Bishop, C. M. (1994). Mixture density networks. Technical report NCRG/94/004, Aston
       University.

    Examples
    --------
    >>> network = MixtureDensity(num_parameters=2, context_size=3, num_components=4)
    >>> context = torch.zeros(5, 3)
    >>> scores = network.sample(context, 10, torch.Generator().manual_seed(1))
    >>> scores.shape, network.log_prob_of_draws(scores, context).shape
    (torch.Size([10, 5, 2]), torch.Size([10, 5]))
    """

    fingerprint_name = "pymc_amortized.networks.posterior.mixture_density.MixtureDensity"

    def __init__(
        self,
        num_parameters: int,
        context_size: int,
        num_components: int = 8,
        width: int = 128,
        num_hidden: int = 2,
    ) -> None:
        super().__init__()
        self.num_parameters, self.num_components = num_parameters, num_components
        num_lower = num_parameters * (num_parameters - 1) // 2
        self.sizes = [1, num_parameters, num_parameters, num_lower]
        num_outputs = num_components * sum(self.sizes)
        self.perceptron = Perceptron(context_size, num_outputs, width, num_hidden)
        nn.init.zeros_(self.perceptron.last.weight)
        nn.init.zeros_(self.perceptron.last.bias)
        # Components that start alike would stay so.
        start = _SPREAD * torch.randn(num_components, num_parameters)
        self.start = nn.Parameter(start * (num_components > 1))
        rows, columns = torch.tril_indices(num_parameters, num_parameters, -1)
        self.register_buffer("rows", rows, persistent=False)
        self.register_buffer("columns", columns, persistent=False)

    def components(self, context: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the mixture of each data set.

        Parameters
        ----------
        context : Tensor, shape (B, C)
            Contexts.

        Returns
        -------
        log_weights : Tensor, shape (B, K)
            Log probabilities of the components, in nats.
        location : Tensor, shape (B, K, D)
            Their means.
        scale_tril : Tensor, shape (B, K, D, D)
            Lower Cholesky factors of their covariances.
        """
        outputs = self.perceptron(context).unflatten(-1, (self.num_components, -1))
        logits, shift, diagonal, lower = outputs.split(self.sizes, dim=-1)
        positive = F.softplus(diagonal + math.log(math.expm1(1 - _SMALLEST))) + _SMALLEST
        scale_tril = torch.diag_embed(positive)
        scale_tril[..., self.rows, self.columns] = lower
        return logits.squeeze(-1).log_softmax(-1), self.start + shift, scale_tril

    def log_prob(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (B,) in nats of scores (B, D), given contexts (B, C)."""
        return self.log_prob_of_draws(scores.unsqueeze(0), context)[0]

    def log_prob_of_draws(self, scores: Tensor, context: Tensor) -> Tensor:
        """Return log densities (S, B) in nats of scores (S, B, D), given contexts (B, C)."""
        log_weights, location, scale_tril = self.components(context)
        apart = scores.permute(1, 2, 0).unsqueeze(1) - location.unsqueeze(-1)  # (B, K, D, S)
        z = torch.linalg.solve_triangular(scale_tril, apart, upper=False)
        log_det = scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
        constant = self.num_parameters * math.log(2 * math.pi) / 2
        log_density = -z.square().sum(2) / 2 - log_det - constant  # (B, K, S)
        return (log_density + log_weights.unsqueeze(-1)).logsumexp(1).T

    @torch.no_grad()
    def sample(
        self, context: Tensor, num_draws: int, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return draws (S, B, D), given contexts (B, C), without gradients."""
        log_weights, location, scale_tril = self.components(context)
        options = {"generator": generator, "dtype": context.dtype, "device": context.device}
        shape = (num_draws, context.shape[0])
        # One uniform number picks a component, so that draws of a data set do not depend on others.
        uniform = torch.rand(*shape, 1, **options)
        edges = log_weights.exp().cumsum(-1)[..., :-1]
        chosen = (uniform > edges).sum(-1)  # (S, B)
        normal = torch.randn(*shape, self.num_parameters, **options)
        datasets = torch.arange(context.shape[0], device=context.device)
        moved = scale_tril[datasets, chosen] @ normal.unsqueeze(-1)  # (S, B, D, 1)
        return location[datasets, chosen] + moved.squeeze(-1)
