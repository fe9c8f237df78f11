"""Online training: new simulations at every step, until the loss is flat or the budget spent."""

import math
import time

from dataclasses import dataclass, field, replace

import torch

from torch import Tensor, nn

from pymc_amortized.errors import TrainingError
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.simulation.training_data import SimulationSource
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.objectives import Objective, negative_log_probability
from pymc_amortized.training.reporter import Reporter, Reporting
from pymc_amortized.training.state import (
    Checkpoint,
    StoppedBy,
    TrainingResult,
    TrainingState,
    restore,
    snapshot,
)

__all__ = ["train"]

_POOL = 4096
_MAX_GRADIENT = 5.0
_WARMUP_STEPS = 100
_CHECKS = 20
_MAX_SKIPPED = 0.1
_MIN_STEPS_TO_JUDGE = 50
_SHARE_TO_JUDGE = 0.1
_SECONDS_BETWEEN_CHECKPOINTS = 30.0
_SILENT = Reporting()
_NO_TERMS = ("step", "seconds")  # of an entry in the history


@dataclass(slots=True, eq=False)
class _Run:
    """One run of training: what changes from step to step."""

    estimator: Estimator
    source: SimulationSource
    config: TrainingConfig
    seed: int
    objective: Objective
    state: TrainingState
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    validation: Batch
    weights: list[list[nn.Parameter]]
    pool: Batch | None = None
    pool_index: int = -1
    started: float = field(default_factory=time.perf_counter)


def train(
    estimator: Estimator,
    source: SimulationSource,
    config: TrainingConfig,
    seed: int,
    *,
    objective: Objective = negative_log_probability,
    reporting: Reporting = _SILENT,
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train an estimator.

    Parameters
    ----------
    estimator : Estimator
        Changed in place; it ends with the weights of the lowest validation loss.
    source : SimulationSource
        Of new data sets.
    config : TrainingConfig
        How long and how.
    seed : int
        Of the simulations. The step, not the history, decides what is drawn, so that a resumed run
        goes on as an uninterrupted one.
    objective : callable
        What is minimized.
    reporting : Reporting
        Who is told where training stands, and may stop it.
    checkpoint : Checkpoint, optional
        Where the state is kept, and what it was when an earlier run stopped.

    Raises
    ------
    TrainingError
        If more than one step in ten is not finite.
    """
    checkpoint = checkpoint or Checkpoint()
    run = _start(estimator, source, config, seed, objective)
    if checkpoint.resume is not None:
        tensors, record = checkpoint.resume
        run.best = restore(tensors, estimator, run.optimizer)
        run.state = TrainingState.from_record(record)
    with Reporter(reporting, config) as reporter:
        try:
            stopped_by = _loop(run, reporter, checkpoint)
        except KeyboardInterrupt:
            stopped_by = "interrupt"
            _keep(run, checkpoint)
    if run.best:
        estimator.load_state_dict(run.best)
    estimator.eval()
    return TrainingResult(run.state, stopped_by)


def _start(
    estimator: Estimator,
    source: SimulationSource,
    config: TrainingConfig,
    seed: int,
    objective: Objective,
) -> _Run:
    num_validation = min(config.num_validation, source.datasets_at_once)
    validation = source.draw(num_validation, seed=_seed(seed, 1, 0))
    optimizer = torch.optim.AdamW(
        estimator.parameters(),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )
    state = TrainingState(horizon=config.steps)
    weights = estimator.independent_weights()
    return _Run(
        estimator, source, config, seed, objective, state, optimizer, {}, validation, weights
    )


def _seed(seed: int, kind: int, index: int) -> int:
    """Return the seed of one piece of randomness: kind 0 trains, 1 validates, 2 picks rows."""
    return seed * 1_000_003 + kind * 100_000_007 + index


def _loop(run: _Run, reporter: Reporter, checkpoint: Checkpoint) -> StoppedBy:
    every = max(1, run.config.steps // _CHECKS)
    last_kept = time.perf_counter()
    reporter.begin(run.state)
    while run.state.step < run.state.horizon and run.state.progress < 1:
        losses = _step(run)
        if run.state.step % every == 0 or run.state.step >= run.state.horizon:
            reporter.check(run.state, _check(run))
        if time.perf_counter() - last_kept > _SECONDS_BETWEEN_CHECKPOINTS:
            _keep(run, checkpoint)
            last_kept = time.perf_counter()
        if _is_to_stop(run, reporter, losses, checkpoint):
            break
    if not run.state.history or run.state.history[-1]["step"] != run.state.step:
        _check(run)
    if run.state.step >= run.state.horizon or run.state.progress >= 1:
        return ""
    _keep(run, checkpoint)
    return "callback"


def _is_to_stop(
    run: _Run, reporter: Reporter, losses: dict[str, float], checkpoint: Checkpoint
) -> bool:
    """Tell of a step, and whether training is to end there; nothing is lost if that fails."""
    try:
        return reporter.step(run.state, losses)
    except Exception:
        _keep(run, checkpoint)
        raise


def _keep(run: _Run, checkpoint: Checkpoint) -> None:
    if checkpoint.keep is not None:
        tensors = snapshot(run.estimator, run.best, run.optimizer)
        checkpoint.keep(tensors, run.state.as_record())


def _step(run: _Run) -> dict[str, float]:
    """Take one step; return its losses by name, NaN if it was left out."""
    run.estimator.train()
    rate = run.config.learning_rate * 0.5 * (1 + math.cos(math.pi * run.state.progress))
    for group in run.optimizer.param_groups:
        group["lr"] = rate * min(1.0, (run.state.step + 1) / _WARMUP_STEPS)
    batch = _next_batch(run)
    generator = torch.Generator(device=batch.scores.device)
    generator.manual_seed(_seed(run.seed, 2, run.state.step))
    terms = run.objective(run.estimator, batch, generator)
    loss = sum(terms.values())
    run.optimizer.zero_grad()
    loss.backward()
    norms = [nn.utils.clip_grad_norm_(part, _MAX_GRADIENT) for part in run.weights]
    finite = bool(torch.isfinite(torch.stack([loss.detach(), *norms])).all())
    if finite:
        run.optimizer.step()
    _advance(run, finite)
    if not finite:
        _refuse_many_skips(run, batch)
    return {n: float(x.detach()) if finite else math.nan for n, x in terms.items()}


def _next_batch(run: _Run) -> Batch:
    """Cut the next batch out of a pool that is simulated at once."""
    size = run.config.batch_size
    per_pool = max(1, min(_POOL, run.source.datasets_at_once) // size)
    index, place = divmod(run.state.step, per_pool)
    if run.pool is None or run.pool_index != index:
        run.pool = run.source.draw(per_pool * size, seed=_seed(run.seed, 0, index))
        run.pool_index = index
    return run.pool.select(slice(place * size, (place + 1) * size))


def _advance(run: _Run, finite: bool) -> None:
    """Count the step, and move on in the cycle so that it ends with the steps or the time."""
    state, now = run.state, time.perf_counter()
    seconds = state.seconds + now - run.started
    run.started = now
    step = state.step + 1
    left = max(1.0, run.state.horizon - state.step)
    if run.config.max_time is not None and _can_judge_time(step, seconds, run.config.max_time):
        time_left = max(0.0, run.config.max_time - seconds)
        left = min(left, max(1.0, time_left / (seconds / step)))
    progress = state.progress + (1 - state.progress) / left
    run.state = replace(
        state,
        step=step,
        progress=1.0 if progress > 1 - 1e-9 else progress,
        seconds=seconds,
        skipped=state.skipped + (not finite),
    )


def _can_judge_time(step: int, seconds: float, max_time: float) -> bool:
    """Whether steps are known to take what they took so far; the first ones take longer.

    So a run that has time enough does not depend on it.
    """
    return step >= _MIN_STEPS_TO_JUDGE or seconds >= _SHARE_TO_JUDGE * max_time


def _check(run: _Run) -> float:
    """Return the validation loss, keep the best weights, and shorten a run that is flat."""
    run.estimator.eval()
    generator = torch.Generator(device=run.validation.scores.device).manual_seed(0)
    with torch.no_grad():
        terms = run.objective(run.estimator, run.validation, generator)
    total = float(sum(terms.values()))
    entry = {"step": run.state.step, "seconds": run.state.seconds}
    entry |= {name: float(term) for name, term in terms.items()}
    history = (*run.state.history, entry)
    horizon = run.state.horizon
    if horizon == run.config.steps and _is_flat(history, run.config):
        horizon = min(horizon, run.state.step + max(1, run.config.steps // 5))
    better = total < run.state.best_loss
    if better or not run.best:
        run.best = {name: x.detach().clone() for name, x in run.estimator.state_dict().items()}
    best_loss = total if better else run.state.best_loss
    run.state = replace(run.state, history=history, horizon=horizon, best_loss=best_loss)
    return total


def _is_flat(history: tuple[dict[str, float], ...], config: TrainingConfig) -> bool:
    """Whether the last fifth of the steps planned has hardly lowered the loss."""
    window = _CHECKS // 5
    if config.tolerance is None or len(history) < 2 * window:
        return False
    losses = [sum(x for name, x in entry.items() if name not in _NO_TERMS) for entry in history]
    return min(losses[:-window]) - min(losses[-window:]) < config.tolerance


def _refuse_many_skips(run: _Run, batch: Batch) -> None:
    state = run.state
    if state.step < _MIN_STEPS_TO_JUDGE or state.skipped <= _MAX_SKIPPED * state.step:
        return
    name = _suspect(run, batch)
    raise TrainingError(
        f"Expected finite steps; {state.skipped} of {state.step} were not, most likely because of "
        f"{name}, which takes extreme values under the prior. Give it a prior with lighter tails, "
        "or train more carefully:\n\n"
        f"    pma.fit(model, training=pma.TrainingConfig(learning_rate="
        f"{run.config.learning_rate / 10:g}))",
        variable=name,
    )


def _suspect(run: _Run, batch: Batch) -> str:
    """Name the parameter coordinate or the observed variable with the most extreme values."""
    extremes = {
        f"{name!r}": float(batch.scores[:, i].abs().nan_to_num(torch.inf).max())
        for i, name in enumerate(run.source.space.coordinate_names)
    }
    for table, units in zip(
        run.source.layout.tables, run.estimator.scaled(batch.units), strict=True
    ):
        extremes[f"{table.name!r}"] = float(units.values.abs().max())
    return max(extremes, key=extremes.__getitem__)
