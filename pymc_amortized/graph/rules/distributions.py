"""Samplers: torch draws for the distributions of PyTensor and PyMC.

Each follows the contract of :data:`pymc_amortized.graph.samplers.Sampler`. Distributions that PyMC
itself builds from others (HalfCauchy, Weibull, ZeroSumNormal, LKJCholeskyCov, ...) need no entry:
their inner graphs are evaluated like any other.
"""

import math

import pymc.distributions.continuous as pm_continuous
import pymc.distributions.discrete as pm_discrete
import pytensor.tensor.random.basic as ptr
import torch

from pytensor.graph.op import Op
from torch import Generator, Tensor

from pymc_amortized.errors import UnsupportedModelError
from pymc_amortized.graph.samplers import Sampler, register_samplers, sampler

__all__ = ["Shape", "draw_beta", "draw_binomial", "float_type", "standard_gamma", "standard_normal"]

Shape = tuple[int, ...]


# Building blocks: standard draws in the dtype and on the device of a parameter.


def _uniform(generator: Generator, shape: Shape, like: Tensor) -> Tensor:
    """Draw from the open interval (0, 1): logarithms of the result are finite."""
    tiny = torch.finfo(float_type(like)).tiny
    draws = torch.rand(shape, generator=generator, dtype=float_type(like), device=like.device)
    return draws.clamp_min_(tiny)


def standard_normal(generator: Generator, shape: Shape, like: Tensor) -> Tensor:
    """Draw from standard normal distributions."""
    return torch.randn(shape, generator=generator, dtype=float_type(like), device=like.device)


def _exponential(generator: Generator, shape: Shape, like: Tensor) -> Tensor:
    return -torch.log(_uniform(generator, shape, like))


def standard_gamma(generator: Generator, shape: Shape, concentration: Tensor) -> Tensor:
    """Draw from gamma distributions of scale 1."""
    expanded = concentration.to(float_type(concentration)).expand(shape).contiguous()
    return torch._standard_gamma(expanded, generator=generator)


def float_type(like: Tensor) -> torch.dtype:
    """Return the type in which draws with such a parameter are made."""
    return like.dtype if like.dtype.is_floating_point else torch.float64


# Continuous, univariate


def _draw_uniform(generator: Generator, shape: Shape, low: Tensor, high: Tensor) -> Tensor:
    return low + (high - low) * _uniform(generator, shape, low)


def _draw_normal(generator: Generator, shape: Shape, mu: Tensor, sigma: Tensor) -> Tensor:
    return torch.addcmul(
        mu.to(float_type(mu)), sigma.to(float_type(mu)), standard_normal(generator, shape, mu)
    )


def _draw_half_normal(generator: Generator, shape: Shape, loc: Tensor, sigma: Tensor) -> Tensor:
    return loc + sigma * standard_normal(generator, shape, sigma).abs_()


def _draw_log_normal(generator: Generator, shape: Shape, mu: Tensor, sigma: Tensor) -> Tensor:
    return _draw_normal(generator, shape, mu, sigma).exp_()


def _draw_exponential(generator: Generator, shape: Shape, scale: Tensor) -> Tensor:
    return scale * _exponential(generator, shape, scale)


def _draw_gamma(generator: Generator, shape: Shape, alpha: Tensor, scale: Tensor) -> Tensor:
    return scale * standard_gamma(generator, shape, alpha)


def _draw_inverse_gamma(generator: Generator, shape: Shape, alpha: Tensor, beta: Tensor) -> Tensor:
    return beta / standard_gamma(generator, shape, alpha)


def draw_beta(generator: Generator, shape: Shape, alpha: Tensor, beta: Tensor) -> Tensor:
    """Draw from beta distributions."""
    first, second = standard_gamma(generator, shape, alpha), standard_gamma(generator, shape, beta)
    return first / (first + second)


def _draw_student_t(
    generator: Generator, shape: Shape, nu: Tensor, mu: Tensor, sigma: Tensor
) -> Tensor:
    chi_square = 2 * standard_gamma(generator, shape, nu / 2)
    return mu + sigma * standard_normal(generator, shape, sigma) * torch.sqrt(nu / chi_square)


def _draw_cauchy(generator: Generator, shape: Shape, loc: Tensor, scale: Tensor) -> Tensor:
    return loc + scale * torch.tan(math.pi * (_uniform(generator, shape, scale) - 0.5))


def _draw_half_cauchy(generator: Generator, shape: Shape, loc: Tensor, scale: Tensor) -> Tensor:
    return loc + scale * torch.tan(math.pi / 2 * _uniform(generator, shape, scale))


def _draw_laplace(generator: Generator, shape: Shape, loc: Tensor, scale: Tensor) -> Tensor:
    sign = torch.sign(_uniform(generator, shape, scale) - 0.5)
    return loc + scale * sign * _exponential(generator, shape, scale)


def _draw_logistic(generator: Generator, shape: Shape, loc: Tensor, scale: Tensor) -> Tensor:
    return loc + scale * torch.logit(_uniform(generator, shape, scale))


def _draw_gumbel(generator: Generator, shape: Shape, loc: Tensor, scale: Tensor) -> Tensor:
    return loc - scale * torch.log(_exponential(generator, shape, scale))


def _draw_moyal(generator: Generator, shape: Shape, loc: Tensor, scale: Tensor) -> Tensor:
    return loc - 2 * scale * torch.log(standard_normal(generator, shape, scale).abs_())


def _draw_pareto(generator: Generator, shape: Shape, alpha: Tensor, scale: Tensor) -> Tensor:
    return scale * torch.exp(_exponential(generator, shape, scale) / alpha)


def _draw_weibull(generator: Generator, shape: Shape, alpha: Tensor) -> Tensor:
    return _exponential(generator, shape, alpha) ** (1 / alpha)


def _draw_generalized_gamma(
    generator: Generator, shape: Shape, alpha: Tensor, p: Tensor, scale: Tensor
) -> Tensor:
    return scale * standard_gamma(generator, shape, alpha / p) ** (1 / p)


def _draw_truncated_exponential(
    generator: Generator, shape: Shape, bound: Tensor, loc: Tensor, scale: Tensor
) -> Tensor:
    u = _uniform(generator, shape, scale)
    return loc - scale * torch.log1p(u * torch.expm1(-bound))


def _draw_triangular(
    generator: Generator, shape: Shape, low: Tensor, mode: Tensor, high: Tensor
) -> Tensor:
    u = _uniform(generator, shape, low)
    rising = low + torch.sqrt(u * (high - low) * (mode - low))
    falling = high - torch.sqrt((1 - u) * (high - low) * (high - mode))
    return torch.where(u < (mode - low) / (high - low), rising, falling)


def _draw_skew_normal(
    generator: Generator, shape: Shape, mu: Tensor, sigma: Tensor, alpha: Tensor
) -> Tensor:
    delta = alpha / torch.sqrt(1 + alpha**2)
    folded = standard_normal(generator, shape, mu).abs_()
    free = standard_normal(generator, shape, mu)
    return mu + sigma * (delta * folded + torch.sqrt(1 - delta**2) * free)


def _draw_skew_student_t(
    generator: Generator, shape: Shape, a: Tensor, b: Tensor, mu: Tensor, sigma: Tensor
) -> Tensor:
    """Jones and Faddy's skew t: a transformed Beta(a, b)."""
    x = draw_beta(generator, shape, a, b)
    return mu + sigma * (2 * x - 1) * torch.sqrt(a + b) / (2 * torch.sqrt(x * (1 - x)))


def _draw_rice(generator: Generator, shape: Shape, b: Tensor, sigma: Tensor) -> Tensor:
    first, second = b + standard_normal(generator, shape, b), standard_normal(generator, shape, b)
    return sigma * torch.hypot(first, second)


def _draw_shifted_wald(
    generator: Generator, shape: Shape, mu: Tensor, lam: Tensor, shift: Tensor
) -> Tensor:
    return shift + _draw_wald(generator, shape, mu, lam)


def _draw_wald(generator: Generator, shape: Shape, mu: Tensor, lam: Tensor) -> Tensor:
    """Draw inverse Gaussians by the root of Michael, Schucany and Haas (1976).

    The smaller root is written as a quotient, which does not cancel where ``mu / lam`` is large.
    """
    ratio = mu * standard_normal(generator, shape, mu).square() / (2 * lam)
    root = mu / (1 + ratio + torch.sqrt(ratio * (2 + ratio)))
    u = _uniform(generator, shape, mu)
    return torch.where(u * (mu + root) <= mu, root, mu**2 / root)


def _draw_truncated_normal(
    generator: Generator, shape: Shape, mu: Tensor, sigma: Tensor, lower: Tensor, upper: Tensor
) -> Tensor:
    """Invert the distribution function, in the lower tail, where it does not lose digits."""
    a, b = (lower - mu) / sigma, (upper - mu) / sigma
    mirrored = a > 0
    a, b = torch.where(mirrored, -b, a), torch.where(mirrored, -a, b)
    low, high = (torch.erfc(-x / math.sqrt(2)) / 2 for x in (a, b))
    z = torch.special.ndtri(low + (high - low) * _uniform(generator, shape, mu))
    return mu + sigma * torch.where(mirrored, -z, z)


def _draw_von_mises(generator: Generator, shape: Shape, mu: Tensor, kappa: Tensor) -> Tensor:
    """Draw by the rejection of Best and Fisher (1979), repeated for those not yet accepted."""
    kappa = kappa.expand(shape).clamp_min(1e-6)
    tau = 1 + torch.sqrt(1 + 4 * kappa**2)
    rho = (tau - torch.sqrt(2 * tau)) / (2 * kappa)
    r = (1 + rho**2) / (2 * rho)
    angle = torch.zeros_like(kappa)
    pending = torch.ones_like(kappa, dtype=torch.bool)
    while pending.any():
        u1, u2, u3 = (_uniform(generator, shape, kappa) for _ in range(3))
        z = torch.cos(math.pi * u1)
        f = (1 + r * z) / (r + z)
        c = kappa * (r - f)
        accepted = (c * (2 - c) - u2 > 0) | (torch.log(c / u2) + 1 - c >= 0)
        proposal = torch.sign(u3 - 0.5) * torch.acos(f.clamp(-1, 1))
        angle = torch.where(pending & accepted, proposal, angle)
        pending &= ~accepted
    return torch.remainder(mu + angle + math.pi, 2 * math.pi) - math.pi


# Discrete, univariate


def _draw_bernoulli(generator: Generator, shape: Shape, p: Tensor) -> Tensor:
    return (_uniform(generator, shape, p) < p).long()


def draw_binomial(generator: Generator, shape: Shape, n: Tensor, p: Tensor) -> Tensor:
    """Draw from binomial distributions."""
    counts = n.to(float_type(p)).expand(shape).contiguous()
    return torch.binomial(counts, p.expand(shape).contiguous(), generator=generator)


def _draw_beta_binomial(
    generator: Generator, shape: Shape, n: Tensor, alpha: Tensor, beta: Tensor
) -> Tensor:
    return draw_binomial(generator, shape, n, draw_beta(generator, shape, alpha, beta))


def _draw_poisson(generator: Generator, shape: Shape, mu: Tensor) -> Tensor:
    return torch.poisson(mu.to(float_type(mu)).expand(shape).contiguous(), generator=generator)


def _draw_negative_binomial(generator: Generator, shape: Shape, n: Tensor, p: Tensor) -> Tensor:
    return torch.poisson(standard_gamma(generator, shape, n) * (1 - p) / p, generator=generator)


def _draw_geometric(generator: Generator, shape: Shape, p: Tensor) -> Tensor:
    trials = torch.ceil(-_exponential(generator, shape, p) / torch.log1p(-p))
    return trials.clamp_min(1)


def _draw_integers(generator: Generator, shape: Shape, low: Tensor, high: Tensor) -> Tensor:
    u = _uniform(generator, shape, low)
    return low + torch.floor(u * (high - low)).long().clamp(max=high - low - 1)


def _draw_discrete_uniform(
    generator: Generator, shape: Shape, lower: Tensor, upper: Tensor
) -> Tensor:
    return _draw_integers(generator, shape, lower.long(), upper.long() + 1)


def _draw_categorical(generator: Generator, shape: Shape, p: Tensor) -> Tensor:
    """Invert the distribution function, without an axis of components in the result.

    Where units share their probabilities, the search runs over all of them at once.
    """
    cumulative = p.cumsum(-1)
    cumulative = cumulative / cumulative[..., -1:]
    u = _uniform(generator, shape, p)
    shared = math.prod(p.shape[1:-1]) == 1
    if shared:
        # Sizes by name: there may be no draw at all, where no unit selects a component.
        table = cumulative.reshape(p.shape[0], p.shape[-1]).expand(shape[0], -1)
        places = u.reshape(shape[0], math.prod(shape[1:]))
        found = torch.searchsorted(table.contiguous(), places, right=True)
        return found.reshape(shape).clamp_(max=p.shape[-1] - 1)
    found = torch.zeros(shape, dtype=torch.int64, device=p.device)
    for component in range(p.shape[-1] - 1):
        found += u >= cumulative[..., component]
    return found


register_samplers(
    {
        ptr.UniformRV: _draw_uniform,
        ptr.NormalRV: _draw_normal,
        ptr.HalfNormalRV: _draw_half_normal,
        ptr.LogNormalRV: _draw_log_normal,
        ptr.ExponentialRV: _draw_exponential,
        ptr.GammaRV: _draw_gamma,
        ptr.InvGammaRV: _draw_inverse_gamma,
        ptr.BetaRV: draw_beta,
        ptr.StudentTRV: _draw_student_t,
        ptr.CauchyRV: _draw_cauchy,
        ptr.HalfCauchyRV: _draw_half_cauchy,
        ptr.LaplaceRV: _draw_laplace,
        ptr.LogisticRV: _draw_logistic,
        ptr.GumbelRV: _draw_gumbel,
        ptr.ParetoRV: _draw_pareto,
        ptr.WeibullRV: _draw_weibull,
        ptr.GenGammaRV: _draw_generalized_gamma,
        ptr.TruncExponentialRV: _draw_truncated_exponential,
        ptr.TriangularRV: _draw_triangular,
        ptr.VonMisesRV: _draw_von_mises,
        ptr.WaldRV: _draw_wald,
        pm_continuous.WaldRV: _draw_shifted_wald,
        pm_continuous.MoyalRV: _draw_moyal,
        pm_continuous.SkewNormalRV: _draw_skew_normal,
        pm_continuous.SkewStudentTRV: _draw_skew_student_t,
        pm_continuous.RiceRV: _draw_rice,
        pm_continuous.TruncatedNormalRV: _draw_truncated_normal,
        ptr.BernoulliRV: _draw_bernoulli,
        ptr.BinomialRV: draw_binomial,
        ptr.BetaBinomialRV: _draw_beta_binomial,
        ptr.PoissonRV: _draw_poisson,
        ptr.NegBinomialRV: _draw_negative_binomial,
        ptr.GeometricRV: _draw_geometric,
        ptr.IntegersRV: _draw_integers,
        pm_discrete.DiscreteUniformRV: _draw_discrete_uniform,
        ptr.CategoricalRV: _draw_categorical,
    }
)


@sampler.register(pm_continuous.FlatRV)
@sampler.register(pm_continuous.HalfFlatRV)
def _improper(op: Op) -> Sampler:
    positive = isinstance(op, pm_continuous.HalfFlatRV)
    wide, numbers = ("pm.HalfNormal", "10") if positive else ("pm.Normal", "0, 10")
    raise UnsupportedModelError(
        f"Expected proper priors; got {op.name!r}, from which nothing can be simulated. Give the "
        f"variable a distribution, for instance a wide normal:\n\n    {wide}(name, {numbers})"
    )
