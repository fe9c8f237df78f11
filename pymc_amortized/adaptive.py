"""Adaptive importance sampling, for many data sets at once."""

import math

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance import Weights, mixture_log_weights, tempered, weigh
from pymc_amortized.student_mixture import StudentMixture, fit_student_mixture

__all__ = ["LogDensity", "Pool", "adapt", "rejuvenate"]

LogDensity = Callable[[Tensor, Tensor], Tensor]
"""Takes points (S, b, D) and the positions (b,) of their data sets, and returns (S, b) in nats."""

_ESS_TO_FIT = 100.0
_NUM_COMPONENTS = 5
_SCALE_SPREAD = 0.5
_LONG_MOVES = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """S draws of P proposals for each of B data sets, weighed against all proposals together.

    Attributes
    ----------
    points : Tensor, shape (S, B, D)
        The draws.
    log_target : Tensor, shape (S, B)
        Log density to be reached, up to a constant per data set.
    log_proposals : tuple of Tensor, shape (S, B)
        Log density of each proposal at all draws.
    counts : tuple of int
        How many draws come from each proposal, in order.
    """

    points: Tensor
    log_target: Tensor
    log_proposals: tuple[Tensor, ...]
    counts: tuple[int, ...]

    def __len__(self) -> int:
        return self.points.shape[1]

    @property
    def log_weights(self) -> Tensor:
        """Log weights (S, B) in nats, whose mean estimates the integral of the target."""
        return mixture_log_weights(self.log_target, self.log_proposals, self.counts)

    def select(self, index: Tensor) -> "Pool":
        """Return some of the data sets."""
        return Pool(
            self.points[:, index],
            self.log_target[:, index],
            tuple(log_q[:, index] for log_q in self.log_proposals),
            self.counts,
        )


def adapt(
    pool: Pool,
    target: LogDensity,
    first: LogDensity,
    is_done: Callable[[Weights, int], Tensor],
    *,
    num_new: int,
    num_rounds: int,
    generator: torch.Generator | None = None,
) -> Iterator[tuple[Tensor, Pool, Weights]]:
    """Draw from mixtures fitted to the weighted draws so far, until weights can be relied on [1]_.

    Weights are tempered as long as hardly any draw has weight, so that the first mixtures are wide
    and move towards the target.

    Parameters
    ----------
    pool : Pool
        Draws of a first proposal for B data sets.
    target, first : callable
        Log densities to be reached, and of the first proposal.
    is_done : callable
        Takes the weights of b data sets and the number of rounds so far, and returns which of them
        need no further round, (b,).
    num_new : int
        Draws in each round.
    num_rounds : int
        Rounds at most.
    generator : torch.Generator, optional
        Source of randomness.

    Yields
    ------
    index : Tensor of int64, shape (b,)
        Data sets that are done, or, at the end, are left.
    pool : Pool
        All draws of these.
    weights : Weights
        Of the draws.

    References
    ----------
    .. [1] Cappé, O., et al. (2008). Adaptive importance sampling in general mixture classes.
       Statistics and Computing 18, 447-459. Cornuet, J.-M., et al. (2012). Adaptive multiple
       importance sampling. Scandinavian Journal of Statistics 39(4).

    Examples
    --------
    A network that is off by three standard deviations, and five times too wide.

    >>> def target(points, index):
    ...     return -(points - 3).square().sum(-1) / 2
    >>> def network(points, index):
    ...     return -points.square().sum(-1) / 50 - math.log(5)
    >>> generator = torch.Generator().manual_seed(1)
    >>> points = 5 * torch.randn(500, 1, 1, generator=generator, dtype=torch.float64)
    >>> pool = Pool(points, target(points, None), (network(points, None),), (500,))
    >>> rounds = adapt(
    ...     pool,
    ...     target,
    ...     network,
    ...     lambda weights, number: weights.ess > 1500,
    ...     num_new=1000,
    ...     num_rounds=5,
    ...     generator=generator,
    ... )
    >>> index, pool, weights = next(rounds)
    >>> bool(weights.ess > 1500), bool(weights.reliable), pool.counts
    (True, True, (500, 1000, 1000))
    """
    index = torch.arange(len(pool), device=pool.points.device)
    weights = weigh(pool.log_weights)
    mixtures: list[StudentMixture] = []
    for number in range(num_rounds):
        to_fit = tempered(weights.log_weights, _ESS_TO_FIT)
        mixtures.append(fit_student_mixture(pool.points, to_fit, _NUM_COMPONENTS, generator))
        new = mixtures[-1].sample(num_new, generator)
        pool = _joined(pool, new, target(new, index), first(new, index), mixtures)
        weights = weigh(pool.log_weights)
        done = is_done(weights, number + 1)
        if bool(done.any()):
            yield index[done], pool.select(done), weights.select(done)
            index, pool, weights = index[~done], pool.select(~done), weights.select(~done)
            mixtures = [mixture.select(~done) for mixture in mixtures]
        if not len(index):
            return
    yield index, pool, weights


def _joined(
    pool: Pool, new: Tensor, log_target: Tensor, log_first: Tensor, mixtures: list[StudentMixture]
) -> Pool:
    """Add draws of the last mixture, with the density of every proposal at every draw."""
    points = torch.cat([pool.points, new])
    of_new = [log_first, *(mixture.log_prob(new) for mixture in mixtures[:-1])]
    log_proposals = [
        torch.cat([before, after]) for before, after in zip(pool.log_proposals, of_new, strict=True)
    ]
    return Pool(
        points,
        torch.cat([pool.log_target, log_target]),
        (*log_proposals, mixtures[-1].log_prob(points)),
        (*pool.counts, len(new)),
    )


def rejuvenate(
    points: Tensor,
    log_target: Tensor,
    target: Callable[[Tensor], Tensor],
    num_moves: int,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Move resampled draws apart, by Metropolis steps that leave their distribution as it is [1]_.

    Steps are along differences of other draws [2]_, so that they have the scale and the
    correlations of the target; one in ten is a whole difference, which can lead to another mode.

    Parameters
    ----------
    points : Tensor, shape (S, B, D)
        Draws with repetitions.
    log_target : Tensor, shape (S, B)
        Their log densities.
    target : callable
        Takes points (S, B, D), and returns log densities (S, B).
    num_moves : int
        Steps that each draw tries.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    points : Tensor, shape (S, B, D)
        Draws, most of them different.
    log_target : Tensor, shape (S, B)
        Their log densities.

    References
    ----------
    .. [1] Gilks, W. R. & Berzuini, C. (2001). Following a moving target: Monte Carlo inference for
       dynamic Bayesian models. Journal of the Royal Statistical Society B 63(1).
    .. [2] ter Braak, C. J. F. & Vrugt, J. A. (2008). Differential evolution Markov chain with
       snooker updater and fewer chains. Statistics and Computing 18, 435-446.

    Examples
    --------
    >>> def target(points):
    ...     return -points.square().sum(-1) / 2
    >>> generator = torch.Generator().manual_seed(1)
    >>> few = torch.randn(100, 1, 1, generator=generator).repeat(10, 1, 1)
    >>> many, _ = rejuvenate(few, target(few), target, 10, generator)
    >>> len(few.unique()), len(many.unique()) > 900
    (100, True)
    """
    num_draws, num_datasets, size = points.shape
    options = {"generator": generator, "device": points.device}
    archive = points
    columns = torch.arange(num_datasets, device=points.device)
    shape = (num_draws, num_datasets)
    for _ in range(num_moves):
        pair = torch.randint(num_draws, (2, *shape), **options)
        scale = torch.randn(shape, dtype=points.dtype, **options).mul(_SCALE_SPREAD).exp()
        scale = scale * 2.38 / math.sqrt(2 * size)
        scale = torch.where(torch.rand(shape, **options) < _LONG_MOVES, 1.0, scale)
        step = archive[pair[0], columns] - archive[pair[1], columns]
        proposed = points + scale.unsqueeze(-1) * step
        log_proposed = target(proposed)
        threshold = torch.rand(shape, dtype=points.dtype, **options).log()
        accepted = threshold < log_proposed - log_target
        points = torch.where(accepted.unsqueeze(-1), proposed, points)
        log_target = torch.where(accepted, log_proposed, log_target)
    return points, log_target
