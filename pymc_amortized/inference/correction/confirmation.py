"""A second estimate of an answer, which shares nothing with the first but the density."""

import functools

from collections.abc import Callable
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.data.frames import Frames
from pymc_amortized.importance.adaptive import Rounds, adapt
from pymc_amortized.importance.agreement import Estimate, agree, largest_gap
from pymc_amortized.importance.bridge import Bridged, Effort, bridge
from pymc_amortized.importance.pool import Pool, Proposal
from pymc_amortized.importance.student_mixture import components_for_modes, fit_student_mixture
from pymc_amortized.importance.weights import Weights, log_mean_weight, weigh
from pymc_amortized.inference.correction.mcmc import thin
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws
from pymc_amortized.inference.draws import ConfirmedBy, McmcDraws

__all__ = ["SIZE_FOR_GRADIENT", "Confirmation", "Second"]

SIZE_FOR_GRADIENT = 12
_MAX_MOVES = (60, 16)  # without and with a gradient
_NUM_PARTICLES = 1_000
_PARTICLES_BY_GRADIENT = (256, 512, 2_048)
_SWEEPS = 8
_MANY_EVALUATIONS = (150_000, 1_000_000)
_MAX_NUMBERS = 1.5e10
_FEWEST_EVALUATIONS = 10_000
_NUM_FIRST = 4_000
_NUM_NEW = 2_000
_LARGEST_MEMORY = 0.85
_LARGEST_TO_SEARCH = 0.95
_DRAWS_OF_EACH = 2_000
_MASS_MARGIN = 0.02

_Weighted = tuple[Pool, Weights]


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """A second estimate for one data set.

    Attributes
    ----------
    estimate : Estimate or None
        Weighted draws, in scores, where they can be relied on.
    particles : Tensor, shape (N, 1, D)
        Of the bridge, in scores: where modes are, if not how much each holds.
    memory : float
        How well particles remember where they were, from 0 to 1.
    arrived : bool
        Whether they came to the posterior, or were left on the way, farther apart.
    """

    estimate: Estimate | None
    particles: Tensor
    memory: float
    arrived: bool = True

    @property
    def has_searched(self) -> bool:
        """Whether particles have been wherever the posterior may have mass, though hardly there."""
        return self.memory <= _LARGEST_TO_SEARCH

    def draw(self, num_draws: int, generator: torch.Generator) -> Tensor:
        """Return draws (num_draws, 1, D): of the estimate if there is one, or of the particles."""
        if self.estimate is not None:
            return self.estimate.draw(num_draws, generator)
        options = {"generator": generator, "device": self.particles.device}
        return self.particles[torch.randint(len(self.particles), (num_draws,), **options)]


class Confirmation:
    """Estimates the posteriors of a batch of data sets without their network.

    A bridge of particles leads from the prior to the posterior; mixtures fitted to them are drawn
    from, and their draws are weighed. A network that has never seen a mode can lead importance
    sampling past it with the best of weights; particles that come from everywhere, where the data
    count for little yet, find it.

    Parameters
    ----------
    weighted : WeightedDraws
        The batch.
    """

    def __init__(self, weighted: WeightedDraws) -> None:
        self.weighted, self.problem = weighted, weighted.inference.problem
        # Of its own, so that draws that are confirmed are those that would be drawn without.
        seed = weighted.generator.initial_seed()
        self.generator = torch.Generator(weighted.generator.device).manual_seed(seed)
        self._last: tuple[int, Second] | None = None

    @property
    def is_possible(self) -> bool:
        """Whether there is a density, and a bridge takes seconds for a data set, not minutes."""
        if self.problem.exact is None or not self.problem.space.size:
            return False
        return self._max_evaluations >= _FEWEST_EVALUATIONS

    @functools.cached_property
    def _max_evaluations(self) -> float:
        """How often a bridge may ask for the density of a data set."""
        return _MAX_NUMBERS / self.problem.numbers_per_draw(self.weighted.frames)

    def settle(self, at: Tensor, pool: Pool, weights: Weights) -> tuple[Pool, Weights, ConfirmedBy]:
        """Compare the answer for one data set with a second estimate; go on from both if need be.

        Returns
        -------
        pool : Pool
            The same where nothing speaks against it, or new draws.
        weights : Weights
            Of these.
        word : {"nothing", "bridge", "search", "neither"}
            What was found: no second estimate that can be relied on; one that agrees; none, but
            particles that know of nothing that the answer lacks; or one that does not agree.
        """
        second = self.second(at)
        if not second.has_searched:
            return pool, weights, "nothing"
        usable = second.estimate is not None
        if usable and self._is_that_of(at, pool, weights, second):
            return pool, weights, "bridge"
        first = self._estimate_of(at, pool, weights)
        halves = [x.draw(_DRAWS_OF_EACH, self.generator) for x in (first, second)]
        found, of_found, _ = self.weighted.adapt_from(at, torch.cat(halves))
        if not bool(self.weighted.accepted(of_found)):
            return pool, weights, "neither" if usable else "nothing"
        if usable:
            agrees = self._is_that_of(at, found, of_found, second)
            return found, of_found, "bridge" if agrees else "neither"
        if self.agrees(at, (pool, weights), (found, of_found)):
            return pool, weights, "search"
        return self._settle_alone(at, found, of_found)

    def _settle_alone(
        self, at: Tensor, pool: Pool, weights: Weights
    ) -> tuple[Pool, Weights, ConfirmedBy]:
        """Compare an answer, which particles have corrected, with one that begins at itself."""
        scores = self._estimate_of(at, pool, weights).draw(2 * _DRAWS_OF_EACH, self.generator)
        found, of_found, _ = self.weighted.adapt_from(at, scores)
        agrees = self.agrees(at, (pool, weights), (found, of_found))
        return pool, weights, "search" if agrees else "neither"

    def begin_anew(self, at: Tensor) -> _Weighted | None:
        """Return weighted draws of one data set that begin at the second estimate, if any do."""
        second = self.second(at)
        if not second.has_searched:
            return None
        scores = second.draw(2 * _DRAWS_OF_EACH, self.generator)
        pool, weights, _ = self.weighted.adapt_from(at, scores)
        return (pool, weights) if bool(self.weighted.accepted(weights)) else None

    def agrees(self, at: Tensor, one: _Weighted, two: _Weighted) -> bool:
        """Tell whether two answers for one data set, both of good weights, say the same.

        One that begins at the network, for instance, and one at MCMC chains from everywhere.
        """
        if not all(bool(self.weighted.accepted(weights)) for _, weights in (one, two)):
            return False
        estimates = [self._estimate_of(at, *x) for x in (one, two)]
        return bool(agree(*estimates, self.generator))

    def judge_mcmc(self, at: Tensor, mcmc: McmcDraws) -> ConfirmedBy:
        """Say what confirms MCMC chains: the masses of a second estimate, or that they agree.

        Every other chain began at particles of the bridge: at the posterior, or, where they were
        left on the way, farther apart. Particles that arrived but never moved may be all in one
        place.
        """
        second = self.second(at)
        if second.estimate is None:
            return "mcmc" if second.has_searched or not second.arrived else "nothing"
        vector = thin(mcmc.vector, max(1, min(int(mcmc.ess), mcmc.diverging.numel())))
        scores, _ = self.problem.space.standardize(vector.to(self.weighted.context.device))
        weights = weigh(torch.zeros_like(scores[:, :1]))
        unknown = torch.zeros_like(scores[0, :1])
        of_chains = Estimate(scores.unsqueeze(1), weights, unknown, unknown)
        gap = largest_gap(of_chains, second.estimate, self.generator)
        return "bridge" if bool(gap <= _MASS_MARGIN) else "neither"

    def second(self, at: Tensor) -> Second:
        """Return a second estimate for one data set."""
        if self._last is None or self._last[0] != int(at):
            self._last = (int(at), self._estimate(at))
        return self._last[1]

    def _estimate(self, at: Tensor) -> Second:
        """Send particles to the posterior, and weigh draws of what is fitted to them."""
        frames = self.weighted.frames.select(at)

        def target(scores: Tensor) -> Tensor:
            self.weighted.watch.check()
            return self.problem.log_target(scores, frames)

        found = self._send_particles(target, frames)
        memory, arrived = float(found.memory), float(found.power) == 1
        if memory > _LARGEST_TO_SEARCH:
            return Second(None, found.points, memory, arrived)
        pool, weights = self._weigh_around(found.points, target)
        estimate = Estimate(pool.points, weights, *log_mean_weight(pool.log_weights))
        usable = bool(self.weighted.rule.accepts(weights)) and memory <= _LARGEST_MEMORY
        return Second(estimate if usable else None, found.points, memory, arrived)

    def _send_particles(self, target: Callable[[Tensor], Tensor], frames: Frames) -> Bridged:
        def gradient(scores: Tensor) -> tuple[Tensor, Tensor]:
            self.weighted.watch.check()
            return self.problem.log_target_with_gradient(scores, frames)

        size = self.problem.space.size
        large = size >= SIZE_FOR_GRADIENT and self._has_gradient(frames)
        many = sum(self._max_evaluations >= number for number in _MANY_EVALUATIONS)
        return bridge(
            target,
            1,
            size,
            Effort(
                _PARTICLES_BY_GRADIENT[many] if large else _NUM_PARTICLES,
                _MAX_MOVES[large],
                self._max_evaluations,
                _SWEEPS if large else 1,
            ),
            gradient=gradient if large else None,
            generator=self.generator,
            tell=lambda power: self.weighted.watch.tell(
                f"a second estimate from the prior, {power:.0%} of the way"
            ),
        )

    def _weigh_around(
        self, particles: Tensor, target: Callable[[Tensor], Tensor]
    ) -> tuple[Pool, Weights]:
        """Weigh draws of a mixture fitted to particles (N, 1, D); improve on it if need be."""
        mixture = fit_student_mixture(
            particles,
            torch.zeros_like(particles[..., 0]),
            components_for_modes(particles.shape[-1]),
            num_points=len(particles),
            generator=self.generator,
        )
        points = mixture.sample(_NUM_FIRST, self.generator)
        first = Pool(points, target(points), (mixture.log_prob(points),), (_NUM_FIRST,))
        rule, weights = self.weighted.rule, weigh(first.log_weights)
        if bool(rule.accepts(weights)):
            return first, weights
        [(_, pool, weights)] = adapt(
            first,
            lambda points, _: target(points),
            Proposal(
                lambda number, _: mixture.sample(number, self.generator),
                lambda points, _: mixture.log_prob(points),
            ),
            rule,
            rule.ess,
            Rounds(_NUM_NEW, 2, components_for_modes(particles.shape[-1])),
            generator=self.generator,
        )
        return pool, weights

    def _has_gradient(self, frames: Frames) -> bool:
        """Tell whether the density can be differentiated."""
        few = torch.zeros(2, 1, self.problem.space.size, dtype=torch.float64)
        try:
            self.problem.log_target_with_gradient(few.to(self.problem.device), frames)
        except (RuntimeError, NotImplementedError):
            return False
        return True

    def _estimate_of(self, at: Tensor, pool: Pool, weights: Weights) -> Estimate:
        context = self.weighted.context[at]
        scores, _ = self.weighted.inference.proposals.to_scores(pool.points, context)
        return Estimate(scores, weights, *log_mean_weight(pool.log_weights))

    def _is_that_of(self, at: Tensor, pool: Pool, weights: Weights, second: Second) -> bool:
        """Tell whether an answer from a pool is what the second estimate says."""
        return bool(agree(self._estimate_of(at, pool, weights), second.estimate, self.generator))
