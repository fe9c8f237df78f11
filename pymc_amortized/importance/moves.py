"""Metropolis moves that leave any target as it is: along differences, and along gradients."""

import math

from collections.abc import Callable

import torch

from torch import Tensor

__all__ = ["HamiltonianMoves", "difference_steps", "rejuvenate", "wander"]

_SCALE_SPREAD = 0.5
_LONG_MOVES = 0.1
_FIRST_STEP = 0.5
_LONGEST_STEP = 1.5
_WANTED_ACCEPTANCE = 0.75
_LEARNING_RATE = 0.5
_PATH = 1.6
_MOST_STEPS = 12
_STEP_SIZES = (0.03, 0.6)
_NUM_STEPS = 8

Density = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Takes points (N, B, D); returns log densities (N, B) in nats, and their gradients (N, B, D)."""


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


class HamiltonianMoves:
    """Proposals by Hamiltonian dynamics [1]_, whose step sizes are learned on the way.

    Paths are about as long as lead a normal target, in its own metric, to an independent draw.

    Parameters
    ----------
    num_datasets : int
        B, each with a step size of its own.
    generator : torch.Generator, optional
        Source of randomness.

    References
    ----------
    .. [1] Neal, R. M. (2011). MCMC using Hamiltonian dynamics. Handbook of Markov Chain Monte
       Carlo, chapter 5.

    Examples
    --------
    >>> def density(points):
    ...     return -points.square().sum(-1) / 2, -points
    >>> generator = torch.Generator().manual_seed(1)
    >>> points = torch.randn(2000, 1, 3, generator=generator, dtype=torch.float64)
    >>> metric = torch.eye(3).double().unsqueeze(0)
    >>> moves = HamiltonianMoves(1, generator)
    >>> proposed, log_ratio = moves.propose(points, density, metric)
    >>> moves.learn(log_ratio)
    >>> bool(log_ratio.exp().clamp(max=1).mean() > 0.7), proposed.shape
    (True, torch.Size([2000, 1, 3]))
    """

    def __init__(self, num_datasets: int, generator: torch.Generator | None = None) -> None:
        device = None if generator is None else generator.device
        self.step = torch.full((num_datasets,), _FIRST_STEP, dtype=torch.float64, device=device)
        self.generator = generator
        self.num_evaluations = 0

    def propose(
        self,
        points: Tensor,
        density: Density,
        scale_tril: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Follow paths from points (N, B, D).

        Parameters
        ----------
        points : Tensor, shape (N, B, D)
            Where paths begin.
        density : callable
            Of the target, with its gradient.
        scale_tril : Tensor, shape (B, D, D)
            Cholesky factor of the covariance that a mode is expected to have.

        Returns
        -------
        proposed : Tensor, shape (N, B, D)
            Where they end.
        log_ratio : Tensor, shape (N, B)
            Log of the probability to accept, if below 0; -inf where a path got lost.
        """
        jitter = 0.8 + 0.4 * self._uniform()
        step = (self.step * jitter)[None, :, None]
        path = _PATH * (0.6 + 0.8 * self._uniform())
        num_steps = min(_MOST_STEPS, max(1, round(path / float(step.median()))))
        self.num_evaluations += len(points) * (num_steps + 1)
        return _follow(points, density, scale_tril, step, num_steps, self.generator)

    def learn(self, log_ratio: Tensor) -> None:
        """Change step sizes towards three accepted paths of four."""
        accepted = log_ratio.exp().clamp(max=1).mean(0)
        factor = (_LEARNING_RATE * (accepted - _WANTED_ACCEPTANCE)).exp()
        self.step = (self.step * factor).clamp(max=_LONGEST_STEP)

    def _uniform(self) -> float:
        device = None if self.generator is None else self.generator.device
        return float(torch.rand((), generator=self.generator, device=device))


def wander(
    points: Tensor,
    density: Density,
    scale_tril: Tensor,
    num_moves: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Move draws along Hamiltonian paths whose steps are of all sizes, each path of its own.

    Steps that suit a whole mode pass by whatever is much narrower, and is as probable for all that:
    where a scale is near 0, say. Paths of small steps lead into it, and out of it again.

    Parameters
    ----------
    points : Tensor, shape (N, B, D)
        Draws.
    density : callable
        Of the target, with its gradient.
    scale_tril : Tensor, shape (B, D, D)
        Cholesky factor of the covariance within modes; steps are from .03 to .6 of it.
    num_moves : int
        Paths of eight steps that each draw tries.
    generator : torch.Generator, optional
        Source of randomness.

    Returns
    -------
    Tensor, shape (N, B, D)
        Draws of the same target, if the points were.

    Examples
    --------
    A quarter of these draws belongs into a needle, a thirtieth as wide as the rest.

    >>> def density(points):
    ...     x = points.detach().requires_grad_()
    ...     shares, scales = torch.tensor([0.75, 0.25]).log(), torch.tensor([1.0, 1 / 30])
    ...     both = shares - (x / scales).square() / 2 - scales.log()
    ...     log_density = both.logsumexp(-1)
    ...     return log_density.detach(), torch.autograd.grad(log_density.sum(), x)[0]
    >>> generator = torch.Generator().manual_seed(1)
    >>> points = torch.randn(2000, 1, 1, generator=generator, dtype=torch.float64)
    >>> moved = wander(points, density, torch.ones(1, 1, 1).double(), 60, generator)
    >>> for x in (points, moved):
    ...     print(f"{(x.abs() < 0.1).double().mean():.1f}")
    0.1
    0.3
    """
    shortest, longest = map(math.log, _STEP_SIZES)
    options = {"generator": generator, "device": points.device, "dtype": points.dtype}
    shape = points.shape[:2]
    for _ in range(num_moves):
        step = (shortest + (longest - shortest) * torch.rand(shape, **options)).exp()
        proposed, log_ratio = _follow(
            points, density, scale_tril, step.unsqueeze(-1), _NUM_STEPS, generator
        )
        accepted = torch.rand(shape, **options).log() < log_ratio
        points = torch.where(accepted.unsqueeze(-1), proposed, points)
    return points


def _follow(
    points: Tensor,
    density: Density,
    scale_tril: Tensor,
    step: Tensor,
    num_steps: int,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor]:
    """Follow paths by leapfrog steps (N or 1, B, 1); return their ends, and log ratios (N, B)."""
    options = {"generator": generator, "device": points.device}
    momentum = torch.randn(points.shape, dtype=points.dtype, **options)
    log_density, gradient = density(points)
    energy = log_density - momentum.square().sum(-1) / 2
    momentum = momentum + step / 2 * _along(gradient, scale_tril)
    for number in range(num_steps):
        points = points + step * _along(momentum, scale_tril.mT)
        log_density, gradient = density(points)
        share = 1.0 if number < num_steps - 1 else 0.5
        momentum = momentum + share * step * _along(gradient, scale_tril)
    after = log_density - momentum.square().sum(-1) / 2
    log_ratio = (after - energy).nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf)
    return points, log_ratio


def _along(vectors: Tensor, matrix: Tensor) -> Tensor:
    """Multiply vectors (N, B, D) by the matrix (B, D, D) of their data set, from the right."""
    return (vectors.transpose(0, 1) @ matrix).transpose(0, 1)
