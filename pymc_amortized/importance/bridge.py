"""A bridge from a wide normal distribution to any target: particles find modes unknown so far."""

import math

from collections.abc import Callable
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.walk import WIDTH, Swap, Walk
from pymc_amortized.importance.weights import effective_sample_size

__all__ = ["Bridged", "Effort", "bridge"]

_NUM_BISECTIONS = 40
_SMALLEST_STEP = 1e-12
_SHARE_WITH_SWEEPS = 1.5
_LONGER = 2.0
_STUCK = 0.8
_MOST_STUCK = 2
_LARGEST_MEMORY_OF_DRAWS = 0.5


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

    @property
    def has_forgotten(self) -> bool:
        """Whether particles of all targets have arrived, and are draws, each of its own."""
        return bool(((self.power == 1) & (self.memory <= _LARGEST_MEMORY_OF_DRAWS)).all())

    @property
    def worth(self) -> Tensor:
        """How many independent draws particles are, (B,): chains whose correlation is known."""
        return len(self.points) * (1 - self.memory) / (1 + self.memory)


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
        unless at their pace they arrive within twice as many; and so are those that no gradient
        moves any more.
    num_sweeps : int
        How often particles are moved at the far end, until they have forgotten, and kept; as long
        as half as many evaluations more allow.
    ess_share : float
        Share of the particles that a step of the bridge leaves worth something: the smaller, the
        fewer steps.
    """

    num_particles: int = 1_000
    max_moves: int = 60
    max_evaluations: float = math.inf
    num_sweeps: int = 1
    ess_share: float = 0.5

    def is_exceeded_by(self, spent: float, expected: Tensor) -> Tensor:
        """Tell whose evaluations, spent so far and expected until the end (B,), are too many."""
        return (spent >= self.max_evaluations) & (
            expected.clamp(min=spent) > _LONGER * self.max_evaluations
        )


_USUAL = Effort()


def bridge(
    target: Callable[[Tensor], Tensor],
    num_datasets: int,
    size: int,
    effort: Effort = _USUAL,
    *,
    gradient: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None,
    swap: Swap | None = None,
    generator: torch.Generator | None = None,
    tell: Callable[[float], None] | None = None,
) -> Bridged:
    r"""Send particles from a wide normal distribution to a target, step by step [1]_.

    Between the two lie the distributions

    .. math:: p_\beta(x) \propto N(x \mid 0, s^2 I)^{1 - \beta}\, p(x)^\beta,

    whose steps are as long as a share of the particles bears [2]_. The first is wider (s = 1.5)
    than a prior is in normal scores: a mode in its outskirts would have next to nothing until the
    end, and no particle would be left there. After each step particles are resampled, and moved by
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
    swap : callable, optional
        One more kind of Metropolis step, of the target's own: see :class:`Walk`.
    generator : torch.Generator, optional
        Source of randomness.
    tell : callable, optional
        Takes the least power that is reached, after each step.

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
    walk = Walk(target, gradient, WIDTH * points, generator, swap)
    nowhere = torch.isneginf(walk.log_target).all(0)
    power = torch.zeros(num_datasets, dtype=torch.float64, device=points.device)
    log_evidence, memory, stuck = (torch.zeros_like(power) for _ in range(3))
    expected = torch.zeros_like(power)
    while True:
        left = (stuck >= _MOST_STUCK) | effort.is_exceeded_by(walk.num_evaluations, expected)
        going = (power < 1) & ~left
        if not bool(going.any()):
            break
        before, spent = power, walk.num_evaluations
        further, log_weights = _next_power(
            walk.log_target - walk.log_normal, power, effort.ess_share
        )
        power = torch.where(going, further, power)
        log_weights = torch.where(going, log_weights, 0.0)
        log_evidence = log_evidence + log_weights.logsumexp(0) - math.log(effort.num_particles)
        normalized = log_weights - log_weights.logsumexp(0)
        mixture = walk.fit(walk.points, normalized)
        walk.resample(normalized)
        memory = torch.where(going, walk.move(power, mixture, effort.max_moves), memory)
        steps_left = -power.log() / (power / before).log()
        expected = walk.num_evaluations + steps_left * (walk.num_evaluations - spent)
        if tell is not None:
            tell(float(power.amin()))
        if gradient is not None:
            stuck = torch.where(memory > _STUCK, stuck + 1, 0.0)
    sweeps, arrived = [walk.points], bool(((power == 1) & ~nowhere).all())
    most = _SHARE_WITH_SWEEPS * max(effort.max_evaluations, walk.num_evaluations)
    while arrived and len(sweeps) < effort.num_sweeps and walk.num_evaluations < most:
        draws = torch.cat(sweeps)
        mixture = walk.fit(draws, torch.zeros_like(draws[..., 0]))
        walk.move(power, mixture, effort.max_moves)
        sweeps.append(walk.points)
    log_evidence = log_evidence.masked_fill(nowhere, -math.inf)
    memory = memory.masked_fill(nowhere | (power < 1), 1.0)
    return Bridged(torch.cat(sweeps), log_evidence, power, memory, walk.num_evaluations)


def _next_power(log_ratio: Tensor, power: Tensor, ess_share: float) -> tuple[Tensor, Tensor]:
    """Return the next power (B,), and the log weights (N, B) of the step to it."""
    finite = log_ratio.nan_to_num(nan=-math.inf)
    finite = torch.where(torch.isneginf(finite).all(0), 0.0, finite)
    enough = ess_share * len(finite)

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
