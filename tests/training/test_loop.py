"""Training: stopping, skipping, interruption, going on, and what is kept where."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

import pymc_amortized as pma

from pymc_amortized import fitting
from pymc_amortized.errors import (
    CacheWarning,
    InvalidArgumentError,
    TrainingError,
    TrainingInterruptedWarning,
)
from pymc_amortized.inference.assembly import assemble
from pymc_amortized.simulation.training_data import SimulationSource
from pymc_amortized.training import loop as training
from pymc_amortized.training.config import TrainingConfig, training_config
from pymc_amortized.training.loop import train
from pymc_amortized.training.state import Checkpoint, TrainingState
from tests.trained import data, normal_mean

QUICK = TrainingConfig(steps=60, batch_size=32, num_validation=64, tolerance=None)


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


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def fit(**options):
    options = {"training": QUICK, "random_seed": 1, "progressbar": False, **options}
    return pma.fit(normal_mean(data()), **options)


BAD = [
    {"steps": 0},
    {"steps": 2.5},
    {"batch_size": -1},
    {"learning_rate": 0.0},
    {"learning_rate": float("nan")},
    {"max_time": -3},
    {"tolerance": "small"},
]


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_bad_configurations(bad):
    with pytest.raises(InvalidArgumentError, match=next(iter(bad))):
        TrainingConfig(**bad)


def test_presets():
    assert training_config(None) == training_config("default") == TrainingConfig()
    assert training_config("fast").steps < TrainingConfig().steps
    assert training_config("thorough").steps > TrainingConfig().steps
    assert training_config(QUICK) is QUICK
    with pytest.raises(InvalidArgumentError, match="thorough"):
        training_config("long")


def test_the_loss_falls_and_the_rate_ends_at_zero(prepared):
    estimator, source = prepared()
    config = dataclasses.replace(QUICK, steps=200)
    result = train(estimator, source, config, 1, progressbar=False)
    losses = [entry["posterior"] for entry in result.state.history]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5
    assert result.state.best_loss == min(losses)
    assert result.state.progress == 1.0


def test_the_seed_decides(prepared):
    found = []
    for seed in (1, 1, 2):
        estimator, source = prepared()
        train(estimator, source, QUICK, seed, progressbar=False)
        found.append(weights(estimator))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_a_flat_loss_stops_early(prepared):
    estimator, source = prepared()
    config = dataclasses.replace(QUICK, steps=400, tolerance=1e3)
    result = train(estimator, source, config, 1, progressbar=False)
    assert 160 < result.state.step < 300
    assert result.state.progress == 1.0


def test_time_ends_the_cycle(prepared):
    estimator, source = prepared()
    config = dataclasses.replace(QUICK, steps=100_000, max_time=1.0)
    result = train(estimator, source, config, 1, progressbar=False)
    assert 0.8 < result.state.seconds < 3.0
    assert result.state.progress == 1.0


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
    result = train(estimator, source, QUICK, 1, progressbar=False)
    assert result.state.skipped == 4
    assert all(bool(torch.isfinite(x).all()) for x in weights(estimator).values())


def test_too_many_of_them_stop_the_run(prepared):
    estimator, source = prepared()
    spoiled(estimator, lambda step: step % 3 == 0)
    with pytest.raises(TrainingError, match="most likely because of") as caught:
        train(estimator, source, QUICK, 1, progressbar=False)
    assert caught.value.variable in ("'mu'", "'y'")


def interrupt_at(monkeypatch, step):
    original = training._advance

    def advance(run, finite):
        original(run, finite)
        if run.state.step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_advance", advance)


def test_an_interrupted_run_goes_on_as_if_nothing_had_been(prepared, monkeypatch):
    estimator, source = prepared()
    train(estimator, source, QUICK, 1, progressbar=False)
    whole = weights(estimator)
    kept = {}

    def keep(tensors, record):
        kept["now"] = ({name: x.clone() for name, x in tensors.items()}, record)

    estimator, source = prepared()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 25)
        result = train(estimator, source, QUICK, 1, progressbar=False, checkpoint=Checkpoint(keep))
    assert result.interrupted
    assert result.state.step == 25
    assert TrainingState.from_record(kept["now"][1]) == result.state
    estimator, source = prepared()
    result = train(
        estimator, source, QUICK, 1, progressbar=False, checkpoint=Checkpoint(resume=kept["now"])
    )
    assert not result.interrupted
    assert result.state.step == 60
    assert same(weights(estimator), whole)


def test_the_test_of_going_on_sees_a_lost_optimizer(prepared, monkeypatch):
    """A planted fault: the optimizer starts anew."""
    kept = {}
    estimator, source = prepared()
    train(estimator, source, QUICK, 1, progressbar=False)
    whole = weights(estimator)
    estimator, source = prepared()
    with monkeypatch.context() as patch:
        interrupt_at(patch, 25)
        train(
            estimator,
            source,
            QUICK,
            1,
            progressbar=False,
            checkpoint=Checkpoint(lambda tensors, record: kept.update(now=(dict(tensors), record))),
        )
    tensors = {n: x for n, x in kept["now"][0].items() if not n.startswith("optimizer")}
    estimator, source = prepared()
    train(
        estimator,
        source,
        QUICK,
        1,
        progressbar=False,
        checkpoint=Checkpoint(resume=(tensors, kept["now"][1])),
    )
    assert not same(weights(estimator), whole)


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


def test_the_cache_is_found_again(tmp_path, monkeypatch):
    first = fit(cache=tmp_path)
    monkeypatch.setattr(fitting, "train", None)
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
    from pymc_amortized.training.cache import default_cache_directory

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


def test_an_estimator_of_ones_own_seed_leaves_torch_alone():
    state = torch.get_rng_state()
    fit(cache=False, random_seed=8)
    assert torch.equal(state, torch.get_rng_state())
    assert np.isfinite(fit(cache=False, random_seed=8).record.validation_loss)


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
