"""How long an answer may take, and what is said meanwhile."""

import math
import time

from collections.abc import Callable

from pymc_amortized.errors import InvalidArgumentError

__all__ = ["OutOfTimeError", "Watch", "check_max_time", "what_is_left"]

_LEAST_SECONDS = 1e-3


class OutOfTimeError(Exception):
    """There is no time left; never seen by a user."""


class Watch:
    """Counts the seconds of one call, and says what they are spent on.

    Parameters
    ----------
    max_time : float or None
        Seconds after which :meth:`check` raises.
    show : callable, optional
        Takes a text, when there is something new, and again whenever time is looked at: it has to
        know by itself when to show it.

    Examples
    --------
    >>> said = []
    >>> watch = Watch(60, said.append)
    >>> watch.check()
    >>> watch.tell("second estimate: half way")
    >>> said, 59 < watch.seconds_left <= 60
    (['second estimate: half way'], True)
    """

    def __init__(
        self, max_time: float | None = None, show: Callable[[str], None] | None = None
    ) -> None:
        self.max_time, self._show, self._text = max_time, show, ""
        self._started = time.perf_counter()

    @property
    def seconds_left(self) -> float:
        """Until time is out; infinite without a bound."""
        if self.max_time is None:
            return math.inf
        return self._started + self.max_time - time.perf_counter()

    def check(self) -> None:
        """Raise :class:`OutOfTimeError` if time is out; otherwise say again what is going on."""
        if self.seconds_left <= 0:
            raise OutOfTimeError
        if self._text:
            self._say()

    def tell(self, text: str) -> None:
        """Say what is going on."""
        self._text = text
        self._say()

    def _say(self) -> None:
        if self._show is not None:
            self._show(self._text)


def check_max_time(max_time: float | None) -> float | None:
    """Return seconds that a user gives, or None.

    Raises
    ------
    InvalidArgumentError
        If they are not above 0.
    """
    if max_time is None:
        return None
    if isinstance(max_time, bool) or not isinstance(max_time, int | float) or not max_time > 0:
        raise InvalidArgumentError(
            f"Expected max_time to be a number of seconds above 0, or None; got {max_time!r}. "
            "For instance:\n\n    max_time=60"
        )
    return float(max_time)


def what_is_left(max_time: float | None, seconds: float) -> float | None:
    """Return what is left of a bound after so many seconds: hardly anything rather than nothing.

    Examples
    --------
    >>> what_is_left(60, 20), what_is_left(60, 70), what_is_left(None, 20)
    (40, 0.001, None)
    """
    return None if max_time is None else max(max_time - seconds, _LEAST_SECONDS)
