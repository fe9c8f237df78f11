"""Where trained networks are kept, so that the next call and the next process train nothing."""

import json
import os

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from torch import Tensor

from pymc_amortized.errors import CacheWarning, InvalidArgumentError, NetworkFileError
from pymc_amortized.messages import warn
from pymc_amortized.training.files import read_file, write_file

__all__ = ["Cache", "NetworkCache", "default_cache_directory", "network_cache"]

Cache = bool | str | os.PathLike
"""True for the default directory, False for none, or a directory."""


def default_cache_directory() -> Path:
    """Return ``$PYMC_AMORTIZED_CACHE``, or the user's cache directory of the operating system."""
    given = os.environ.get("PYMC_AMORTIZED_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("pymc_amortized", False)


def network_cache(cache: Cache) -> "NetworkCache":
    """Return the cache for True, False or a directory.

    Raises
    ------
    InvalidArgumentError
        If it is none of these.
    """
    if isinstance(cache, bool):
        return NetworkCache(default_cache_directory() if cache else None)
    if isinstance(cache, str | os.PathLike):
        return NetworkCache(Path(cache))
    raise InvalidArgumentError(f"Expected cache to be True, False or a directory; got {cache!r}.")


class NetworkCache:
    """Networks and checkpoints in a directory, by fingerprint.

    Files appear whole or not at all, so that processes that train the same model do not disturb
    each other. What cannot be read or written is announced, and done without.

    Parameters
    ----------
    directory : Path or None
        None keeps nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._refused = False

    def path(self, fingerprint: str, kind: str = "network") -> Path | None:
        """Return where a network, or a checkpoint, is kept."""
        return None if self.directory is None else self.directory / f"{fingerprint}.{kind}"

    def read(self, fingerprint: str, kind: str = "network") -> tuple[dict[str, Tensor], Any] | None:
        """Return tensors and record, or None where there are none that can be read."""
        path = self.path(fingerprint, kind)
        if path is None:
            return None
        try:
            return read_file(path) if path.exists() else None
        except (OSError, NetworkFileError) as error:
            warn(
                f"The cached {kind} cannot be used, and is made anew: {error}",
                CacheWarning,
            )
            return None

    def best_of(self, family: str) -> tuple[dict[str, Tensor], Any] | None:
        """Return the network that was trained longest, of those whose fingerprints begin alike."""
        if self.directory is None:
            return None
        paths = sorted(self.directory.glob(f"{family}-*.network"))
        found = [x for path in paths if (x := self.read(path.stem)) is not None]
        return max(found, key=lambda x: x[1]["steps"], default=None)

    def count_answer(self, family: str, seconds: float) -> tuple[int, float]:
        """Count one more answer that was given without training; return their number, and seconds.

        Where it cannot be kept, it is the first.
        """
        path = self.path(family, "answers")
        number, total = 0, 0.0
        try:
            if path is not None and path.exists():
                number, total = json.loads(path.read_text())
                number, total = int(number), float(total)
        except (OSError, ValueError, TypeError):
            number, total = 0, 0.0
        number, total = number + 1, total + seconds
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps([number, total]))
        except OSError:
            pass  # nothing is lost but a count
        return number, total

    def write(
        self,
        fingerprint: str,
        tensors: Mapping[str, Tensor],
        record: Any,
        kind: str = "network",
    ) -> None:
        """Keep tensors and a record."""
        path = self.path(fingerprint, kind)
        if path is None or self._refused:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, tensors, record)
        except OSError as error:
            self._refused = True
            warn(
                f"The network cannot be kept in {str(self.directory)!r} ({error}); the next call "
                "will train again. Choose another directory:\n\n"
                "    pma.fit(model, cache='some/directory')",
                CacheWarning,
            )

    def discard(self, fingerprint: str, kind: str) -> None:
        """Remove what is no longer needed."""
        path = self.path(fingerprint, kind)
        if path is None:
            return
        try:
            path.unlink(missing_ok=True)
        except OSError:
            self._refused = True
