"""Networks that are asked for: the best of several, on one budget, found again."""

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError
from pymc_amortized.fitting import simulation_budget
from pymc_amortized.networks.build import with_choice
from tests.fitting.test_simulation_budget import BUDGET, counted
from tests.trained import data, normal_mean
from tests.training.short_runs import fit, interrupt_at, same

AUTO = pma.Networks(posterior="auto")
pytestmark = pytest.mark.usefixtures("interpreted")


def posterior_losses(posterior):
    return min(entry["posterior"] for entry in posterior.history)


def test_the_best_of_several_is_that_of_the_lowest_loss(tmp_path, monkeypatch, caplog):
    calls = counted(monkeypatch)
    with caplog.at_level("INFO", "pymc_amortized"):
        best = fit(training=BUDGET, networks=AUTO, cache=tmp_path)
    assert sum(calls) == 700, "all of them see the same simulations"
    assert len(list(tmp_path.glob("*.network"))) == 3
    assert not list(tmp_path.glob("*.simulations"))
    alone = {
        name: fit(training=BUDGET, networks=networks, cache=False)
        for name, networks in AUTO.choices.items()
    }
    losses = {name: posterior_losses(one) for name, one in alone.items()}
    assert best.record.chosen == min(losses, key=losses.__getitem__)
    assert same(best.tensors(), alone[best.record.chosen].tensors())
    assert f"The best posterior network is {best.record.chosen}" in caplog.text
    assert type(best.inference.estimator.posterior).__name__ == best.record.chosen


def test_what_is_chosen_is_found_again(tmp_path, monkeypatch):
    best = fit(training=BUDGET, networks=AUTO, cache=tmp_path)
    calls = counted(monkeypatch)
    again = fit(training=BUDGET, networks=AUTO, cache=tmp_path)
    assert not calls
    assert again.record.chosen == best.record.chosen
    assert same(again.tensors(), best.tensors())
    best.save(tmp_path / "best.amortized")
    for networks in (None, AUTO):
        loaded = pma.load(tmp_path / "best.amortized", normal_mean(data()), networks=networks)
        assert same(loaded.tensors(), best.tensors())
        assert loaded.record == best.record
    assert not calls, "what simulations have said is kept in the file"


def test_a_choice_that_is_stopped_goes_on(tmp_path, monkeypatch):
    whole = fit(training=BUDGET, networks=AUTO, cache=False)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 30)
        patch.setattr(simulation_budget, "_SECONDS_BETWEEN_COPIES", 0.0)
        with pytest.warns(pma.errors.TrainingInterruptedWarning) as told:
            stopped = fit(training=BUDGET, networks=AUTO, cache=tmp_path)
    assert len(told) == 1, "the others are not begun"
    assert stopped.record.steps == 30
    assert list(tmp_path.glob("*.simulations"))
    again = fit(training=BUDGET, networks=AUTO, cache=tmp_path)
    assert again.record.chosen == whole.record.chosen
    assert same(again.tensors(), whole.tensors())
    assert not list(tmp_path.glob("*.simulations"))


def test_counts_are_loaded_without_simulating_either(tmp_path, monkeypatch):
    with pm.Model() as model:
        rate = pm.Gamma("rate", 4, 2)
        pm.Poisson("y", rate, observed=np.ones(5, int))
    options = {"training": BUDGET, "random_seed": 1, "progressbar": False, "cache": False}
    pma.fit(model, **options).save(tmp_path / "counts")
    calls = counted(monkeypatch)
    pma.load(tmp_path / "counts", model)
    assert not calls


def test_without_parameters_there_is_no_choice():
    """Components are known: indicators alone are learned."""

    def draw(z, rng=None, size=None):
        return rng.normal(3.0 * z, 1.0, size=size)

    with pm.Model() as model:
        z = pm.Bernoulli("z", 0.4, shape=6)
        pm.CustomDist("y", z, random=draw, observed=np.zeros(6))
    options = {"training": BUDGET, "random_seed": 1, "progressbar": False, "cache": False}
    found = pma.fit(model, networks=AUTO, **options)
    assert found.inference.estimator.posterior is None
    assert not found.record.chosen


def test_what_was_chosen_is_named():
    assert with_choice(None, "") is None
    assert with_choice(AUTO, "SplineFlow").posterior is pma.SplineFlow
    assert with_choice(None, "SplineFlow").posterior is pma.SplineFlow
    assert not pma.Networks().is_choice
    with pytest.raises(InvalidArgumentError, match="posterior to be what builds a network"):
        pma.Networks(posterior="best")
