"""Integrals of densities, from draws that are weighed, or from draws on both sides."""

import math

import torch

from torch import Tensor

from pymc_amortized.importance.weights import effective_sample_size

__all__ = ["bridge_sampling", "joint_log_weights", "log_mean_weight"]

_MOST_ITERATIONS = 200
_TOLERANCE = 1e-6


def log_mean_weight(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return the log of the mean weight, an estimate of :math:`\log p(y)`, and its error.

    Parameters
    ----------
    log_weights : Tensor, shape (S, *batch)
        Log weights in nats, of normalized proposals.

    Returns
    -------
    log_mean : Tensor, shape (*batch,)
        In nats.
    error : Tensor, shape (*batch,)
        Monte Carlo standard error of it, by the delta method.

    Examples
    --------
    >>> log_mean, error = log_mean_weight(torch.tensor([1.0, 3.0]).log())
    >>> log_mean.exp(), error
    (tensor(2.), tensor(0.5000))
    """
    num_draws = log_weights.shape[0]
    total = log_weights.logsumexp(0)
    ess = effective_sample_size(log_weights - total)
    variance = ((1 / ess - 1 / num_draws) * num_draws / max(num_draws - 1, 1)).clamp(min=0)
    return total - math.log(num_draws), variance.sqrt()


def bridge_sampling(
    of_target: Tensor, of_proposal: Tensor, ess: Tensor | float
) -> tuple[Tensor, Tensor]:
    r"""Return the log of an integral in nats from draws of the target *and* of a proposal [1]_.

    Importance weights need proposals that reach wherever the target does. Here it is enough that
    the two overlap:

    .. math:: Z = E_q[\alpha\, p] \,/\, E_p[\alpha\, q], \quad
       \alpha \propto 1 / (s_1 p / Z + s_2 q),

    with s_1 and s_2 the shares of both kinds of draws, and Z on the right that of the step before.

    Parameters
    ----------
    of_target : Tensor, shape (N, B)
        Log ratios of the target, not normalized, and the proposal, at draws of the target.
    of_proposal : Tensor, shape (M, B)
        At independent draws of the proposal, which is normalized.
    ess : Tensor, shape (B,), or float
        How many independent draws those of the target are worth.

    Returns
    -------
    log_integral : Tensor, shape (B,)
        In nats.
    error : Tensor, shape (B,)
        Its standard error, by the delta method [2]_.

    References
    ----------
    .. [1] Meng, X.-L. & Wong, W. H. (1996). Simulating ratios of normalizing constants via a simple
       identity. Statistica Sinica 6, 831-860.
    .. [2] Frühwirth-Schnatter, S. (2004). Estimating marginal likelihoods for mixture and Markov
       switching models using bridge sampling techniques. Econometrics Journal 7, 143-167.

    Examples
    --------
    A normal target of integral 3, and one twice as wide.

    >>> generator = torch.Generator().manual_seed(1)
    >>> draws = torch.randn(2, 4000, 1, generator=generator).double()
    >>> def ratio(x):
    ...     return math.log(3) - x.square() / 2 - (-x.square() / 8 - math.log(2))
    >>> found, error = bridge_sampling(ratio(draws[0]), ratio(2 * draws[1]), 4000)
    >>> bool((found - math.log(3)).abs() < 4 * error), bool(error < 0.02)
    (True, True)
    """
    number = len(of_proposal)
    ess = torch.as_tensor(ess, dtype=of_target.dtype, device=of_target.device)
    log_s, log_other = (ess / (ess + number)).log(), (number / (ess + number)).log()
    found = of_target.quantile(0.5, 0)
    for _ in range(_MOST_ITERATIONS):
        before = found
        above = of_proposal - torch.logaddexp(log_s + of_proposal, log_other + before)
        below = -torch.logaddexp(log_s + of_target, log_other + before)
        found = log_mean_weight(above)[0] - log_mean_weight(below)[0]
        if bool(((found - before).abs() < _TOLERANCE).all()):
            break
    error, of_draws = log_mean_weight(above)[1], log_mean_weight(below)[1]
    dependent = len(of_target) / ess
    return found, (error.square() + dependent * of_draws.square()).sqrt()


def joint_log_weights(
    of_target: Tensor, of_proposal: Tensor, ess: Tensor | float, log_integral: Tensor
) -> Tensor:
    r"""Weigh draws of a target and of a proposal together, as draws of the target.

    They are weighed against both at once, as those of several proposals are [1]_, with the target
    as one of them:

    .. math:: w \propto \frac{p / q}{M + n\, p / (Z q)}.

    So no weight is larger than that of a draw of the target alone: where the proposal is too
    narrow, it is these that count, and elsewhere the many draws of the proposal.

    Parameters
    ----------
    of_target : Tensor, shape (N, B)
        Log ratios of the target, not normalized, and the proposal, at draws of the target.
    of_proposal : Tensor, shape (M, B)
        At independent draws of the proposal, which is normalized.
    ess : Tensor, shape (B,), or float
        How many independent draws those of the target are worth, n.
    log_integral : Tensor, shape (B,)
        Of :func:`bridge_sampling`, from the same draws.

    Returns
    -------
    Tensor, shape (N + M, B)
        Log weights in nats, whose ``logsumexp`` over draws is 0.

    References
    ----------
    .. [1] Veach, E. & Guibas, L. J. (1995). Optimally combining sampling techniques for Monte Carlo
       rendering. SIGGRAPH, the balance heuristic.

    Examples
    --------
    A proposal that has half of the width: its draws alone would give a variance of 0.5.

    >>> generator = torch.Generator().manual_seed(1)
    >>> draws = torch.randn(2, 4000, 1, generator=generator).double()
    >>> both = torch.cat([draws[0], draws[1] / 2])
    >>> ratios = -both.square() / 2 + 2 * both.square() - math.log(2)
    >>> known = ratios[:4000], ratios[4000:], 4000
    >>> log_weights = joint_log_weights(*known, bridge_sampling(*known)[0])
    >>> float((log_weights.exp() * both.square()).sum().round(decimals=1))
    1.0
    """
    ess = torch.as_tensor(ess, dtype=of_target.dtype, device=of_target.device)
    ratios, log_number = torch.cat([of_target, of_proposal]), math.log(len(of_proposal))
    log_weights = ratios - torch.logaddexp(
        ess.log() + ratios - log_integral, ratios.new_tensor(log_number)
    )
    log_weights[: len(of_target)] += (ess / len(of_target)).log()
    return log_weights - log_weights.logsumexp(0)
