"""Short runs of training."""

import contextlib
import threading

import torch

import pymc_amortized as pma

from pymc_amortized.training import loop as training
from pymc_amortized.training.config import TrainingConfig
from pymc_amortized.training.files import write_file
from pymc_amortized.training.network_cache import NetworkCache
from tests.trained import data, normal_mean

QUICK = TrainingConfig(steps=60, batch_size=32, num_validation=64, tolerance=None)


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def fit(**options):
    options = {"training": QUICK, "random_seed": 1, "progressbar": False, **options}
    return pma.fit(normal_mean(data()), **options)


def interrupt_at(monkeypatch, step):
    original = training._advance

    def advance(run, finite):
        original(run, finite)
        if run.state.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_advance", advance)


def written(directory, fingerprint, kind="network", steps=7, parts=("parameter 'mu'",)):
    """A file of a cache that nobody has trained."""
    state = {"step": steps, "seconds": 2.0}
    record = {"seed": 1, "state": state, "steps": steps, "seconds": 2.0}
    record["parts"] = dict.fromkeys(parts, "0")
    path = directory / f"{fingerprint}.{kind}"
    write_file(path, {"weight": torch.arange(3.0)}, record)
    return path


@contextlib.contextmanager
def held(directory, fingerprint):
    """Hold a lock in another thread."""
    is_held, done = threading.Event(), threading.Event()

    def hold():
        with NetworkCache(directory).lock(fingerprint):
            is_held.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(60)
    yield done
    done.set()
    thread.join()
