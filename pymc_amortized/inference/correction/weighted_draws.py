"""Weighted draws for one batch of data sets: what the rungs of the ladder share."""

from collections.abc import Iterator, Sequence

import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.data.frames import stack_frames
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.adaptive import Rounds, adapt
from pymc_amortized.importance.evidence import log_mean_weight
from pymc_amortized.importance.moves import rejuvenate
from pymc_amortized.importance.pool import LogDensity, Pool, Proposal
from pymc_amortized.importance.student_mixture import (
    StudentMixture,
    components_for_modes,
    fit_student_mixture,
)
from pymc_amortized.importance.weights import Weights, resample
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.watch import Watch

__all__ = ["NUM_PROPOSALS", "WeightedDraws", "moves_for"]

NUM_PROPOSALS = 4_000
_WANTED = 0.75
_NUM_NEW = 2_000
_DRAWS_TO_EXPLAIN = 200
# Metropolis steps of draws that repeat each other, by the ESS per draw below which they are taken.
_MOVES = ((0.25, 16), (0.75, 8), (2.0, 2))


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
        points = space.draw(context, num_draws, self.generator)
        log_target = self.inference.log_target_of(points, context, self.frames.select(index))
        return Pool(points, log_target, (space.log_prob(points, context),), (num_draws,))

    def target(self, index: Tensor) -> LogDensity:
        """Return the log density of data sets at positions among ``index``, until time is out."""

        def log_density(points: Tensor, at: Tensor) -> Tensor:
            self.watch.check()
            some = index[at]
            return self.inference.log_target_of(
                points, self.context[some], self.frames.select(some)
            )

        return log_density

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
            Rounds(max(_NUM_NEW, self.num_draws // 2), **options),
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
        log_target = self.target(at)(points, here)
        of_network = self.network(at).log_prob(points, here)
        pool = pool.with_proposal(points, log_target, [of_network], mixture.log_prob)
        of_mixture = pool.log_proposals[-1][-len(points) :]
        [(_, pool, weights)] = self.adapt(at, pool, [mixture], cycles=cycles, num_components=number)
        return pool, weights, log_mean_weight(log_target - of_mixture)

    def resampled(self, pool: Pool, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
        """Return points (S, b, D), their log densities (S, b), and where in the pool they were."""
        chosen = resample(weights.log_weights, self.num_draws, self.generator)
        points = pool.points.gather(0, chosen.unsqueeze(-1).expand(-1, -1, pool.points.shape[-1]))
        return points, pool.log_target.gather(0, chosen), chosen

    def moved_apart(
        self, index: Tensor, weights: Weights, points: Tensor, log_target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move accepted draws apart that repeat each other: farther, the fewer they are worth."""
        points, log_target = points.clone(), log_target.clone()
        accepted, share = self.accepted(weights), weights.ess / self.num_draws
        at_least = 0.0
        for below, num_moves in _MOVES:
            some = accepted & (share >= at_least) & (share < below)
            at_least = below
            if not bool(some.any()):
                continue
            context, frames = self.context[index[some]], self.frames.select(index[some])
            points[:, some], log_target[:, some] = rejuvenate(
                points[:, some],
                log_target[:, some],
                lambda x, c=context, f=frames: self.inference.log_target_of(x, c, f),
                num_moves,
                self.generator,
            )
        return points, log_target

    def impossible_places(self, index: Tensor, pool: Pool) -> dict[str, list[int]]:
        """Return where no draw lets a data set be produced: rows, or time points, in words."""
        few, context = pool.points[:_DRAWS_TO_EXPLAIN], self.context[index]
        problem, frames = self.inference.problem, self.frames.select(index)
        _, parameters, _ = problem.parameters(self.inference.proposals.to_scores(few, context)[0])
        found: dict[str, list[int]] = {}
        for table, places in zip(
            problem.layout.tables, self._datasets[int(index)].positions, strict=True
        ):
            if table.is_sequence:
                emission = problem.exact.log_emission(table.indicator, parameters, frames)
                nowhere = torch.isneginf(emission).all(-1).all(0)[0]
                rows = nowhere.reshape(-1, nowhere.shape[-1]).any(0)
                found[f"{table.name!r} at the time points"] = rows.nonzero()[:, 0].tolist()
                continue
            for name, log_likelihood in problem.exact.by_unit(parameters, frames, table):
                nowhere = torch.isneginf(log_likelihood).all(0)[0].flatten().cpu()
                of_rows = nowhere if table.grouped else nowhere[torch.as_tensor(places)]
                found[f"{name!r} at"] = of_rows.nonzero()[:, 0].tolist()
        return {name: rows for name, rows in found.items() if rows}

    def evidence(self, pool: Pool) -> tuple[Tensor, Tensor]:
        """Return log p(y), (b,), and its Monte Carlo error, in nats."""
        log_evidence, error = log_mean_weight(pool.log_weights)
        log_mass, log_mass_error = self.inference.problem.log_prior_mass
        return log_evidence - log_mass, (error.square() + log_mass_error**2).sqrt()


def moves_for(ess_per_draw: float) -> int:
    """Return by how many Metropolis steps draws that repeat each other are moved apart."""
    return next((number for below, number in _MOVES if ess_per_draw < below), 0)
