"""The last step of a correction: from draws in the space of proposals to answers."""

import math
import time

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.errors import InvalidDataError
from pymc_amortized.importance.pool import Pool
from pymc_amortized.importance.weights import Weights
from pymc_amortized.inference.correction.mcmc import thin
from pymc_amortized.inference.correction.weighted_draws import WeightedDraws
from pymc_amortized.inference.draws import ConfirmedBy, Draws, McmcDraws, StoppedBy
from pymc_amortized.inference.typicality import LARGEST_TYPICAL

__all__ = ["Finish"]

_DOING = {
    "network": "draws of the network",
    "importance": "importance sampling",
    "adaptive": "adaptive importance sampling",
    "confirmation": "a second estimate from the prior",
    "smc": "two populations of particles from the prior",
    "mcmc": "MCMC chains",
}


class Finish:
    """Keeps the answers of a batch of data sets, and what each cost.

    Parameters
    ----------
    weighted : WeightedDraws
        The batch.
    confirms : bool
        Whether an answer is accepted only if something confirms it.

    Attributes
    ----------
    answers : dict of int to Draws or InvalidDataError
        Those that are done, by the place of the data set in the batch.
    network_pareto_k : Tensor, shape (B,)
        Of the network's own draws, once they are weighed.
    stopped_by : {"nothing", "max_time", "interrupt"}
        Why answers from now on are not what a longer climb would give.
    """

    def __init__(self, weighted: WeightedDraws, *, confirms: bool) -> None:
        self.weighted, self.inference = weighted, weighted.inference
        self.confirms = confirms
        self.answers: dict[int, Draws | InvalidDataError] = {}
        self.seconds: dict[int, dict[str, float]] = {i: {} for i in range(len(weighted))}
        self.network_pareto_k = torch.full((len(weighted),), math.nan, dtype=torch.float64)
        self.stopped_by: StoppedBy = "nothing"
        self._seconds_inside = 0.0

    @contextmanager
    def time(self, rung: str, index: Tensor) -> Iterator[None]:
        """Say what is begun, and measure its seconds per data set, those inside of it apart."""
        self.weighted.watch.tell(_DOING[rung])
        start, inside = time.perf_counter(), self._seconds_inside
        try:
            yield
        finally:
            whole = time.perf_counter() - start
            each = (whole - (self._seconds_inside - inside)) / max(1, len(index))
            self._seconds_inside = inside + whole
            for i in index.tolist():
                self.seconds[i][rung] = self.seconds[i].get(rung, 0.0) + each

    def from_network(self, index: Tensor) -> None:
        """Answer by draws of the network as they are."""
        weighted, inference = self.weighted, self.inference
        num_draws = weighted.num_draws
        scores, log_q = inference.draw_scores(weighted.context, num_draws, weighted.generator)
        log_target = None
        if inference.problem.exact is not None:
            log_target = inference.problem.log_target(scores, weighted.frames)
        for i in index.tolist():
            one = None if log_target is None else log_target[:, i]
            self._answer(i, scores[:, i], one, log_q[:, i], "network", num_distinct=num_draws)

    def impossible(
        self, index: Tensor, num_draws: int, places: Mapping[str, Sequence[int]]
    ) -> None:
        """Answer that the model cannot produce these data."""
        for i in index.tolist():
            self.answers[i] = _impossible(
                num_draws, places, is_trained=self.inference.estimator.is_trained
            )

    def from_weighted(
        self,
        index: Tensor,
        pool: Pool,
        weights: Weights,
        rung: str,
        confirmed_by: ConfirmedBy,
        mcmc: McmcDraws | None = None,
    ) -> None:
        """Resample weighted draws, and answer by them."""
        draws = self.weighted.resampled(index, pool, weights, apart=rung == "adaptive")
        accepted, log_q = self.weighted.accepted(weights), draws.log_q
        accepted = accepted & self._is_settled(confirmed_by)
        if not self.inference.estimator.has_density:
            log_q = torch.full_like(log_q, math.nan)  # that of a mixture, not of the network
        log_evidence, error = self.weighted.evidence(pool)
        unknown = log_evidence.new_tensor(math.nan)
        log_evidence, error = (torch.where(accepted, x, unknown) for x in (log_evidence, error))
        for b, i in enumerate(index.tolist()):
            self._answer(
                i,
                draws.scores[:, b],
                draws.log_target[:, b],
                log_q[:, b],
                rung,
                accepted=bool(accepted[b]),
                pareto_k=float(weights.pareto_k[b]),
                importance_ess=float(weights.ess[b]),
                num_proposals=len(pool.points),
                num_distinct=_num_distinct(draws.scores[:, b], draws.chosen[:, b]),
                log_evidence=float(log_evidence[b]),
                log_evidence_error=float(error[b]),
                confirmed_by=self._word_for(i, confirmed_by, rung, bool(accepted[b])),
                mcmc=mcmc,
            )

    def _word_for(self, i: int, word: ConfirmedBy, rung: str, accepted: bool) -> ConfirmedBy:
        """Say what confirms weighted draws: simulations, if nothing else was asked."""
        coverage = self.inference.coverage
        covered = coverage is not None and coverage.is_shown
        typical = float(self.weighted.simulation_quantile[i]) <= LARGEST_TYPICAL
        by_network = rung == "importance" and word == "nothing"
        return "simulations" if accepted and by_network and covered and typical else word

    def is_proven(self, index: Tensor) -> Tensor:
        """Tell which data sets, accepted by the network's own weights, need no second estimate.

        Those amid simulations, of many of which the network has missed hardly anything.
        """
        coverage, quantile = self.inference.coverage, self.weighted.simulation_quantile
        if coverage is None or not coverage.is_proven:
            return torch.zeros_like(index, dtype=torch.bool)
        return quantile[index.to(quantile.device)].to(index.device) <= LARGEST_TYPICAL

    def from_chains(
        self,
        at: Tensor,
        pool: Pool,
        weights: Weights,
        mcmc: McmcDraws,
        log_evidence: tuple[Tensor, Tensor] | None,
        *,
        confirmed_by: ConfirmedBy,
        accepted: bool = True,
        rung: str = "mcmc",
    ) -> None:
        """Answer one data set by draws of chains; weights are those of the rung before."""
        num_draws, problem = self.weighted.num_draws, self.inference.problem
        vector = thin(mcmc.vector, num_draws).to(self.weighted.context.device)
        scores, log_det = problem.space.standardize(vector)
        frames = self.weighted.frames.select(at)
        log_target = problem.log_joint(vector.unsqueeze(1), frames)[:, 0] - log_det
        log_q = self.inference.log_network(scores.unsqueeze(1), self.weighted.context[at])[:, 0]
        evidence, error = (math.nan, math.nan) if log_evidence is None else log_evidence
        self._answer(
            int(at),
            scores,
            log_target,
            log_q,
            rung,
            accepted=accepted and self._is_settled(confirmed_by),
            pareto_k=float(weights.pareto_k[0]),
            importance_ess=float(weights.ess[0]),
            num_proposals=len(pool.points),
            num_distinct=_num_distinct(scores, torch.arange(len(scores))),
            log_evidence=float(evidence),
            log_evidence_error=float(error),
            confirmed_by=confirmed_by,
            mcmc=mcmc,
            diverging=thin(mcmc.diverging, num_draws),
        )

    def _is_settled(self, confirmed_by: ConfirmedBy) -> bool:
        return confirmed_by != "neither" and not (self.confirms and confirmed_by == "nothing")

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
        problem = self.inference.problem
        vector, several, log_det = problem.parameters(scores.unsqueeze(1))
        parameters = {name: x[:, 0] for name, x in several.items()}
        log_det = log_det[:, 0] + problem.labelling.log_jacobian(parameters)
        self.answers[i] = Draws(
            parameters=parameters,
            vector=vector[:, 0],
            log_joint=None if log_target is None else log_target - log_det,
            log_q=log_q - log_det,
            rung=rung,
            network_pareto_k=float(self.network_pareto_k[i]),
            simulation_quantile=float(self.weighted.simulation_quantile[i]),
            seconds=self.seconds[i],
            stopped_by=self.stopped_by,
            is_trained=self.inference.estimator.is_trained,
            by_learned=bool(problem.spec.learned),
            **known,
        )


def _num_distinct(scores: Tensor, chosen: Tensor) -> int:
    """Count different draws (S, D); where there are no parameters, different picks."""
    return int((scores[:, 0] if scores.shape[1] else chosen).unique().numel())


def _impossible(
    num_draws: int, places: Mapping[str, Sequence[int]], *, is_trained: bool
) -> InvalidDataError:
    where, source, trained = "", "the network", ""
    if not is_trained:
        source, trained = "the prior", " Or train a network, which draws nearer to data."
    for what, rows in places.items():
        shown = f"{list(rows[:10])}" + (", and more" if len(rows) > 10 else "")
        where += f" No component or state can produce what was observed of {what} {shown}."
    return InvalidDataError(
        "Expected data that the model can produce; it gives them probability zero under all "
        f"{num_draws:,} draws of {source}.{where} Look for impossible values, such as a negative "
        f"count, or a value outside of a bounded component.{trained}\n\n"
        "    pm.sample_prior_predictive(model=model)"
    )
