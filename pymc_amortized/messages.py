"""What is said to users: the logger, and the line that a warning names."""

import logging
import sys

__all__ = ["log_info", "log_warning", "users_level"]

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


def users_level() -> int:
    """Return the ``stacklevel`` at which a warning of the caller names the user's own line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level
