"""From draws of a network to the right answer: a ladder, climbed as far as a data set needs."""

import math
import time

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import InvalidDataError, UnsupportedModelError
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.pool import Pool
from pymc_amortized.importance.weights import Weights, weigh
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.correction.confirmation import Confirmation
from pymc_amortized.inference.correction.mcmc import McmcRung, thin
from pymc_amortized.inference.correction.nuts import MarginalSampler
from pymc_amortized.inference.correction.weighted_draws import NUM_PROPOSALS, WeightedDraws
from pymc_amortized.inference.draws import Correction, Draws, McmcDraws

__all__ = ["Corrector"]

_MAX_PROPOSALS = 128_000
_LONGER = (1, 4)


class Corrector:
    """Draws parameters, as correct as asked for and possible.

    Parameters
    ----------
    inference : Amortized
        The network and the model.
    """

    def __init__(self, inference: Amortized) -> None:
        self.inference = inference
        self.sampler = MarginalSampler(inference.problem)

    def draw(
        self,
        datasets: Sequence[Dataset],
        num_draws: int,
        chains: int,
        correction: Correction,
        generator: torch.Generator,
        rule: AcceptanceRule | None = None,
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
        rule : AcceptanceRule, optional
            When draws are accepted. Default: the usual one.
        """
        weighted = WeightedDraws(
            self.inference, datasets, num_draws, generator, rule or AcceptanceRule()
        )
        climb = _Climb(
            self.inference, weighted, McmcRung(weighted, self.sampler, chains), correction
        )
        climb.run()
        return [climb.answers[i] for i in range(len(datasets))]


class _Climb:
    """The way of one batch of data sets up the ladder."""

    def __init__(
        self,
        inference: Amortized,
        weighted: WeightedDraws,
        mcmc_rung: McmcRung,
        correction: Correction,
    ) -> None:
        self.inference, self.weighted, self.mcmc_rung = inference, weighted, mcmc_rung
        self.num_draws, self.correction = weighted.num_draws, correction
        self.confirmation = Confirmation(weighted)
        self.answers: dict[int, Draws | InvalidDataError] = {}
        self.seconds: dict[int, dict[str, float]] = {i: {} for i in range(len(weighted))}
        self.seconds_inside = 0.0
        self.network_pareto_k = torch.full((len(weighted),), math.nan, dtype=torch.float64)

    def run(self) -> None:
        """Fill ``answers``."""
        everything = torch.arange(len(self.weighted), device=self.weighted.context.device)
        if self.inference.problem.exact is None or self.correction == "none":
            with self._time("network", everything):
                self._keep_network(everything)
            return
        with self._time("importance", everything):
            index, pool, weights = self._weigh_network(everything)
            done = self._ends_here(weights)
            self._keep(index[done], pool.select(done), weights.select(done), "importance")
        index, pool, weights = index[~done], pool.select(~done), weights.select(~done)
        rest = _split_by_data_set(index, pool, weights)
        if len(index) and self.correction != "mcmc":
            with self._time("adaptive", index):
                rest = self._adapt(index, pool)
        for at, found, of_found in rest:
            self._climb_to_mcmc(at, found, of_found)

    @contextmanager
    def _time(self, rung: str, index: Tensor) -> Iterator[None]:
        """Measure seconds per data set, those apart that are measured inside."""
        start, inside = time.perf_counter(), self.seconds_inside
        yield
        whole = time.perf_counter() - start
        each = (whole - (self.seconds_inside - inside)) / max(1, len(index))
        self.seconds_inside = inside + whole
        for i in index.tolist():
            self.seconds[i][rung] = each

    def _ends_here(self, weights: Weights) -> Tensor:
        """Tell for which data sets weighted draws of the network are the answer."""
        if self.correction == "importance" or not self.inference.problem.space.size:
            return torch.ones_like(weights.ess, dtype=torch.bool)
        if self.correction == "auto":
            return self.weighted.accepted(weights) & (weights.ess >= self.weighted.wanted)
        return torch.zeros_like(weights.ess, dtype=torch.bool)

    def _keep_network(self, index: Tensor) -> None:
        weighted, inference = self.weighted, self.inference
        scores, log_q = inference.draw_scores(weighted.context, self.num_draws, weighted.generator)
        log_target = None
        if inference.problem.exact is not None:
            log_target = inference.problem.log_target(scores, weighted.frames)
        for i in index.tolist():
            one = None if log_target is None else log_target[:, i]
            self._answer(i, scores[:, i], one, log_q[:, i], "network", num_distinct=len(scores))

    def _weigh_network(self, index: Tensor) -> tuple[Tensor, Pool, Weights]:
        """Weigh draws of the network; data sets that the model cannot produce are answered so."""
        pool = self.weighted.from_network(index, max(NUM_PROPOSALS, self.num_draws))
        possible = ~torch.isneginf(pool.log_target).all(0)
        for at in (~possible).nonzero():
            places = self.weighted.impossible_places(index[at], pool.select(at))
            self.answers[int(index[at])] = _impossible(len(pool.points), places)
        index, pool = index[possible], pool.select(possible)
        weights = weigh(pool.log_weights)
        self.network_pareto_k[index] = weights.pareto_k
        while self.correction == "importance" and len(pool.points) < _MAX_PROPOSALS:
            enough = weights.ess >= self.num_draws
            if bool((enough | ~self.weighted.rule.relies_on(weights)).all()):
                break
            pool = pool.with_more(self.weighted.from_network(index, len(pool.points)))
            weights = weigh(pool.log_weights)
        return index, pool, weights

    def _adapt(self, index: Tensor, pool: Pool) -> list[tuple[Tensor, Pool, Weights]]:
        """Keep what adaptive importance sampling can answer, and return the rest one by one."""
        rest = []
        for at, found, weights in self.weighted.adapt(index, pool):
            kept = self.weighted.accepted(weights) | (self.correction == "adaptive")
            self._keep(index[at[kept]], found.select(kept), weights.select(kept), "adaptive")
            rest += _split_by_data_set(index[at[~kept]], found.select(~kept), weights.select(~kept))
        return rest

    def _keep(
        self,
        index: Tensor,
        pool: Pool,
        weights: Weights,
        rung: str,
        mcmc: McmcDraws | None = None,
    ) -> None:
        """Answer from weighted draws, of a network or of a mixture fitted to MCMC draws."""
        nothing = weights.ess == 0
        for i in index[nothing].tolist():
            self.answers[i] = _impossible(len(pool.points), {})
        index, pool, weights = index[~nothing], pool.select(~nothing), weights.select(~nothing)
        if not len(index):
            return
        if not self._needs_confirmation():
            self._answer_from(index, pool, weights, rung, "nothing", mcmc)
            return
        for at, of_one, its_weights in _split_by_data_set(index, pool, weights):
            found, word = of_one, "nothing"
            if bool(self.weighted.accepted(its_weights)):
                with self._time("confirmation", at):
                    found, its_weights, word = self.confirmation.settle(at, of_one, its_weights)
            its_rung = rung if found is of_one else "adaptive"
            self._answer_from(at, found, its_weights, its_rung, word, mcmc)

    def _answer_from(
        self,
        index: Tensor,
        pool: Pool,
        weights: Weights,
        rung: str,
        confirmed_by: str,
        mcmc: McmcDraws | None,
    ) -> None:
        """Resample weighted draws, and answer by them."""
        points, log_target, chosen = self.weighted.resampled(pool, weights)
        if rung == "adaptive":
            points, log_target = self.weighted.moved_apart(index, weights, points, log_target)
        accepted = self.weighted.accepted(weights) & (confirmed_by != "neither")
        space, context = self.inference.proposals, self.weighted.context[index]
        scores, log_det = space.to_scores(points, context)
        log_q, log_target = space.log_prob(points, context) - log_det, log_target - log_det
        if not self.inference.estimator.has_density:
            log_q = torch.full_like(log_q, math.nan)  # that of a mixture, not of the network
        log_evidence, error = self.weighted.evidence(pool)
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
                confirmed_by=confirmed_by,
                mcmc=mcmc,
            )

    def _needs_confirmation(self) -> bool:
        """Tell whether a second estimate is asked for, and can be had."""
        asked = self.weighted.rule.confirms(len(self.weighted)) and self.correction == "auto"
        return asked and self.confirmation.is_affordable

    def _climb_to_mcmc(self, at: Tensor, pool: Pool, weights: Weights) -> None:
        """Answer one data set by MCMC chains; by its weighted draws, if they cannot start."""
        i = int(at)
        with self._time("mcmc", at):
            try:
                self._sample(at, pool, weights)
            except UnsupportedModelError:
                if self.correction == "mcmc":
                    raise
                self._keep(at, pool, weights, "adaptive")
        if isinstance(self.answers[i], Draws):
            self.answers[i] = replace(self.answers[i], seconds=self.seconds[i])

    def _sample(self, at: Tensor, pool: Pool, weights: Weights) -> None:
        """Run MCMC chains; longer ones where these do not suffice, nor do their mixtures."""
        mcmc = None
        for longer in _LONGER:
            mcmc = self.mcmc_rung.draw(at, pool, weights, longer, mcmc)
            is_converged = self.weighted.rule.accepts_mcmc(mcmc)
            found, reweighed, missed = self.mcmc_rung.reweighed(mcmc, at)
            usable = bool(self.weighted.accepted(reweighed))
            if is_converged or (usable and self.correction != "mcmc"):
                break
        if usable and (missed or not is_converged):
            self._keep(at, found, reweighed, "adaptive", mcmc)
            return
        log_evidence, error = self.weighted.evidence(found) if usable else (math.nan, math.nan)
        vector = thin(mcmc.vector, self.num_draws).to(self.weighted.context.device)
        scores, log_det = self.inference.problem.space.standardize(vector)
        frames = self.weighted.frames.select(at)
        log_target = self.inference.problem.log_joint(vector.unsqueeze(1), frames)[:, 0] - log_det
        log_q = self.inference.log_network(scores.unsqueeze(1), self.weighted.context[at])[:, 0]
        self._answer(
            int(at),
            scores,
            log_target,
            log_q,
            "mcmc",
            accepted=is_converged and not missed,
            pareto_k=float(weights.pareto_k[0]),
            importance_ess=float(weights.ess[0]),
            num_proposals=len(pool.points),
            num_distinct=_num_distinct(scores, torch.arange(len(scores))),
            log_evidence=float(log_evidence),
            log_evidence_error=float(error),
            mcmc=mcmc,
            diverging=thin(mcmc.diverging, self.num_draws),
        )

    def _answer(
        self,
        i: int,
        scores: Tensor,
        log_target: Tensor | None,
        log_q: Tensor,
        rung: str,
        **known: Any,
    ) -> None:
        """Bring draws (S, D) of data set i, and densities (S,) over scores, to all spaces.

        Densities are over the unconstrained parameters of the user's model.
        """
        known.setdefault("diverging", torch.zeros(len(scores), dtype=torch.bool))
        vector, several, log_det = self.inference.problem.parameters(scores.unsqueeze(1))
        parameters = {name: x[:, 0] for name, x in several.items()}
        log_det = log_det[:, 0] + self.inference.problem.labelling.log_jacobian(parameters)
        self.answers[i] = Draws(
            parameters=parameters,
            vector=vector[:, 0],
            log_joint=None if log_target is None else log_target - log_det,
            log_q=log_q - log_det,
            rung=rung,
            network_pareto_k=float(self.network_pareto_k[i]),
            simulation_quantile=float(self.weighted.simulation_quantile[i]),
            seconds=self.seconds[i],
            **known,
        )


def _split_by_data_set(
    index: Tensor, pool: Pool, weights: Weights
) -> list[tuple[Tensor, Pool, Weights]]:
    every = torch.arange(len(index), device=index.device)
    parts = [every[b : b + 1] for b in range(len(index))]
    return [(index[at], pool.select(at), weights.select(at)) for at in parts]


def _num_distinct(scores: Tensor, chosen: Tensor) -> int:
    """Count different draws (S, D); where there are no parameters, different picks."""
    return int((scores[:, 0] if scores.shape[1] else chosen).unique().numel())


def _impossible(num_draws: int, places: Mapping[str, Sequence[int]]) -> InvalidDataError:
    where = ""
    for what, rows in places.items():
        shown = f"{list(rows[:10])}" + (", and more" if len(rows) > 10 else "")
        where += f" No component or state can produce what was observed of {what} {shown}."
    return InvalidDataError(
        "Expected data that the model can produce; it gives them probability zero under all "
        f"{num_draws:,} draws of the network.{where} Look for impossible values, such as a "
        "negative count, or a value outside of a bounded component:\n\n"
        "    pm.sample_prior_predictive(model=model)"
    )
