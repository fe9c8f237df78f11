"""Where training stands, and what it has led to."""

import math

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch

from torch import Tensor, nn

__all__ = [
    "Checkpoint",
    "StoppedBy",
    "TrainingResult",
    "TrainingState",
    "restore",
    "select_part",
    "snapshot",
]

StoppedBy = Literal["", "interrupt", "callback"]


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
        Steps planned, at the end of which the learning rate is zero: fewer than configured once the
        loss is flat, or as long as there may be another cycle.
    seconds : float
        Spent so far.
    skipped : int
        Steps left out because they were not finite.
    best_loss : float
        The lowest validation loss, in nats per data set.
    history : tuple of dict
        At each check: step, seconds, validation loss of the posterior and of the classification.
    cycle_start : int
        The step at which the cycle of the learning rate has begun.
    """

    step: int = 0
    progress: float = 0.0
    horizon: int = 0
    seconds: float = 0.0
    skipped: int = 0
    best_loss: float = math.inf
    history: tuple[dict[str, float], ...] = ()
    cycle_start: int = 0

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
    stopped_by : {"", "interrupt", "callback"}
        What has ended it before its time.
    """

    state: TrainingState
    stopped_by: StoppedBy = ""


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


def snapshot(
    estimator: nn.Module, best: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Return all tensors that a later process needs to go on with a run."""
    tensors = {f"now.{name}": x for name, x in estimator.state_dict().items()}
    tensors |= {f"best.{name}": x for name, x in best.items()}
    for index, entries in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": x for name, x in entries.items()}
    return tensors


def restore(
    tensors: dict[str, Tensor], estimator: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Tensor]:
    """Undo :func:`snapshot` in place; return the best weights so far."""
    estimator.load_state_dict(select_part(tensors, "now."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, x in select_part(tensors, "optimizer.").items():
        index, key = name.split(".")
        moments.setdefault(int(index), {})[key] = x
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return select_part(tensors, "best.")


def select_part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): x for name, x in tensors.items() if name.startswith(prefix)}
