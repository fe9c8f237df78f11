"""Where training stands, and what it has led to."""

import math

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

__all__ = ["Checkpoint", "TrainingResult", "TrainingState"]


@dataclass(frozen=True, slots=True)
class TrainingState:
    """Where training stands: all that is needed to go on, tensors apart.

    Attributes
    ----------
    step : int
        Steps done.
    progress : float
        How far through the learning rate's cycle, from 0 to 1.
    horizon : int
        Steps planned; fewer than configured once the loss is flat.
    seconds : float
        Spent so far.
    skipped : int
        Steps left out because they were not finite.
    best_loss : float
        The lowest validation loss, in nats per data set.
    history : tuple of dict
        At each check: step, seconds, validation loss of the posterior and of the classification.
    """

    step: int = 0
    progress: float = 0.0
    horizon: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_loss: float = math.inf
    history: tuple[dict[str, float], ...] = ()

    def as_record(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        record = asdict(self)
        if math.isinf(self.best_loss):
            record["best_loss"] = None
        return record

    @staticmethod
    def from_record(record: dict[str, Any]) -> "TrainingState":
        """Undo :meth:`as_record`."""
        best = math.inf if record["best_loss"] is None else record["best_loss"]
        return TrainingState(**{**record, "best_loss": best, "history": tuple(record["history"])})


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What training has led to; the estimator holds the best weights.

    Attributes
    ----------
    state : TrainingState
        At the end.
    interrupted : bool
        Whether the user has stopped it.
    """

    state: TrainingState
    interrupted: bool


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Where the state of a run is kept, so that nothing is lost when it stops.

    Attributes
    ----------
    keep : callable or None
        Called with tensors and a record about every half minute.
    resume : tuple or None
        What ``keep`` of an earlier run was given last.
    """

    keep: Callable[[dict[str, Tensor], dict[str, Any]], None] | None = None
    resume: tuple[dict[str, Tensor], dict[str, Any]] | None = None
