"""Weighted draws for one batch of data sets: what the rungs of the ladder share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.data.frames import stack_frames
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.adaptive import Rounds, adapt
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.moves import rejuvenate
from pymc_amortized.importance.pool import Pool, Proposal, Target
from pymc_amortized.importance.student_mixture import (
    StudentMixture,
    components_for_modes,
    fit_student_mixture,
)
from pymc_amortized.importance.weights import Weights, expected_share_distinct, resample
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.watch import Watch

__all__ = ["NUM_PROPOSALS", "Resampled", "WeightedDraws", "moves_for", "scores_of"]

NUM_PROPOSALS = 4_000
_WANTED = 0.75
_NUM_NEW = 2_000
_DRAWS_TO_EXPLAIN = 200
_DISTINCT = 0.8  # share of different draws below which they are moved apart
# Metropolis steps of draws that repeat each other, by the ESS per draw below which they are taken.
_MOVES = ((0.25, 16), (0.75, 8), (2.0, 2))


@dataclass(frozen=True, slots=True, eq=False)
class Resampled:
    """S draws of each of b data sets, all of the same weight.

    Attributes
    ----------
    scores : Tensor, shape (S, b, D)
        The draws.
    log_target, log_q : Tensor, shape (S, b)
        log p(θ, y), and the log density of the network, in nats over scores.
    chosen : Tensor of int64, shape (S, b)
        Where in the pool they were.
    """

    scores: Tensor
    log_target: Tensor
    log_q: Tensor
    chosen: Tensor


class WeightedDraws:
    """Draws, weighs and resamples for a batch of data sets, or for some of them.

    Draws are points (S, b, D) of the space of proposals, for the data sets at ``index`` (b,).

    Parameters
    ----------
    inference : Amortized
        The network and the model.
    datasets : sequence of Dataset
        The batch.
    num_draws : int
        Draws of each data set that are asked for.
    generator : torch.Generator
        Source of randomness.
    rule : AcceptanceRule
        When draws are an answer.
    watch : Watch, optional
        How long all may take.
    """

    def __init__(
        self,
        inference: Amortized,
        datasets: Sequence[Dataset],
        num_draws: int,
        generator: torch.Generator,
        rule: AcceptanceRule,
        watch: Watch | None = None,
    ) -> None:
        self.rule, self.watch = rule, watch or Watch()
        self.inference, self.num_draws, self.generator = inference, num_draws, generator
        self._datasets = tuple(datasets)
        self.frames = stack_frames([d.frames for d in datasets]).to(inference.problem.device)
        smooth = stack_frames([d.smooth for d in datasets]).to(inference.problem.device)
        self.context, summaries = inference.summarize(smooth)
        self.simulation_quantile = inference.simulation_quantile(summaries)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def wanted(self) -> float:
        """Effective sample size at which there is no need of more draws, or better ones."""
        return _WANTED * self.num_draws

    @property
    def rule_for_weights(self) -> AcceptanceRule:
        """When weighted draws are an answer: they cannot be worth more than are asked for."""
        return self.rule.for_draws(self.num_draws)

    def accepted(self, weights: Weights) -> Tensor:
        """Tell for which data sets weighted draws are an answer, (b,)."""
        return self.rule_for_weights.accepts(weights)

    def from_network(self, index: Tensor, num_draws: int) -> Pool:
        """Draw from the network."""
        context, space = self.context[index], self.inference.proposals
        points, log_q = space.draw(context, num_draws, self.generator)
        return Pool(points, *self._evaluate(points, index), (log_q,), (num_draws,))

    def target(self, index: Tensor) -> Target:
        """Return the log density of data sets at positions among ``index``, until time is out.

        Images of points are their scores and log determinants, (S, b, D + 1).
        """

        def evaluate(points: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
            self.watch.check()
            return self._evaluate(points, index[at])

        return evaluate

    def _evaluate(self, points: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        scores, log_det = self.inference.proposals.to_scores(points, self.context[index])
        log_target = self.inference.problem.log_target(scores, self.frames.select(index)) + log_det
        return log_target, torch.cat([scores, log_det.unsqueeze(-1)], dim=-1)

    def network(self, index: Tensor) -> Proposal:
        """Return the network as a proposal for data sets at positions among ``index``."""
        space = self.inference.proposals
        return Proposal(
            lambda number, at: space.draw(self.context[index[at]], number, self.generator),
            lambda points, at: space.log_prob(points, self.context[index[at]]),
        )

    def adapt(
        self,
        index: Tensor,
        pool: Pool,
        mixtures: Sequence[StudentMixture] = (),
        **options: int,
    ) -> Iterator[tuple[Tensor, Pool, Weights]]:
        """Improve on draws of the network, and of mixtures, by :func:`adapt`.

        ``options`` are its cycles, and its number of components.
        """
        return adapt(
            pool,
            self.target(index),
            self.network(index),
            self.rule_for_weights,
            max(self.rule_for_weights.ess, self.wanted),
            Rounds(max(_NUM_NEW, self.num_draws // 2), num_picked=self.num_draws, **options),
            mixtures=mixtures,
            generator=self.generator,
        )

    def adapt_from(
        self, at: Tensor, scores: Tensor, cycles: int = 2
    ) -> tuple[Pool, Weights, tuple[Tensor, Tensor]]:
        """Go on from a mixture fitted to draws (S, 1, D) of one data set, and from the network.

        Returns
        -------
        pool : Pool
            New draws.
        weights : Weights
            Of these.
        over_draws : (Tensor, Tensor)
            Log of the integral over the modes of the draws alone, with its error, (1,).
        """
        context = self.context[at]
        points, _ = self.inference.proposals.from_scores(scores.to(context.device), context)
        equal = torch.zeros_like(points[..., 0])
        number = components_for_modes(points.shape[-1])
        mixture = fit_student_mixture(points, equal, number, generator=self.generator)
        pool = self.from_network(at, NUM_PROPOSALS)
        points, here = mixture.sample(NUM_PROPOSALS, self.generator), torch.zeros_like(at)
        of_target = self.target(at)(points, here)
        of_network = self.network(at).log_prob(points, here)
        pool = pool.with_proposal(points, of_target, [of_network], mixture.log_prob)
        of_mixture = pool.log_proposals[-1][-len(points) :]
        [(_, pool, weights)] = self.adapt(at, pool, [mixture], cycles=cycles, num_components=number)
        return pool, weights, log_mean_weight(of_target[0] - of_mixture)

    def resampled(self, index: Tensor, pool: Pool, weights: Weights, *, apart: bool) -> Resampled:
        """Pick draws by their weights; those that repeat each other may be moved apart."""
        chosen = resample(weights.log_weights, self.num_draws, self.generator)
        points, log_target, images = pool.pick(chosen)
        if apart:
            points, log_target, images = self._move_apart(
                index, weights, (points, log_target, images)
            )
        scores, log_det = scores_of(images)
        log_q = self.inference.proposals.log_prob(points, self.context[index])
        return Resampled(scores, log_target - log_det, log_q - log_det, chosen)

    def _move_apart(
        self, index: Tensor, weights: Weights, picked: tuple[Tensor, Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Move accepted draws apart where many are the same: farther, the fewer they are worth."""
        points, log_target, images = picked
        distinct = expected_share_distinct(weights.log_weights, self.num_draws)
        moved, share = distinct < _DISTINCT, weights.ess / self.num_draws
        moved = moved & self.accepted(weights)
        at_least = 0.0
        for below, num_moves in _MOVES:
            some = moved & (share >= at_least) & (share < below)
            at_least = below
            if not bool(some.any()):
                continue
            found, _ = rejuvenate(
                points[:, some],
                log_target[:, some],
                lambda x, of=index[some]: self._evaluate(x, of)[0],
                num_moves,
                self.generator,
            )
            points[:, some] = found
            log_target[:, some], images[:, some] = self._evaluate(found, index[some])
        return points, log_target, images

    def impossible_places(self, index: Tensor, pool: Pool) -> dict[str, list[int]]:
        """Return where no draw lets a data set be produced: rows, or time points, in words."""
        scores, _ = scores_of(pool.images[:_DRAWS_TO_EXPLAIN])
        problem, frames = self.inference.problem, self.frames.select(index)
        _, parameters, _ = problem.parameters(scores)
        positions = self._datasets[int(index)].positions
        return problem.places(lambda x: torch.isneginf(x).all(0), parameters, frames, positions)

    def evidence(self, pool: Pool) -> tuple[Tensor, Tensor]:
        """Return log p(y), (b,), and its Monte Carlo error, in nats."""
        log_evidence, error = log_mean_weight(pool.log_weights)
        log_mass, log_mass_error = self.inference.problem.log_prior_mass
        return log_evidence - log_mass, (error.square() + log_mass_error**2).sqrt()


def moves_for(ess_per_draw: float) -> int:
    """Return by how many Metropolis steps draws that repeat each other are moved apart."""
    return next((number for below, number in _MOVES if ess_per_draw < below), 0)


def scores_of(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return scores (S, b, D), and log determinants (S, b), of images of points."""
    return images[..., :-1], images[..., -1]
