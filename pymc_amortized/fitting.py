"""The door for people with many data sets: train once, answer for ever."""

import math

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pymc_amortized.data.layout import DataLayout
from pymc_amortized.data.tables import Sizes
from pymc_amortized.errors import (
    AccuracyWarning,
    CacheWarning,
    InvalidArgumentError,
    TrainingInterruptedWarning,
)
from pymc_amortized.importance.acceptance import AcceptanceRule
from pymc_amortized.inference.amortized import Amortized
from pymc_amortized.inference.assembly import (
    assemble,
    inference_from_tensors,
    problem_in_scores,
    untrained,
)
from pymc_amortized.inference.problem import Problem
from pymc_amortized.messages import warn
from pymc_amortized.model.fingerprint import describe_value, digest
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.build import Networks
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.posterior import AmortizedPosterior
from pymc_amortized.rng import RandomSeed, numpy_generator
from pymc_amortized.simulation.compiling import compile_simulator
from pymc_amortized.simulation.simulator import Simulator
from pymc_amortized.symmetry.canonical_order import CanonicalOrder
from pymc_amortized.symmetry.order_choice import OrderBy, choose_orders
from pymc_amortized.training.cache import Cache, NetworkCache, network_cache
from pymc_amortized.training.config import Preset, TrainingConfig, training_config
from pymc_amortized.training.loop import train
from pymc_amortized.training.record import TrainingRecord
from pymc_amortized.training.state import Checkpoint, TrainingResult
from pymc_amortized.version import package_versions

if TYPE_CHECKING:
    import pymc

__all__ = ["fit", "fit_simulator"]

_MAX_FOR_SCALES = 2_000
_NUM_VALIDATION_DATASETS = 64
_FEWEST_VALIDATION_DATASETS = 8
_NUM_TO_COVER = 160
_DRAWS_TO_COVER = 500
_LEAST_ACCEPTED_TO_COVER = 0.6
_MAX_NUMBERS_TO_VALIDATE = 2e9


def fit(
    model: "pymc.Model | None" = None,
    *,
    sizes: Sizes = None,
    training: TrainingConfig | Preset | None = None,
    networks: Networks | None = None,
    order_by: OrderBy = None,
    device: str = "auto",
    random_seed: RandomSeed = None,
    progressbar: bool = True,
    cache: Cache = True,
) -> AmortizedPosterior:
    """Train networks for a model, or find those that were trained for it before.

    Parameters
    ----------
    model : pymc.Model, optional
        Default: the model of the surrounding ``with`` block. It is not changed, and the values it
        observes do not matter, only their number.
    sizes : mapping of str to int or (int, int), optional
        Numbers of units to train for, by observed variable, such as ``{"y": (50, 500)}``. Default:
        the number in the model. Covariates that run along the units are then resampled from the
        model's, and can be given anew with each data set.
    training : {"none", "fast", "default", "thorough"} or TrainingConfig, optional
        How long: 0, 2,000, 7,000 or 30,000 steps at most. Without any, data sets are answered by
        the model's density alone.
    networks : Networks, optional
        Which networks. Default: chosen from the reading of the model.
    order_by : str or sequence of str, optional
        Where components are exchangeable, so that the posterior has a mode for each order of their
        labels: the parameter in whose ascending order they are trained and answered. Default: that
        by which simulated data tell them apart best.
    device : str
        ``"auto"`` (the GPU when there is one), or a torch device.
    random_seed : int, sequence of int, numpy.random.Generator or None
        As in PyMC. A network found in the cache may have been trained with another one.
    progressbar : bool
        Show one while training.
    cache : bool, str or PathLike
        Where networks are kept: True for the default directory (``$PYMC_AMORTIZED_CACHE``, or the
        user's cache), False for nowhere, or a directory.

    Returns
    -------
    AmortizedPosterior
        Ready to answer data sets.

    Raises
    ------
    UnsupportedModelError
        If the model cannot be read, or its sizes cannot be varied as asked for.
    InvalidArgumentError
        If ``order_by`` names what exchangeable components cannot be ordered by.
    TrainingError
        If too many steps are not finite.

    Warns
    -----
    TrainingInterruptedWarning
        If training was interrupted by Ctrl-C. The best network so far is returned; called again,
        training goes on from there.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
    >>> config = pma.TrainingConfig(steps=100, tolerance=None)
    >>> posterior = pma.fit(model, training=config, random_seed=1, progressbar=False, cache=False)
    >>> posterior.record.steps
    100
    """
    return fit_simulator(
        compile_simulator(model, device=device),
        sizes=sizes,
        training=training,
        networks=networks,
        order_by=order_by,
        random_seed=random_seed,
        progressbar=progressbar,
        cache=cache,
    )


def fit_simulator(
    simulator: Simulator,
    *,
    sizes: Sizes,
    training: TrainingConfig | Preset | None,
    networks: Networks | None,
    order_by: OrderBy,
    random_seed: RandomSeed,
    progressbar: bool,
    cache: Cache,
) -> AmortizedPosterior:
    """Do what :func:`fit` does, for a model that has been compiled."""
    config = training_config(training)
    if networks is not None and not isinstance(networks, Networks):
        raise InvalidArgumentError(
            f"Expected networks to be pma.Networks; got {networks!r}. For instance:\n\n"
            "    networks=pma.Networks(summary=pma.SetTransformer)"
        )
    store = network_cache(cache)
    if networks is not None and config.steps == 0:
        raise InvalidArgumentError(
            f"Expected no networks where nothing is trained; got {networks!r}. Leave networks out, "
            'or train them:\n\n    training="default"'
        )
    seed = int(numpy_generator(random_seed).integers(2**31))
    parts, orders = simulator.fingerprint, choose_orders(simulator, order_by)
    simulator = simulator.in_order(orders)
    if config.steps == 0:
        layout, inference = untrained(simulator, sizes, seed)
        record = _blank_record(parts, orders, layout, config, None)
        return AmortizedPosterior(inference, record)
    layout, estimator = assemble(simulator, sizes, networks, seed)
    record = _blank_record(parts, orders, layout, config, networks)
    found = store.read(record.fingerprint)
    if found is not None:
        try:
            known = TrainingRecord.from_record(found[1])
            inference = inference_from_tensors(simulator, found[0], known.sizes, networks)
            return AmortizedPosterior(inference, known)
        except (RuntimeError, KeyError, TypeError) as error:
            warn(
                f"The cached network does not fit, and is trained anew: {error}",
                CacheWarning,
            )
    posterior = _train_posterior(simulator, layout, estimator, record, seed, progressbar, store)
    if posterior.record.interrupted:
        warn(
            f"Training was interrupted after {posterior.record.steps:,} of {config.steps:,} steps; "
            "the best network so far is used. Call again to go on from there.",
            TrainingInterruptedWarning,
        )
    else:
        store.write(record.fingerprint, posterior.tensors(), posterior.record.as_record())
        store.discard(record.fingerprint, "checkpoint")
    return posterior


def _blank_record(
    parts: dict[str, str],
    orders: tuple[CanonicalOrder, ...],
    layout: DataLayout,
    config: TrainingConfig,
    networks: Networks | None,
) -> TrainingRecord:
    sizes = {t.name: t.sizes for t in layout.tables if t.resized}
    versions = package_versions()
    fingerprint = digest(
        repr(sorted(parts.items())),
        repr([(t.names, t.sizes, t.resized) for t in layout.tables]),
        repr(config),
        describe_value(None if networks is None else asdict(networks)),
        repr(orders),
        repr(sorted(versions.items())),
    )
    return TrainingRecord(
        fingerprint=fingerprint,
        parts=parts,
        versions=versions,
        sizes=sizes,
        config=config,
        steps=0,
        skipped=0,
        seconds=0.0,
        interrupted=False,
        validation_loss=math.nan,
        accepted_share=math.nan,
        history=(),
        orders=orders,
    )


def _train_posterior(
    simulator: Simulator,
    layout: DataLayout,
    estimator: Estimator,
    record: TrainingRecord,
    seed: int,
    progressbar: bool,
    store: NetworkCache,
) -> AmortizedPosterior:
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
        content = {"seed": seed, "state": state}
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
