"""Samplers of multivariate distributions, in the contract of :data:`graph.samplers.Sampler`."""

import pymc.distributions.multivariate as pm_multivariate
import pytensor.tensor.random.basic as ptr
import torch

from torch import Generator, Tensor

from pymc_amortized.graph.rules.distributions import (
    Shape,
    draw_beta,
    draw_binomial,
    float_type,
    standard_gamma,
    standard_normal,
)
from pymc_amortized.graph.samplers import register_samplers

__all__: list[str] = []


def _draw_multivariate_normal(
    generator: Generator, shape: Shape, mu: Tensor, cov: Tensor
) -> Tensor:
    standard = standard_normal(generator, (*shape, cov.shape[-1]), cov)
    return mu + (torch.linalg.cholesky(cov) @ standard.unsqueeze(-1)).squeeze(-1)


def _draw_dirichlet(generator: Generator, shape: Shape, concentration: Tensor) -> Tensor:
    expanded = concentration.to(float_type(concentration)).expand(*shape, concentration.shape[-1])
    return torch._sample_dirichlet(expanded.contiguous(), generator=generator)


def _draw_multinomial(generator: Generator, shape: Shape, n: Tensor, p: Tensor) -> Tensor:
    """Draw one category after the other, each binomial given the counts before it."""
    remaining = n.to(float_type(p)).expand(shape)
    tail = p.flip(-1).cumsum(-1).flip(-1)
    counts = []
    for category in range(p.shape[-1] - 1):
        share = (p[..., category] / tail[..., category]).nan_to_num(0.0).clamp(0, 1)
        counts.append(draw_binomial(generator, shape, remaining, share))
        remaining = remaining - counts[-1]
    return torch.stack([*counts, remaining], dim=-1)


def _draw_matrix_normal(
    generator: Generator, shape: Shape, mu: Tensor, row_factor: Tensor, column_factor: Tensor
) -> Tensor:
    sizes = (*shape, row_factor.shape[-1], column_factor.shape[-1])
    return mu + row_factor @ standard_normal(generator, sizes, mu) @ column_factor.mT


def _draw_wishart(generator: Generator, shape: Shape, nu: Tensor, scale: Tensor) -> Tensor:
    """Draw by Bartlett's decomposition."""
    size = scale.shape[-1]
    order = torch.arange(size, device=scale.device)
    degrees = nu.unsqueeze(-1) - order
    diagonal = torch.sqrt(2 * standard_gamma(generator, (*shape, size), degrees / 2))
    normals = standard_normal(generator, (*shape, size, size), scale)
    factor = torch.tril(normals, -1) + torch.diag_embed(diagonal)
    product = torch.linalg.cholesky(scale) @ factor
    return product @ product.mT


def _draw_stick_breaking(generator: Generator, shape: Shape, alpha: Tensor, k: Tensor) -> Tensor:
    sticks = (*shape, int(k.flatten()[0]))
    fractions = draw_beta(generator, sticks, torch.ones_like(alpha)[..., None], alpha[..., None])
    left = torch.cumprod(1 - fractions, dim=-1)
    before = torch.cat([torch.ones_like(left[..., :1]), left[..., :-1]], dim=-1)
    return torch.cat([before * fractions, left[..., -1:]], dim=-1)


register_samplers(
    {
        ptr.MvNormalRV: _draw_multivariate_normal,
        ptr.DirichletRV: _draw_dirichlet,
        ptr.MultinomialRV: _draw_multinomial,
        pm_multivariate.MatrixNormalRV: _draw_matrix_normal,
        pm_multivariate.WishartRV: _draw_wishart,
        pm_multivariate.StickBreakingWeightsRV: _draw_stick_breaking,
    }
)
