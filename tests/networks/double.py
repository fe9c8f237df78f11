"""A posterior network that draws, and knows nothing of its density: a double for such networks."""

import torch

from torch import nn

import pymc_amortized as pma


class Generator(pma.AbstractPosteriorNetwork):
    """Noise through a perceptron, trained by the energy score [1]_.

    References
    ----------
    .. [1] Gneiting, T., & Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and
       estimation. Journal of the American Statistical Association 102(477), section 4.2.
    """

    density = "none"

    def __init__(self, num_parameters, context_size, width=64, num_noise=16):
        super().__init__()
        self.num_parameters, self.num_noise = num_parameters, num_noise
        self.linear = nn.Linear(context_size + num_parameters, num_parameters)
        self.hidden = nn.Sequential(
            nn.Linear(context_size + num_parameters, width),
            nn.SiLU(),
            nn.Linear(width, num_parameters),
        )

    def sample(self, context, num_draws, generator=None):
        options = {"generator": generator, "dtype": context.dtype, "device": context.device}
        noise = torch.randn(num_draws, len(context), self.num_parameters, **options)
        inputs = torch.cat([context.expand(num_draws, *context.shape), noise], dim=-1)
        return self.linear(inputs) + self.hidden(inputs)

    def loss(self, scores, context, generator=None):
        draws = self.sample(context, self.num_noise, generator)
        to_truth = (draws - scores).norm(dim=-1).mean(0)
        apart = (draws.unsqueeze(0) - draws.unsqueeze(1)).square().sum(-1)
        pairs = self.num_noise * (self.num_noise - 1)
        between = (apart + 1e-12).sqrt().sum((0, 1)) - self.num_noise * 1e-6
        return to_truth - between / (2 * pairs)
