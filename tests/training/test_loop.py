"""Training: stopping, skipping, interruption, going on, and what is kept where."""

import dataclasses

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized.errors import TrainingError
from pymc_amortized.inference.assembly import assemble
from pymc_amortized.simulation.simulation_table import SimulationTable
from pymc_amortized.simulation.training_data import SimulationSource
from pymc_amortized.training import loop as training
from pymc_amortized.training.loop import train
from pymc_amortized.training.reporter import Reporting
from pymc_amortized.training.state import Checkpoint, TrainingState
from tests.trained import data, normal_mean
from tests.training.short_runs import QUICK, fit, interrupt_at, same


@pytest.fixture(scope="module")
def prepared():
    simulator = pma.compile_simulator(normal_mean(data()), device="cpu")
    space = simulator.parameters.with_normal_scores(simulator.sample(1_000, 0).parameters)

    def make():
        layout, estimator = assemble(simulator, None, None, 0)
        source = SimulationSource(simulator, layout, space)
        estimator.fit_scaling(source.draw(200, 0))
        return estimator, source

    return make


def weights(estimator):
    return {name: x.clone() for name, x in estimator.state_dict().items()}


def test_the_loss_falls_and_the_rate_ends_at_zero(prepared):
    estimator, source = prepared()
    config = dataclasses.replace(QUICK, steps=200)
    result = train(estimator, source, config, 1)
    losses = [entry["posterior"] for entry in result.state.history]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5
    assert result.state.best_loss == min(losses)
    assert result.state.progress == 1.0


def test_the_seed_decides(prepared):
    found = []
    for seed in (1, 1, 2):
        estimator, source = prepared()
        train(estimator, source, QUICK, seed)
        found.append(weights(estimator))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_a_flat_loss_stops_early(prepared):
    estimator, source = prepared()
    config = dataclasses.replace(QUICK, steps=400, tolerance=1e3)
    result = train(estimator, source, config, 1)
    assert 160 < result.state.step < 300
    assert result.state.progress == 1.0


def test_time_ends_the_cycle(prepared):
    estimator, source = prepared()
    config = dataclasses.replace(QUICK, steps=100_000, max_time=1.0)
    result = train(estimator, source, config, 1)
    assert 0.8 < result.state.seconds < 3.0
    assert result.state.progress == 1.0


def test_time_that_is_not_needed_changes_nothing(prepared):
    found = []
    for max_time in (None, 1_000.0):
        estimator, source = prepared()
        config = dataclasses.replace(QUICK, max_time=max_time)
        assert train(estimator, source, config, 1).state.step == 60
        found.append(weights(estimator))
    assert same(*found)


def test_a_callback_is_told_of_every_step(prepared):
    estimator, source = prepared()
    told = {}
    result = train(estimator, source, QUICK, 1, reporting=Reporting(callback=told.__setitem__))
    assert list(told) == list(range(1, 61))
    assert all(set(losses) >= {"posterior", "classification"} for losses in told.values())
    validation = {step: x["validation"] for step, x in told.items() if "validation" in x}
    expected = {x["step"]: x["posterior"] + x["classification"] for x in result.state.history}
    assert validation == pytest.approx(expected)
    assert not result.stopped_by


def test_a_callback_ends_training_and_it_goes_on(prepared):
    estimator, source = prepared()
    train(estimator, source, QUICK, 1)
    whole, kept = weights(estimator), {}

    def stop(step, losses):
        if step == 25:
            raise StopIteration

    def keep(tensors, record):
        kept["now"] = ({name: x.clone() for name, x in tensors.items()}, record)

    estimator, source = prepared()
    reporting = Reporting(callback=stop)
    result = train(estimator, source, QUICK, 1, reporting=reporting, checkpoint=Checkpoint(keep))
    assert result.stopped_by == "callback"
    assert result.state.step == result.state.history[-1]["step"] == 25
    estimator, source = prepared()
    train(estimator, source, QUICK, 1, checkpoint=Checkpoint(resume=kept["now"]))
    assert same(weights(estimator), whole)


def test_nothing_is_lost_when_a_callback_fails(prepared):
    def fail(step, losses):
        if step == 25:
            raise ZeroDivisionError

    kept = []
    checkpoint = Checkpoint(lambda tensors, record: kept.append(record["step"]))
    with pytest.raises(ZeroDivisionError):
        train(*prepared(), QUICK, 1, reporting=Reporting(callback=fail), checkpoint=checkpoint)
    assert kept == [25]


def spoiled(estimator, when):
    """Let the loss of some steps be NaN."""
    original, count = estimator.losses, [0]

    def losses(batch, generator=None):
        found = original(batch, generator)
        if not estimator.training:
            return found
        count[0] += 1
        return found | {"posterior": found["posterior"] * float("nan")} if when(count[0]) else found

    estimator.losses = losses


def test_steps_that_are_not_finite_are_skipped(prepared):
    estimator, source = prepared()
    spoiled(estimator, lambda step: step % 15 == 0)
    result = train(estimator, source, QUICK, 1)
    assert result.state.skipped == 4
    assert all(bool(torch.isfinite(x).all()) for x in weights(estimator).values())


def test_too_many_of_them_stop_the_run(prepared):
    estimator, source = prepared()
    spoiled(estimator, lambda step: step % 3 == 0)
    with pytest.raises(TrainingError, match="most likely because of") as caught:
        train(estimator, source, QUICK, 1)
    assert caught.value.variable in ("'mu'", "'y'")


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(prepared, monkeypatch):
    estimator, source = prepared()
    train(estimator, source, QUICK, 1)
    whole = weights(estimator)
    kept = {}

    def keep(tensors, record):
        kept["now"] = ({name: x.clone() for name, x in tensors.items()}, record)

    estimator, source = prepared()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 25)
        result = train(estimator, source, QUICK, 1, checkpoint=Checkpoint(keep))
    assert result.stopped_by == "interrupt"
    assert result.state.step == 25
    assert TrainingState.from_record(kept["now"][1]) == result.state
    estimator, source = prepared()
    result = train(estimator, source, QUICK, 1, checkpoint=Checkpoint(resume=kept["now"]))
    assert not result.stopped_by
    assert result.state.step == 60
    assert same(weights(estimator), whole)


def test_the_test_of_going_on_sees_a_lost_optimizer(prepared, monkeypatch):
    """A planted fault: the optimizer starts anew."""
    kept = {}
    estimator, source = prepared()
    train(estimator, source, QUICK, 1)
    whole = weights(estimator)
    estimator, source = prepared()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 25)
        train(
            estimator,
            source,
            QUICK,
            1,
            checkpoint=Checkpoint(lambda tensors, record: kept.update(now=(dict(tensors), record))),
        )
    tensors = {n: x for n, x in kept["now"][0].items() if not n.startswith("optimizer")}
    estimator, source = prepared()
    train(
        estimator,
        source,
        QUICK,
        1,
        checkpoint=Checkpoint(resume=(tensors, kept["now"][1])),
    )
    assert not same(weights(estimator), whole)


def test_an_estimator_of_ones_own_seed_leaves_torch_alone():
    state = torch.get_rng_state()
    fit(cache=False, random_seed=8)
    assert torch.equal(state, torch.get_rng_state())
    assert np.isfinite(fit(cache=False, random_seed=8).record.validation_loss)


@pytest.fixture(scope="module")
def from_a_table(prepared):
    _, source = prepared()
    table = SimulationTable(source, *source.draw_frames(300, 1))
    return table.split(0.1)


CYCLES = dataclasses.replace(QUICK, steps=400, batch_size=90, simulations=300, patience=4)


def in_cycles(prepared, from_a_table, config=CYCLES, **options):
    estimator, _ = prepared()
    table, held_out = from_a_table
    return estimator, train(estimator, table, config, 1, held_out=held_out, **options)


def test_cycles_are_twice_as_long_each_and_begin_at_the_best_weights(
    prepared, from_a_table, monkeypatch
):
    begun, original = [], training._begin_next_cycle

    def begin(run):
        goes_on = original(run)
        if goes_on:
            begun.append((weights(run.estimator), run.best))
        return goes_on

    monkeypatch.setattr(training, "_begin_next_cycle", begin)
    _, result = in_cycles(prepared, from_a_table)
    ends = [12, 36, 84, 180, 400]  # the last one takes all that is left
    assert result.state.step in ends
    assert result.state.cycle_start == [0, *ends][ends.index(result.state.step)]
    assert result.state.progress == 1.0
    assert all(same(one, other) for one, other in begun)
    assert len(begun) == ends.index(result.state.step) >= 2
    assert {entry["step"] for entry in result.state.history} >= set(range(3, result.state.step, 3))


def test_a_run_that_is_stopped_in_a_later_cycle_goes_on(prepared, from_a_table, monkeypatch):
    estimator, whole = in_cycles(prepared, from_a_table)
    assert whole.state.step > 30
    expected, kept = weights(estimator), {}

    def keep(tensors, record):
        kept["now"] = ({name: x.clone() for name, x in tensors.items()}, record)

    with monkeypatch.context() as patch:
        interrupt_at(patch, 25)
        _, result = in_cycles(prepared, from_a_table, checkpoint=Checkpoint(keep))
    assert result.state.cycle_start == 12
    resume = Checkpoint(resume=kept["now"])
    estimator, result = in_cycles(prepared, from_a_table, checkpoint=resume)
    assert result.state.step == whole.state.step
    assert same(weights(estimator), expected)


def test_a_run_that_is_stopped_before_the_check_that_ends_a_cycle_goes_on(
    prepared, from_a_table, monkeypatch
):
    estimator, whole = in_cycles(prepared, from_a_table)
    expected, kept, original = weights(estimator), {}, training._check

    def keep(tensors, record):
        kept["now"] = ({name: x.clone() for name, x in tensors.items()}, record)

    def interrupted(run):
        if run.state.step == 12:
            raise KeyboardInterrupt
        return original(run)

    with monkeypatch.context() as patch:
        patch.setattr(training, "_check", interrupted)
        in_cycles(prepared, from_a_table, checkpoint=Checkpoint(keep))
    assert kept["now"][1]["history"][-1]["step"] == 9
    resume = Checkpoint(resume=kept["now"])
    estimator, result = in_cycles(prepared, from_a_table, checkpoint=resume)
    assert result.state.step == whole.state.step
    assert same(weights(estimator), expected)


def test_a_cycle_that_gains_too_little_is_the_last(prepared, from_a_table):
    config = dataclasses.replace(CYCLES, tolerance=1e3)
    _, result = in_cycles(prepared, from_a_table, config)
    assert result.state.step == 36  # the first one gains on nothing at all
    config = dataclasses.replace(CYCLES, patience=None)
    _, result = in_cycles(prepared, from_a_table, config)
    assert result.state.step == 400
    config = dataclasses.replace(CYCLES, steps=100_000, max_time=1.0, patience=200)
    _, result = in_cycles(prepared, from_a_table, config)
    assert result.state.seconds < 3.0
