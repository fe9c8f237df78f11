"""Training that is interrupted, and goes on."""

import dataclasses
import math

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import AccuracyWarning, InvalidArgumentError, TrainingInterruptedWarning
from pymc_amortized.inference import amortized
from tests.training.short_runs import QUICK, fit, interrupt_at, same


def test_interrupting_fit_keeps_the_best_and_goes_on(monkeypatch, tmp_path):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 30)
        with pytest.warns(TrainingInterruptedWarning, match="30 of 60 steps"):
            posterior = fit(cache=tmp_path)
    assert posterior.record.interrupted
    assert "interrupted" in repr(posterior)
    assert len(posterior.history) == 9
    assert {path.suffix for path in tmp_path.iterdir()} == {".checkpoint", ".lock"}
    resumed = fit(cache=tmp_path, random_seed=99)
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]
    whole = fit(cache=False)
    assert same(resumed.tensors(), whole.tensors())


def test_a_callback_ends_fit_without_a_warning(tmp_path, caplog):
    def stop(step, losses):
        if losses.get("validation", math.inf) < math.inf and step >= 30:
            raise StopIteration

    with caplog.at_level("INFO", "pymc_amortized"):
        posterior = fit(cache=tmp_path, callback=stop)
    assert posterior.record.interrupted
    assert posterior.record.steps == 30
    assert "callback has ended training after 30 of 60 steps" in caplog.text
    assert fit(cache=tmp_path).record.steps == 60
    with pytest.raises(InvalidArgumentError, match="callback"):
        fit(callback="stop")


def test_checks_cost_less_than_what_they_check(monkeypatch):
    """A network of few steps is checked by few simulations."""
    monkeypatch.setattr(amortized, "_NUM_FOR_REFERENCE", 6_000)
    posterior = fit(cache=False, training=dataclasses.replace(QUICK, steps=2))
    assert len(posterior.inference.reference.distances) == 1_000
    longer = fit(cache=False, training=dataclasses.replace(QUICK, steps=800))
    assert len(longer.inference.reference.distances) > 1_000


def test_what_training_knows_of_its_network():
    """How many fresh data sets it answers, and whether it covers their posteriors."""
    posterior = fit(cache=False)
    assert 0 <= posterior.record.accepted_share <= 1
    assert posterior.record.steps == 60
    assert posterior.record.seconds > 0
    assert posterior.inference.reference is not None


def test_values_that_no_simulation_has():
    """A state that occurs once in a million units."""
    with pm.Model() as model:
        mu = pm.Normal("mu", [-1, 1, 3], 1)
        z = pm.Categorical("z", [0.5, 0.5 - 1e-9, 1e-9], shape=10)
        pm.Normal("y", mu[z], 1, observed=np.zeros(10))
    with pytest.warns(AccuracyWarning, match=r"\[2\] occur in none"):
        pma.fit(model, training=QUICK, random_seed=1, progressbar=False, cache=False)
