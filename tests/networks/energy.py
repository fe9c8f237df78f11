"""A posterior network without a density: a double of such, for tests."""

import torch

from torch import nn

import pymc_amortized as pma

NUM_NOISE = 4
NUM_DRAWS = 8


class EnergyGenerator(pma.AbstractPosteriorNetwork):
    """Maps noise to draws, and is trained by the energy score, which is least for the posterior.

    Gneiting, T. & Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation.
    Journal of the American Statistical Association 102(477), equation 21.
    """

    density = "none"

    def __init__(self, num_parameters, context_size):
        super().__init__()
        num_inputs = context_size + num_parameters + NUM_NOISE
        self.num_parameters = num_parameters
        self.layers = nn.Sequential(
            nn.Linear(num_inputs, 64), nn.SiLU(), nn.Linear(64, num_parameters)
        )

    def sample(self, context, num_draws, generator=None):
        shape = (num_draws, len(context), self.num_parameters + NUM_NOISE)
        noise = torch.randn(shape, generator=generator, device=context.device, dtype=context.dtype)
        inputs = torch.cat([context.expand(num_draws, *context.shape), noise], dim=-1)
        return noise[..., : self.num_parameters] + self.layers(inputs)

    def loss(self, scores, context, generator=None):
        draws = self.sample(context, NUM_DRAWS, generator)
        to_truth = (draws - scores).square().sum(-1).add(1e-9).sqrt().mean(0)
        pairs = (draws.unsqueeze(0) - draws.unsqueeze(1)).square().sum(-1).add(1e-9).sqrt()
        return to_truth - pairs.sum((0, 1)) / (2 * NUM_DRAWS * (NUM_DRAWS - 1))
