"""Progress of training and of answers, in terminals and notebooks."""

import math
import time

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

__all__ = ["TrainingProgress", "answer_progress", "dataset_progress"]

_SHOWN_AFTER = 1.0


class TrainingProgress:
    """Shows step, loss, validation k and the time left.

    Parameters
    ----------
    steps : int
        How many there are at most.
    show : bool
        False shows nothing.
    """

    def __init__(self, steps: int, show: bool) -> None:
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=8),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[accepted]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            disable=not show,
        )
        self._task = self._bar.add_task("Training", total=steps, loss="-", accepted="")
        self._show = show

    @property
    def is_seen(self) -> bool:
        """Whether the bar is on a screen; files are told by the log."""
        console = self._bar.console
        return self._show and (console.is_interactive or console.is_jupyter)

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(
        self,
        step: int,
        total: int | None = None,
        loss: float = math.nan,
        accepted: float | None = None,
    ) -> None:
        """Show a step, and what is newly known."""
        changes: dict[str, str | int] = {"completed": step}
        if total is not None:
            changes["total"] = total
        if not math.isnan(loss):
            changes["loss"] = f"{loss:.3f}"
        if accepted is not None:
            changes["accepted"] = f"k < 0.7: {accepted:.0%}"
        self._bar.update(self._task, **changes)


@contextmanager
def dataset_progress(number: int, show: bool) -> Iterator[Callable[[int], None]]:
    """Show how many data sets are answered; yields what to call with how many more are done.

    Parameters
    ----------
    number : int
        Of data sets.
    show : bool
        False shows nothing.
    """
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        disable=not show,
    )
    task = bar.add_task("Data sets", total=number)
    with bar:
        yield lambda more: bar.advance(task, more)


@contextmanager
def answer_progress(show: bool) -> Iterator[Callable[[str], None]]:
    """Show what an answer takes its time for, once that is a second; yields what to tell it to.

    Parameters
    ----------
    show : bool
        False shows nothing.
    """
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        disable=not show,
        transient=True,
    )
    began, task = time.perf_counter(), bar.add_task("Answering", total=None)
    # Files are told by the log: a bar that vanishes would leave nothing but an empty line.
    can_vanish = bar.console.is_interactive or bar.console.is_jupyter

    def tell(text: str) -> None:
        bar.update(task, description=f"Answering: {text}")
        if can_vanish and time.perf_counter() - began > _SHOWN_AFTER:
            bar.start()

    try:
        yield tell
    finally:
        if bar.live.is_started:
            bar.stop()
