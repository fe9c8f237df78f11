"""Where trained networks are kept, so that the next call and the next process train nothing."""

import contextlib
import json
import os
import re
import time

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from filelock import FileLock, Timeout
from torch import Tensor

from pymc_amortized.errors import CacheWarning, InvalidArgumentError, NetworkFileError
from pymc_amortized.messages import log_info, warn
from pymc_amortized.training.files import read_file, write_file
from pymc_amortized.training.record import Usage

__all__ = ["Cache", "CacheFile", "NetworkCache", "default_cache_directory", "network_cache"]

Cache = bool | str | os.PathLike
"""True for the default directory, False for none, or a directory."""

_FINGERPRINT = r"(?P<fingerprint>[0-9a-f]{32}(?:-[0-9a-f]{8})?)"
_FILE = re.compile(_FINGERPRINT + r"\.(?P<kind>network|checkpoint|simulations|answers|lock)")
_LEFTOVER = re.compile(r"\." + _FINGERPRINT + r"\.(?:network|checkpoint|simulations)\.\w+")
_SECONDS_TO_WRITE = 3600  # at most: what is older, and still not whole, was given up
_SECONDS_BETWEEN_TRIES = 0.2
_WITHOUT = {
    "network": "the next call will train again",
    "checkpoint": "training that is stopped will begin anew",
    "simulations": "training that is stopped will simulate anew",
}


@dataclass(frozen=True, slots=True)
class CacheFile:
    """A file that this package has written into a cache, by its name.

    Attributes
    ----------
    path : Path
        Where it is.
    fingerprint : str
        Of the network; of an answer without training, that of the family.
    kind : str
        ``"network"``, ``"checkpoint"``, ``"simulations"``, ``"answers"``, ``"lock"``, or
        ``"leftover"`` of a file that was never whole.
    """

    path: Path
    fingerprint: str
    kind: str

    @property
    def age(self) -> float:
        """Seconds since it was written; 0 where it is gone."""
        try:
            return time.time() - self.path.stat().st_mtime
        except OSError:
            return 0.0

    @staticmethod
    def of(path: Path) -> "CacheFile | None":
        """Return what a name says; None for files of others."""
        if match := _FILE.fullmatch(path.name):
            return CacheFile(path, match["fingerprint"], match["kind"])
        if match := _LEFTOVER.fullmatch(path.name):
            return CacheFile(path, match["fingerprint"], "leftover")
        return None


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
    each other, and :meth:`lock` lets one of them train while the others wait. What cannot be read
    or written is announced, and done without.

    Parameters
    ----------
    directory : Path or None
        None keeps nothing.
    """

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory
        self._refused: set[str] = set()

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

    def stamp(self, fingerprint: str) -> tuple[int, int] | None:
        """Return what tells a network's file from any that replaces it; None if there is none."""
        path = self.path(fingerprint)
        try:
            found = None if path is None else path.stat()
        except OSError:
            return None
        return None if found is None else (found.st_ino, found.st_mtime_ns)

    @contextlib.contextmanager
    def lock(self, fingerprint: str, *, wait: bool = True) -> Iterator[bool]:
        """Keep other processes and threads from training this network; wait for one that does.

        Yields whether nobody else trains it, which is always so after waiting.

        The operating system frees the lock of a process that is killed. Where there is no
        directory, where it cannot be written, or does not know locks, there is none.

        Notes
        -----
        Who waits may hold a lock on a file that has been removed, while a third makes the file
        anew and locks that. So the file goes only once the network is there, which both will find;
        after an interruption it stays. Networks are looked for again under the lock.
        """
        path = self.path(fingerprint, "lock")
        if not wait and path is not None and path.exists() and not _is_free(path):
            yield False
            return
        lock = None if path is None else _acquire(path)
        try:
            yield True
        finally:
            if lock is not None:
                with contextlib.suppress(OSError):  # a network of hours is not lost for it
                    lock.release()
        if lock is not None and self.stamp(fingerprint) is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def best_of(self, family: str) -> tuple[dict[str, Tensor], Any] | None:
        """Return the network that was trained longest, of those whose fingerprints begin alike."""
        if self.directory is None:
            return None
        paths = sorted(self.directory.glob(f"{family}-*.network"))
        found = [x for path in paths if (x := self.read(path.stem)) is not None]
        return max(found, key=lambda x: x[1]["steps"], default=None)

    def read_usage(self, family: str) -> Usage:
        """Return how often a model has been asked about; as if never, where that cannot be read."""
        path = self.path(family, "answers")
        try:
            if path is not None and path.exists():
                return Usage.from_record(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError, KeyError):
            pass
        return Usage()

    def write_usage(self, family: str, usage: Usage) -> None:
        """Keep how often a model has been asked about; if that fails, only a count is lost."""
        path = self.path(family, "answers")
        with contextlib.suppress(OSError):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(asdict(usage)))

    def write(
        self,
        fingerprint: str,
        tensors: Mapping[str, Tensor],
        record: Any,
        kind: str = "network",
    ) -> None:
        """Keep tensors and a record."""
        path = self.path(fingerprint, kind)
        if path is None or kind in self._refused:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, tensors, record)
        except OSError as error:
            self._refused.add(kind)
            warn(
                f"The {kind} cannot be kept in {str(self.directory)!r} ({error}); "
                f"{_WITHOUT[kind]}. Choose another directory:\n\n"
                "    pma.fit(model, cache='some/directory')",
                CacheWarning,
            )

    def discard(self, fingerprint: str, kind: str) -> None:
        """Remove what is no longer needed, if that is possible."""
        path = self.path(fingerprint, kind)
        if path is not None:
            with contextlib.suppress(OSError):
                path.unlink()

    def files(self) -> list[CacheFile]:
        """Return the files that this package has written here; those of others are left out."""
        try:
            paths = [] if self.directory is None else sorted(self.directory.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            warn(f"The cache cannot be read: {error}", CacheWarning)
            return []
        found = (CacheFile.of(path) for path in paths if path.is_file())
        return [file for file in found if file is not None]

    def remove(self, file: CacheFile) -> bool:
        """Remove a file, unless it is in use; return whether it is gone."""
        if file.kind == "leftover" and file.age < _SECONDS_TO_WRITE:
            return False
        if file.kind == "lock" and not _is_free(file.path):
            return False
        try:
            file.path.unlink(missing_ok=file.kind == "lock")  # which may have gone by itself
        except FileNotFoundError:
            return False
        except OSError as error:
            warn(f"The cached {file.kind} cannot be removed: {error}", CacheWarning)
            return False
        return True


def _acquire(path: Path) -> FileLock | None:
    """Return a lock that is held, or None where nothing can be locked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log_info(
                f"Another process trains this network; its network will be used (lock: {path}). "
                "To train without waiting: cache=False."
            )
            lock.acquire(poll_interval=_SECONDS_BETWEEN_TRIES)
    except (OSError, NotImplementedError):
        return None
    return lock


def _is_free(path: Path) -> bool:
    """Whether nobody holds a lock, as far as can be told."""
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (OSError, NotImplementedError):  # a timeout is one
        return False
    lock.release()
    return True
