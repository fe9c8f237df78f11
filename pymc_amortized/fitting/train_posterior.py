"""Training of a model's networks, and what is known of them afterwards."""

import math

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from torch import Tensor

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import AccuracyWarning, TrainingInterruptedWarning
from pymc_amortized.fitting.simulation_budget import draw_table, kept_seed
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.assembly import problem_in_scores
from pymc_amortized.inference.problem import Problem
from pymc_amortized.memory import count_numbers
from pymc_amortized.messages import log_info, warn
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulation.simulated_data import Simulation
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.simulations import AbstractSimulations
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.simulation.training_data import SimulationSource
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.loop import train
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.training.reporter import Reporting
from pymc_amortized.training.state import Checkpoint, TrainingResult

__all__ = ["PosteriorTraining", "train_posterior"]

_MAX_FOR_SCALES = 2_000
_NUM_VALIDATION_DATASETS = 64
_FEWEST_VALIDATION_DATASETS = 8
_DRAWS_TO_SHOW, _DRAWS_TO_VALIDATE = 1_000, 2_000
_NUM_TO_COVER = 800
_DRAWS_TO_COVER = 500
_LEAST_ACCEPTED_TO_COVER = 0.6
_MAX_NUMBERS_TO_VALIDATE = 2e9
_COST_OF_GRADIENT = 3
# Of the numbers that training computes: a tenth in all, as they are shown four times.
_SHARE_TO_SHOW, _SHARE_TO_VALIDATE, _SHARE_TO_COVER = 0.0025, 0.02, 0.07


def train_posterior(
    simulator: Simulator,
    layout: DataLayout,
    estimator: Estimator,
    record: TrainingRecord,
    seed: int,
    reporting: Reporting,
    store: NetworkCache,
    given: Simulation | SimulationTable | None = None,
) -> AmortizedPosterior:
    """Train an estimator for a model, from where an earlier run was interrupted.

    Warns
    -----
    TrainingInterruptedWarning
        If the user interrupts it.
    """
    training = PosteriorTraining(simulator, layout, estimator, record, seed, store, given)
    return training.complete(reporting)


class PosteriorTraining:
    """One training of a model's networks, from where an earlier one has stopped.

    Parameters
    ----------
    simulator, layout, estimator : Simulator, DataLayout, Estimator
        The model, how its data are laid out, and its networks, which are changed in place.
    record : TrainingRecord
        Without what only training will tell.
    seed : int
        That of an earlier run is kept.
    store : NetworkCache
        Where checkpoints are.
    given : Simulation or SimulationTable, optional
        What to train on, instead of simulations that are drawn now.

    Attributes
    ----------
    table : SimulationTable or None
        What it is trained on, if that is there before.
    """

    def __init__(
        self,
        simulator: Simulator,
        layout: DataLayout,
        estimator: Estimator,
        record: TrainingRecord,
        seed: int,
        store: NetworkCache,
        given: Simulation | SimulationTable | None = None,
    ) -> None:
        self.estimator, self.record, self.store = estimator, record, store
        resume = store.read(record.fingerprint, "checkpoint")
        if resume is not None and not _fits(estimator, resume[0]):
            resume = None
        self._resume = None if resume is None else (resume[0], resume[1]["state"])
        kept = kept_seed(store, record.fingerprint) if resume is None else resume[1]["seed"]
        self.seed = seed if kept is None else int(kept)
        if isinstance(given, SimulationTable):
            problem = Problem.of_model(simulator, layout, given.space)
        else:
            problem = problem_in_scores(simulator, layout, self.seed)
        self.table = table = self._table(problem.source, given)
        self.source, held_out = (
            (problem.source, None) if table is None else table.split(record.config.validation)
        )
        self.held_out = held_out
        everything = self.source if table is None else table
        number = min(_MAX_FOR_SCALES, everything.datasets_at_once)
        first = everything.draw(number, self.seed)
        if record.rounds <= 1:  # weights of a round before belong to its scales
            estimator.fit_scaling(first)
        _warn_of_unvisited(layout, first)
        inference = Amortized.of_networks(problem, estimator, simulations=table)
        inference = inference.only_for(record.data)
        self._validation = _Validation(inference, held_out or self.source, everything, self.seed)
        self._numbers_per_step = _numbers_per_step(estimator, first, record.config.batch_size)

    def _table(self, source: SimulationSource, given: Simulation | None) -> SimulationTable | None:
        """Return the simulations that there are before training; None where there is no budget."""
        if isinstance(given, SimulationTable):
            return SimulationTable(source, given.parameters, given.frames, given.codes)
        if given is not None:
            return SimulationTable.of_simulation(source, given)
        number = self.record.config.simulations
        if number is None:
            return None
        return draw_table(source, number, self.seed, self.store, self.record.fingerprint)

    def run(self, reporting: Reporting) -> TrainingResult:
        """Train, and keep a checkpoint of what is stopped."""
        checked = self._share_to_show if self._validation.is_possible else None
        return train(
            self.estimator,
            self.source,
            self.record.config,
            self.seed,
            held_out=self.held_out,
            reporting=replace(reporting, accepted=checked),
            checkpoint=Checkpoint(self._keep, self._resume),
        )

    def complete(self, reporting: Reporting) -> AmortizedPosterior:
        """Train, say what has ended it before its time, and return the networks."""
        result = self.run(reporting)
        _tell_of_end(result, self.record.config)
        return self.conclude(result)

    def conclude(self, result: TrainingResult) -> AmortizedPosterior:
        """Return the networks, with all that simulations say of them."""
        numbers = result.state.step * self._numbers_per_step
        num_seen = result.state.step * self.record.config.batch_size
        inference, accepted = self._validation.conclude(numbers, num_seen)
        record = _finish_record(self.record, result, accepted)
        simulator = inference.problem.simulator
        return AmortizedPosterior(inference, replace(record, simulations=simulator.num_simulated))

    def _share_to_show(self) -> float:
        numbers = self.record.config.steps * self._numbers_per_step
        return self._validation.accepted_share(_DRAWS_TO_SHOW, _SHARE_TO_SHOW * numbers)

    def _keep(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        content = {"seed": self.seed, "state": state, "parts": self.record.parts}
        self.store.write(self.record.fingerprint, tensors, content, "checkpoint")


@dataclass(frozen=True, slots=True, eq=False)
class _Validation:
    """What fresh simulations say of a network: at most about a tenth of what it took to train it.

    Attributes
    ----------
    inference : Amortized
        With the network, which goes on changing while it is trained.
    source : AbstractSimulations
        Of data sets that were not trained on.
    everything : AbstractSimulations
        Of any data sets.
    seed : int
        Of the training.
    """

    inference: Amortized
    source: AbstractSimulations
    everything: AbstractSimulations
    seed: int

    @property
    def is_possible(self) -> bool:
        """Whether the density is known, and the prior is that of the simulations."""
        problem = self.inference.problem
        return problem.exact is not None and problem.space.size > 0 and not self.inference.only

    def accepted_share(self, num_draws: int, max_numbers: float) -> float:
        """Return the share of data sets with k below 0.7, by so many draws for each."""
        at_most = min(max_numbers, _MAX_NUMBERS_TO_VALIDATE)
        number = self._num_datasets(_NUM_VALIDATION_DATASETS, num_draws, at_most)
        pareto_k = self.inference.pareto_k(self.source, number, num_draws, self.seed + 1)
        return float((pareto_k < AcceptanceRule().pareto_k).double().mean())

    def conclude(self, numbers: float, num_seen: int) -> tuple[Amortized, float]:
        """Return all that is known of the network in the end, and the share of k below 0.7.

        For as many numbers as training has computed, and simulations that it has seen.
        """
        can_check, accepted = self.is_possible, math.nan
        if can_check:
            accepted = self.accepted_share(_DRAWS_TO_VALIDATE, _SHARE_TO_VALIDATE * numbers)
        inference = self.inference.with_reference(self.everything, self.seed + 2, num_seen)
        has_density = inference.estimator.has_density
        if can_check and accepted >= _LEAST_ACCEPTED_TO_COVER and has_density:
            at_most = _SHARE_TO_COVER * numbers
            number = self._num_datasets(_NUM_TO_COVER, _DRAWS_TO_COVER, at_most)
            inference = inference.with_coverage(self.source, number, _DRAWS_TO_COVER, self.seed + 4)
        return inference, accepted

    def _num_datasets(self, most: int, num_draws: int, max_numbers: float) -> int:
        """Return how many data sets are answered by draws, so that no more numbers are computed."""
        problem = self.inference.problem
        _, frames, _ = self.source.draw_frames(1, 0)
        numbers = num_draws * problem.numbers_per_draw(frames)
        return min(most, max(_FEWEST_VALIDATION_DATASETS, int(max_numbers / numbers)))


@torch.no_grad()
def _numbers_per_step(estimator: Estimator, first: Batch, batch_size: int) -> float:
    """Return how many numbers one step of training computes, about."""
    few = first.select(slice(batch_size))
    generator = torch.Generator(device=few.scores.device).manual_seed(0)
    numbers = count_numbers(lambda: estimator.losses(few, generator))
    return _COST_OF_GRADIENT * numbers * batch_size / len(few)


def _tell_of_end(result: TrainingResult, config: TrainingConfig) -> None:
    """Say what has ended training before its time."""
    text = (
        f"after {result.state.step:,} of {config.steps:,} steps; the best network so far is used. "
        "Call again to go on from there."
    )
    if result.stopped_by == "interrupt":
        warn(f"Training was interrupted {text}", TrainingInterruptedWarning)
    elif result.stopped_by == "callback":
        log_info(f"The callback has ended training {text}")


def _warn_of_unvisited(layout: DataLayout, batch: Batch) -> None:
    """Say which values of indicators no simulation has, so that no network can learn them."""
    for i, codes in batch.codes.items():
        indicator = layout.tables[i].indicator
        missing = sorted(set(range(indicator.num_components)) - set(codes.unique().tolist()))
        if missing:
            values = [indicator.support[k] for k in missing]
            warn(
                f"Expected every value of {indicator.name!r} to occur; {values} occur in none of "
                f"{len(batch):,} data sets that were simulated. The network cannot learn what they "
                "look like. Give them a larger probability, or leave them out.",
                AccuracyWarning,
            )


def _fits(estimator: Estimator, tensors: Mapping[str, Tensor]) -> bool:
    """Whether a checkpoint holds the numbers of this estimator."""
    return all(
        f"now.{name}" in tensors and tensors[f"now.{name}"].shape == x.shape
        for name, x in estimator.state_dict().items()
    )


def _finish_record(
    record: TrainingRecord, result: TrainingResult, accepted: float
) -> TrainingRecord:
    state = result.state
    return replace(
        record,
        steps=state.step,
        skipped=state.skipped,
        seconds=state.seconds,
        interrupted=bool(result.stopped_by),
        validation_loss=state.best_loss,
        accepted_share=accepted,
        history=state.history,
    )
