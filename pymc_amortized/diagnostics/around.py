"""Calibration where the data are: posterior simulation-based calibration."""

import time

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from torch import Tensor

from pymc_amortized.data.dataset import Dataset
from pymc_amortized.data.frames import Frames
from pymc_amortized.diagnostics.calibration_report import CalibrationReport
from pymc_amortized.diagnostics.check import compare, lines_on_labels, require_enough
from pymc_amortized.diagnostics.simulated_answers import (
    Answers,
    Simulated,
    negative_log_posterior,
    with_truth,
)
from pymc_amortized.errors import InvalidArgumentError, UnsupportedModelError
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.importance.weights import resample, weigh
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.answer import datasets_at_once
from pymc_amortized.inference.draws import Correction
from pymc_amortized.labels.detect import switching_of_draws
from pymc_amortized.rng import RandomSeed, numpy_generator, torch_generator
from pymc_amortized.training.progress import DatasetProgress

__all__ = ["calibrate_around"]

_PROPOSALS_PER_DRAW = 4


def _require_usual(correction: Correction) -> None:
    if correction != "auto":
        raise InvalidArgumentError(
            f"Expected no correction with around=; got {correction!r}. Answers around an observed "
            "data set are always weighed by its likelihood. Leave it out, or check everywhere:\n\n"
            f'    posterior.check(correction="{correction}")'
        )


def _require_density(inference: Amortized) -> None:
    if inference.problem.exact is None or not inference.problem.space.size:
        raise UnsupportedModelError(
            "Expected a model with parameters and a density, for draws are weighed by the "
            "likelihood of the observed data. Check over the whole prior instead:\n\n"
            "    posterior.check()"
        )
    if not inference.estimator.has_density:
        raise UnsupportedModelError(
            "Expected a posterior network that knows its density, by which draws are weighed; "
            f"{type(inference.estimator.posterior).__name__} does not. Check over the whole prior "
            "instead:\n\n    posterior.check()"
        )


def calibrate_around(
    inference: Amortized,
    idata: Any,
    num_datasets: int = 300,
    *,
    draws: int = 1_000,
    correction: Correction = "auto",
    random_seed: RandomSeed = None,
    progressbar: bool = True,
) -> CalibrationReport:
    r"""Check calibration around observed data, by new data from their posterior [1]_.

    Parameters are drawn from the posterior of the observed data y, and new data y' from the model
    with these. True values are then uniformly ranked among draws of

    .. math:: p(\theta \mid y', y) \propto p(\theta \mid y') \, p(y \mid \theta),

    which the network's draws given y' follow when they are weighed by the likelihood of y.

    Parameters
    ----------
    inference : Amortized
        The network and the model.
    idata : InferenceData or DataTree
        An accepted answer for the observed data, which it holds too.
    num_datasets, draws : int
        B new data sets, and S draws for each.
    correction : {"auto"}
        Draws are always weighed by the likelihood of the observed data.
    random_seed : int, sequence of int, numpy.random.Generator or None
        As in PyMC.
    progressbar : bool
        Whether to show, after a second, how many data sets are done.

    Raises
    ------
    UnsupportedModelError
        If the model has no density, by which draws are weighed, or no parameters.
    ObservationShapeError
        If the network is not trained for data of the model's own size, which new data have.
    InvalidArgumentError
        If another correction is asked for, there are fewer than 20 data sets, or the answer holds
        fewer draws than these.

    References
    ----------
    .. [1] Säilynoja, T., Schmitt, M., Bürkner, P.-C., & Vehtari, A. (2025). Posterior SBC:
       simulation-based calibration checking conditional on data. arXiv:2502.03279
    """
    _require_density(inference)
    _require_usual(correction)
    inference.require_any_data("a check by simulated data sets")
    require_enough(num_datasets)
    inference.read(None)  # new data have the model's own size: refused, if not trained for it
    started = time.perf_counter()
    rng = numpy_generator(random_seed)
    generator = torch_generator(rng, inference.problem.device)
    with DatasetProgress(num_datasets, progressbar) as progress:
        progress.begin("simulated")
        observed = _observed(inference, idata).frames.to(inference.problem.device)
        simulated = _new_data(inference, idata, num_datasets, rng)
        scores, weights = _weighed(inference, simulated, observed, draws, generator, progress)
        answers = {
            n: _answers(inference, n, scores, w, draws, generator) for n, w in weights.items()
        }
        found = {n: compare(inference, n, a, simulated, rng) for n, a in answers.items()}
    return CalibrationReport(
        observed=tuple(o.name for o in inference.problem.spec.observations),
        network=found["network"],
        corrected=found["importance"],
        num_datasets=num_datasets,
        num_draws=draws,
        negative_log_posterior=negative_log_posterior(inference, simulated),
        seconds=time.perf_counter() - started,
        around=True,
        labels=(*lines_on_labels(inference.problem.simulator), *_switching(inference, idata)),
    )


def _observed(inference: Amortized, idata: Any) -> Dataset:
    """Return the data that an answer is for."""
    values = {
        o.name: np.asarray(idata["observed_data"][o.name])
        for o in inference.problem.spec.observations
    }
    own = inference.problem.simulator.observed_data
    if all(np.array_equal(x, own[name], equal_nan=True) for name, x in values.items()):
        return inference.read(None)
    along = [c.name for c in inference.problem.spec.covariates if c.unit_axes]
    given = {name: np.asarray(idata["constant_data"][name]) for name in along}
    return inference.read({**{n: np.ma.masked_invalid(x) for n, x in values.items()}, **given})


def _switching(inference: Amortized, idata: Any) -> Iterator[str]:
    """Say whether labels switch in an answer, whose draws are put in order for the check."""
    posterior = idata["posterior"]
    names = inference.problem.space.names
    draws = {n: torch.as_tensor(np.asarray(posterior[n])).flatten(0, 1) for n in names}
    exchangeable = inference.problem.simulator.exchangeable
    for found in switching_of_draws(exchangeable, draws, posterior.sizes["chain"]):
        yield repr(found).splitlines()[0] + ", in the answer that was given"


@torch.no_grad()
def _new_data(
    inference: Amortized, idata: Any, num_datasets: int, rng: np.random.Generator
) -> Simulated:
    """Simulate a data set of the model's shape from each of B draws of the posterior."""
    posterior = idata["posterior"]
    specs = inference.problem.spec.parameters
    flat = {s.name: np.asarray(posterior[s.name]).reshape(-1, *s.shape) for s in specs}
    count = len(next(iter(flat.values())))
    if count < num_datasets:
        raise InvalidArgumentError(
            f"Expected at least as many draws as new data sets, {num_datasets}; got {count}. "
            f"Draw more:\n\n    idata = posterior.sample(draws={num_datasets})"
        )
    chosen = rng.choice(count, num_datasets, replace=False)
    parameters = {name: torch.as_tensor(x[chosen].copy()) for name, x in flat.items()}
    parameters = inference.problem.labelling.arrange(parameters)
    simulation = inference.problem.simulator.simulate(parameters, rng)
    layout = inference.problem.layout
    shape = (num_datasets, 1, -1)
    selected = tuple(
        torch.as_tensor(t.observed_rows, device=inference.problem.device).expand(shape)
        for t in layout.tables
    )
    frames = Frames(
        {name: x.unsqueeze(1) for name, x in simulation.observations.items()}, {}, selected
    )
    return with_truth(inference, simulation.parameters, frames, {})


def _weighed(
    inference: Amortized,
    simulated: Simulated,
    observed: Frames,
    num_draws: int,
    generator: torch.Generator,
    progress: DatasetProgress,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return draws (M, B, D) of the network given new data, and log weights (M, B) for them.

    Those by which its own draws are to be weighed, and those that correct it, too.
    """
    problem, number = inference.problem, _PROPOSALS_PER_DRAW * num_draws
    progress.begin("answered by the network")
    frames = simulated.frames.to(problem.device)
    scores, log_q = inference.draw_scores(inference.context(frames), number, generator)
    step = datasets_at_once(problem, number)
    parts = [slice(start, start + step) for start in range(0, len(simulated), step)]

    def together(values: Callable[[slice], Tensor]) -> Tensor:
        found = []
        for some in parts:
            found.append(values(some))
            progress.advance(found[-1].shape[1])
        return torch.cat(found, dim=1)

    log_observed = together(lambda b: _log_likelihood(inference, scores[:, b], observed))
    progress.begin("answered with correction")
    log_target = together(lambda b: problem.log_target(scores[:, b], frames.select(b)))
    return scores, {"network": log_observed, "importance": log_observed + log_target - log_q}


@torch.no_grad()
def _log_likelihood(inference: Amortized, scores: Tensor, observed: Frames) -> Tensor:
    """Return log p(y given θ) (M, B) of the observed data, for draws (M, B, D)."""
    _, parameters, _ = inference.problem.parameters(scores.flatten(0, 1).unsqueeze(1))
    return inference.problem.exact.log_marginal(parameters, observed)[:, 0].unflatten(
        0, scores.shape[:2]
    )


def _answers(
    inference: Amortized,
    name: str,
    scores: Tensor,
    log_weights: Tensor,
    num_draws: int,
    generator: torch.Generator,
) -> Answers:
    weights = weigh(log_weights.nan_to_num(nan=-torch.inf))
    chosen = resample(weights.log_weights, num_draws, generator)
    picked = scores.gather(0, chosen.unsqueeze(-1).expand(-1, -1, scores.shape[-1]))
    _, parameters, _ = inference.problem.parameters(picked)
    num_datasets = scores.shape[1]
    return Answers(
        parameters=parameters,
        scores=picked,
        shares={},
        probabilities={},
        filtering={},
        gaps={},
        pareto_k=weights.pareto_k,
        rungs=[name] * num_datasets,
        accepted=[bool(r) for r in AcceptanceRule().relies_on(weights)],
    )
