"""``pma.cache``: what is kept where, and how to be rid of it."""

import datetime
import os
import pathlib
import time

import pytest

import pymc_amortized as pma

from pymc_amortized.errors import CacheWarning, InvalidArgumentError
from tests.training.short_runs import fit, held, written

FAMILY, OTHER = "ab" * 16, "cd" * 16
A, B, C = f"{FAMILY}-11112222", f"{FAMILY}-33334444", f"{OTHER}-11112222"
OF_OTHERS = ("uv.lock", "notes.txt", "mine.network", f"{A}.network.txt", ".env", f"x{A}.network")


@pytest.fixture
def full(tmp_path):
    """A cache with all that this package writes, and files of others beside it."""
    for fingerprint in (A, B, C):
        written(tmp_path, fingerprint)
    written(tmp_path, A, "checkpoint")
    for name in (f"{FAMILY}.answers", f"{A}.lock", f".{A}.network.a1b2c3d4"):
        (tmp_path / name).write_text("[1, 2]")
    for name in OF_OTHERS:
        (tmp_path / name).write_text("mine")
    return tmp_path


def names(directory):
    return {path.name for path in directory.iterdir()} - set(OF_OTHERS)


def make_older(path, days):
    then = time.time() - days * 86_400
    os.utime(path, (then, then))


def test_the_module_is_public():
    import pymc_amortized.cache

    assert pma.cache is pymc_amortized.cache
    assert set(pma.cache.__all__) >= {"directory", "networks", "remove", "size"}


def test_the_default_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("PYMC_AMORTIZED_CACHE", str(tmp_path))
    written(tmp_path, A)
    assert pma.cache.directory() == tmp_path
    assert [network.fingerprint for network in pma.cache.networks()] == [A]
    assert pma.cache.size() == pma.cache.size(tmp_path) > 0
    assert len(pma.cache.remove("all")) == 1
    assert pma.cache.size() == 0


def test_a_trained_network_is_listed(tmp_path):
    posterior = fit(cache=tmp_path)
    [network] = pma.cache.networks(tmp_path)
    assert isinstance(network, pma.cache.CachedNetwork)
    assert network.fingerprint == posterior.record.fingerprint
    assert (network.kind, network.variables) == ("network", ("mu", "y"))
    assert (network.steps, network.seconds) == (60, posterior.record.seconds)
    assert network.size == pma.cache.size(tmp_path)


def test_the_size_is_that_of_all_files(full):
    own = sum((full / name).stat().st_size for name in names(full))
    assert pma.cache.size(full) == own
    assert pma.cache.size(str(full)) == own
    assert pma.cache.size(False) == pma.cache.size(full / "nowhere") == 0


@pytest.mark.parametrize("given", [A, A[:-3], "abab-1111", "ab-1"])
def test_one_network_is_removed(full, given):
    before = names(full)
    removed = pma.cache.remove(given, cache=full)
    assert {path.name for path in removed} == {f"{A}.network", f"{A}.checkpoint", f"{A}.lock"}
    assert names(full) == before - {path.name for path in removed}
    assert all((full / name).exists() for name in OF_OTHERS)


def test_a_fingerprint_that_others_begin_with(full):
    """Those of 0.5.0 had one part."""
    written(full, FAMILY)
    assert [path.name for path in pma.cache.remove(FAMILY, cache=full)] == [
        f"{FAMILY}.answers",
        f"{FAMILY}.network",
    ]


def test_everything_is_removed_if_that_is_asked_for(full):
    make_older(full / f".{A}.network.a1b2c3d4", 1)
    everything = names(full)
    assert {path.name for path in pma.cache.remove("all", cache=full)} == everything
    assert names(full) == set()
    assert {path.name for path in full.iterdir()} == set(OF_OTHERS)
    assert pma.cache.remove("all", cache=full) == []


def test_what_is_being_written_stays(full):
    pma.cache.remove("all", cache=full)
    assert names(full) == {f".{A}.network.a1b2c3d4"}


def test_what_is_old_is_removed(full):
    old = {f"{A}.network", f"{FAMILY}.answers", f".{A}.network.a1b2c3d4"}
    for name in (*old, "notes.txt"):
        make_older(full / name, 10)
    make_older(full / f"{B}.network", 3)
    others = names(full) - old
    assert pma.cache.remove(older_than=20, cache=full) == []
    assert {path.name for path in pma.cache.remove(older_than=9.5, cache=full)} == old
    assert names(full) == others
    age = datetime.timedelta(days=2, hours=12)
    assert [x.name for x in pma.cache.remove(older_than=age, cache=full)] == [f"{B}.network"]
    assert (full / "notes.txt").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "got neither"),
        ({"fingerprint": "all", "older_than": 3}, "got 'all' and 3"),
        ({"fingerprint": "ab"}, f"2 begin: {A}, {B}"),
        ({"fingerprint": "abab-"}, "2 begin"),
        ({"fingerprint": "ff"}, "none of the 3"),
        ({"fingerprint": "ab-5"}, "none of the 3"),
        ({"fingerprint": ""}, "got ''"),
        ({"fingerprint": 7}, "got 7"),
        ({"fingerprint": "ALL"}, "none of the 3"),
        ({"older_than": -1}, "got -1"),
        ({"older_than": float("nan")}, "got nan"),
        ({"older_than": True}, "got True"),
        ({"older_than": "30"}, "got '30'"),
        ({"older_than": datetime.timedelta(days=-1)}, "got datetime"),
    ],
    ids=str,
)
def test_nothing_is_removed_by_accident(full, given, words):
    before = names(full)
    with pytest.raises(InvalidArgumentError, match="Expected") as caught:
        pma.cache.remove(cache=full, **given)
    assert words in str(caught.value)
    assert "\n\n    pma.cache." in str(caught.value)
    assert names(full) == before


def test_without_a_directory():
    assert len(pma.cache.networks(False)) == 0
    assert pma.cache.remove("all", cache=False) == []
    with pytest.raises(InvalidArgumentError, match="no directory"):
        pma.cache.remove(A, cache=False)


@pytest.mark.parametrize("function", [pma.cache.networks, pma.cache.size])
def test_what_is_no_cache(function):
    with pytest.raises(InvalidArgumentError, match="Expected cache"):
        function(3)


def test_a_lock_that_is_held_stays(tmp_path):
    written(tmp_path, A, "checkpoint")
    with held(tmp_path, A):
        removed = pma.cache.remove("all", cache=tmp_path)
        assert [path.suffix for path in removed] == [".checkpoint"]
        assert names(tmp_path) == {f"{A}.lock"}
    assert [path.suffix for path in pma.cache.remove("all", cache=tmp_path)] == [".lock"]


def test_what_cannot_be_removed_is_told(full, monkeypatch):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pathlib.Path, "unlink", refuse)
    with pytest.warns(CacheWarning, match="cannot be removed"):
        assert pma.cache.remove(C, cache=full) == []
    monkeypatch.undo()
    assert (full / f"{C}.network").exists()


def test_a_directory_that_cannot_be_listed(tmp_path):
    place = tmp_path / "a file"
    place.write_text("not a directory")
    for function in (pma.cache.networks, pma.cache.size):
        with pytest.warns(CacheWarning, match="cannot be read"):
            function(place)
