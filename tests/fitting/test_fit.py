"""From a model to a trained network."""

import dataclasses

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, fit


def test_fingerprints_of_one_family():
    """Networks that differ in how they were trained can stand for each other, and others cannot."""
    some = fit(cache=False)
    longer = fit(cache=False, training=dataclasses.replace(QUICK, steps=61))
    sized = fit(cache=False, sizes={"y": (10, 40)})
    assert some.record.fingerprint != longer.record.fingerprint
    assert some.record.family == longer.record.family != sized.record.family


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
