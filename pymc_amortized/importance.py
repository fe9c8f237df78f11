"""Importance sampling: how far draws of a network are from the posterior, and how to mend it."""

import math

import torch

from torch import Tensor

__all__ = [
    "effective_sample_size",
    "pareto_k_threshold",
    "pareto_smooth",
    "resample",
]


def pareto_k_threshold(num_draws: int) -> float:
    """Return the largest Pareto k at which weights of so many draws can be relied on [1]_.

    References
    ----------
    .. [1] Vehtari, A., et al. (2024). Pareto smoothed importance sampling. Journal of Machine
       Learning Research 25(72), section 3.2.4. arXiv:1507.02646

    Examples
    --------
    >>> pareto_k_threshold(4000)
    0.7
    >>> round(pareto_k_threshold(100), 3)
    0.5
    """
    return min(1 - 1 / math.log10(max(num_draws, 11)), 0.7)


def pareto_smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    r"""Replace the largest weights by quantiles of a Pareto distribution fitted to them.

    Parameters
    ----------
    log_weights : Tensor, shape (S, *batch)
        Log importance weights in nats, up to a constant per data set; :math:`-\infty` and NaN count
        as no weight at all.

    Returns
    -------
    log_weights : Tensor, shape (S, *batch)
        Smoothed log weights, whose ``logsumexp`` over draws is 0. Where all weights are 0, they
        are equal.
    pareto_k : Tensor, shape (*batch,)
        Shape of the fitted tail: infinite where fewer than five draws have weight, or the tail
        cannot be told from a single number.

    References
    ----------
    .. [1] Vehtari, A., et al. (2024). Pareto smoothed importance sampling. Journal of Machine
       Learning Research 25(72). arXiv:1507.02646

    Examples
    --------
    Equal weights, as from an exact network, stay equal.

    >>> log_weights, pareto_k = pareto_smooth(torch.zeros(100, 1, dtype=torch.float64))
    >>> bool(torch.allclose(log_weights.exp(), torch.tensor(0.01, dtype=torch.float64)))
    True
    """
    num_draws, batch = log_weights.shape[0], log_weights.shape[1:]
    flat = log_weights.double().reshape(num_draws, -1).nan_to_num(nan=-math.inf, neginf=-math.inf)
    flat = flat - flat.amax(0).nan_to_num(neginf=0.0)
    num_tail = min(math.ceil(0.2 * num_draws), math.ceil(3 * math.sqrt(num_draws)))
    if num_tail < 5:
        smoothed, pareto_k = flat, flat.new_full(flat.shape[1:], math.inf)
    else:
        smoothed, pareto_k = _smooth_tail(flat, num_tail)
    none = torch.isneginf(flat).all(0)
    smoothed = torch.where(none, torch.zeros_like(smoothed), smoothed)
    smoothed = smoothed - smoothed.logsumexp(0)
    return smoothed.reshape(num_draws, *batch), pareto_k.reshape(batch)


def _smooth_tail(log_weights: Tensor, num_tail: int) -> tuple[Tensor, Tensor]:
    """Smooth the tails of columns (S, B) whose maximum is 0."""
    largest, index = log_weights.topk(num_tail + 1, dim=0)
    tail, index = largest[:-1].flip(0), index[:-1].flip(0)
    cutoff = largest[-1].clamp(min=math.log(torch.finfo(torch.float64).tiny))
    excess = tail.exp() - cutoff.exp()
    equal = excess[-1] - excess[0] < torch.finfo(torch.float64).eps * 100
    few = torch.isneginf(tail[-5])
    pareto_k, scale = _fit_generalized_pareto(excess.clamp(min=1e-300))
    level = (torch.arange(num_tail, dtype=tail.dtype, device=tail.device) + 0.5) / num_tail
    quantiles = _quantile(level[:, None], pareto_k, scale)
    new_tail = (quantiles + cutoff.exp()).log().clamp(max=0.0)
    usable = torch.isfinite(pareto_k) & ~equal & ~few
    mended = torch.where(usable & ~torch.isneginf(tail), new_tail, tail)
    smoothed = log_weights.scatter(0, index, mended)
    infinite = torch.full_like(pareto_k, math.inf)
    pareto_k = torch.where(equal & ~few, -infinite, torch.where(usable, pareto_k, infinite))
    return smoothed, pareto_k


def _fit_generalized_pareto(x: Tensor) -> tuple[Tensor, Tensor]:
    """Fit generalized Pareto distributions to sorted columns (M, B): shape and scale (B,).

    The method of Zhang & Stephens (2009), with the weak prior on the shape of Vehtari et al.
    """
    num = x.shape[0]
    num_points = 30 + int(math.sqrt(num))
    j = torch.arange(1, num_points + 1, dtype=x.dtype, device=x.device)[:, None]
    quarter = x[int(num / 4 + 0.5) - 1]
    b = (1 - (num_points / (j - 0.5)).sqrt()) / (3 * quarter) + 1 / x[-1]  # (points, B)
    k = torch.log1p(-b[:, None] * x).mean(1)
    log_likelihood = num * ((-b / k).log() - k - 1)
    weight = log_likelihood.nan_to_num(nan=-math.inf, neginf=-math.inf).softmax(0)
    b = (b * weight).sum(0)
    shape = torch.log1p(-b * x).mean(0)
    scale = -shape / b
    return (shape * num + 5) / (num + 10), scale


def _quantile(level: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    safe = torch.where(shape.abs() < 1e-12, torch.full_like(shape, 1e-12), shape)
    return scale * torch.expm1(-safe * torch.log1p(-level)) / safe


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """Return Kish's effective sample size [1]_ of normalized log weights: (S, *batch) to (*batch,).

    References
    ----------
    .. [1] Kish, L. (1965). Survey Sampling. Wiley.

    Examples
    --------
    >>> effective_sample_size(torch.tensor([0.5, 0.5, 0.0, 0.0]).log())
    tensor(2.)
    """
    return (-(2 * log_weights).logsumexp(dim=0)).exp()


def resample(
    log_weights: Tensor, num_draws: int, generator: torch.Generator | None = None
) -> Tensor:
    """Pick draws in proportion to their weights, with as few repetitions as weights allow.

    Parameters
    ----------
    log_weights : Tensor, shape (S,)
        Normalized log weights in nats.
    num_draws : int
        How many to pick.
    generator : torch.Generator, optional
        Source of the one random number that systematic resampling takes, and of the order.

    Returns
    -------
    Tensor of int64, shape (num_draws,)
        Which draws, in random order: each the floor or the ceiling of its expected number of times.

    References
    ----------
    .. [1] Kitagawa, G. (1996). Monte Carlo filter and smoother for non-Gaussian nonlinear state
       space models. Journal of Computational and Graphical Statistics 5(1).

    Examples
    --------
    >>> index = resample(torch.tensor([0.25, 0.5, 0.25]).log(), 4)
    >>> index.sort().values
    tensor([0, 1, 1, 2])
    """
    device = log_weights.device
    start = torch.rand((), generator=generator, device=device, dtype=torch.float64)
    points = (torch.arange(num_draws, device=device) + start) / num_draws
    cumulative = log_weights.double().exp().cumsum(0)
    index = torch.searchsorted(cumulative / cumulative[-1], points, right=True)
    order = torch.randperm(num_draws, generator=generator, device=device)
    return index.clamp(max=log_weights.shape[0] - 1)[order]
