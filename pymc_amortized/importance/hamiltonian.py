"""Metropolis moves along the gradient of a density, for particles of many targets at once."""

import math

from collections.abc import Callable

import torch

from torch import Tensor

__all__ = ["HamiltonianMoves"]

_FIRST_STEP = 0.5
_LONGEST_STEP = 1.5
_WANTED_ACCEPTANCE = 0.75
_LEARNING_RATE = 0.5
_PATH = 1.6
_MOST_STEPS = 12


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
        density: Callable[[Tensor], tuple[Tensor, Tensor]],
        scale_tril: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Follow paths from points (N, B, D).

        Parameters
        ----------
        points : Tensor, shape (N, B, D)
            Where paths begin.
        density : callable
            Takes points; returns log densities (N, B) in nats, and their gradients (N, B, D).
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
        options = {"generator": self.generator, "device": points.device}
        momentum = torch.randn(points.shape, dtype=points.dtype, **options)
        log_density, gradient = density(points)
        energy = log_density - momentum.square().sum(-1) / 2
        momentum = momentum + step / 2 * _along(gradient, scale_tril)
        for number in range(num_steps):
            points = points + step * _along(momentum, scale_tril.mT)
            log_density, gradient = density(points)
            share = 1.0 if number < num_steps - 1 else 0.5
            momentum = momentum + share * step * _along(gradient, scale_tril)
        self.num_evaluations += len(points) * (num_steps + 1)
        after = log_density - momentum.square().sum(-1) / 2
        return points, (after - energy).nan_to_num(
            nan=-math.inf, posinf=-math.inf, neginf=-math.inf
        )

    def learn(self, log_ratio: Tensor) -> None:
        """Change step sizes towards three accepted paths of four."""
        accepted = log_ratio.exp().clamp(max=1).mean(0)
        factor = (_LEARNING_RATE * (accepted - _WANTED_ACCEPTANCE)).exp()
        self.step = (self.step * factor).clamp(max=_LONGEST_STEP)

    def _uniform(self) -> float:
        device = None if self.generator is None else self.generator.device
        return float(torch.rand((), generator=self.generator, device=device))


def _along(vectors: Tensor, matrix: Tensor) -> Tensor:
    """Multiply vectors (N, B, D) by the matrix (B, D, D) of their data set, from the right."""
    return (vectors.transpose(0, 1) @ matrix).transpose(0, 1)
