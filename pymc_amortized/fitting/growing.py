"""Networks that grow while their model is asked about, so that the hundredth answer is cheap."""

import time

from dataclasses import replace

from pymc_amortized.data.tables import Sizes
from pymc_amortized.fitting.train_posterior import PosteriorTraining
from pymc_amortized.fitting.wanted_network import blank_record
from pymc_amortized.inference.assembly import assemble
from pymc_amortized.messages import log_info, log_warning, spoken_duration
from pymc_amortized.model.fingerprint import digest
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.training.config import training_config
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import TrainingRecord, Usage
from pymc_amortized.training.reporter import Reporting, TrainingCallback
from pymc_amortized.training.state import TrainingResult

__all__ = ["FIRST_TO_GROW", "grow"]

FIRST_TO_GROW = 3  # data sets of one model
_SHARE_OF_ANSWERS = 0.5
_LEAST_SECONDS, _MOST_SECONDS = 5.0, 30.0
_FIRST_STEPS = 500
_PRESETS = ("fast", "default")
_SEED = 1
_ALONG_THE_WAY = digest("along the way")[:8]


def grow(posterior: AmortizedPosterior, usage: Usage, *, sizes: Sizes, store: NetworkCache) -> None:
    """Train a network of a model further, for half as long as its answers took; keep it.

    First as the preset ``"fast"`` says, and then, if simulations do not show that it misses
    nothing, as ``"default"`` does; not with each answer, but when some seconds have come together.
    What comes of it serves the next call. Nothing is raised: the answer is there already.

    Parameters
    ----------
    posterior : AmortizedPosterior
        What the answer came from.
    usage : Usage
        Of the model so far.
    sizes : mapping, optional
        As in :func:`pymc_amortized.fit`.
    store : NetworkCache
        Where networks are kept.
    """
    seconds = _SHARE_OF_ANSWERS * usage.seconds - usage.seconds_grown
    if usage.datasets < FIRST_TO_GROW or seconds < _LEAST_SECONDS:
        return
    started = time.perf_counter()
    try:
        _grow(posterior, started + min(seconds, _MOST_SECONDS), sizes, store)
    except KeyboardInterrupt:
        log_info("You interrupted the training along the way; the answer is there.")
    except Exception as error:  # whatever it is, it must not cost the answer
        log_warning(f"No network could be trained along the way ({error}).")
    spent = usage.seconds_grown + time.perf_counter() - started
    store.write_usage(posterior.record.family, replace(usage, seconds_grown=spent))


def _grow(posterior: AmortizedPosterior, ends_at: float, sizes: Sizes, store: NetworkCache) -> None:
    coverage = posterior.inference.coverage
    if coverage is not None and coverage.is_proven:
        return
    simulator = posterior.inference.problem.simulator
    layout, estimator = assemble(simulator, sizes, None, _SEED)
    if not estimator.has_to_learn:
        return
    known = posterior.record
    for config in map(training_config, _PRESETS):
        record = blank_record(known.parts, known.orders, layout, config, None)
        if store.stamp(record.fingerprint) is None and known.steps < config.steps:
            break
    else:
        return  # all of them are trained
    with store.lock(record.fingerprint, wait=False) as is_free:
        if not is_free or store.stamp(record.fingerprint) is not None:
            return
        left = spoken_duration(ends_at - time.perf_counter())
        log_info(
            f"The answer is there; a network of the model grows for {left} more, so that later "
            "answers take less. Interrupt it to have the answer now."
        )
        training = PosteriorTraining(simulator, layout, estimator, record, _SEED, store)
        result = training.run(Reporting(callback=_until(ends_at)))
        _keep(training, result, known.steps, store)


def _until(ends_at: float) -> TrainingCallback:
    """Return a callback that ends training at a time of the clock."""

    def stop(step: int, losses: dict[str, float]) -> None:
        if time.perf_counter() >= ends_at:
            raise StopIteration

    return stop


def _keep(
    training: PosteriorTraining, result: TrainingResult, known_steps: int, store: NetworkCache
) -> None:
    """Keep a network that is trained to its end, or twice as long as the one that is known."""
    record, along = training.record, f"{training.record.family}-{_ALONG_THE_WAY}"
    if result.stopped_by:
        if result.state.step >= max(2 * known_steps, _FIRST_STEPS):
            _write(training.conclude(result), along, store)
        return
    _write(training.conclude(result), record.fingerprint, store)
    store.discard(record.fingerprint, "checkpoint")
    store.discard(along, "network")


def _write(posterior: AmortizedPosterior, fingerprint: str, store: NetworkCache) -> None:
    known: TrainingRecord = posterior.record
    store.write(fingerprint, posterior.tensors(), known.as_record() | {"fingerprint": fingerprint})
