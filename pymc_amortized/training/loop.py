"""Online training: new simulations at every step, until the loss is flat or the budget spent."""

import math
import time

from dataclasses import dataclass, field, replace

import torch

from torch import Tensor, nn

from pymc_amortized.errors import TrainingError
from pymc_amortized.networks.batch import Batch
from pymc_amortized.networks.estimator import Estimator
from pymc_amortized.rng import piece_seed
from pymc_amortized.simulation.simulations import AbstractSimulations
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
    source: AbstractSimulations
    config: TrainingConfig
    seed: int
    objective: Objective
    state: TrainingState
    optimizer: torch.optim.Optimizer
    best: dict[str, Tensor]
    validation: Batch
    weights: list[list[nn.Parameter]]
    round_of: int | None  # steps after which data sets come again
    every: int  # steps from one check to the next
    started: float = field(default_factory=time.perf_counter)

    @property
    def is_going_on(self) -> bool:
        """Whether the cycle of the learning rate is not at its end."""
        return self.state.step < self.state.horizon and self.state.progress < 1


def train(
    estimator: Estimator,
    source: AbstractSimulations,
    config: TrainingConfig,
    seed: int,
    *,
    objective: Objective = negative_log_probability,
    held_out: AbstractSimulations | None = None,
    reporting: Reporting = _SILENT,
    checkpoint: Checkpoint | None = None,
) -> TrainingResult:
    """Train an estimator.

    Parameters
    ----------
    estimator : Estimator
        Changed in place; it ends with the weights of the lowest validation loss.
    source : AbstractSimulations
        Of data sets: new ones at each step, or those of a table, round after round.
    config : TrainingConfig
        How long and how.
    seed : int
        Of the simulations. The step, not the history, decides what is drawn, so that a resumed run
        goes on as an uninterrupted one.
    objective : callable
        What is minimized.
    held_out : AbstractSimulations, optional
        Data sets on which the validation loss is computed. Default: new ones, of ``source``.
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
    run = _start(estimator, source, held_out, config, seed, objective)
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
    source: AbstractSimulations,
    held_out: AbstractSimulations | None,
    config: TrainingConfig,
    seed: int,
    objective: Objective,
) -> _Run:
    number = config.num_validation
    if held_out is not None:
        number = held_out.num_available or number
    number = min(number, source.datasets_at_once)
    every, round_of = max(1, config.steps // _CHECKS), source.steps_per_round(config.batch_size)
    return _Run(
        estimator,
        source,
        config,
        seed,
        objective,
        TrainingState(horizon=_first_horizon(config, round_of)),
        torch.optim.AdamW(
            estimator.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        ),
        best={},
        validation=(held_out or source).draw(number, piece_seed(seed, 1, 0)),
        weights=estimator.independent_weights(),
        round_of=round_of,
        every=every if round_of is None else min(every, round_of),
    )


def _first_horizon(config: TrainingConfig, round_of: int | None) -> int:
    """Return after how many steps the learning rate is to end at zero."""
    if round_of is None or config.patience is None:
        return config.steps
    return min(config.steps, config.patience * round_of)


def _loop(run: _Run, reporter: Reporter, checkpoint: Checkpoint) -> StoppedBy:
    last_kept = time.perf_counter()
    reporter.begin(run.state)
    while run.is_going_on or _begin_next_cycle(run):
        losses = _step(run)
        if run.state.step % run.every == 0 or run.state.step >= run.state.horizon:
            reporter.check(run.state, _check(run))
        if time.perf_counter() - last_kept > _SECONDS_BETWEEN_CHECKPOINTS:
            _keep(run, checkpoint)
            last_kept = time.perf_counter()
        if _is_to_stop(run, reporter, losses, checkpoint):
            break
    if not run.state.history or run.state.history[-1]["step"] != run.state.step:
        _check(run)
    if not run.is_going_on:
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
    batch = run.source.batch(run.state.step, run.config.batch_size, run.seed)
    generator = torch.Generator(device=batch.scores.device)
    generator.manual_seed(piece_seed(run.seed, 2, run.state.step))
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
    better = total < run.state.best_loss
    if better or not run.best:
        run.best = {name: x.detach().clone() for name, x in run.estimator.state_dict().items()}
    best_loss = total if better else run.state.best_loss
    history = (*run.state.history, entry)
    run.state = replace(run.state, history=history, best_loss=best_loss)
    if run.round_of is None and run.state.horizon == run.config.steps:
        _end_soon_where_nothing_is_gained(run)
    return total


def _end_soon_where_nothing_is_gained(run: _Run) -> None:
    """Have the learning rate end at zero before its time, once validation gains next to nothing."""
    config, state = run.config, run.state
    if _is_flat([*_losses(state.history).values()], config):
        horizon = min(config.steps, state.step + max(1, config.steps // 5))
        run.state = replace(state, horizon=horizon)


def _begin_next_cycle(run: _Run) -> bool:
    """Begin a cycle that is twice as long, at the best weights, if the last one has gained.

    For data sets that come again: how long a network can learn from them, until it only learns them
    by heart, shows at the ends of cycles alone, for at a high learning rate losses are noisy, and
    the lowest of many may be so by chance.
    """
    config, state = run.config, run.state
    out_of_time = state.step < state.horizon
    is_over = state.step >= config.steps or run.round_of is None or config.patience is None
    if is_over or out_of_time:
        return False
    if state.history[-1]["step"] != state.step:  # an earlier run was stopped just there
        _check(run)
        state = run.state
    losses, begun = _losses(state.history), state.cycle_start
    before = min((x for step, x in losses.items() if step <= begun), default=math.inf)
    if before - losses[state.step] <= (config.tolerance or 0.0):
        return False
    run.estimator.load_state_dict(run.best)
    length = 2 * (state.horizon - begun)
    horizon = state.step + length
    if horizon + length // 2 > config.steps:
        horizon = config.steps
    run.state = replace(state, cycle_start=state.step, horizon=horizon, progress=0.0)
    return True


def _losses(history: tuple[dict[str, float], ...]) -> dict[int, float]:
    """Return the validation loss by step."""
    return {
        int(entry["step"]): sum(x for name, x in entry.items() if name not in _NO_TERMS)
        for entry in history
    }


def _is_flat(losses: list[float], config: TrainingConfig) -> bool:
    """Whether the last fifth of the steps planned has hardly lowered the loss."""
    window = _CHECKS // 5
    if config.tolerance is None or len(losses) < 2 * window:
        return False
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
