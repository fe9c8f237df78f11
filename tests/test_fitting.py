"""From a model to a trained network."""

import dataclasses

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import (
    TrainingInterruptedWarning,
)
from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, fit, interrupt_at, same


def test_interrupting_fit_keeps_the_best_and_goes_on(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 30)
        with pytest.warns(TrainingInterruptedWarning, match="30 of 60 steps"):
            posterior = fit(cache=tmp_path)
    assert posterior.record.interrupted
    assert "interrupted" in repr(posterior)
    assert len(posterior.history) == 9
    assert [path.suffix for path in tmp_path.iterdir()] == [".checkpoint"]
    resumed = fit(cache=tmp_path, random_seed=99)
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]
    whole = fit(cache=False)
    assert same(resumed.tensors(), whole.tensors())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_and_answering_on_a_gpu(tmp_path):
    model = normal_mean(data())
    config = dataclasses.replace(QUICK, steps=200)
    options = {"training": config, "random_seed": 1, "progressbar": False, "cache": False}
    posterior = pma.fit(model, device="cuda", **options)
    assert next(posterior.inference.estimator.parameters()).is_cuda
    on_gpu = posterior.sample(correction="importance", random_seed=1)
    posterior.save(tmp_path / "net")
    on_cpu = pma.load(tmp_path / "net", model, device="cpu").sample(
        correction="importance", random_seed=1
    )
    means = [float(np.asarray(x.posterior["mu"]).mean()) for x in (on_gpu, on_cpu)]
    assert abs(means[0] - means[1]) < 0.05
