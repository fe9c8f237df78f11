"""Trained networks, found again, and caches that cannot be read or written."""

import dataclasses
import errno
import os
import pathlib
import tempfile
import warnings

import pytest

import pymc_amortized as pma

from pymc_amortized.errors import CacheWarning, TrainingInterruptedWarning
from pymc_amortized.fitting import train_posterior
from pymc_amortized.training import loop, network_cache
from pymc_amortized.training.network_cache import default_cache_directory
from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, fit, interrupt_at, same


def test_the_cache_is_found_again(tmp_path, monkeypatch):
    first = fit(cache=tmp_path)
    monkeypatch.setattr(train_posterior, "train", None)
    second = fit(cache=str(tmp_path), random_seed=5)
    assert same(first.tensors(), second.tensors())
    assert first.record == second.record
    other_values = pma.fit(
        normal_mean(data(seed=4)), training=QUICK, progressbar=False, cache=tmp_path
    )
    assert same(first.tensors(), other_values.tensors())
    with pytest.raises(TypeError):  # trained, for the number of units differs
        pma.fit(normal_mean(data(30)), training=QUICK, progressbar=False, cache=tmp_path)
    with pytest.raises(TypeError):
        fit(cache=tmp_path, training=dataclasses.replace(QUICK, steps=61))
    with pytest.raises(TypeError):
        fit(cache=tmp_path, sizes={"y": (10, 40)})
    with pytest.raises(TypeError):
        fit(cache=False)


def test_the_default_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("PYMC_AMORTIZED_CACHE", str(tmp_path))
    assert default_cache_directory() == tmp_path
    monkeypatch.delenv("PYMC_AMORTIZED_CACHE")
    assert "pymc_amortized" in str(default_cache_directory())


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path):
    place = tmp_path / "a file"
    place.write_text("not a directory")
    with pytest.warns(CacheWarning, match="cannot be kept"):
        posterior = fit(cache=place)
    assert posterior.record.steps == 60


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_cache(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.warns(CacheWarning, match="cannot be kept"):
        assert fit(cache=tmp_path).record.steps == 60


@pytest.fixture(scope="module")
def whole():
    """What uninterrupted training ends with."""
    return fit(cache=False).tensors()


def open_full(directory, prefix):
    """A file to which nothing can be written, for no space is left."""
    path = pathlib.Path(directory) / f"{prefix}12345678"
    path.touch()
    return os.open("/dev/full", os.O_WRONLY), str(path)


def refuse(*_, **__):
    raise OSError(errno.EROFS, "Read-only file system")


@pytest.fixture
def checkpoints(monkeypatch):
    """After each step."""
    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0)


@pytest.mark.skipif(not pathlib.Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.usefixtures("checkpoints")
@pytest.mark.parametrize(
    ("create", "words"), [(open_full, "No space left"), (refuse, "Read-only file system")]
)
def test_a_cache_that_takes_no_files(monkeypatch, tmp_path, whole, create, words):
    """It is said once of each kind of file, and training goes on to its end."""
    monkeypatch.setattr(tempfile, "mkstemp", lambda dir, prefix: create(dir, prefix))
    monkeypatch.setattr(network_cache, "FileLock", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CacheWarning)
        posterior = fit(cache=tmp_path)
    said = [str(warning.message) for warning in caught if warning.category is CacheWarning]
    assert [text.partition(" cannot be kept")[0] for text in said] == [
        "The checkpoint",
        "The network",
    ]
    assert all(words in text for text in said)
    assert posterior.record.steps == 60
    assert list(tmp_path.iterdir()) == []
    assert same(posterior.tensors(), whole)


@pytest.mark.usefixtures("checkpoints")
def test_a_cache_that_is_full_for_a_while(monkeypatch, tmp_path):
    """A checkpoint takes four times the space of the network, which may be kept all the same."""
    real = tempfile.mkstemp

    def create(dir, prefix):
        return refuse() if "checkpoint" in prefix else real(dir=dir, prefix=prefix)

    monkeypatch.setattr(tempfile, "mkstemp", create)
    with pytest.warns(CacheWarning, match="checkpoint cannot be kept"):
        posterior = fit(cache=tmp_path)
    assert fit(cache=tmp_path, random_seed=2).record == posterior.record


def make_newer(path):
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"format_version":"1"', b'"format_version":"9"'))
    assert path.read_bytes() != content


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-200])


def interrupted(monkeypatch, directory):
    """Return the checkpoint of a training that was stopped half way."""
    with monkeypatch.context() as patch:
        interrupt_at(patch, 30)
        with pytest.warns(TrainingInterruptedWarning):
            fit(cache=directory)
    [path] = directory.glob("*.checkpoint")
    return path


def test_networks_that_cannot_be_read(tmp_path):
    first = fit(cache=tmp_path)
    [path] = tmp_path.glob("*.network")
    for spoil, words in ((make_newer, "newer version"), (cut_off, "is damaged")):
        spoil(path)
        with pytest.warns(CacheWarning, match=f"cached network cannot be used.*{words}") as caught:
            second = fit(cache=tmp_path)
        assert len(caught) == 1
        assert same(first.tensors(), second.tensors())
        assert fit(cache=tmp_path).record == second.record


@pytest.mark.parametrize(
    ("spoil", "words"), [(make_newer, "newer version"), (cut_off, "is damaged")]
)
def test_checkpoints_that_cannot_be_read(monkeypatch, tmp_path, whole, spoil, words):
    spoil(interrupted(monkeypatch, tmp_path))
    with pytest.warns(CacheWarning, match=f"cached checkpoint cannot be used.*{words}"):
        posterior = fit(cache=tmp_path)
    assert same(posterior.tensors(), whole)
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]


def test_files_that_may_not_be_read(monkeypatch, tmp_path):
    first = fit(cache=tmp_path)
    monkeypatch.setattr(network_cache, "read_file", refuse)
    with pytest.warns(CacheWarning, match="Read-only"):
        assert same(first.tensors(), fit(cache=tmp_path).tensors())
