"""Metropolis moves along differences of draws, which leave any target as it is."""

import math

from collections.abc import Callable

import torch

from torch import Tensor

__all__ = ["difference_steps", "rejuvenate"]

_SCALE_SPREAD = 0.5
_LONG_MOVES = 0.1


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
    options = {"generator": generator, "device": points.device}
    archive = points
    shape = points.shape[:2]
    for _ in range(num_moves):
        proposed = points + difference_steps(archive, generator)
        log_proposed = target(proposed)
        threshold = torch.rand(shape, dtype=points.dtype, **options).log()
        accepted = threshold < log_proposed - log_target
        points = torch.where(accepted.unsqueeze(-1), proposed, points)
        log_target = torch.where(accepted, log_proposed, log_target)
    return points, log_target


def difference_steps(archive: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return steps (N, B, D) along differences of two draws of an archive (N, B, D).

    They have the scale and the correlations of the archive, data set by data set. One in ten is a
    whole difference, which can lead to another mode.
    """
    num_draws, num_datasets, size = archive.shape
    options = {"generator": generator, "device": archive.device}
    columns = torch.arange(num_datasets, device=archive.device)
    shape = (num_draws, num_datasets)
    first, second = torch.randint(num_draws, (2, *shape), **options)
    scale = torch.randn(shape, dtype=archive.dtype, **options).mul(_SCALE_SPREAD).exp()
    scale = scale * 2.38 / math.sqrt(2 * size)
    scale = torch.where(torch.rand(shape, **options) < _LONG_MOVES, 1.0, scale)
    return scale.unsqueeze(-1) * (archive[first, columns] - archive[second, columns])
