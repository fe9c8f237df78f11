"""Particles that move within the modes of a target, and from one to another."""

import math

from collections.abc import Callable
from dataclasses import replace

import torch

from torch import Tensor

from pymc_amortized.importance.moves import HamiltonianMoves, difference_steps
from pymc_amortized.importance.student_mixture import (
    StudentMixture,
    components_for_modes,
    fit_student_mixture,
    stable_cholesky,
)
from pymc_amortized.importance.weights import resample

__all__ = ["WIDTH", "Swap", "Walk", "scale_within"]

Swap = Callable[[Tensor, torch.Generator | None], tuple[Tensor, Tensor]]
"""Takes points (N, B, D) and a generator; returns other points, and log ratios (N, B)."""

WIDTH = 1.5
_MOVES_BETWEEN_LOOKS = 4
_FORGOTTEN = 0.1
_FORGOTTEN_BY_GRADIENT = 0.2
_ON_THE_WAY = 2.0
_MAX_TO_FIT = 2_000
_OWN_VARIANCE = 0.1
_COST_OF_GRADIENT = 3
_MOVES_OF_A_PAIR = 2
_EXCHANGES = 4
_JUMPS_SUFFICE = 0.25
_NOTHING = {"nan": -math.inf, "posinf": -math.inf, "neginf": -math.inf}


class Walk:
    """Particles on a bridge from a wide normal distribution to a target, and how they move.

    Parameters
    ----------
    target : callable
        Takes points (N, B, D), and returns log densities (N, B) in nats.
    gradient : callable or None
        Returns their gradients (N, B, D) too; without it, particles move along differences.
    points : Tensor, shape (N, B, D)
        Draws of the normal distribution, whose standard deviation is ``WIDTH``.
    generator : torch.Generator, optional
        Source of randomness.
    swap : callable, optional
        A move of the target's own: takes points and a generator, and returns other points with the
        log ratio (N, B) that Metropolis steps add to that of densities.

    Attributes
    ----------
    log_target, log_normal : Tensor, shape (N, B)
        Log densities of the particles at both ends.
    num_evaluations : int
        Of the target, for each data set; a gradient counts as three.
    """

    def __init__(
        self,
        target: Callable[[Tensor], Tensor],
        gradient: Callable[[Tensor], tuple[Tensor, Tensor]] | None,
        points: Tensor,
        generator: torch.Generator | None,
        swap: Swap | None = None,
    ) -> None:
        self.target, self.gradient, self.swap = target, gradient, swap
        self.points, self.generator = points, generator
        self.log_target, self.log_normal = self._densities(points)
        self.num_evaluations = len(points)
        self.paths = HamiltonianMoves(points.shape[1], generator)

    def fit(self, points: Tensor, log_weights: Tensor) -> StudentMixture:
        """Return a mixture fitted to weighted points."""
        return fit_student_mixture(
            points,
            log_weights,
            components_for_modes(points.shape[-1]),
            num_points=min(len(points), _MAX_TO_FIT),
            generator=self.generator,
        )

    def resample(self, log_weights: Tensor) -> None:
        """Pick particles in proportion to their weights (N, B)."""
        index = resample(log_weights, len(self.points), self.generator)
        self.points = self.points.gather(0, index.unsqueeze(-1).expand_as(self.points))
        self.log_target = self.log_target.gather(0, index)
        self.log_normal = self.log_normal.gather(0, index)

    def move(self, power: Tensor, mixture: StudentMixture, max_moves: int) -> Tensor:
        """Move until particles have forgotten where they were; return how well they remember."""
        before, memory = self.points, torch.ones_like(power)
        modes = mixture.memberships(before)
        by_gradient = self.gradient is not None
        scale_tril = scale_within(before, modes)
        alike = replace(mixture, scale_tril=scale_tril.unsqueeze(1).expand_as(mixture.scale_tril))
        looks = _MOVES_OF_A_PAIR if by_gradient else _MOVES_BETWEEN_LOOKS
        forgotten = _FORGOTTEN_BY_GRADIENT if by_gradient else _FORGOTTEN
        for number in range(1, max_moves + 1):
            if number % 2:
                jumped = self._jump(power, mixture)
                if self.swap is not None:
                    self._accept(power, *self.swap(self.points, self.generator))
                # In few dimensions jumps that are accepted lead from mode to mode, too.
                if by_gradient or bool((jumped < _JUMPS_SUFFICE).any()):
                    for shape in (mixture, alike) * (_EXCHANGES if by_gradient else 1):
                        self._exchange_modes(power, shape)
            elif by_gradient:
                self._follow(power, scale_tril)
            else:
                proposed = self.points + difference_steps(before, self.generator)
                self._accept(power, proposed, 0.0)
            if number % looks == 0:
                memory = _largest_correlation(before, self.points, modes)
                # On the way, what is still known of the last step is forgotten in the next.
                enough = torch.where(power < 1, _ON_THE_WAY, 1.0) * forgotten
                if bool((memory < enough + 2 / math.sqrt(len(before))).all()):
                    break
        return memory

    def _jump(self, power: Tensor, mixture: StudentMixture) -> Tensor:
        """Move to draws of a mixture; return which share (B,) of the particles has moved."""
        proposed = mixture.sample(len(self.points), self.generator)
        log_ratio = mixture.log_prob(self.points) - mixture.log_prob(proposed)
        return self._accept(power, proposed, log_ratio)

    def _exchange_modes(self, power: Tensor, shape: StudentMixture) -> None:
        """Carry particles over to the same place of another component."""
        proposed, log_ratio = shape.carry_over(self.points, self.generator)
        self._accept(power, proposed, log_ratio)

    def _follow(self, power: Tensor, scale_tril: Tensor) -> None:
        """Move along the gradient."""
        log_target = self.log_target

        def density(points: Tensor) -> tuple[Tensor, Tensor]:
            nonlocal log_target
            log_target, gradient = self.gradient(points)
            total = (1 - power) * _log_normal(points) + power * log_target
            rise = power.unsqueeze(-1) * gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            return total, rise - (1 - power).unsqueeze(-1) * points / WIDTH**2

        spent = self.paths.num_evaluations
        proposed, log_ratio = self.paths.propose(self.points, density, scale_tril)
        self.paths.learn(log_ratio)
        self.num_evaluations += _COST_OF_GRADIENT * (self.paths.num_evaluations - spent)
        # Paths end where the density was asked for last.
        self._replace(proposed, log_target.nan_to_num(**_NOTHING), _log_normal(proposed), log_ratio)

    def _accept(self, power: Tensor, proposed: Tensor, log_proposals: Tensor | float) -> Tensor:
        log_target, log_normal = self._densities(proposed)
        self.num_evaluations += len(proposed)
        gain = (1 - power) * (log_normal - self.log_normal)
        gain = gain + power * (log_target - self.log_target) + log_proposals
        return self._replace(proposed, log_target, log_normal, gain)

    def _replace(
        self, proposed: Tensor, log_target: Tensor, log_normal: Tensor, log_ratio: Tensor
    ) -> Tensor:
        """Move to proposed points with probabilities whose logs are given; return which share."""
        options = {"generator": self.generator, "device": proposed.device}
        accepted = torch.rand(log_ratio.shape, dtype=log_ratio.dtype, **options).log() < log_ratio
        self.points = torch.where(accepted.unsqueeze(-1), proposed, self.points)
        self.log_target = torch.where(accepted, log_target, self.log_target)
        self.log_normal = torch.where(accepted, log_normal, self.log_normal)
        return accepted.double().mean(0)

    def _densities(self, points: Tensor) -> tuple[Tensor, Tensor]:
        return self.target(points).nan_to_num(**_NOTHING), _log_normal(points)


def _log_normal(points: Tensor) -> Tensor:
    return -((points / WIDTH).square() + math.log(2 * math.pi * WIDTH**2)).sum(-1) / 2


def scale_within(points: Tensor, modes: Tensor) -> Tensor:
    """Return the Cholesky factor (B, D, D) of the covariance of points (N, B, D) within modes."""
    centred = _within(points, modes).transpose(0, 1)
    covariance = centred.mT @ centred / len(points)
    own = torch.diag_embed(covariance.diagonal(dim1=-2, dim2=-1))
    return stable_cholesky((1 - _OWN_VARIANCE) * covariance + _OWN_VARIANCE * own)


def _largest_correlation(before: Tensor, after: Tensor, modes: Tensor) -> Tensor:
    """Return the largest correlation (B,) of a coordinate of points (N, B, D), within modes.

    How much each mode holds is right from one step to the next without any point that crosses over.
    """
    one, two = _within(before, modes), _within(after, modes)
    norm = (one.square().sum(0) * two.square().sum(0)).sqrt().clamp(min=1e-300)
    return ((one * two).sum(0) / norm).abs().amax(-1)


def _within(points: Tensor, modes: Tensor) -> Tensor:
    """Return points (N, B, D) less the mean of the modes (B, K, N) that each belonged to."""
    points = points.transpose(0, 1)
    mean = modes @ points / modes.sum(-1, keepdim=True).clamp(min=1e-9)
    return (points - modes.mT @ mean).transpose(0, 1)
