"""What is said to users: the logger, and the line that a warning names."""

import logging
import sys
import warnings

from types import FrameType

__all__ = ["door_with_model", "log_info", "log_warning", "spoken_duration", "warn"]

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
    """Return seconds as people say them.

    Examples
    --------
    >>> [spoken_duration(x) for x in (4.2, 95, 1_300, 12_000)]
    ['4 s', '95 s', '22 min', '3 h 20 min']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{minutes} min" if not hours else f"{hours} h {rest} min" if rest else f"{hours} h"


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
