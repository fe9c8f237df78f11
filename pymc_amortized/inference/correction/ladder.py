"""From draws of a network to the right answer: a ladder, climbed as far as a data set needs."""

from collections.abc import Sequence

import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.errors import (
    InvalidDataError,
    UnboundedDensityError,
    UnsupportedModelError,
)
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.pool import Pool
from pymc_amortized.importance.weights import Weights, differ, weigh
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.correction.confirmation import Confirmation
from pymc_amortized.inference.correction.finish import Finish
from pymc_amortized.inference.correction.mcmc import McmcRung
from pymc_amortized.inference.correction.nuts import MarginalSampler
from pymc_amortized.inference.correction.particles import SIZE_FOR_GRADIENT
from pymc_amortized.inference.correction.smc import SmcRung
from pymc_amortized.inference.correction.weighted_draws import NUM_PROPOSALS, WeightedDraws
from pymc_amortized.inference.draws import Correction, Draws, StoppedBy
from pymc_amortized.inference.watch import OutOfTimeError, Watch

__all__ = ["Corrector"]

_MAX_PROPOSALS = 128_000
_LONGER = (1, 4)
_UNSETTLED = ("nothing", "neither")

_OneDataSet = tuple[Tensor, Pool, Weights]


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
        watch: Watch | None = None,
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
        watch : Watch, optional
            How long it may take. When time is out, answers are the best so far.
        """
        weighted = WeightedDraws(
            self.inference, datasets, num_draws, generator, rule or AcceptanceRule(), watch
        )
        confirmation = Confirmation(weighted)
        asked = weighted.rule.confirms(len(datasets)) and correction == "auto"
        confirms = (asked or correction == "smc") and confirmation.particles.is_possible
        finish = Finish(weighted, confirms=confirms)
        mcmc_rung = McmcRung(weighted, self.sampler, chains)
        try:
            _Climb(finish, confirmation, mcmc_rung, correction).run()
        except UnboundedDensityError as error:
            if len(datasets) == 1:
                return [error]
            options = (num_draws, chains, correction, generator, rule, watch)
            return [self.draw([one], *options)[0] for one in datasets]
        return [finish.answers[i] for i in range(len(datasets))]


class _Climb:
    """The way of one batch of data sets up the ladder."""

    def __init__(
        self,
        finish: Finish,
        confirmation: Confirmation,
        mcmc_rung: McmcRung,
        correction: Correction,
    ) -> None:
        self.finish, self.weighted, self.inference = finish, finish.weighted, finish.inference
        self.confirmation, self.confirms = confirmation, finish.confirms
        self.smc_rung, self.mcmc_rung = SmcRung(confirmation), mcmc_rung
        self.correction = correction
        self._best: list[tuple[Tensor, Pool, Weights, str]] = []
        self._proven: set[int] = set()

    def run(self) -> None:
        """Fill the answers: by the best draws so far, if time is out, or the user interrupts."""
        try:
            self._run()
        except OutOfTimeError:
            self._answer_by_best("max_time")
        except KeyboardInterrupt:
            if len(self.weighted) > 1 or not self._best:
                raise
            self._answer_by_best("interrupt")

    def _answer_by_best(self, stopped_by: StoppedBy) -> None:
        self.finish.stopped_by = stopped_by
        for index, pool, weights, rung in reversed(self._best):
            left = torch.tensor([i not in self.finish.answers for i in index.tolist()])
            left = left.to(index.device)
            if bool(left.any()):
                known = index[left], pool.select(left), weights.select(left)
                self.finish.from_weighted(*known, rung, "nothing")

    def _run(self) -> None:
        everything = torch.arange(len(self.weighted), device=self.weighted.context.device)
        if self.inference.problem.exact is None or self.correction == "none":
            with self.finish.time("network", everything):
                self.finish.from_network(everything)
            return
        with self.finish.time("importance", everything):
            index, pool, weights = self._weigh_network(everything)
            self._best.append((index, pool, weights, "importance"))
            done = self._ends_here(weights)
            if not self.weighted.rule.always_confirms:
                proven = self.finish.is_proven(index) & self.weighted.accepted(weights)
                self._proven = set(index[proven].tolist())
        rest = self._keep(index[done], pool.select(done), weights.select(done), "importance")
        index, pool, weights = index[~done], pool.select(~done), weights.select(~done)
        if self.correction in ("smc", "mcmc"):
            rest += _split_by_data_set(index, pool, weights)
        elif len(index):
            with self.finish.time("adaptive", index):
                rest += self._adapt(index, pool)
        for at, found, of_found in rest:
            rung = "importance" if len(found.log_proposals) == 1 else "adaptive"
            self._best.append((at, found, of_found, rung))
            if self.correction != "smc":
                self._climb_on(at, found, of_found)
            elif not self._answer_by_particles(at, found, of_found):
                self.finish.from_weighted(at, found, of_found, rung, "nothing")

    def _ends_here(self, weights: Weights) -> Tensor:
        """Tell for which data sets weighted draws of the network are the answer."""
        if self.correction == "importance" or not self.inference.problem.space.size:
            return torch.ones_like(weights.ess, dtype=torch.bool)
        if self.correction == "auto":
            return self.weighted.accepted(weights) & (weights.ess >= self.weighted.wanted)
        return torch.zeros_like(weights.ess, dtype=torch.bool)

    def _weigh_network(self, index: Tensor) -> tuple[Tensor, Pool, Weights]:
        """Weigh draws of the network; data sets that the model cannot produce are answered so."""
        pool = self.weighted.from_network(index, max(NUM_PROPOSALS, self.weighted.num_draws))
        possible = ~torch.isneginf(pool.log_target).all(0)
        # Draws of the prior are hardly ever where bounds of a likelihood depend on parameters.
        most = 0 if self.inference.estimator.is_trained else _MAX_PROPOSALS
        while len(pool.points) < most and not bool(possible.all()):
            pool = pool.with_more(self.weighted.from_network(index, len(pool.points)))
            possible = ~torch.isneginf(pool.log_target).all(0)
        for at in (~possible).nonzero():
            places = self.weighted.impossible_places(index[at], pool.select(at))
            self.finish.impossible(index[at], len(pool.points), places)
        index, pool = index[possible], pool.select(possible)
        weights = weigh(pool.log_weights)
        self.finish.network_pareto_k[index] = weights.pareto_k
        while len(pool.points) < _MAX_PROPOSALS and bool(self._draws_on(weights).any()):
            pool = pool.with_more(self.weighted.from_network(index, len(pool.points)))
            weights = weigh(pool.log_weights)
        return index, pool, weights

    def _draws_on(self, weights: Weights) -> Tensor:
        """Tell for which data sets more draws of the network are worth it.

        A single data set is answered by draws that differ; for many at once that costs too much.
        """
        if self.correction == "importance":
            few = weights.ess < self.weighted.num_draws
            return self.weighted.rule.relies_on(weights) & few
        repeat = ~differ(weights.log_weights, self.weighted.num_draws)
        return self._ends_here(weights) & repeat & (len(self.weighted) == 1)

    def _adapt(self, index: Tensor, pool: Pool) -> list[_OneDataSet]:
        """Keep what adaptive importance sampling can answer, and return the rest one by one.

        In many dimensions none starts over with more draws, if there is another way to begin.
        """
        rest = []
        many = self.inference.problem.space.size >= SIZE_FOR_GRADIENT
        options = {"cycles": 1} if self.confirms and many else {}
        for at, found, weights in self.weighted.adapt(index, pool, **options):
            kept = self.weighted.accepted(weights) | (self.correction == "adaptive")
            rest += self._keep(
                index[at[kept]], found.select(kept), weights.select(kept), "adaptive"
            )
            rest += _split_by_data_set(index[at[~kept]], found.select(~kept), weights.select(~kept))
        return rest

    def _keep(self, index: Tensor, pool: Pool, weights: Weights, rung: str) -> list[_OneDataSet]:
        """Answer from weighted draws; return those that nothing confirms."""
        nothing = weights.ess == 0
        self.finish.impossible(index[nothing], len(pool.points), {})
        index, pool, weights = index[~nothing], pool.select(~nothing), weights.select(~nothing)
        if not self.confirms:
            if len(index):
                self.finish.from_weighted(index, pool, weights, rung, "nothing")
            return []
        rest = []
        for at, of_one, its_weights in _split_by_data_set(index, pool, weights):
            if int(at) in self._proven:
                self.finish.from_weighted(at, of_one, its_weights, rung, "simulations")
                continue
            with self.finish.time("confirmation", at):
                found, its_weights, word = self.confirmation.settle(at, of_one, its_weights)
            if word in _UNSETTLED:
                rest.append((at, found, its_weights))
                continue
            if self.smc_rung.gains_on(at, its_weights):
                if self._answer_by_particles(at, found, its_weights):
                    continue
                if self.smc_rung.disagrees(at):
                    rest.append((at, found, its_weights))
                    continue
            its_rung = rung if found is of_one else "adaptive"
            self.finish.from_weighted(at, found, its_weights, its_rung, word)
        return rest

    def _climb_on(self, at: Tensor, pool: Pool, weights: Weights) -> None:
        """Answer one data set from the particles of bridges, or by MCMC chains.

        By its weighted draws, if chains cannot start.
        """
        if self.confirms:
            best = self._begin_at_particles(at, pool, weights)
            if best is None:
                return
            at, pool, weights = best
        with self.finish.time("mcmc", at):
            try:
                self._sample(at, pool, weights)
            except UnsupportedModelError:
                if self.correction == "mcmc":
                    raise
                self.finish.from_weighted(at, pool, weights, "adaptive", "nothing")

    def _begin_at_particles(self, at: Tensor, pool: Pool, weights: Weights) -> _OneDataSet | None:
        """Answer one data set from where particles are; return its best draws, if that fails.

        By weighted draws, where particles led to some that can be relied on, or by themselves.
        """
        with self.finish.time("confirmation", at):
            estimate = self.confirmation.second(at).estimate
        weighable = estimate is not None and not self.smc_rung.gains_on(at, estimate.weights)
        if not weighable and self._answer_by_particles(at, pool, weights):
            return None
        if not bool(self.weighted.accepted(weights)):
            with self.finish.time("confirmation", at):
                anew = self.confirmation.begin_anew(at)
            if anew is not None:
                rest = self._keep(at, *anew, "adaptive")
                if not rest:
                    return None
                [(at, pool, weights)] = rest
        if weighable and self._answer_by_particles(at, pool, weights):
            return None
        return at, pool, weights

    def _answer_by_particles(self, at: Tensor, pool: Pool, weights: Weights) -> bool:
        """Answer one data set by two populations of particles, if they agree."""
        with self.finish.time("smc", at):
            found = self.smc_rung.draw(at)
        if found is None or not (found.agree or self.correction == "smc"):
            return False
        evidence = found.log_evidence, found.error
        self.finish.from_chains(
            at,
            pool,
            weights,
            found.mcmc,
            evidence,
            rung="smc",
            accepted=found.agree,
            confirmed_by="bridge" if found.agree else "neither",
        )
        return True

    def _sample(self, at: Tensor, pool: Pool, weights: Weights) -> None:
        """Run MCMC chains; longer ones where these do not suffice, nor do their mixtures."""
        mcmc, others = None, self.confirmation.second(at).bridged.points if self.confirms else None
        for longer in _LONGER:
            mcmc = self.mcmc_rung.draw(at, pool, weights, longer, mcmc, others)
            is_converged = self.weighted.rule.accepts_mcmc(mcmc)
            found, reweighed, missed = self.mcmc_rung.reweighed(mcmc, at)
            usable = bool(self.weighted.accepted(reweighed))
            enough = is_converged or (usable and self.correction != "mcmc")
            if enough or not self.weighted.rule.may_accept_longer(mcmc, max(_LONGER)):
                break
        word = "nothing"
        if usable and (missed or not is_converged):
            if self.confirms:
                before = (pool, weights)
                found, reweighed, word = self.confirmation.settle(at, found, reweighed)
                if word == "nothing" and self.confirmation.agrees(at, before, (found, reweighed)):
                    word = "mcmc"
            self.finish.from_weighted(at, found, reweighed, "adaptive", word, mcmc)
            return
        if self.confirms and is_converged:
            word = self.confirmation.judge_mcmc(at, mcmc)
        self.finish.from_chains(
            at,
            pool,
            weights,
            mcmc,
            self.weighted.evidence(found) if usable else None,
            accepted=is_converged and not missed,
            confirmed_by=word,
        )


def _split_by_data_set(index: Tensor, pool: Pool, weights: Weights) -> list[_OneDataSet]:
    every = torch.arange(len(index), device=index.device)
    parts = [every[b : b + 1] for b in range(len(index))]
    return [(index[at], pool.select(at), weights.select(at)) for at in parts]
