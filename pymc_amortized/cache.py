"""Networks that earlier calls have trained: where they are kept, which there are, their removal.

This module is ``pma.cache``. Only files that this package has written are counted and removed,
by the form of their names; others in the same directory stay as they are.
"""

import math
import os

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.training.cached_networks import CachedNetwork, CachedNetworks, cached_networks
from pymc_amortized.training.network_cache import (
    Cache,
    CacheFile,
    default_cache_directory,
    network_cache,
)

__all__ = ["CachedNetwork", "CachedNetworks", "directory", "networks", "remove", "size"]

_OF_NETWORKS = ("network", "checkpoint", "simulations")
_SECONDS_A_DAY = 86_400


def directory() -> Path:
    """Return the directory that ``cache=True`` means.

    Returns
    -------
    Path
        ``$PYMC_AMORTIZED_CACHE``, or else in the user's cache directory of the operating system. It
        need not exist yet.

    Examples
    --------
    >>> import pymc_amortized as pma
    >>> pma.cache.directory().is_dir() or pma.cache.size() == 0
    True
    """
    return default_cache_directory()


def networks(cache: Cache = True) -> CachedNetworks:
    """Return the networks of a cache, with those that are not finished; the latest first.

    Parameters
    ----------
    cache : bool, str or PathLike
        As in :func:`pymc_amortized.fit`: True for the default directory, or a directory.

    Returns
    -------
    CachedNetworks
        A sequence that prints as a table. A file that cannot be read is in it too, as damaged.

    Raises
    ------
    InvalidArgumentError
        If ``cache`` is neither a bool nor a directory.

    Examples
    --------
    >>> import tempfile
    >>> import pymc as pm
    >>> import pymc_amortized as pma
    >>> with pm.Model() as model:
    ...     mu = pm.Normal("mu", 0, 1)
    ...     y = pm.Normal("y", mu, 1, observed=[0.5, 1.5])
    >>> folder = tempfile.mkdtemp()
    >>> config = pma.TrainingConfig(steps=20, tolerance=None)
    >>> posterior = pma.fit(model, training=config, progressbar=False, cache=folder)
    >>> [network] = pma.cache.networks(folder)
    >>> network.kind, network.variables, network.steps
    ('network', ('mu', 'y'), 20)
    >>> [path] = pma.cache.remove(network.fingerprint[:6], cache=folder)
    >>> len(pma.cache.networks(folder))
    0
    """
    return cached_networks(network_cache(cache))


def size(cache: Cache = True) -> int:
    """Return what a cache takes on the disk: networks, checkpoints, and all that belongs to them.

    Parameters
    ----------
    cache : bool, str or PathLike
        As in :func:`networks`.

    Returns
    -------
    int
        In bytes.

    Examples
    --------
    >>> import tempfile
    >>> import pymc_amortized as pma
    >>> pma.cache.size(tempfile.mkdtemp())
    0
    """
    return sum(_size_of(file.path) for file in network_cache(cache).files())


def remove(
    fingerprint: str | None = None,
    *,
    older_than: float | timedelta | None = None,
    cache: Cache = True,
) -> list[Path]:
    """Remove one network, what is older than some days, or everything.

    Parameters
    ----------
    fingerprint : str, optional
        The beginning of a fingerprint, or of both its parts (``"3f2a9c10-77ab"``, as in the table
        of :func:`networks`), which only one network has; or ``"all"``.
    older_than : float or timedelta, optional
        Remove all that was written longer ago, in days.
    cache : bool, str or PathLike
        As in :func:`networks`.

    Returns
    -------
    list of Path
        The files that are gone. What a running training holds is not among them.

    Raises
    ------
    InvalidArgumentError
        If neither or both are given, if no network or several have such a fingerprint, or if
        ``older_than`` is no length of time.

    Warns
    -----
    CacheWarning
        If a file cannot be removed.

    Examples
    --------
    >>> import tempfile
    >>> import pymc_amortized as pma
    >>> folder = tempfile.mkdtemp()
    >>> pma.cache.remove("all", cache=folder), pma.cache.remove(older_than=90, cache=folder)
    ([], [])
    """
    if (fingerprint is None) == (older_than is None):
        got = "neither" if fingerprint is None else f"{fingerprint!r} and {older_than!r}"
        raise InvalidArgumentError(
            f"Expected a fingerprint or an age of what to remove, one of them; got {got}. Nothing "
            "was removed, for a network may have taken hours. See what there is, or remove it all:"
            '\n\n    pma.cache.networks()\n    pma.cache.remove("all")'
        )
    store = network_cache(cache)
    files = store.files()
    if older_than is not None:
        age = _seconds(older_than)
        chosen = [file for file in files if file.age > age]
    elif fingerprint == "all":
        chosen = files
    else:
        only = _the_one(fingerprint, files, store.directory)
        chosen = [file for file in files if file.fingerprint == only]
    return [file.path for file in chosen if store.remove(file)]


def _the_one(given: str, files: Iterable[CacheFile], directory: Path | None) -> str:
    """Return the fingerprint that begins as given."""
    known = sorted({file.fingerprint for file in files if file.kind in _OF_NETWORKS})
    if given in known:
        return given
    found = [x for x in known if _begins(x, given)] if isinstance(given, str) and given else []
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidArgumentError(
            f"Expected the beginning of one fingerprint; got {given!r}, with which {len(found)} "
            f"begin: {', '.join(found[:5])}{', ...' if len(found) > 5 else ''}. Give more of it:"
            f'\n\n    pma.cache.remove("{found[0]}")'
        )
    raise InvalidArgumentError(
        f"Expected the beginning of a fingerprint; got {given!r}, with which none of the "
        f"{len(known)} in {'no directory' if directory is None else repr(str(directory))} begins. "
        "See what there is:\n\n    pma.cache.networks()"
    )


def _begins(fingerprint: str, given: str) -> bool:
    """Whether a fingerprint begins as given, or its parts as those given do."""
    family, _, training = fingerprint.partition("-")
    first, _, second = given.partition("-")
    return family.startswith(first) and training.startswith(second)


def _seconds(age: Any) -> float:
    days = age.total_seconds() / _SECONDS_A_DAY if isinstance(age, timedelta) else age
    is_number = isinstance(days, int | float) and not isinstance(days, bool)
    if not is_number or math.isnan(days) or days < 0:
        raise InvalidArgumentError(
            f"Expected older_than to be a number of days from 0, or a timedelta; got {age!r}. For "
            "instance:\n\n    pma.cache.remove(older_than=90)"
        )
    return days * _SECONDS_A_DAY


def _size_of(path: Path) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
