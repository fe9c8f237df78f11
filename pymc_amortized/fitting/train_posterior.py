"""Training of a model's networks, and what is known of them afterwards."""

import math

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.errors import AccuracyWarning
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.assembly import problem_in_scores
from pymc_amortized.inference.problem import Problem
from pymc_amortized.messages import warn
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.loop import train
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.training.state import Checkpoint, TrainingResult

__all__ = ["train_posterior"]

_MAX_FOR_SCALES = 2_000
_NUM_VALIDATION_DATASETS = 64
_FEWEST_VALIDATION_DATASETS = 8
_NUM_TO_COVER = 160
_DRAWS_TO_COVER = 500
_LEAST_ACCEPTED_TO_COVER = 0.6
_MAX_NUMBERS_TO_VALIDATE = 2e9


def train_posterior(
    simulator: Simulator,
    layout: DataLayout,
    estimator: Estimator,
    record: TrainingRecord,
    seed: int,
    progressbar: bool,
    store: NetworkCache,
) -> AmortizedPosterior:
    """Train an estimator for a model, from where an earlier run was interrupted."""
    resume = store.read(record.fingerprint, "checkpoint")
    if resume is not None and not _fits(estimator, resume[0]):
        resume = None
    if resume is not None:
        seed = int(resume[1]["seed"])
    problem = problem_in_scores(simulator, layout, seed)
    source = problem.source
    first = source.draw(min(_MAX_FOR_SCALES, source.datasets_at_once), seed)
    estimator.fit_scaling(first)
    _warn_of_unvisited(layout, first)
    inference = Amortized.of_networks(problem, estimator)

    can_check = problem.exact is not None and problem.space.size > 0
    at_most = _evaluations_within_budget(problem) if can_check else 0

    def share(_: Estimator, num_draws: int = 1_000) -> float:
        most = max(_FEWEST_VALIDATION_DATASETS, at_most // num_draws)
        number = min(_NUM_VALIDATION_DATASETS, most)
        pareto_k = inference.pareto_k(source, number, num_draws, seed + 1)
        return float((pareto_k < AcceptanceRule().pareto_k).double().mean())

    def keep(tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        content = {"seed": seed, "state": state, "parts": record.parts}
        store.write(record.fingerprint, tensors, content, "checkpoint")

    result = train(
        estimator,
        source,
        record.config,
        seed,
        progressbar=progressbar,
        accepted=share if can_check and progressbar else None,
        checkpoint=Checkpoint(keep, None if resume is None else (resume[0], resume[1]["state"])),
    )
    accepted = share(estimator, 2_000) if can_check else math.nan
    inference = inference.with_reference(source, seed + 2)
    if can_check and accepted >= _LEAST_ACCEPTED_TO_COVER and estimator.has_density:
        most = max(_FEWEST_VALIDATION_DATASETS, at_most // _DRAWS_TO_COVER)
        number = min(_NUM_TO_COVER, most)
        inference = inference.with_coverage(source, number, _DRAWS_TO_COVER, seed + 4)
    return AmortizedPosterior(inference, _finish_record(record, result, accepted))


def _evaluations_within_budget(problem: Problem) -> int:
    """Return how many draws can be validated in some seconds."""
    _, frames, _ = problem.source.draw_frames(1, 0)
    return int(_MAX_NUMBERS_TO_VALIDATE / problem.numbers_per_draw(frames))


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
        interrupted=result.interrupted,
        validation_loss=state.best_loss,
        accepted_share=accepted,
        history=state.history,
    )
