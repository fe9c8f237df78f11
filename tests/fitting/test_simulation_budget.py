"""Budgets of simulations: drawn once, counted, kept by a run that is stopped."""

import dataclasses

import numpy as np
import pymc as pm
import pytest

import pymc_amortized as pma

from pymc_amortized.fitting import simulation_budget
from pymc_amortized.simulation.simulator import Simulator
from tests.training.short_runs import fit, interrupt_at, same

BUDGET = pma.TrainingConfig(steps=60, batch_size=32, tolerance=None, simulations=700)
pytestmark = pytest.mark.usefixtures("interpreted")


def counted(monkeypatch):
    """Count data sets that are simulated, one by one."""
    calls = []
    original = Simulator._simulate

    def simulate(self, parameters, num_datasets, *rest):
        calls.append(num_datasets)
        return original(self, parameters, num_datasets, *rest)

    monkeypatch.setattr(Simulator, "_simulate", simulate)
    return calls


def test_no_more_is_simulated_than_the_budget(monkeypatch):
    calls = counted(monkeypatch)
    posterior = fit(training=BUDGET, cache=False)
    assert sum(calls) == posterior.record.simulations == 700
    assert posterior.record.steps == 60
    assert len(posterior.inference.reference.distances) <= 700 // 2
    assert 0 <= posterior.record.accepted_share <= 1


def test_simulations_of_training_without_a_budget_are_counted(monkeypatch):
    calls = counted(monkeypatch)
    posterior = fit(cache=False)
    assert sum(calls) == posterior.record.simulations > 60 * 32


def test_a_network_of_a_table_is_as_good_as_its_held_out_loss_says():
    """The network of a conjugate model: within .1 nats of the exact posterior's entropy."""
    config = pma.TrainingConfig(steps=600, simulations=4_000)
    posterior = fit(training=config, cache=False)
    num_units = posterior.inference.problem.layout.tables[0].num_rows
    entropy = 0.5 * np.log(2 * np.pi * np.e / (num_units + 0.25))
    # In scores of the prior, which is 2 wide.
    assert posterior.record.validation_loss == pytest.approx(entropy - np.log(2), abs=0.1)


def test_training_ends_where_it_only_learns_by_heart():
    """A hundred data sets, two batches a round: cycles of 5, 10, … rounds, until one gains none."""
    config = pma.TrainingConfig(steps=3_000, batch_size=45, simulations=100, patience=5)
    posterior = fit(training=config, cache=False)
    losses = {entry["step"]: entry["posterior"] for entry in posterior.history}
    ends = [10, 30, 70, 150, 310, 630, 1_270]
    assert posterior.record.steps in ends
    assert posterior.record.validation_loss == min(losses.values())
    done = ends[: ends.index(posterior.record.steps) + 1]
    before = [min(x for step, x in losses.items() if step <= end) for end in done]
    gains = [one - losses[end] for one, end in zip(before, done[1:], strict=False)]
    assert [gain > config.tolerance for gain in gains] == [True] * (len(gains) - 1) + [False]
    on = fit(training=dataclasses.replace(config, patience=None), cache=False)
    assert on.record.steps == 3_000


def test_a_run_that_is_stopped_keeps_its_table(monkeypatch, tmp_path):
    whole = fit(training=BUDGET, cache=False)
    with monkeypatch.context() as patch:
        original, calls = Simulator._simulate, []

        def simulate(self, parameters, num_datasets, *rest):
            if sum(calls) >= 500:
                raise KeyboardInterrupt
            calls.append(num_datasets)
            return original(self, parameters, num_datasets, *rest)

        patch.setattr(Simulator, "_simulate", simulate)
        with pytest.raises(KeyboardInterrupt):
            fit(training=BUDGET, cache=tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".simulations", ".lock"}
    calls = counted(monkeypatch)
    resumed = fit(training=BUDGET, cache=tmp_path)
    assert sum(calls) == 200
    assert same(resumed.tensors(), whole.tensors())
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]


def test_slow_simulations_are_kept_while_they_are_drawn(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(simulation_budget, "_SECONDS_BETWEEN_COPIES", 0.0)
    interrupt_at(monkeypatch, 30)
    with pytest.warns(pma.errors.TrainingInterruptedWarning):
        stopped = fit(training=BUDGET, cache=tmp_path)
    assert ".simulations" in {path.suffix for path in tmp_path.iterdir()}
    assert len(pma.cache.networks(tmp_path)) == 1
    monkeypatch.undo()
    calls = counted(monkeypatch)
    with caplog.at_level("INFO", "pymc_amortized"):
        resumed = fit(training=BUDGET, cache=tmp_path, random_seed=99)
    assert not calls
    assert "700 of 700 simulations are there" in caplog.text
    assert stopped.record.simulations == 700
    assert same(resumed.tensors(), fit(training=BUDGET, cache=False).tensors())


def test_a_function_that_draws_is_called_as_often_as_the_record_says():
    """What reading takes is told apart: calls after it are those of the budget."""
    drawn = []

    def draw(mu, rng=None, size=None):
        drawn.append(np.prod(np.shape(mu), dtype=int))
        return rng.normal(np.asarray(mu)[..., None], 1.0, size=(*np.shape(mu), 5))

    with pm.Model() as model:
        mu = pm.Normal("mu", 0, 1)
        pm.CustomDist(
            "y",
            mu,
            np.zeros(5),
            random=lambda m, _, rng=None, size=None: draw(m, rng),
            signature="(),(n)->(n)",
            observed=np.zeros(5),
        )
    pma.compile_simulator(model, device="cpu")
    reading = sum(drawn)
    drawn.clear()
    options = {"random_seed": 1, "progressbar": False, "cache": False, "device": "cpu"}
    posterior = pma.fit(model, training=BUDGET, **options)
    assert posterior.record.simulations == 700
    assert 700 <= sum(drawn) <= 700 + reading
