"""Simulation-based calibration of a trained network, and of the answers that it leads to."""

import math
import time

from collections.abc import Iterator

import numpy as np
import xarray

from torch import Tensor

from pymc_amortized.diagnostics.calibration_report import CalibrationReport
from pymc_amortized.diagnostics.metrics.calibration import Calibration
from pymc_amortized.diagnostics.metrics.coverage import tarp
from pymc_amortized.diagnostics.metrics.recovery import recovery
from pymc_amortized.diagnostics.metrics.reliability import reliability
from pymc_amortized.diagnostics.metrics.uniformity import pit_values
from pymc_amortized.diagnostics.simulated_answers import (
    FEWEST,
    Answers,
    Simulated,
    answer,
    log_likelihoods,
    negative_log_posterior,
    simulate,
)
from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.draws import Correction
from pymc_amortized.messages import warn
from pymc_amortized.results.axes import ModelAxes, dataset_of
from pymc_amortized.rng import RandomSeed, numpy_generator, torch_generator
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.training.progress import DatasetProgress

__all__ = ["calibrate", "compare", "lines_on_labels", "require_enough"]

_FILTERING = ", filtering"


def calibrate(
    inference: Amortized,
    num_datasets: int = 300,
    *,
    draws: int = 1_000,
    correction: Correction = "auto",
    random_seed: RandomSeed = None,
    progressbar: bool = True,
) -> CalibrationReport:
    """Simulate data sets from the model, answer them, and compare answers with the true values.

    Parameters
    ----------
    inference : Amortized
        The network and the model.
    num_datasets : int
        B, at least 20.
    draws : int
        S, of the posterior of each data set.
    correction : {"auto", "none", "importance", "adaptive", "smc", "mcmc"}
        Of the answers that are compared with those of the network alone. ``"none"``: the network
        alone.
    random_seed : int, sequence of int, numpy.random.Generator or None
        As in PyMC.
    progressbar : bool
        Whether to show, after a second, how many data sets are done.

    Raises
    ------
    InvalidArgumentError
        If there are fewer than 20 data sets.

    Warns
    -----
    AccuracyWarning
        If you interrupt when at least 20 data sets have their final answers: the report is of
        these.
    """
    inference.require_any_data("a check by simulated data sets")
    require_enough(num_datasets)
    started, num_datasets = time.perf_counter(), int(num_datasets)
    rng = numpy_generator(random_seed)
    generator = torch_generator(rng, inference.problem.device)
    corrected = None
    with DatasetProgress(num_datasets, progressbar) as progress:
        progress.begin("simulated")
        simulated = simulate(inference, num_datasets, int(rng.integers(2**31)))
        rest, without = (generator, progress), inference.with_exact(None)
        found, kept = answer(without, simulated, draws, "none", *rest)
        network = compare(inference, "network", found, simulated.select(kept), rng)
        if inference.problem.exact is not None and correction != "none":
            if found.interrupted:
                raise KeyboardInterrupt  # none of the answers that users get is there
            found, kept = answer(inference, simulated, draws, correction, *rest)
            corrected = compare(inference, correction, found, simulated.select(kept), rng)
    if found.interrupted:
        _warn_of_fewer(len(kept), num_datasets)
    return CalibrationReport(
        observed=tuple(o.name for o in inference.problem.spec.observations),
        network=network,
        corrected=corrected,
        num_datasets=num_datasets,
        num_draws=draws,
        negative_log_posterior=negative_log_posterior(inference, simulated),
        seconds=time.perf_counter() - started,
        labels=tuple(lines_on_labels(inference.problem.simulator)),
        interrupted=found.interrupted,
    )


def _warn_of_fewer(number: int, asked: int) -> None:
    warn(
        f"You interrupted the check: the report is of the {number:,} data sets, of {asked:,}, that "
        "were answered until then, and sees only larger errors. Ask for fewer, or wait for all:"
        f"\n\n    posterior.check(num_datasets={number})",
        AccuracyWarning,
    )


def lines_on_labels(simulator: Simulator) -> Iterator[str]:
    """Yield what is to be known of the labels of exchangeable components: a line for each set."""
    ordered = {order.exchangeable: order for order in simulator.labelling.orders}
    for found in simulator.exchangeable:
        if found in ordered:
            yield f"{found}; checked in ascending order of {ordered[found]}"
        else:
            yield f"{found}; not in any order: of single ones every label is equally right"


def require_enough(num_datasets: int) -> None:
    """Refuse so few data sets that errors cannot be told from chance.

    Raises
    ------
    InvalidArgumentError
        If it is not a whole number of at least 20.
    """
    whole = isinstance(num_datasets, int | np.integer) and not isinstance(num_datasets, bool)
    if not whole or num_datasets < FEWEST:
        raise InvalidArgumentError(
            f"Expected at least {FEWEST} data sets, to tell chance from error; got "
            f"{num_datasets!r}. For instance:\n\n    posterior.check(num_datasets=300)"
        )


def compare(
    inference: Amortized,
    answers_of: str,
    answers: Answers,
    simulated: Simulated,
    rng: np.random.Generator,
) -> Calibration:
    """Compare answers for simulated data sets with the values that these were simulated from.

    Parameters
    ----------
    inference : Amortized
        The network and the model.
    answers_of : str
        Whose answers: ``"network"``, or a correction.
    answers : Answers
        For all data sets.
    simulated : Simulated
        The data sets.
    rng : numpy.random.Generator
        Spreads ranks.
    """
    tables = dict(answers.probabilities)
    tables |= {f"{name}{_FILTERING}": table for name, table in answers.filtering.items()}
    axes = ModelAxes(inference.problem.simulator, [], {"chain": 1, "draw": len(simulated)})
    return Calibration(
        answers=answers_of,
        pit=_pit(inference, answers, simulated, axes, rng),
        recovery={
            name: recovery(_array(draws), _array(simulated.parameters[name]))
            for name, draws in answers.parameters.items()
        },
        reliability={
            name: reliability(table, simulated.codes[name.removesuffix(_FILTERING)])
            for name, table in tables.items()
        },
        gaps={name: gap for name, gap in answers.gaps.items() if not math.isnan(gap)},
        pareto_k=_array(answers.pareto_k),
        rungs=tuple(answers.rungs),
        accepted=tuple(answers.accepted),
    )


def _pit(
    inference: Amortized,
    answers: Answers,
    simulated: Simulated,
    axes: ModelAxes,
    rng: np.random.Generator,
) -> xarray.Dataset:
    """Return probability integral transforms, dims (chain, draw, *dims)."""
    spec = inference.problem.spec
    leading = ("chain", "draw")
    arrays = []
    for parameter in spec.parameters:
        draws, truth = answers.parameters[parameter.name], simulated.parameters[parameter.name]
        values = pit_values(_array(draws), _array(truth), rng)
        arrays.append(axes.array(parameter.name, values[None], parameter.dims, leading))
    for indicator in spec.indicators:
        if indicator.name not in answers.shares:
            continue
        shares = _array(answers.shares[indicator.name])[..., 1:]
        values = pit_values(shares, _true_shares(simulated.codes[indicator.name], shares), rng)
        name = f"share of {indicator.name}"
        array = axes.array(name, values[None], None, leading)
        arrays.append(array.assign_coords({f"{name}_dim_0": list(indicator.support[1:])}))
    density = log_likelihoods(inference, simulated, answers)
    if density is not None:
        values = pit_values(*density, rng)
        arrays.append(axes.array("log likelihood", values[None], None, leading))
    if inference.problem.space.size > 1:
        # Points of other data sets are references that know nothing of the true values.
        scores = _array(simulated.scores)
        values = tarp(_array(answers.scores), scores, np.roll(scores, 1, axis=0))
        arrays.append(axes.array("joint", values[None], None, leading))
    return dataset_of(arrays)


def _true_shares(codes: list[np.ndarray], like: np.ndarray) -> np.ndarray:
    num_components = like.shape[-1] + 1
    counts = [np.bincount(z, minlength=num_components) / max(1, len(z)) for z in codes]
    return np.array(counts)[:, 1:]


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
