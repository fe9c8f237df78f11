"""Simulated data sets with true values, and answers for them."""

import math

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.data.frames import Frames, stack_frames
from pymc_amortized.data.layout import DataLayout
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.answer import datasets_at_once
from pymc_amortized.inference.correction.ladder import Corrector
from pymc_amortized.inference.draws import Correction, Draws
from pymc_amortized.inference.indicators.conditional import AbstractConditional
from pymc_amortized.inference.indicators.kinds import condition_on_data
from pymc_amortized.inference.watch import Watch
from pymc_amortized.model.spec import IndicatorSpec
from pymc_amortized.training.progress import DatasetProgress

__all__ = [
    "FEWEST",
    "Answers",
    "Simulated",
    "answer",
    "log_likelihoods",
    "negative_log_posterior",
    "simulate",
    "with_truth",
]

FEWEST = 20
"""Data sets, by which errors can be told from chance."""

_DRAWS_OF_INDICATORS = 200


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """B data sets with the values that they were simulated from.

    Attributes
    ----------
    datasets : list of Dataset
        The data.
    parameters : dict of str to Tensor, shape (B, *shape)
        True values, constrained.
    scores : Tensor, shape (B, D)
        The same, standardized.
    codes : dict of str to list of numpy.ndarray of int, shape (N,)
        True indicators from 0 to K - 1, of each data set.
    """

    datasets: list[Dataset]
    parameters: dict[str, Tensor]
    scores: Tensor
    codes: dict[str, list[np.ndarray]]

    def __len__(self) -> int:
        return len(self.datasets)

    @property
    def frames(self) -> Frames:
        """All data sets in one batch."""
        return stack_frames([dataset.frames for dataset in self.datasets])

    def select(self, index: Sequence[int]) -> "Simulated":
        """Return some of the data sets."""
        chosen = torch.as_tensor(index)
        return Simulated(
            [self.datasets[b] for b in index],
            {name: x[chosen] for name, x in self.parameters.items()},
            self.scores[chosen],
            {name: [codes[b] for b in index] for name, codes in self.codes.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What was answered for B simulated data sets.

    Attributes
    ----------
    parameters : dict of str to Tensor, shape (S, B, *shape)
        Draws, constrained.
    scores : Tensor, shape (S, B, D)
        The same, standardized.
    shares : dict of str to Tensor, shape (about 200, B, K)
        Share of units in each component, for draws of an indicator at some of the parameters'.
    probabilities : dict of str to list of numpy.ndarray, shape (N, K)
        Of indicators, of each data set.
    filtering : dict of str to list of numpy.ndarray, shape (N, K)
        Of states, p(z_t given y up to t, θ) at the true parameters: averaged over a posterior,
        which knows the later data, it would not have to be calibrated.
    gaps : dict of str to float
        Of the classification network from the exact conditional, in nats per unit; NaN unless both
        exist.
    pareto_k : Tensor, shape (B,)
        Of the network's weights; NaN where nothing was weighed.
    rungs : list of str
        What answers come from.
    accepted : list of bool or None
        Whether they were.
    interrupted : bool
        Whether the user did not wait for those of further data sets.
    """

    parameters: dict[str, Tensor]
    scores: Tensor
    shares: dict[str, Tensor]
    probabilities: dict[str, list[np.ndarray]]
    filtering: dict[str, list[np.ndarray]]
    gaps: dict[str, float]
    pareto_k: Tensor
    rungs: list[str]
    accepted: list[bool | None]
    interrupted: bool = False


@torch.no_grad()
def simulate(inference: Amortized, num_datasets: int, seed: int) -> Simulated:
    """Simulate data sets as the network was trained on them."""
    source = inference.problem.source
    parameters, frames, codes = source.draw_frames(num_datasets, seed)
    return with_truth(inference, parameters, frames, codes)


def with_truth(
    inference: Amortized,
    parameters: Mapping[str, Tensor],
    frames: Frames,
    codes: Mapping[int, Tensor],
) -> Simulated:
    """Put simulated frames into the form in which a user's data are answered.

    Parameters
    ----------
    inference : Amortized
        The model.
    parameters : mapping of str to Tensor, shape (B, *shape)
        True values.
    frames : Frames
        Of B data sets.
    codes : mapping of int to Tensor of int64, shape (B, m R, J)
        By the position of the table; empty where indicators are not looked at.
    """
    layout, space = inference.problem.layout, inference.problem.space
    datasets = [_dataset(layout, frames.select(slice(b, b + 1))) for b in range(len(frames))]
    of_indicators = {}
    for spec in layout.spec.indicators if codes else ():
        index = next(
            i
            for i, t in enumerate(layout.tables)
            if t.indicator is not None and t.indicator.name == spec.name
        )
        of_indicators[spec.name] = [
            _codes_of(layout, index, dataset, codes[index][b].cpu().numpy())
            for b, dataset in enumerate(datasets)
        ]
    vector = space.unconstrain(parameters).expand(len(frames), -1)
    vector = space.from_edge(vector) if space.size else vector
    scores = space.standardize(vector)[0] if space.size else vector
    return Simulated(datasets, dict(parameters), scores, of_indicators)


def _dataset(layout: DataLayout, frames: Frames) -> Dataset:
    """Return one data set (1, ...) as it would be read."""
    if frames.times is not None:
        frames = replace(frames, times=frames.times[:, : int((frames.times >= 0).sum())])
        positions = (frames.times[0].cpu().numpy(),)
    else:
        positions = tuple(
            np.arange(rows.numel()) if table.is_sequence else rows.flatten().nonzero()[:, 0].numpy()
            for table, rows in zip(layout.tables, (s.cpu() for s in frames.selected), strict=True)
        )
    return Dataset(frames, frames, positions, {}, {})


def _codes_of(layout: DataLayout, index: int, dataset: Dataset, codes: np.ndarray) -> np.ndarray:
    """Return codes (m R, J) of the units of one data set in the order of its answers."""
    table = layout.tables[index]
    if dataset.frames.times is not None:
        return codes[: dataset.frames.times.shape[1]].ravel()
    if table.grouped or layout.table_of(table.indicator.name) is None:
        return codes.ravel()
    return codes[dataset.positions[index]].ravel()


@torch.no_grad()
def answer(
    inference: Amortized,
    simulated: Simulated,
    num_draws: int,
    correction: Correction,
    generator: torch.Generator,
    progress: DatasetProgress | None = None,
) -> tuple[Answers, list[int]]:
    """Answer simulated data sets; returns answers, and which data sets have one.

    When the user interrupts, the answers are those that are there, if they are at least 20.
    """
    progress = progress or DatasetProgress(len(simulated), show=False)
    by = "by the network" if correction == "none" else "with correction"
    progress.begin(f"answered {by}", len(simulated))
    corrector, watch = Corrector(inference), Watch(show=progress.tell)
    answered: dict[int, Draws] = {}
    interrupted, step = False, datasets_at_once(inference.problem, num_draws)
    try:
        for start in range(0, len(simulated), step):
            part = simulated.datasets[start : start + step]
            drawn = corrector.draw(part, num_draws, 1, correction, generator, watch=watch)
            answered |= {b: d for b, d in enumerate(drawn, start) if isinstance(d, Draws)}
            progress.advance(len(part))
    except KeyboardInterrupt:
        if len(answered) < FEWEST:
            raise
        interrupted = True
    kept, found = list(answered), list(answered.values())
    rest = inference, simulated.select(kept)
    shares, probabilities, gaps = _indicators(*rest, found, generator, progress)
    vectors = torch.stack([draws.vector for draws in found], dim=1)
    return (
        Answers(
            parameters={
                name: torch.stack([draws.parameters[name] for draws in found], dim=1)
                for name in simulated.parameters
            },
            scores=_standardize(inference, vectors),
            shares=shares,
            probabilities=probabilities,
            filtering=_filtering(*rest, generator, progress),
            gaps=gaps,
            pareto_k=torch.tensor([draws.network_pareto_k for draws in found]),
            rungs=[draws.rung for draws in found],
            accepted=[draws.accepted for draws in found],
            interrupted=interrupted,
        ),
        kept,
    )


def _indicators(
    inference: Amortized,
    simulated: Simulated,
    found: Sequence[Draws],
    generator: torch.Generator,
    progress: DatasetProgress,
) -> tuple[dict[str, Tensor], dict[str, list[np.ndarray]], dict[str, float]]:
    """Return shares, probabilities and gaps of all indicators that can be answered."""
    shares: dict[str, list[Tensor]] = {}
    probabilities: dict[str, list[np.ndarray]] = {}
    gaps: dict[str, list[float]] = {}
    for spec in _answerable(inference):
        progress.begin(f"with {spec.name} drawn", len(simulated))
        for draws, dataset in zip(found, simulated.datasets, strict=True):
            every = max(1, len(draws.log_q) // _DRAWS_OF_INDICATORS)
            few = draws.select(slice(None, None, every))
            one = _conditional(inference, spec, dataset).draw(few, generator)
            values = one.values.flatten(1)
            share = torch.stack([(values == k).double().mean(1) for k in spec.support], dim=-1)
            shares.setdefault(spec.name, []).append(share)
            table = one.probabilities.reshape(-1, spec.num_components)
            probabilities.setdefault(spec.name, []).append(table.cpu().numpy())
            gaps.setdefault(spec.name, []).append(one.gap)
            progress.advance()
    return (
        {name: torch.stack(parts, dim=1) for name, parts in shares.items()},
        probabilities,
        {name: float(np.mean(values)) for name, values in gaps.items()},
    )


def _conditional(
    inference: Amortized, indicator: IndicatorSpec, dataset: Dataset
) -> AbstractConditional:
    return condition_on_data(inference.problem, inference.estimator, indicator, dataset)


def _answerable(inference: Amortized) -> Iterator[IndicatorSpec]:
    for spec in inference.problem.spec.indicators:
        index = inference.problem.layout.table_of(spec.name)
        if inference.problem.exact is not None or index in inference.estimator.classified:
            yield spec


def _filtering(
    inference: Amortized,
    simulated: Simulated,
    generator: torch.Generator,
    progress: DatasetProgress,
) -> dict[str, list[np.ndarray]]:
    """Return probabilities of filtering (N, K) at the true parameters of each data set."""
    found: dict[str, list[np.ndarray]] = {}
    vectors = inference.problem.space.unconstrain(simulated.parameters).expand(len(simulated), -1)
    nothing = torch.zeros(1, device=vectors.device)
    for spec in filter(lambda spec: spec.is_sequence, _answerable(inference)):
        progress.begin(f"with {spec.name} filtered", len(simulated))
        for b, dataset in enumerate(simulated.datasets):
            one = slice(b, b + 1)
            parameters = {name: x[one] for name, x in simulated.parameters.items()}
            truth = Draws(parameters, vectors[one], None, nothing, nothing > 0, "network")
            states = _conditional(inference, spec, dataset).draw(truth, generator)
            table = states.filtering.reshape(-1, spec.num_components)
            found.setdefault(spec.name, []).append(table.cpu().numpy())
            progress.advance()
    return found


def _standardize(inference: Amortized, vectors: Tensor) -> Tensor:
    if not inference.problem.space.size:
        return vectors
    return inference.problem.space.standardize(vectors.flatten(0, 1))[0].unflatten(
        0, vectors.shape[:2]
    )


@torch.no_grad()
def log_likelihoods(
    inference: Amortized, simulated: Simulated, answers: Answers
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return log p(y given θ) of draws (S, B) and of true values (B,); None without a density."""
    if inference.problem.exact is None or not inference.problem.space.size:
        return None
    frames = simulated.frames.to(inference.problem.device)
    truth = {name: x.unsqueeze(0) for name, x in simulated.parameters.items()}
    drawn = inference.problem.exact.log_marginal(answers.parameters, frames)
    true = inference.problem.exact.log_marginal(truth, frames)[0]
    return drawn.cpu().numpy(), true.cpu().numpy()


@torch.no_grad()
def negative_log_posterior(inference: Amortized, simulated: Simulated) -> tuple[float, float]:
    """Return the mean of -log q(θ given y) at true values, in nats, and its standard error."""
    if not inference.problem.space.size or not inference.estimator.has_density:
        return math.nan, math.nan
    context = inference.context(simulated.frames.to(inference.problem.device))
    log_q = inference.log_network(simulated.scores.unsqueeze(0), context)[0].double()
    return float(-log_q.mean()), float(log_q.std() / math.sqrt(len(log_q)))
