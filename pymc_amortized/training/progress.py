"""Progress of training and of answers: in terminals and notebooks, or else in the log."""

import math
import textwrap
import time

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from pymc_amortized.messages import PeriodicLog

__all__ = ["DatasetProgress", "TrainingProgress", "answer_progress"]

_SHOWN_AFTER = 1.0
_BESIDE_AN_ANSWER = 18  # characters: a spinner, and more than a day
_BESIDE_DATASETS = 46  # counts up to 100,000, two times, and a short bar
_FEWEST_CHARACTERS = 10


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


class DatasetProgress:
    """Shows how many data sets are done, and how long the others will take.

    A bar, once that takes a second, which leaves nothing; a line of the log about every half minute
    where there is neither a terminal nor a notebook.

    Parameters
    ----------
    number : int
        Of data sets.
    show : bool
        False shows nothing, and logs nothing.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(
        self, number: int, show: bool, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._number, self._what, self._doing = number, "answered", ""
        whole = Column(no_wrap=True)  # in a narrow terminal it is the bar that gives way
        self._work = _LongWork(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(table_column=whole),
            TimeElapsedColumn(table_column=whole),
            TextColumn("left"),
            TimeRemainingColumn(table_column=whole),
            show=show,
            clock=clock,
        )

    def __enter__(self) -> "DatasetProgress":
        self.begin(self._what)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._work.stop()

    def begin(self, what: str, number: int | None = None) -> None:
        """Count from 0: data sets answered, for instance, of as many as before."""
        self._what, self._doing = what, ""
        self._number = self._number if number is None else number
        self._work.restart(self._number)
        self._work.describe(f"Data sets {what}", _BESIDE_DATASETS)
        self.advance(0)  # from here on the time left is estimated

    def advance(self, more: int = 1) -> None:
        """Count so many more."""
        self._doing = ""
        self._work.advance(more)
        self._look()

    def tell(self, text: str) -> None:
        """Say what is going on before the next are done."""
        self._doing = f", now {text}"
        self._look()

    def _look(self) -> None:
        done, left = self._work.state()
        count = f"{done:,} of {self._number:,} data sets {self._what}"
        self._work.look(f"{count}{self._doing}", left)


@contextmanager
def answer_progress(
    show: bool, clock: Callable[[], float] = time.perf_counter
) -> Iterator[Callable[[str], None]]:
    """Show what an answer takes its time for, once that is a second; yields what to tell it to.

    Without a terminal or a notebook, a line of the log says so about every half minute.

    Parameters
    ----------
    show : bool
        False shows nothing, and logs nothing.
    clock : callable
        Returns the time in seconds.
    """
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    work = _LongWork(*columns, show=show, clock=clock)

    def tell(text: str) -> None:
        work.describe(f"Answering: {text}", _BESIDE_AN_ANSWER)
        work.look(text)

    try:
        yield tell
    finally:
        work.stop()


class _LongWork:
    """A bar that shows after a second and then vanishes; lines of the log where it could not."""

    def __init__(self, *columns: ProgressColumn, show: bool, clock: Callable[[], float]) -> None:
        self._bar = Progress(
            *columns,
            disable=not show,
            transient=True,
            get_time=clock,
            speed_estimate_period=math.inf,  # a few data sets may take minutes
        )
        self._task = self._bar.add_task("", total=None)
        console = self._bar.console
        self._can_vanish = console.is_interactive or console.is_jupyter
        self._log, self._clock, self._began = PeriodicLog(clock=clock), clock, clock()
        self._described = ""

    def restart(self, number: int) -> None:
        """Count from 0 to a number."""
        self._bar.reset(self._task, total=number)

    def describe(self, text: str, beside: int) -> None:
        """Show a text, shortened so that there is room for so many characters beside it."""
        if text == self._described:
            return
        self._described = text
        room = max(_FEWEST_CHARACTERS, self._bar.console.width - beside)
        self._bar.update(self._task, description=textwrap.shorten(text, room, placeholder="…"))

    def advance(self, more: int) -> None:
        """Count so many more."""
        self._bar.advance(self._task, more)

    def state(self) -> tuple[int, float | None]:
        """Return how many are done, and the seconds that are left, if known."""
        [task] = self._bar.tasks
        return int(task.completed), task.time_remaining or None

    def look(self, text: str, seconds_left: float | None = None) -> None:
        """Show the bar, or log a text, if it is time to."""
        if self._bar.disable:
            return
        if not self._can_vanish:
            self._log.tell(text, seconds_left)
        elif self._clock() - self._began > _SHOWN_AFTER:
            self._bar.start()

    def stop(self) -> None:
        """Let the bar vanish; where it has never shown, not even an empty line is left."""
        if self._bar.live.is_started:
            self._bar.stop()
