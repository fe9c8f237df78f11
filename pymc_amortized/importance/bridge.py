"""A bridge from a wide normal distribution to any target: particles find modes unknown so far."""

import math

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from torch import Tensor

from pymc_amortized.importance.hamiltonian import HamiltonianMoves
from pymc_amortized.importance.moves import difference_steps
from pymc_amortized.importance.student_mixture import (
    StudentMixture,
    components_for_modes,
    fit_student_mixture,
    stable_cholesky,
)
from pymc_amortized.importance.weights import effective_sample_size, resample

__all__ = ["Bridged", "Effort", "bridge"]

_WIDTH = 1.5
_ESS_SHARE = 0.5
_NUM_BISECTIONS = 40
_SMALLEST_STEP = 1e-12
_MOVES_BETWEEN_LOOKS = 4
_FORGOTTEN = 0.1
_FORGOTTEN_BY_GRADIENT = 0.2
_MAX_TO_FIT = 2_000
_OWN_VARIANCE = 0.1
_COST_OF_GRADIENT = 3
_MOVES_OF_A_PAIR = 2
_EXCHANGES = 4
_STUCK = 0.8
_MOST_STUCK = 2


@dataclass(frozen=True, slots=True, eq=False)
class Bridged:
    """Particles at the far end of a bridge.

    Attributes
    ----------
    points : Tensor, shape (N, B, D)
        Draws of the target, as good as the moves were: particles, sweep after sweep.
    log_evidence : Tensor, shape (B,)
        Log of the integral of the target in nats, by the product of all steps.
    power : Tensor, shape (B,)
        How far they came: 1 at the target, below where they were left on the way.
    memory : Tensor, shape (B,)
        Largest correlation of a coordinate before and after the moves of the last step, within
        modes: near 0 where particles have forgotten where they came from; 1 where none had any
        density at first, or they were left on the way.
    num_evaluations : int
        Of the target, for each data set; a gradient counts as three.
    """

    points: Tensor
    log_evidence: Tensor
    power: Tensor
    memory: Tensor
    num_evaluations: int


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is spent on a bridge.

    Attributes
    ----------
    num_particles : int
        N.
    max_moves : int
        Metropolis steps after each step of the bridge.
    max_evaluations : float
        Of the target, for each data set. Particles that have used them up are left where they are,
        and so are those that no gradient moves any more.
    num_sweeps : int
        How often particles are moved at the far end, until they have forgotten, and kept.
    """

    num_particles: int = 1_000
    max_moves: int = 60
    max_evaluations: float = math.inf
    num_sweeps: int = 1


_USUAL = Effort()


def bridge(
    target: Callable[[Tensor], Tensor],
    num_datasets: int,
    size: int,
    effort: Effort = _USUAL,
    *,
    gradient: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    generator: torch.Generator | None = None,
) -> Bridged:
    r"""Send particles from a wide normal distribution to a target, step by step [1]_.

    Between the two lie the distributions

    .. math:: p_\beta(x) \propto N(x \mid 0, s^2 I)^{1 - \beta}\, p(x)^\beta,

    whose steps are as long as half of the particles bear [2]_. The first is wider (s = 1.5) than a
    prior is in normal scores: a mode in its outskirts would have next to nothing until the end, and
    no particle would be left there. After each step particles are resampled, and moved by
    Metropolis steps of three kinds in turn: draws of a mixture of Student t distributions fitted to
    all particles; the same place of another component, which leads from mode to mode in any number
    of dimensions; and, within modes, differences of other particles [3]_, or Hamiltonian paths
    where there is a gradient. They are moved until they have forgotten where in their mode they
    were, or as often as is allowed. Data sets are worked on together, each at its own pace.

    Differences pay in few dimensions, where they also lead from mode to mode; gradients from some
    twelve dimensions on.

    Parameters
    ----------
    target : callable
        Takes points (N, B, D), and returns log densities (N, B) in nats.
    num_datasets, size : int
        B and D.
    effort : Effort
        How many particles, and how far they are moved.
    gradient : callable, optional
        Takes points, and returns log densities (N, B) and their gradients (N, B, D).
    generator : torch.Generator, optional
        Source of randomness.

    References
    ----------
    .. [1] Del Moral, P., Doucet, A. & Jasra, A. (2006). Sequential Monte Carlo samplers. Journal of
       the Royal Statistical Society B 68(3), 411-436.
    .. [2] Jasra, A., et al. (2011). Inference for Lévy-driven stochastic volatility models via
       adaptive sequential Monte Carlo. Scandinavian Journal of Statistics 38(1), 1-22.
    .. [3] ter Braak, C. J. F. & Vrugt, J. A. (2008). Differential evolution Markov chain with
       snooker updater and fewer chains. Statistics and Computing 18, 435-446.

    Examples
    --------
    Two modes with a third and two thirds of an integral of 1.

    >>> def target(x):
    ...     modes = torch.tensor([-2.0, 2.0]).double()
    ...     shares = torch.tensor([1 / 3, 2 / 3]).double()
    ...     squares = (x - modes).square() / 0.02
    ...     return (shares.log() - squares - math.log(0.1 * math.sqrt(2 * math.pi))).logsumexp(-1)
    >>> generator = torch.Generator().manual_seed(1)
    >>> found = bridge(target, 1, 1, generator=generator)
    >>> abs(float((found.points > 0).double().mean()) - 2 / 3) < 0.1
    True
    >>> abs(float(found.log_evidence)) < 0.3
    True
    """
    options = {"generator": generator, "device": None if generator is None else generator.device}
    points = torch.randn(effort.num_particles, num_datasets, size, dtype=torch.float64, **options)
    walk = _Walk(target, gradient, _WIDTH * points, generator)
    nowhere = torch.isneginf(walk.log_target).all(0)
    power = torch.zeros(num_datasets, dtype=torch.float64, device=points.device)
    log_evidence, memory, stuck = (torch.zeros_like(power) for _ in range(3))
    while True:
        left = (stuck >= _MOST_STUCK) | (walk.num_evaluations >= effort.max_evaluations)
        going = (power < 1) & ~left
        if not bool(going.any()):
            break
        further, log_weights = _next_power(walk.log_target - walk.log_normal, power)
        power = torch.where(going, further, power)
        log_weights = torch.where(going, log_weights, 0.0)
        log_evidence = log_evidence + log_weights.logsumexp(0) - math.log(effort.num_particles)
        normalized = log_weights - log_weights.logsumexp(0)
        mixture = walk.fit(walk.points, normalized)
        walk.resample(normalized)
        memory = torch.where(going, walk.move(power, mixture, effort.max_moves), memory)
        if gradient is not None:
            stuck = torch.where(memory > _STUCK, stuck + 1, 0.0)
    sweeps = [walk.points]
    while len(sweeps) < effort.num_sweeps and bool((power == 1).all()) and not bool(nowhere.any()):
        draws = torch.cat(sweeps)
        mixture = walk.fit(draws, torch.zeros_like(draws[..., 0]))
        walk.move(power, mixture, effort.max_moves)
        sweeps.append(walk.points)
    log_evidence = log_evidence.masked_fill(nowhere, -math.inf)
    memory = memory.masked_fill(nowhere | (power < 1), 1.0)
    return Bridged(torch.cat(sweeps), log_evidence, power, memory, walk.num_evaluations)


def _next_power(log_ratio: Tensor, power: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next power (B,), and the log weights (N, B) of the step to it."""
    finite = log_ratio.nan_to_num(nan=-math.inf)
    finite = torch.where(torch.isneginf(finite).all(0), 0.0, finite)
    enough = _ESS_SHARE * len(finite)

    def weights(step: Tensor) -> Tensor:
        return torch.where(torch.isneginf(finite), -math.inf, step * finite)

    def ess(step: Tensor) -> Tensor:
        log_weights = weights(step)
        return effective_sample_size(log_weights - log_weights.logsumexp(0))

    low, high = torch.zeros_like(power), 1 - power
    arrived = ess(high) >= enough
    for _ in range(_NUM_BISECTIONS):
        middle = (low + high) / 2
        bears = ess(middle) >= enough
        low, high = torch.where(bears, middle, low), torch.where(bears, high, middle)
    step = torch.where(arrived, 1 - power, low.clamp(min=_SMALLEST_STEP))
    return torch.where(arrived, torch.ones_like(power), (power + step).clamp(max=1)), weights(step)


class _Walk:
    """Particles, their densities, and how they move."""

    def __init__(
        self,
        target: Callable[[Tensor], Tensor],
        gradient: Callable[[Tensor], tuple[Tensor, Tensor]] | None,
        points: Tensor,
        generator: torch.Generator | None,
    ) -> None:
        self.target, self.gradient = target, gradient
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
        scale_tril = _scale_within(before, modes)
        alike = replace(mixture, scale_tril=scale_tril.unsqueeze(1).expand_as(mixture.scale_tril))
        looks = _MOVES_OF_A_PAIR if by_gradient else _MOVES_BETWEEN_LOOKS
        forgotten = _FORGOTTEN_BY_GRADIENT if by_gradient else _FORGOTTEN
        for number in range(1, max_moves + 1):
            if number % 2:
                self._jump(power, mixture)
                for shape in (mixture, alike) * (_EXCHANGES if by_gradient else 1):
                    self._exchange_modes(power, shape)
            elif by_gradient:
                self._follow(power, scale_tril)
            else:
                proposed = self.points + difference_steps(before, self.generator)
                self._accept(power, proposed, 0.0)
            if number % looks == 0:
                memory = _largest_correlation(before, self.points, modes)
                if bool((memory < forgotten + 2 / math.sqrt(len(before))).all()):
                    break
        return memory

    def _jump(self, power: Tensor, mixture: StudentMixture) -> None:
        proposed = mixture.sample(len(self.points), self.generator)
        self._accept(power, proposed, mixture.log_prob(self.points) - mixture.log_prob(proposed))

    def _exchange_modes(self, power: Tensor, shape: StudentMixture) -> None:
        """Carry particles over to the same place of another component."""
        proposed, log_ratio = shape.carry_over(self.points, self.generator)
        self._accept(power, proposed, log_ratio)

    def _follow(self, power: Tensor, scale_tril: Tensor) -> None:
        """Move along the gradient."""

        def density(points: Tensor) -> tuple[Tensor, Tensor]:
            log_target, gradient = self.gradient(points)
            total = (1 - power) * _log_normal(points) + power * log_target
            rise = power.unsqueeze(-1) * gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
            return total, rise - (1 - power).unsqueeze(-1) * points / _WIDTH**2

        spent = self.paths.num_evaluations
        proposed, log_ratio = self.paths.propose(self.points, density, scale_tril)
        self.paths.learn(log_ratio)
        self.num_evaluations += _COST_OF_GRADIENT * (self.paths.num_evaluations - spent)
        self._replace(proposed, *self._densities(proposed), log_ratio)

    def _accept(self, power: Tensor, proposed: Tensor, log_proposals: Tensor | float) -> None:
        log_target, log_normal = self._densities(proposed)
        self.num_evaluations += len(proposed)
        gain = (1 - power) * (log_normal - self.log_normal)
        gain = gain + power * (log_target - self.log_target) + log_proposals
        self._replace(proposed, log_target, log_normal, gain)

    def _replace(
        self, proposed: Tensor, log_target: Tensor, log_normal: Tensor, log_ratio: Tensor
    ) -> None:
        """Move to proposed points with probabilities whose logs are given."""
        options = {"generator": self.generator, "device": proposed.device}
        accepted = torch.rand(log_ratio.shape, dtype=log_ratio.dtype, **options).log() < log_ratio
        self.points = torch.where(accepted.unsqueeze(-1), proposed, self.points)
        self.log_target = torch.where(accepted, log_target, self.log_target)
        self.log_normal = torch.where(accepted, log_normal, self.log_normal)

    def _densities(self, points: Tensor) -> tuple[Tensor, Tensor]:
        nothing = {"nan": -math.inf, "posinf": -math.inf, "neginf": -math.inf}
        return self.target(points).nan_to_num(**nothing), _log_normal(points)


def _log_normal(points: Tensor) -> Tensor:
    return -((points / _WIDTH).square() + math.log(2 * math.pi * _WIDTH**2)).sum(-1) / 2


def _scale_within(points: Tensor, modes: Tensor) -> Tensor:
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
