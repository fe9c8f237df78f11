"""From a model to a trained network."""

import dataclasses

import numpy as np
import pymc as pm
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.fitting.growing import grow
from pymc_amortized.training.network_cache import NetworkCache
from pymc_amortized.training.record import Usage
from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, fit


def test_nothing_is_trained_where_indicators_are_all_and_known():
    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.3, shape=4)
        pm.Normal("y", 2.0 * z, 1.0, observed=[-1.0, 0.0, 1.0, 3.0])
    posterior = pma.fit(model, random_seed=1, progressbar=False, cache=False)
    assert posterior.record.steps == 0
    odds = 0.3 / 0.7 * np.exp([-4.0, -2.0, 0.0, 4.0])
    found = posterior.indicator_probabilities()["z"].values[:, 1]
    np.testing.assert_allclose(found, odds / (1 + odds), rtol=1e-6)
    grow(posterior, Usage(3, 100.0), sizes=None, store=NetworkCache(None))


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
