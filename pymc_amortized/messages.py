"""What is said to users: the logger, and the line that a warning names."""

import logging
import sys
import warnings

__all__ = ["log_info", "log_warning", "warn"]

_PACKAGE = "pymc_amortized"


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


def warn(text: str, category: type[Warning]) -> None:
    """Warn so that the warning names the user's own line, whichever door was used.

    That is the line which called the outermost function of this package: there may be frames of
    other libraries between those of the package.
    """
    warnings.warn(text, category, stacklevel=_users_level())


def _users_level() -> int:
    level, outermost, frame = 1, 1, sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
            outermost = level
        level, frame = level + 1, frame.f_back
    return outermost + 1
