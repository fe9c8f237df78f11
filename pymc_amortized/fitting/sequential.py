"""Training in rounds for one data set: simulations where its posterior lies, and nowhere else."""

import math

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.errors import (
    InvalidArgumentError,
    ObservationShapeError,
    UnsupportedModelError,
)
from pymc_amortized.fitting.posterior_region import PosteriorRegion
from pymc_amortized.fitting.simulation_budget import draw_table, kept_seed
from pymc_amortized.fitting.train_posterior import train_posterior
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.assembly import (
    assemble,
    inference_from_tensors,
    lay_out,
    problem_in_scores,
)
from pymc_amortized.inference.problem import Problem
from pymc_amortized.messages import log_info
from pymc_amortized.model.fingerprint import digest
from pymc_amortized.networks.build import Networks
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.rng import numpy_generator, torch_generator
from pymc_amortized.simulation.restricted_simulations import RestrictedSimulations
from pymc_amortized.simulation.simulated_data import FEWEST_SIMULATIONS
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.simulations import AbstractSimulations
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.training.reporter import Reporting
from pymc_amortized.typing import NamedTensors

__all__ = ["SequentialRounds", "SequentialTraining", "check_sequential"]

_NUM_SIMULATIONS = 10_000
_NUM_DRAWS = 20_000
_NUM_TO_MEASURE = 100_000
_LEAST_SHARE = 1e-3  # of the prior, below which rejection takes too long
_MOST_KEPT = 0.8  # of a region, by one that is worth its risk


@dataclass(frozen=True, slots=True)
class SequentialTraining:
    """Rounds of simulating and training for one data set [1]_.

    The first round simulates from the prior. Each of the others simulates from the prior cut to
    where the networks of the rounds before have all but a thousandth of their mass, and goes on
    training, from their weights, with all simulations in that region, whichever round they are of:
    there they are draws of the same prior, so that nothing has to be corrected for. Rounds end
    early when the network moves by less than the tolerance of training. A region that changes
    little, or is too small to be found by draws of the prior, is left out.

    Attributes
    ----------
    data : mapping of str to array
        The data set, as users give it.
    digest : str
        Of the data set, as the model reads it.
    rounds : int
        At most.

    References
    ----------
    .. [1] Deistler, M., Gonçalves, P. J. & Macke, J. H. (2022). Truncated proposals for scalable
       and hassle-free simulation-based inference. NeurIPS 35.
    """

    data: Mapping[str, Any]
    digest: str
    rounds: int

    @staticmethod
    def of(simulator: Simulator, data: Mapping[str, Any], rounds: int) -> "SequentialTraining":
        """Check the data set.

        Raises
        ------
        InvalidDataError or ObservationShapeError
            If it is none of the model.
        UnsupportedModelError
            If there is nothing to infer but indicators.
        """
        if not simulator.parameters.size:
            raise UnsupportedModelError(
                "Expected parameters to be trained for in rounds; this model has indicators alone, "
                "whose networks gain nothing by them. Train at once:\n\n    pma.fit(model)"
            )
        problem = Problem.of_model(simulator, lay_out(simulator, None), simulator.parameters)
        try:
            dataset = problem.read(data)
        except ObservationShapeError as error:
            raise ObservationShapeError(
                "Expected data of the model's own size, to train for them in rounds; "
                f"{error.variable!r} has shape {error.got} here. Have the model observe them:\n\n"
                '    pma.fit(build(y), data={"y": y}, rounds=5)',
                error.variable,
                error.expected,
                error.got,
            ) from error
        return SequentialTraining(data, dataset.digest, rounds)

    def named(self, record: TrainingRecord) -> TrainingRecord:
        """Return the record of a network for this data set: no other stands for it."""
        family = digest(record.family, self.digest)
        last = digest(record.fingerprint, self.digest, str(self.rounds))[:8]
        return replace(record, fingerprint=f"{family}-{last}", data=self.digest)


def check_sequential(
    data: Any,
    rounds: Any,
    config: TrainingConfig,
    networks: Networks | None,
    others: Sequence[Any],
) -> TrainingConfig:
    """Check what is asked of training in rounds; return the configuration, with a budget.

    Raises
    ------
    InvalidArgumentError
        If something is missing, or does not go with it: ``others`` than None.
    """
    problem = ""
    if data is None:
        problem = "rounds without data"
    elif rounds is None:
        problem = "data without rounds"
    elif isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        problem = f"rounds={rounds!r}"
    elif any(one is not None for one in others):
        problem = "sizes, or simulations that were made elsewhere, besides"
    elif config.steps == 0:
        problem = 'training="none"'
    elif networks is not None and networks.is_choice:
        problem = "a choice of posterior networks, each of which would need rounds of its own"
    elif networks is not None and networks.likelihood is not None:
        problem = "a likelihood network, which is learned from simulations of the whole prior"
    if problem:
        raise InvalidArgumentError(
            "Expected one data set and a number of rounds, to train networks for it alone; got "
            f'{problem}. For instance:\n\n    pma.fit(model, data={{"y": y}}, rounds=5)\n\n'
            "Networks that are trained without either answer any data set."
        )
    budget = config.simulations or _NUM_SIMULATIONS
    if budget < rounds * FEWEST_SIMULATIONS:
        raise InvalidArgumentError(
            f"Expected at least {FEWEST_SIMULATIONS} simulations in each of {rounds} rounds; got "
            f"{budget:,} in all. Ask for fewer rounds, or for more simulations:\n\n"
            f"    pma.TrainingConfig(simulations={rounds * 1_000:_})"
        )
    return replace(config, simulations=budget)


class SequentialRounds:
    """The rounds of one training: what changes from one to the next.

    Parameters
    ----------
    asked : SequentialTraining
        For which data set, and in how many rounds.
    simulator, networks : Simulator, Networks
        The model, and which networks.
    record : TrainingRecord
        Without what only training will tell.
    seed : int
        That of an earlier run is kept.
    reporting : Reporting
        Who is told where training stands.
    store : NetworkCache
        Where simulations and networks of rounds are kept.
    """

    def __init__(
        self,
        asked: SequentialTraining,
        simulator: Simulator,
        networks: Networks | None,
        record: TrainingRecord,
        seed: int,
        reporting: Reporting,
        store: NetworkCache,
    ) -> None:
        self.asked, self.simulator, self.networks = asked, simulator, networks
        self.record, self.reporting, self.store = record, reporting, store
        kept = kept_seed(store, self._record_of(0).fingerprint)
        self.seed = seed if kept is None else kept
        self.simulated_before = simulator.num_simulated
        self.regions: list[PosteriorRegion] = []
        self.share = 1.0  # of the prior that is in all of them
        self.tables: list[SimulationTable] = []
        layout, estimator = self._build()
        if not estimator.has_density:
            raise InvalidArgumentError(
                "Expected a posterior network whose density is known, to find where a data set's "
                f"posterior lies; got {type(estimator.posterior).__name__}. Take another:\n\n"
                "    pma.fit(model, data=data, rounds=rounds, networks=pma.Networks("
                "posterior=pma.SplineFlow))"
            )
        self.source: AbstractSimulations = problem_in_scores(simulator, layout, self.seed).source

    def run(self) -> AmortizedPosterior:
        """Return the network of the last round; what an earlier run has done is not done again."""
        done: list[AmortizedPosterior] = []
        while len(done) < self.asked.rounds:
            done.append(self._round(done))
            if done[-1].record.interrupted or not self._goes_on(done):
                break
        if not done[-1].record.interrupted:
            self._discard()
        return self._conclude(done)

    def _discard(self) -> None:
        """Remove what was kept of the rounds."""
        for index in range(self.asked.rounds):
            for kind in ("network", "simulations", "checkpoint"):
                self.store.discard(self._record_of(index).fingerprint, kind)

    def _round(self, done: list[AmortizedPosterior]) -> AmortizedPosterior:
        """Simulate in the region, and train on all that is there, from the weights of before."""
        index = len(done)
        record = self._record_of(index)
        seed = int(numpy_generator([self.seed, index]).integers(2**31)) if index else self.seed
        number = self._num_simulations(index)
        source = RestrictedSimulations(self.source, self._contains) if index else self.source
        self.tables.append(
            draw_table(source, number, seed, self.store, record.fingerprint, keep=True)
        )
        table = self._in_region()
        log_info(
            f"Round {index + 1} of {self.asked.rounds}: {number:,} simulations"
            + (f" in the region, {table.num_available:,} with earlier ones." if index else ".")
        )
        known = self.store.read(record.fingerprint)
        if known is not None:
            kept = TrainingRecord.from_record(known[1])
            inference = inference_from_tensors(self.simulator, known[0], {}, self.networks)
            return AmortizedPosterior(inference, kept)
        layout, estimator = self._build()
        if done:
            estimator.load_state_dict(done[-1].inference.estimator.state_dict())
        posterior = train_posterior(
            self.simulator,
            layout,
            estimator,
            record,
            seed,
            self.reporting,
            self.store,
            table,
        )
        if not posterior.record.interrupted:
            tensors, content = posterior.tensors(), posterior.record.as_record()
            self.store.write(record.fingerprint, tensors, content)
        return posterior

    def _build(self) -> tuple[Any, Estimator]:
        return assemble(self.simulator, None, self.networks, self.seed)

    def _goes_on(self, done: list[AmortizedPosterior]) -> bool:
        """Tell whether there is anything to be gained by another round, and prepare it."""
        if len(done) == self.asked.rounds:
            return False
        tolerance = self.record.config.tolerance
        if len(done) > 1 and tolerance is not None:
            moved = self._moved(*done[-2:])
            log_info(f"The network has moved by {moved:.3f} nats.")
            if moved < tolerance:
                return False
        self._narrow(done[-1].inference)
        return True

    def _narrow(self, last: Amortized) -> None:
        """Cut the prior further, if that is possible and changes much."""
        self.regions.append(PosteriorRegion.of_draws(last, self._context(last), self.seed))
        restricted = RestrictedSimulations(self.source, self._contains)
        share = restricted.share_of_prior(_NUM_TO_MEASURE, self.seed)
        if _LEAST_SHARE <= share <= _MOST_KEPT * self.share:
            self.share = share
        else:
            self.regions.pop()
        log_info(f"The next simulations are from {self.share:.2%} of the prior.")

    def _context(self, inference: Amortized) -> Tensor:
        dataset = inference.read(self.asked.data)
        return inference.context(dataset.smooth.to(inference.problem.device))

    @torch.no_grad()
    def _moved(self, before: AmortizedPosterior, after: AmortizedPosterior) -> float:
        """Return the Kullback-Leibler divergence of two networks for the data set, in nats."""
        old, new = before.inference, after.inference
        generator = torch_generator(self.seed, new.problem.device)
        scores, log_new = new.draw_scores(self._context(new), _NUM_DRAWS, generator)
        return float((log_new - old.log_network(scores, self._context(old))).mean())

    def _contains(self, parameters: NamedTensors) -> Tensor:
        """Tell which parameters (B, *shape) are in the region of the last round."""
        inside = torch.ones(len(next(iter(parameters.values()))), dtype=torch.bool)
        inside = inside.to(self.simulator.device)
        for region in self.regions:
            some = inside.nonzero()[:, 0]
            inside[some] = region.contains({name: x[some] for name, x in parameters.items()})
        return inside

    def _in_region(self) -> SimulationTable:
        """Return all simulations in the region, whichever round they are of."""
        table = SimulationTable.joined(self.tables)
        return table.select(self._contains(table.parameters).nonzero()[:, 0])

    def _num_simulations(self, index: int) -> int:
        total, rounds = self.record.config.simulations, self.asked.rounds
        return total * (index + 1) // rounds - total * index // rounds

    def _record_of(self, index: int) -> TrainingRecord:
        """Return the record of a round, which may take its share of the time."""
        name = f"{self.record.family}-{digest(self.record.fingerprint, str(index))[:8]}"
        config = self.record.config
        if config.max_time is not None:
            config = replace(config, max_time=config.max_time / self.asked.rounds)
        return replace(self.record, fingerprint=name, config=config, rounds=index + 1)

    def _conclude(self, done: list[AmortizedPosterior]) -> AmortizedPosterior:
        records = [one.record for one in done]
        record = replace(
            records[-1],
            fingerprint=self.record.fingerprint,
            config=self.record.config,
            steps=sum(r.steps for r in records),
            skipped=sum(r.skipped for r in records),
            seconds=sum(r.seconds for r in records),
            accepted_share=math.nan,
            rounds=len(done),
            simulations=self.simulated_before
            + sum(self._num_simulations(i) for i in range(len(done))),
        )
        inference = replace(done[-1].inference, coverage=None)
        return AmortizedPosterior(inference, record)
