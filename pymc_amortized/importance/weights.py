"""Importance sampling: how far draws of a network are from the posterior, and how to mend it."""

import math

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

__all__ = [
    "Weights",
    "differ",
    "effective_sample_size",
    "expected_share_distinct",
    "mixture_log_weights",
    "pareto_smooth",
    "resample",
    "tempered",
    "weigh",
]

_NUM_BISECTIONS = 16
_DISTINCT = 0.97


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """Smoothed weights of S draws for each of B data sets.

    Attributes
    ----------
    log_weights : Tensor, shape (S, B)
        In nats; their ``logsumexp`` over draws is 0.
    pareto_k : Tensor, shape (B,)
        Shape of the tail of the weights before they were smoothed; infinite where it is not known.
    ess : Tensor, shape (B,)
        Importance effective sample size, in draws; 0 where no draw has weight.
    """

    log_weights: Tensor
    pareto_k: Tensor
    ess: Tensor

    def select(self, index: Tensor) -> "Weights":
        """Return those of some data sets."""
        return Weights(self.log_weights[:, index], self.pareto_k[index], self.ess[index])


def weigh(log_weights: Tensor) -> Weights:
    """Smooth log weights (S, B), and tell what they are worth."""
    smooth, pareto_k = pareto_smooth(log_weights)
    return Weights(smooth, pareto_k, effective_sample_size(smooth))


def pareto_smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    r"""Replace the largest weights by quantiles of a Pareto distribution fitted to them.

    Parameters
    ----------
    log_weights : Tensor, shape (S, *batch)
        Log importance weights in nats, up to a constant per data set; :math:`-\infty` and NaN count
        as no weight at all, and so does :math:`+\infty`, beside which nothing else would count.

    Returns
    -------
    log_weights : Tensor, shape (S, *batch)
        Smoothed log weights, whose ``logsumexp`` over draws is 0. Where all weights are 0, they
        stay so.
    pareto_k : Tensor, shape (*batch,)
        Shape of the fitted tail: infinite where fewer than five draws have weight, where the tail
        cannot be told from a single number, or where some weight was infinite.

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
    flat = log_weights.double().reshape(num_draws, -1)
    unknown = torch.isposinf(flat).any(0)
    flat = flat.nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf)
    none = torch.isneginf(flat).all(0)
    flat = flat - flat.amax(0).nan_to_num(neginf=0.0)
    num_tail = min(math.ceil(0.2 * num_draws), math.ceil(3 * math.sqrt(num_draws)))
    if num_tail < 5:
        smoothed, pareto_k = flat, flat.new_full(flat.shape[1:], math.inf)
    else:
        smoothed, pareto_k = _smooth_tail(flat, num_tail)
    smoothed = smoothed - smoothed.logsumexp(0).nan_to_num(neginf=0.0)
    pareto_k = pareto_k.masked_fill(none | unknown, math.inf)
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

    Where no draw has weight, it is 0.

    References
    ----------
    .. [1] Kish, L. (1965). Survey Sampling. Wiley.

    Examples
    --------
    >>> effective_sample_size(torch.tensor([0.5, 0.5, 0.0, 0.0]).log())
    tensor(2.)
    """
    log_total = (2 * log_weights).logsumexp(dim=0)
    return torch.where(torch.isneginf(log_total), 0.0, (-log_total).exp())


def expected_share_distinct(log_weights: Tensor, num_draws: int) -> Tensor:
    """Return how many of so many draws that :func:`resample` picks would differ, as a share.

    Each draw is picked at least the floor of its expected number of times, so that those expected
    less than once are there with that probability.

    Parameters
    ----------
    log_weights : Tensor, shape (S, *batch)
        Normalized log weights in nats.
    num_draws : int
        How many are picked.

    Returns
    -------
    Tensor, shape (*batch,)
        From 1 / num_draws to 1.

    Examples
    --------
    >>> expected_share_distinct(torch.tensor([0.5, 0.25, 0.25]).log(), 4)
    tensor(0.7500)
    """
    return (num_draws * log_weights.exp()).clamp(max=1).sum(0) / num_draws


def differ(log_weights: Tensor, num_draws: int) -> Tensor:
    """Tell whether 97 in 100 draws that :func:`resample` picks differ, (*batch,).

    Where fewer do, a classifier finds the repeated ones, however exact their weights are.
    """
    return expected_share_distinct(log_weights, num_draws) >= _DISTINCT


def mixture_log_weights(
    log_target: Tensor, log_proposals: Sequence[Tensor], counts: Sequence[int]
) -> Tensor:
    r"""Weigh the draws of several proposals against all proposals together [1]_.

    .. math:: \log w_s = \log p(\theta_s) - \log \sum_j \frac{n_j}{S} q_j(\theta_s)

    A draw that one proposal can hardly produce is not given a large weight for it where another
    proposal produces such draws with ease: the weights of a proposal that is far too narrow, or
    far off, do no harm.

    Parameters
    ----------
    log_target : Tensor, shape (S, *batch)
        Log density of all S draws, up to a constant, in nats.
    log_proposals : sequence of Tensor, shape (S, *batch)
        Log density of each proposal, at all S draws, in nats.
    counts : sequence of int
        How many of the draws come from each.

    Returns
    -------
    Tensor, shape (S, *batch)
        Log weights, whose mean estimates the integral of the target.

    References
    ----------
    .. [1] Veach, E. & Guibas, L. J. (1995). Optimally combining sampling techniques for Monte Carlo
       rendering. SIGGRAPH, the balance heuristic; Cornuet, J.-M., et al. (2012). Adaptive multiple
       importance sampling. Scandinavian Journal of Statistics 39(4).

    Examples
    --------
    Two proposals, of which the second never reaches the first draw.

    >>> log_proposals = [torch.zeros(2), torch.tensor([-torch.inf, 0.0])]
    >>> mixture_log_weights(torch.zeros(2), log_proposals, [1, 1]).exp()
    tensor([2., 1.])
    """
    total = sum(counts)
    terms = [
        log_q + math.log(count / total) for log_q, count in zip(log_proposals, counts, strict=True)
    ]
    return log_target - torch.stack(terms).logsumexp(0)


def tempered(log_weights: Tensor, ess: float) -> Tensor:
    """Raise weights to the largest power up to 1 at which they are worth so many draws.

    Draws without weight keep none.

    Parameters
    ----------
    log_weights : Tensor, shape (S, *batch)
        Normalized log weights in nats.
    ess : float
        Effective sample size asked for.

    Returns
    -------
    Tensor, shape (S, *batch)
        Normalized log weights.

    Examples
    --------
    >>> one_has_all = torch.tensor([0.0, -50.0, -50.0, -50.0])
    >>> effective_sample_size(tempered(one_has_all, 2.0)).round(decimals=2)
    tensor(2.)
    """
    low = torch.zeros_like(log_weights[0])
    high = torch.ones_like(low)
    finite = log_weights.clamp(min=-1e6)
    impossible = torch.isneginf(log_weights) & ~torch.isneginf(log_weights).all(0)
    for step in range(_NUM_BISECTIONS):
        # The first try is the power 1 itself, which ends the search where it is enough.
        power = (low + high) / 2 if step else high
        found = (power * finite).masked_fill(impossible, -math.inf).log_softmax(0)
        enough = effective_sample_size(found) >= ess
        low, high = torch.where(enough, power, low), torch.where(enough, high, power)
    return (low * finite).masked_fill(impossible, -math.inf).log_softmax(0)


def resample(
    log_weights: Tensor, num_draws: int, generator: torch.Generator | None = None
) -> Tensor:
    """Pick draws in proportion to their weights, with as few repetitions as weights allow.

    Parameters
    ----------
    log_weights : Tensor, shape (S, *batch)
        Normalized log weights in nats.
    num_draws : int
        How many to pick.
    generator : torch.Generator, optional
        Source of the one random number that systematic resampling takes, and of the order.

    Returns
    -------
    Tensor of int64, shape (num_draws, *batch)
        Which draws, in random order: each the floor or the ceiling of its expected number of times.

    Raises
    ------
    ValueError
        If no draw has weight, or some weight is not a number.

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
    options = {"generator": generator, "device": log_weights.device, "dtype": torch.float64}
    rows = log_weights.double().flatten(1).T if log_weights.ndim > 1 else log_weights[None].double()
    if bool((rows.isnan().any(1) | torch.isneginf(rows).all(1)).any()):
        raise ValueError(
            "Expected draws with weight to pick from; got none, or weights that are not numbers. "
            "Look whether there are any first:\n\n    effective_sample_size(log_weights) > 0"
        )
    start = torch.rand(len(rows), 1, **options)
    points = (torch.arange(num_draws, device=rows.device) + start) / num_draws  # (B, num_draws)
    cumulative = rows.exp().cumsum(1)
    index = torch.searchsorted(cumulative / cumulative[:, -1:], points, right=True)
    order = torch.rand(points.shape, **options).argsort(1)
    index = index.clamp(max=rows.shape[1] - 1).gather(1, order)
    return index.T.reshape(num_draws, *log_weights.shape[1:])
