"""From draws of a network to the right answer: a ladder, climbed as far as a data set needs."""

import math
import time

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.adaptive import LogDensity, Pool, Proposal, adapt, rejuvenate
from pymc_amortized.datasets import Dataset
from pymc_amortized.draws import Correction, Draws
from pymc_amortized.errors import InvalidDataError, UnsupportedModelError
from pymc_amortized.frames import stack_frames
from pymc_amortized.importance import (
    Weights,
    log_mean_weight,
    resample,
    tempered,
    weigh,
)
from pymc_amortized.inference import Inference
from pymc_amortized.mcmc import ChainDraws, MarginalSampler
from pymc_amortized.student_mixture import StudentMixture, fit_student_mixture

__all__ = ["Corrector"]

_NUM_PROPOSALS = 4_000
_MAX_PROPOSALS = 128_000
_ENOUGH = 400
_WANTED = 0.75
_FEWEST_DRAWS = 250
_SMALL_SHARE = 0.05
_NUM_NEW = 2_000
# Metropolis steps of draws that repeat each other, by the ESS per draw below which they are taken.
_MOVES = ((0.25, 16), (0.75, 8), (2.0, 2))
_ESS_FOR_STARTS = 100.0
_NUM_FOR_SCALE = 1_000
_MIN_CHAINS = 4
_NUM_TUNE = 500
_MAX_RHAT = 1.01
_MAX_DIVERGING = 0.01
_LONGER = (1, 4)


class Corrector:
    """Draws parameters, as correct as asked for and possible.

    Parameters
    ----------
    inference : Inference
        The network and the model.
    """

    def __init__(self, inference: Inference) -> None:
        self.inference = inference
        self.sampler = MarginalSampler(inference.simulator, inference.layout, inference.space)

    def draw(
        self,
        datasets: Sequence[Dataset],
        num_draws: int,
        chains: int,
        correction: Correction,
        generator: torch.Generator,
    ) -> list[Draws | InvalidDataError]:
        """Draw parameters for each of B data sets; an error for those that are impossible.

        Parameters
        ----------
        datasets : sequence of Dataset
            Worked on together, so that memory grows with their number.
        num_draws, chains : int
            S draws of each data set, to be divided into so many chains.
        correction : str
            How far to climb.
        generator : torch.Generator
            Source of randomness.
        """
        climb = _Climb(self, datasets, num_draws, chains, correction, generator)
        climb.run()
        return [climb.answers[i] for i in range(len(datasets))]


class _Climb:
    """The way of one batch of data sets up the ladder."""

    def __init__(
        self,
        corrector: Corrector,
        datasets: Sequence[Dataset],
        num_draws: int,
        chains: int,
        correction: Correction,
        generator: torch.Generator,
    ) -> None:
        self.corrector = corrector
        self.inference = inference = corrector.inference
        self.num_draws, self.chains = num_draws, chains
        self.correction, self.generator = correction, generator
        self.frames = stack_frames([d.frames for d in datasets]).to(inference.device)
        smooth = stack_frames([d.smooth for d in datasets]).to(inference.device)
        self.context, summaries = inference.summarize(smooth)
        self.simulation_quantile = inference.simulation_quantile(summaries)
        self.answers: dict[int, Draws | InvalidDataError] = {}
        self.seconds: dict[int, dict[str, float]] = {i: {} for i in range(len(datasets))}
        self.network_pareto_k = torch.full((len(datasets),), math.nan, dtype=torch.float64)

    def run(self) -> None:
        """Fill ``answers``."""
        everything = torch.arange(len(self.frames), device=self.context.device)
        if self.inference.exact is None or self.correction == "none":
            with self._timed("network", everything):
                self._keep_network(everything)
            return
        with self._timed("importance", everything):
            index, pool, weights = self._weighed_network(everything)
            done = self._ends_here(weights)
            self._keep(index[done], pool.select(done), weights.select(done), "importance")
        index, pool, weights = index[~done], pool.select(~done), weights.select(~done)
        rest = _one_by_one(index, pool, weights)
        if len(index) and self.correction != "mcmc":
            with self._timed("adaptive", index):
                rest = self._adapted(index, pool)
        for at, found, of_found in rest:
            self._climb_to_chains(at, found, of_found)

    @contextmanager
    def _timed(self, rung: str, index: Tensor) -> Iterator[None]:
        """Measure seconds per data set."""
        start = time.perf_counter()
        yield
        each = (time.perf_counter() - start) / max(1, len(index))
        for i in index.tolist():
            self.seconds[i][rung] = each

    def _accepted(self, weights: Weights) -> Tensor:
        return weights.reliable & (weights.ess >= min(_ENOUGH, self.num_draws))

    def _ends_here(self, weights: Weights) -> Tensor:
        """Tell for which data sets weighted draws of the network are the answer."""
        if self.correction == "importance" or not self.inference.space.size:
            return torch.ones_like(weights.reliable)
        if self.correction == "auto":
            return self._accepted(weights) & (weights.ess >= _WANTED * self.num_draws)
        return torch.zeros_like(weights.reliable)

    def _keep_network(self, index: Tensor) -> None:
        scores, log_q = self.inference.draw_scores(self.context, self.num_draws, self.generator)
        log_target = None
        if self.inference.exact is not None:
            log_target = self.inference.log_target(scores, self.frames)
        for i in index.tolist():
            one = None if log_target is None else log_target[:, i]
            self._answer(i, scores[:, i], one, log_q[:, i], "network", num_distinct=len(scores))

    def _weighed_network(self, index: Tensor) -> tuple[Tensor, Pool, Weights]:
        """Weigh draws of the network; data sets that the model cannot produce are answered so."""
        pool = self._network_pool(index, max(_NUM_PROPOSALS, self.num_draws))
        possible = ~torch.isneginf(pool.log_target).all(0)
        for i in index[~possible].tolist():
            self.answers[i] = _impossible(len(pool.points))
        index, pool = index[possible], pool.select(possible)
        weights = weigh(pool.log_weights)
        self.network_pareto_k[index] = weights.pareto_k
        while self.correction == "importance" and len(pool.points) < _MAX_PROPOSALS:
            enough = weights.ess >= self.num_draws
            if bool((enough | ~weights.reliable).all()):
                break
            pool = _more(pool, self._network_pool(index, len(pool.points)))
            weights = weigh(pool.log_weights)
        return index, pool, weights

    def _network_pool(self, index: Tensor, num_draws: int) -> Pool:
        context, space = self.context[index], self.inference.proposals
        points = space.draw(context, num_draws, self.generator)
        log_target = self.inference.log_target_of(points, context, self.frames.select(index))
        return Pool(points, log_target, (space.log_prob(points, context),), (num_draws,))

    def _target(self, index: Tensor) -> LogDensity:
        """Return the log density of data sets at positions among ``index``."""
        return lambda points, at: self.inference.log_target_of(
            points, self.context[index[at]], self.frames.select(index[at])
        )

    def _network(self, index: Tensor) -> Proposal:
        """Return the network as a proposal for data sets at positions among ``index``."""
        space = self.inference.proposals
        return Proposal(
            lambda number, at: space.draw(self.context[index[at]], number, self.generator),
            lambda points, at: space.log_prob(points, self.context[index[at]]),
        )

    def _adapted(self, index: Tensor, pool: Pool) -> list[tuple[Tensor, Pool, Weights]]:
        """Keep what adaptive importance sampling can answer, and return the rest one by one."""
        rest = []
        for at, found, weights in self._search(index, pool):
            kept = self._accepted(weights) | (self.correction == "adaptive")
            self._keep(index[at[kept]], found.select(kept), weights.select(kept), "adaptive")
            rest += _one_by_one(index[at[~kept]], found.select(~kept), weights.select(~kept))
        return rest

    def _search(
        self, index: Tensor, pool: Pool, mixtures: Sequence[StudentMixture] = ()
    ) -> Iterator[tuple[Tensor, Pool, Weights]]:
        enough = min(_ENOUGH, self.num_draws)
        return adapt(
            pool,
            self._target(index),
            self._network(index),
            max(enough, _WANTED * self.num_draws),
            enough,
            num_new=max(_NUM_NEW, self.num_draws // 2),
            mixtures=mixtures,
            generator=self.generator,
        )

    def _keep(
        self,
        index: Tensor,
        pool: Pool,
        weights: Weights,
        rung: str,
        chains: ChainDraws | None = None,
    ) -> None:
        """Answer from weighted draws, of a network or of a mixture fitted to chains."""
        if not len(index):
            return
        chosen = resample(weights.log_weights, self.num_draws, self.generator)  # (S, b)
        points = pool.points.gather(0, chosen.unsqueeze(-1).expand(-1, -1, pool.points.shape[-1]))
        log_target = pool.log_target.gather(0, chosen)
        accepted = self._accepted(weights)
        if rung == "adaptive":
            at_least = 0.0
            for below, num_moves in _MOVES:
                share = weights.ess / self.num_draws
                moved = accepted & (share >= at_least) & (share < below)
                points, log_target = self._apart(index, moved, num_moves, points, log_target)
                at_least = below
        space, context = self.inference.proposals, self.context[index]
        scores, log_det = space.to_scores(points, context)
        log_q, log_target = space.log_prob(points, context) - log_det, log_target - log_det
        log_evidence, error = self._evidence(pool)
        unknown = log_evidence.new_tensor(math.nan)
        log_evidence, error = (torch.where(accepted, x, unknown) for x in (log_evidence, error))
        for b, i in enumerate(index.tolist()):
            self._answer(
                i,
                scores[:, b],
                log_target[:, b],
                log_q[:, b],
                rung,
                accepted=bool(accepted[b]),
                pareto_k=float(weights.pareto_k[b]),
                importance_ess=float(weights.ess[b]),
                num_proposals=len(pool.points),
                num_distinct=_num_distinct(scores[:, b], chosen[:, b]),
                log_evidence=float(log_evidence[b]),
                log_evidence_error=float(error[b]),
                chains=chains,
            )

    def _apart(
        self, index: Tensor, poor: Tensor, num_moves: int, points: Tensor, log_target: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Move draws apart in the data sets where they repeat each other."""
        if not bool(poor.any()):
            return points, log_target
        context, frames = self.context[index[poor]], self.frames.select(index[poor])
        moved, log_moved = rejuvenate(
            points[:, poor],
            log_target[:, poor],
            lambda proposed: self.inference.log_target_of(proposed, context, frames),
            num_moves,
            self.generator,
        )
        points, log_target = points.clone(), log_target.clone()
        points[:, poor], log_target[:, poor] = moved, log_moved
        return points, log_target

    def _evidence(self, pool: Pool) -> tuple[Tensor, Tensor]:
        log_evidence, error = log_mean_weight(pool.log_weights)
        log_mass, log_mass_error = self.inference.log_prior_mass
        return log_evidence - log_mass, (error.square() + log_mass_error**2).sqrt()

    def _climb_to_chains(self, at: Tensor, pool: Pool, weights: Weights) -> None:
        """Answer one data set by Markov chains; by its weighted draws, if they cannot start."""
        i = int(at)
        with self._timed("mcmc", at):
            try:
                self._sample(at, pool, weights)
            except UnsupportedModelError:
                if self.correction == "mcmc":
                    raise
                self._keep(at, pool, weights, "adaptive")
        self.answers[i] = replace(self.answers[i], seconds=self.seconds[i])

    def _sample(self, at: Tensor, pool: Pool, weights: Weights) -> None:
        """Run chains, longer ones where these are not enough, and neither is what they show."""
        chains = None
        for longer in _LONGER:
            chains = self._chains(at, pool, weights, longer, chains)
            converged = _converged(chains)
            found, reweighed, missed = self._reweighed(chains, at)
            usable = bool(self._accepted(reweighed))
            if converged or (usable and self.correction != "mcmc"):
                break
        if usable and (missed or not converged):
            self._keep(at, found, reweighed, "adaptive", chains)
            return
        log_evidence, error = self._evidence(found) if usable else (math.nan, math.nan)
        vector = _thinned(chains.vector, self.num_draws).to(self.context.device)
        scores, log_det = self.inference.space.standardize(vector)
        frames = self.frames.select(at)
        log_target = self.inference.log_joint(vector.unsqueeze(1), frames)[:, 0] - log_det
        log_q = self.inference.log_network(scores.unsqueeze(1), self.context[at])[:, 0]
        self._answer(
            int(at),
            scores,
            log_target,
            log_q,
            "mcmc",
            accepted=converged and not missed,
            pareto_k=float(weights.pareto_k[0]),
            importance_ess=float(weights.ess[0]),
            num_proposals=len(pool.points),
            num_distinct=_num_distinct(scores, torch.arange(len(scores))),
            log_evidence=float(log_evidence),
            log_evidence_error=float(error),
            chains=chains,
            diverging=_thinned(chains.diverging.unsqueeze(-1), self.num_draws)[:, 0],
        )

    def _chains(
        self, at: Tensor, pool: Pool, weights: Weights, longer: int, before: ChainDraws | None
    ) -> ChainDraws:
        """Run chains from weighted draws; with the time of compilation of those before."""
        inference, num_chains = self.inference, max(_MIN_CHAINS, self.chains)
        usable = tempered(weights.log_weights, _ESS_FOR_STARTS)[:, 0]
        picked = pool.points[resample(usable, _NUM_FOR_SCALE, self.generator), 0]
        scores, _ = inference.proposals.to_scores(picked.unsqueeze(1), self.context[at])
        vector, _ = inference.space.unstandardize(scores[:, 0])
        centred = vector - vector.mean(0)
        covariance = centred.T @ centred / len(vector)
        smallest = 1e-8 * covariance.diagonal().amax() + 1e-12
        covariance = covariance + smallest * torch.eye(len(covariance)).to(covariance)
        draws = max(_FEWEST_DRAWS, math.ceil(self.num_draws / num_chains))
        chains = self.corrector.sampler.sample(
            self.frames.select(at),
            vector[:num_chains],
            vector.mean(0),
            torch.linalg.cholesky(covariance),
            draws=longer * draws,
            tune=longer * _NUM_TUNE,
            random_seed=int(torch.randint(2**31 - 1, (), generator=self.generator)),
        )
        spent = 0.0 if before is None else before.compile_seconds
        return replace(chains, compile_seconds=spent + chains.compile_seconds)

    def _reweighed(self, chains: ChainDraws, at: Tensor) -> tuple[Pool, Weights, bool]:
        """Go on with importance sampling from a mixture fitted to chains, and from the network.

        Chains that are stuck in modes know where these are, and weights how much each holds. Where
        the network knows of others, the integral is larger than over the modes of the chains.
        """
        scores, _ = self.inference.space.standardize(chains.vector.flatten(0, 1))
        scores = scores.unsqueeze(1).to(self.context.device)
        points, _ = self.inference.proposals.from_scores(scores, self.context[at])
        equal = torch.zeros_like(points[..., 0])
        mixture = fit_student_mixture(points, equal, generator=self.generator)
        network, first = self._network_pool(at, _NUM_PROPOSALS), self._network(at)
        points = mixture.sample(_NUM_PROPOSALS, self.generator)
        here = torch.zeros_like(at)
        log_target = self._target(at)(points, here)
        of_chains = Pool(points, log_target, (mixture.log_prob(points),), (len(points),))
        pool = Pool(
            torch.cat([network.points, points]),
            torch.cat([network.log_target, log_target]),
            (
                torch.cat([network.log_proposals[0], first.log_prob(points, here)]),
                torch.cat([mixture.log_prob(network.points), of_chains.log_proposals[0]]),
            ),
            (len(network.points), len(points)),
        )
        [(_, pool, weights)] = self._search(at, pool, [mixture])
        everything, error = log_mean_weight(pool.log_weights)
        over_chains, other = log_mean_weight(of_chains.log_weights)
        margin = _SMALL_SHARE + 4 * float((error.square() + other.square()).sqrt())
        return pool, weights, float(everything - over_chains) > margin

    def _answer(
        self,
        i: int,
        scores: Tensor,
        log_target: Tensor | None,
        log_q: Tensor,
        rung: str,
        **known: Any,
    ) -> None:
        """Bring draws (S, D) of data set i, and densities (S,) over scores, to all spaces."""
        known.setdefault("diverging", torch.zeros(len(scores), dtype=torch.bool))
        vector, parameters, log_det = self.inference.parameters(scores.unsqueeze(1))
        self.answers[i] = Draws(
            parameters={name: x[:, 0] for name, x in parameters.items()},
            vector=vector[:, 0],
            log_joint=None if log_target is None else log_target - log_det[:, 0],
            log_q=log_q - log_det[:, 0],
            rung=rung,
            network_pareto_k=float(self.network_pareto_k[i]),
            simulation_quantile=float(self.simulation_quantile[i]),
            seconds=self.seconds[i],
            **known,
        )


def _converged(chains: ChainDraws) -> bool:
    num_draws = chains.diverging.numel()
    return (
        chains.rhat <= _MAX_RHAT
        and chains.ess >= min(_ENOUGH, num_draws / 2)
        and float(chains.diverging.double().mean()) <= _MAX_DIVERGING
    )


def _one_by_one(index: Tensor, pool: Pool, weights: Weights) -> list[tuple[Tensor, Pool, Weights]]:
    every = torch.arange(len(index), device=index.device)
    parts = [every[b : b + 1] for b in range(len(index))]
    return [(index[at], pool.select(at), weights.select(at)) for at in parts]


def _thinned(vector: Tensor, num_draws: int) -> Tensor:
    """Return so many draws (S, D) of chains (chains, draws, D), chain after chain, far apart."""
    num_chains, length = vector.shape[:2]
    each = math.ceil(num_draws / num_chains)
    places = (torch.arange(each, device=vector.device) * (length / each)).long()
    return vector[:, places].flatten(0, 1)[:num_draws]


def _more(first: Pool, second: Pool) -> Pool:
    """Put draws of the same proposal together."""
    return Pool(
        torch.cat([first.points, second.points]),
        torch.cat([first.log_target, second.log_target]),
        (torch.cat([first.log_proposals[0], second.log_proposals[0]]),),
        (first.counts[0] + second.counts[0],),
    )


def _num_distinct(scores: Tensor, chosen: Tensor) -> int:
    """Count different draws (S, D); where there are no parameters, different picks."""
    return int((scores[:, 0] if scores.shape[1] else chosen).unique().numel())


def _impossible(num_draws: int) -> InvalidDataError:
    return InvalidDataError(
        "Expected data that the model can produce; it gives them probability zero under all "
        f"{num_draws:,} draws of the network. Look for impossible values, such as a negative "
        "count, or a value outside of a bounded component:\n\n"
        "    pm.sample_prior_predictive(model=model)"
    )
