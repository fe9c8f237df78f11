"""A second estimate of an answer, which shares nothing with the first but the density."""

from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.adaptive import Rounds, adapt
from pymc_amortized.importance.agreement import Estimate, agree, largest_gap
from pymc_amortized.importance.bridge import Bridged
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.pool import Pool, Proposal
from pymc_amortized.importance.student_mixture import components_for_modes, fit_student_mixture
from pymc_amortized.importance.weights import Weights, weigh
from pymc_amortized.inference.correction.mcmc import thin
from pymc_amortized.inference.correction.particles import Particles
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws, scores_of
from pymc_amortized.inference.draws import ConfirmedBy, McmcDraws

__all__ = ["Confirmation", "Second"]

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
    bridged : Bridged
        Particles, in scores: where modes are, if not how much each holds.
    """

    estimate: Estimate | None
    bridged: Bridged

    @property
    def has_searched(self) -> bool:
        """Whether particles have been wherever the posterior may have mass, though hardly there."""
        return float(self.bridged.memory) <= _LARGEST_TO_SEARCH

    @property
    def arrived(self) -> bool:
        """Whether particles came to the posterior, or were left on the way, farther apart."""
        return float(self.bridged.power) == 1

    def draw(self, num_draws: int, generator: torch.Generator) -> Tensor:
        """Return draws (num_draws, 1, D): of the estimate if there is one, or of the particles."""
        if self.estimate is not None:
            return self.estimate.draw(num_draws, generator)
        particles = self.bridged.points
        options = {"generator": generator, "device": particles.device}
        return particles[torch.randint(len(particles), (num_draws,), **options)]


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
        self.particles = Particles(weighted)
        self.generator = self.particles.generator
        self._last: tuple[int, Second] | None = None

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
        first = self._estimate_of(pool, weights)
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
        scores = self._estimate_of(pool, weights).draw(2 * _DRAWS_OF_EACH, self.generator)
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
        estimates = [self._estimate_of(*x) for x in (one, two)]
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
            self._last = int(at), self._estimate(at, self.particles.send(at))
        return self._last[1]

    def settled(self, at: Tensor) -> Second:
        """Return a second estimate for one data set, of particles that stay where they are."""
        before = self.second(at)
        after = self.particles.settle(at, before.bridged)
        if after is not before.bridged:
            self._last = int(at), self._estimate(at, after)
        return self.second(at)

    def _estimate(self, at: Tensor, found: Bridged) -> Second:
        """Weigh draws of what is fitted to particles at the posterior."""
        if float(found.memory) > _LARGEST_TO_SEARCH:
            return Second(None, found)
        pool, weights = self._weigh_around(at, found)
        estimate = Estimate(pool.points, weights, *log_mean_weight(pool.log_weights))
        usable = bool(self.weighted.rule.accepts(weights) & (found.memory <= _LARGEST_MEMORY))
        return Second(estimate if usable else None, found)

    def _weigh_around(self, at: Tensor, bridged: Bridged) -> tuple[Pool, Weights]:
        """Weigh draws of a mixture fitted to particles (N, 1, D); improve on it if need be.

        With more and more draws only where particles are no draws themselves.
        """
        particles, cycles = bridged.points, 1 if bridged.has_forgotten else 2

        def target(points: Tensor, _: Tensor | None = None) -> tuple[Tensor, Tensor]:
            return self.particles.log_target(points, at), points

        mixture = fit_student_mixture(
            particles,
            torch.zeros_like(particles[..., 0]),
            components_for_modes(particles.shape[-1]),
            num_points=len(particles),
            generator=self.generator,
        )
        points = mixture.sample(_NUM_FIRST, self.generator)
        first = Pool(points, *target(points), (mixture.log_prob(points),), (_NUM_FIRST,))
        rule, weights = self.weighted.rule, weigh(first.log_weights)
        if bool(rule.accepts(weights)):
            return first, weights
        [(_, pool, weights)] = adapt(
            first,
            target,
            Proposal(
                lambda number, _: mixture.draw(number, self.generator),
                lambda points, _: mixture.log_prob(points),
            ),
            rule,
            rule.ess,
            Rounds(_NUM_NEW, cycles, components_for_modes(particles.shape[-1])),
            generator=self.generator,
        )
        return pool, weights

    def _estimate_of(self, pool: Pool, weights: Weights) -> Estimate:
        scores, _ = scores_of(pool.images)
        return Estimate(scores, weights, *log_mean_weight(pool.log_weights))

    def _is_that_of(self, at: Tensor, pool: Pool, weights: Weights, second: Second) -> bool:
        """Tell whether an answer from a pool is what the second estimate says."""
        return bool(agree(self._estimate_of(pool, weights), second.estimate, self.generator))
