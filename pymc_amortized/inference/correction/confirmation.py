"""A second estimate of an answer, which shares nothing with the first but the density."""

from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.importance.agreement import Estimate, agree
from pymc_amortized.importance.bridge import bridge
from pymc_amortized.importance.pool import Pool
from pymc_amortized.importance.student_mixture import fit_student_mixture
from pymc_amortized.importance.weights import Weights, log_mean_weight, weigh
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws

__all__ = ["Confirmation", "Second"]

_NUM_PARTICLES = 1_000
_MAX_MOVES = 60
_MOVES_EXPECTED = 200
_MAX_NUMBERS = 2.5e9
_NUM_NEW = 8_000
_NUM_COMPONENTS = 6
_LARGEST_MEMORY = 0.85
_DRAWS_OF_SECOND = 4_000


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """A second estimate for some data sets.

    Attributes
    ----------
    estimate : Estimate
        Weighted draws, in scores.
    usable : Tensor of bool, shape (b,)
        Whether it can be relied on itself.
    """

    estimate: Estimate
    usable: Tensor


class Confirmation:
    """Estimates the posteriors of a batch of data sets without their network.

    A bridge of particles leads from the prior to the posterior; a mixture fitted to them is drawn
    from, and its draws are weighed. A network that has never seen a mode can lead importance
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

    @property
    def is_affordable(self) -> bool:
        """Whether a bridge for one data set takes seconds rather than minutes."""
        spec = self.problem.spec
        entries = sum(table.num_rows for table in self.problem.layout.tables)
        components = max([i.num_components for i in spec.indicators], default=1)
        entries *= components**2 if spec.structure == "sequence" else components
        numbers = _NUM_PARTICLES * _MOVES_EXPECTED * (entries + 10 * self.problem.space.size)
        return self.problem.space.size > 0 and numbers <= _MAX_NUMBERS

    def settle(self, at: Tensor, pool: Pool, weights: Weights) -> tuple[Pool, Weights, str]:
        """Compare the answer for one data set with a second estimate; go on from both if need be.

        Returns
        -------
        pool : Pool
            The same where nothing speaks against it, or new draws.
        weights : Weights
            Of these.
        word : {"nothing", "bridge", "neither"}
            What the second estimate says of them.
        """
        second = self.estimate(at)
        if not bool(second.usable):
            return pool, weights, "nothing"
        if bool(self.agrees(at, pool, weights, second)):
            return pool, weights, "bridge"
        scores = second.estimate.draw(_DRAWS_OF_SECOND, self.generator)
        pool, weights, _ = self.weighted.adapt_from(at, scores)
        agrees = self.agrees(at, pool, weights, second) & self.weighted.accepted(weights)
        return pool, weights, "bridge" if bool(agrees) else "neither"

    def estimate(self, index: Tensor) -> Second:
        """Return a second estimate for data sets at ``index`` (b,)."""
        frames, generator = self.weighted.frames.select(index), self.generator

        def target(scores: Tensor) -> Tensor:
            return self.problem.log_target(scores, frames)

        found = bridge(
            target,
            len(index),
            self.problem.space.size,
            num_particles=_NUM_PARTICLES,
            max_moves=_MAX_MOVES,
            generator=generator,
        )
        log_weights, points = torch.zeros_like(found.points[..., 0]), found.points
        for number in (_NUM_NEW // 2, _NUM_NEW):
            mixture = fit_student_mixture(
                points, log_weights, _NUM_COMPONENTS, num_points=2_000, generator=generator
            )
            points = mixture.sample(number, generator)
            raw = target(points) - mixture.log_prob(points)
            weights = weigh(raw)
            log_weights = weights.log_weights.nan_to_num(neginf=-1e6)
        rule = self.weighted.rule
        usable = rule.relies_on(weights) & (weights.ess >= min(rule.ess, _NUM_NEW / 20))
        usable &= found.memory <= _LARGEST_MEMORY
        return Second(Estimate(points, weights, *log_mean_weight(raw)), usable)

    def agrees(self, index: Tensor, pool: Pool, weights: Weights, second: Second) -> Tensor:
        """Tell for which data sets (b,) an answer from a pool is what the second estimate says."""
        context = self.weighted.context[index]
        scores, _ = self.weighted.inference.proposals.to_scores(pool.points, context)
        one = Estimate(scores, weights, *log_mean_weight(pool.log_weights))
        return agree(one, second.estimate, self.generator)
