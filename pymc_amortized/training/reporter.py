"""What is told of training: a bar, lines of the log, and a callback, which may end it."""

import time

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.messages import PeriodicLog, log_info, spoken_duration
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.progress import TrainingProgress
from pymc_amortized.training.state import TrainingState

__all__ = ["Reporter", "Reporting", "TrainingCallback", "check_callback"]

TrainingCallback = Callable[[int, dict[str, float]], object]
"""Takes a step, and losses by name; raises ``StopIteration`` to end training there."""

_FIRST_STEPS = 32
_FIRST_SECONDS = 10.0
_TOO_SHORT_TO_TELL = 5.0
_STEPS_BETWEEN_UPDATES = 20
_CHECKS_BETWEEN_SHARES = 5


def check_callback(callback: TrainingCallback | None) -> TrainingCallback | None:
    """Return a callback, or None.

    Raises
    ------
    InvalidArgumentError
        If it cannot be called.
    """
    if callback is not None and not callable(callback):
        raise InvalidArgumentError(
            f"Expected callback to be a function of a step and losses; got {callback!r}. For "
            "instance:\n\n    pma.fit(model, callback=lambda step, losses: print(step, losses))"
        )
    return callback


@dataclass(frozen=True, slots=True, eq=False)
class Reporting:
    """Whom training tells where it stands.

    Attributes
    ----------
    show : bool
        Whether a bar is shown, or lines are logged where none can be.
    callback : callable or None
        Called after every step.
    accepted : callable or None
        Computes the share of fresh data sets with k below 0.7, to be shown.
    place : Path or None
        Where the network is kept.
    """

    show: bool = False
    callback: TrainingCallback | None = None
    accepted: Callable[[], float] | None = None
    place: Path | None = None


@dataclass(slots=True, eq=False)
class Reporter:
    """Tells of one run of training, between entering and leaving it.

    Parameters
    ----------
    reporting : Reporting
        Whom.
    config : TrainingConfig
        Of the run.
    clock : callable
        Returns seconds.
    """

    reporting: Reporting
    config: TrainingConfig
    clock: Callable[[], float] = time.perf_counter
    _bar: TrainingProgress = field(init=False)
    _started: float = field(init=False)
    _first_step: int | None = field(default=None, init=False)
    _log: PeriodicLog | None = field(default=None, init=False)
    _validation: float | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._bar = TrainingProgress(self.config.steps, self.reporting.show)
        self._started = self.clock()

    def __enter__(self) -> "Reporter":
        self._bar.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def begin(self, state: TrainingState) -> None:
        """Tell where training begins, or goes on."""
        self._first_step, self._started = state.step, self.clock()
        self._bar.update(state.step, state.horizon)

    def check(self, state: TrainingState, loss: float) -> None:
        """Tell of a validation loss, in nats per data set."""
        self._validation, share = loss, None
        wanted = len(state.history) % _CHECKS_BETWEEN_SHARES == 0
        if wanted and self.reporting.accepted is not None and self.reporting.show:
            share = self.reporting.accepted()
        self._bar.update(state.step, state.horizon, accepted=share)

    def step(self, state: TrainingState, losses: dict[str, float]) -> bool:
        """Tell of a step, and of its losses by name; return whether the callback ends training."""
        if state.step % _STEPS_BETWEEN_UPDATES == 0:
            self._bar.update(state.step, loss=sum(losses.values()))
        if self.reporting.show:
            self._say(state, losses)
        told, self._validation = self._validation, None
        if self.reporting.callback is not None:
            found = losses if told is None else {**losses, "validation": told}
            try:
                self.reporting.callback(state.step, found)
            except StopIteration:
                return True
        return False

    def _say(self, state: TrainingState, losses: dict[str, float]) -> None:
        now = self.clock()
        steps, seconds = state.step - self._first_step, now - self._started
        if self._log is None:
            if steps >= _FIRST_STEPS or seconds >= _FIRST_SECONDS:
                self._announce(state, self._seconds_left(state, seconds / steps))
                self._log = PeriodicLog(clock=self.clock)
        elif not self._bar.is_seen:
            text = f"{state.step:,} of {state.horizon:,} steps, loss {sum(losses.values()):.3f}"
            self._log.tell(text, self._seconds_left(state, seconds / steps))

    def _announce(self, state: TrainingState, left: float) -> None:
        """Say once what training will take, unless it is over soon."""
        if left < _TOO_SHORT_TO_TELL:
            return
        place = self.reporting.place
        kept = "" if place is None else f", kept in '{place}'"
        log_info(
            f"Training: at most {self.config.steps - state.step:,} steps, some "
            f"{spoken_duration(left)}{kept}. Interrupt it to use the best network so far."
        )

    def _seconds_left(self, state: TrainingState, per_step: float) -> float:
        left = (state.horizon - state.step) * per_step
        if self.config.max_time is not None:
            left = min(left, self.config.max_time - state.seconds)
        return max(left, 0.0)
