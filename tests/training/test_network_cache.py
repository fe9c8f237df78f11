"""Trained networks, found again."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import textwrap

import pytest

import pymc_amortized as pma

from pymc_amortized.errors import (
    CacheWarning,
)
from pymc_amortized.fitting import train_posterior
from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, fit, same


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
    from pymc_amortized.training.network_cache import default_cache_directory

    monkeypatch.setenv("PYMC_AMORTIZED_CACHE", str(tmp_path))
    assert default_cache_directory() == tmp_path
    monkeypatch.delenv("PYMC_AMORTIZED_CACHE")
    assert "pymc_amortized" in str(default_cache_directory())


def test_a_damaged_cache_is_made_anew(tmp_path):
    first = fit(cache=tmp_path)
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.warns(CacheWarning, match="made anew"):
        second = fit(cache=tmp_path)
    assert same(first.tensors(), second.tensors())
    assert fit(cache=tmp_path).record == second.record


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


def test_processes_share_a_cache(tmp_path):
    """Two processes train the same model at once; a third, which is this one, trains nothing."""
    code = textwrap.dedent(f"""
        import sys, warnings
        warnings.simplefilter("ignore")
        import torch
        torch.set_num_threads(1)
        from tests.training.test_loop import fit
        posterior = fit(cache={str(tmp_path)!r}, random_seed=int(sys.argv[1]))
        print(posterior.record.seconds)
    """)
    root = pathlib.Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(seed):
        return subprocess.Popen(
            [sys.executable, "-c", code, str(seed)],
            cwd=root,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )

    together = [start(1), start(2)]
    seconds = {process.communicate()[0].strip() for process in together}
    assert all(process.returncode == 0 for process in together)
    [path] = tmp_path.iterdir()
    assert path.suffix == ".network"
    assert str(fit(cache=str(tmp_path), random_seed=3).record.seconds) in seconds
