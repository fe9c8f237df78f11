"""What is said to users: the logger, and the line that a warning names."""

import logging
import sys
import time
import warnings

from collections.abc import Callable
from types import FrameType

__all__ = [
    "PeriodicLog",
    "door_with_model",
    "log_info",
    "log_warning",
    "spoken_duration",
    "warn",
]

_PACKAGE = "pymc_amortized"

_WITH_MODEL = {
    "__call__": "pma.AmortizedSampler()(model)",
    "add_indicators": "pma.add_indicators(idata, model)",
    "fit": "pma.fit(model)",
    "load": "pma.load(path, model)",
    "sample": "pma.sample(model=model)",
    "with_method": 'pm.sample(method="amortized", model=model)',
}
_log = logging.getLogger(_PACKAGE)
if not logging.root.handlers and not _log.handlers:  # as PyMC does: shown unless configured
    _log.setLevel(logging.INFO)
    _log.addHandler(logging.StreamHandler())


def log_info(text: str) -> None:
    """Log a text, at the level INFO of the logger ``pymc_amortized``."""
    _log.info(text)


def log_warning(text: str) -> None:
    """Log a text, at the level WARNING of the logger ``pymc_amortized``."""
    _log.warning(text)


def spoken_duration(seconds: float) -> str:
    """Return seconds in the unit that makes a number of two or three digits of them.

    Examples
    --------
    >>> [spoken_duration(x) for x in (4.2, 95, 1_300, 12_000)]
    ['4 s', '95 s', '22 min', '3.3 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


class PeriodicLog:
    """Says where long work stands by a line of the log, about every half minute.

    For places that show no progress bar, such as a batch job. Nothing runs in the background: a
    line is due when somebody tells where the work stands, which may be as often as one likes.

    Parameters
    ----------
    every : float
        Seconds from the beginning to the first line, and from one to the next, at least.
    clock : callable
        Returns the time in seconds.

    Examples
    --------
    >>> log = PeriodicLog()
    >>> log.tell("half way")  # says nothing so soon
    """

    def __init__(self, every: float = 30.0, clock: Callable[[], float] = time.perf_counter) -> None:
        self._every, self._clock = every, clock
        self._began = self._last = clock()

    def tell(self, text: str, seconds_left: float | None = None) -> None:
        """Log where the work stands, if a line is due, and how long it will take, if known."""
        now = self._clock()
        if now - self._last < self._every:
            return
        self._last = now
        left = "" if seconds_left is None else f"; about {spoken_duration(seconds_left)} left"
        log_info(f"Not done after {spoken_duration(now - self._began)}: {text}{left}.")


def warn(text: str, category: type[Warning]) -> None:
    """Warn so that the warning names the user's own line, whichever door was used.

    That is the line which called the outermost function of this package: there may be frames of
    other libraries between those of the package.
    """
    warnings.warn(text, category, stacklevel=_users_level())


def door_with_model() -> str:
    """Return how the function that the user called is given a model, as code."""
    return _WITH_MODEL.get(_outermost()[1].f_code.co_name, "pma.compile_simulator(model)")


def _users_level() -> int:
    return _outermost()[0] + 1  # level 0 is this function, 1 that which warns: its stacklevel


def _outermost() -> tuple[int, FrameType]:
    """Return the outermost frame of this package, and how far above the caller's that is."""
    level, frame = 0, sys._getframe(1)
    found = level, frame
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
            found = level, frame
        level, frame = level + 1, frame.f_back
    return found
