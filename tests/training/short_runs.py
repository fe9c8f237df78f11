"""Short runs of training."""

import torch

import pymc_amortized as pma

from pymc_amortized.training import loop as training
from pymc_amortized.training.config import TrainingConfig
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
